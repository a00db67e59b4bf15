/* A leaf that no client takes is one thing, an issuer that is missing another.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "ecert_chain.h"
#include "pki_group.h"

#define SUB "Look-alike SSL CA 3 - 17"

static pki_spec_t leaf_spec(void)
{
    return (pki_spec_t){.cn = "www.example.hk",
                        .key = pki->leaf_key,
                        .issuer = pki->new_sub,
                        .issuer_key = pki->sub_key,
                        .not_before = NOW - PKI_DAY,
                        .not_after = NOW + 100 * PKI_DAY,
                        .server_auth = 1,
                        .names = "DNS:www.example.hk"};
}

/* The Sub CA once more: its name and key, under the root. */
static pki_spec_t sub_spec(void)
{
    return (pki_spec_t){.cn = SUB,
                        .key = pki->sub_key,
                        .issuer = pki->root,
                        .issuer_key = pki->root_key,
                        .not_before = NOW - PKI_DAY,
                        .not_after = NOW + PKI_YEAR,
                        .ca = 1,
                        .server_auth = 1};
}

static int level; /* of the server; 0: the library's own */

static ecert_chain_t *build_at(X509 *leaf, X509 *a, X509 *b, X509 *c,
                               int64_t now)
{
    STACK_OF(X509) *pool = pki_stack(a, b, c, NULL);
    ecert_err_t err;
    ecert_security_t *security = ecert_security_new(&err);
    ecert_chain_in_t in = {.leaf = leaf,
                           .pool = pool,
                           .cross = {ECERT_CROSS_AUTO, 0},
                           .now = now,
                           .security = security};
    ecert_chain_t *chain;

    assert_non_null(security);
    ecert_security_set(security, level);
    chain = ecert_chain_build(&in, &err);
    assert_non_null(chain);
    assert_int_equal(ERR_peek_error(), 0);
    ecert_security_free(security);
    pki_stack_free(pool);
    return chain;
}

/* text: NULL when it is not invalid; served: how many. */
static void assert_chain(ecert_chain_t *chain, const char *text, int served)
{
    if (text == NULL) {
        assert_string_equal(chain->invalid, "");
    } else if (strstr(chain->invalid, text) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", text, chain->invalid);
    }
    assert_int_equal(sk_X509_num(chain->served), served);
    ecert_chain_free(chain);
}

static void assert_leaf(pki_spec_t spec, const char *text)
{
    X509 *leaf = pki_issue(&spec);

    assert_chain(build_at(leaf, pki->new_sub, pki->root, NULL, NOW), text,
                 text == NULL);
    /* also where its issuer is not here: nothing can mend it */
    if (text != NULL) {
        assert_chain(build_at(leaf, NULL, NULL, NULL, NOW), text, 0);
    }
    X509_free(leaf);
}

static void of_the_leaf(void **state)
{
    pki_spec_t spec = leaf_spec();

    (void)state;
    assert_leaf(spec, NULL);
    spec.ext[0] = "1.3.6.1.4.1.11129.2.4.3"; /* RFC 6962, 3.1 */
    spec.ext[1] = "critical,DER:05:00";
    assert_leaf(spec, "CT Precertificate Poison");
    spec.ext[0] = "1.2.3.4.5";
    assert_leaf(spec, "critical extension (1.2.3.4.5)");
    spec.ext[1] = "DER:05:00";
    assert_leaf(spec, NULL);
    spec = leaf_spec();
    spec.md = EVP_sha1();
    assert_leaf(spec, "too weak");
    spec = leaf_spec(); /* it waits for no day */
    spec.not_before = NOW + 2 * PKI_DAY;
    spec.not_after = NOW + PKI_DAY;
    assert_leaf(spec, "ends before it begins");
}

static void damaged(void **state)
{
    X509 *leaf = pki_damaged(pki->leaf), *sub = pki_damaged(pki->new_sub);
    pki_spec_t spec = leaf_spec(), other = sub_spec();
    EVP_PKEY *stranger = pki_key("P-256");
    X509 *bare, *rekeyed;

    (void)state;
    assert_chain(build_at(leaf, pki->new_sub, pki->root, NULL, NOW), SUB, 0);
    /* the same by a Sub CA that is over */
    assert_chain(
        build_at(leaf, pki->new_sub, pki->root, NULL, NOW + 7 * PKI_YEAR), SUB,
        0);
    /* nobody here has the key that it names */
    assert_chain(build_at(leaf, NULL, NULL, NULL, NOW), NULL, 0);
    other.key = stranger;
    rekeyed = pki_issue(&other);
    assert_chain(build_at(leaf, rekeyed, pki->root, NULL, NOW), NULL, 0);
    assert_chain(build_at(pki->leaf, rekeyed, pki->root, NULL, NOW), NULL, 0);
    /* without key identifiers it may be another of the same name */
    spec.no_key_id = 1;
    spec.issuer_key = stranger;
    bare = pki_issue(&spec);
    assert_chain(build_at(bare, pki->new_sub, pki->root, NULL, NOW), NULL, 0);
    /* a good copy of a damaged Sub CA would do */
    assert_chain(build_at(pki->leaf, sub, pki->root, NULL, NOW), NULL, 0);
    assert_chain(build_at(pki->leaf, sub, pki->root, pki->new_sub, NOW), NULL,
                 1);
    X509_free(bare);
    X509_free(rekeyed);
    X509_free(leaf);
    X509_free(sub);
    EVP_PKEY_free(stranger);
}

