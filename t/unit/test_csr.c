/* Requests, told by the openssl command as well. */

#include "csr_tools.h"

static X509_REQ *make(EVP_PKEY *key, const ecert_subject_t *subject,
                      const char *const *names, size_t n)
{
    X509_REQ *csr;

    ecert_err_clear(&err);
    csr = ecert_csr_make(key, subject, names, n, &err);
    assert_int_equal(ERR_peek_error(), 0);
    return csr;
}

static char *pem_of(X509_REQ *csr)
{
    char *pem = ecert_csr_pem(csr, &err);

    assert_non_null(pem);
    assert_int_equal(ERR_peek_error(), 0);
    return pem;
}

/* What openssl tells about the request, its signature verified; free() it. */
static char *tool_text(X509_REQ *csr)
{
    char *pem = pem_of(csr);

    put("csr", pem);
    OPENSSL_free(pem);
    return said("openssl req -in %s -verify -noout -text -nameopt "
                "sname,utf8,show_type,sep_comma_plus 2>&1",
                at("csr"));
}

static void test_make(void **state)
{
    EVP_PKEY *keys[] = {p256, p384, rsa};
    const char *const signatures[] = {"ecdsa-with-SHA256", "ecdsa-with-SHA384",
                                      "sha256WithRSAEncryption"};
    const char *const names[] = {"www.example.hk", "example.hk", "*.a.hk"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        X509_REQ *csr = make(keys[i], &usual, names, 3);
        char *text = tool_text(csr);
        char want[80];

        assert_says(text, "verify OK");
        assert_says(text, "Version: 1 (0x0)");
        assert_says(text, "C=PRINTABLESTRING:HK,ST=UTF8STRING:Hong Kong,"
                          "L=UTF8STRING:Hong Kong,O=UTF8STRING:My Organization,"
                          "OU=UTF8STRING:Unit,CN=UTF8STRING:www.example.hk\n");
        assert_says(text, "Requested Extensions:");
        assert_says(text, "DNS:www.example.hk, DNS:example.hk, DNS:*.a.hk\n");
        snprintf(want, sizeof(want), "Signature Algorithm: %s", signatures[i]);
        assert_says(text, want);
        free(text);
        X509_REQ_free(csr);
    }
}

static void test_make_chinese(void **state)
{
    const char *const names[] = {SERVER, SERVER_A, "Example.HK."};
    ecert_subject_t subject = {
        .country = "hk", .organization = GOVERNMENT, .common_name = SERVER};
    X509_REQ *csr = make(rsa, &subject, names, 3);
    char *text = tool_text(csr);

    (void)state;
    assert_says(text, "verify OK");
    assert_says(text, "Subject: C=PRINTABLESTRING:HK,O=UTF8STRING:" GOVERNMENT
                      ",CN=UTF8STRING:" SERVER "\n");
    assert_says(text, "DNS:" SERVER_A ", DNS:example.hk\n"); /* each once */
    free(text);
    X509_REQ_free(csr);
}

/* The global mask must not decide what a string becomes. */
static void test_make_mask(void **state)
{
    unsigned long before = ASN1_STRING_get_default_mask();
    X509_REQ *csr;
    char *text;

    (void)state;
    ASN1_STRING_set_default_mask(B_ASN1_PRINTABLESTRING | B_ASN1_T61STRING);
    csr = make(p256, &usual, NULL, 0);
    ASN1_STRING_set_default_mask(before);
    text = tool_text(csr);
    assert_says(text, "C=PRINTABLESTRING:HK,ST=UTF8STRING:Hong Kong");
    assert_says(text, "CN=UTF8STRING:www.example.hk\n");
    free(text);
    X509_REQ_free(csr);
}

static void test_make_bare(void **state)
{
    ecert_subject_t subject = {.common_name = "*.example.hk", .unit = ""};
    X509_REQ *csr = make(p256, &subject, NULL, 0);
    char *text = tool_text(csr);

    (void)state;
    assert_says(text, "Subject: CN=UTF8STRING:*.example.hk\n");
    assert_silent(text, "Alternative Name");
    assert_silent(text, "DNS:");
    assert_int_equal(X509_REQ_get_attr_count(csr), 0);
    free(text);
    X509_REQ_free(csr);
}

