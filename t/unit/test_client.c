/* What a browser makes of a chain (ecert_chain_verify), beyond the corpora. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "ecert_chain.h"
#include "pki_group.h"

#define HOST "www.example.hk"

static const char *detail(X509 *leaf, X509 *sub, X509 *root, const char *host)
{
    static ecert_err_t err;
    STACK_OF(X509) *served = sub ? pki_stack(sub, NULL) : sk_X509_new_null();
    STACK_OF(X509) *roots = pki_stack(root, NULL);
    int rc = ecert_chain_verify(leaf, served, roots, host, NOW, &err);

    assert_int_equal(ERR_peek_error(), 0);
    pki_stack_free(served);
    pki_stack_free(roots);
    return rc == 0 ? "" : err.detail;
}

static void assert_says(const char *said, const char *expected)
{
    if (expected == NULL) {
        assert_string_equal(said, "");
    } else if (strstr(said, expected) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", expected, said);
    }
}

static pki_spec_t leaf_spec(void)
{
    return (pki_spec_t){.cn = HOST,
                        .key = pki->leaf_key,
                        .issuer = pki->new_sub,
                        .issuer_key = pki->sub_key,
                        .not_before = NOW - PKI_DAY,
                        .not_after = NOW + PKI_DAY,
                        .server_auth = 1,
                        .names = "DNS:www.example.hk"};
}

/* Self-signed, until it gets an issuer. */
static pki_spec_t ca_spec(const char *cn, EVP_PKEY *key)
{
    return (pki_spec_t){.cn = cn,
                        .key = key,
                        .not_before = NOW - PKI_YEAR,
                        .not_after = NOW + PKI_YEAR,
                        .ca = 1};
}

static void addresses(void **state)
{
    static const struct {
        const char *names, *host, *said;
    } rows[] = {
        {"DNS:192.0.2.1,DNS:a.hk", "192.0.2.1", "it is not for 192.0.2.1"},
        {"IP:192.0.2.1", "192.0.2.1", NULL},
        {"IP:192.0.2.1", "192.0.2.2", "it is not for 192.0.2.2"},
        {"IP:2001:db8::1", "2001:DB8:0::1", NULL},
        {"DNS:a.hk,IP:192.0.2.1", "a.hk", NULL},
        {"DNS:1.2.3", "1.2.3", NULL}, /* a name, however odd */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        pki_spec_t spec = leaf_spec();
        X509 *leaf;

        spec.names = rows[i].names;
        leaf = pki_issue(&spec);
        assert_says(detail(leaf, pki->new_sub, pki->root, rows[i].host),
                    rows[i].said);
        X509_free(leaf);
    }
}

/* Roots from before the rules for making them: what is not asked of them is
 * asked of every Sub CA. */
static void old_roots(void **state)
{
    static const struct {
        const char *key_usage, *basic, *of_sub;
        int no_key_id;
    } rows[] = {
        {"", "CA:TRUE", "CA", 0}, /* as Go Daddy Class 2 has it */
        {"", NULL, "key usage", 0},
        {NULL, NULL, "Key Identifier", 1}, /* TWCA Global Root CA */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        pki_spec_t spec = ca_spec("Look-alike Root 3", pki->root_key);
        X509 *odd;

        spec.key_usage = rows[i].key_usage;
        spec.basic = rows[i].basic;
        spec.no_key_id = rows[i].no_key_id;
        odd = pki_issue(&spec);
        assert_says(detail(pki->leaf, pki->new_sub, odd, HOST), NULL);
        X509_free(odd);
        spec.cn = "Look-alike SSL CA 3 - 17";
        spec.key = pki->sub_key;
        spec.issuer = pki->root;
        spec.issuer_key = pki->root_key;
        odd = pki_issue(&spec);
        assert_says(detail(pki->leaf, odd, pki->root, HOST), rows[i].of_sub);
        X509_free(odd);
    }
}

