/* What was saved in place of a validation file.  Pure. */

#ifndef ECERT_DCV_LOOK_H
#define ECERT_DCV_LOOK_H

#include <stddef.h>

/* "a PDF document" by the first bytes of a file; NULL: not told by them. */
const char *ecert_dcv_look_bytes(const unsigned char *bytes, size_t len);

/*
 * "a web page (HTML)", "a private key" and the like; NULL: it may be a code.
 * text is UTF-8 without a zero byte, and with nothing before its first sign.
 */
const char *ecert_dcv_look_text(const char *text);

#endif
