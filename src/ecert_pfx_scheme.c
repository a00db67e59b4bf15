#include "ecert_pfx_work.h"

#include <stdio.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#define SCRYPT_MIB 32 /* OpenSSL takes no more */

static int damaged(ecert_pfx_cost_t *cost, const char *what)
{
    return ecert_pfx_damaged(cost->file, cost->err, what);
}

const char *ecert_pfx_name(const ASN1_OBJECT *id, char out[ECERT_PFX_NAME])
{
    if (OBJ_obj2txt(out, ECERT_PFX_NAME, id, 0) <= 0) {
        snprintf(out, ECERT_PFX_NAME, "an unnamed algorithm");
    }
    return out;
}

int ecert_pfx_missing(ecert_pfx_cost_t *cost, const char *name,
                      const char *where)
{
    ERR_clear_error();
    return ecert_err(cost->err, ECERT_ERR_ALGORITHM, cost->file, "%s (%s)",
                     name, where);
}

/* What libcrypto itself has, but no provider here gives: it is an old one. */
static int missing_old(ecert_pfx_cost_t *cost, const char *name,
                       const char *where)
{
    int old = EVP_get_cipherbyname(name) != NULL
              || EVP_get_digestbyname(name) != NULL;

    ecert_pfx_missing(cost, name, where);
    return old ? ecert_err_hint(cost->err,
                                "install OpenSSL's legacy provider, or export "
                                "the file again with AES-256 and SHA-256")
               : -1;
}

int ecert_pfx_need_digest(ecert_pfx_cost_t *cost, const char *name,
                          const char *where)
{
    EVP_MD *md = EVP_MD_fetch(NULL, name, NULL);

    if (md == NULL) {
        return missing_old(cost, name, where);
    }
    EVP_MD_free(md);
    return 0;
}

static int need_cipher(ecert_pfx_cost_t *cost, const char *name,
                       const char *where)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, NULL);

    if (cipher == NULL) {
        return missing_old(cost, name, where);
    }
    EVP_CIPHER_free(cipher);
    return 0;
}

/* hmac may be NULL: with SHA-1. */
static int need_hmac(ecert_pfx_cost_t *cost, const X509_ALGOR *hmac,
                     const char *where)
{
    const ASN1_OBJECT *id = OBJ_nid2obj(NID_hmacWithSHA1);
    char name[ECERT_PFX_NAME];
    int digest;

    if (hmac != NULL) {
        X509_ALGOR_get0(&id, NULL, NULL, hmac);
    }
    if (!EVP_PBE_find(EVP_PBE_TYPE_PRF, OBJ_obj2nid(id), NULL, &digest, NULL)) {
        return ecert_pfx_missing(cost, ecert_pfx_name(id, name), where);
    }
    return ecert_pfx_need_digest(cost, OBJ_nid2sn(digest), where);
}

/* PKCS#5 v1 and PKCS#12: a cipher and a digest belong to the name. */
static int cost_pbes1(ecert_pfx_cost_t *cost, const X509_ALGOR *scheme,
                      const char *name, int cipher, int digest)
{
    PBEPARAM *param =
        ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBEPARAM), scheme->parameter);
    int rc;

    if (param == NULL) {
        return damaged(cost, name);
    }
    rc = ecert_pfx_spend_iterations(cost, param->iter);
    PBEPARAM_free(param);
    if (rc != 0 || need_cipher(cost, OBJ_nid2sn(cipher), name) != 0) {
        return -1;
    }
    return ecert_pfx_need_digest(cost, OBJ_nid2sn(digest), name);
}

/* *key_len is what it wants to derive, 0 when it leaves that to the cipher. */
static int cost_pbkdf2(ecert_pfx_cost_t *cost, const X509_ALGOR *kdf,
                       const char *where, int64_t *key_len)
{
    PBKDF2PARAM *param =
        ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), kdf->parameter);
    int rc;

    *key_len = 0;
    if (param == NULL) {
        return damaged(cost, "PBKDF2");
    }
    if (param->salt->type != V_ASN1_OCTET_STRING) {
        PBKDF2PARAM_free(param);
        return damaged(cost, "the salt of PBKDF2");
    }
    if (param->keylength != NULL
        && ASN1_INTEGER_get_int64(key_len, param->keylength) != 1) {
        *key_len = -1;
        ERR_clear_error();
    }
    rc = ecert_pfx_spend_iterations(cost, param->iter);
    if (rc == 0) {
        rc = need_hmac(cost, param->prf, where);
    }
    PBKDF2PARAM_free(param);
    return rc;
}

#ifndef OPENSSL_NO_SCRYPT
/*
 * p times, 2N blocks of 128r bytes are mixed and N of them are held.  N*r*p is
 * counted as iterations, as it takes about as long.
 */
static int spend_scrypt(ecert_pfx_cost_t *cost, uint64_t n, uint64_t r,
                        uint64_t p)
{
    const uint64_t most = SCRYPT_MIB * UINT64_C(1048576) / 128;

    if (n == 0 || r == 0 || p == 0) {
        return damaged(cost, "scrypt");
    }
    if (n > most || r > most || p > most || (n + p + 2) * r > most) {
        return ecert_err(cost->err, ECERT_ERR_ITERATIONS, cost->file,
                         "scrypt with more than %d MiB of memory", SCRYPT_MIB);
    }
    return ecert_pfx_spend(cost, n * r * p, "blocks of scrypt");
}

