/* PFX files: what is written, and that it is read. */

#include "scratch.h"

#include <openssl/err.h>

#include "ecert_sniff.h"
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

static int read_blob(const blob_t *blob, const char *password, ecert_pfx_t *out)
{
    return pfx_read(blob->bytes, blob->len, password, out, &err);
}

static blob_t write_blob(EVP_PKEY *key, STACK_OF(X509) *list, const char *name,
                         ecert_pfx_profile_t profile, const char *password)
{
    ecert_pfx_t in = {key, list, ""};
    blob_t blob;

    snprintf(in.friendly_name, sizeof(in.friendly_name), "%s", name);
    assert_int_equal(
        ecert_pfx_write(&in, profile, password, &blob.bytes, &blob.len, &err),
        0);
    assert_int_equal(ERR_peek_error(), 0);
    assert_int_equal(ecert_sniff_pfx(blob.bytes, blob.len), 1);
    return blob;
}

static void round_trip(EVP_PKEY *key, STACK_OF(X509) *list, const char *name,
                       ecert_pfx_profile_t profile, const char *password)
{
    blob_t blob = write_blob(key, list, name, profile, password);
    ecert_pfx_t out;

    assert_int_equal(read_blob(&blob, password, &out), 0);
    assert_true(pfx_same_key(out.key, key));
    assert_true(pfx_key_signs(out.key));
    assert_non_null(out.certificates);
    assert_int_equal(sk_X509_num(out.certificates),
                     list ? sk_X509_num(list) : 0);
    for (int i = 0; i < sk_X509_num(out.certificates); i++) {
        assert_int_equal(X509_cmp(sk_X509_value(out.certificates, i),
                                  sk_X509_value(list, i)),
                         0);
    }
    assert_string_equal(out.friendly_name, name);
    ecert_pfx_free(&out);
    assert_null(out.key);
    assert_int_equal(read_blob(&blob, "wrong", &out), -1);
    assert_int_equal(err.code, ECERT_ERR_PASSWORD);
    assert_int_equal(read_blob(&blob, "", &out), -1);
    assert_int_equal(err.code, ECERT_ERR_PASSWORD);
    blob_free(&blob);
}

static void test_round_trip(void **state)
{
    EVP_PKEY *rsa = pki_key("RSA-2048");
    X509 *of_rsa =
        pki_leaf(pki, "DNS:www.example.hk", rsa, NOW - PKI_DAY, NOW + PKI_YEAR);
    EVP_PKEY *keys[] = {rsa, pki->leaf_key};
    X509 *leaves[] = {of_rsa, pki->leaf};

    (void)state;
    for (int i = 0; i < 4; i++) {
        ecert_pfx_profile_t profile =
            i / 2 ? ECERT_PFX_MODERN : ECERT_PFX_WINDOWS;
        STACK_OF(X509) *none = sk_X509_new_null();
        STACK_OF(X509) *one = pki_stack(leaves[i % 2], NULL);
        STACK_OF(X509) *four =
            pki_stack(leaves[i % 2], pki->new_sub, pki->cross, pki->root, NULL);

        round_trip(keys[i % 2], NULL, "pending", profile, "foo");
        round_trip(keys[i % 2], none, "", profile, "a b");
        round_trip(keys[i % 2], one, "www.example.hk", profile, "foo");
        round_trip(keys[i % 2], four, "網站 \xf0\x9f\x94\x91", profile,
                   "Hello, 世界");
        sk_X509_free(none);
        pki_stack_free(one);
        pki_stack_free(four);
    }
    X509_free(of_rsa);
    EVP_PKEY_free(rsa);
}

