/*
 * OCSP responses as no responder would make them, and the certificates that
 * sign them.  Whatever fails in here ends the test.
 */

#ifndef T_UNIT_OCSP_MAKE_H
#define T_UNIT_OCSP_MAKE_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/ocsp.h>

#include "ecert_ocsp.h"
#include "pki.h"

/* One response to be made; what is 0 or NULL is as a CA would do it. */
typedef struct {
    X509 *leaf, *issuer; /* what the certID names */
    const EVP_MD *id_md; /* of the certID: SHA-1 */
    int status, reason;  /* V_OCSP_CERTSTATUS_x; CRLReason, only if revoked */
    int64_t revoked_at;  /* only if revoked */
    int64_t from, to;    /* thisUpdate, nextUpdate (0: none) */
    int64_t produced;    /* producedAt: as from */
    X509 *by;            /* gives the responderID */
    EVP_PKEY *key;       /* the key of `by` */
    int by_key;          /* responderID by key's hash, else by name */
    const EVP_MD *md;    /* of the signature: SHA-256 */
    const EVP_MD *pss;   /* RSASSA-PSS with this one instead */
    X509 *certs[3];      /* what is sent along */
    void (*alter)(OCSP_BASICRESP *basic); /* before it is signed */
    void (*named)(OCSP_BASICRESP *basic); /* then; it is signed once more */
    EVP_PKEY *forger;                     /* signs instead of key, in the end */
} ocsp_make_t;

typedef struct {
    unsigned char *bytes; /* OPENSSL_free */
    size_t len;
} ocsp_bytes_t;

/* About the pki's leaf: good, by new_sub itself, from a day ago, for a week. */
ocsp_make_t ocsp_usual(const pki_t *pki);

/* A certificate to sign answers with, by new_sub, from ten days ago. */
X509 *ocsp_delegate(const pki_t *pki, EVP_PKEY *key, int64_t until);

ocsp_bytes_t ocsp_make(const ocsp_make_t *make);

/* One without an answer in it. */
ocsp_bytes_t ocsp_make_failure(int status);

/* Adds another answer about leaf to what is being made. */
void ocsp_add(OCSP_BASICRESP *basic, const EVP_MD *id_md, X509 *leaf,
              X509 *issuer, int status, int64_t from, int64_t to);

/*
 * Replaces an extension of the certificate (value NULL: takes it away), in the
 * words of openssl.cnf, and signs it again.
 */
void ocsp_extend(X509 *cert, EVP_PKEY *issuer_key, int nid, const char *value);

/* Lets the certificate begin then, and signs it again. */
void ocsp_set_begin(X509 *cert, EVP_PKEY *issuer_key, int64_t not_before);

/* An extension of ours, which nobody knows. */
X509_EXTENSION *ocsp_extension(int critical);

/*
 * ecert_ocsp_check, which also must leave OpenSSL's error queue empty, leave
 * *out alone when it fails, and have something to say then.
 */
int ocsp_check(ocsp_bytes_t bytes, X509 *leaf, X509 *issuer, int64_t now,
               int64_t held, ecert_ocsp_t *out, ecert_err_t *err);

#endif
