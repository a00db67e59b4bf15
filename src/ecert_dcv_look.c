#include "ecert_dcv_look.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "ecert_err.h"
#include "ecert_pem_block.h"

/* A code is shorter than the smallest key in Base64. */
#define BASE64_LEAST 160

typedef struct {
    const char *start;
    size_t len;
    const char *what;
} look_t;

const char *ecert_dcv_look_bytes(const unsigned char *bytes, size_t len)
{
    static const look_t looks[] = {
        {"%PDF-", 5, "a PDF document"},
        {"PK\003\004", 4, "a ZIP archive or a Word document (docx)"},
        {"PK\005\006", 4, "a ZIP archive"},
        {"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 8, "a Word document (doc)"},
        {"\x1f\x8b", 2, "an archive (gzip)"},
        {"\xfd"
         "7zXZ",
         5, "an archive (xz)"},
        {"7z\xbc\xaf", 4, "an archive (7z)"},
        {"\x89PNG", 4, "an image (PNG)"},
        {"\xff\xd8\xff", 3, "an image (JPEG)"},
        {"GIF87a", 6, "an image (GIF)"},
        {"GIF89a", 6, "an image (GIF)"},
        {"bplist00", 8, "a shortcut to a web page, not the file"},
        {"\x30\x82", 2, "a certificate, request or key (DER)"},
    };

    for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++) {
        if (len >= looks[i].len
            && memcmp(bytes, looks[i].start, looks[i].len) == 0) {
            return looks[i].what;
        }
    }
    return NULL;
}

/* Anything between angle brackets: none of the CAs begins a code with one. */
static int is_markup(const char *text)
{
    return text[0] == '<' || strcasestr(text, "<html") != NULL
           || strcasestr(text, "<!doctype") != NULL
           || strcasestr(text, "<body") != NULL;
}

static const char *look_of_pem(const char *text)
{
    size_t len = strlen(text);
    ecert_pem_block_t block;
    ecert_err_t ignored;

    if (strstr(text, "-----BEGIN ") == NULL) {
        return NULL;
    }
    ecert_pem_block_init(&block, (const unsigned char *)text, len);
    ecert_pem_block_next(&block, NULL, &ignored);
    return ecert_pem_kind_name(block.kind);
}

/* DER in Base64 begins with "MI" when it is as long as a key. */
static int is_bare_base64(const char *text)
{
    size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvw"
                            "xyz0123456789+/=\r\n");

    return strncmp(text, "MI", 2) == 0 && text[n] == '\0' && n >= BASE64_LEAST;
}

/* Begins with a field of a mail's header (RFC 5322, 2.2). */
static int is_mail(const char *text)
{
    static const char *const fields[] = {
        "From",
        "To",
        "Cc",
        "Date",
        "Subject",
        "Received",
        "Return-Path",
        "Delivered-To",
        "Message-ID",
        "MIME-Version",
        "Content-Type",
        "Reply-To",
        "Sender",
        "DKIM-Signature",
        "Authentication-Results",
    };
    size_t n = strcspn(text, ":\r\n ");

    if (strncmp(text, "From ", 5) == 0) {
        return 1;
    }
    if (text[n] != ':') {
        return 0;
    }
    if (n > 2
        && (strncasecmp(text, "X-", 2) == 0
            || strncasecmp(text, "ARC-", 4) == 0)) {
        return 1;
    }
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (strlen(fields[i]) == n && strncasecmp(text, fields[i], n) == 0) {
            return 1;
        }
    }
    return 0;
}

const char *ecert_dcv_look_text(const char *text)
{
    static const look_t looks[] = {
        {"{\\rtf", 5, "an RTF document, as WordPad writes it"},
        {"[InternetShortcut]", 18, "a shortcut to a web page, not the file"},
        {"PuTTY-User-Key-File", 19, "a private key"},
        {"---- BEGIN SSH2", 15, "a key"},
    };
    const char *pem = look_of_pem(text);

    if (pem != NULL) {
        return pem;
    }
    for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++) {
        if (strncasecmp(text, looks[i].start, looks[i].len) == 0) {
            return looks[i].what;
        }
    }
    if (is_markup(text)) {
        return "a web page (HTML)";
    }
    if (is_mail(text)) {
        return "a mail with its header";
    }
    return is_bare_base64(text) ? "a certificate, request or key (Base64)"
                                : NULL;
}
