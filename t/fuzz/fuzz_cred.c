/* Records of the snapshot by themselves: credential (ecert_cred), OCSP response
 * (ecert_staple), table of validation files (ecert_dcv). */

#include "fuzz.h"

#include <openssl/err.h>

#include "ecert_cred.h"
#include "ecert_dcv.h"
#include "ecert_snap.h"
#include "ecert_staple.h"

static void credential(const uint8_t *bytes, size_t len)
{
    ecert_err_t err;
    ecert_cred_t *cred = ecert_cred_decode(bytes, len, &err), *again;
    unsigned char *out;
    size_t out_len;

    FUZZ_CHECK(ERR_peek_error() == 0);
    if (cred == NULL) {
        fuzz_check_err(&err);
        return;
    }
    FUZZ_CHECK(sk_X509_num(cred->chain) <= ECERT_CHAIN_MAX);
    FUZZ_CHECK(ecert_cred_encode(cred, &out, &out_len, &err) == 0);
    again = ecert_cred_decode(out, out_len, &err);
    FUZZ_CHECK(again != NULL);
    FUZZ_CHECK(X509_cmp(again->leaf, cred->leaf) == 0);
    FUZZ_CHECK(EVP_PKEY_eq(again->key, cred->key) == 1);
    FUZZ_CHECK(sk_X509_num(again->chain) == sk_X509_num(cred->chain));
    FUZZ_CHECK(again->placeholder == cred->placeholder);
    ERR_clear_error(); /* of X509_cmp, which looks at extensions */
    ecert_snap_free(out, out_len);
    ecert_cred_free(again);
    ecert_cred_free(cred);
}

static void others(const uint8_t *bytes, size_t len)
{
    ecert_staple_t staples[ECERT_STAPLES];
    ecert_token_t token;
    size_t n;
    ecert_err_t err;

    if (ecert_staple_decode(bytes, len, staples, &n, &err) == 0) {
        FUZZ_CHECK(n > 0 && n <= ECERT_STAPLES);
        FUZZ_CHECK(staples[n - 1].der + staples[n - 1].len == bytes + len);
        ecert_staple_fits(&staples[0], fuzz_pki()->leaf, FUZZ_NOW);
    } else {
        fuzz_check_err(&err);
    }
    if (ecert_dcv_check(bytes, len, &err) != 0) {
        fuzz_check_err(&err);
    } else if (ecert_dcv_find(bytes, len, "a.hk", "f.txt", 5, &token)) {
        FUZZ_CHECK(token.body >= bytes && token.body_len <= ECERT_DCV_BODY_MAX);
        FUZZ_CHECK(token.body + token.body_len <= bytes + len);
    }
}

static void run(const uint8_t *bytes, size_t len)
{
    credential(bytes, len);
    others(bytes, len);
}

static void seed_credential(int placeholder)
{
    const pki_t *pki = fuzz_pki();
    STACK_OF(X509) *chain = pki_stack(pki->new_sub, NULL);
    unsigned char *bytes;
    ecert_err_t err;
    ecert_cred_t *cred = ecert_cred_new(pki->leaf, pki->leaf_key,
                                        placeholder ? NULL : chain, &err);
    size_t len;

    FUZZ_CHECK(cred != NULL);
    cred->placeholder = placeholder;
    FUZZ_CHECK(ecert_cred_encode(cred, &bytes, &len, &err) == 0);
    fuzz_seed(bytes, len);
    ecert_snap_free(bytes, len);
    ecert_cred_free(cred);
    pki_stack_free(chain);
}

static void seed_table(void)
{
    const ecert_token_t tokens[] = {
        {"a.hk", "f.txt", (const unsigned char *)"code", 4, 1, 7},
        {"a.hk", "g.txt", (const unsigned char *)"", 0, 2, 8},
        {"b.hk", "f.txt", (const unsigned char *)"other", 5, 3, 9},
    };
    unsigned char *bytes;
    ecert_err_t err;
    size_t len;

    FUZZ_CHECK(ecert_dcv_encode(tokens, 3, &bytes, &len, &err) == 0);
    fuzz_seed(bytes, len);
    ecert_snap_free(bytes, len);
}

static void seeds(void)
{
    seed_credential(0);
    seed_credential(1);
    seed_table();
}

static const char *const words[] = {"a.hk", "f.txt", NULL};

FUZZ_TARGET(cred, .run = run, .seeds = seeds, .max = 4000, .words = words);