static int cost_scrypt(ecert_pfx_cost_t *cost, const X509_ALGOR *kdf)
{
    SCRYPT_PARAMS *param = ASN1_TYPE_unpack_sequence(
        ASN1_ITEM_rptr(SCRYPT_PARAMS), kdf->parameter);
    uint64_t n = 0, r = 0, p = 0;
    int rc;

    if (param == NULL) {
        return damaged(cost, "scrypt");
    }
    if (ASN1_INTEGER_get_uint64(&n, param->costParameter) != 1
        || ASN1_INTEGER_get_uint64(&r, param->blockSize) != 1
        || ASN1_INTEGER_get_uint64(&p, param->parallelizationParameter) != 1) {
        rc = ecert_err_openssl(cost->err, ECERT_ERR_ITERATIONS, cost->file,
                               "scrypt");
    } else {
        rc = spend_scrypt(cost, n, r, p);
    }
    SCRYPT_PARAMS_free(param);
    return rc;
}
#else
static int cost_scrypt(ecert_pfx_cost_t *cost, const X509_ALGOR *kdf)
{
    (void)kdf;
    return ecert_pfx_missing(cost, "scrypt", "PBES2");
}
#endif

static int cost_kdf(ecert_pfx_cost_t *cost, const X509_ALGOR *kdf,
                    const char *where, int64_t *key_len)
{
    const ASN1_OBJECT *id;
    char name[ECERT_PFX_NAME];

    *key_len = 0;
    X509_ALGOR_get0(&id, NULL, NULL, kdf);
    switch (OBJ_obj2nid(id)) {
    case NID_id_pbkdf2:
        return cost_pbkdf2(cost, kdf, where, key_len);
    case NID_id_scrypt:
        return cost_scrypt(cost, kdf);
    default:
        return ecert_pfx_missing(cost, ecert_pfx_name(id, name), where);
    }
}

static int cost_pbes2(ecert_pfx_cost_t *cost, const X509_ALGOR *scheme)
{
    PBE2PARAM *param =
        ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), scheme->parameter);
    const ASN1_OBJECT *cipher;
    int64_t key_len;
    char name[ECERT_PFX_NAME];
    int rc;

    if (param == NULL) {
        return damaged(cost, "PBES2");
    }
    rc = cost_kdf(cost, param->keyfunc, "PBES2", &key_len);
    if (rc == 0) {
        X509_ALGOR_get0(&cipher, NULL, NULL, param->encryption);
        rc = need_cipher(cost, ecert_pfx_name(cipher, name), "PBES2");
    }
    PBE2PARAM_free(param);
    return rc;
}

int ecert_pfx_cost_scheme(ecert_pfx_cost_t *cost, const X509_ALGOR *scheme)
{
    const ASN1_OBJECT *id;
    int cipher = -1, digest = -1, nid;
    char name[ECERT_PFX_NAME];

    X509_ALGOR_get0(&id, NULL, NULL, scheme);
    nid = OBJ_obj2nid(id);
    ecert_pfx_name(id, name);
    if (nid == NID_pbes2) {
        return cost_pbes2(cost, scheme);
    }
    if (!EVP_PBE_find(EVP_PBE_TYPE_OUTER, nid, &cipher, &digest, NULL)
        || cipher == -1) {
        return ecert_pfx_missing(cost, name, "encryption");
    }
    return cost_pbes1(cost, scheme, name, cipher, digest);
}

/*
 * RFC 9579.  Its parameters are made like those of PBES2, with an HMAC in place
 * of the cipher.  The length is looked at because OpenSSL's releases up to
 * 3.6.0 derive that much into a buffer of 64 bytes (CVE-2025-11187).
 */
int ecert_pfx_cost_pbmac1(ecert_pfx_cost_t *cost, const X509_ALGOR *mac)
{
    PBE2PARAM *param =
        ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), mac->parameter);
    int64_t key_len = 0;
    int rc;

    if (param == NULL) {
        return damaged(cost, "PBMAC1");
    }
    rc = cost_kdf(cost, param->keyfunc, "PBMAC1", &key_len);
    if (rc == 0) {
        rc = need_hmac(cost, param->encryption, "PBMAC1");
    }
    PBE2PARAM_free(param);
    if (rc == 0 && (key_len < 1 || key_len > EVP_MAX_MD_SIZE)) {
        return damaged(cost, "the length of PBMAC1's key");
    }
    if (rc == 0
        && (OPENSSL_version_major() < 3
            || (OPENSSL_version_major() == 3 && OPENSSL_version_minor() < 4))) {
        ecert_pfx_missing(cost, "PBMAC1", "OpenSSL 3.4 and later read it");
        return ecert_err_hint(cost->err, "export the file again with the usual "
                                         "MAC (HMAC with SHA-256, without "
                                         "PBMAC1)");
    }
    return rc;
}
