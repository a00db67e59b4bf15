#include "ecert_security.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

struct ecert_security_s {
    SSL_CTX *context;
    SSL *ssl; /* as a worker's connection, before its handshake */
    int library_level;
};

ecert_security_t *ecert_security_new(ecert_err_t *err)
{
    ecert_security_t *security = calloc(1, sizeof(*security));

    if (security == NULL) {
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        return NULL;
    }
    security->context = SSL_CTX_new(TLS_server_method());
    security->ssl = security->context ? SSL_new(security->context) : NULL;
    if (security->ssl == NULL) {
        ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL, "a TLS context");
        ecert_security_free(security);
        return NULL;
    }
    security->library_level = SSL_get_security_level(security->ssl);
    return security;
}

void ecert_security_free(ecert_security_t *security)
{
    if (security == NULL) {
        return;
    }
    SSL_free(security->ssl);
    SSL_CTX_free(security->context);
    free(security);
}

void ecert_security_set(ecert_security_t *security, int level)
{
    SSL_set_security_level(security->ssl,
                           level > 0 ? level : security->library_level);
}

int ecert_security_level(const ecert_security_t *security)
{
    return SSL_get_security_level(security->ssl);
}

/* Leaves nothing in the connection, nor in OpenSSL's queue. */
static void begin_anew(ecert_security_t *security)
{
    SSL_certs_clear(security->ssl);
    ERR_clear_error();
}

/* The library's judgement; any other failure is a matter of the moment. */
static int is_refusal(unsigned long code)
{
    int reason = ERR_GET_REASON(code);

    return ERR_GET_LIB(code) == ERR_LIB_SSL
           && (reason == SSL_R_CA_MD_TOO_WEAK
               || reason == SSL_R_CA_KEY_TOO_SMALL
               || reason == SSL_R_EE_KEY_TOO_SMALL
               || reason == SSL_R_UNKNOWN_CERTIFICATE_TYPE);
}

int ecert_security_element(ecert_security_t *security, X509 *cert, char *why,
                           size_t size)
{
    unsigned long code =
        SSL_add1_chain_cert(security->ssl, cert) == 1 ? 0 : ERR_peek_error();
    int refused = is_refusal(code);

    if (refused) {
        snprintf(why, size, "%s at security level %d",
                 ERR_reason_error_string(code), ecert_security_level(security));
    }
    begin_anew(security);
    return refused ? -1 : 0;
}

static int refuse(const ecert_security_t *security, unsigned long code,
                  const char *file, ecert_err_t *err)
{
    ecert_err(err,
              ERR_GET_REASON(code) == SSL_R_CA_MD_TOO_WEAK ? ECERT_ERR_SIGNATURE
                                                           : ECERT_ERR_KEY_TYPE,
              file, "the TLS library would refuse it: %s at security level %d",
              ERR_reason_error_string(code), ecert_security_level(security));
    return ecert_err_hint(err, "request a certificate with a stronger key and "
                               "signature, or lower @SECLEVEL in the server's "
                               "ciphers");
}

int ecert_security_check(ecert_security_t *security, X509 *leaf,
                         STACK_OF(X509) *chain, const char *file,
                         ecert_err_t *err)
{
    int rc = 0;

    /* without a private key the public one stands for it */
    if (SSL_use_cert_and_key(security->ssl, leaf, NULL, chain, 1) != 1) {
        unsigned long code = ERR_peek_error();

        rc = is_refusal(code) ? refuse(security, code, file, err)
                              : ecert_err_openssl(err, ECERT_ERR_OPENSSL, file,
                                                  "put into a connection");
    }
    begin_anew(security);
    return rc;
}
