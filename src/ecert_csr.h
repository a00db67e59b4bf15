/*
 * Certificate signing requests (PKCS#10, RFC 2986) as the CA's guide wants them
 * (B.4, B.5), and the keys for them.  Pure but for the random numbers.
 */

#ifndef ECERT_CSR_H
#define ECERT_CSR_H

#include <stddef.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "ecert_err.h"

/* Subject of a request; UTF-8; NULL or "": left out. */
typedef struct {
    const char *country; /* two letters: "HK" */
    const char *state;
    const char *locality;
    const char *organization;
    const char *unit;
    const char *common_name; /* Unicode or A-label; "*.example.hk" */
} ecert_subject_t;

/*
 * SUBJECT, naming the option to correct (--country, --state, --locality, --org,
 * --unit, the name): not UTF-8, control characters, longer than RFC 5280,
 * appendix A allows (64 signs for CN, O, OU; 128 for ST and L; country: two
 * letters), or white space alone.  A common name that is longer than 64 signs
 * cannot be requested from this CA: says so.
 */
int ecert_subject_check(const ecert_subject_t *subject, ecert_err_t *err);

/*
 * Makes a key: "rsa:2048", "rsa:3072", "rsa:4096", "ec:P-256", "ec:P-384", in
 * any case ("rsa" alone: 2048).  KEY_TYPE, naming the choices.  tick, unless
 * NULL, is called now and then while it takes time (EVP_PKEY_CTX_set_cb).
 */
EVP_PKEY *ecert_key_make(const char *kind, void (*tick)(void *ctx), void *ctx,
                         ecert_err_t *err);

/* The key as PKCS#8 PEM, not encrypted: OPENSSL_clear_free(*pem, *len + 1). */
int ecert_key_pem(EVP_PKEY *key, char **pem, size_t *len, ecert_err_t *err);

/* SHA-256 over SubjectPublicKeyInfo as 64 hex digits, lower case. */
int ecert_key_id(EVP_PKEY *key, char id[65], ecert_err_t *err);

/*
 * A request, signed with SHA-256 (P-384: SHA-384).  DirectoryString values are
 * UTF8String, the country is PrintableString.  names (A-labels, may be none)
 * become the subjectAltName of an extension request, each once; NAME for what
 * is none.  SUBJECT as above, KEY_TYPE as ecert_pem_key_check.
 */
X509_REQ *ecert_csr_make(EVP_PKEY *key, const ecert_subject_t *subject,
                         const char *const *names, size_t n_names,
                         ecert_err_t *err);

/* "BEGIN CERTIFICATE REQUEST" (also "NEW") or DER, one of it (TOO_MANY), and
 * its signature checked; file is named in errors: EMPTY, FORMAT, TRUNCATED,
 * DAMAGED. */
X509_REQ *ecert_csr_read(const unsigned char *bytes, size_t len,
                         const char *file, ecert_err_t *err);

/* As PEM, to be freed with OPENSSL_free. */
char *ecert_csr_pem(X509_REQ *csr, ecert_err_t *err);

/*
 * Sectigo's validation file for this request: name (upper-case hex MD5 of the
 * DER, ".txt") into name[64]; body: SHA-256 in hex, "sectigo.com", and unique
 * where it is neither NULL nor empty, a line each, into body[256].  TOKEN for
 * a unique value with white space or other odd bytes, or of more than 177
 * bytes.
 */
int ecert_csr_sectigo(X509_REQ *csr, const char *unique, char name[64],
                      char body[256], ecert_err_t *err);

#endif
