/*
 * Text as people save and paste it: its encoding, and what came along with it.
 * Pure.
 */

#ifndef ECERT_TEXT_H
#define ECERT_TEXT_H

#include <stddef.h>

#define ECERT_TEXT_BOM 0xfeff

typedef enum {
    ECERT_TEXT_BYTES = 0, /* not UTF-16 */
    ECERT_TEXT_UTF16LE,
    ECERT_TEXT_UTF16BE
} ecert_text_order_t;

/* Bytes of the sign at p, of at most len; 0: not UTF-8 (RFC 3629). */
size_t ecert_text_sign(const void *p, size_t len, unsigned long *sign);

/* By its byte order mark (RFC 2781, 3.2), or by where its zero bytes are. */
ecert_text_order_t ecert_text_order(const unsigned char *bytes, size_t len);

/* UTF-16 of this order to UTF-8; a byte order mark stays a sign.  out has room
 * for len / 2 * 3 + 1 bytes and gets a zero byte behind *out_len.  -1: cut off
 * or damaged. */
int ecert_text_from_utf16(const unsigned char *bytes, size_t len,
                          ecert_text_order_t order, char *out, size_t *out_len);

/* A blank or something that shows nothing: spaces, line ends, NBSP, zero-width
 * signs, byte order mark, directional marks. */
int ecert_text_blank(unsigned long sign);

/*
 * Takes off what comes along when a value is pasted: blanks (ecert_text_blank)
 * at both ends, and quotes around it, straight or typographic, unless there are
 * more of them inside.  An apostrophe at the end stays where none is in front.
 * bare: *text and *len are moved.  pasted: returns where the value begins, and
 * puts a zero byte into text where it ends.
 */
void ecert_text_bare(const char **text, size_t *len);
char *ecert_text_pasted(char *text);

#endif
