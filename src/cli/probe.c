#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "ecert_jail.h"

#define CERTIFICATE 1 /* kinds of frames */
#define STAPLE      2
#define PROTOCOL    3
#define SENT_MAX    16

typedef struct {
    const struct sockaddr *address;
    socklen_t len;
    const char *host;
    const char *where;
    unsigned seconds;
} probe_t;

/* ---- in the jail ------------------------------------------------------- */

/* The socket waits by itself: the kernel's own deadlines are enough here. */
static int connect_to(const probe_t *probe, ecert_err_t *err)
{
    struct timeval limit = {.tv_sec = probe->seconds};
    int fd = socket(probe->address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, probe->where, "make a socket");
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, probe->address, probe->len) != 0) {
        if (errno == EINPROGRESS || errno == EAGAIN) {
            errno = ETIMEDOUT;
        }
        ecert_err(err, ECERT_ERR_SYSTEM, probe->where, "connect");
        close(fd);
        return -1;
    }
    return fd;
}

static int add_certificates(const SSL *ssl, ecert_frames_t *out,
                            ecert_err_t *err)
{
    const STACK_OF(X509) *sent = SSL_get_peer_cert_chain(ssl);
    int rc = 0;

    for (int i = 0; i < sk_X509_num(sent) && i < SENT_MAX && rc == 0; i++) {
        unsigned char *der = NULL;
        int len = i2d_X509(sk_X509_value(sent, i), &der);

        rc = len > 0 ? ecert_frames_add(out, CERTIFICATE, der, (size_t)len, err)
                     : ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL,
                                         "encode a certificate");
        OPENSSL_free(der);
    }
    return rc;
}

static int add_rest(SSL *ssl, ecert_frames_t *out, ecert_err_t *err)
{
    const unsigned char *staple = NULL;
    long len = SSL_get_tlsext_status_ocsp_resp(ssl, &staple);
    const char *protocol = SSL_get_version(ssl);

    if (staple != NULL && len > 0
        && ecert_frames_add(out, STAPLE, staple, (size_t)len, err) != 0) {
        return -1;
    }
    return ecert_frames_add(out, PROTOCOL, protocol, strlen(protocol), err);
}

static int shake(const probe_t *probe, SSL *ssl, int fd, ecert_frames_t *out,
                 ecert_err_t *err)
{
    if (probe->host != NULL) {
        SSL_set_tlsext_host_name(ssl, probe->host);
    }
    SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);
    SSL_set_fd(ssl, fd);
    if (SSL_connect(ssl) != 1) {
        return ERR_peek_error() != 0
                   ? ecert_err_openssl(err, ECERT_ERR_OPENSSL, probe->where,
                                       "the TLS handshake failed")
                   : ecert_err(err, ECERT_ERR_SYSTEM, probe->where,
                               "the TLS handshake was not answered");
    }
    return add_certificates(ssl, out, err) == 0 ? add_rest(ssl, out, err) : -1;
}

static int work(void *ctx, ecert_frames_t *out, ecert_err_t *err)
{
    const probe_t *probe = ctx;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = context ? SSL_new(context) : NULL;
    int fd = ssl ? connect_to(probe, err)
                 : ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL, "TLS");

    return fd < 0 ? -1 : shake(probe, ssl, fd, out, err); /* it ends anyway */
}

/* ---- outside ----------------------------------------------------------- */

static int take_certificate(const ecert_frame_t *frame, ecert_probed_t *out)
{
    const unsigned char *p = frame->bytes;
    X509 *cert = d2i_X509(NULL, &p, (long)frame->len);

    ERR_clear_error();
    if (cert == NULL || p != frame->bytes + frame->len
        || sk_X509_num(out->sent) >= SENT_MAX
        || sk_X509_push(out->sent, cert) <= 0) {
        X509_free(cert);
        return -1;
    }
    return 0;
}

static int take(const ecert_frame_t *frame, ecert_probed_t *out)
{
    switch (frame->kind) {
    case CERTIFICATE:
        return take_certificate(frame, out);
    case STAPLE:
        if (out->staple == NULL) {
            out->staple = OPENSSL_memdup(frame->bytes, frame->len);
            out->staple_len = frame->len;
        }
        return out->staple ? 0 : -1;
    case PROTOCOL:
        ecert_escape(out->protocol, sizeof(out->protocol),
                     (const char *)frame->bytes, frame->len);
        return 0;
    default:
        return -1;
    }
}

int ecert_probe(const struct sockaddr *address, socklen_t len, const char *host,
                unsigned seconds, const char *where, ecert_probed_t *out,
                ecert_err_t *err)
{
    probe_t probe = {address, len, host, where, seconds};
    ecert_frames_t frames;
    int rc;

    memset(out, 0, sizeof(*out));
    out->sent = sk_X509_new_null();
    if (out->sent == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    rc = ecert_jail_run_outside(work, &probe, where, &frames, err);
    for (size_t i = 0; rc == 0 && i < frames.n; i++) {
        if (take(&frames.frames[i], out) != 0) {
            rc = ecert_err(err, ECERT_ERR_DAMAGED, where, NULL);
        }
    }
    ecert_frames_free(&frames);
    if (rc != 0) {
        ecert_probed_free(out);
    }
    return rc;
}

void ecert_probed_free(ecert_probed_t *probed)
{
    sk_X509_pop_free(probed->sent, X509_free);
    OPENSSL_free(probed->staple);
    memset(probed, 0, sizeof(*probed));
}
