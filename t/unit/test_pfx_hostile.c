/* PFX files made to hurt: too expensive, too much, damaged, unknown. */

#include "scratch.h"

#include <time.h>

#include <openssl/err.h>

#include "pfx_make.h"
#include "pki.h"

#define NOW ((int64_t)1795392000)

static pki_t *pki;
static ecert_err_t err;

static int group_setup(void **state)
{
    (void)state;
    pki = pki_new(NOW);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    pki_free(pki);
    return 0;
}

static int read_bytes(const unsigned char *bytes, size_t len,
                      const char *password, ecert_pfx_t *out)
{
    return pfx_read(bytes, len, password, out, &err);
}

/* Takes p12 over.  The code, ECERT_OK when it opens with "foo". */
static ecert_code_t code_of(PKCS12 *p12)
{
    blob_t blob = pfx_bytes(p12);
    ecert_pfx_t out;
    int rc = read_bytes(blob.bytes, blob.len, "foo", &out);

    if (rc == 0) {
        ecert_pfx_free(&out);
    }
    blob_free(&blob);
    return rc == 0 ? ECERT_OK : err.code;
}

/* Of a file with this bag alone, without a MAC. */
static ecert_code_t code_of_bag(PKCS12_SAFEBAG *bag)
{
    STACK_OF(PKCS7) *safes = NULL;

    pfx_add(&safes, bag, 0, 1, NULL);
    return code_of(pfx_of(safes, NULL, 1, NULL));
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static X509_ALGOR *pbkdf2(const char *iterations)
{
    return scheme_pbes2(scheme_pbkdf2(iterations, NULL), "aes-256-cbc");
}

static X509_ALGOR *scrypt(uint64_t n, uint64_t r, uint64_t p)
{
    return scheme_pbes2(scheme_scrypt(n, r, p), "aes-256-cbc");
}

static void test_key_iterations(void **state)
{
    const struct {
        X509_ALGOR *scheme;
        const char *detail;
    } cases[] = {
        {scheme_pbes1("PBE-SHA1-3DES", 1000001), "1,000,001 iterations"},
        {scheme_pbes1("PBE-SHA1-RC2-40", 20000000), "20,000,000 iterations"},
        {scheme_pbes1("PBE-MD5-DES", 2147483647), "2,147,483,647 iterations"},
        {pbkdf2("1000001"), "1,000,001 iterations"},
        {pbkdf2("4294967297"), "4,294,967,297 iterations"},
        {pbkdf2("340282366920938463463374607431768211456"),
         "a 136-bit number of iterations"},
        {scrypt(1 << 19, 1, 1), "32 MiB"},
        {scrypt(2, UINT64_C(1) << 63, 2), "32 MiB"},
        {scrypt(1 << 16, 1, 1 << 16), "4,294,967,296 blocks of scrypt"},
    };
    double start = seconds();

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(code_of_bag(bag_scheme(cases[i].scheme)),
                         ECERT_ERR_ITERATIONS);
        assert_non_null(strstr(err.detail, cases[i].detail));
    }
    assert_true(seconds() - start < 1);
}

/* As many as are allowed are not what it fails for. */
static void test_allowed(void **state)
{
    const struct {
        X509_ALGOR *scheme;
        ecert_code_t code;
    } cases[] = {
        {pbkdf2("1000000"), ECERT_ERR_PASSWORD},
        {scheme_pbes1("PBE-SHA1-3DES", 1000), ECERT_ERR_PASSWORD},
        {scheme_pbes1("PBE-SHA1-3DES", 0), ECERT_ERR_PASSWORD},
        {scrypt(16384, 8, 1), ECERT_ERR_PASSWORD},
        {scrypt(0, 8, 1), ECERT_ERR_DAMAGED},
        {pbkdf2("-1"), ECERT_ERR_DAMAGED},
        {scheme_pbes1("PBES2", 1000), ECERT_ERR_DAMAGED}, /* not its form */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(code_of_bag(bag_scheme(cases[i].scheme)),
                         cases[i].code);
    }
}

