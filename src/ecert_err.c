#include "ecert_err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

static const struct {
    const char *word;
    const char *sentence;
    const char *hint;
} errors[ECERT_ERR_LAST] = {[ECERT_OK] = {"ok", "nothing is wrong", ""},
#define X(code, word, sentence, hint)                                          \
    [ECERT_ERR_##code] = {word, sentence, hint},
                            ECERT_ERRORS(X)
#undef X
};

static void set_file(ecert_err_t *err, const char *file)
{
    err->file[0] = '\0';
    if (file != NULL) {
        ecert_escape(err->file, sizeof(err->file), file, strlen(file));
    }
}

static void set_detail(ecert_err_t *err, const char *fmt, va_list args)
{
    char text[sizeof(err->detail)];

    err->detail[0] = '\0';
    if (fmt == NULL) {
        return;
    }
    vsnprintf(text, sizeof(text), fmt, args);
    ecert_escape(err->detail, sizeof(err->detail), text, strlen(text));
}

static void append_detail(ecert_err_t *err, const char *text)
{
    size_t used = strlen(err->detail);
    const char *comma = used == 0 ? "" : ": ";

    snprintf(err->detail + used, sizeof(err->detail) - used, "%s%s", comma,
             text);
}

static int uses_errno(ecert_code_t code)
{
    return code == ECERT_ERR_SYSTEM || code == ECERT_ERR_MISSING
           || code == ECERT_ERR_UNREADABLE;
}

int ecert_err(ecert_err_t *err, ecert_code_t code, const char *file,
              const char *fmt, ...)
{
    int sys = errno;
    va_list args;

    err->code = code;
    err->sys = uses_errno(code) ? sys : 0;
    err->hint[0] = '\0';
    set_file(err, file);
    va_start(args, fmt);
    set_detail(err, fmt, args);
    va_end(args);
    if ((code == ECERT_ERR_SYSTEM || code == ECERT_ERR_UNREADABLE)
        && sys != 0) {
        append_detail(err, strerror(sys));
    }
    return -1;
}

int ecert_err_openssl(ecert_err_t *err, ecert_code_t code, const char *file,
                      const char *fmt, ...)
{
    unsigned long reason = ERR_peek_last_error();
    const char *text = reason ? ERR_reason_error_string(reason) : NULL;
    va_list args;

    err->code = code;
    err->sys = 0;
    err->hint[0] = '\0';
    set_file(err, file);
    va_start(args, fmt);
    set_detail(err, fmt, args);
    va_end(args);
    if (text != NULL) {
        append_detail(err, text);
    }
    ERR_clear_error();
    return -1;
}

int ecert_err_errno(ecert_err_t *err, const char *file, const char *doing)
{
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
        return ecert_err(err, ECERT_ERR_MISSING, file, NULL);
    case EACCES:
    case EPERM:
        return ecert_err(err, ECERT_ERR_UNREADABLE, file, "%s", doing);
    default:
        return ecert_err(err, ECERT_ERR_SYSTEM, file, "%s", doing);
    }
}

int ecert_err_file(ecert_err_t *err, const char *file)
{
    set_file(err, file);
    return -1;
}

int ecert_err_hint(ecert_err_t *err, const char *fmt, ...)
{
    char text[sizeof(err->hint)];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    ecert_escape(err->hint, sizeof(err->hint), text, strlen(text));
    return -1;
}

int ecert_err_refused(const ecert_err_t *err)
{
    return err->code == ECERT_ERR_SYSTEM || err->code == ECERT_ERR_MEMORY
           || err->code == ECERT_ERR_UNREADABLE
           || err->code == ECERT_ERR_UNSAFE;
}

int ecert_err_starved(const ecert_err_t *err)
{
    return err->code == ECERT_ERR_MEMORY
           || (err->code == ECERT_ERR_SYSTEM
               && (err->sys == EMFILE || err->sys == ENFILE
                   || err->sys == ENOMEM || err->sys == EAGAIN));
}

void ecert_err_clear(ecert_err_t *err)
{
    memset(err, 0, sizeof(*err));
}

static int known(ecert_code_t code)
{
    return (unsigned)code < ECERT_ERR_LAST;
}

const char *ecert_err_word(ecert_code_t code)
{
    return known(code) ? errors[code].word : "unknown";
}

const char *ecert_err_sentence(ecert_code_t code)
{
    return known(code) ? errors[code].sentence : "unknown error";
}

const char *ecert_err_advice(ecert_code_t code)
{
    return known(code) ? errors[code].hint : "";
}

/*
 * Length of the UTF-8 sequence at p (1 to 4), 0 when it is not one that may be
 * shown: overlong, surrogate, beyond Unicode, a C1 or a bidirectional control.
 */
static size_t utf8_length(const unsigned char *p, size_t len)
{
    static const unsigned long least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned long c;
    size_t n, i;

    if (p[0] < 0x80) {
        return p[0] >= 0x20 && p[0] != 0x7f && p[0] != '\\';
    }
    n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || n > len) {
        return 0;
    }
    c = p[0] & (0xff >> (n + 1));
    for (i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)
        || c < 0xa0) {
        return 0;
    }
    if ((c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e)
        || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff || c == 0x061c) {
        return 0;
    }
    return n;
}

char *ecert_trim(char *text)
{
    size_t len = strlen(text), tail = 0;

    while (tail < len && tail < 3
           && ((unsigned char)text[len - 1 - tail] & 0xc0) == 0x80) {
        tail++;
    }
    if (tail < len && (unsigned char)text[len - 1 - tail] >= 0xc0
        && utf8_length((unsigned char *)text + len - 1 - tail, tail + 1) == 0) {
        text[len - 1 - tail] = '\0';
    }
    return text;
}

char *ecert_err_line(const ecert_err_t *err, const char *site, char *out,
                     size_t size)
{
    char name[300] = "";
    const char *hint = err->hint[0] ? err->hint : ecert_err_advice(err->code);

    if (site != NULL) {
        ecert_escape(name, sizeof(name), site, strlen(site));
    }
    snprintf(out, size, "%s%s%s%s: %s%s%s%s%s%s; %s", site ? "site " : "", name,
             site ? ": " : "", ecert_err_word(err->code), err->file,
             err->file[0] ? ": " : "", ecert_err_sentence(err->code),
             err->detail[0] ? " (" : "", err->detail, err->detail[0] ? ")" : "",
             hint);
    if (size > 0) {
        ecert_trim(out);
    }
    return out;
}

char *ecert_escape(char *out, size_t size, const char *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = (const unsigned char *)bytes;
    size_t used = 0, n;

    if (size == 0) {
        return out;
    }
    while (len > 0) {
        n = utf8_length(p, len);
        if (used + (n == 0 ? 4 : n) >= size) {
            break;
        }
        if (n == 0) {
            out[used++] = '\\';
            out[used++] = 'x';
            out[used++] = digits[*p >> 4];
            out[used++] = digits[*p & 15];
            n = 1;
        } else {
            memcpy(out + used, p, n);
            used += n;
        }
        p += n;
        len -= n;
    }
    out[used] = '\0';
    return out;
}
