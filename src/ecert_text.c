#include "ecert_text.h"

#include <string.h>

#include <openssl/asn1.h>

size_t ecert_text_sign(const void *p, size_t len, unsigned long *sign)
{
    int step = UTF8_getc(p, len > 4 ? 4 : (int)len, sign);

    if (step <= 0 || *sign > 0x10ffff || (*sign >= 0xd800 && *sign <= 0xdfff)) {
        return 0;
    }
    return (size_t)step;
}

ecert_text_order_t ecert_text_order(const unsigned char *bytes, size_t len)
{
    if (len >= 2 && bytes[0] == 0xff && bytes[1] == 0xfe) {
        return ECERT_TEXT_UTF16LE;
    }
    if (len >= 2 && bytes[0] == 0xfe && bytes[1] == 0xff) {
        return ECERT_TEXT_UTF16BE;
    }
    if (len < 4 || (bytes[0] == 0) != (bytes[2] == 0)
        || (bytes[1] == 0) != (bytes[3] == 0)) {
        return ECERT_TEXT_BYTES;
    }
    if (bytes[0] != 0 && bytes[1] == 0) {
        return ECERT_TEXT_UTF16LE;
    }
    return bytes[0] == 0 && bytes[1] != 0 ? ECERT_TEXT_UTF16BE
                                          : ECERT_TEXT_BYTES;
}

static unsigned long unit_at(const unsigned char *p, ecert_text_order_t order)
{
    return order == ECERT_TEXT_UTF16LE
               ? (unsigned long)p[0] | (unsigned long)p[1] << 8
               : (unsigned long)p[1] | (unsigned long)p[0] << 8;
}

int ecert_text_from_utf16(const unsigned char *bytes, size_t len,
                          ecert_text_order_t order, char *out, size_t *out_len)
{
    *out_len = 0;
    for (size_t i = 0; i + 1 < len; i += 2) {
        unsigned long sign = unit_at(bytes + i, order);
        int n;

        if (sign >= 0xd800 && sign <= 0xdbff && i + 3 < len) {
            unsigned long low = unit_at(bytes + i + 2, order);

            if (low < 0xdc00 || low > 0xdfff) {
                return -1;
            }
            sign = 0x10000 + ((sign - 0xd800) << 10) + (low - 0xdc00);
            i += 2;
        }
        n = UTF8_putc((unsigned char *)out + *out_len, 4, sign);
        if (n <= 0) {
            return -1;
        }
        *out_len += (size_t)n;
    }
    out[*out_len] = '\0';
    return len % 2 == 0 ? 0 : -1;
}

int ecert_text_blank(unsigned long sign)
{
    return sign == ' ' || (sign >= '\t' && sign <= '\r') || sign == 0x85
           || sign == 0xa0 || sign == 0x1680
           || (sign >= 0x2000 && sign <= 0x200f)
           || (sign >= 0x2028 && sign <= 0x202f)
           || (sign >= 0x205f && sign <= 0x206f) || sign == 0x3000
           || sign == ECERT_TEXT_BOM;
}

static int is_apostrophe(unsigned long sign)
{
    return sign == '\'' || sign == 0x2019;
}

static int is_quote(unsigned long sign)
{
    return sign == '"' || sign == '`' || is_apostrophe(sign) || sign == 0xab
           || sign == 0xbb || (sign >= 0x2018 && sign <= 0x201f)
           || sign == 0x2039 || sign == 0x203a
           || (sign >= 0x300c && sign <= 0x300f)
           || (sign >= 0x301d && sign <= 0x301f) || sign == 0xff02
           || sign == 0xff07;
}

/* The first sign; what is not UTF-8 is none of those that are looked for. */
static size_t first_sign(const char *text, size_t len, unsigned long *sign)
{
    size_t step = ecert_text_sign(text, len, sign);

    if (step == 0) {
        *sign = 0;
    }
    return step > 0 ? step : len > 0;
}

static size_t last_sign(const char *text, size_t len, unsigned long *sign)
{
    size_t back = 1;

    while (back < 4 && back < len && (text[len - back] & 0xc0) == 0x80) {
        back++;
    }
    if (len == 0 || ecert_text_sign(text + len - back, back, sign) != back) {
        *sign = 0;
        back = len > 0;
    }
    return back;
}

static int has_quote(const char *text, size_t len)
{
    unsigned long sign;

    for (size_t i = 0; i < len; i += first_sign(text + i, len - i, &sign)) {
        first_sign(text + i, len - i, &sign);
        if (is_quote(sign) && !is_apostrophe(sign)) {
            return 1;
        }
    }
    return 0;
}

static void take_blanks(const char **text, size_t *len)
{
    unsigned long sign;
    size_t step;

    while ((step = first_sign(*text, *len, &sign)) > 0
           && ecert_text_blank(sign)) {
        *text += step;
        *len -= step;
    }
    while ((step = last_sign(*text, *len, &sign)) > 0
           && ecert_text_blank(sign)) {
        *len -= step;
    }
}

/* 1 when there were some. */
static int take_quotes(const char **text, size_t *len)
{
    unsigned long sign;
    size_t front = first_sign(*text, *len, &sign), back;

    front = is_quote(sign) ? front : 0;
    back = last_sign(*text + front, *len - front, &sign);
    back = is_quote(sign) && (front > 0 || !is_apostrophe(sign)) ? back : 0;
    if (front + back == 0 || has_quote(*text + front, *len - front - back)) {
        return 0;
    }
    *text += front;
    *len -= front + back;
    return 1;
}

void ecert_text_bare(const char **text, size_t *len)
{
    do {
        take_blanks(text, len);
    } while (take_quotes(text, len));
}

char *ecert_text_pasted(char *text)
{
    const char *bare = text;
    size_t len = strlen(text);

    ecert_text_bare(&bare, &len);
    text += bare - text;
    text[len] = '\0';
    return text;
}