static void test_make_san_kind(void **state)
{
    const char *const names[] = {"www.example.hk"};
    X509_REQ *csr = make(p256, &usual, names, 1);
    STACK_OF(X509_EXTENSION) *all = X509_REQ_get_extensions(csr);
    GENERAL_NAMES *list = X509V3_get_d2i(all, NID_subject_alt_name, NULL, NULL);

    (void)state;
    assert_int_equal(sk_X509_EXTENSION_num(all), 1);
    assert_int_equal(X509_REQ_get_attr_count(csr), 1);
    assert_int_equal(sk_GENERAL_NAME_num(list), 1);
    assert_int_equal(sk_GENERAL_NAME_value(list, 0)->type, GEN_DNS);
    assert_int_equal(
        ASN1_STRING_type(sk_GENERAL_NAME_value(list, 0)->d.dNSName),
        V_ASN1_IA5STRING);
    GENERAL_NAMES_free(list);
    sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
    X509_REQ_free(csr);
}

static void test_make_refused(void **state)
{
    static const char *const kinds[] = {"RSA-1024", "P-521", "ED25519",
                                        "EC-EXPLICIT"};
    static const char *const bad[] = {
        "",       "a b.hk", "https://a.hk", "1.2.3.4", "a.hk,DNS:b.hk",
        "a_b.hk", "*"};

    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        EVP_PKEY *key = pki_key(kinds[i]);

        assert_null(make(key, &usual, NULL, 0));
        assert_int_equal(err.code, ECERT_ERR_KEY_TYPE);
        EVP_PKEY_free(key);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *const names[] = {"good.hk", bad[i]};

        assert_null(make(p256, &usual, names, 2));
        assert_int_equal(err.code, ECERT_ERR_NAME);
    }
}

/* Reading. */

static X509_REQ *read_text(const char *text)
{
    X509_REQ *csr;

    ecert_err_clear(&err);
    csr = ecert_csr_read((const unsigned char *)text, strlen(text), "/r.csr",
                         &err);
    assert_int_equal(ERR_peek_error(), 0);
    if (csr == NULL) {
        assert_string_equal(err.file, "/r.csr");
    }
    return csr;
}

static void assert_reads(char *text, X509_REQ *want)
{
    X509_REQ *csr = read_text(text);
    unsigned char *a = NULL, *b = NULL;
    int len = i2d_X509_REQ(want, &a);

    assert_non_null(csr);
    assert_int_equal(i2d_X509_REQ(csr, &b), len);
    assert_memory_equal(a, b, len);
    OPENSSL_free(a);
    OPENSSL_free(b);
    X509_REQ_free(csr);
    free(text);
}

static void assert_unread(char *text, ecert_code_t code, const char *detail)
{
    assert_null(read_text(text));
    assert_string_equal(ecert_err_word(err.code), ecert_err_word(code));
    assert_says(err.detail, detail);
    free(text);
}

/* A copy with every `from` replaced by `to`. */
static char *replaced(const char *text, const char *from, const char *to)
{
    char *out = calloc(1, 2 * strlen(text) + 1), *p = out;

    while (*text != '\0') {
        if (strncmp(text, from, strlen(from)) == 0) {
            p = stpcpy(p, to);
            text += strlen(from);
        } else {
            *p++ = *text++;
        }
    }
    return out;
}

