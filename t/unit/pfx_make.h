/*
 * PFX files that ecert does not write: of parts, and with parameters that
 * nobody would choose; and how tests read them.  Whatever fails in here ends
 * the test.
 */

#ifndef T_UNIT_PFX_MAKE_H
#define T_UNIT_PFX_MAKE_H

#include <stddef.h>

#include <openssl/pkcs12.h>

#include "ecert_pfx.h"

typedef struct {
    unsigned char *bytes;
    size_t len;
} blob_t;

void blob_free(blob_t *blob);

/*
 * ecert_pfx_read of "a.pfx", which also must leave OpenSSL's error queue empty
 * and the thread's library context as it was.
 */
int pfx_read(const unsigned char *bytes, size_t len, const char *password,
             ecert_pfx_t *out, ecert_err_t *err);

/* The key itself, not only its public half. */
int pfx_same_key(EVP_PKEY *a, EVP_PKEY *b);

/* Whether it works where the library context that read it is gone. */
int pfx_key_signs(EVP_PKEY *key);

/*
 * A library context with the legacy provider for this thread, as a reader of
 * its own would have it; 0 when there is no such provider.
 */
int legacy_enter(void);
void legacy_leave(void);

/* Bags, to be given to pfx_add; scheme 0: not encrypted.  1 iteration. */
PKCS12_SAFEBAG *bag_key(EVP_PKEY *key, int scheme, const char *password);
PKCS12_SAFEBAG *bag_certificate(X509 *cert);
PKCS12_SAFEBAG *bag_crl(void);
PKCS12_SAFEBAG *bag_secret(void);
PKCS12_SAFEBAG *bag_secret_of(const char *type); /* a dotted OID */
PKCS12_SAFEBAG *bag_key_unknown(void);           /* its algorithm is 1.2.3.4 */

/* An encrypted key that is none: its parameters matter.  Takes scheme over. */
PKCS12_SAFEBAG *bag_scheme(X509_ALGOR *scheme);

/* Takes bag into as many bags of bags. */
PKCS12_SAFEBAG *bag_nest(PKCS12_SAFEBAG *bag, int times);

/* Adds a part made of one bag, which it takes over; scheme as above. */
void pfx_add(STACK_OF(PKCS7) **safes, PKCS12_SAFEBAG *bag, int scheme,
             int iterations, const char *password);

/* The file; no MAC without mac.  Takes safes over. */
PKCS12 *pfx_of(STACK_OF(PKCS7) *safes, const EVP_MD *mac, int iterations,
               const char *password);

/* Its bytes; takes it over. */
blob_t pfx_bytes(PKCS12 *p12);

/* What the reader says: PBES2 of parts, each taken over. */
X509_ALGOR *scheme_pbes2(X509_ALGOR *kdf, const char *cipher);
X509_ALGOR *scheme_pbkdf2(const char *iterations, const char *prf);
X509_ALGOR *scheme_pbkdf2_length(int len); /* what it derives */
X509_ALGOR *scheme_scrypt(uint64_t n, uint64_t r, uint64_t p);
X509_ALGOR *scheme_pbes1(const char *name, long iterations);

/* Replaces the MAC's algorithm; param may be NULL.  Both are taken over. */
void pfx_set_mac(PKCS12 *p12, const char *name, ASN1_TYPE *param);

#endif
