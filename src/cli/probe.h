/*
 * A TLS client that looks at what a server sends.  For an unprivileged process:
 * the server may be anybody's.
 */

#ifndef ECERT_CLI_PROBE_H
#define ECERT_CLI_PROBE_H

#include <stddef.h>

#include <sys/socket.h>

#include <openssl/x509.h>

#include "ecert_err.h"
#include "ecert_handshake.h"

typedef struct {
    STACK_OF(X509) *sent;  /* in order, the leaf first; never NULL */
    unsigned char *staple; /* OCSP response; NULL: none; OPENSSL_free */
    size_t staple_len;
    char protocol[16];                 /* "TLSv1.3" */
    char failed[ECERT_HANDSHAKE_SAYS]; /* why the handshake did; "": not */
} ecert_probed_t;

/*
 * One handshake with this address: SNI host (A-label; NULL: none), a staple is
 * asked for, the certificate is not verified.  Done in a jail that keeps the
 * network; what came is decoded again here.  seconds bound connection and
 * handshake together; here is as in ecert_handshake_t.  Fails as
 * ecert_handshake, DAMAGED, LIMITS.  where is named in errors.
 */
int ecert_probe(const struct sockaddr *address, socklen_t len, const char *host,
                unsigned seconds, int here, const char *where,
                ecert_probed_t *out, ecert_err_t *err);
void ecert_probed_free(ecert_probed_t *probed);

#endif