static int iterations_of(const X509_ALGOR *scheme, int profile)
{
    PBEPARAM *pbe;
    PBE2PARAM *pbe2;
    PBKDF2PARAM *kdf;
    int n;

    if (profile == ECERT_PFX_WINDOWS) {
        assert_int_equal(OBJ_obj2nid(scheme->algorithm),
                         NID_pbe_WithSHA1And3_Key_TripleDES_CBC);
        pbe = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBEPARAM),
                                        scheme->parameter);
        n = (int)ASN1_INTEGER_get(pbe->iter);
        PBEPARAM_free(pbe);
        return n;
    }
    assert_int_equal(OBJ_obj2nid(scheme->algorithm), NID_pbes2);
    pbe2 =
        ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), scheme->parameter);
    assert_int_equal(OBJ_obj2nid(pbe2->encryption->algorithm), NID_aes_256_cbc);
    assert_int_equal(OBJ_obj2nid(pbe2->keyfunc->algorithm), NID_id_pbkdf2);
    kdf = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM),
                                    pbe2->keyfunc->parameter);
    assert_int_equal(OBJ_obj2nid(kdf->prf->algorithm), NID_hmacWithSHA256);
    n = (int)ASN1_INTEGER_get(kdf->iter);
    PBKDF2PARAM_free(kdf);
    PBE2PARAM_free(pbe2);
    return n;
}

/* The label of a bag that belongs to the leaf. */
static void labelled(const PKCS12_SAFEBAG *bag)
{
    const ASN1_TYPE *id = PKCS12_SAFEBAG_get0_attr(bag, NID_localKeyID);
    const ASN1_TYPE *name = PKCS12_SAFEBAG_get0_attr(bag, NID_friendlyName);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len;

    assert_int_equal(X509_digest(pki->leaf, EVP_sha1(), digest, &len), 1);
    assert_non_null(id);
    assert_int_equal(ASN1_STRING_length(id->value.octet_string), (int)len);
    assert_memory_equal(ASN1_STRING_get0_data(id->value.octet_string), digest,
                        len);
    assert_int_equal(name->type, V_ASN1_BMPSTRING);
    assert_int_equal(ASN1_STRING_length(name->value.bmpstring), 4);
    assert_memory_equal(ASN1_STRING_get0_data(name->value.bmpstring), "\0a\0b",
                        4);
}

/* Certificates in an encrypted part, the key in an encrypted bag: no more. */
static void check_parts(PKCS12 *p12, ecert_pfx_profile_t profile, int count)
{
    STACK_OF(PKCS7) *safes = PKCS12_unpack_authsafes(p12);
    STACK_OF(PKCS12_SAFEBAG) *bags;
    const X509_ALGOR *scheme;
    PKCS7 *safe = sk_PKCS7_value(safes, 0);

    assert_int_equal(sk_PKCS7_num(safes), 2);
    assert_true(PKCS7_type_is_encrypted(safe));
    assert_int_equal(
        iterations_of(safe->d.encrypted->enc_data->algorithm, profile), count);
    bags = PKCS12_unpack_p7encdata(safe, "foo", 3);
    assert_int_equal(sk_PKCS12_SAFEBAG_num(bags), 2);
    labelled(sk_PKCS12_SAFEBAG_value(bags, 0));
    assert_null(PKCS12_SAFEBAG_get0_attrs(sk_PKCS12_SAFEBAG_value(bags, 1)));
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    bags = PKCS12_unpack_p7data(sk_PKCS7_value(safes, 1));
    assert_int_equal(sk_PKCS12_SAFEBAG_num(bags), 1);
    labelled(sk_PKCS12_SAFEBAG_value(bags, 0));
    X509_SIG_get0(PKCS12_SAFEBAG_get0_pkcs8(sk_PKCS12_SAFEBAG_value(bags, 0)),
                  &scheme, NULL);
    assert_int_equal(iterations_of(scheme, profile), count);
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    sk_PKCS7_pop_free(safes, PKCS7_free);
}

