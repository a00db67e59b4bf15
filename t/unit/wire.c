#include "wire.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>

static void must(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "wire: %s failed\n", what);
        ERR_print_errors_fp(stderr);
        abort();
    }
}

SSL_CTX *wire_client(int version, const char *sigalgs)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    must(ctx != NULL && SSL_CTX_set_min_proto_version(ctx, version)
             && SSL_CTX_set_max_proto_version(ctx, version),
         "client");
    must(sigalgs == NULL || SSL_CTX_set1_sigalgs_list(ctx, sigalgs), "sigalgs");
    return ctx;
}

SSL_CTX *wire_server(X509 *cert, EVP_PKEY *key, int (*callback)(SSL *, void *),
                     void *arg)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    must(ctx != NULL, "server");
    must(cert == NULL
             || (SSL_CTX_use_certificate(ctx, cert)
                 && SSL_CTX_use_PrivateKey(ctx, key)),
         "certificate");
    if (callback != NULL) {
        SSL_CTX_set_cert_cb(ctx, callback, arg);
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    return ctx;
}

int wire_shake(wire_t *wire, SSL_CTX *client, SSL_CTX *server,
               SSL_SESSION *session)
{
    BIO *a = NULL, *b = NULL;
    int i, c = 0, s = 0;

    wire->client = SSL_new(client);
    wire->server = SSL_new(server);
    must(wire->client && wire->server && BIO_new_bio_pair(&a, 65536, &b, 65536),
         "connection");
    SSL_set_bio(wire->client, a, a);
    SSL_set_bio(wire->server, b, b);
    SSL_set_connect_state(wire->client);
    SSL_set_accept_state(wire->server);
    if (session != NULL) {
        SSL_set_session(wire->client, session);
    }
    for (i = 0; i < 20 && (c != 1 || s != 1); i++) {
        c = SSL_do_handshake(wire->client);
        s = SSL_do_handshake(wire->server);
    }
    ERR_clear_error();
    return c == 1 && s == 1;
}

void wire_free(wire_t *wire)
{
    SSL_free(wire->client);
    SSL_free(wire->server);
}

X509 *wire_peer(SSL_CTX *client, SSL_CTX *server)
{
    X509 *cert = NULL;
    wire_t wire;

    if (wire_shake(&wire, client, server, NULL)) {
        cert = SSL_get1_peer_certificate(wire.client);
    }
    wire_free(&wire);
    return cert;
}
