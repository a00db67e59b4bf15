/*
 * The record of OCSP responses as it is published: which leaf each is about,
 * until when it may be sent, and its bytes.  There are two while one leaf takes
 * the place of another: each has its own in the handshakes around that moment.
 */

#ifndef ECERT_STAPLE_H
#define ECERT_STAPLE_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/x509.h>

#include "ecert_err.h"

#define ECERT_STAPLES 2 /* in one record */

typedef struct {
    unsigned char leaf[32]; /* SHA-256 of the certificate */
    int64_t next_update;    /* first second at which it is not sent any more */
    const unsigned char *der;
    size_t len;
} ecert_staple_t;

/*
 * n, 1 to ECERT_STAPLES, of them.  Nothing is sent for one without bytes: it
 * takes back what was published before.  *out is the caller's, free with
 * ecert_snap_free.
 */
int ecert_staple_encode(const ecert_staple_t *list, size_t n,
                        unsigned char **out, size_t *len, ecert_err_t *err);

/* list (ECERT_STAPLES) points into bytes.  SNAPSHOT when they are none. */
int ecert_staple_decode(const unsigned char *bytes, size_t len,
                        ecert_staple_t *list, size_t *n, ecert_err_t *err);

/* 1 when it is about this leaf and may be sent at this time. */
int ecert_staple_fits(const ecert_staple_t *staple, const X509 *leaf,
                      int64_t now);

#endif
