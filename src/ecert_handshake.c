#include "ecert_handshake.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "ecert_target.h"

/* From the address itself: it may be another machine's now, or be translated on
 * the way to it; that one's certificate is not asked for. */
static int bind_to(int fd, const ecert_handshake_t *to)
{
    ecert_sockaddr_t from;

    memcpy(&from, to->address, to->len);
    from.v4.sin_port = 0; /* where IPv6 has it, too */
    return bind(fd, &from.any, to->len);
}

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
    if (to->here && bind_to(fd, to) != 0) {
        ecert_err(err, ECERT_ERR_SYSTEM, to->where,
                  "this is no address of this machine");
        close(fd);
        return -1;
    }
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

/* Whether there is nothing more to come: it wanted a certificate of ours. */
static int wants_ours(const SSL *ssl, int asked)
{
    return asked && SSL_get_peer_cert_chain(ssl) != NULL;
}

/* RFC 8446, 6: internal_error, as OpenSSL has it but for the blanks. */
static void name_alert(int alert, char *out, size_t size)
{
    int used = snprintf(out, size, "the handshake ends with the alert ");

    snprintf(out + used, size - (size_t)used, "%s",
             SSL_alert_desc_string_long(alert));
    for (char *p = out + used; *p != '\0'; p++) {
        *p = *p == ' ' ? '_' : *p;
    }
}

/* The versions that it speaks are not ours. */
static int is_mismatch(int reason)
{
    return reason == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION
           || reason == SSL_R_TLSV1_ALERT_INSUFFICIENT_SECURITY
           || reason == SSL_R_UNSUPPORTED_PROTOCOL
           || reason == SSL_R_WRONG_SSL_VERSION;
}

static int explain(const ecert_handshake_t *to, ecert_shaken_t *out,
                   ecert_err_t *err)
{
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
    int closed = errno == ECONNRESET || errno == EPIPE || errno == 0;

    if (is_mismatch(reason)) {
        return ecert_err_openssl(err, ECERT_ERR_OPENSSL, to->where,
                                 "no version of TLS is spoken there that this "
                                 "look can speak");
    }
    if (reason >= SSL_AD_REASON_OFFSET) {
        name_alert(reason - SSL_AD_REASON_OFFSET, out->failed,
                   sizeof(out->failed));
    } else if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING
               || (reason == 0 && closed)) {
        snprintf(out->failed, sizeof(out->failed),
                 "the connection is closed in the middle of the handshake");
    } else if (reason != 0) {
        snprintf(out->failed, sizeof(out->failed), "the handshake fails: %.60s",
                 ERR_reason_error_string(code));
    } else {
        return ecert_err(err, ECERT_ERR_SYSTEM, to->where,
                         "the TLS handshake was not answered");
    }
    ERR_clear_error();
    return 0;
}

static int shake(const ecert_handshake_t *to, SSL *ssl, ecert_shaken_t *out,
                 ecert_err_t *err)
{
    int asked = 0;

    SSL_set_app_data(ssl, &asked);
    if (to->host != NULL) {
        SSL_set_tlsext_host_name(ssl, to->host);
    }
    SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);
    errno = 0;
    if (SSL_connect(ssl) == 1 || wants_ours(ssl, asked)) {
        ERR_clear_error();
        return 0;
    }
    return explain(to, out, err);
}

/* Those of these groups that this OpenSSL has. */
static void offer_groups(SSL_CTX *context)
{
    static const char *const names[] = {
        "X25519",
        "P-256",
        "X448",
        "P-384",
        "P-521",
        "X25519MLKEM768",
        "SecP256r1MLKEM768",
        "SecP384r1MLKEM1024",
        "brainpoolP256r1",
        "brainpoolP384r1",
        "brainpoolP512r1",
        "brainpoolP256r1tls13",
        "brainpoolP384r1tls13",
        "brainpoolP512r1tls13",
        "secp256k1",
        "P-224",
        "ffdhe2048",
        "ffdhe3072",
        "ffdhe4096",
        "ffdhe6144",
        "ffdhe8192",
    };
    char list[512] = "";
    size_t used = 0;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (SSL_CTX_set1_groups_list(context, names[i]) == 1) {
            used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
                                     used ? ":" : "", names[i]);
        }
    }
    SSL_CTX_set1_groups_list(context, list);
}

/* All that there is; but for ciphers by which no certificate is sent. */
static void offer_all(SSL_CTX *context)
{
    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_min_proto_version(context, 0);
    SSL_CTX_set_max_proto_version(context, 0);
    SSL_CTX_set_cipher_list(context, "ALL:!aNULL:@SECLEVEL=0");
    SSL_CTX_set_ciphersuites(
        context, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:"
                 "TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:"
                 "TLS_AES_128_CCM_8_SHA256");
    SSL_CTX_set_options(context, SSL_OP_LEGACY_SERVER_CONNECT);
    offer_groups(context);
    ERR_clear_error();
}

int ecert_handshake(const ecert_handshake_t *to, ecert_shaken_t *out,
                    ecert_err_t *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = NULL;
    long len;
    int fd;

    memset(out, 0, sizeof(*out));
    if (context != NULL) {
        SSL_CTX_set_client_cert_cb(context, show_none);
        offer_all(context);
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
    if (shake(to, ssl, out, err) != 0) {
        return -1;
    }
    out->protocol = SSL_get_version(ssl);
    if (out->failed[0] != '\0') {
        return 0;
    }
    out->sent = SSL_get_peer_cert_chain(ssl);
    len = SSL_get_tlsext_status_ocsp_resp(ssl, &out->staple);
    out->staple_len = out->staple != NULL && len > 0 ? (size_t)len : 0;
    return 0;
}
