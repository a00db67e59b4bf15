#include "probe.h"

#include <string.h>

#include <openssl/err.h>

#include "ecert_jail.h"

#define CERTIFICATE 1 /* kinds of frames */
#define STAPLE      2
#define PROTOCOL    3
#define FAILED      4
#define SENT_MAX    16

/* ---- in the jail ------------------------------------------------------- */

static int add_certificates(const STACK_OF(X509) *sent, ecert_frames_t *out,
                            ecert_err_t *err)
{
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

static int work(void *ctx, ecert_frames_t *out, ecert_err_t *err)
{
    ecert_shaken_t got;

    if (ecert_handshake(ctx, &got, err) != 0) {
        return -1;
    }
    if (got.failed[0] != '\0') {
        return ecert_frames_add(out, FAILED, got.failed, strlen(got.failed),
                                err);
    }
    if (add_certificates(got.sent, out, err) != 0
        || (got.staple_len > 0
            && ecert_frames_add(out, STAPLE, got.staple, got.staple_len, err)
                   != 0)) {
        return -1;
    }
    return ecert_frames_add(out, PROTOCOL, got.protocol, strlen(got.protocol),
                            err);
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
    case FAILED:
        ecert_frame_text(out->failed, sizeof(out->failed),
                         (const char *)frame->bytes, frame->len);
        return 0;
    default:
        return -1;
    }
}

int ecert_probe(const struct sockaddr *address, socklen_t len, const char *host,
                unsigned seconds, int here, const char *where,
                ecert_probed_t *out, ecert_err_t *err)
{
    ecert_handshake_t to = {address, len, host, where, seconds, here};
    ecert_frames_t frames;
    int rc;

    memset(out, 0, sizeof(*out));
    out->sent = sk_X509_new_null();
    if (out->sent == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    rc = ecert_jail_run_outside(work, &to, where, &frames, err);
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
