/*
 * PKCS#12 (PFX, RFC 7292): how a private key travels with its certificates.
 * Pure: bytes in, bytes out, no files, no clock.  Hostile bytes are read in a
 * jail (ecert_jail.h), not by a privileged process.
 */

#ifndef ECERT_PFX_H
#define ECERT_PFX_H

#include <stddef.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "ecert_err.h"

#define ECERT_PFX_ITERATIONS   1000000 /* of one derivation, in a file read */
#define ECERT_PFX_CERTIFICATES 32      /* in one file */

/* Of all of them: GnuTLS derives 600,000 for each certificate anew. */
#define ECERT_PFX_ITERATIONS_SUM (10 * ECERT_PFX_ITERATIONS)

typedef struct {
    EVP_PKEY *key;                /* NULL: none */
    STACK_OF(X509) *certificates; /* never NULL after a success; the key's own
                                     first, when it is there */
    char friendly_name[256];      /* of the key's certificate, else of the key;
                                     escaped */
} ecert_pfx_t;

/* What reads it later (the CA's guide, F.8 and F.9). */
typedef enum {
    ECERT_PFX_WINDOWS, /* 3DES-SHA1 throughout: Server 2016, IIS 10 and older */
    ECERT_PFX_MODERN   /* AES-256-CBC, PBKDF2 with SHA-256, MAC SHA-256 */
} ecert_pfx_profile_t;

/* windows, modern; USAGE, naming both. */
int ecert_pfx_profile_parse(const char *text, ecert_pfx_profile_t *profile,
                            ecert_err_t *err);

/*
 * Opens it.  password is UTF-8, "" for an empty one (which some tools write as
 * none at all: both are tried); one that is not ASCII is tried in the spelling
 * of OpenSSL before 1.1.0, too.  RC2-40 and others are taken from OpenSSL's
 * legacy provider, in a library context of its own.  file is named in errors:
 * PASSWORD, ALGORITHM (which), DAMAGED, ITERATIONS (how many; before anything
 * is derived), TOO_MANY (certificates, or keys: more than one), KEY_TYPE (one
 * that OpenSSL does not know), MEMORY.
 * out is to be freed after success only.
 */
int ecert_pfx_read(const unsigned char *bytes, size_t len, const char *file,
                   const char *password, ecert_pfx_t *out, ecert_err_t *err);

/*
 * Makes one: key (may not be NULL) and certificates (may be none), everything
 * encrypted; friendly_name and localKeyId stand at the key and at the first
 * certificate, if that is the key's own.  *out: OPENSSL_clear_free(*out, *len).
 */
int ecert_pfx_write(const ecert_pfx_t *in, ecert_pfx_profile_t profile,
                    const char *password, unsigned char **out, size_t *len,
                    ecert_err_t *err);

void ecert_pfx_free(ecert_pfx_t *pfx);

#endif
