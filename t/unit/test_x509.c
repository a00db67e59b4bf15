/* Keys that somebody chose so that their signatures take long to verify. */

#include "asserts.h"

#include "ecert_x509.h"
#include "pki.h"

#define NOW ((int64_t)1795392000)

/* A CA of this key, and what it issued: out of bytes, as from the network. */
typedef struct {
    EVP_PKEY *key;
    X509 *ca, *cert;
} pair_t;

static X509 *again(X509 *cert)
{
    unsigned char *der = NULL;
    int len = i2d_X509(cert, &der);
    const unsigned char *p = der;
    X509 *copy = d2i_X509(NULL, &p, len);

    assert_non_null(copy);
    OPENSSL_free(der);
    X509_free(cert);
    return copy;
}

static pair_t pair_of(const char *kind)
{
    pair_t pair = {.key = pki_key(kind)};

    pair.ca = again(
        pki_ca("Root", pair.key, NULL, NULL, NOW - PKI_DAY, NOW + PKI_DAY, 0));
    pair.cert = again(pki_ca("Sub", pair.key, pair.ca, pair.key, NOW - PKI_DAY,
                             NOW + PKI_DAY, 1));
    return pair;
}

static void free_pair(pair_t *pair)
{
    EVP_PKEY_free(pair->key);
    X509_free(pair->ca);
    X509_free(pair->cert);
}

static void test_usual(void **state)
{
    static const char *const kinds[] = {"RSA-1024", "RSA-4096", "P-256",
                                        "P-384",    "P-521",    "ED25519"};

    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        pair_t pair = pair_of(kinds[i]);
        EVP_PKEY *key = X509_get0_pubkey(pair.ca);

        assert_null(ecert_x509_key_fault(key));
        assert_true(ecert_x509_signed_by(pair.cert, key));
        assert_true(ecert_x509_self_signed(pair.ca));
        assert_false(ecert_x509_self_signed(pair.cert));
        free_pair(&pair);
    }
}

static void test_slow(void **state)
{
    static const char *const kinds[][2] = {{"RSA-SLOW", "exponent"},
                                           {"EC-EXPLICIT", "curve of its own"},
                                           {"DSA", "kind of key"}};

    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        pair_t pair = pair_of(kinds[i][0]);
        EVP_PKEY *key = X509_get0_pubkey(pair.ca);

        assert_int_equal(X509_verify(pair.cert, key), 1); /* it would do */
        assert_non_null(strstr(ecert_x509_key_fault(key), kinds[i][1]));
        assert_false(ecert_x509_signed_by(pair.cert, key));
        assert_false(ecert_x509_self_signed(pair.ca));
        free_pair(&pair);
    }
}

static void test_large(void **state)
{
    EVP_PKEY *key = pki_key("RSA-16384");

    (void)state;
    assert_non_null(strstr(ecert_x509_key_fault(key), "8,192 bits"));
    assert_non_null(ecert_x509_key_fault(NULL));
    EVP_PKEY_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usual),
        cmocka_unit_test(test_slow),
        cmocka_unit_test(test_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
