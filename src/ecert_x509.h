/* Small questions to a certificate, beside those in ecert_chain.h. */

#ifndef ECERT_X509_H
#define ECERT_X509_H

#include <openssl/x509.h>

#include "ecert_chain.h"

/* Issued to itself and signed with its own key. */
int ecert_x509_self_signed(X509 *cert);

/* May issue certificates (basicConstraints CA). */
int ecert_x509_ca(X509 *cert);

/* Has an extended key usage with serverAuth (anyExtendedKeyUsage is none). */
int ecert_x509_server_auth(X509 *cert);

/*
 * May sign a handshake (digitalSignature, or no key usage at all), as TLS 1.3
 * and ECDHE need it: RFC 8446, 4.4.2.2.
 */
int ecert_x509_signs_handshakes(X509 *cert);

/* Same subject and same public key. */
int ecert_x509_same_identity(X509 *a, X509 *b);

/* issuer's subject is the name that cert gives as its issuer. */
int ecert_x509_names_issuer(X509 *cert, X509 *issuer);

/* As ecert_x509_label, for any name. */
char *ecert_x509_name_label(const X509_NAME *name, char *out, size_t size);

/* As PEM, to be freed with OPENSSL_free; NULL: OPENSSL. */
char *ecert_x509_pem(X509 *cert, ecert_err_t *err);

/* YYYY-MM-DD of a Unix time into out[32]; returns out. */
char *ecert_day_format(int64_t seconds, char *out);

#endif
