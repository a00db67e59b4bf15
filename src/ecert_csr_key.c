#include "ecert_csr.h"

#include <string.h>
#include <strings.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>

typedef struct {
    const char *kind;
    const char *type;
    unsigned int bits; /* of RSA */
    const char *group; /* of EC */
} choice_t;

static const choice_t choices[] = {
    {"rsa", "RSA", 2048, NULL},
    {"rsa:2048", "RSA", 2048, NULL},
    {"rsa:3072", "RSA", 3072, NULL},
    {"rsa:4096", "RSA", 4096, NULL},
    {"ec:P-256", "EC", 0, SN_X9_62_prime256v1},
    {"ec:P-384", "EC", 0, SN_secp384r1},
};

typedef struct {
    void (*tick)(void *ctx);
    void *ctx;
} progress_t;

static const choice_t *find_choice(const char *kind)
{
    for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
        if (strcasecmp(kind, choices[i].kind) == 0) {
            return &choices[i];
        }
    }
    return NULL;
}

static int on_progress(EVP_PKEY_CTX *ctx)
{
    const progress_t *progress = EVP_PKEY_CTX_get_app_data(ctx);

    progress->tick(progress->ctx);
    return 1;
}

static int set_size(EVP_PKEY_CTX *ctx, const choice_t *choice)
{
    unsigned int bits = choice->bits;
    char group[32] = "";
    OSSL_PARAM params[2] = {OSSL_PARAM_construct_end(),
                            OSSL_PARAM_construct_end()};

    if (choice->group == NULL) {
        params[0] = OSSL_PARAM_construct_uint(OSSL_PKEY_PARAM_RSA_BITS, &bits);
    } else {
        memcpy(group, choice->group, strlen(choice->group) + 1);
        params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
                                                     group, 0);
    }
    return EVP_PKEY_CTX_set_params(ctx, params) > 0 ? 0 : -1;
}

EVP_PKEY *ecert_key_make(const char *kind, void (*tick)(void *ctx), void *ctx,
                         ecert_err_t *err)
{
    const choice_t *choice = find_choice(kind);
    progress_t progress = {tick, ctx};
    EVP_PKEY_CTX *maker;
    EVP_PKEY *key = NULL;

    if (choice == NULL) {
        ecert_err(err, ECERT_ERR_KEY_TYPE, kind, NULL);
        ecert_err_hint(err, "choose one of rsa:2048, rsa:3072, rsa:4096, "
                            "ec:P-256, ec:P-384");
        return NULL;
    }
    maker = EVP_PKEY_CTX_new_from_name(NULL, choice->type, NULL);
    if (maker != NULL && EVP_PKEY_keygen_init(maker) > 0
        && set_size(maker, choice) == 0) {
        if (tick != NULL) {
            EVP_PKEY_CTX_set_app_data(maker, &progress);
            EVP_PKEY_CTX_set_cb(maker, on_progress);
        }
        EVP_PKEY_generate(maker, &key);
    }
    EVP_PKEY_CTX_free(maker);
    if (key == NULL) {
        ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL,
                          "cannot make a private key");
    }
    ERR_clear_error();
    return key;
}

int ecert_key_pem(EVP_PKEY *key, char **pem, size_t *len, ecert_err_t *err)
{
    BIO *bio = BIO_new(BIO_s_mem()); /* it wipes what it held */
    char *text = NULL, *copy = NULL;
    long size = 0;

    if (bio != NULL
        && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)
               == 1
        && (size = BIO_get_mem_data(bio, &text)) > 0) {
        copy = OPENSSL_malloc((size_t)size + 1);
    }
    if (copy != NULL) {
        memcpy(copy, text, (size_t)size);
        copy[size] = '\0';
    }
    BIO_free(bio);
    *pem = copy;
    *len = copy ? (size_t)size : 0;
    if (copy == NULL) {
        return ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL,
                                 "cannot write the private key as PEM");
    }
    ERR_clear_error();
    return 0;
}

int ecert_key_id(EVP_PKEY *key, char id[65], ecert_err_t *err)
{
    unsigned char digest[32], *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    int ok =
        len > 0
        && EVP_Q_digest(NULL, "SHA256", NULL, der, (size_t)len, digest, NULL)
               == 1;

    OPENSSL_free(der);
    if (!ok) {
        return ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL,
                                 "cannot take the digest of a public key");
    }
    for (size_t i = 0; i < sizeof(digest); i++) {
        id[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        id[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    id[64] = '\0';
    ERR_clear_error();
    return 0;
}
