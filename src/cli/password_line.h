/* The line that a password comes in, and what text it is. */

#ifndef ECERT_CLI_PASSWORD_LINE_H
#define ECERT_CLI_PASSWORD_LINE_H

#include <signal.h>
#include <stddef.h>

#include "ecert_err.h"

#define ECERT_PASSWORD_MAX 1024 /* bytes of UTF-8, with its end */

typedef struct {
    unsigned char bytes[3 * ECERT_PASSWORD_MAX]; /* as they came */
    size_t len;                                  /* with the line end */
} ecert_password_line_t;

/*
 * The first line of a descriptor, byte by byte: what follows it in a pipe is
 * not ours.  mask: the signals that are blocked meanwhile, but for those that
 * may end the waiting; NULL: nothing may.  what is named in errors: TOO_LARGE,
 * SYSTEM (sys EINTR: a signal).  line is to be wiped.
 */
int ecert_password_line_read(int fd, const sigset_t *mask, const char *what,
                             ecert_password_line_t *line, ecert_err_t *err);

/*
 * The password in UTF-8, which is what PKCS#12 derives its keys from (RFC 7292,
 * B.1), and what every other way to give the same one leads to: without line
 * end and byte order mark, decoded where it is UTF-16.  PASSWORD_REFUSED: it is
 * no UTF-8, damaged UTF-16, or has a zero byte.  TOO_LARGE.
 */
int ecert_password_line_text(const ecert_password_line_t *line,
                             const char *what, char text[ECERT_PASSWORD_MAX],
                             ecert_err_t *err);

/* The bytes as they came, to the first zero byte or line end: what OpenSSL
 * takes for the password, and earlier versions took. */
void ecert_password_line_bytes(const ecert_password_line_t *line,
                               char bytes[ECERT_PASSWORD_MAX]);

#endif
