#include "ecert_pem.h"

#include <stdio.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "ecert_pem_block.h"
#include "ecert_sniff.h"

#define WANTED "a private key"

static int encrypted_error(const char *file, ecert_err_t *err)
{
    ERR_clear_error();
    return ecert_err(err, ECERT_ERR_ENCRYPTED, file, NULL);
}

/* An EncryptedPrivateKeyInfo has the shape of an X509_SIG. */
static int is_encrypted(const unsigned char *der, size_t len)
{
    const unsigned char *p = der;
    X509_SIG *sig = d2i_X509_SIG(NULL, &p, (long)len);
    int encrypted = sig != NULL;
    X509_SIG_free(sig);
    ERR_clear_error();
    return encrypted;
}

/* PKCS#8, PKCS#1 or SEC1, as the bytes say; 1: none of them. */
static int decode(const unsigned char *der, size_t len, EVP_PKEY **key,
                  const char *file, ecert_err_t *err)
{
    const unsigned char *p = der;

    if (is_encrypted(der, len)) {
        return encrypted_error(file, err);
    }
    *key = d2i_AutoPrivateKey(NULL, &p, (long)len);
    ERR_clear_error();
    return *key ? 0 : 1;
}

/* Keeps the first key; the same once more is fine, another is not. */
static int keep(EVP_PKEY **kept, EVP_PKEY *key, const char *file,
                ecert_err_t *err)
{
    if (*kept == NULL) {
        *kept = key;
        return 0;
    }
    int same = EVP_PKEY_eq(*kept, key) == 1;
    EVP_PKEY_free(key);
    ERR_clear_error();
    return same ? 0
                : ecert_err(err, ECERT_ERR_TOO_MANY, file,
                            "two different private keys");
}

static int is_key(ecert_pem_kind_t kind)
{
    return kind == ECERT_PEM_KEY || kind == ECERT_PEM_KEY_ENCRYPTED;
}

/* It may be something else, whatever its label; *other says what. */
static int take_block(const ecert_pem_block_t *block, EVP_PKEY **kept,
                      const char **other, const char *file, ecert_err_t *err)
{
    ecert_sniff_t found = {ECERT_SNIFF_OTHER, NULL, NULL};
    unsigned char *der = NULL;
    EVP_PKEY *key = NULL;
    size_t len = 0;
    int rc = 1;

    if (block->encrypted) {
        return encrypted_error(file, err);
    }
    if (ecert_pem_block_der(block, &der, &len) == 0) {
        rc = decode(der, len, &key, file, err);
    }
    if (rc == 0) {
        rc = keep(kept, key, file, err);
    } else if (rc == 1 && der != NULL) {
        found = ecert_sniff_der(der, len);
    }
    if (rc == 1 && found.kind != ECERT_SNIFF_OTHER) {
        *other = found.name;
    } else if (rc == 1 && is_key(block->kind)) {
        rc = ecert_pem_block_damaged(block, file, err);
    }
    OPENSSL_clear_free(der, len);
    return rc < 0 ? -1 : 0;
}

static int read_block(const ecert_pem_block_t *block, EVP_PKEY **kept,
                      const char **other, const char *file, ecert_err_t *err)
{
    *other = ecert_pem_kind_name(block->kind);
    if (block->kind == ECERT_PEM_KEY_FOREIGN) {
        ecert_err(err, ECERT_ERR_FORMAT, file,
                  "expected a private key in PKCS#8, PKCS#1 or SEC1, found "
                  "OpenSSH's form");
        return ecert_err_hint(err, "%s", ecert_pem_kind_hint(block->kind));
    }
    return take_block(block, kept, other, file, err);
}

static int read_pem(const unsigned char *bytes, size_t len, const char *file,
                    EVP_PKEY **kept, ecert_err_t *err)
{
    ecert_pem_block_t block;
    const char *other = "a text";
    int rc;

    ecert_pem_block_init(&block, bytes, len);
    while ((rc = ecert_pem_block_next(&block, file, err)) == 1) {
        if (read_block(&block, kept, &other, file, err) != 0) {
            return -1;
        }
    }
    if (rc == 0 && *kept == NULL) {
        return ecert_err(err, ECERT_ERR_NO_KEY, file, "it holds %s", other);
    }
    return rc;
}

static int read_der(const unsigned char *bytes, size_t len, const char *file,
                    EVP_PKEY **kept, ecert_err_t *err)
{
    int rc = decode(bytes, len, kept, file, err);

    return rc == 1 ? ecert_sniff_not(bytes, len, WANTED, file, err) : rc;
}

