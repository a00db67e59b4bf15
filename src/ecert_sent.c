#include "ecert_sent.h"

#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "ecert_x509.h"

#define DIGEST 1 /* kinds of frames */
#define STAPLE 2
#define FAILED 3

int ecert_sent_write(const ecert_shaken_t *got, ecert_frames_t *out,
                     ecert_err_t *err)
{
    unsigned char digest[32];

    if (got->failed[0] != '\0') {
        return ecert_frames_add(out, FAILED, got->failed, strlen(got->failed),
                                err);
    }
    for (int i = 0; i < sk_X509_num(got->sent) && i < ECERT_SENT_MAX; i++) {
        if (X509_digest(sk_X509_value(got->sent, i), EVP_sha256(), digest, NULL)
            != 1) {
            return ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL, "SHA-256");
        }
        if (ecert_frames_add(out, DIGEST, digest, sizeof(digest), err) != 0) {
            return -1;
        }
    }
    return got->staple_len > 0 ? ecert_frames_add(out, STAPLE, NULL, 0, err)
                               : 0;
}

static int take(const ecert_frame_t *frame, ecert_sent_t *out)
{
    if (out->failed[0] != '\0') {
        return -1;
    }
    if (frame->kind == DIGEST && frame->len == sizeof(out->digests[0])
        && out->n < ECERT_SENT_MAX && !out->stapled) {
        memcpy(out->digests[out->n++], frame->bytes, frame->len);
        return 0;
    }
    if (frame->kind == STAPLE && frame->len == 0 && !out->stapled) {
        out->stapled = 1;
        return 0;
    }
    if (frame->kind == FAILED && frame->len > 0
        && frame->len < sizeof(out->failed) && out->n == 0) {
        ecert_frame_text(out->failed, sizeof(out->failed),
                         (const char *)frame->bytes, frame->len);
        return 0;
    }
    return -1;
}

int ecert_sent_read(const ecert_frames_t *frames, const char *where,
                    ecert_sent_t *out, ecert_err_t *err)
{
    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < frames->n; i++) {
        if (take(&frames->frames[i], out) != 0) {
            return ecert_err(err, ECERT_ERR_FETCH, where,
                             "the process that went there gave no sensible "
                             "answer");
        }
    }
    return 0;
}

static int is_same(const unsigned char *digest, const X509 *cert)
{
    unsigned char own[32];

    return X509_digest(cert, EVP_sha256(), own, NULL) == 1
           && memcmp(digest, own, sizeof(own)) == 0;
}

static int differs_in_leaf(const ecert_sent_t *sent, const X509 *leaf,
                           char *out, size_t size)
{
    char own[65], other[17];

    if (sent->n == 0) {
        snprintf(out, size, "no certificate is sent");
        return 1;
    }
    if (is_same(sent->digests[0], leaf)) {
        return 0;
    }
    for (size_t i = 0; i < 8; i++) {
        snprintf(other + 2 * i, 3, "%02X", sent->digests[0][i]);
    }
    snprintf(out, size,
             "another certificate is sent, SHA-256 %s, and %.16s is published",
             other, ecert_x509_fingerprint(leaf, own));
    return 1;
}

static int differs_in_chain(const ecert_sent_t *sent,
                            const STACK_OF(X509) *chain, char *out, size_t size)
{
    size_t n = chain ? (size_t)sk_X509_num(chain) : 0;
    char name[128];

    for (size_t i = 0; i < n; i++) {
        const X509 *cert = sk_X509_value(chain, (int)i);

        if (i + 1 >= sent->n) {
            snprintf(out, size, "%.100s is not sent",
                     ecert_x509_label(cert, name, sizeof(name)));
            return 1;
        }
        if (!is_same(sent->digests[i + 1], cert)) {
            snprintf(out, size,
                     "another certificate is sent in place of %.100s",
                     ecert_x509_label(cert, name, sizeof(name)));
            return 1;
        }
    }
    if (sent->n > n + 1) {
        snprintf(out, size, "certificates are sent that are not published: %zu",
                 sent->n - n - 1);
        return 1;
    }
    return 0;
}

int ecert_sent_differs(const ecert_sent_t *sent, const X509 *leaf,
                       const STACK_OF(X509) *chain, int staple, char *out,
                       size_t size)
{
    snprintf(out, size, "%s", sent->failed);
    if (sent->failed[0] != '\0' || differs_in_leaf(sent, leaf, out, size)
        || differs_in_chain(sent, chain, out, size)) {
        return 1;
    }
    if (staple && !sent->stapled) {
        snprintf(out, size, "no OCSP response is stapled");
        return 1;
    }
    return 0;
}
