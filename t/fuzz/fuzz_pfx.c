/*
 * PFX files (ecert_pfx*): caps hold before anything is derived, and what is
 * read is written and read again.  The MAC of a file that was changed is made
 * anew, so that what stands behind it is reached.
 */

#include "fuzz.h"

#include <openssl/err.h>
#include <openssl/pkcs12.h>

#include "ecert_pfx_work.h"
#include "ecert_sniff.h"
#include "pfx_make.h"

#define PASSWORD "pass"
#define CHEAP    3000 /* iterations, of all that can be seen */

/* What ecert_pfx_read would find out before it derives anything. */
static int cost_of(PKCS12 *p12, ecert_err_t *err)
{
    ecert_pfx_cost_t cost = {"a.pfx", err, 0};
    STACK_OF(PKCS7) *safes = PKCS12_unpack_authsafes(p12);
    int rc = safes != NULL ? ecert_pfx_cost_mac(&cost, p12) : 0;

    for (int i = 0; rc == 0 && i < sk_PKCS7_num(safes); i++) {
        rc = ecert_pfx_cost_safe(&cost, sk_PKCS7_value(safes, i));
    }
    sk_PKCS7_pop_free(safes, PKCS7_free);
    FUZZ_CHECK(rc != 0 || cost.spent <= ECERT_PFX_ITERATIONS_SUM);
    ERR_clear_error();
    return rc != 0 ? -1 : (int)cost.spent;
}

static void check(const ecert_pfx_t *pfx)
{
    FUZZ_CHECK(pfx->certificates != NULL);
    FUZZ_CHECK(sk_X509_num(pfx->certificates) <= ECERT_PFX_CERTIFICATES);
    fuzz_check_text(pfx->friendly_name);
}

/* refused: why it must be, or ECERT_OK. */
static void read_it(const unsigned char *bytes, size_t len,
                    const char *password, ecert_code_t refused)
{
    ecert_pfx_t pfx;
    ecert_err_t err;

    if (ecert_pfx_read(bytes, len, "a.pfx", password, &pfx, &err) != 0) {
        fuzz_check_err(&err);
        FUZZ_CHECK(refused == ECERT_OK || err.code == refused);
        return;
    }
    FUZZ_CHECK(refused == ECERT_OK);
    FUZZ_CHECK(ERR_peek_error() == 0);
    check(&pfx);
    ecert_pfx_free(&pfx);
}

static void with_new_mac(PKCS12 *p12)
{
    const ASN1_INTEGER *iterations = NULL;
    unsigned char *der = NULL;
    int len;

    PKCS12_get0_mac(NULL, NULL, NULL, &iterations, p12);
    if (!PKCS12_mac_present(p12)
        || (iterations != NULL && ASN1_INTEGER_get(iterations) > CHEAP)
        || PKCS12_set_mac(p12, PASSWORD, -1, NULL, 0, 1, EVP_sha256()) != 1) {
        ERR_clear_error();
        return;
    }
    len = i2d_PKCS12(p12, &der);
    ERR_clear_error();
    if (len > 0) {
        read_it(der, (size_t)len, PASSWORD, ECERT_OK);
    }
    OPENSSL_free(der);
}

static void run(const uint8_t *bytes, size_t len)
{
    const unsigned char *p = bytes;
    PKCS12 *p12 = d2i_PKCS12(NULL, &p, (long)len);
    ecert_err_t err = {0};
    int cost;

    ERR_clear_error();
    ecert_sniff_pfx(bytes, len);
    if (p12 == NULL) {
        read_it(bytes, len, PASSWORD, ECERT_ERR_DAMAGED);
        return;
    }
    cost = cost_of(p12, &err);
    if (cost < 0) {
        read_it(bytes, len, PASSWORD,
                err.code == ECERT_ERR_ITERATIONS ? err.code : ECERT_OK);
    } else if (cost <= CHEAP) {
        read_it(bytes, len, PASSWORD, ECERT_OK);
        read_it(bytes, len, "", ECERT_OK);
        with_new_mac(p12);
    }
    PKCS12_free(p12);
}

static void seed(int scheme, const char *password, const EVP_MD *mac)
{
    const pki_t *pki = fuzz_pki();
    STACK_OF(PKCS7) *safes = NULL;
    blob_t blob;

    pfx_add(&safes, bag_certificate(pki->leaf), scheme, 1, password);
    pfx_add(&safes, bag_certificate(pki->new_sub), scheme, 1, password);
    pfx_add(&safes, bag_key(pki->leaf_key, scheme, password), 0, 1, password);
    blob = pfx_bytes(pfx_of(safes, mac, 1, password));
    ERR_clear_error();
    fuzz_seed(blob.bytes, blob.len);
    blob_free(&blob);
}

static void seed_bag(PKCS12_SAFEBAG *bag)
{
    STACK_OF(PKCS7) *safes = NULL;
    blob_t blob;

    pfx_add(&safes, bag, 0, 1, NULL);
    blob = pfx_bytes(pfx_of(safes, NULL, 1, NULL));
    ERR_clear_error();
    fuzz_seed(blob.bytes, blob.len);
    blob_free(&blob);
}

static void seeds(void)
{
    seed(0, PASSWORD, EVP_sha256());
    seed(NID_aes_256_cbc, PASSWORD, EVP_sha256());
    seed(NID_pbe_WithSHA1And3_Key_TripleDES_CBC, PASSWORD, EVP_sha1());
    seed(0, "", NULL);
    seed_bag(bag_nest(bag_certificate(fuzz_pki()->leaf), 3));
    seed_bag(bag_crl());
    seed_bag(bag_secret());
    seed_bag(bag_key_unknown());
    seed_bag(bag_scheme(scheme_pbes2(scheme_pbkdf2("1000001", "hmacWithSHA256"),
                                     "AES-256-CBC")));
    seed_bag(
        bag_scheme(scheme_pbes2(scheme_scrypt(16384, 8, 1), "AES-128-CBC")));
    seed_bag(bag_scheme(scheme_pbes1("PBE-SHA1-3DES", 2000)));
}

FUZZ_TARGET(pfx, .run = run, .seeds = seeds, .max = 4000);