EVP_PKEY *ecert_pem_key(const unsigned char *bytes, size_t len,
                        const char *file, ecert_err_t *err)
{
    EVP_PKEY *key = NULL;
    int rc = ecert_sniff_expect(bytes, len, WANTED, file, err);
    if (rc == 0) {
        rc = read_der(bytes, len, file, &key, err);
    } else if (rc == 1) {
        rc = read_pem(bytes, len, file, &key, err);
    }
    if (rc == 0) {
        rc = ecert_pem_key_check(key, file, err);
    }
    if (rc != 0) {
        EVP_PKEY_free(key);
        return NULL;
    }
    return key;
}

static int is_explicit(EVP_PKEY *key)
{
    int decoded = 0;
    char encoding[32] = "";
    EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                           &decoded);
    EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_EC_ENCODING, encoding,
                                   sizeof(encoding), NULL);
    ERR_clear_error();
    return decoded == 1
           || strcmp(encoding, OSSL_PKEY_EC_ENCODING_EXPLICIT) == 0;
}

/* The curve's NIST name where there is one, else OpenSSL's. */
static void curve_name(EVP_PKEY *key, char *out, size_t size)
{
    char group[80] = "";
    EVP_PKEY_get_group_name(key, group, sizeof(group), NULL);
    const char *nist = EC_curve_nid2nist(OBJ_sn2nid(group));
    snprintf(out, size, "%s", nist ? nist : group);
    ERR_clear_error();
}

char *ecert_pem_key_name(EVP_PKEY *key, char *out, size_t size)
{
    char curve[80];
    if (EVP_PKEY_is_a(key, "EC")) {
        curve_name(key, curve, sizeof(curve));
        if (is_explicit(key)) {
            snprintf(out, size, "EC with explicit parameters");
        } else {
            snprintf(out, size, "EC %s", curve);
        }
    } else if (EVP_PKEY_is_a(key, "ED25519")) {
        snprintf(out, size, "Ed25519");
    } else if (EVP_PKEY_is_a(key, "ED448")) {
        snprintf(out, size, "Ed448");
    } else {
        const char *type = EVP_PKEY_get0_type_name(key);
        snprintf(out, size, "%s-%d", type ? type : "unknown",
                 EVP_PKEY_get_bits(key));
    }
    return out;
}

/*
 * A private half with one wrong bit still has the public half that fits the
 * certificate, which is all that X509_check_private_key compares: it would be
 * served, and no handshake would work.
 */
static int is_pair(EVP_PKEY *key)
{
    static const unsigned char text[] = "ecert";
    unsigned char signature[1024]; /* of RSA-8192 */
    size_t len = sizeof(signature);
    EVP_MD_CTX *signs = EVP_MD_CTX_new(), *verifies = EVP_MD_CTX_new();
    int is =
        signs != NULL && verifies != NULL
        && EVP_DigestSignInit(signs, NULL, EVP_sha256(), NULL, key) == 1
        && EVP_DigestSign(signs, signature, &len, text, sizeof(text)) == 1
        && EVP_DigestVerifyInit(verifies, NULL, EVP_sha256(), NULL, key) == 1
        && EVP_DigestVerify(verifies, signature, len, text, sizeof(text)) == 1;

    EVP_MD_CTX_free(signs);
    EVP_MD_CTX_free(verifies);
    return is;
}

static int is_accepted(EVP_PKEY *key, const char *name)
{
    int bits = EVP_PKEY_get_bits(key);

    return (EVP_PKEY_is_a(key, "RSA") && bits >= 2048 && bits <= 8192)
           || strcmp(name, "EC P-256") == 0 || strcmp(name, "EC P-384") == 0;
}

int ecert_pem_key_check(EVP_PKEY *key, const char *file, ecert_err_t *err)
{
    char name[96];

    ecert_pem_key_name(key, name, sizeof(name));
    if (!is_accepted(key, name)) {
        return ecert_err(err, ECERT_ERR_KEY_TYPE, file, "it is %s", name);
    }
    if (!is_pair(key)) {
        int memory =
            ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE;

        ERR_clear_error();
        return memory ? ecert_err(err, ECERT_ERR_MEMORY, file, NULL)
                      : ecert_err(err, ECERT_ERR_DAMAGED, file,
                                  "the private key does not belong to its own "
                                  "public key");
    }
    return 0;
}
