/*
 * The record of an OCSP response as it is published: which leaf it is about,
 * until when it may be sent, and its bytes.
 */

#ifndef ECERT_STAPLE_H
#define ECERT_STAPLE_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/x509.h>

#include "ecert_err.h"

typedef struct {
    unsigned char leaf[32]; /* SHA-256 of the certificate */
    int64_t next_update;    /* first second at which it is not sent any more */
    const unsigned char *der;
    size_t len;
} ecert_staple_t;

/*
 * Nothing is sent for a record without bytes: it takes back the one before.
 * *out is the caller's, free with ecert_snap_free.
 */
int ecert_staple_encode(const ecert_staple_t *staple, unsigned char **out,
                        size_t *len, ecert_err_t *err);

/* staple points into bytes.  SNAPSHOT when they are none. */
int ecert_staple_decode(const unsigned char *bytes, size_t len,
                        ecert_staple_t *staple, ecert_err_t *err);

/* 1 when it is about this leaf and may be sent at this time. */
int ecert_staple_fits(const ecert_staple_t *staple, const X509 *leaf,
                      int64_t now);

#endif
