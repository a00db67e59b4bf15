/*
 * One connection to a server on loopback with a full TLS handshake and no
 * request, and what the clock showed.
 */

#ifndef BENCH_TLS_H
#define BENCH_TLS_H

#include <stdint.h>

#include <openssl/ssl.h>

#define TLS_DIGEST 32 /* SHA-256 over a certificate */

typedef struct {
    uint64_t begin;  /* before connect(2); all in ns of the monotonic clock */
    uint64_t done;   /* the client has finished its handshake */
    uint64_t closed; /* the server has closed, too: all its work is done */
    unsigned char leaf[TLS_DIGEST];
} tls_seen_t;

/* ns of the monotonic clock. */
uint64_t tls_now(void);

/*
 * A client that never resumes and verifies nothing.  version is TLS1_2_VERSION
 * or TLS1_3_VERSION, or 0: what both have.  NULL when OpenSSL refuses; it is
 * the caller's, SSL_CTX_free.
 */
SSL_CTX *tls_client(int version);

/* Connects to 127.0.0.1, with name as SNI.  0, or -1 when it failed. */
int tls_connect(SSL_CTX *ctx, uint16_t port, const char *name,
                tls_seen_t *seen);

#endif