static void test_profiles(void **state)
{
    const int counts[] = {10000, 100000}, digests[] = {NID_sha1, NID_sha256};
    STACK_OF(X509) *list = pki_stack(pki->leaf, pki->new_sub, NULL);

    (void)state;
    for (int i = ECERT_PFX_WINDOWS; i <= ECERT_PFX_MODERN; i++) {
        blob_t blob = write_blob(pki->leaf_key, list, "ab",
                                 (ecert_pfx_profile_t)i, "foo");
        const unsigned char *p = blob.bytes;
        PKCS12 *p12 = d2i_PKCS12(NULL, &p, (long)blob.len);
        const X509_ALGOR *mac;
        const ASN1_INTEGER *n;
        EVP_PKEY *key = NULL;
        X509 *cert = NULL;

        assert_ptr_equal(p, blob.bytes + blob.len);
        PKCS12_get0_mac(NULL, &mac, NULL, &n, p12);
        assert_int_equal(OBJ_obj2nid(mac->algorithm), digests[i]);
        assert_int_equal(ASN1_INTEGER_get(n), counts[i]);
        check_parts(p12, (ecert_pfx_profile_t)i, counts[i]);
        assert_int_equal(PKCS12_parse(p12, "foo", &key, &cert, NULL), 1);
        assert_true(pfx_same_key(key, pki->leaf_key));
        assert_int_equal(X509_cmp(cert, pki->leaf), 0);
        assert_null(memmem(blob.bytes, blob.len, "example.hk", 10));
        EVP_PKEY_free(key);
        X509_free(cert);
        PKCS12_free(p12);
        blob_free(&blob);
    }
    pki_stack_free(list);
}

static void test_profile_names(void **state)
{
    ecert_pfx_profile_t profile = ECERT_PFX_MODERN;

    (void)state;
    assert_int_equal(ecert_pfx_profile_parse("windows", &profile, &err), 0);
    assert_int_equal(profile, ECERT_PFX_WINDOWS);
    assert_int_equal(ecert_pfx_profile_parse("modern", &profile, &err), 0);
    assert_int_equal(profile, ECERT_PFX_MODERN);
    assert_int_equal(ecert_pfx_profile_parse("Windows", &profile, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_USAGE);
    assert_non_null(strstr(err.detail, "windows or modern"));
    assert_int_equal(profile, ECERT_PFX_MODERN);
}

static void test_refuses_to_write(void **state)
{
    ecert_pfx_t in = {pki->leaf_key, NULL, ""};
    blob_t blob = {NULL, 0};

    (void)state;
    assert_int_equal(ecert_pfx_write(&in, ECERT_PFX_MODERN, "", &blob.bytes,
                                     &blob.len, &err),
                     -1);
    assert_int_equal(err.code, ECERT_ERR_USAGE);
    in.key = NULL;
    assert_int_equal(ecert_pfx_write(&in, ECERT_PFX_MODERN, "x", &blob.bytes,
                                     &blob.len, &err),
                     -1);
    assert_int_equal(err.code, ECERT_ERR_USAGE);
    assert_null(blob.bytes);
}

static void test_is(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        int is;
    } cases[] = {
        {"\x30\x03\x02\x01\x03", 5, 1},
        {"\x30\x80\x02\x01\x03\x30", 6, 1},
        {"\x30\x82\x09\x00\x02\x01\x03\x30", 8, 1},
        {"\x30\x84\0\0\x09\x00\x02\x01\x03\x30", 10, 1},
        {"\x30\x82\x09\x00\x02\x01\x03", 6, 0}, /* cut off */
        {"\x30\xff\x09\x00\x02\x01\x03", 7, 0},
        {"\x30\x82\x09\x00\x02\x01\x00\x30", 8, 0}, /* a key */
        {"\x30\x82\x09\x00\x30\x82\x03\x00", 8, 0}, /* a certificate */
        {"\x31\x03\x02\x01\x03", 5, 0},
        /* other spellings of 3, and another version of the same */
        {"\x30\x80\x02\x02\0\3\x30\x80\6\11*\x86H\x86\xf7\r\1\7\1", 19, 1},
        {"\x30\x80\x02\x01\4\x30\x80\6\11*\x86H\x86\xf7\r\1\7\2", 18, 1},
        {"\x30\x80\x02\x01\1\x30\x80\6\11*\x86H\x86\xf7\r\1\1\1", 18, 0},
        {"\x30\x80\x02\x09\0\0\0\0\0\0\0\0\3", 13, 0},
        {"-----BEGIN", 10, 0},
        {"", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const unsigned char *bytes = (const unsigned char *)cases[i].bytes;

        assert_int_equal(ecert_sniff_pfx(bytes, cases[i].len), cases[i].is);
    }
}

/* The key's own comes first, once; the others stay in their order. */
static void test_order(void **state)
{
    X509 *list[] = {pki->new_sub, pki->root, pki->leaf, pki->new_sub,
                    pki->leaf};
    X509 *expected[] = {pki->leaf, pki->new_sub, pki->root};
    STACK_OF(PKCS7) *safes = NULL;
    ecert_pfx_t out;

    (void)state;
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        pfx_add(&safes, bag_certificate(list[i]), 0, 1, NULL);
    }
    pfx_add(&safes, bag_key(pki->leaf_key, 0, NULL), 0, 1, NULL);
    blob_t blob = pfx_bytes(pfx_of(safes, EVP_sha256(), 1, "foo"));

    assert_int_equal(read_blob(&blob, "foo", &out), 0);
    assert_int_equal(sk_X509_num(out.certificates), 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(
            X509_cmp(sk_X509_value(out.certificates, i), expected[i]), 0);
    }
    ecert_pfx_free(&out);
    blob_free(&blob);
}