static void test_mac_iterations(void **state)
{
    STACK_OF(PKCS7) *safes = NULL;
    PKCS12 *p12;
    const ASN1_INTEGER *n;

    (void)state;
    pfx_add(&safes, bag_certificate(pki->leaf), 0, 1, NULL);
    p12 = pfx_of(safes, EVP_sha256(), 2, "foo");
    PKCS12_get0_mac(NULL, NULL, NULL, &n, p12);
    assert_int_equal(ASN1_INTEGER_set((ASN1_INTEGER *)(uintptr_t)n, 20000000),
                     1);
    assert_int_equal(code_of(p12), ECERT_ERR_ITERATIONS);
    assert_string_equal(err.detail, "20,000,000 iterations");
}

/* Found after a part was opened, and before the key is. */
static void test_hidden_iterations(void **state)
{
    STACK_OF(PKCS7) *safes = NULL;
    double start;

    (void)state;
    pfx_add(&safes, bag_nest(bag_scheme(pbkdf2("1000001")), 2), NID_aes_256_cbc,
            1, "foo");
    start = seconds();
    assert_int_equal(code_of(pfx_of(safes, EVP_sha256(), 1, "foo")),
                     ECERT_ERR_ITERATIONS);
    assert_string_equal(err.detail, "1,000,001 iterations");
    assert_true(seconds() - start < 0.2);
}

/* Each is allowed, all of them are not. */
static void test_sum(void **state)
{
    STACK_OF(PKCS7) *safes = NULL;
    double start;

    (void)state;
    for (int i = 0; i < 10; i++) {
        pfx_add(&safes, bag_scheme(pbkdf2("1000000")), 0, 1, NULL);
    }
    start = seconds();
    assert_int_equal(code_of(pfx_of(safes, EVP_sha256(), 1, "foo")),
                     ECERT_ERR_ITERATIONS);
    assert_string_equal(err.detail, "10,000,001 iterations in all");
    assert_true(seconds() - start < 0.2);
}