/* What a root says about those below it is heard. */
static void limited_root(void **state)
{
    pki_spec_t spec = ca_spec("Look-alike Root 3", pki->root_key);
    X509 *root;

    (void)state;
    spec.ext[0] = "nameConstraints";
    spec.ext[1] = "critical,permitted;DNS:example.com";
    root = pki_issue(&spec);
    assert_says(detail(pki->leaf, pki->new_sub, root, HOST), "permitted");
    X509_free(root);
}

static void assert_keys(const char *root_kind, const char *sub_kind,
                        const char *leaf_kind, const char *said)
{
    EVP_PKEY *root_key = pki_key(root_kind), *sub_key = pki_key(sub_kind);
    EVP_PKEY *leaf_key = pki_key(leaf_kind);
    pki_spec_t spec = ca_spec("Root", root_key);
    X509 *root = pki_issue(&spec), *sub, *leaf;

    spec = ca_spec("Sub", sub_key);
    spec.issuer = root;
    spec.issuer_key = root_key;
    sub = pki_issue(&spec);
    spec = leaf_spec();
    spec.key = leaf_key;
    spec.issuer = sub;
    spec.issuer_key = sub_key;
    leaf = pki_issue(&spec);
    assert_says(detail(leaf, sub, root, HOST), said);
    X509_free(leaf);
    X509_free(sub);
    X509_free(root);
    EVP_PKEY_free(leaf_key);
    EVP_PKEY_free(root_key);
    EVP_PKEY_free(sub_key);
}

static void keys(void **state)
{
    (void)state;
    assert_keys("RSA-2048", "P-384", "P-256", NULL);
    assert_keys("P-256", "RSA-1024", "P-256", "too weak");
    assert_keys("RSA-1024", "P-256", "P-256", "too weak");
    assert_keys("RSA-2047", "P-256", "P-256", "Root: its key is too small");
    assert_keys("P-256", "RSA-2047", "P-256", "Sub: its key is too small");
    assert_keys("P-256", "P-256", "DSA-2048",
                HOST ": TLS clients do not take this kind");
    /* by a key of such a kind nothing is verified: it is nobody's issuer */
    assert_keys("DSA-2048", "P-256", "P-256", "Sub: its issuer is neither");
    assert_keys("P-256", "DSA-2048", "P-256", HOST ": its issuer is neither");
    /* in no browser, though OpenSSL has them (BR 6.1.5) */
    assert_keys("P-256", "ED25519", "P-256", "TLS clients do not take this");
    assert_keys("P-256", "P-224", "P-256", "Sub: TLS clients do not take this");
    assert_keys("P-224", "P-256", "P-256", "Root: TLS clients do not take");
}

/* With a Sub CA that has one more extension. */
static void assert_sub(const char *name, const char *value, const char *names,
                       const char *said)
{
    pki_spec_t spec = ca_spec("Look-alike SSL CA 3 - 17", pki->sub_key);
    X509 *sub, *leaf;

    spec.issuer = pki->root;
    spec.issuer_key = pki->root_key;
    spec.ext[0] = name;
    spec.ext[1] = value;
    sub = pki_issue(&spec);
    spec = leaf_spec();
    spec.names = names;
    leaf = pki_issue(&spec);
    assert_says(detail(leaf, sub, pki->root, NULL), said);
    X509_free(leaf);
    X509_free(sub);
}

