/* Files that somebody hands over: what is found in them. */

#include "scratch.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/pkcs7.h>

#include "ecert_parcel_work.h"
#include "ecert_pem.h"
#include "pki.h"

#define NOW INT64_C(1790000000)

static ecert_err_t err;
static ecert_file_t file;
static pki_t *pki;
static ecert_parcel_t parcel;

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

static int teardown(void **state)
{
    ecert_file_free(&file);
    ecert_parcel_free(&parcel);
    return scratch_teardown(state);
}

static int open_bytes(const void *bytes, size_t len, const char *password)
{
    put_bytes("parcel", bytes, len);
    ecert_parcel_free(&parcel);
    ecert_file_free(&file);
    assert_int_equal(ecert_parcel_read(at("parcel"), &file, &err), 0);
    ERR_clear_error();
    ecert_err_clear(&err);
    if (ecert_parcel_open(&file, "a.pem", password, &parcel, &err) != 0) {
        assert_string_equal(err.file, "a.pem");
        memset(&parcel, 0, sizeof(parcel));
    }
    assert_int_equal(ERR_peek_error(), 0);
    return (int)err.code;
}

static int open_text(const char *text)
{
    return open_bytes(text, strlen(text), NULL);
}

/* These certificates up to a NULL, in this order, and this key or none. */
static void assert_holds(EVP_PKEY *key, ...)
{
    va_list args;
    X509 *cert;
    int n = 0;

    va_start(args, key);
    while ((cert = va_arg(args, X509 *)) != NULL) {
        assert_true(n < sk_X509_num(parcel.certificates));
        assert_int_equal(
            X509_cmp(sk_X509_value(parcel.certificates, n++), cert), 0);
    }
    va_end(args);
    assert_int_equal(sk_X509_num(parcel.certificates), n);
    assert_int_equal(parcel.key != NULL, key != NULL);
    if (key != NULL) {
        assert_int_equal(EVP_PKEY_eq(parcel.key, key), 1);
    }
}

static X509 *const END = NULL;

static void assert_refused(int code, int expected, const char *detail)
{
    assert_int_equal(code, expected);
    if (strstr(err.detail, detail) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", detail, err.detail);
    }
}

static void test_pem(void **state)
{
    char *leaf = pki_pem(pki->leaf), *sub = pki_pem(pki->new_sub);
    char *key = pki_pem_key(pki->leaf_key);
    char *old_key = pki_pem_key_traditional(pki->leaf_key);
    char *text =
        pki_join("Dear customer,\r\n", leaf, "and\r\n", sub, "bye\n", NULL);
    char *all = pki_join(key, leaf, sub, NULL);
    char *other = pki_join(sub, leaf, old_key, old_key, NULL);

    (void)state;
    assert_int_equal(open_text(text), 0);
    assert_holds(NULL, pki->leaf, pki->new_sub, END);
    assert_int_equal(parcel.pfx, 0);
    assert_string_equal(parcel.friendly_name, "");
    assert_int_equal(open_text(all), 0);
    assert_holds(pki->leaf_key, pki->leaf, pki->new_sub, END);
    assert_int_equal(open_text(other), 0);
    assert_holds(pki->leaf_key, pki->new_sub, pki->leaf, END);
    assert_int_equal(open_text(key), 0);
    assert_holds(pki->leaf_key, END);
    assert_int_equal(open_text(old_key), 0);
    assert_holds(pki->leaf_key, END);
    free(leaf);
    free(sub);
    free(key);
    free(old_key);
    free(text);
    free(all);
    free(other);
}

static void test_kinds_of_keys(void **state)
{
    static const char *const good[] = {"RSA-2048", "RSA-4096", "P-384"};
    static const char *const bad[] = {"RSA-1024", "P-521", "ED25519"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        EVP_PKEY *key = pki_key(good[i]), *odd = pki_key(bad[i]);
        char *leaf = pki_pem(pki->leaf), *pem = pki_pem_key(key);
        char *odd_pem = pki_pem_key(odd);
        char *both = pki_join(leaf, odd_pem, NULL);

        assert_int_equal(open_text(pem), 0);
        assert_holds(key, END);
        assert_int_equal(open_text(odd_pem), ECERT_ERR_KEY_TYPE);
        assert_int_equal(open_text(both), ECERT_ERR_KEY_TYPE);
        EVP_PKEY_free(key);
        EVP_PKEY_free(odd);
        free(leaf);
        free(pem);
        free(odd_pem);
        free(both);
    }
}

