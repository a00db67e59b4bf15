/* Subjects of requests, and keys for them. */

#include "csr_tools.h"

static void assert_refused(ecert_subject_t subject, const char *option,
                           const char *detail)
{
    const char *const names[] = {"www.example.hk"};

    ecert_err_clear(&err);
    assert_int_equal(ecert_subject_check(&subject, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_SUBJECT);
    assert_string_equal(err.file, option);
    assert_says(err.detail, detail);
    assert_true(err.hint[0] != '\0');
    ecert_err_clear(&err);
    assert_null(ecert_csr_make(p256, &subject, names, 1, &err));
    assert_int_equal(err.code, ECERT_ERR_SUBJECT);
    assert_int_equal(ERR_peek_error(), 0);
}

static void assert_fine(ecert_subject_t subject)
{
    assert_int_equal(ecert_subject_check(&subject, &err), 0);
    assert_int_equal(ERR_peek_error(), 0);
}

static void test_subject(void **state)
{
    ecert_subject_t none = {0}, empty = {"", "", "", "", "", ""};

    (void)state;
    assert_fine(usual);
    assert_fine(none);
    assert_fine(empty);
    assert_fine((ecert_subject_t){.country = "cn"});
    assert_fine((ecert_subject_t){.organization = GOVERNMENT});
    assert_fine((ecert_subject_t){.common_name = SERVER});
    assert_fine((ecert_subject_t){.common_name = "*.example.hk"});
    assert_fine((ecert_subject_t){.organization = "\xf0\xa0\x82\x86 Ltd"});
    assert_fine((ecert_subject_t){.unit = " a "});
}

static void test_subject_country(void **state)
{
    static const char *const bad[] = {
        "H",  "HKG",      "Hong Kong", "H1",  "H ",
        "H-", "\xc3\xa9", "852",       " HK", "\xe9\xa6\x99\xe6\xb8\xaf"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_refused((ecert_subject_t){.country = bad[i]}, "--country",
                       "two letters");
    }
}

static void test_subject_lengths(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        const char *sign = i == 0   ? "a"
                           : i == 1 ? "\xe6\xb8\xaf"
                                    : "\xf0\xa0\x82\x86";

        assert_fine((ecert_subject_t){.organization = times(sign, 64),
                                      .unit = times(sign, 64),
                                      .common_name = times(sign, 64),
                                      .state = times(sign, 128),
                                      .locality = times(sign, 128)});
        assert_refused((ecert_subject_t){.organization = times(sign, 65)},
                       "--org", "65 signs, 64 are allowed");
        assert_refused((ecert_subject_t){.unit = times(sign, 65)}, "--unit",
                       "65 signs, 64 are allowed");
        assert_refused((ecert_subject_t){.state = times(sign, 129)}, "--state",
                       "129 signs, 128 are allowed");
        assert_refused((ecert_subject_t){.locality = times(sign, 129)},
                       "--locality", "129 signs, 128 are allowed");
        assert_refused((ecert_subject_t){.common_name = times(sign, 65)},
                       "the name", "65 signs");
        assert_says(err.detail, "cannot be requested from this CA");
    }
}