/* OpenSSL verifies PSS with any parameters; the last of a pair is the salt. */
static void signatures(void **state)
{
    static const struct {
        const EVP_MD *(*md)(void), *(*mgf1)(void);
        int salt;
        const char *said;
    } rows[] = {
        {EVP_sha256, EVP_sha256, 32, NULL},
        {EVP_sha384, EVP_sha384, 48, NULL},
        {EVP_sha256, EVP_sha1, 32, "kind of signature"},
        {EVP_sha256, EVP_sha256, 20, "kind of signature"},
        {EVP_sha224, NULL, 0, "kind of signature"},
    };
    EVP_PKEY *key = pki_key("RSA-2048");
    pki_spec_t spec = ca_spec("Root", key);
    X509 *root = pki_issue(&spec);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        EVP_PKEY_CTX *params;
        X509 *leaf;

        spec = leaf_spec();
        spec.issuer = root;
        spec.issuer_key = key;
        leaf = pki_issue(&spec);
        assert_int_equal(
            EVP_DigestSignInit(ctx, &params, rows[i].md(), NULL, key), 1);
        if (rows[i].mgf1 != NULL) {
            EVP_PKEY_CTX_set_rsa_padding(params, RSA_PKCS1_PSS_PADDING);
            EVP_PKEY_CTX_set_rsa_mgf1_md(params, rows[i].mgf1());
            EVP_PKEY_CTX_set_rsa_pss_saltlen(params, rows[i].salt);
        }
        assert_true(X509_sign_ctx(leaf, ctx) > 0);
        assert_says(detail(leaf, NULL, root, HOST), rows[i].said);
        EVP_MD_CTX_free(ctx);
        X509_free(leaf);
    }
    X509_free(root);
    EVP_PKEY_free(key);
}

/* What RFC 5280 forbids, and OpenSSL takes. */
static void odd_leaves(void **state)
{
    pki_spec_t spec = leaf_spec();
    BIGNUM *serial = BN_new();
    X509 *leaf = NULL;

    (void)state;
    spec.ext[0] = "1.2.3.4.5";
    spec.ext[1] = "DER:05:00";
    for (int twice = 0; twice < 2; twice++) {
        leaf = pki_issue(&spec);
        if (twice) {
            X509_add_ext(leaf, X509_get_ext(leaf, X509_get_ext_count(leaf) - 1),
                         -1);
            X509_sign(leaf, pki->sub_key, EVP_sha256());
        }
        assert_says(detail(leaf, pki->new_sub, pki->root, HOST),
                    twice ? "an extension twice" : NULL);
        X509_free(leaf);
    }
    for (int bits = 160; bits < 162; bits++) {
        leaf = pki_issue(&spec);
        assert_int_equal(BN_lshift(serial, BN_value_one(), bits - 1), 1);
        BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(leaf));
        X509_sign(leaf, pki->sub_key, EVP_sha256());
        assert_says(detail(leaf, pki->new_sub, pki->root, HOST),
                    bits > 160 ? "serial number" : NULL);
        X509_free(leaf);
    }
    BN_free(serial);
}

static void policies(void **state)
{
    (void)state;
    assert_sub("policyConstraints", "critical,requireExplicitPolicy:0",
               "DNS:a.hk", "explicit policy");
    assert_sub("policyConstraints", "critical,requireExplicitPolicy:5",
               "DNS:a.hk", NULL);
    assert_sub("policyConstraints", "requireExplicitPolicy:5", "DNS:a.hk",
               "not critical");
}

static void wildcards(void **state)
{
    static const char excluded[] = "critical,excluded;DNS:bar.example.hk";

    (void)state;
    assert_sub("nameConstraints", excluded, "DNS:*.example.hk", "wildcard");
    assert_sub("nameConstraints", excluded, "DNS:*.EXAMPLE.HK", "wildcard");
    assert_sub("nameConstraints", excluded, "DNS:foo.example.hk", NULL);
    assert_sub("nameConstraints", excluded, "DNS:*.foo.example.hk", NULL);
    assert_sub("nameConstraints", excluded, "DNS:*.bar.example.hk", "excluded");
    assert_sub("nameConstraints", excluded, "DNS:*.xample.hk", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),    cmocka_unit_test(old_roots),
        cmocka_unit_test(limited_root), cmocka_unit_test(keys),
        cmocka_unit_test(policies),     cmocka_unit_test(wildcards),
        cmocka_unit_test(signatures),   cmocka_unit_test(odd_leaves),
    };
    return cmocka_run_group_tests(tests, pki_setup, pki_teardown);
}