static void test_read(void **state)
{
    X509_REQ *csr = make(p256, &usual, NULL, 0);
    char *pem = pem_of(csr), *key = pki_pem_key(p256);
    unsigned char *der = NULL;
    int len = i2d_X509_REQ(csr, &der);
    X509_REQ *again;

    (void)state;
    assert_int_equal(strncmp(pem, "-----BEGIN CERTIFICATE REQUEST-----\n", 36),
                     0);
    assert_reads(strdup(pem), csr);
    assert_reads(replaced(pem, "CERTIFICATE REQ", "NEW CERTIFICATE REQ"), csr);
    assert_reads(replaced(pem, "\n", "\r\n"), csr);
    assert_reads(replaced(pem, "\n", "\r"), csr);
    assert_reads(pki_join("\xef\xbb\xbf", pem, NULL), csr);
    assert_reads(pki_join("My request:\n\n", pem, "\nThank you\n", NULL), csr);
    assert_reads(pki_join(key, pem, NULL), csr);
    assert_reads(replaced(pem, "\n", "\n  "), csr);
    again = ecert_csr_read(der, (size_t)len, "/r.csr", &err);
    assert_non_null(again);
    X509_REQ_free(again);
    assert_null(ecert_csr_read((const unsigned char *)"0\0", 2, "/r", &err));
    assert_int_equal(err.code, ECERT_ERR_FORMAT);
    assert_null(ecert_csr_read(der, (size_t)len - 1, "/r.csr", &err));
    assert_int_equal(err.code, ECERT_ERR_TRUNCATED);
    assert_int_equal(ERR_peek_error(), 0);
    OPENSSL_free(der);
    OPENSSL_free(pem);
    free(key);
    X509_REQ_free(csr);
}

static void test_read_refused(void **state)
{
    X509_REQ *csr = make(p256, &usual, NULL, 0);
    char *pem = pem_of(csr), *key = pki_pem_key(p256);
    char *half = strndup(pem, strlen(pem) / 2), *wrong = strdup(pem);
    pki_t *pki = pki_new(1795392000);

    (void)state;
    wrong[200] = '!';
    assert_unread(strdup(""), ECERT_ERR_EMPTY, "");
    assert_unread(strdup(" \r\n"), ECERT_ERR_EMPTY, "white space");
    assert_unread(strdup("<html>"), ECERT_ERR_FORMAT, "HTML");
    assert_unread(strdup(key), ECERT_ERR_FORMAT,
                  "expected a certificate request, found a private key");
    assert_unread(pki_pem(pki->leaf), ECERT_ERR_FORMAT, "found a certificate");
    assert_unread(half, ECERT_ERR_TRUNCATED, "has no end");
    assert_unread(wrong, ECERT_ERR_TRUNCATED, "is damaged");
    assert_unread(pki_join(pem, pem, NULL), ECERT_ERR_TOO_MANY, "more than");
    assert_unread(replaced(pem, "-----BEGIN", "-----BEGUN"), ECERT_ERR_FORMAT,
                  "a BEGIN or END line");
    OPENSSL_free(pem);
    free(key);
    pki_free(pki);
    X509_REQ_free(csr);
}

static char *der_as_pem(unsigned char *der, size_t len)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL, *text;
    long size;

    PEM_write_bio(bio, "CERTIFICATE REQUEST", "", der, (long)len);
    size = BIO_get_mem_data(bio, &data);
    text = strndup(data, (size_t)size);
    BIO_free(bio);
    return text;
}

/* Every bit of the name and of the signature counts. */
static void test_read_damaged(void **state)
{
    X509_REQ *csr = make(rsa, &usual, NULL, 0);
    unsigned char *der = NULL, *at_name;
    size_t len = (size_t)i2d_X509_REQ(csr, &der);

    (void)state;
    at_name = memmem(der, len, "My Organization", 15);
    at_name[0] ^= 1;
    assert_unread(der_as_pem(der, len), ECERT_ERR_DAMAGED,
                  "signature of the request does not fit");
    at_name[0] ^= 1;
    der[len - 1] ^= 1;
    assert_unread(der_as_pem(der, len), ECERT_ERR_DAMAGED, "signature");
    der[len - 1] ^= 1;
    assert_reads(der_as_pem(der, len), csr);
    assert_unread(der_as_pem(der, len - 1), ECERT_ERR_TRUNCATED, "damaged");
    der = OPENSSL_realloc(der, len + 1);
    der[len] = 0;
    assert_unread(der_as_pem(der, len + 1), ECERT_ERR_TRUNCATED, "damaged");
    assert_null(ecert_csr_read(der, len + 1, "/r.csr", &err));
    assert_int_equal(err.code, ECERT_ERR_DAMAGED);
    assert_says(err.detail, "stand behind it");
    OPENSSL_free(der);
    X509_REQ_free(csr);
}

