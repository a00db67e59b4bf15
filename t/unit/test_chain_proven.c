/* What a known root's signature or the catalogue proves, and what only names
 * one. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ecert_chain_work.h"
#include "pki.h"

#define NOW ((int64_t)1795392000) /* 2026-11-23 */

static pki_t *pki;
static ecert_ca_t *ca;       /* knows all of pki by fingerprint */
static ecert_ca_t *ca_roots; /* knows the roots alone */
static EVP_PKEY *evil_key;

/* Like the built-in one, as if the Sub CA had been renewed since. */
static ecert_ca_t *roots_alone(void)
{
    char json[1024], one[65], other[65];
    ecert_err_t err;
    snprintf(json, sizeof(json),
             "{\"schema\": \"ecert-ca\", \"version\": 1, \"updated\": "
             "\"2026-01-01\", \"name\": \"Test\", \"entries\": ["
             "{\"id\": \"root\", \"role\": \"root\", \"name\": "
             "\"Look-alike Root 3\", \"sha256\": \"%s\"},"
             "{\"id\": \"other\", \"role\": \"root\", \"name\": "
             "\"Elsewhere Root R3\", \"sha256\": \"%s\"}]}",
             ecert_x509_fingerprint(pki->root, one),
             ecert_x509_fingerprint(pki->other_root, other));
    return ecert_ca_parse(json, strlen(json), "catalogue.json", &err);
}

static int setup(void **state)
{
    ecert_err_t err;
    char *json;
    (void)state;
    pki = pki_new(NOW);
    json = pki_catalogue(pki, NULL);
    ca = ecert_ca_parse(json, strlen(json), "catalogue.json", &err);
    free(json);
    ca_roots = roots_alone();
    evil_key = pki_key("P-256");
    return ca == NULL || ca_roots == NULL;
}

static int teardown(void **state)
{
    (void)state;
    EVP_PKEY_free(evil_key);
    ecert_ca_free(ca);
    ecert_ca_free(ca_roots);
    pki_free(pki);
    return 0;
}

static ecert_chain_t *build(STACK_OF(X509) *pool, X509 *anchor,
                            const ecert_ca_t *known, int unsigned_leaf)
{
    STACK_OF(X509) *anchors = pki_stack(anchor, NULL);
    ecert_cross_t cross = {ECERT_CROSS_AUTO, 0};
    ecert_chain_in_t in = {.leaf = pki->leaf,
                           .pool = pool,
                           .anchors = anchors,
                           .ca = known,
                           .cross = cross,
                           .now = NOW};
    ecert_err_t err;
    ecert_chain_t *chain = ecert_chain_assemble(&in, unsigned_leaf, &err);
    assert_non_null(chain);
    pki_stack_free(anchors);
    return chain;
}

/* 1 and 0 for each of the pool, in its order. */
static void proven_are(const ecert_chain_t *chain, const char *expected)
{
    char found[16] = "";
    assert_int_equal(chain->considered[0].proven, 0); /* the leaf: no CA */
    for (size_t i = 1; i < chain->n_considered; i++) {
        found[i - 1] = chain->considered[i].proven ? '1' : '0';
    }
    assert_string_equal(found, expected);
}

static void check(STACK_OF(X509) *pool, X509 *anchor, const ecert_ca_t *known,
                  const char *expected)
{
    for (int unsigned_leaf = 0; unsigned_leaf < 2; unsigned_leaf++) {
        ecert_chain_t *chain = build(pool, anchor, known, unsigned_leaf);
        assert_int_equal(chain->complete, 1); /* for the name, at least */
        proven_are(chain, expected);
        ecert_chain_free(chain);
    }
}

/* Signed by somebody with the root's name, with a key of his own. */
static X509 *forged(X509 *name, EVP_PKEY *key, const char *cn)
{
    pki_spec_t root = {.cn = cn,
                       .key = evil_key,
                       .not_before = NOW - PKI_DAY,
                       .not_after = NOW + PKI_YEAR,
                       .ca = 1};
    X509 *evil = pki_issue(&root);
    char label[64];
    pki_spec_t spec = {.cn = ecert_x509_label(name, label, sizeof(label)),
                       .key = key,
                       .issuer = evil,
                       .issuer_key = evil_key,
                       .not_before = NOW - PKI_DAY,
                       .not_after = NOW + PKI_YEAR,
                       .ca = 1,
                       .server_auth = name == pki->new_sub};
    X509 *cert = pki_issue(&spec);
    X509_free(evil);
    return cert;
}

static void genuine(void **state)
{
    STACK_OF(X509) *sub = pki_stack(pki->new_sub, NULL);
    STACK_OF(X509) *both = pki_stack(pki->new_sub, pki->cross, NULL);
    (void)state;
    check(sub, pki->root, ca, "1");
    check(sub, pki->root, ca_roots, "1");
    check(sub, pki->root, NULL, "1");
    check(sub, NULL, ca, "1");       /* the catalogue knows its fingerprint */
    check(sub, NULL, ca_roots, "0"); /* the root's name, and no certificate */

    check(both, pki->root, ca, "11");
    check(both, pki->root, ca_roots, "10"); /* nobody knows the other root */
    check(both, pki->other_root, ca_roots, "11");
    check(both, pki->other_root, NULL, "11");
    check(both, NULL, ca, "11");
    check(both, NULL, ca_roots, "00");
    pki_stack_free(sub);
    pki_stack_free(both);
}

static void forged_sub(void **state)
{
    X509 *sub = forged(pki->new_sub, pki->sub_key, "Look-alike Root 3");
    STACK_OF(X509) *pool = pki_stack(sub, NULL);
    STACK_OF(X509) *all = pki_stack(sub, pki->cross, NULL);
    STACK_OF(X509) *with_root = pki_stack(sub, pki->root, NULL);
    (void)state;
    check(pool, pki->root, ca, "0");
    check(pool, NULL, ca, "0");
    check(all, pki->root, ca, "00");
    check(all, pki->other_root, ca, "00");
    check(with_root, NULL, ca, "00");
    pki_stack_free(pool);
    pki_stack_free(all);
    pki_stack_free(with_root);
    X509_free(sub);
}

/* The chain is complete without it. */
static void forged_cross(void **state)
{
    const char *const issuers[] = {"Evil Root", "Elsewhere Root R3",
                                   "Look-alike Root 3"};
    (void)state;
    for (int i = 0; i < 3; i++) {
        X509 *cross = forged(pki->root, pki->root_key, issuers[i]);
        STACK_OF(X509) *pool = pki_stack(pki->new_sub, cross, NULL);
        check(pool, pki->root, ca_roots, "10");
        check(pool, pki->root, ca, "10");
        check(pool, NULL, ca, "10");
        check(pool, pki->root, NULL, "10");
        pki_stack_free(pool);
        X509_free(cross);
    }
}

/* Whoever does not check the leaf's signature believes nothing else for it. */
static void another_key(void **state)
{
    X509 *sub = forged(pki->new_sub, evil_key, "Look-alike Root 3");
    STACK_OF(X509) *pool = pki_stack(sub, NULL);
    ecert_chain_t *chain = build(pool, pki->root, ca, 1);
    (void)state;
    assert_int_equal(sk_X509_num(chain->served), 1);
    proven_are(chain, "0");
    ecert_chain_free(chain);
    pki_stack_free(pool);
    X509_free(sub);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(genuine),
        cmocka_unit_test(forged_sub),
        cmocka_unit_test(forged_cross),
        cmocka_unit_test(another_key),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
