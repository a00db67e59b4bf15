#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/x509.h>

uint64_t tls_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

SSL_CTX *tls_client(int version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    if (ctx == NULL) {
        return NULL;
    }
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_min_proto_version(ctx, version) != 1
        || SSL_CTX_set_max_proto_version(ctx, version) != 1) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static int dial(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval patience = {.tv_sec = 10};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -1;
    }
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int look(const SSL *ssl, tls_seen_t *seen)
{
    X509 *leaf = SSL_get1_peer_certificate(ssl);
    int ok =
        leaf != NULL && X509_digest(leaf, EVP_sha256(), seen->leaf, NULL) == 1;

    X509_free(leaf);
    return ok ? 0 : -1;
}

/* Tickets may be on their way still; then comes the end, also as a reset. */
static int await_end(int fd)
{
    char bytes[4096];
    ssize_t n;

    shutdown(fd, SHUT_WR);
    do {
        n = read(fd, bytes, sizeof(bytes));
    } while (n > 0);
    return n == 0 || errno == ECONNRESET ? 0 : -1;
}

static int shake(SSL *ssl, int fd, const char *name, tls_seen_t *seen)
{
    if (SSL_set_fd(ssl, fd) != 1 || SSL_set_tlsext_host_name(ssl, name) != 1
        || SSL_connect(ssl) != 1) {
        return -1;
    }
    seen->done = tls_now();
    SSL_shutdown(ssl);
    if (await_end(fd) != 0) {
        return -1;
    }
    seen->closed = tls_now();
    return look(ssl, seen);
}

int tls_connect(SSL_CTX *ctx, uint16_t port, const char *name, tls_seen_t *seen)
{
    SSL *ssl = SSL_new(ctx);
    int fd, rc = -1;

    if (ssl == NULL) {
        return -1;
    }
    seen->begin = tls_now();
    fd = dial(port);
    if (fd >= 0) {
        rc = shake(ssl, fd, name, seen);
        close(fd);
    }
    SSL_free(ssl);
    ERR_clear_error();
    return rc;
}
