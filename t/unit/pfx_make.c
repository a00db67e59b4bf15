#include "pfx_make.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/provider.h>

static OSSL_LIB_CTX *own, *before;
static OSSL_PROVIDER *providers[2];

static void must(int ok, const char *what)
{
    if (ok) {
        return;
    }
    fprintf(stderr, "pfx_make: %s failed\n", what);
    ERR_print_errors_fp(stderr);
    abort();
}

void blob_free(blob_t *blob)
{
    OPENSSL_free(blob->bytes);
    blob->bytes = NULL;
}

int pfx_read(const unsigned char *bytes, size_t len, const char *password,
             ecert_pfx_t *out, ecert_err_t *err)
{
    OSSL_LIB_CTX *now = OSSL_LIB_CTX_set0_default(NULL);
    int rc = ecert_pfx_read(bytes, len, "a.pfx", password, out, err);

    must(ERR_peek_error() == 0, "an empty error queue");
    must(OSSL_LIB_CTX_set0_default(NULL) == now, "the same library context");
    must(rc == 0 || strcmp(err->file, "a.pfx") == 0, "the file in the error");
    return rc;
}

int pfx_same_key(EVP_PKEY *a, EVP_PKEY *b)
{
    unsigned char *der[2] = {NULL, NULL};
    int len[2] = {i2d_PrivateKey(a, &der[0]), i2d_PrivateKey(b, &der[1])};
    int same = len[0] > 0 && len[0] == len[1]
               && memcmp(der[0], der[1], (size_t)len[0]) == 0;

    OPENSSL_free(der[0]);
    OPENSSL_free(der[1]);
    ERR_clear_error();
    return same;
}

