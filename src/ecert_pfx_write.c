#include "ecert_pfx.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <openssl/sha.h>

/* How one of the profiles protects. */
typedef struct {
    const char *name;
    int cipher; /* of PKCS#12, or of PBES2 */
    int salt_len;
    int iterations;
    const EVP_MD *(*mac)(void);
} profile_t;

/*
 * Three derivations: MAC, certificates, key.  Windows and .NET refuse a file
 * whose derivations add up to more than 600,000 iterations, which leaves room
 * for 100,000 each, but not for the 600,000 that are advised for a password
 * alone.
 */
static const profile_t profiles[] = {
    [ECERT_PFX_WINDOWS] = {"windows", NID_pbe_WithSHA1And3_Key_TripleDES_CBC, 8,
                           10000, EVP_sha1},
    [ECERT_PFX_MODERN] = {"modern", NID_aes_256_cbc, 16, 100000, EVP_sha256},
};

/* What both bags carry that belong together. */
typedef struct {
    unsigned char *name; /* UTF-16; NULL: none */
    int name_len;
    unsigned char id[SHA_DIGEST_LENGTH];
    unsigned int id_len; /* 0: no certificate of the key */
} label_t;

typedef struct {
    const ecert_pfx_t *in;
    const profile_t *profile;
    const char *password;
    label_t label;
} writer_t;

int ecert_pfx_profile_parse(const char *text, ecert_pfx_profile_t *profile,
                            ecert_err_t *err)
{
    for (int i = ECERT_PFX_WINDOWS; i <= ECERT_PFX_MODERN; i++) {
        if (strcmp(text, profiles[i].name) == 0) {
            *profile = (ecert_pfx_profile_t)i;
            return 0;
        }
    }
    return ecert_err(err, ECERT_ERR_USAGE, NULL,
                     "\"%s\" is no profile: windows or modern", text);
}

static int failed(ecert_err_t *err, const char *what)
{
    return ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL, "%s", what);
}

static int label_make(label_t *label, const ecert_pfx_t *in)
{
    X509 *first = sk_X509_value(in->certificates, 0);

    memset(label, 0, sizeof(*label));
    if (in->friendly_name[0] != '\0') {
        if (!OPENSSL_utf82uni(in->friendly_name, -1, &label->name,
                              &label->name_len)) {
            return -1;
        }
        label->name_len -= 2; /* the terminator */
    }
    if (first != NULL && X509_check_private_key(first, in->key) == 1
        && !X509_digest(first, EVP_sha1(), label->id, &label->id_len)) {
        return -1;
    }
    ERR_clear_error();
    return 0;
}

/*
 * The name by its type: as a string to be checked OpenSSL would refuse the
 * characters that UTF-16 writes in two.
 */
static int label_put(label_t *label, PKCS12_SAFEBAG *bag)
{
    if (label->name != NULL
        && !PKCS12_add1_attr_by_NID(bag, NID_friendlyName, V_ASN1_BMPSTRING,
                                    label->name, label->name_len)) {
        return -1;
    }
    if (label->id_len != 0
        && !PKCS12_add_localkeyid(bag, label->id, (int)label->id_len)) {
        return -1;
    }
    return 0;
}

/* Adds bag, also to be freed on failure. */
static int put_bag(STACK_OF(PKCS12_SAFEBAG) *bags, PKCS12_SAFEBAG *bag,
                   label_t *label)
{
    if (bag == NULL || (label != NULL && label_put(label, bag) != 0)
        || !sk_PKCS12_SAFEBAG_push(bags, bag)) {
        PKCS12_SAFEBAG_free(bag);
        return -1;
    }
    return 0;
}

static X509_ALGOR *scheme_new(const profile_t *profile)
{
    if (profile->cipher == NID_aes_256_cbc) {
        return PKCS5_pbe2_set_iv(EVP_aes_256_cbc(), profile->iterations, NULL,
                                 profile->salt_len, NULL, NID_hmacWithSHA256);
    }
    return PKCS5_pbe_set(profile->cipher, profile->iterations, NULL,
                         profile->salt_len);
}

