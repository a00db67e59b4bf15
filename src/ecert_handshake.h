/*
 * One TLS handshake as a client, to see what a server sends.  For a process
 * without rights that ends soon: the server may be anybody's, and nothing is
 * freed.
 */

#ifndef ECERT_HANDSHAKE_H
#define ECERT_HANDSHAKE_H

#include <stddef.h>

#include <sys/socket.h>

#include <openssl/x509.h>

#include "ecert_err.h"

typedef struct {
    const struct sockaddr *address;
    socklen_t len;
    const char *host;  /* SNI, an A-label; NULL: none */
    const char *where; /* named in errors */
    unsigned seconds;  /* for the connection, and for each wait after it */
    int here;          /* only where the address is this machine's own */
} ecert_handshake_t;

#define ECERT_HANDSHAKE_SAYS 96 /* bytes of why one failed, with its end */

typedef struct {
    /* Why the handshake failed, "" when it did not; then all else is empty:
     * "the handshake ends with the alert internal_error" */
    char failed[ECERT_HANDSHAKE_SAYS];
    const STACK_OF(X509) *sent;  /* in order, the leaf first; NULL: none */
    const unsigned char *staple; /* OCSP response; NULL: none */
    size_t staple_len;
    const char *protocol; /* "TLSv1.3" */
} ecert_shaken_t;

/*
 * Nothing is verified, a staple is asked for, and no client certificate is
 * shown: a server that refuses to go on without one has sent its own by then,
 * and that is a success.  All is offered that this OpenSSL has, whatever is
 * weak, so that a server refuses only what it would refuse others, too.
 * 0: somebody answered there, out->failed says whether the handshake came to
 * its end.  SYSTEM: no connection, no answer.  OPENSSL: no protocol version in
 * common, so that nothing is known.
 */
int ecert_handshake(const ecert_handshake_t *to, ecert_shaken_t *out,
                    ecert_err_t *err);

#endif
