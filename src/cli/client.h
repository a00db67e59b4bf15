/* Clients that trust one root only. */

#ifndef ECERT_CLI_CLIENT_H
#define ECERT_CLI_CLIENT_H

#include <openssl/x509.h>

#include "ecert_ca.h"
#include "ecert_err.h"

/* Where roots may be found. */
typedef struct {
    const ecert_ca_t *ca;
    const STACK_OF(X509) *anchors; /* of this machine */
    const STACK_OF(X509) *pool;    /* CA certificates, roots among them */
    const X509 *cross; /* the cross-certificate in question; NULL: none */
} ecert_client_t;

/*
 * The roots of a client: "root-ca-3" (the CA's own), "cross" (the issuer of the
 * cross-certificate), or those in a file; the caller's.  MISSING when they are
 * not on this machine.
 */
STACK_OF(X509) *ecert_client_roots(const ecert_client_t *client,
                                   const char *who, ecert_err_t *err);

#endif
