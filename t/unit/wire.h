/* TLS handshakes in memory, and what a client sees of the server. */

#ifndef T_UNIT_WIRE_H
#define T_UNIT_WIRE_H

#include <openssl/ssl.h>

typedef struct {
    SSL *client, *server;
} wire_t;

/* A client of that version that verifies nothing; ciphers may be NULL. */
SSL_CTX *wire_client(int version, const char *sigalgs);

/* A server with this certificate and callback; both may be NULL. */
SSL_CTX *wire_server(X509 *cert, EVP_PKEY *key, int (*callback)(SSL *, void *),
                     void *ctx);

/* 1 when the handshake was finished by both, else 0; always wire_free. */
int wire_shake(wire_t *wire, SSL_CTX *client, SSL_CTX *server,
               SSL_SESSION *session);
void wire_free(wire_t *wire);

/* One handshake; the server's certificate (a reference) or NULL. */
X509 *wire_peer(SSL_CTX *client, SSL_CTX *server);

#endif
