#include "ecert_dcv_mend.h"

#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "ecert_dcv.h"
#include "ecert_sniff.h"
#include "ecert_text.h"

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

static int decode(text_t *text, const unsigned char *bytes, size_t len,
                  const char *file, ecert_err_t *err)
{
    ecert_text_order_t order = ecert_text_order(bytes, len);

    text->room = len / 2 * 3 + len % 2 + 4;
    text->bytes = OPENSSL_zalloc(text->room);
    if (text->bytes == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, file, NULL);
    }
    if (order == ECERT_TEXT_BYTES) {
        if (len > 0) {
            memcpy(text->bytes, bytes, len);
        }
        text->len = len;
        return 0;
    }
    text->mended |= ECERT_MENDED_UTF16;
    return ecert_text_from_utf16(bytes, len, order, (char *)text->bytes,
                                 &text->len)
                   == 0
               ? 0
               : ecert_err(err, ECERT_ERR_TOKEN, file,
                           "it is cut off or damaged UTF-16");
}

static int check_signs(const text_t *text, const char *file, ecert_err_t *err)
{
    unsigned long sign = 0;
    size_t step;

    for (size_t i = 0; i < text->len; i += step) {
        step = ecert_text_sign(text->bytes + i, text->len - i, &sign);
        if (step == 0) {
            return ecert_err(err, ECERT_ERR_TOKEN, file,
                             "it is not text: byte %zu is not UTF-8", i + 1);
        }
        if (sign < 0xa0 && (sign < 0x20 || sign > 0x7e)
            && !ecert_text_blank(sign)) {
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
        step = ecert_text_sign(text->bytes + start, text->len - start, &sign);
        if (!ecert_text_blank(sign)) {
            break;
        }
        text->mended |=
            sign == ECERT_TEXT_BOM ? ECERT_MENDED_BOM : ECERT_MENDED_LEADING;
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
        step = ecert_text_sign(text->bytes + i, before - i, &sign);
        if (sign == '\n') {
            n = seen;
            text->bytes[n++] = '\n';
            seen = n;
            ended = 1;
            continue;
        }
        memmove(text->bytes + n, text->bytes + i, step);
        n += step;
        if (!ecert_text_blank(sign)) {
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
        step = ecert_text_sign(text->bytes + i, len - i, &sign);
        if (sign > 0x7e) {
            return ecert_err(err, ECERT_ERR_TOKEN, file,
                             "sign %zu of its first line, U+%04lX, is not of "
                             "ASCII, as every code is",
                             i + 1, sign);
        }
        if (alone && ecert_text_blank(sign)) {
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

/* What is known is no code; UTF-16 can be one. */
static int check_kind(const unsigned char *bytes, size_t len, const char *file,
                      ecert_err_t *err)
{
    ecert_sniff_t found = ecert_sniff(bytes, len);

    return found.name == NULL || found.kind == ECERT_SNIFF_UTF16
               ? 0
               : ecert_err(err, ECERT_ERR_TOKEN, file, "it is %s", found.name);
}

static int mend(text_t *text, const char *file, ecert_err_t *err)
{
    if (check_signs(text, file, err) != 0) {
        return -1;
    }
    strip_start(text);
    if (text->len == 0) {
        return ecert_err(err, ECERT_ERR_TOKEN, file, "it is empty");
    }
    /* once more: it may have been UTF-16, or stood behind white space */
    if (check_kind(text->bytes, text->len, file, err) != 0) {
        return -1;
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
    text_t text = {NULL, 0, 0, 0};

    *out = NULL;
    *out_len = 0;
    *mended = 0;
    if (check_kind(bytes, len, file, err) != 0) {
        return -1;
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