static char *encrypted_key(void)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    long len;

    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, pki->leaf_key,
                                                   EVP_aes_128_cbc(), "pass", 4,
                                                   NULL, NULL),
                     1);
    len = BIO_get_mem_data(bio, &text);
    text = strndup(text, (size_t)len);
    BIO_free(bio);
    return text;
}

static void test_bad_keys(void **state)
{
    char *leaf = pki_pem(pki->leaf), *locked = encrypted_key();
    char *one = pki_pem_key(pki->leaf_key), *two = pki_pem_key(pki->sub_key);
    char *with_locked = pki_join(leaf, locked, NULL);
    char *with_two = pki_join(leaf, one, two, NULL);
    char *only_two = pki_join(one, two, NULL);
    char *cut = strndup(one, strlen(one) / 2);

    (void)state;
    assert_int_equal(open_text(locked), ECERT_ERR_ENCRYPTED);
    assert_int_equal(open_text(with_locked), ECERT_ERR_ENCRYPTED);
    assert_refused(open_text(with_two), ECERT_ERR_TOO_MANY, "two different");
    assert_refused(open_text(only_two), ECERT_ERR_TOO_MANY, "two different");
    assert_refused(open_text(cut), ECERT_ERR_TRUNCATED, "PRIVATE KEY");
    one[strlen("-----BEGIN PRIVATE KEY-----\n") + 5] = '!';
    assert_refused(open_text(one), ECERT_ERR_TRUNCATED, "is damaged");
    free(leaf);
    free(locked);
    free(one);
    free(two);
    free(with_locked);
    free(with_two);
    free(only_two);
    free(cut);
}

static int open_der_bytes(unsigned char *der, int len, const char *password)
{
    int code;

    assert_true(len > 0);
    code = open_bytes(der, (size_t)len, password);
    OPENSSL_free(der);
    return code;
}

static void test_der(void **state)
{
    unsigned char *der = NULL;
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(pki->leaf_key);
    int len = i2d_X509(pki->leaf, &der);

    (void)state;
    assert_int_equal(open_der_bytes(der, len, NULL), 0);
    assert_holds(NULL, pki->leaf, END);
    der = NULL;
    len = i2d_PrivateKey(pki->leaf_key, &der);
    assert_int_equal(open_der_bytes(der, len, NULL), 0);
    assert_holds(pki->leaf_key, END);
    der = NULL;
    len = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
    assert_int_equal(open_der_bytes(der, len, "unused"), 0);
    assert_holds(pki->leaf_key, END);
    PKCS8_PRIV_KEY_INFO_free(info);
    der = NULL;
    len = i2d_X509(pki->leaf, &der);
    assert_int_equal(open_der_bytes(der, len - 7, NULL), ECERT_ERR_TRUNCATED);
}

static void test_pkcs7(void **state)
{
    PKCS7 *p7 = PKCS7_new();
    BIO *bio = BIO_new(BIO_s_mem());
    unsigned char *der = NULL;
    char *pem, *key = pki_pem_key(pki->leaf_key), *both, *copy;
    int len;

    (void)state;
    assert_int_equal(PKCS7_set_type(p7, NID_pkcs7_signed), 1);
    assert_int_equal(PKCS7_content_new(p7, NID_pkcs7_data), 1);
    assert_int_equal(PKCS7_add_certificate(p7, pki->leaf), 1);
    assert_int_equal(PKCS7_add_certificate(p7, pki->new_sub), 1);
    assert_int_equal(PEM_write_bio_PKCS7(bio, p7), 1);
    len = (int)BIO_get_mem_data(bio, &pem);
    copy = strndup(pem, (size_t)len);
    both = pki_join(copy, key, NULL);
    assert_int_equal(open_text(copy), 0);
    assert_holds(NULL, pki->leaf, pki->new_sub, END);
    assert_int_equal(open_text(both), 0);
    assert_holds(pki->leaf_key, pki->leaf, pki->new_sub, END);
    len = i2d_PKCS7(p7, &der);
    assert_int_equal(open_der_bytes(der, len, NULL), 0);
    assert_holds(NULL, pki->leaf, pki->new_sub, END);
    PKCS7_free(p7);
    BIO_free(bio);
    free(key);
    free(both);
    free(copy);
}

static void test_trusted(void **state)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    long len;

    (void)state;
    assert_int_equal(PEM_write_bio_X509_AUX(bio, pki->leaf), 1);
    len = BIO_get_mem_data(bio, &text);
    assert_int_equal(open_bytes(text, (size_t)len, NULL), 0);
    assert_holds(NULL, pki->leaf, END);
    BIO_free(bio);
}