static PKCS12_SAFEBAG *key_bag(const writer_t *w)
{
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(w->in->key);
    X509_ALGOR *scheme = scheme_new(w->profile);
    X509_SIG *shrouded = NULL;
    PKCS12_SAFEBAG *bag = NULL;

    if (info != NULL && scheme != NULL) {
        shrouded = PKCS8_set0_pbe(w->password, -1, info, scheme);
    }
    if (shrouded == NULL) {
        X509_ALGOR_free(scheme); /* else it is shrouded's */
    } else {
        bag = PKCS12_SAFEBAG_create0_pkcs8(shrouded);
    }
    if (bag == NULL) {
        X509_SIG_free(shrouded);
    }
    PKCS8_PRIV_KEY_INFO_free(info);
    return bag;
}

/* Takes safe over. */
static int put_safe(STACK_OF(PKCS7) *safes, PKCS7 *safe)
{
    if (safe == NULL || !sk_PKCS7_push(safes, safe)) {
        PKCS7_free(safe);
        return -1;
    }
    return 0;
}

static int put_certificates(writer_t *w, STACK_OF(PKCS7) *safes)
{
    STACK_OF(PKCS12_SAFEBAG) *bags = sk_PKCS12_SAFEBAG_new_null();
    int rc = bags ? 0 : -1;

    for (int i = 0; rc == 0 && i < sk_X509_num(w->in->certificates); i++) {
        X509 *cert = sk_X509_value(w->in->certificates, i);
        int own = i == 0 && w->label.id_len != 0;

        rc = put_bag(bags, PKCS12_SAFEBAG_create_cert(cert),
                     own ? &w->label : NULL);
    }
    if (rc == 0 && sk_PKCS12_SAFEBAG_num(bags) > 0) {
        rc = put_safe(safes,
                      PKCS12_pack_p7encdata(w->profile->cipher, w->password, -1,
                                            NULL, w->profile->salt_len,
                                            w->profile->iterations, bags));
    }
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    return rc;
}

/* The part around it is open, the bag is what is encrypted. */
static int put_key(writer_t *w, STACK_OF(PKCS7) *safes)
{
    STACK_OF(PKCS12_SAFEBAG) *bags = sk_PKCS12_SAFEBAG_new_null();
    int rc = bags ? put_bag(bags, key_bag(w), &w->label) : -1;

    if (rc == 0) {
        rc = put_safe(safes, PKCS12_pack_p7data(bags));
    }
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    return rc;
}

static PKCS12 *make(writer_t *w)
{
    STACK_OF(PKCS7) *safes = sk_PKCS7_new_null();
    PKCS12 *p12 = NULL;

    if (safes != NULL && put_certificates(w, safes) == 0
        && put_key(w, safes) == 0) {
        p12 = PKCS12_add_safes(safes, 0);
    }
    sk_PKCS7_pop_free(safes, PKCS7_free);
    if (p12 != NULL
        && !PKCS12_set_mac(p12, w->password, -1, NULL, w->profile->salt_len,
                           w->profile->iterations, w->profile->mac())) {
        PKCS12_free(p12);
        return NULL;
    }
    return p12;
}

int ecert_pfx_write(const ecert_pfx_t *in, ecert_pfx_profile_t profile,
                    const char *password, unsigned char **out, size_t *len,
                    ecert_err_t *err)
{
    writer_t writer = {in, &profiles[profile], password, {0}};
    PKCS12 *p12;
    int n;

    *out = NULL;
    if (in->key == NULL || password[0] == '\0') {
        return ecert_err(err, ECERT_ERR_USAGE, NULL, "%s",
                         in->key ? "the password is empty"
                                 : "a PFX without a private key");
    }
    p12 = label_make(&writer.label, in) == 0 ? make(&writer) : NULL;
    OPENSSL_free(writer.label.name);
    if (p12 == NULL) {
        return failed(err, "cannot make the PFX");
    }
    n = i2d_PKCS12(p12, out);
    PKCS12_free(p12);
    if (n <= 0) {
        return failed(err, "cannot encode the PFX");
    }
    *len = (size_t)n;
    ERR_clear_error();
    return 0;
}