int pfx_key_signs(EVP_PKEY *key)
{
    const unsigned char text[1] = {'x'};
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char out[1024];
    size_t len = sizeof(out);
    int ok = EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1
             && EVP_DigestSign(ctx, out, &len, text, sizeof(text)) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

void legacy_leave(void)
{
    OSSL_LIB_CTX_set0_default(before);
    for (int i = 0; i < 2; i++) {
        if (providers[i] != NULL) {
            OSSL_PROVIDER_unload(providers[i]);
        }
    }
    OSSL_LIB_CTX_free(own);
    ERR_clear_error();
}

int legacy_enter(void)
{
    own = OSSL_LIB_CTX_new();
    providers[0] = OSSL_PROVIDER_load(own, "default");
    providers[1] = OSSL_PROVIDER_load(own, "legacy");
    before = OSSL_LIB_CTX_set0_default(own);
    ERR_clear_error();
    if (providers[1] == NULL) {
        legacy_leave();
        return 0;
    }
    return 1;
}

/* Bags. */

PKCS12_SAFEBAG *bag_key(EVP_PKEY *key, int scheme, const char *password)
{
    STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
    PKCS12_SAFEBAG *bag =
        PKCS12_add_key(&bags, key, 0, 1, scheme ? scheme : -1, password);

    must(bag != NULL, "PKCS12_add_key");
    sk_PKCS12_SAFEBAG_free(bags);
    return bag;
}

PKCS12_SAFEBAG *bag_certificate(X509 *cert)
{
    PKCS12_SAFEBAG *bag = PKCS12_SAFEBAG_create_cert(cert);

    must(bag != NULL, "PKCS12_SAFEBAG_create_cert");
    return bag;
}

PKCS12_SAFEBAG *bag_crl(void)
{
    X509_CRL *crl = X509_CRL_new();
    X509_NAME *name = X509_NAME_new();
    ASN1_TIME *now = ASN1_TIME_set(NULL, 1795392000);
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");

    must(X509_CRL_set_issuer_name(crl, name)
             && X509_CRL_set1_lastUpdate(crl, now)
             && X509_CRL_sign(crl, key, EVP_sha256()),
         "X509_CRL");
    PKCS12_SAFEBAG *bag = PKCS12_SAFEBAG_create_crl(crl);

    must(bag != NULL, "PKCS12_SAFEBAG_create_crl");
    X509_CRL_free(crl);
    X509_NAME_free(name);
    ASN1_TIME_free(now);
    EVP_PKEY_free(key);
    return bag;
}

PKCS12_SAFEBAG *bag_secret(void)
{
    const unsigned char *text = (const unsigned char *)"secret";
    PKCS12_SAFEBAG *bag = PKCS12_SAFEBAG_create_secret(
        NID_pkcs7_data, V_ASN1_OCTET_STRING, text, 6);

    must(bag != NULL, "PKCS12_SAFEBAG_create_secret");
    return bag;
}

PKCS12_SAFEBAG *bag_secret_of(const char *type)
{
    int nid = OBJ_txt2nid(type);

    if (nid == NID_undef) {
        nid = OBJ_create(type, NULL, NULL);
    }
    const unsigned char *text = (const unsigned char *)"secret";
    PKCS12_SAFEBAG *bag =
        PKCS12_SAFEBAG_create_secret(nid, V_ASN1_OCTET_STRING, text, 6);

    must(bag != NULL, "PKCS12_SAFEBAG_create_secret");
    return bag;
}

PKCS12_SAFEBAG *bag_key_unknown(void)
{
    PKCS8_PRIV_KEY_INFO *info = PKCS8_PRIV_KEY_INFO_new();
    unsigned char *bytes = OPENSSL_zalloc(8);

    must(info != NULL
             && PKCS8_pkey_set0(info, OBJ_txt2obj("1.2.3.4", 1), 0, V_ASN1_NULL,
                                NULL, bytes, 8),
         "PKCS8_pkey_set0");
    return PKCS12_SAFEBAG_create0_p8inf(info);
}

PKCS12_SAFEBAG *bag_scheme(X509_ALGOR *scheme)
{
    X509_SIG *sig = X509_SIG_new();
    X509_ALGOR *alg;
    ASN1_OCTET_STRING *bytes;
    const unsigned char junk[32] = {0};

    X509_SIG_getm(sig, &alg, &bytes);
    must(X509_ALGOR_copy(alg, scheme)
             && ASN1_OCTET_STRING_set(bytes, junk, sizeof(junk)),
         "X509_SIG");
    X509_ALGOR_free(scheme);
    return PKCS12_SAFEBAG_create0_pkcs8(sig);
}

/* DER: a tag and a length before what *len bytes at *der have. */
static void wrap(unsigned char **der, size_t *len, unsigned char tag,
                 const unsigned char *first, size_t first_len)
{
    size_t inner = *len + first_len;
    unsigned char *out = OPENSSL_malloc(inner + 4);

    must(out != NULL && inner < 0x10000, "wrap");
    out[0] = tag;
    out[1] = 0x82;
    out[2] = (unsigned char)(inner >> 8);
    out[3] = (unsigned char)inner;
    memcpy(out + 4, first, first_len);
    memcpy(out + 4 + first_len, *der, *len);
    OPENSSL_free(*der);
    *der = out;
    *len = inner + 4;
}

PKCS12_SAFEBAG *bag_nest(PKCS12_SAFEBAG *bag, int times)
{
    static const unsigned char type[] = {0x06, 0x0b, 0x2a, 0x86, 0x48,
                                         0x86, 0xf7, 0x0d, 0x01, 0x0c,
                                         0x0a, 0x01, 0x06};
    unsigned char *der = NULL;
    size_t len = (size_t)i2d_PKCS12_SAFEBAG(bag, &der);

    PKCS12_SAFEBAG_free(bag);
    for (int i = 0; i < times; i++) {
        wrap(&der, &len, 0x30, type, 0); /* the bags in it */
        wrap(&der, &len, 0xa0, type, 0);
        wrap(&der, &len, 0x30, type, sizeof(type));
    }
    const unsigned char *p = der;

    bag = d2i_PKCS12_SAFEBAG(NULL, &p, (long)len);
    must(bag != NULL, "d2i_PKCS12_SAFEBAG");
    OPENSSL_free(der);
    return bag;
}

/* Files. */

void pfx_add(STACK_OF(PKCS7) **safes, PKCS12_SAFEBAG *bag, int scheme,
             int iterations, const char *password)
{
    STACK_OF(PKCS12_SAFEBAG) *bags = sk_PKCS12_SAFEBAG_new_null();

    must(sk_PKCS12_SAFEBAG_push(bags, bag)
             && PKCS12_add_safe(safes, bags, scheme ? scheme : -1, iterations,
                                password),
         "PKCS12_add_safe");
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
}

PKCS12 *pfx_of(STACK_OF(PKCS7) *safes, const EVP_MD *mac, int iterations,
               const char *password)
{
    PKCS12 *p12 = PKCS12_add_safes(safes, 0);

    must(p12 != NULL, "PKCS12_add_safes");
    sk_PKCS7_pop_free(safes, PKCS7_free);
    must(mac == NULL
             || PKCS12_set_mac(p12, password, -1, NULL, 8, iterations, mac),
         "PKCS12_set_mac");
    return p12;
}

blob_t pfx_bytes(PKCS12 *p12)
{
    blob_t blob = {NULL, 0};
    int len = i2d_PKCS12(p12, &blob.bytes);

    must(len > 0, "i2d_PKCS12");
    blob.len = (size_t)len;
    PKCS12_free(p12);
    return blob;
}

/* Algorithms. */

static void set_oid(X509_ALGOR *alg, const char *name)
{
    must(X509_ALGOR_set0(alg, OBJ_txt2obj(name, 0), V_ASN1_NULL, NULL),
         "X509_ALGOR_set0");
}

X509_ALGOR *scheme_pbes2(X509_ALGOR *kdf, const char *cipher)
{
    PBE2PARAM *param = PBE2PARAM_new();
    X509_ALGOR *scheme = X509_ALGOR_new();

    X509_ALGOR_free(param->keyfunc);
    param->keyfunc = kdf;
    set_oid(param->encryption, cipher);
    set_oid(scheme, "PBES2");
    must(ASN1_TYPE_pack_sequence(ASN1_ITEM_rptr(PBE2PARAM), param,
                                 &scheme->parameter)
             != NULL,
         "PBE2PARAM");
    PBE2PARAM_free(param);
    return scheme;
}

X509_ALGOR *scheme_pbkdf2(const char *iterations, const char *prf)
{
    X509_ALGOR *kdf = PKCS5_pbkdf2_set(1, NULL, 8, NID_hmacWithSHA256, 32);
    PBKDF2PARAM *param =
        ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), kdf->parameter);
    BIGNUM *n = NULL;

    must(BN_dec2bn(&n, iterations) && BN_to_ASN1_INTEGER(n, param->iter), "BN");
    BN_free(n);
    if (prf != NULL) {
        set_oid(param->prf, prf);
    }
    must(ASN1_TYPE_pack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), param,
                                 &kdf->parameter)
             != NULL,
         "PBKDF2PARAM");
    PBKDF2PARAM_free(param);
    return kdf;
}