static void test_too_many(void **state)
{
    char *leaf = pki_pem(pki->leaf), *many = strdup(""), *longer;

    (void)state;
    for (int i = 0; i <= ECERT_PEM_CERTIFICATES; i++) {
        longer = pki_join(many, leaf, NULL);
        free(many);
        many = longer;
        if (i == ECERT_PEM_CERTIFICATES - 1) {
            assert_int_equal(open_text(many), 0);
            assert_int_equal(sk_X509_num(parcel.certificates),
                             ECERT_PEM_CERTIFICATES);
        }
    }
    assert_refused(open_text(many), ECERT_ERR_TOO_MANY,
                   "more than 16 certificates");
    free(leaf);
    free(many);
}

static char *request(void)
{
    X509_REQ *req = X509_REQ_new();
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    long len;

    assert_int_equal(X509_REQ_set_pubkey(req, pki->leaf_key), 1);
    assert_true(X509_REQ_sign(req, pki->leaf_key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_bio_X509_REQ(bio, req), 1);
    len = BIO_get_mem_data(bio, &text);
    text = strndup(text, (size_t)len);
    BIO_free(bio);
    X509_REQ_free(req);
    return text;
}

static void test_other_files(void **state)
{
    unsigned char noise[4096];
    char *csr = request(), *leaf = pki_pem(pki->leaf);
    char *cut = strndup(leaf, strlen(leaf) - 40);
    uint32_t seed = 1;

    (void)state;
    for (size_t i = 0; i < sizeof(noise); i++) {
        seed = seed * 1664525 + 1013904223;
        noise[i] = (unsigned char)(seed >> 24);
    }
    assert_refused(open_text("<!DOCTYPE html><html>Please log in</html>"),
                   ECERT_ERR_FORMAT, "found a web page (HTML)");
    assert_refused(open_bytes("\xff\xfe-\0-\0-\0", 8, NULL), ECERT_ERR_FORMAT,
                   "UTF-16");
    assert_refused(open_text(csr), ECERT_ERR_FORMAT,
                   "found a certificate request");
    assert_refused(open_bytes(noise, sizeof(noise), NULL), ECERT_ERR_FORMAT,
                   "expected a certificate, found something else");
    noise[0] = 0x30;
    noise[1] = 0x80;
    assert_refused(open_bytes(noise, sizeof(noise), NULL), ECERT_ERR_FORMAT,
                   "found DER of another kind");
    assert_refused(open_text(" \n "), ECERT_ERR_EMPTY, "only white space");
    assert_refused(open_text(cut), ECERT_ERR_TRUNCATED, "nothing of this file");
    free(csr);
    free(leaf);
    free(cut);
}

static void test_pfx(void **state)
{
    STACK_OF(X509) *chain = pki_stack(pki->new_sub, NULL);
    PKCS12 *p12 = PKCS12_create("secret", "my \\ server", pki->leaf_key,
                                pki->leaf, chain, 0, 0, 0, 0, 0);
    unsigned char *der = NULL;
    int len = i2d_PKCS12(p12, &der);

    (void)state;
    assert_true(len > 0);
    assert_int_equal(open_bytes(der, (size_t)len, NULL), ECERT_ERR_NO_PASSWORD);
    assert_int_equal(ecert_parcel_locked(&file), 1);
    assert_int_equal(open_bytes(der, (size_t)len, "wrong"), ECERT_ERR_PASSWORD);
    assert_int_equal(open_bytes(der, (size_t)len, "secret"), 0);
    assert_holds(pki->leaf_key, pki->leaf, pki->new_sub, END);
    assert_int_equal(parcel.pfx, 1);
    assert_string_equal(parcel.friendly_name, "my \\x5c server");
    OPENSSL_free(der);
    PKCS12_free(p12);
    pki_stack_free(chain);
}

/* As certtool, certutil -encode and mail gateways wrap it. */
static void test_wrapped_pfx(void **state)
{
    static const char *const labels[] = {"PKCS12", "PFX", "CERTIFICATE", "X"};
    PKCS12 *p12 = PKCS12_create("secret", "n", pki->leaf_key, pki->leaf, NULL,
                                0, 0, 0, 0, 0);
    unsigned char *der = NULL;
    int len = i2d_PKCS12(p12, &der);
    char *base64 = malloc((size_t)len * 2), *text, *sub = pki_pem(pki->new_sub);

    (void)state;
    EVP_EncodeBlock((unsigned char *)base64, der, len);
    for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
        text =
            pki_join("Key 1:\n", sub, "-----BEGIN ", labels[i], "-----\r\r\n",
                     base64, "\n\n-----END ", labels[i], "-----\n", NULL);
        assert_int_equal(open_text(text), ECERT_ERR_NO_PASSWORD);
        assert_int_equal(open_bytes(text, strlen(text), "secret"), 0);
        assert_holds(pki->leaf_key, pki->leaf, END);
        assert_int_equal(parcel.pfx, 1);
        free(text);
    }
    assert_int_equal(open_text(base64), ECERT_ERR_NO_PASSWORD);
    assert_int_equal(open_bytes(base64, strlen(base64), "secret"), 0);
    assert_holds(pki->leaf_key, pki->leaf, END);
    base64[strlen(base64) / 2] = '!';
    text = pki_join("-----BEGIN PKCS12-----\n", base64,
                    "\n-----END PKCS12-----\n", NULL);
    assert_int_equal(open_bytes(text, strlen(text), "secret"),
                     ECERT_ERR_TRUNCATED);
    free(text);
    free(sub);
    free(base64);
    OPENSSL_free(der);
    PKCS12_free(p12);
}

