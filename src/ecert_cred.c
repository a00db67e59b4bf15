#include "ecert_cred.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>


/* Record: elements of type (u32), length (u32), bytes; all in host order. */
enum {
    ELEMENT_KEY = 1,
    ELEMENT_LEAF,
    ELEMENT_CHAIN,
    ELEMENT_PLACEHOLDER
};

ecert_cred_t *ecert_cred_new(X509 *leaf, EVP_PKEY *key,
                             const STACK_OF(X509) *chain, ecert_err_t *err)
{
    ecert_cred_t *cred;

    if (X509_check_private_key(leaf, key) != 1) {
        ecert_err_openssl(err, ECERT_ERR_MISMATCH, NULL, NULL);
        return NULL;
    }
    if (sk_X509_num(chain) > ECERT_CHAIN_MAX) { /* decode would refuse it */
        ecert_err(err, ECERT_ERR_TOO_MANY, NULL,
                  "a chain of %d certificates; %d are allowed",
                  sk_X509_num(chain), ECERT_CHAIN_MAX);
        return NULL;
    }
    cred = calloc(1, sizeof(*cred));
    if (cred == NULL) {
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        return NULL;
    }
    cred->chain = chain ? X509_chain_up_ref((STACK_OF(X509) *)(uintptr_t)chain)
                        : sk_X509_new_null();
    if (cred->chain == NULL) {
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        ecert_cred_free(cred);
        return NULL;
    }
    X509_up_ref(leaf);
    cred->leaf = leaf;
    EVP_PKEY_up_ref(key);
    cred->key = key;
    return cred;
}

void ecert_cred_free(ecert_cred_t *cred)
{
    if (cred == NULL) {
        return;
    }
    X509_free(cred->leaf);
    EVP_PKEY_free(cred->key);
    sk_X509_pop_free(cred->chain, X509_free);
    free(cred);
}

static unsigned char *put_head(unsigned char *p, uint32_t type, int len)
{
    uint32_t head[2] = {type, (uint32_t)len};

    memcpy(p, head, sizeof(head));
    return p + sizeof(head);
}

static int certificate_size(const X509 *cert)
{
    return i2d_X509(cert, NULL);
}

static unsigned char *put_certificate(unsigned char *p, uint32_t type,
                                      const X509 *cert)
{
    p = put_head(p, type, certificate_size(cert));
    i2d_X509(cert, &p);
    return p;
}

/* Key, leaf, chain, mark; p has room for all of it. */
static unsigned char *put_all(unsigned char *p, const ecert_cred_t *cred,
                              const PKCS8_PRIV_KEY_INFO *key, int key_len)
{
    int i;

    p = put_head(p, ELEMENT_KEY, key_len);
    i2d_PKCS8_PRIV_KEY_INFO(key, &p);
    p = put_certificate(p, ELEMENT_LEAF, cred->leaf);
    for (i = 0; i < sk_X509_num(cred->chain); i++) {
        p = put_certificate(p, ELEMENT_CHAIN, sk_X509_value(cred->chain, i));
    }
    if (cred->placeholder) {
        p = put_head(p, ELEMENT_PLACEHOLDER, 0);
    }
    return p;
}

int ecert_cred_encode(const ecert_cred_t *cred, unsigned char **out,
                      size_t *len, ecert_err_t *err)
{
    PKCS8_PRIV_KEY_INFO *key = EVP_PKEY2PKCS8(cred->key);
    int i, key_len = key ? i2d_PKCS8_PRIV_KEY_INFO(key, NULL) : -1;

    *out = NULL;
    if (key_len <= 0) {
        PKCS8_PRIV_KEY_INFO_free(key);
        return ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL,
                                 "cannot encode the key");
    }
    *len = 3 * 8 + (size_t)key_len + (size_t)certificate_size(cred->leaf);
    for (i = 0; i < sk_X509_num(cred->chain); i++) {
        *len += 8 + (size_t)certificate_size(sk_X509_value(cred->chain, i));
    }
    *out = OPENSSL_malloc(*len);
    if (*out != NULL) {
        *len = (size_t)(put_all(*out, cred, key, key_len) - *out);
    }
    PKCS8_PRIV_KEY_INFO_free(key);
    return *out ? 0 : ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
}

