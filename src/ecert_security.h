/*
 * What the TLS library of this machine refuses to send at a security level
 * (SSL_CTX_set_security_level(3)): digests and keys that are too weak, in its
 * own judgement, asked before a worker's handshake would.  No connection is
 * made.
 */

#ifndef ECERT_SECURITY_H
#define ECERT_SECURITY_H

#include <stddef.h>

#include <openssl/x509.h>

#include "ecert_err.h"

typedef struct ecert_security_s ecert_security_t;

/* At the library's default level.  NULL: MEMORY or OPENSSL. */
ecert_security_t *ecert_security_new(ecert_err_t *err);
void ecert_security_free(ecert_security_t *security);

/* The level in force for what is asked next; 0: the library's default. */
void ecert_security_set(ecert_security_t *security, int level);
int ecert_security_level(const ecert_security_t *security);

/*
 * Whether cert may be sent as an element behind the leaf: 0, or -1 with the
 * library's reason in why, such as "ca md too weak at security level 2".
 */
int ecert_security_element(ecert_security_t *security, X509 *cert, char *why,
                           size_t size);

/*
 * Whether all of it can be put into a connection, as a worker does: 0, or
 * SIGNATURE or KEY_TYPE with the library's reason, OPENSSL where it could not
 * say; file is for the message.
 */
int ecert_security_check(ecert_security_t *security, X509 *leaf,
                         STACK_OF(X509) *chain, const char *file,
                         ecert_err_t *err);

#endif