/* More certificates than PEM may have, no key, no name; and a weak key. */
static void test_other_pfx(void **state)
{
    STACK_OF(X509) *chain = pki_stack(pki->new_sub, NULL);
    EVP_PKEY *weak = pki_key("RSA-1024");
    unsigned char *der = NULL;
    PKCS12 *p12;
    int len;

    (void)state;
    for (int i = 1; i < 20; i++) {
        sk_X509_push(chain, pki_leaf(pki, "DNS:a", NULL, NOW, NOW + i));
    }
    p12 = PKCS12_create("", NULL, NULL, NULL, chain, 0, 0, 0, 0, 0);
    len = i2d_PKCS12(p12, &der);
    assert_int_equal(open_der_bytes(der, len, ""), 0);
    assert_int_equal(sk_X509_num(parcel.certificates), 20);
    assert_null(parcel.key);
    PKCS12_free(p12);
    der = NULL;
    p12 = PKCS12_create("p", NULL, weak, NULL, NULL, 0, 0, 0, 0, 0);
    len = i2d_PKCS12(p12, &der);
    assert_int_equal(open_der_bytes(der, len, "p"), ECERT_ERR_KEY_TYPE);
    PKCS12_free(p12);
    EVP_PKEY_free(weak);
    pki_stack_free(chain);
}

/* RC2-40 needs a provider that the jail has to load by itself. */
static void test_pfx_of_others(void **state)
{
    size_t len;
    char *legacy = pki_data_file("pfx/gen_openssl3_legacy.p12", &len);
    int code;

    (void)state;
    if (skipped(legacy == NULL, "no test data")) {
        return;
    }
    code = open_bytes(legacy, len, "foo");
    free(legacy);
    if (!skipped(code == ECERT_ERR_ALGORITHM, "no legacy provider")) {
        assert_int_equal(code, 0);
        assert_non_null(parcel.key);
        assert_int_equal(sk_X509_num(parcel.certificates), 1);
    }
    legacy = pki_data_file("pfx/evil_iter20M.p12", &len);
    assert_non_null(legacy);
    assert_int_equal(open_bytes(legacy, len, "foo"), ECERT_ERR_ITERATIONS);
    free(legacy);
}

static void test_not_locked(void **state)
{
    char *leaf = pki_pem(pki->leaf);
    unsigned char *der = NULL;
    int len = i2d_X509(pki->leaf, &der);

    (void)state;
    assert_int_equal(open_text(leaf), 0);
    assert_int_equal(ecert_parcel_locked(&file), 0);
    assert_int_equal(open_der_bytes(der, len, NULL), 0);
    assert_int_equal(ecert_parcel_locked(&file), 0);
    free(leaf);
}

/* What a reader that was taken over may hand out of its jail. */

static ecert_frames_t frames;

static void add(unsigned char kind, const void *bytes, size_t len)
{
    assert_int_equal(ecert_frames_add(&frames, kind, bytes, len, &err), 0);
}

static int take_code(int pfx)
{
    ecert_parcel_free(&parcel);
    ecert_err_clear(&err);
    parcel.pfx = pfx;
    ecert_parcel_take(&parcel, &frames, "a.pem", &err);
    ecert_frames_free(&frames);
    assert_int_equal(ERR_peek_error(), 0);
    return (int)err.code;
}

