/*
 * What people save as a validation file, mended so that validators take it.
 * Some read only the first 100 bytes and want the code at their very start, so
 * nothing may stand before it.  Pure.
 */

#ifndef ECERT_DCV_MEND_H
#define ECERT_DCV_MEND_H

#include <stddef.h>

#include "ecert_err.h"

/* What was mended: a set. */
#define ECERT_MENDED_BOM      1  /* a byte order mark */
#define ECERT_MENDED_UTF16    2  /* UTF-16 became UTF-8 */
#define ECERT_MENDED_CRLF     4  /* CR LF, or CR, became LF */
#define ECERT_MENDED_LEADING  8  /* white space before the code */
#define ECERT_MENDED_TRAILING 16 /* white space behind it, at line ends */

/* "a byte order mark, line ends of Windows" into out; returns out. */
char *ecert_dcv_mended(unsigned set, char *out, size_t size);

/*
 * The body to serve from the bytes of a file: *out is the caller's
 * (OPENSSL_free), *mended the set above.  TOKEN, naming file and reason: an
 * HTML page (saved in place of the file), RTF, Word, PDF, ZIP, an image or
 * other binary bytes, a certificate or request or key in PEM, a mail, a
 * shortcut, empty, larger than ECERT_DCV_BODY_MAX, a code with a space in its
 * first line when there is but one line (a sentence, not a code), or with
 * something else than ASCII in it.  What needs no mending stays byte for byte.
 */
int ecert_dcv_mend(const unsigned char *bytes, size_t len, const char *file,
                   unsigned char **out, size_t *out_len, unsigned *mended,
                   ecert_err_t *err);

/*
 * The file's name to serve under: `as` when it is given (path may be NULL
 * then), `usual` when path is "-", else the last component of path without what
 * browsers add ("fileauth (1).txt", "fileauth.txt.download", "Fileauth.TXT"
 * when the known name differs in case alone), where `usual` is the catalogue's
 * name or NULL.  TOKEN when it is not one that ecert_dcv_file takes, a dot
 * file, or a download that is not finished.  into out (ECERT_DCV_FILE_MAX + 1).
 */
int ecert_dcv_name(const char *path, const char *as, const char *usual,
                   char *out, ecert_err_t *err);

/*
 * One TXT record in zone-file form (RFC 1035, 5.1) for a name in A-label form
 * (a wildcard stands for the name below it): `NAME. TTL IN TXT "CODE"`, the
 * code quoted, split at 255 bytes.  TOKEN for control characters, none, or
 * non-ASCII.  The text is the caller's (free()).
 */
char *ecert_dcv_txt(const char *ascii, const char *code, unsigned ttl,
                    ecert_err_t *err);

#endif
