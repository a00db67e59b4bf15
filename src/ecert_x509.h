/* Small questions to a certificate, beside those in ecert_chain.h. */

#ifndef ECERT_X509_H
#define ECERT_X509_H

#include <openssl/x509.h>

#include "ecert_chain.h"

/*
 * 1 when cert's signature is by this key.  A key that somebody chose so that a
 * signature takes long to verify, or of a kind that no CA for TLS has, is not
 * used at all (ecert_x509_key_fault): 0.
 */
int ecert_x509_signed_by(X509 *cert, EVP_PKEY *key);

/*
 * Why no signature is verified with this key; NULL: it may be.  RSA up to 8,192
 * bits with an exponent of at most 64, EC over a named curve up to 521 bits,
 * Ed25519 and Ed448.
 */
const char *ecert_x509_key_fault(EVP_PKEY *key);

/* Issued to itself and signed with its own key. */
int ecert_x509_self_signed(X509 *cert);

/* May issue certificates (basicConstraints CA). */
int ecert_x509_ca(X509 *cert);

/*
 * It is no CA's among these certificates (one of them).  Those of version 1,
 * and others without basicConstraints, do not say what they are: one that
 * issued itself, or is named as the issuer of another, is a CA's.
 */
int ecert_x509_is_leaf(X509 *cert, const STACK_OF(X509) *list);

/* Has an extended key usage with serverAuth (anyExtendedKeyUsage is none). */
int ecert_x509_server_auth(X509 *cert);

/* Has an extended key usage, and serverAuth is not in it. */
int ecert_x509_no_server(X509 *cert);

/*
 * May sign a handshake (digitalSignature, or no key usage at all), as TLS 1.3
 * and ECDHE need it: RFC 8446, 4.4.2.2.
 */
int ecert_x509_signs_handshakes(X509 *cert);

/* Demands that its server staples (TLS feature status_request, RFC
 * 7633, 4.2.3.1). */
int ecert_x509_demands_staple(const X509 *cert);

/* 1 when this very certificate is one of the list (NULL: empty). */
int ecert_x509_is_in(const STACK_OF(X509) *list, const X509 *cert);

/* Same subject and same public key. */
int ecert_x509_same_identity(X509 *a, X509 *b);

/* issuer's subject is the name that cert gives as its issuer. */
int ecert_x509_names_issuer(X509 *cert, X509 *issuer);

/*
 * The same, and the authority key identifier of cert does not speak against it
 * (RFC 5280, 4.2.1.1): among issuers of one name the key identifier counts.
 */
int ecert_x509_may_issue(X509 *issuer, X509 *cert);

/* The same, and both have the same key identifier: it is this one or none. */
int ecert_x509_is_named(X509 *issuer, X509 *cert);

/* As ecert_x509_label, for any name. */
char *ecert_x509_name_label(const X509_NAME *name, char *out, size_t size);

/* As PEM, to be freed with OPENSSL_free; NULL: OPENSSL. */
char *ecert_x509_pem(X509 *cert, ecert_err_t *err);

/* YYYY-MM-DD of a Unix time into out[32]; returns out. */
char *ecert_day_format(int64_t seconds, char *out);

#endif