static void test_subject_signs(void **state)
{
    static const char *const bad[][2] = {
        {"\x80", "sign 1 is not UTF-8"},
        {"ab\xff", "sign 3 is not UTF-8"},
        {"\xe6\xb8\xaf\xe6\xb8", "sign 2 is not UTF-8"}, /* cut */
        {"\xad\xbb\xb4\xe4", "not UTF-8"},               /* Big5 */
        {"\xc0\xaf", "not UTF-8"},                       /* overlong */
        {"\xc1\x81", "not UTF-8"},
        {"\xe0\x80\xaf", "not UTF-8"},
        {"\xf0\x80\x80\xaf", "not UTF-8"},
        {"\xed\xa0\x80", "not UTF-8"}, /* a surrogate */
        {"\xf4\x90\x80\x80", "not UTF-8"},
        {"\xf8\x88\x80\x80\x80", "not UTF-8"},
        {"a\nb", "sign 2 is a control character (U+000A)"},
        {"a\tb", "a control character (U+0009)"},
        {"\x1b[31m", "a control character (U+001B)"},
        {"\x7f", "a control character (U+007F)"},
        {"\xc2\x85", "a control character (U+0085)"},
        {"\xd8\x9c", "a bidirectional control (U+061C)"},
        {"a\xe2\x80\x8f", "a bidirectional control (U+200F)"},
        {"a\xe2\x80\xae", "a bidirectional control (U+202E)"},
        {"a\xe2\x81\xa6", "a bidirectional control (U+2066)"},
        {"a\xe2\x81\xa9", "a bidirectional control (U+2069)"},
        {"a\xe2\x80\x8b", "an invisible sign (U+200B)"},
        {"\xe2\x80\xa8", "a line separator (U+2028)"},
        {"\xef\xbb\xbf"
         "a",
         "a byte order mark (U+FEFF)"},
        {"\xef\xbf\xbd", "a sign that was lost (U+FFFD)"},
        {" ", "white space alone"},
        {"\xe3\x80\x80 \xc2\xa0", "white space alone"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *text = bad[i][0], *why = bad[i][1];

        assert_refused((ecert_subject_t){.country = text}, "--country", why);
        assert_refused((ecert_subject_t){.state = text}, "--state", why);
        assert_refused((ecert_subject_t){.locality = text}, "--locality", why);
        assert_refused((ecert_subject_t){.organization = text}, "--org", why);
        assert_refused((ecert_subject_t){.unit = text}, "--unit", why);
        assert_refused((ecert_subject_t){.common_name = text}, "the name", why);
    }
}

/* Keys. */

static void count_tick(void *ctx)
{
    ++*(int *)ctx;
}

static void test_key_kinds(void **state)
{
    static const char *const kinds[][2] = {
        {"rsa", "RSA-2048"},      {"RSA:2048", "RSA-2048"},
        {"rsa:3072", "RSA-3072"}, {"Rsa:4096", "RSA-4096"},
        {"ec:P-256", "EC P-256"}, {"EC:p-256", "EC P-256"},
        {"ec:P-384", "EC P-384"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        int ticks = 0;
        EVP_PKEY *key = ecert_key_make(kinds[i][0], count_tick, &ticks, &err);
        char name[96];

        assert_non_null(key);
        assert_string_equal(ecert_pem_key_name(key, name, sizeof(name)),
                            kinds[i][1]);
        assert_int_equal(ecert_pem_key_check(key, NULL, &err), 0);
        assert_true(strncmp(name, "RSA", 3) != 0 || ticks > 2);
        assert_int_equal(ERR_peek_error(), 0);
        EVP_PKEY_free(key);
    }
}

static void test_key_refused(void **state)
{
    static const char *const bad[] = {
        "",         "rsa:",         "rsa:1024", "rsa:2047",
        "rsa:8192", "rsa:4096 ",    "rsa2048",  "rsa-2048",
        "ec",       "ec:P-521",     "ec:P-224", "ed25519",
        "dsa",      "ec:secp256k1", "P-256",    "\x1b[2J"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char line[1024];

        ecert_err_clear(&err);
        assert_null(ecert_key_make(bad[i], NULL, NULL, &err));
        assert_int_equal(err.code, ECERT_ERR_KEY_TYPE);
        assert_says(ecert_err_line(&err, NULL, line, sizeof(line)),
                    "rsa:2048, rsa:3072, rsa:4096, ec:P-256, ec:P-384");
        assert_int_equal(ERR_peek_error(), 0);
    }
}

static void test_key_text(void **state)
{
    EVP_PKEY *keys[] = {p256, p384, rsa};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        EVP_PKEY *again;
        char *pem, *tool, id[65];
        size_t len;

        assert_int_equal(ecert_key_pem(keys[i], &pem, &len, &err), 0);
        assert_int_equal(strlen(pem), len);
        assert_int_equal(strncmp(pem, "-----BEGIN PRIVATE KEY-----\n", 28), 0);
        again = ecert_pem_key((unsigned char *)pem, len, "/k", &err);
        assert_non_null(again);
        assert_int_equal(EVP_PKEY_eq(again, keys[i]), 1);
        EVP_PKEY_free(again);
        put("key", pem);
        OPENSSL_clear_free(pem, len + 1);

        assert_int_equal(ecert_key_id(keys[i], id, &err), 0);
        tool = said("openssl pkey -in %s -pubout -outform DER | sha256sum",
                    at("key"));
        assert_int_equal(strlen(id), 64);
        assert_memory_equal(tool, id, 64);
        free(tool);
        assert_int_equal(ERR_peek_error(), 0);
    }
}

/* A public key alone has no PKCS#8. */
static void test_key_public(void **state)
{
    unsigned char *der = NULL;
    int der_len = i2d_PUBKEY(p256, &der);
    const unsigned char *p = der;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &p, der_len);
    char *pem, id[65], same[65];
    size_t len;

    (void)state;
    assert_int_equal(ecert_key_pem(key, &pem, &len, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_OPENSSL);
    assert_null(pem);
    assert_null(ecert_csr_make(key, &usual, NULL, 0, &err));
    assert_int_equal(err.code, ECERT_ERR_DAMAGED);
    assert_int_equal(ERR_peek_error(), 0);
    assert_int_equal(ecert_key_id(key, id, &err), 0);
    assert_int_equal(ecert_key_id(p256, same, &err), 0);
    assert_string_equal(id, same);
    assert_int_equal(ecert_key_id(p384, same, &err), 0);
    assert_string_not_equal(id, same);
    EVP_PKEY_free(key);
    OPENSSL_free(der);
}

/* Requests. */

int main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_subject),
        cmocka_unit_test(test_subject_country),
        cmocka_unit_test(test_subject_lengths),
        cmocka_unit_test(test_subject_signs),
        cmocka_unit_test(test_key_kinds),
        cmocka_unit_test(test_key_refused),
        TEST(test_key_text),
        cmocka_unit_test(test_key_public),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