static EVP_PKEY *get_key(const unsigned char *p, uint32_t len)
{
    const unsigned char *end = p + len;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &p, (long)len);
    EVP_PKEY *key = NULL;

    if (info != NULL && p == end) {
        key = EVP_PKCS82PKEY(info);
    }
    PKCS8_PRIV_KEY_INFO_free(info);
    return key;
}

/*
 * For lack of memory OpenSSL may leave a key, what it knows of a key, or
 * extensions out, and keep them so for good: with these no handshake would ever
 * succeed.
 */
static int is_whole_key(const EVP_PKEY *key)
{
    return key != NULL && EVP_PKEY_get_bits(key) > 0
           && EVP_PKEY_get_security_bits(key) > 0 && EVP_PKEY_get_size(key) > 0;
}

static int is_whole(X509 *cert)
{
    return is_whole_key(X509_get0_pubkey(cert))
           && X509_check_purpose(cert, -1, 0) == 1;
}

static X509 *get_certificate(const unsigned char *p, uint32_t len)
{
    const unsigned char *end = p + len;
    X509 *cert = d2i_X509(NULL, &p, (long)len);

    if (cert != NULL && (p != end || !is_whole(cert))) {
        X509_free(cert);
        return NULL;
    }
    return cert;
}

static int get_chain(ecert_cred_t *cred, const unsigned char *p, uint32_t len)
{
    X509 *cert = get_certificate(p, len);

    if (cert == NULL || sk_X509_num(cred->chain) >= ECERT_CHAIN_MAX
        || sk_X509_push(cred->chain, cert) <= 0) {
        X509_free(cert);
        return -1;
    }
    return 0;
}

static int get_element(ecert_cred_t *cred, uint32_t type,
                       const unsigned char *p, uint32_t len)
{
    switch (type) {
    case ELEMENT_KEY:
        if (cred->key == NULL) {
            cred->key = get_key(p, len);
        }
        return cred->key != NULL ? 0 : -1;
    case ELEMENT_LEAF:
        if (cred->leaf == NULL) {
            cred->leaf = get_certificate(p, len);
        }
        return cred->leaf != NULL ? 0 : -1;
    case ELEMENT_CHAIN:
        return get_chain(cred, p, len);
    case ELEMENT_PLACEHOLDER:
        cred->placeholder = 1;
        return 0;
    default:
        return 0; /* from a newer agent: for newer workers */
    }
}

static int get_all(ecert_cred_t *cred, const unsigned char *bytes, size_t len)
{
    uint32_t head[2];

    while (len >= sizeof(head)) {
        memcpy(head, bytes, sizeof(head));
        bytes += sizeof(head);
        len -= sizeof(head);
        if (head[1] > len || get_element(cred, head[0], bytes, head[1]) != 0) {
            return -1;
        }
        bytes += head[1];
        len -= head[1];
    }
    return len == 0 && cred->key != NULL && cred->leaf != NULL ? 0 : -1;
}

/*
 * Lack of memory says nothing about the record: it may be good the next time.
 * It may be any of OpenSSL's errors, the last one tells of what came of it.
 */
static void tell_undecoded(ecert_err_t *err)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    unsigned long code;
    int memory = 0;

    while ((code = ERR_get_error()) != 0) {
        memory |= ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    }
    ecert_err(err, memory ? ECERT_ERR_MEMORY : ECERT_ERR_SNAPSHOT, NULL,
              "a record cannot be decoded%s%s", text ? ": " : "",
              text ? text : "");
}

ecert_cred_t *ecert_cred_decode(const unsigned char *bytes, size_t len,
                                ecert_err_t *err)
{
    ecert_cred_t *cred = calloc(1, sizeof(*cred));

    if (cred == NULL || (cred->chain = sk_X509_new_null()) == NULL) {
        free(cred);
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        return NULL;
    }
    if (get_all(cred, bytes, len) != 0 || !is_whole_key(cred->key)
        || X509_check_private_key(cred->leaf, cred->key) != 1) {
        tell_undecoded(err);
        ecert_cred_free(cred);
        return NULL;
    }
    return cred;
}

int ecert_cred_use(const ecert_cred_t *cred, SSL *ssl, ecert_err_t *err)
{
    /*
     * Cleared first: else a certificate of another key type, taken over from
     * the context, stays beside ours and clients may choose it.
     */
    SSL_certs_clear(ssl);
    if (SSL_use_cert_and_key(ssl, cred->leaf, cred->key, cred->chain, 1) != 1) {
        return ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL,
                                 "cannot put the certificate into the "
                                 "connection");
    }
    return 0;
}