/* The leaf, with this Sub CA alone, and beside the good one. */
static void assert_sub(pki_spec_t spec, const char *text)
{
    X509 *sub = pki_issue(&spec);

    assert_chain(build_at(pki->leaf, sub, pki->root, NULL, NOW), text, 0);
    assert_chain(build_at(pki->leaf, sub, NULL, NULL, NOW), text, 0);
    assert_chain(build_at(pki->leaf, sub, pki->root, pki->new_sub, NOW), NULL,
                 1);
    X509_free(sub);
}

static void of_its_issuer(void **state)
{
    pki_spec_t spec = sub_spec();

    (void)state;
    spec.ext[0] = "1.2.3.4.5";
    spec.ext[1] = "critical,DER:05:00";
    assert_sub(spec, "1.2.3.4.5");
    spec.ext[0] = "nameConstraints";
    spec.ext[1] = "critical,permitted;DNS:example.com";
    assert_sub(spec, "permitted subtree");
    spec.ext[1] = "critical,excluded;DNS:example.hk";
    assert_sub(spec, "excluded subtree");
    spec = sub_spec();
    spec.eku = "nsSGC,msSGC";
    spec.server_auth = 0;
    assert_sub(spec, "extended key usage");
    spec.eku = "clientAuth";
    assert_sub(spec, "purpose");
    spec = sub_spec();
    spec.basic = "CA:FALSE";
    assert_sub(spec, "CA certificate");
    spec = sub_spec();
    spec.md = EVP_sha1();
    assert_sub(spec, "too weak");
}

static void path_length(void **state)
{
    EVP_PKEY *key = pki_key("P-256");
    pki_spec_t spec = sub_spec();
    X509 *upper, *sub;

    (void)state;
    spec.cn = "Upper CA";
    spec.key = key;
    spec.basic = "critical,CA:TRUE,pathlen:0";
    upper = pki_issue(&spec);
    spec = sub_spec();
    spec.issuer = upper;
    spec.issuer_key = key;
    sub = pki_issue(&spec);
    assert_chain(build_at(pki->leaf, sub, upper, pki->root, NOW),
                 "path length constraint", 0);
    X509_free(sub);
    X509_free(upper);
    EVP_PKEY_free(key);
}

/* What time does, time must not take away at the next start. */
static void only_time(void **state)
{
    pki_spec_t spec = sub_spec();
    X509 *over, *weird;

    (void)state;
    spec.not_before = NOW - PKI_YEAR;
    spec.not_after = NOW + 10 * PKI_DAY;
    over = pki_issue(&spec);
    spec = sub_spec();
    spec.ext[0] = "1.2.3.4.5";
    spec.ext[1] = "critical,DER:05:00";
    weird = pki_issue(&spec);
    assert_chain(build_at(pki->leaf, over, weird, pki->root, NOW), NULL, 1);
    assert_chain(
        build_at(pki->leaf, over, weird, pki->root, NOW + 20 * PKI_DAY), NULL,
        0);
    X509_free(over);
    X509_free(weird);
}

/* Nor does what was left out above it, which clients may know otherwise. */
static void only_time_below(void **state)
{
    EVP_PKEY *key = pki_key("P-256");
    pki_spec_t spec = sub_spec();
    X509 *upper, *sub;

    (void)state;
    spec.cn = "Upper CA";
    spec.key = key;
    spec.not_before = NOW - PKI_YEAR;
    spec.not_after = NOW - PKI_DAY;
    spec.ext[0] = "1.2.3.4.5";
    spec.ext[1] = "critical,DER:05:00";
    upper = pki_issue(&spec);
    spec = sub_spec();
    spec.issuer = upper;
    spec.issuer_key = key;
    spec.not_after = NOW + 10 * PKI_DAY;
    sub = pki_issue(&spec);
    assert_chain(build_at(pki->leaf, sub, upper, NULL, NOW), NULL, 1);
    assert_chain(build_at(pki->leaf, sub, upper, NULL, NOW + 20 * PKI_DAY),
                 NULL, 0);
    X509_free(sub);
    X509_free(upper);
    EVP_PKEY_free(key);
}