X509_ALGOR *scheme_pbkdf2_length(int len)
{
    X509_ALGOR *kdf = PKCS5_pbkdf2_set(1, NULL, 8, NID_hmacWithSHA256, len);

    must(kdf != NULL, "PKCS5_pbkdf2_set");
    return kdf;
}

X509_ALGOR *scheme_scrypt(uint64_t n, uint64_t r, uint64_t p)
{
    SCRYPT_PARAMS *param = SCRYPT_PARAMS_new();
    X509_ALGOR *kdf = X509_ALGOR_new();
    const unsigned char salt[8] = {0};

    set_oid(kdf, "id-scrypt");
    must(ASN1_OCTET_STRING_set(param->salt, salt, sizeof(salt))
             && ASN1_INTEGER_set_uint64(param->costParameter, n)
             && ASN1_INTEGER_set_uint64(param->blockSize, r)
             && ASN1_INTEGER_set_uint64(param->parallelizationParameter, p)
             && ASN1_TYPE_pack_sequence(ASN1_ITEM_rptr(SCRYPT_PARAMS), param,
                                        &kdf->parameter),
         "SCRYPT_PARAMS");
    SCRYPT_PARAMS_free(param);
    return kdf;
}

X509_ALGOR *scheme_pbes1(const char *name, long iterations)
{
    X509_ALGOR *scheme = X509_ALGOR_new();
    PBEPARAM *param = PBEPARAM_new();
    const unsigned char salt[8] = {0};

    set_oid(scheme, name);
    must(ASN1_OCTET_STRING_set(param->salt, salt, sizeof(salt))
             && ASN1_INTEGER_set(param->iter, iterations)
             && ASN1_TYPE_pack_sequence(ASN1_ITEM_rptr(PBEPARAM), param,
                                        &scheme->parameter),
         "PBEPARAM");
    PBEPARAM_free(param);
    return scheme;
}

void pfx_set_mac(PKCS12 *p12, const char *name, ASN1_TYPE *param)
{
    const X509_ALGOR *mac = NULL;
    X509_ALGOR *change;

    PKCS12_get0_mac(NULL, &mac, NULL, NULL, p12);
    change = (X509_ALGOR *)(uintptr_t)mac;
    set_oid(change, name);
    if (param != NULL) {
        ASN1_TYPE_free(change->parameter);
        change->parameter = param;
    }
}
