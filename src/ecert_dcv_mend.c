#include "ecert_dcv_mend.h"

#include <stdio.h>
#include <string.h>

#include <openssl/asn1.h>
#include <openssl/crypto.h>

#include "ecert_dcv.h"
#include "ecert_dcv_look.h"

#define BOM 0xfeff

/* The text on its way, in UTF-8, with a zero byte behind it. */
typedef struct {
    unsigned char *bytes;
    size_t room;
    size_t len;
    unsigned mended;
} text_t;

char *ecert_dcv_mended(unsigned set, char *out, size_t size)
{
    static const char *const words[] = {
        "a byte order mark", "UTF-16", "line ends of Windows",
        "white space before the code", "white space behind it"};
    size_t used = 0;

    if (size > 0) {
        out[0] = '\0';
    }
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if ((set >> i & 1) != 0 && used < size) {
            int n = snprintf(out + used, size - used, "%s%s",
                             used > 0 ? ", " : "", words[i]);
            used += (size_t)n;
        }
    }
    return out;
}

/* Bytes of the sign at p; 0: not UTF-8. */
static size_t sign_at(const unsigned char *p, size_t len, unsigned long *sign)
{
    int step = UTF8_getc(p, len > 4 ? 4 : (int)len, sign);

    if (step <= 0 || *sign > 0x10ffff || (*sign >= 0xd800 && *sign <= 0xdfff)) {
        return 0;
    }
    return (size_t)step;
}

/* 1: little endian, 2: big endian, 0: not UTF-16. */
static int utf16_order(const unsigned char *bytes, size_t len)
{
    if (len >= 2 && bytes[0] == 0xff && bytes[1] == 0xfe) {
        return 1;
    }
    if (len >= 2 && bytes[0] == 0xfe && bytes[1] == 0xff) {
        return 2;
    }
    if (len < 4 || (bytes[0] == 0) != (bytes[2] == 0)
        || (bytes[1] == 0) != (bytes[3] == 0)) {
        return 0;
    }
    if (bytes[0] != 0 && bytes[1] == 0) {
        return 1;
    }
    return bytes[0] == 0 && bytes[1] != 0 ? 2 : 0;
}

static unsigned long unit_at(const unsigned char *p, int order)
{
    return order == 1 ? (unsigned long)p[0] | (unsigned long)p[1] << 8
                      : (unsigned long)p[1] | (unsigned long)p[0] << 8;
}

/* Into room for three bytes a unit. */
static int from_utf16(text_t *text, const unsigned char *bytes, size_t len,
                      int order)
{
    for (size_t i = 0; i + 1 < len; i += 2) {
        unsigned long sign = unit_at(bytes + i, order);

        if (sign >= 0xd800 && sign <= 0xdbff && i + 3 < len) {
            unsigned long low = unit_at(bytes + i + 2, order);

            if (low < 0xdc00 || low > 0xdfff) {
                return -1;
            }
            sign = 0x10000 + ((sign - 0xd800) << 10) + (low - 0xdc00);
            i += 2;
        }
        int n = UTF8_putc(text->bytes + text->len, 4, sign);

        if (n <= 0) {
            return -1;
        }
        text->len += (size_t)n;
    }
    text->mended |= ECERT_MENDED_UTF16;
    return len % 2 == 0 ? 0 : -1;
}

static int decode(text_t *text, const unsigned char *bytes, size_t len,
                  const char *file, ecert_err_t *err)
{
    int order = utf16_order(bytes, len);

    text->room = len / 2 * 3 + len % 2 + 4;
    text->bytes = OPENSSL_zalloc(text->room);
    if (text->bytes == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, file, NULL);
    }
    if (order == 0) {
        if (len > 0) {
            memcpy(text->bytes, bytes, len);
        }
        text->len = len;
    } else if (from_utf16(text, bytes, len, order) != 0) {
        return ecert_err(err, ECERT_ERR_TOKEN, file,
                         "it is cut off or damaged UTF-16");
    }
    return 0;
}

static int check_signs(const text_t *text, const char *file, ecert_err_t *err)
{
    unsigned long sign = 0;
    size_t step;

    for (size_t i = 0; i < text->len; i += step) {
        step = sign_at(text->bytes + i, text->len - i, &sign);
        if (step == 0) {
            return ecert_err(err, ECERT_ERR_TOKEN, file,
                             "it is not text: byte %zu is not UTF-8", i + 1);
        }
        if (sign < 0xa0 && (sign < 0x20 || sign > 0x7e)
            && !ecert_dcv_blank(sign)) {
            return ecert_err(err, ECERT_ERR_TOKEN, file,
                             "it is not text: byte %zu is 0x%02lx", i + 1,
                             sign);
        }
    }
    return 0;
}

