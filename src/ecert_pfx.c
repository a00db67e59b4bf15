#include "ecert_pfx.h"

#include <limits.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>

#include "ecert_pfx_work.h"

/* A library context of our own, with old algorithms where there are any. */
typedef struct {
    OSSL_LIB_CTX *own, *before;
    OSSL_PROVIDER *standard, *legacy;
} context_t;

static void context_leave(context_t *context)
{
    if (context->before != NULL) {
        OSSL_LIB_CTX_set0_default(context->before);
    }
    if (context->legacy != NULL) {
        OSSL_PROVIDER_unload(context->legacy);
    }
    if (context->standard != NULL) {
        OSSL_PROVIDER_unload(context->standard);
    }
    OSSL_LIB_CTX_free(context->own);
}

static int context_enter(context_t *context, const char *file, ecert_err_t *err)
{
    memset(context, 0, sizeof(*context));
    context->own = OSSL_LIB_CTX_new();
    if (context->own == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, file, NULL);
    }
    context->standard = OSSL_PROVIDER_load(context->own, "default");
    if (context->standard == NULL) {
        ecert_err_openssl(err, ECERT_ERR_OPENSSL, file,
                          "no provider of algorithms");
        context_leave(context);
        return -1;
    }
    context->legacy = OSSL_PROVIDER_load(context->own, "legacy");
    ERR_clear_error();
    context->before = OSSL_LIB_CTX_set0_default(context->own);
    return 0;
}

static int damaged(ecert_pfx_reader_t *r, const char *what)
{
    return ecert_pfx_damaged(r->file, r->err, what);
}

/*
 * The password as OpenSSL before 1.1.0 took it: each byte for a character, in
 * UTF-8.  NULL: it is the same, or there is no memory.
 */
static char *old_password(const char *password)
{
    size_t len = strlen(password), used = 0;
    char *out = NULL;

    for (size_t i = 0; i < len && out == NULL; i++) {
        if ((password[i] & 0x80) != 0) {
            out = OPENSSL_malloc(2 * len + 1);
        }
    }
    for (size_t i = 0; out != NULL && i <= len; i++) {
        unsigned char c = (unsigned char)password[i];

        if (c < 0x80) {
            out[used++] = (char)c;
        } else {
            out[used++] = (char)(0xc0 | c >> 6);
            out[used++] = (char)(0x80 | (c & 0x3f));
        }
    }
    return out;
}

/*
 * Windows protects a PFX to accounts or groups of a domain with a password that
 * nobody knows: it is in the file, for them alone (wincrypt.h,
 * szOID_PKCS_12_PROTECTED_PASSWORD_SECRET_BAG_TYPE_ID, 1.3.6.1.4.1.311.17.4).
 */
static int is_for_group(STACK_OF(PKCS7) *safes)
{
    static const unsigned char oid[] = {0x06, 0x09, 0x2b, 0x06, 0x01, 0x04,
                                        0x01, 0x82, 0x37, 0x11, 0x04};

    for (int i = 0; i < sk_PKCS7_num(safes); i++) {
        const PKCS7 *safe = sk_PKCS7_value(safes, i);

        if (PKCS7_type_is_data(safe) && safe->d.data != NULL
            && memmem(safe->d.data->data, (size_t)safe->d.data->length, oid,
                      sizeof(oid))
                   != NULL) {
            return 1;
        }
    }
    return 0;
}

static int wrong_password(ecert_pfx_reader_t *r, STACK_OF(PKCS7) *safes)
{
    if (!is_for_group(safes)) {
        return ecert_err(r->err, ECERT_ERR_PASSWORD, r->file, NULL);
    }
    ecert_err(r->err, ECERT_ERR_PASSWORD, r->file,
              "it is protected for an account or a group of a Windows domain, "
              "which Windows alone can open");
    return ecert_err_hint(
        r->err, "export it again in Windows, with a password in place "
                "of \"group or user names\"");
}

/* Leaves the password that is right first. */
static int verify(ecert_pfx_reader_t *r, PKCS12 *p12, STACK_OF(PKCS7) *safes)
{
    if (!PKCS12_mac_present(p12)) {
        return 0;
    }
    ERR_clear_error();
    for (int i = 0; !r->verified && i < r->tries; i++) {
        const char *password = r->passwords[i];

        if (i > 0 && ecert_pfx_cost_mac(&r->cost, p12) != 0) {
            return -1;
        }
        if (PKCS12_verify_mac(p12, password, ecert_pfx_password_len(password))
            == 1) {
            r->passwords[i] = r->passwords[0];
            r->passwords[0] = password;
            r->verified = 1;
        }
    }
    if (r->verified) {
        return 0;
    }
    /* OpenSSL complains about all but a MAC that differs. */
    if (ERR_peek_error() != 0) {
        return damaged(r, "the MAC");
    }
    return wrong_password(r, safes);
}

/* All that can be told without the password, then the password, then all. */
static int take_safes(ecert_pfx_reader_t *r, PKCS12 *p12,
                      STACK_OF(PKCS7) *safes)
{
    int rc = ecert_pfx_cost_mac(&r->cost, p12);

    for (int i = 0; rc == 0 && i < sk_PKCS7_num(safes); i++) {
        rc = ecert_pfx_cost_safe(&r->cost, sk_PKCS7_value(safes, i));
    }
    if (rc == 0) {
        rc = verify(r, p12, safes);
    }
    for (int i = 0; rc == 0 && i < sk_PKCS7_num(safes); i++) {
        rc = ecert_pfx_take_safe(r, sk_PKCS7_value(safes, i));
    }
    return rc;
}