/* Named by the bags of key, leaf and another certificate; NULL: not. */
static void named(const char *key, const char *leaf, const char *expected)
{
    PKCS12_SAFEBAG *bags[] = {bag_certificate(pki->new_sub),
                              bag_certificate(pki->leaf),
                              bag_key(pki->leaf_key, 0, NULL)};
    const char *names[] = {"other", leaf, key};
    STACK_OF(PKCS7) *safes = NULL;
    ecert_pfx_t out;

    for (int i = 0; i < 3; i++) {
        if (names[i] != NULL) {
            assert_int_equal(
                PKCS12_add_friendlyname_utf8(bags[i], names[i], -1), 1);
        }
        pfx_add(&safes, bags[i], 0, 1, NULL);
    }
    blob_t blob = pfx_bytes(pfx_of(safes, EVP_sha256(), 1, "foo"));

    assert_int_equal(read_blob(&blob, "foo", &out), 0);
    assert_string_equal(out.friendly_name, expected);
    ecert_pfx_free(&out);
    blob_free(&blob);
}

/* UTF-16 as it stands in the bag of the key. */
static void named_utf16(const char *bytes, int len, const char *expected)
{
    PKCS12_SAFEBAG *bag = bag_key(pki->leaf_key, 0, NULL);
    STACK_OF(PKCS7) *safes = NULL;
    ecert_pfx_t out;

    assert_int_equal(PKCS12_add1_attr_by_NID(bag, NID_friendlyName,
                                             V_ASN1_BMPSTRING,
                                             (const unsigned char *)bytes, len),
                     1);
    pfx_add(&safes, bag, 0, 1, NULL);
    blob_t blob = pfx_bytes(pfx_of(safes, NULL, 1, NULL));

    assert_int_equal(read_blob(&blob, "", &out), 0);
    assert_string_equal(out.friendly_name, expected);
    ecert_pfx_free(&out);
    blob_free(&blob);
}

static void test_names(void **state)
{
    char longest[400], cut[256];

    (void)state;
    named("{0F1D2C3B-7A69-4E58-9B47-A6C5D4E3F201}", "leaf", "leaf");
    named("key", NULL, "key");
    named(NULL, "leaf", "leaf");
    named(NULL, NULL, "");
    named("a\n\xc2\x9b\\ \xe4\xb8\x96", NULL, "a\\x0a\\xc2\\x9b\\x5c 世");
    named_utf16("\xd8\x3d\xdd\x11\0\0", 6, "\xf0\x9f\x94\x91");
    named_utf16("\xd8\x3d\0a", 4,
                "\xef\xbf\xbd"
                "a"); /* half a character */
    named_utf16("\0a\xd8\x3d", 4, "a\xef\xbf\xbd");
    named_utf16("\0a", 2, "a");
    named_utf16("", 0, "");
    memset(longest, 0, sizeof(longest));
    for (int i = 0; i < 200; i++) {
        memcpy(longest + 2 * i, "\x4e\x16", 2);
    }
    for (int i = 0; i < 255; i++) {
        cut[i] = "\xe4\xb8\x96"[i % 3];
    }
    cut[255] = '\0';
    named_utf16(longest, 400, cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_profiles),
        cmocka_unit_test(test_profile_names),
        cmocka_unit_test(test_refuses_to_write),
        cmocka_unit_test(test_is),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
