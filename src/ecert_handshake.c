#include "ecert_handshake.h"

#include <errno.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

/* The socket waits by itself: the kernel's own deadlines are enough here. */
static int connect_to(const ecert_handshake_t *to, ecert_err_t *err)
{
    struct timeval limit = {.tv_sec = to->seconds};
    int fd = socket(to->address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, to->where, "make a socket");
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, to->address, to->len) != 0) {
        if (errno == EINPROGRESS || errno == EAGAIN) {
            errno = ETIMEDOUT;
        }
        ecert_err(err, ECERT_ERR_SYSTEM, to->where, "connect");
        close(fd);
        return -1;
    }
    return fd;
}

/* The server wants to see a certificate: it is told that there is none. */
static int show_none(SSL *ssl, X509 **cert, EVP_PKEY **key)
{
    int *asked = SSL_get_app_data(ssl);

    (void)cert;
    (void)key;
    *asked = 1;
    return 0;
}

/* Whether the server ended it because no certificate was shown. */
static int wants_ours(const SSL *ssl, int asked)
{
    unsigned long code = ERR_peek_error();

    return asked && ERR_GET_LIB(code) == ERR_LIB_SSL
           && ERR_GET_REASON(code) >= SSL_AD_REASON_OFFSET /* an alert */
           && SSL_get_peer_cert_chain(ssl) != NULL;
}

static int shake(const ecert_handshake_t *to, SSL *ssl, ecert_err_t *err)
{
    int asked = 0;

    SSL_set_app_data(ssl, &asked);
    if (to->host != NULL) {
        SSL_set_tlsext_host_name(ssl, to->host);
    }
    SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);
    if (SSL_connect(ssl) == 1) {
        return 0;
    }
    if (wants_ours(ssl, asked)) {
        ERR_clear_error();
        return 0;
    }
    return ERR_peek_error() != 0
               ? ecert_err_openssl(err, ECERT_ERR_OPENSSL, to->where,
                                   "the TLS handshake failed")
               : ecert_err(err, ECERT_ERR_SYSTEM, to->where,
                           "the TLS handshake was not answered");
}

int ecert_handshake(const ecert_handshake_t *to, ecert_shaken_t *out,
                    ecert_err_t *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = NULL;
    long len;
    int fd;

    if (context != NULL) {
        SSL_CTX_set_client_cert_cb(context, show_none);
        SSL_CTX_set_security_level(context, 0); /* what is weak is seen, too */
        ssl = SSL_new(context);
    }
    if (ssl == NULL) {
        return ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL, "TLS");
    }
    fd = connect_to(to, err);
    if (fd < 0) {
        return -1;
    }
    SSL_set_fd(ssl, fd);
    if (shake(to, ssl, err) != 0) {
        return -1;
    }
    out->sent = SSL_get_peer_cert_chain(ssl);
    out->staple = NULL;
    len = SSL_get_tlsext_status_ocsp_resp(ssl, &out->staple);
    out->staple_len = out->staple != NULL && len > 0 ? (size_t)len : 0;
    out->protocol = SSL_get_version(ssl);
    return 0;
}
