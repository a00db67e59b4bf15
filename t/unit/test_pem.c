/* Files of certificates and keys, whole, cut, damaged and mistaken. */

#include "asserts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/pkcs7.h>

#include "pem_reads.h"

static void shapes(void **state)
{
    (void)state;
    char *all = pki_join("some text\n", leaf, "\n# between\n", sub, cross,
                         "behind", NULL);
    assert_int_equal(count_text(all), 3);
    char *crlf = replace(all, "\n", "\r\n");
    assert_int_equal(count_text(crlf), 3);
    char *mac = replace(all, "\n", "\r");
    assert_int_equal(count_text(mac), 3);
    char *indented = replace(all, "\n", "\n  ");
    assert_int_equal(count_text(indented), 3);
    char *bom = pki_join("\xef\xbb\xbf", leaf, NULL);
    assert_int_equal(count_text(bom), 1);
    char *with_key = pki_join(key, leaf, sub, NULL);
    assert_int_equal(count_text(with_key), 2);
    char *x509 = replace(leaf, " CERTIFICATE", " X509 CERTIFICATE");
    assert_int_equal(count_text(x509), 1);
    char *trusted = replace(leaf, " CERTIFICATE", " TRUSTED CERTIFICATE");
    assert_int_equal(count_text(trusted), 1);
    char *digit = pki_join("0 is first\n", leaf, NULL);
    assert_int_equal(count_text(digit), 1);
    char *list[] = {all,      crlf, mac,     indented, bom,
                    with_key, x509, trusted, digit};
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        free(list[i]);
    }
}

static void der_and_pkcs7(void **state)
{
    (void)state;
    ecert_err_t err;
    unsigned char *der = NULL, *p7 = NULL;
    int len = i2d_X509(pki->leaf, &der);
    assert_int_equal(count(der, (size_t)len, &err), 1);
    for (int i = 1; i < len; i++) {
        assert_int_equal(count(der, (size_t)i, &err), -1);
        assert_int_equal(err.code, ECERT_ERR_TRUNCATED);
    }
    unsigned char *longer = malloc((size_t)len + 4);
    memcpy(longer, der, (size_t)len);
    memcpy(longer + len, "\r\n", 2);
    assert_int_equal(count(longer, (size_t)len + 2, &err), 1);
    memcpy(longer + len, "junk", 4);
    assert_int_equal(count(longer, (size_t)len + 4, &err), -1);
    free(longer);

    STACK_OF(X509) *certs = pki_stack(pki->leaf, pki->new_sub, NULL);
    PKCS7 *bag = PKCS7_new();
    assert_true(PKCS7_set_type(bag, NID_pkcs7_signed));
    assert_true(PKCS7_content_new(bag, NID_pkcs7_data));
    for (int i = 0; i < 2; i++) {
        assert_true(PKCS7_add_certificate(bag, sk_X509_value(certs, i)));
    }
    int p7_len = i2d_PKCS7(bag, &p7);
    assert_int_equal(count(p7, (size_t)p7_len, &err), 2);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PKCS7(bio, bag);
    char *text = NULL;
    long text_len = BIO_get_mem_data(bio, &text);
    char *pem = strndup(text, (size_t)text_len);
    assert_int_equal(count_text(pem), 2);
    char *windows = replace(pem, " PKCS7", " CERTIFICATE");
    assert_int_equal(count_text(windows), 2);
    free(windows);
    free(pem);
    BIO_free(bio);
    PKCS7_free(bag);
    pki_stack_free(certs);

    PKCS12 *pfx =
        PKCS12_create("x", "n", pki->leaf_key, pki->leaf, NULL, 0, 0, 0, 0, 0);
    unsigned char *pfx_der = NULL;
    int pfx_len = i2d_PKCS12(pfx, &pfx_der);
    fails(pfx_der, (size_t)pfx_len, ECERT_ERR_FORMAT, "PFX");
    PKCS12_free(pfx);
    X509_REQ *req = X509_REQ_new();
    X509_REQ_set_pubkey(req, pki->leaf_key);
    X509_REQ_sign(req, pki->leaf_key, EVP_sha256());
    unsigned char *req_der = NULL;
    int req_len = i2d_X509_REQ(req, &req_der);
    fails(req_der, (size_t)req_len, ECERT_ERR_FORMAT, "certificate request");
    X509_REQ_free(req);
    OPENSSL_free(req_der);
    OPENSSL_free(pfx_der);
    OPENSSL_free(p7);
    OPENSSL_free(der);
}