static void test_unknown_algorithms(void **state)
{
    const struct {
        X509_ALGOR *scheme;
        const char *detail;
    } cases[] = {
        {scheme_pbes1("1.2.3.4", 1), "1.2.3.4 (encryption)"},
        {scheme_pbes1("PBKDF2", 1), "PBKDF2 (encryption)"},
        {scheme_pbes1("PBE-MD2-DES", 1), "MD2 (pbeWithMD2AndDES-CBC)"},
        {scheme_pbes2(scheme_pbkdf2("1", NULL), "1.2.3.5"), "1.2.3.5 (PBES2)"},
        {scheme_pbes2(scheme_pbkdf2("1", "1.2.3.6"), "aes-256-cbc"),
         "1.2.3.6 (PBES2)"},
        {scheme_pbes2(scheme_pbes1("1.2.3.7", 1), "aes-256-cbc"),
         "1.2.3.7 (PBES2)"},
        {scheme_pbes2(scheme_pbkdf2("1", NULL), "gost89"),
         "GOST 28147-89 (PBES2)"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(code_of_bag(bag_scheme(cases[i].scheme)),
                         ECERT_ERR_ALGORITHM);
        assert_string_equal(err.detail, cases[i].detail);
        assert_string_equal(err.hint, ""); /* no provider of OpenSSL's has it */
    }
    assert_int_equal(code_of_bag(bag_key_unknown()), ECERT_ERR_KEY_TYPE);
    assert_string_equal(err.detail, "1.2.3.4");
}

static PKCS12 *with_mac(const char *name, ASN1_TYPE *param)
{
    STACK_OF(PKCS7) *safes = NULL;
    PKCS12 *p12;

    pfx_add(&safes, bag_certificate(pki->leaf), 0, 1, NULL);
    p12 = pfx_of(safes, EVP_sha256(), 1, "foo");
    pfx_set_mac(p12, name, param);
    return p12;
}

/* PBMAC1: made like PBES2. */
static ecert_code_t code_of_pbmac1(X509_ALGOR *kdf, const char *hmac)
{
    X509_ALGOR *scheme = scheme_pbes2(kdf, hmac);
    ecert_code_t code;

    code = code_of(with_mac("PBMAC1", scheme->parameter));
    scheme->parameter = NULL;
    X509_ALGOR_free(scheme);
    return code;
}

static void test_unknown_macs(void **state)
{
    ecert_code_t known = OpenSSL_version_num() >= 0x30400000L
                             ? ECERT_ERR_PASSWORD
                             : ECERT_ERR_ALGORITHM;
    const char *hmac = "hmacWithSHA256";

    (void)state;
    assert_int_equal(code_of(with_mac("1.2.3.8", NULL)), ECERT_ERR_ALGORITHM);
    assert_string_equal(err.detail, "1.2.3.8 (MAC)");
    assert_int_equal(code_of(with_mac("SHA512", NULL)), ECERT_ERR_PASSWORD);
    assert_int_equal(code_of_pbmac1(scheme_pbkdf2("1000", NULL), hmac), known);
    if (known == ECERT_ERR_ALGORITHM) {
        assert_non_null(strstr(err.detail, "PBMAC1"));
        assert_non_null(strstr(err.hint, "usual MAC"));
    }
    assert_int_equal(code_of(with_mac("md_gost12_256", NULL)),
                     ECERT_ERR_ALGORITHM);
    assert_string_equal(err.hint, "");
    assert_int_equal(code_of_pbmac1(scheme_pbkdf2("1000001", NULL), hmac),
                     ECERT_ERR_ITERATIONS);
    assert_int_equal(code_of_pbmac1(scheme_pbkdf2("1", NULL), "1.2.3.9"),
                     ECERT_ERR_ALGORITHM);
    assert_string_equal(err.detail, "1.2.3.9 (PBMAC1)");
    assert_int_equal(code_of_pbmac1(scheme_pbkdf2_length(65), hmac),
                     ECERT_ERR_DAMAGED);
    assert_int_equal(code_of_pbmac1(scheme_scrypt(1024, 8, 1), hmac),
                     ECERT_ERR_DAMAGED);
    assert_int_equal(code_of(with_mac("PBMAC1", NULL)), ECERT_ERR_DAMAGED);
}

static void test_too_many(void **state)
{
    STACK_OF(PKCS7) *safes = NULL;
    int n = ECERT_PFX_CERTIFICATES;

    (void)state;
    pfx_add(&safes, bag_key(pki->leaf_key, 0, NULL), 0, 1, NULL);
    pfx_add(&safes, bag_key(pki->leaf_key, NID_aes_256_cbc, "foo"), 0, 1, NULL);
    assert_int_equal(code_of(pfx_of(safes, NULL, 1, NULL)), ECERT_OK);
    safes = NULL;
    pfx_add(&safes, bag_key(pki->leaf_key, 0, NULL), 0, 1, NULL);
    pfx_add(&safes, bag_key(pki->sub_key, NID_aes_256_cbc, "foo"), 0, 1, NULL);
    assert_int_equal(code_of(pfx_of(safes, NULL, 1, NULL)), ECERT_ERR_TOO_MANY);
    assert_string_equal(err.detail, "more than one private key");

    for (int more = 0; more < 2; more++) {
        safes = NULL;
        for (int i = 0; i < n + more; i++) {
            X509 *cert = pki_leaf(pki, "DNS:a.example.hk", NULL, NOW + i,
                                  NOW + PKI_YEAR);

            pfx_add(&safes, bag_certificate(cert), 0, 1, NULL);
            pfx_add(&safes, bag_certificate(cert), 0, 1, NULL);
            X509_free(cert);
        }
        assert_int_equal(code_of(pfx_of(safes, NULL, 1, NULL)),
                         more ? ECERT_ERR_TOO_MANY : ECERT_OK);
    }
}

static void test_bags(void **state)
{
    STACK_OF(PKCS7) *safes = NULL;
    ecert_pfx_t out;

    (void)state;
    pfx_add(&safes, bag_crl(), 0, 1, NULL);
    pfx_add(&safes, bag_secret(), NID_aes_256_cbc, 1, "foo");
    pfx_add(&safes, bag_nest(bag_certificate(pki->leaf), 4), 0, 1, NULL);
    pfx_add(&safes, bag_nest(bag_key(pki->leaf_key, NID_aes_256_cbc, "foo"), 1),
            0, 1, NULL);
    blob_t blob = pfx_bytes(pfx_of(safes, EVP_sha1(), 1, "foo"));

    assert_int_equal(read_bytes(blob.bytes, blob.len, "foo", &out), 0);
    assert_int_equal(EVP_PKEY_eq(out.key, pki->leaf_key), 1);
    assert_int_equal(sk_X509_num(out.certificates), 1);
    ecert_pfx_free(&out);
    blob_free(&blob);
    assert_int_equal(code_of_bag(bag_nest(bag_certificate(pki->leaf), 5)),
                     ECERT_ERR_DAMAGED);
}

/* "" and no password at all, with and without a MAC. */
static void test_no_password(void **state)
{
    const char *passwords[] = {"", NULL};
    int schemes[] = {NID_pbe_WithSHA1And3_Key_TripleDES_CBC, NID_aes_256_cbc};
    ecert_pfx_t out;

    (void)state;
    for (int i = 0; i < 8; i++) {
        const char *password = passwords[i & 1];
        int scheme = schemes[i >> 1 & 1];
        STACK_OF(PKCS7) *safes = NULL;

        if (password == NULL && scheme == NID_aes_256_cbc) {
            continue; /* PBES2 has no such thing */
        }
        pfx_add(&safes, bag_certificate(pki->leaf), scheme, 1, password);
        pfx_add(&safes, bag_key(pki->leaf_key, scheme, password), 0, 1, NULL);
        blob_t blob =
            pfx_bytes(pfx_of(safes, i & 4 ? EVP_sha256() : NULL, 1, password));

        assert_int_equal(read_bytes(blob.bytes, blob.len, "", &out), 0);
        assert_int_equal(EVP_PKEY_eq(out.key, pki->leaf_key), 1);
        ecert_pfx_free(&out);
        assert_int_equal(read_bytes(blob.bytes, blob.len, "x", &out), -1);
        assert_int_equal(err.code, ECERT_ERR_PASSWORD);
        blob_free(&blob);
    }
}

/*
 * OpenSSL before 1.1.0 made a character of each byte of the password, and took
 * the bytes themselves for PBES2.
 */
static void test_old_password(void **state)
{
    const char *password = "p\xc3\xa4ss", *old = "p\xc3\x83\xc2\xa4ss";
    int schemes[] = {NID_pbe_WithSHA1And3_Key_TripleDES_CBC, NID_aes_256_cbc};
    ecert_pfx_t out;

    (void)state;
    for (int i = 0; i < 4; i++) {
        int scheme = schemes[i & 1];
        const char *parts = i & 1 ? password : old;
        STACK_OF(PKCS7) *safes = NULL;

        pfx_add(&safes, bag_certificate(pki->leaf), scheme, 1, parts);
        pfx_add(&safes, bag_key(pki->leaf_key, scheme, parts), 0, 1, NULL);
        blob_t blob =
            pfx_bytes(pfx_of(safes, i & 2 ? EVP_sha1() : NULL, 1, old));

        assert_int_equal(read_bytes(blob.bytes, blob.len, password, &out), 0);
        assert_int_equal(EVP_PKEY_eq(out.key, pki->leaf_key), 1);
        ecert_pfx_free(&out);
        assert_int_equal(read_bytes(blob.bytes, blob.len, "p\xc3\xa5ss", &out),
                         -1);
        assert_int_equal(err.code, ECERT_ERR_PASSWORD);
        blob_free(&blob);
    }
}

/* As a keystore of Java may have it. */
static void test_other_key_password(void **state)
{
    int schemes[] = {NID_pbe_WithSHA1And3_Key_TripleDES_CBC, NID_aes_256_cbc};
    ecert_pfx_t out;

    (void)state;
    for (int i = 0; i < 2; i++) {
        STACK_OF(PKCS7) *safes = NULL;

        pfx_add(&safes, bag_certificate(pki->leaf), schemes[i], 1, "store");
        pfx_add(&safes, bag_key(pki->leaf_key, schemes[i], "key"), 0, 1, NULL);
        blob_t blob = pfx_bytes(pfx_of(safes, EVP_sha256(), 1, "store"));

        assert_int_equal(read_bytes(blob.bytes, blob.len, "store", &out), -1);
        assert_int_equal(err.code, ECERT_ERR_PASSWORD);
        assert_non_null(strstr(err.detail, "Java gives a key a password"));
        assert_non_null(strstr(err.hint, "keytool"));
        assert_int_equal(read_bytes(blob.bytes, blob.len, "key", &out), -1);
        assert_string_equal(err.detail, "");
        blob_free(&blob);
    }
}

/* Windows: "Group or user names (recommended)", with and without a password. */
static void test_for_group(void **state)
{
    STACK_OF(PKCS7) *safes = NULL;
    ecert_pfx_t out;

    (void)state;
    pfx_add(&safes, bag_certificate(pki->leaf), NID_aes_256_cbc, 1, "random");
    pfx_add(&safes, bag_key(pki->leaf_key, NID_aes_256_cbc, "random"), 0, 1,
            NULL);
    pfx_add(&safes, bag_secret_of("1.3.6.1.4.1.311.17.4"), 0, 1, NULL);
    blob_t blob = pfx_bytes(pfx_of(safes, EVP_sha256(), 1, "random"));

    assert_int_equal(read_bytes(blob.bytes, blob.len, "", &out), -1);
    assert_int_equal(err.code, ECERT_ERR_PASSWORD);
    assert_non_null(strstr(err.detail, "group of a Windows domain"));
    assert_non_null(strstr(err.hint, "with a password"));
    assert_int_equal(read_bytes(blob.bytes, blob.len, "random", &out), 0);
    ecert_pfx_free(&out);
    blob_free(&blob);
}

/* The second try is within the sum, too. */
static void test_old_password_cost(void **state)
{
    STACK_OF(PKCS7) *safes = NULL;
    ecert_pfx_t out;

    (void)state;
    for (int i = 0; i < 9; i++) {
        pfx_add(&safes, bag_scheme(pbkdf2("1000000")), 0, 1, NULL);
    }
    pfx_add(&safes, bag_scheme(pbkdf2("900000")), 0, 1, NULL);
    blob_t blob = pfx_bytes(pfx_of(safes, EVP_sha256(), 60000, "foo"));

    assert_int_equal(read_bytes(blob.bytes, blob.len, "bar", &out), -1);
    assert_int_equal(err.code, ECERT_ERR_PASSWORD);
    assert_int_equal(read_bytes(blob.bytes, blob.len, "b\xc3\xa4r", &out), -1);
    assert_int_equal(err.code, ECERT_ERR_ITERATIONS);
    assert_string_equal(err.detail, "10,020,000 iterations in all");
    blob_free(&blob);
}

/* Damage. */

static blob_t small(const EVP_MD *mac)
{
    STACK_OF(PKCS7) *safes = NULL;

    pfx_add(&safes, bag_certificate(pki->leaf), NID_aes_256_cbc, 1, "foo");
    pfx_add(&safes, bag_key(pki->leaf_key, NID_aes_256_cbc, "foo"), 0, 1, NULL);
    return pfx_bytes(pfx_of(safes, mac, 1, "foo"));
}

static void test_truncated(void **state)
{
    blob_t blob = small(EVP_sha256());
    ecert_pfx_t out;

    (void)state;
    for (size_t len = 0; len < blob.len; len++) {
        unsigned char *exact = malloc(len ? len : 1); /* for sanitizers */

        memcpy(exact, blob.bytes, len);
        assert_int_equal(read_bytes(exact, len, "foo", &out), -1);
        assert_int_equal(err.code, ECERT_ERR_DAMAGED);
        free(exact);
    }
    assert_int_equal(read_bytes(blob.bytes, blob.len, "foo", &out), 0);
    ecert_pfx_free(&out);
    blob_free(&blob);
}

/* With a MAC nothing that was changed is ever taken for the key. */
static void test_flipped(void **state)
{
    const unsigned char flips[] = {0x01, 0xa0};
    ecert_pfx_t out;

    (void)state;
    for (int i = 0; i < 4; i++) {
        blob_t blob = small(i & 1 ? EVP_sha256() : NULL);

        for (size_t at = 0; at < blob.len; at++) {
            blob.bytes[at] ^= flips[i >> 1];
            if (read_bytes(blob.bytes, blob.len, "foo", &out) == 0) {
                assert_true(!(i & 1)
                            || (out.key != NULL
                                && pfx_same_key(out.key, pki->leaf_key)));
                ecert_pfx_free(&out);
            }
            blob.bytes[at] ^= flips[i >> 1];
        }
        blob_free(&blob);
    }
}

/* The legacy provider. */

static blob_t old(void)
{
    STACK_OF(PKCS7) *safes = NULL;
    blob_t blob = {NULL, 0};

    if (legacy_enter()) {
        pfx_add(&safes, bag_certificate(pki->leaf),
                NID_pbe_WithSHA1And40BitRC2_CBC, 1, "foo");
        pfx_add(&safes,
                bag_key(pki->leaf_key, NID_pbe_WithSHA1And128BitRC4, "foo"), 0,
                1, NULL);
        blob = pfx_bytes(pfx_of(safes, EVP_sha1(), 1, "foo"));
        legacy_leave();
    }
    return blob;
}

static void test_no_legacy(void **state)
{
    blob_t blob = old(), modern = small(EVP_sha256());
    ecert_pfx_t out;

    (void)state;
    if (!skipped(blob.bytes == NULL, "no legacy provider")) {
        assert_int_equal(read_bytes(blob.bytes, blob.len, "foo", &out), 0);
        assert_int_equal(sk_X509_num(out.certificates), 1);
        assert_true(pfx_same_key(out.key, pki->leaf_key));
        ecert_pfx_free(&out);
        setenv("OPENSSL_MODULES", "/nowhere", 1);
        assert_int_equal(read_bytes(blob.bytes, blob.len, "foo", &out), -1);
        assert_int_equal(err.code, ECERT_ERR_ALGORITHM);
        assert_string_equal(err.detail,
                            "RC2-40-CBC (pbeWithSHA1And40BitRC2-CBC)");
        assert_non_null(strstr(err.hint, "legacy provider"));
        assert_int_equal(read_bytes(modern.bytes, modern.len, "foo", &out), 0);
        ecert_pfx_free(&out);
        unsetenv("OPENSSL_MODULES");
    }
    blob_free(&blob);
    blob_free(&modern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_iterations),
        cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_mac_iterations),
        cmocka_unit_test(test_hidden_iterations),
        cmocka_unit_test(test_sum),
        cmocka_unit_test(test_unknown_algorithms),
        cmocka_unit_test(test_unknown_macs),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_bags),
        cmocka_unit_test(test_no_password),
        cmocka_unit_test(test_old_password),
        cmocka_unit_test(test_old_password_cost),
        cmocka_unit_test(test_other_key_password),
        cmocka_unit_test(test_for_group),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_flipped),
        cmocka_unit_test(test_no_legacy),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