/* A key of a kind that nobody knows: 1.2.840.10045.2.1 becomes ...2.99. */
static void test_read_key_unknown(void **state)
{
    X509_REQ *csr = make(p256, &usual, NULL, 0);
    unsigned char *der = NULL, *oid;
    size_t len = (size_t)i2d_X509_REQ(csr, &der);

    (void)state;
    oid = memmem(der, len, "\x2a\x86\x48\xce\x3d\x02\x01", 7);
    oid[6] = 99;
    assert_unread(der_as_pem(der, len), ECERT_ERR_DAMAGED, "public key");
    OPENSSL_free(der);
    X509_REQ_free(csr);
}

/* Sectigo's file. */

static void test_sectigo(void **state)
{
    const char *const names[] = {"www.example.hk"};
    X509_REQ *csr = make(rsa, &usual, names, 1), *again;
    char *pem = pem_of(csr), *md5, *sha256, *other;
    char name[64], body[256], want[300];

    (void)state;
    other = replaced(pem, "CERTIFICATE REQ", "NEW CERTIFICATE REQ");
    put("csr", pem);
    md5 = said("openssl req -in %s -outform DER | md5sum | tr a-f A-F",
               at("csr"));
    sha256 = said("openssl req -in %s -outform DER | sha256sum", at("csr"));
    again = read_text(other);

    assert_int_equal(ecert_csr_sectigo(csr, NULL, name, body, &err), 0);
    snprintf(want, sizeof(want), "%.32s.txt", md5);
    assert_string_equal(name, want);
    snprintf(want, sizeof(want), "%.64s\nsectigo.com\n", sha256);
    assert_string_equal(body, want);
    assert_int_equal(ecert_csr_sectigo(again, "", name, body, &err), 0);
    assert_string_equal(body, want);
    assert_int_equal(ecert_csr_sectigo(again, "Ab12-x", name, body, &err), 0);
    snprintf(want, sizeof(want), "%.64s\nsectigo.com\nAb12-x\n", sha256);
    assert_string_equal(body, want);
    snprintf(want, sizeof(want), "%.32s.txt", md5);
    assert_string_equal(name, want);
    assert_int_equal(ERR_peek_error(), 0);
    free(md5);
    free(sha256);
    free(other);
    OPENSSL_free(pem);
    X509_REQ_free(csr);
    X509_REQ_free(again);
}

static void test_sectigo_refused(void **state)
{
    static const char *const bad[] = {"a b", "a\nb", " a",
                                      "a\r", "\x7f", "\xe6\xb8\xaf"};
    X509_REQ *csr = make(p256, &usual, NULL, 0);
    char name[64], body[256];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ecert_err_clear(&err);
        assert_int_equal(ecert_csr_sectigo(csr, bad[i], name, body, &err), -1);
        assert_int_equal(err.code, ECERT_ERR_TOKEN);
    }
    assert_int_equal(ecert_csr_sectigo(csr, times("a", 177), name, body, &err),
                     0);
    assert_int_equal(strlen(body), 255);
    assert_int_equal(ecert_csr_sectigo(csr, times("a", 178), name, body, &err),
                     -1);
    assert_int_equal(err.code, ECERT_ERR_TOKEN);
    assert_says(err.detail, "too long");
    X509_REQ_free(csr);
}

int main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_make),
        TEST(test_make_chinese),
        TEST(test_make_mask),
        TEST(test_make_bare),
        cmocka_unit_test(test_make_san_kind),
        cmocka_unit_test(test_make_refused),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_read_refused),
        cmocka_unit_test(test_read_damaged),
        cmocka_unit_test(test_read_key_unknown),
        TEST(test_sectigo),
        cmocka_unit_test(test_sectigo_refused),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