static void mistaken(void **state)
{
    (void)state;
    fails("", 0, ECERT_ERR_EMPTY, "");
    fails_text(" \r\n\t\n", ECERT_ERR_EMPTY, "white space");
    fails_text("\xef\xbb\xbf", ECERT_ERR_EMPTY, "white space");
    fails("\xff\xfe-\0-\0", 6, ECERT_ERR_FORMAT, "UTF-16");
    fails("\0-\0-\0-", 6, ECERT_ERR_FORMAT, "UTF-16");
    fails_text("<!DOCTYPE html><html>", ECERT_ERR_FORMAT, "HTML");
    fails_text("hello", ECERT_ERR_FORMAT, "something else");
    fails_text(key, ECERT_ERR_FORMAT, "private key");
    fails_text("-----BEGIN NEW CERTIFICATE REQUEST-----\nMIIB\n"
               "-----END NEW CERTIFICATE REQUEST-----\n",
               ECERT_ERR_FORMAT, "certificate request");
    char *damaged = strdup(leaf);
    damaged[100] = '!';
    fails_text(damaged, ECERT_ERR_TRUNCATED, "block 1, CERTIFICATE, line 1");
    char *second = pki_join(leaf, damaged, NULL);
    fails_text(second, ECERT_ERR_TRUNCATED, "block 2, CERTIFICATE, line 1");
    free(second);
    free(damaged);
}

static void too_many(void **state)
{
    (void)state;
    char *all = strdup("");
    for (int i = 0; i < 17; i++) {
        char *more = pki_join(all, leaf, NULL);
        free(all);
        all = more;
        if (i == 15) {
            assert_int_equal(count_text(all), 16);
        }
    }
    fails_text(all, ECERT_ERR_TOO_MANY, "16");
    free(all);

    char *names = malloc(200000);
    size_t len = 0;
    for (int i = 0; i <= 10000; i++) {
        len += (size_t)sprintf(names + len, "%sDNS:a%d.hk", i ? "," : "", i);
    }
    X509 *cert = pki_leaf(pki, names, NULL, NOW, NOW + 1);
    char *pem = pki_pem(cert);
    fails_text(pem, ECERT_ERR_TOO_MANY, "10001 names");
    X509_free(cert);
    free(pem);
    free(names);
}

/* All whole blocks before the cut, or an error: never a part. */
static void cut_at_every_byte(void **state)
{
    (void)state;
    char *all = pki_join(leaf, sub, cross, NULL);
    size_t len = strlen(all);
    size_t ends[3] = {strlen(leaf), strlen(leaf) + strlen(sub), len};
    size_t whole = 0;
    for (size_t cut = 0; cut <= len; cut++) {
        ecert_err_t err;
        /* A copy of exactly this size: a reader past it would be seen. */
        char *part = malloc(cut + (cut == 0));
        memcpy(part, all, cut);
        int n = count(part, cut, &err);
        free(part);
        int expected = 0;
        for (int i = 0; i < 3; i++) {
            expected += cut == ends[i] || cut == ends[i] - 1 ? i + 1 : 0;
        }
        if (expected > 0) {
            assert_int_equal(n, expected);
            whole++;
        } else {
            assert_int_equal(n, -1);
            assert_true(err.code == ECERT_ERR_TRUNCATED
                        || err.code == ECERT_ERR_EMPTY
                        || err.code == ECERT_ERR_FORMAT);
        }
    }
    assert_int_equal(whole, 6);
    free(all);
}

