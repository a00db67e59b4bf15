/*
 * Files of certificates and keys to objects: PEM in any order with text, BOM
 * or CRLF around it, DER, PKCS#7 (PEM or DER).  Pure: bytes in, objects out.
 */

#ifndef ECERT_PEM_H
#define ECERT_PEM_H

#include <stddef.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "ecert_err.h"

#define ECERT_PEM_CERTIFICATES 16    /* in one file */
#define ECERT_PEM_SANS         10000 /* names in one certificate */

/*
 * Adds the certificates in bytes to list, in order.  file is named in errors.
 * EMPTY, FORMAT (says what it looks like when that can be told: HTML, a key, a
 * request, a PFX, UTF-16), TRUNCATED (which block, and that nothing of the
 * file is taken), TOO_MANY.  On failure list is as before.
 */
int ecert_pem_certificates(const unsigned char *bytes, size_t len,
                           const char *file, STACK_OF(X509) *list,
                           ecert_err_t *err);

/*
 * The one private key in bytes: PKCS#8, PKCS#1, SEC1, PEM or DER; certificates
 * beside it are passed over.  Checked for kind and size: RSA 2048 to 8192,
 * named curves P-256 and P-384 (KEY_TYPE otherwise, saying what it is).
 * NO_KEY, ENCRYPTED, EMPTY, FORMAT, TRUNCATED.
 */
EVP_PKEY *ecert_pem_key(const unsigned char *bytes, size_t len,
                        const char *file, ecert_err_t *err);

/* Kind and size of a key, e.g. "RSA-2048", "EC P-256", into out; returns out.
 */
char *ecert_pem_key_name(EVP_PKEY *key, char *out, size_t size);

/* KEY_TYPE unless it is one of those above; DAMAGED when it signs what its own
 * public half does not verify. */
int ecert_pem_key_check(EVP_PKEY *key, const char *file, ecert_err_t *err);

#endif