static void test_hostile_certificates(void **state)
{
    unsigned char der[8192], *p = der;
    size_t len = (size_t)i2d_X509(pki->leaf, &p);

    (void)state;
    for (int n = 15; n <= 33; n++) {
        for (int i = 0; i < n; i++) {
            add(ECERT_PARCEL_CERTIFICATE, der, len);
        }
        assert_int_equal(take_code(n > 17),
                         n == 17 || n == 33 ? ECERT_ERR_DAMAGED : 0);
        assert_int_equal(sk_X509_num(parcel.certificates),
                         n == 17 || n == 33 ? n - 1 : n);
    }
    add(ECERT_PARCEL_CERTIFICATE, der, len + 1);
    assert_int_equal(take_code(0), ECERT_ERR_DAMAGED);
    add(ECERT_PARCEL_CERTIFICATE, der, len - 1);
    assert_int_equal(take_code(0), ECERT_ERR_DAMAGED);
    add(ECERT_PARCEL_CERTIFICATE, "", 0);
    assert_int_equal(take_code(0), ECERT_ERR_DAMAGED);
    add(ECERT_PARCEL_KEY, der, len);
    assert_int_equal(take_code(0), ECERT_ERR_DAMAGED);
    add(ECERT_PARCEL_NAME + 1, "", 0);
    assert_int_equal(take_code(0), ECERT_ERR_DAMAGED);
}

static size_t key_der(EVP_PKEY *key, unsigned char *out)
{
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    int len = i2d_PKCS8_PRIV_KEY_INFO(info, &out);

    assert_true(len > 0);
    PKCS8_PRIV_KEY_INFO_free(info);
    return (size_t)len;
}

/* A good key that brings twenty thousand bytes of something else along. */
static size_t fat_key(EVP_PKEY *key, unsigned char *out)
{
    static unsigned char fat[20000];
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    int len;

    assert_int_equal(PKCS8_pkey_add1_attr_by_NID(info, NID_localKeyID,
                                                 V_ASN1_OCTET_STRING, fat,
                                                 sizeof(fat)),
                     1);
    len = i2d_PKCS8_PRIV_KEY_INFO(info, &out);
    assert_true(len > (int)sizeof(fat));
    PKCS8_PRIV_KEY_INFO_free(info);
    return (size_t)len;
}

static void test_hostile_key(void **state)
{
    static unsigned char der[65536];
    size_t len = key_der(pki->leaf_key, der);
    EVP_PKEY *weak = pki_key("RSA-1024"), *huge = pki_key("RSA-16384");

    (void)state;
    add(ECERT_PARCEL_KEY, der, len);
    assert_int_equal(take_code(0), 0);
    assert_holds(pki->leaf_key, END);
    add(ECERT_PARCEL_KEY, der, len);
    add(ECERT_PARCEL_KEY, der, len);
    assert_int_equal(take_code(0), ECERT_ERR_DAMAGED);
    add(ECERT_PARCEL_KEY, der, len + 1);
    assert_int_equal(take_code(0), ECERT_ERR_DAMAGED);
    add(ECERT_PARCEL_KEY, der, len - 1);
    assert_int_equal(take_code(0), ECERT_ERR_DAMAGED);
    add(ECERT_PARCEL_KEY, der, fat_key(pki->leaf_key, der));
    assert_int_equal(take_code(0), ECERT_ERR_DAMAGED);
    add(ECERT_PARCEL_KEY, der, key_der(weak, der));
    assert_int_equal(take_code(0), ECERT_ERR_DAMAGED);
    add(ECERT_PARCEL_KEY, der, key_der(huge, der));
    assert_int_equal(take_code(0), ECERT_ERR_DAMAGED);
    EVP_PKEY_free(weak);
    EVP_PKEY_free(huge);
}

static void test_hostile_name(void **state)
{
    char name[1024];

    (void)state;
    add(ECERT_PARCEL_NAME, "a\0\x1b[31m\\x07", 11);
    assert_int_equal(take_code(1), 0);
    assert_string_equal(parcel.friendly_name, "a\\x00\\x1b[31m\\x07");
    memset(name, 'n', sizeof(name));
    add(ECERT_PARCEL_NAME, name, sizeof(name));
    assert_int_equal(take_code(1), 0);
    assert_int_equal(strlen(parcel.friendly_name), 255);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, scratch_setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_pem),         TEST(test_kinds_of_keys),
        TEST(test_bad_keys),    TEST(test_der),
        TEST(test_pkcs7),       TEST(test_trusted),
        TEST(test_too_many),    TEST(test_other_files),
        TEST(test_pfx),         TEST(test_wrapped_pfx),
        TEST(test_other_pfx),   TEST(test_pfx_of_others),
        TEST(test_not_locked),  TEST(test_hostile_certificates),
        TEST(test_hostile_key), TEST(test_hostile_name),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