/* ---- what the TLS library refuses --------------------------------------- */

static const ecert_considered_t *of(const ecert_chain_t *chain, X509 *cert)
{
    for (size_t i = 1; i < chain->n_considered; i++) {
        if (chain->considered[i].cert == cert) {
            return &chain->considered[i];
        }
    }
    fail_msg("not considered");
    return NULL;
}

static void too_weak(void **state)
{
    EVP_PKEY *old_key = pki_key("RSA-1024");
    pki_spec_t spec = sub_spec();
    ecert_chain_t *chain;
    X509 *sha1, *upper, *sub;

    (void)state;
    spec.md = EVP_sha1();
    spec.not_before = NOW - 60; /* newer, so that it would be taken first */
    sha1 = pki_issue(&spec);
    chain = build_at(pki->leaf, sha1, pki->new_sub, NULL, NOW);
    assert_ptr_equal(sk_X509_value(chain->served, 0), pki->new_sub);
    assert_string_equal(ecert_why_word(of(chain, sha1)->why), "too-weak");
    assert_string_equal(of(chain, sha1)->note,
                        "ca md too weak at security level 2");
    ecert_chain_free(chain);

    /* the topmost of a path to an unknown root: what is below it is served */
    spec = sub_spec();
    spec.cn = "Upper CA";
    spec.key = old_key;
    upper = pki_issue(&spec);
    spec = sub_spec();
    spec.issuer = upper;
    spec.issuer_key = old_key;
    sub = pki_issue(&spec);
    chain = build_at(pki->leaf, sub, upper, NULL, NOW);
    assert_int_equal(sk_X509_num(chain->served), 1);
    assert_string_equal(of(chain, upper)->note,
                        "ca key too small at security level 2");
    assert_non_null(strstr(chain->missing, "too weak for the TLS library"));
    ecert_chain_free(chain);
    X509_free(sub);
    X509_free(upper);
    X509_free(sha1);
    EVP_PKEY_free(old_key);
}

/* Who lowers the level has older clients: a Sub CA of RSA-1024 will do there.
 */
static void lower_level(void **state)
{
    EVP_PKEY *old_key = pki_key("RSA-1024");
    pki_spec_t spec = sub_spec();
    X509 *sub, *leaf;

    (void)state;
    spec.key = old_key;
    sub = pki_issue(&spec);
    spec = leaf_spec();
    spec.issuer = sub;
    spec.issuer_key = old_key;
    leaf = pki_issue(&spec);
    assert_chain(build_at(leaf, sub, pki->root, NULL, NOW), "too weak", 0);
    level = 1;
    assert_chain(build_at(leaf, sub, pki->root, NULL, NOW), NULL, 1);
    level = 0;
    X509_free(leaf);
    X509_free(sub);
    EVP_PKEY_free(old_key);
}

static void levels(void **state)
{
    ecert_err_t err;
    ecert_security_t *security = ecert_security_new(&err);
    EVP_PKEY *rsa = pki_key("RSA-2048");
    pki_spec_t spec = leaf_spec();
    X509 *leaf;
    char why[160];

    (void)state;
    spec.key = rsa;
    leaf = pki_issue(&spec);
    assert_int_equal(ecert_security_check(security, leaf, NULL, "/f", &err), 0);
    ecert_security_set(security, 3); /* 128 bits: RSA from 3072 */
    assert_int_equal(ecert_security_check(security, leaf, NULL, "/f", &err),
                     -1);
    assert_int_equal(err.code, ECERT_ERR_KEY_TYPE);
    assert_non_null(strstr(err.detail, "ee key too small at security level 3"));
    assert_int_equal(
        ecert_security_element(security, pki->new_sub, why, sizeof(why)), 0);
    ecert_security_set(security, 0); /* the library's own again */
    assert_int_equal(ecert_security_level(security), 2);
    assert_int_equal(ecert_security_check(security, leaf, NULL, "/f", &err), 0);
    X509_free(leaf);
    spec.md = EVP_sha1();
    leaf = pki_issue(&spec);
    assert_int_equal(ecert_security_check(security, leaf, NULL, "/f", &err),
                     -1);
    assert_int_equal(err.code, ECERT_ERR_SIGNATURE);
    assert_int_equal(ERR_peek_error(), 0);
    X509_free(leaf);
    EVP_PKEY_free(rsa);
    ecert_security_free(security);
    ecert_security_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_the_leaf),   cmocka_unit_test(damaged),
        cmocka_unit_test(of_its_issuer), cmocka_unit_test(path_length),
        cmocka_unit_test(only_time),     cmocka_unit_test(too_weak),
        cmocka_unit_test(levels),        cmocka_unit_test(only_time_below),
        cmocka_unit_test(lower_level),
    };
    return cmocka_run_group_tests(tests, pki_setup, pki_teardown);
}
