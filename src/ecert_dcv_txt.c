#include "ecert_dcv_mend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ecert_dcv.h"

#define STRING_MAX 255         /* RFC 1035, 3.3 */
#define CODE_MAX   (255 * 255) /* RDATA has 65,535 bytes at most */
#define TTL_MAX    0x7fffffffU /* RFC 2181, 8 */

static const char *code_fault(const char *code)
{
    if (code[strspn(code, " ")] == '\0') {
        return "there is no code";
    }
    for (const char *p = code; *p; p++) {
        if ((unsigned char)*p > 0x7f) {
            return "the code is not ASCII";
        }
        if (*p < ' ' || *p == 0x7f) {
            return "the code has a control character or a line end";
        }
    }
    return strlen(code) > CODE_MAX ? "the code is too long for a TXT record"
                                   : NULL;
}

/* What could mean something else in a zone file never gets there. */
static const char *name_fault(const char *name, size_t len)
{
    size_t good = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST"
                               "UVWXYZ0123456789-_.");

    if (len == 0 || len > ECERT_DCV_HOST_MAX) {
        return "there is no name, or it is too long";
    }
    return good < len || name[0] == '.' || strstr(name, "..") != NULL
               ? "the name is not in the form of DNS"
               : NULL;
}

/* Quoted, with what RFC 1035, 5.1 wants escaped; returns behind it. */
static char *put_string(char *out, const char *code, size_t len)
{
    *out++ = '"';
    for (size_t i = 0; i < len; i++) {
        if (code[i] == '"' || code[i] == '\\') {
            *out++ = '\\';
        }
        *out++ = code[i];
    }
    *out++ = '"';
    return out;
}

static char *put_strings(char *out, const char *code)
{
    size_t left = strlen(code);

    while (left > 0) {
        size_t n = left < STRING_MAX ? left : STRING_MAX;

        out = put_string(out, code, n);
        code += n;
        left -= n;
        if (left > 0) {
            *out++ = ' ';
        }
    }
    *out = '\0';
    return out;
}

char *ecert_dcv_txt(const char *ascii, const char *code, unsigned ttl,
                    ecert_err_t *err)
{
    const char *name = strncmp(ascii, "*.", 2) == 0 ? ascii + 2 : ascii;
    size_t len = strlen(name);
    const char *fault = code_fault(code);
    size_t room = ECERT_DCV_HOST_MAX + 64 + 2 * strlen(code)
                  + 3 * (strlen(code) / STRING_MAX + 1);
    char *record;

    if (len > 0 && name[len - 1] == '.') {
        len--;
    }
    if (fault != NULL) {
        ecert_err(err, ECERT_ERR_TOKEN, "CODE", "%s", fault);
        ecert_err_hint(err, "copy it from the CA's portal");
        return NULL;
    }
    fault = name_fault(name, len);
    if (fault == NULL && ttl > TTL_MAX) {
        fault = "the TTL is too large";
    }
    if (fault != NULL) {
        ecert_err(err, ECERT_ERR_TOKEN, ascii, "%s", fault);
        return NULL;
    }
    record = malloc(room);
    if (record == NULL) {
        ecert_err(err, ECERT_ERR_MEMORY, ascii, NULL);
        return NULL;
    }
    int used = snprintf(record, room, "%.*s. %u IN TXT ", (int)len, name, ttl);
    put_strings(record + used, code);
    return record;
}