static int take_file(ecert_pfx_reader_t *r, const unsigned char *bytes,
                     size_t len)
{
    PKCS12 *p12 = d2i_PKCS12(NULL, &bytes, (long)len);
    STACK_OF(PKCS7) *safes = p12 ? PKCS12_unpack_authsafes(p12) : NULL;
    int rc;

    if (p12 == NULL) {
        return damaged(r, "not a PFX");
    }
    if (safes != NULL) {
        rc = take_safes(r, p12, safes);
    } else if (ERR_GET_REASON(ERR_peek_last_error())
               == PKCS12_R_CONTENT_TYPE_NOT_DATA) {
        rc = ecert_pfx_missing(&r->cost, "a signature",
                               "in place of a password");
    } else {
        rc = damaged(r, "the contents of the file");
    }
    sk_PKCS7_pop_free(safes, PKCS7_free);
    PKCS12_free(p12);
    return rc;
}

static EVP_PKEY *make_key(const ecert_pfx_found_t *found, const char *file,
                          ecert_err_t *err)
{
    const unsigned char *p = found->der;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &p, found->len);
    EVP_PKEY *key = info ? EVP_PKCS82PKEY(info) : NULL;
    const ASN1_OBJECT *id = NULL;
    char name[ECERT_PFX_NAME];

    if (key == NULL) {
        ecert_pfx_damaged(file, err, "the private key");
    }
    if (info != NULL && key == NULL
        && PKCS8_pkey_get0(&id, NULL, NULL, NULL, info)
        && OBJ_obj2nid(id) != NID_rsaEncryption
        && OBJ_obj2nid(id) != NID_X9_62_id_ecPublicKey) {
        ecert_err(err, ECERT_ERR_KEY_TYPE, file, "%s",
                  ecert_pfx_name(id, name));
    }
    PKCS8_PRIV_KEY_INFO_free(info);
    return key;
}

/* The key's own first. */
static int make_certificates(const ecert_pfx_reader_t *r, ecert_pfx_t *pfx)
{
    int own = 0;

    for (int i = 0; i < r->n; i++) {
        const unsigned char *p = r->certificates[i].der;
        X509 *cert = d2i_X509(NULL, &p, r->certificates[i].len);
        int first = cert != NULL && !own && pfx->key != NULL
                    && X509_check_private_key(cert, pfx->key) == 1;

        ERR_clear_error();
        if (cert == NULL
            || !sk_X509_insert(pfx->certificates, cert, first ? 0 : i)) {
            X509_free(cert);
            return ecert_err(r->err, ECERT_ERR_MEMORY, r->file, NULL);
        }
        /* Windows gives the key its container's name, a GUID */
        if (first && r->certificates[i].name[0] != '\0') {
            memcpy(pfx->friendly_name, r->certificates[i].name,
                   sizeof(pfx->friendly_name));
        }
        own |= first;
    }
    return 0;
}

static int make(const ecert_pfx_reader_t *r, ecert_pfx_t *out)
{
    ecert_pfx_t pfx = {NULL, sk_X509_new_null(), ""};

    memcpy(pfx.friendly_name, r->key.name, sizeof(pfx.friendly_name));
    if (pfx.certificates == NULL) {
        return ecert_err(r->err, ECERT_ERR_MEMORY, r->file, NULL);
    }
    if (r->key.der != NULL) {
        pfx.key = make_key(&r->key, r->file, r->err);
    }
    if ((r->key.der != NULL && pfx.key == NULL)
        || make_certificates(r, &pfx) != 0) {
        ecert_pfx_free(&pfx);
        return -1;
    }
    *out = pfx;
    return 0;
}

static void forget(ecert_pfx_reader_t *r)
{
    OPENSSL_clear_free(r->key.der, (size_t)r->key.len);
    for (int i = 0; i < r->n; i++) {
        OPENSSL_free(r->certificates[i].der);
    }
}

int ecert_pfx_read(const unsigned char *bytes, size_t len, const char *file,
                   const char *password, ecert_pfx_t *out, ecert_err_t *err)
{
    ecert_pfx_reader_t reader = {.file = file,
                                 .err = err,
                                 .passwords = {password, NULL},
                                 .cost = {file, err, 0}};
    context_t context;
    char *old;
    int rc;

    if (len > INT_MAX) {
        return ecert_err(err, ECERT_ERR_DAMAGED, file, "%zu bytes", len);
    }
    if (context_enter(&context, file, err) != 0) {
        return -1;
    }
    old = old_password(password);
    reader.passwords[1] = old;
    reader.tries = old != NULL || password[0] == '\0' ? 2 : 1;
    rc = take_file(&reader, bytes, len);
    OPENSSL_clear_free(old, old ? strlen(old) : 0);
    context_leave(&context);
    if (rc == 0) {
        rc = make(&reader, out);
    }
    forget(&reader);
    ERR_clear_error();
    return rc;
}

void ecert_pfx_free(ecert_pfx_t *pfx)
{
    EVP_PKEY_free(pfx->key);
    sk_X509_pop_free(pfx->certificates, X509_free);
    memset(pfx, 0, sizeof(*pfx));
}
