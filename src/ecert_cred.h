/*
 * A credential: leaf, private key and chain, which belong together.  Immutable
 * once made; it has one owner.
 */

#ifndef ECERT_CRED_H
#define ECERT_CRED_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "ecert_err.h"

#define ECERT_CHAIN_MAX 12 /* elements served behind the leaf */

typedef struct {
    X509 *leaf;
    EVP_PKEY *key;
    STACK_OF(X509) *chain; /* never NULL; may be empty; without the leaf */
    uint64_t generation;   /* of the snapshot record it came from, else 0 */
    int placeholder; /* self-signed stand-in before the first certificate */
} ecert_cred_t;

/*
 * Takes a reference to each; the chain is copied.  Fails with MISMATCH when
 * the key is not the leaf's.
 */
ecert_cred_t *ecert_cred_new(X509 *leaf, EVP_PKEY *key,
                             const STACK_OF(X509) *chain, ecert_err_t *err);
void ecert_cred_free(ecert_cred_t *cred);

/* The record as published: *out is the caller's, free with ecert_snap_free. */
int ecert_cred_encode(const ecert_cred_t *cred, unsigned char **out,
                      size_t *len, ecert_err_t *err);
ecert_cred_t *ecert_cred_decode(const unsigned char *bytes, size_t len,
                                ecert_err_t *err);

/*
 * Puts it into one connection, in place of whatever the connection had
 * (SSL_certs_clear, SSL_use_cert_and_key).  On failure the handshake must end.
 */
int ecert_cred_use(const ecert_cred_t *cred, SSL *ssl, ecert_err_t *err);

#endif