/* Some validators want the code as the very first bytes. */
static void strip_start(text_t *text)
{
    unsigned long sign = 0;
    size_t start = 0, step;

    while (start < text->len) {
        step = sign_at(text->bytes + start, text->len - start, &sign);
        if (!ecert_dcv_blank(sign)) {
            break;
        }
        text->mended |= sign == BOM ? ECERT_MENDED_BOM : ECERT_MENDED_LEADING;
        start += step;
    }
    text->len -= start;
    memmove(text->bytes, text->bytes + start, text->len + 1);
}

static void mend_line_ends(text_t *text)
{
    size_t n = 0;

    for (size_t i = 0; i < text->len; i++) {
        unsigned char c = text->bytes[i];

        if (c == '\r') {
            text->mended |= ECERT_MENDED_CRLF;
            if (text->bytes[i + 1] == '\n') {
                continue;
            }
            c = '\n';
        }
        text->bytes[n++] = c;
    }
    text->bytes[n] = '\0';
    text->len = n;
}

/* Lines end with their last sign, the text with it or with one line end. */
static void strip_ends(text_t *text)
{
    unsigned long sign = 0;
    size_t before = text->len, n = 0, seen = 0, last = 0, step;
    int ended = 0;

    for (size_t i = 0; i < before; i += step) {
        step = sign_at(text->bytes + i, before - i, &sign);
        if (sign == '\n') {
            n = seen;
            text->bytes[n++] = '\n';
            seen = n;
            ended = 1;
            continue;
        }
        memmove(text->bytes + n, text->bytes + i, step);
        n += step;
        if (!ecert_dcv_blank(sign)) {
            seen = last = n;
            ended = 0;
        }
    }
    if (ended) {
        text->bytes[last++] = '\n';
    }
    text->bytes[last] = '\0';
    text->len = last;
    if (last != before) {
        text->mended |= ECERT_MENDED_TRAILING;
    }
}

/* The code is the first line: one word of ASCII, with every CA there is. */
static int check_code(const text_t *text, const char *file, ecert_err_t *err)
{
    const char *code = (const char *)text->bytes;
    size_t len = strcspn(code, "\n"), step;
    int alone = len + 1 >= text->len;
    unsigned long sign = 0;

    for (size_t i = 0; i < len; i += step) {
        step = sign_at(text->bytes + i, len - i, &sign);
        if (sign > 0x7e) {
            return ecert_err(err, ECERT_ERR_TOKEN, file,
                             "sign %zu of its first line, U+%04lX, is not of "
                             "ASCII, as every code is",
                             i + 1, sign);
        }
        if (alone && ecert_dcv_blank(sign)) {
            return ecert_err(err, ECERT_ERR_TOKEN, file,
                             "its only line has a space: a sentence, not a "
                             "code");
        }
    }
    return 0;
}

static int too_large(size_t len, const char *file, ecert_err_t *err)
{
    return ecert_err(err, ECERT_ERR_TOKEN, file,
                     "it has %zu bytes, %d are allowed", len,
                     ECERT_DCV_BODY_MAX);
}

static int mend(text_t *text, const char *file, ecert_err_t *err)
{
    const char *look;

    if (check_signs(text, file, err) != 0) {
        return -1;
    }
    strip_start(text);
    if (text->len == 0) {
        return ecert_err(err, ECERT_ERR_TOKEN, file, "it is empty");
    }
    /* once more: it may have stood behind a byte order mark */
    look = ecert_dcv_look_bytes(text->bytes, text->len);
    if (look == NULL) {
        look = ecert_dcv_look_text((const char *)text->bytes);
    }
    if (look != NULL) {
        return ecert_err(err, ECERT_ERR_TOKEN, file, "it is %s", look);
    }
    mend_line_ends(text);
    strip_ends(text);
    if (text->len > ECERT_DCV_BODY_MAX) {
        return too_large(text->len, file, err);
    }
    return check_code(text, file, err);
}

int ecert_dcv_mend(const unsigned char *bytes, size_t len, const char *file,
                   unsigned char **out, size_t *out_len, unsigned *mended,
                   ecert_err_t *err)
{
    const char *look = ecert_dcv_look_bytes(bytes, len);
    text_t text = {NULL, 0, 0, 0};

    *out = NULL;
    *out_len = 0;
    *mended = 0;
    if (look != NULL) {
        return ecert_err(err, ECERT_ERR_TOKEN, file, "it is %s", look);
    }
    if (len > 4 * (size_t)ECERT_DCV_BODY_MAX) {
        return too_large(len, file, err);
    }
    if (decode(&text, bytes, len, file, err) != 0
        || mend(&text, file, err) != 0) {
        OPENSSL_clear_free(text.bytes, text.room); /* of a key, say */
        return -1;
    }
    *out = text.bytes;
    *out_len = text.len;
    *mended = text.mended;
    return 0;
}