static void key_cut_at_every_byte(void **state)
{
    (void)state;
    char *all = pki_join(sec1, leaf, NULL);
    for (size_t cut = 0; cut <= strlen(all); cut++) {
        ecert_err_t err;
        char *part = malloc(cut + (cut == 0));
        memcpy(part, all, cut);
        EVP_PKEY *found = ecert_pem_key((unsigned char *)part, cut, "k", &err);
        free(part);
        assert_int_equal(ERR_peek_error(), 0);
        int good = cut == strlen(sec1) || cut == strlen(sec1) - 1
                   || cut >= strlen(all) - 1;
        assert_int_equal(found != NULL, good);
        EVP_PKEY_free(found);
    }
    free(all);
}

static int same_private(const EVP_PKEY *a, const EVP_PKEY *b)
{
    BIGNUM *one = NULL, *other = NULL;
    int same =
        EVP_PKEY_get_bn_param(a, OSSL_PKEY_PARAM_PRIV_KEY, &one) == 1
        && EVP_PKEY_get_bn_param(b, OSSL_PKEY_PARAM_PRIV_KEY, &other) == 1
        && BN_cmp(one, other) == 0;

    BN_clear_free(one);
    BN_clear_free(other);
    return same;
}

static int is_damage(ecert_code_t code)
{
    return code == ECERT_ERR_TRUNCATED || code == ECERT_ERR_DAMAGED
           || code == ECERT_ERR_FORMAT || code == ECERT_ERR_NO_KEY;
}

/*
 * Refused with a reason, or read: the certificate may be another one then
 * (nobody has looked at its signature), the key never is.
 */
static void every_byte_damaged(void **state)
{
    (void)state;
    char *all = pki_join(leaf, key, NULL);
    size_t len = strlen(all), kept_keys = 0, kept_certs = 0;
    for (size_t i = 0; i < len; i++) {
        ecert_err_t err;
        char kept = all[i];
        all[i] = (char)(kept ^ 0x15);
        int n = count(all, len, &err);
        assert_true(n == 1 || (n == -1 && is_damage(err.code)));
        kept_certs += n == 1;
        EVP_PKEY *found = ecert_pem_key((unsigned char *)all, len, "k", &err);
        assert_true(found != NULL || is_damage(err.code));
        assert_true(found == NULL || same_private(found, pki->leaf_key));
        kept_keys += found != NULL;
        EVP_PKEY_free(found);
        assert_int_equal(ERR_peek_error(), 0);
        all[i] = kept;
    }
    /* each is read where the other is damaged, and refused where it is itself */
    assert_uint_in_range(kept_certs, strlen(key) / 2, len - strlen(leaf) / 3);
    assert_uint_in_range(kept_keys, strlen(leaf) / 2, len - strlen(key) / 2);
    free(all);
}

static void kinds_of_keys(void **state)
{
    static const struct {
        const char *kind;
        ecert_code_t code;
        const char *detail;
    } rows[] = {
        {"RSA-2048", ECERT_OK, "RSA-2048"},
        {"RSA-3072", ECERT_OK, "RSA-3072"},
        {"P-256", ECERT_OK, "EC P-256"},
        {"P-384", ECERT_OK, "EC P-384"},
        {"P-521", ECERT_ERR_KEY_TYPE, "it is EC P-521"},
        {"ED25519", ECERT_ERR_KEY_TYPE, "it is Ed25519"},
        {"DSA", ECERT_ERR_KEY_TYPE, "it is DSA-1024"},
        {"RSA-1024", ECERT_ERR_KEY_TYPE, "it is RSA-1024"},
        {"RSA-16384", ECERT_ERR_KEY_TYPE, "it is RSA-16384"},
        {"EC-EXPLICIT", ECERT_ERR_KEY_TYPE,
         "it is EC with explicit parameters"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        EVP_PKEY *made = pki_key(rows[i].kind);
        char detail[96], *text = pki_pem_key(made);
        assert_int_equal(key_code(text, detail), rows[i].code);
        assert_string_equal(detail, rows[i].detail);
        free(text);
        EVP_PKEY_free(made);
    }
}

static void shapes_of_keys(void **state)
{
    char detail[96];
    (void)state;
    assert_int_equal(key_code(sec1, detail), ECERT_OK);
    char *among = pki_join("\xef\xbb\xbf", leaf, sec1, sub, key, NULL);
    assert_int_equal(key_code(among, detail), ECERT_OK); /* the same twice */
    free(among);

    EVP_PKEY *rsa = pki_key("RSA-2048");
    char *pkcs1 = pki_pem_key_traditional(rsa);
    assert_int_equal(key_code(pkcs1, detail), ECERT_OK);
    char *crlf = replace(pkcs1, "\n", "\r\n");
    assert_int_equal(key_code(crlf, detail), ECERT_OK);
    char *two = pki_join(pkcs1, key, NULL);
    assert_int_equal(key_code(two, detail), ECERT_ERR_TOO_MANY);
    assert_non_null(strstr(detail, "two different"));
    free(two);
    free(crlf);
    free(pkcs1);

    assert_int_equal(key_code(leaf, detail), ECERT_ERR_NO_KEY);
    assert_non_null(strstr(detail, "a certificate"));
    assert_int_equal(key_code("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"
                              "-----END OPENSSH PRIVATE KEY-----\n",
                              detail),
                     ECERT_ERR_FORMAT);

    ecert_err_t err;
    unsigned char *der = NULL;
    int len = i2d_PrivateKey(rsa, &der);
    EVP_PKEY *found = ecert_pem_key(der, (size_t)len, "k", &err);
    assert_non_null(found);
    assert_int_equal(EVP_PKEY_eq(found, rsa), 1);
    EVP_PKEY_free(found);
    for (int cut = 1; cut < len; cut += 7) {
        assert_null(ecert_pem_key(der, (size_t)cut, "k", &err));
        assert_int_equal(ERR_peek_error(), 0);
    }
    OPENSSL_free(der);
    EVP_PKEY_free(rsa);
}

static void encrypted_keys(void **state)
{
    (void)state;
    for (int form = 0; form < 3; form++) {
        BIO *bio = BIO_new(BIO_s_mem());
        unsigned char secret[] = "x";
        if (form == 0) {
            PEM_write_bio_PKCS8PrivateKey(bio, pki->leaf_key, EVP_aes_128_cbc(),
                                          "x", 1, NULL, NULL);
        } else if (form == 1) {
            PEM_write_bio_PrivateKey_traditional(
                bio, pki->leaf_key, EVP_aes_128_cbc(), secret, 1, NULL, NULL);
        } else {
            i2d_PKCS8PrivateKey_bio(bio, pki->leaf_key, EVP_aes_128_cbc(), "x",
                                    1, NULL, NULL);
        }
        unsigned char *bytes = NULL;
        long len = BIO_get_mem_data(bio, &bytes);
        ecert_err_t err;
        assert_null(ecert_pem_key(bytes, (size_t)len, "k", &err));
        assert_string_equal(ecert_err_word(err.code), "encrypted-key");
        assert_int_equal(ERR_peek_error(), 0);
        if (form < 2) {
            char *text = strndup((char *)bytes, (size_t)len), detail[96];
            char *doubled = replace(text, "\n", "\r\n\r\n");
            assert_int_equal(key_code(doubled, detail), ECERT_ERR_ENCRYPTED);
            free(doubled);
            free(text);
        }
        BIO_free(bio);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),
        cmocka_unit_test(der_and_pkcs7),
        cmocka_unit_test(mistaken),
        cmocka_unit_test(too_many),
        cmocka_unit_test(cut_at_every_byte),
        cmocka_unit_test(key_cut_at_every_byte),
        cmocka_unit_test(every_byte_damaged),
        cmocka_unit_test(kinds_of_keys),
        cmocka_unit_test(shapes_of_keys),
        cmocka_unit_test(encrypted_keys),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
