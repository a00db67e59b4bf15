/* What is served behind a leaf, and why, with a made-up PKI. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "ecert_chain.h"
#include "ecert_conf.h"
#include "pki.h"

#define NOW ((int64_t)1795392000) /* 2026-11-23 */

static pki_t *pki;
static ecert_ca_t *ca; /* useful_until 2027-04-15 */

static int setup(void **state)
{
    ecert_err_t err;
    char *json;
    (void)state;
    pki = pki_new(NOW);
    json = pki_catalogue(pki, "2027-04-15");
    ca = ecert_ca_parse(json, strlen(json), "catalogue.json", &err);
    free(json);
    return ca == NULL;
}

static int teardown(void **state)
{
    (void)state;
    ecert_ca_free(ca);
    pki_free(pki);
    return 0;
}

static ecert_cross_t policy(const char *text)
{
    ecert_cross_t cross = {ECERT_CROSS_AUTO, 0};
    ecert_err_t err;
    assert_int_equal(ecert_cross_parse(text, &cross, &err), 0);
    return cross;
}

static ecert_chain_t *build(STACK_OF(X509) *pool, STACK_OF(X509) *anchors,
                            const ecert_ca_t *known, const char *cross,
                            int64_t now)
{
    ecert_chain_in_t in = {.leaf = pki->leaf,
                           .pool = pool,
                           .anchors = anchors,
                           .ca = known,
                           .cross = policy(cross),
                           .now = now};
    ecert_err_t err;
    ecert_chain_t *chain = ecert_chain_build(&in, &err);
    assert_non_null(chain);
    assert_int_equal(ERR_peek_error(), 0);
    assert_int_equal(chain->n_considered, 1 + sk_X509_num(pool));
    assert_int_equal(chain->considered[0].why, ECERT_WHY_LEAF);
    return chain;
}

static const ecert_considered_t *of(const ecert_chain_t *chain, X509 *cert)
{
    for (size_t i = 0; i < chain->n_considered; i++) {
        if (chain->considered[i].cert == cert) {
            return &chain->considered[i];
        }
    }
    fail_msg("not considered");
    return NULL;
}

static void served_are(const ecert_chain_t *chain, X509 *first, ...)
{
    va_list args;
    int n = 0;
    va_start(args, first);
    for (X509 *cert = first; cert != NULL; cert = va_arg(args, X509 *)) {
        assert_true(n < sk_X509_num(chain->served));
        assert_int_equal(X509_cmp(sk_X509_value(chain->served, n++), cert), 0);
    }
    va_end(args);
    assert_int_equal(sk_X509_num(chain->served), n);
}

static void why_is(const ecert_chain_t *chain, X509 *cert, ecert_why_t why)
{
    assert_string_equal(ecert_why_word(of(chain, cert)->why),
                        ecert_why_word(why));
}

static void everything_there(void **state)
{
    (void)state;
    STACK_OF(X509) *pool = pki_stack(
        pki->old_ev, pki->root, pki->old_sub, pki->cross, pki->other_root,
        pki->new_ev, pki->new_sub, pki->new_sub, pki->leaf, NULL);
    ecert_chain_t *chain = build(pool, NULL, ca, "auto", NOW);
    served_are(chain, pki->new_sub, pki->cross, NULL);
    assert_int_equal(chain->complete, 1);
    assert_string_equal(chain->missing, "");
    why_is(chain, pki->new_sub, ECERT_WHY_TAKEN);
    why_is(chain, pki->cross, ECERT_WHY_TAKEN);
    why_is(chain, pki->old_sub, ECERT_WHY_DENIED);
    why_is(chain, pki->root, ECERT_WHY_ROOT);
    why_is(chain, pki->other_root, ECERT_WHY_ROOT);
    why_is(chain, pki->old_ev, ECERT_WHY_UNRELATED);
    why_is(chain, pki->new_ev, ECERT_WHY_UNRELATED);
    assert_int_equal(chain->considered[8].why, ECERT_WHY_DUPLICATE);
    assert_int_equal(chain->considered[9].why, ECERT_WHY_DUPLICATE);
    assert_non_null(
        strstr(of(chain, pki->old_sub)->note, "the one with serverAuth"));
    assert_non_null(
        strstr(of(chain, pki->cross)->note, "useful until 2027-04-15"));
    assert_int_equal(of(chain, pki->cross)->role, ECERT_CA_CROSS);

    /* Each client by itself accepts it. */
    ecert_err_t err;
    STACK_OF(X509) *one = pki_stack(pki->root, NULL);
    STACK_OF(X509) *other = pki_stack(pki->other_root, NULL);
    assert_int_equal(ecert_chain_verify(pki->leaf, chain->served, one,
                                        "www.example.hk", NOW, &err),
                     0);
    assert_int_equal(ecert_chain_verify(pki->leaf, chain->served, other,
                                        "example.hk", NOW, &err),
                     0);
    assert_int_equal(ecert_chain_verify(pki->leaf, chain->served, other,
                                        "example.com", NOW, &err),
                     -1);
    assert_int_equal(err.code, ECERT_ERR_NAMES);
    pki_stack_free(one);
    pki_stack_free(other);
    ecert_chain_free(chain);
    pki_stack_free(pool);
}

static void policies(void **state)
{
    int64_t until, day = PKI_DAY;
    ecert_err_t err;
    (void)state;
    assert_int_equal(ecert_date_parse("2027-04-16", &until, &err), 0);
    const struct {
        const char *policy;
        int64_t now;
        int cross;
        ecert_why_t why;
    } rows[] = {
        {"auto", until - 1, 1, ECERT_WHY_TAKEN},
        {"auto", until, 0, ECERT_WHY_CROSS_PAST},
        {"on", until + 30 * day, 1, ECERT_WHY_TAKEN},
        {"off", NOW, 0, ECERT_WHY_CROSS_OFF},
        {"until=2026-12-24", NOW, 1, ECERT_WHY_TAKEN},
        {"until=2026-11-22", NOW, 0, ECERT_WHY_CROSS_PAST},
        {"until=2026-11-23", NOW, 1, ECERT_WHY_TAKEN},
    };
    STACK_OF(X509) *pool = pki_stack(pki->cross, pki->new_sub, pki->root, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ecert_chain_t *chain =
            build(pool, NULL, ca, rows[i].policy, rows[i].now);
        served_are(chain, pki->new_sub, rows[i].cross ? pki->cross : NULL,
                   NULL);
        assert_int_equal(chain->complete, 1);
        why_is(chain, pki->cross, rows[i].why);
        ecert_chain_free(chain);
    }
    ecert_chain_t *chain = build(pool, NULL, ca, "auto", NOW);
    assert_int_equal(chain->next_change, until);
    ecert_chain_free(chain);
    chain = build(pool, NULL, ca, "until=2026-12-24", NOW);
    assert_int_equal(chain->next_change, policy("until=2026-12-24").until);
    ecert_chain_free(chain);
    chain = build(pool, NULL, ca, "on", NOW);
    assert_int_equal(chain->next_change, NOW + 198 * day + 1);
    ecert_chain_free(chain);
    pki_stack_free(pool);
}

/* Nobody says what is denied: then the extended key usage decides. */
static void twins_without_catalogue(void **state)
{
    (void)state;
    STACK_OF(X509) *pool =
        pki_stack(pki->old_sub, pki->new_sub, pki->root, NULL);
    ecert_chain_t *chain = build(pool, NULL, NULL, "auto", NOW);
    served_are(chain, pki->new_sub, NULL);
    why_is(chain, pki->old_sub, ECERT_WHY_NO_SERVER_AUTH);
    assert_true(strlen(of(chain, pki->old_sub)->note) > 20);
    ecert_chain_free(chain);
    pki_stack_free(pool);

    pki_spec_t spec = {.cn = "Look-alike SSL CA 3 - 17",
                       .key = pki->sub_key,
                       .issuer = pki->root,
                       .issuer_key = pki->root_key,
                       .not_before = NOW - 2 * PKI_YEAR,
                       .not_after = NOW + 9 * PKI_YEAR,
                       .ca = 1,
                       .server_auth = 1};
    X509 *older = pki_issue(&spec);
    pool = pki_stack(older, pki->new_sub, pki->root, NULL);
    chain = build(pool, NULL, NULL, "auto", NOW);
    served_are(chain, pki->new_sub, NULL);
    why_is(chain, older, ECERT_WHY_OLDER);
    ecert_chain_free(chain);
    pki_stack_free(pool);

    /* A newer one that is not valid yet changes nothing until it is. */
    spec.not_before = NOW + 5 * PKI_DAY;
    X509 *newer = pki_issue(&spec);
    pool = pki_stack(newer, pki->new_sub, pki->root, NULL);
    chain = build(pool, NULL, NULL, "auto", NOW);
    served_are(chain, pki->new_sub, NULL);
    why_is(chain, newer, ECERT_WHY_NOT_YET);
    assert_int_equal(chain->next_change, NOW + 5 * PKI_DAY);
    ecert_chain_free(chain);
    chain = build(pool, NULL, NULL, "auto", NOW + 5 * PKI_DAY);
    served_are(chain, newer, NULL);
    ecert_chain_free(chain);
    pki_stack_free(pool);
    X509_free(older);
    X509_free(newer);
}

static void only_the_denied_one(void **state)
{
    (void)state;
    STACK_OF(X509) *pool = pki_stack(pki->old_sub, pki->cross, NULL);
    ecert_chain_t *chain = build(pool, NULL, ca, "auto", NOW);
    served_are(chain, NULL);
    assert_int_equal(chain->complete, 0);
    assert_non_null(strstr(chain->missing, "denied"));
    assert_non_null(strstr(chain->missing, "http://ca.example.hk/sub.crt"));
    why_is(chain, pki->old_sub, ECERT_WHY_DENIED);
    ecert_chain_free(chain);
    pki_stack_free(pool);
}

/* It bears the name, is in the pool, and did not sign: nothing to download. */
static void not_the_one_here(void **state)
{
    pki_spec_t spec = {.cn = "www.example.hk",
                       .key = pki->leaf_key,
                       .issuer = pki->new_sub,
                       .issuer_key = pki->ev_key,
                       .not_before = NOW - PKI_DAY,
                       .not_after = NOW + PKI_DAY,
                       .server_auth = 1,
                       .no_key_id = 1};
    X509 *leaf = pki_issue(&spec);
    STACK_OF(X509) *pool = pki_stack(pki->new_sub, NULL);
    ecert_chain_in_t in = {.leaf = leaf, .pool = pool, .ca = ca, .now = NOW};
    ecert_err_t err;
    ecert_chain_t *chain = ecert_chain_build(&in, &err);
    (void)state;
    assert_non_null(chain);
    assert_non_null(strstr(chain->missing, "has another key"));
    assert_null(strstr(chain->missing, "http://"));
    ecert_chain_free(chain);
    pki_stack_free(pool);
    X509_free(leaf);
}

static void nothing_there(void **state)
{
    (void)state;
    STACK_OF(X509) *pool = sk_X509_new_null();
    ecert_chain_t *chain = build(pool, NULL, ca, "auto", NOW);
    served_are(chain, NULL);
    assert_int_equal(chain->complete, 0);
    assert_non_null(strstr(chain->missing, "\"Look-alike SSL CA 3 - 17\""));
    assert_non_null(strstr(chain->missing, "http://ca.example.hk/sub.crt"));
    ecert_chain_free(chain);
    pki_stack_free(pool);

    ecert_chain_in_t in = {.leaf = pki->leaf,
                           .pool = NULL,
                           .anchors = NULL,
                           .ca = NULL,
                           .cross = policy("auto"),
                           .now = NOW};
    ecert_err_t err;
    chain = ecert_chain_build(&in, &err);
    assert_non_null(chain);
    assert_int_equal(chain->complete, 0);
    ecert_chain_free(chain);
}

/* Who knows the root: system, pool, catalogue, or nobody. */
static void known_roots(void **state)
{
    (void)state;
    STACK_OF(X509) *pool = pki_stack(pki->new_sub, NULL);
    STACK_OF(X509) *anchors = pki_stack(pki->root, NULL);
    ecert_chain_t *chain = build(pool, anchors, NULL, "auto", NOW);
    served_are(chain, pki->new_sub, NULL);
    assert_int_equal(chain->complete, 1);
    ecert_chain_free(chain);

    chain = build(pool, NULL, ca, "auto", NOW);
    assert_int_equal(chain->complete, 1);
    ecert_chain_free(chain);

    chain = build(pool, NULL, NULL, "auto", NOW);
    served_are(chain, pki->new_sub, NULL);
    assert_int_equal(chain->complete, 0);
    assert_non_null(strstr(chain->missing, "\"Look-alike Root 3\""));
    ecert_chain_free(chain);
    pki_stack_free(pool);

    /* The cross-certificate's root is nowhere, the catalogue knows it. */
    pool = pki_stack(pki->new_sub, pki->cross, NULL);
    chain = build(pool, NULL, ca, "auto", NOW);
    served_are(chain, pki->new_sub, pki->cross, NULL);
    assert_int_equal(chain->complete, 1);
    ecert_chain_free(chain);
    pki_stack_free(pool);
    pki_stack_free(anchors);
}

static void unproven_top(void **state)
{
    (void)state;
    STACK_OF(X509) *pool = pki_stack(pki->new_sub, pki->cross, NULL);
    ecert_chain_t *chain = build(pool, NULL, NULL, "auto", NOW);
    served_are(chain, pki->new_sub, pki->cross, NULL);
    assert_int_equal(chain->complete, 0);
    ecert_chain_free(chain);

    const char *const past[] = {"off", "until=2026-11-01"};
    for (int i = 0; i < 2; i++) {
        chain = build(pool, NULL, NULL, past[i], NOW);
        served_are(chain, pki->new_sub, NULL);
        why_is(chain, pki->cross,
               i ? ECERT_WHY_CROSS_PAST : ECERT_WHY_CROSS_OFF);
        assert_non_null(
            strstr(of(chain, pki->cross)->note, "no root is known"));
        assert_int_equal(chain->complete, 0);
        assert_non_null(strstr(chain->missing, "cross-certificate"));
        ecert_chain_free(chain);
    }
    chain = build(pool, NULL, NULL, "until=2026-12-01", NOW);
    served_are(chain, pki->new_sub, pki->cross, NULL);
    ecert_chain_free(chain);
    pki_stack_free(pool);
}

static void leaf_outside_its_time(void **state)
{
    (void)state;
    STACK_OF(X509) *pool = pki_stack(pki->new_sub, pki->root, NULL);
    ecert_chain_t *chain = build(pool, NULL, ca, "auto", NOW + PKI_YEAR);
    served_are(chain, pki->new_sub, NULL);
    assert_int_equal(chain->complete, 1);
    assert_int_equal(chain->not_after, NOW + 198 * PKI_DAY);
    ecert_chain_free(chain);

    /* A year before, when even the Sub CA was hardly there. */
    chain = build(pool, NULL, ca, "auto", NOW - 3 * PKI_DAY);
    served_are(chain, pki->new_sub, NULL);
    assert_int_equal(chain->complete, 1);
    assert_int_equal(chain->next_change, NOW - PKI_DAY);
    ecert_chain_free(chain);
    pki_stack_free(pool);
}

static void other_reasons(void **state)
{
    (void)state;
    EVP_PKEY *stranger = pki_key("P-256");
    pki_spec_t spec = {.cn = "Look-alike SSL CA 3 - 17",
                       .key = stranger,
                       .issuer = pki->root,
                       .issuer_key = pki->root_key,
                       .not_before = NOW - PKI_DAY,
                       .not_after = NOW + PKI_YEAR,
                       .ca = 1,
                       .server_auth = 1};
    X509 *impostor = pki_issue(&spec);
    spec.key = pki->sub_key;
    spec.ca = 0;
    X509 *no_ca = pki_issue(&spec);
    spec.ca = 1;
    spec.not_before = NOW - 10 * PKI_DAY;
    spec.not_after = NOW - 5 * PKI_DAY;
    X509 *dead = pki_issue(&spec);
    spec.not_after = NOW + PKI_YEAR;
    spec.md = EVP_sha1();
    X509 *weak = pki_issue(&spec);

    STACK_OF(X509) *pool =
        pki_stack(impostor, no_ca, dead, pki->root, pki->new_sub, weak, NULL);
    ecert_chain_t *chain = build(pool, NULL, NULL, "auto", NOW);
    served_are(chain, pki->new_sub, NULL);
    why_is(chain, impostor, ECERT_WHY_SIGNATURE);
    why_is(chain, no_ca, ECERT_WHY_NOT_CA);
    why_is(chain, dead, ECERT_WHY_EXPIRED);
    /* Newer, but SHA-1: tried first, refused, and the other one found. */
    why_is(chain, weak, ECERT_WHY_INVALID);
    assert_true(strlen(of(chain, weak)->note) > 10);
    ecert_chain_free(chain);
    pki_stack_free(pool);
    X509_free(impostor);
    X509_free(no_ca);
    X509_free(dead);
    X509_free(weak);
    EVP_PKEY_free(stranger);
}

static void self_signed_leaf(void **state)
{
    (void)state;
    pki_spec_t spec = {.cn = "www.example.hk",
                       .key = pki->leaf_key,
                       .not_before = NOW - PKI_DAY,
                       .not_after = NOW + PKI_DAY,
                       .server_auth = 1,
                       .names = "DNS:www.example.hk"};
    X509 *leaf = pki_issue(&spec);
    ecert_chain_in_t in = {.leaf = leaf,
                           .pool = NULL,
                           .anchors = NULL,
                           .ca = ca,
                           .cross = policy("auto"),
                           .now = NOW};
    ecert_err_t err;
    ecert_chain_t *chain = ecert_chain_build(&in, &err);
    assert_non_null(chain);
    assert_int_equal(chain->complete, 0);
    assert_non_null(strstr(chain->missing, "self-signed"));
    ecert_chain_free(chain);
    X509_free(leaf);
}

/* CAs that sign each other in circles, all with good signatures. */
static void hostile_pool(void **state)
{
    enum {
        KEYS = 12,
        TWINS = 4
    };
    EVP_PKEY *keys[KEYS];
    X509 *first[KEYS];
    STACK_OF(X509) *pool = sk_X509_new_null();
    (void)state;

    for (int i = 0; i < KEYS; i++) {
        keys[i] = pki_key("P-256");
        pki_spec_t spec = {.cn = "Circle",
                           .key = keys[i],
                           .not_before = NOW - PKI_YEAR,
                           .not_after = NOW + PKI_YEAR,
                           .ca = 1};
        first[i] = pki_issue(&spec);
    }
    for (int i = 0; i < KEYS; i++) {
        for (int j = 0; j < KEYS * TWINS; j++) {
            if (j % KEYS == i) {
                continue; /* that would be a root */
            }
            pki_spec_t spec = {.cn = "Circle",
                               .key = keys[i],
                               .issuer = first[j % KEYS],
                               .issuer_key = keys[j % KEYS],
                               .not_before = NOW - PKI_YEAR + j,
                               .not_after = NOW + PKI_YEAR,
                               .ca = 1};
            sk_X509_push(pool, pki_issue(&spec));
        }
    }
    pki_spec_t spec = {.cn = "www.example.hk",
                       .key = pki->leaf_key,
                       .issuer = first[0],
                       .issuer_key = keys[0],
                       .not_before = NOW - PKI_DAY,
                       .not_after = NOW + PKI_DAY,
                       .server_auth = 1,
                       .names = "DNS:www.example.hk"};
    X509 *leaf = pki_issue(&spec);
    STACK_OF(X509) *roots = pki_stack(pki->root, NULL);
    ecert_err_t err;
    clock_t start = clock();
    assert_int_equal(ecert_chain_verify(leaf, pool, roots, NULL, NOW, &err),
                     -1);
    assert_int_equal(err.code, ECERT_ERR_CHAIN);
    ecert_chain_in_t in = {.leaf = leaf,
                           .pool = pool,
                           .anchors = roots,
                           .ca = ca,
                           .cross = policy("auto"),
                           .now = NOW};
    ecert_chain_t *chain = ecert_chain_build(&in, &err);
    assert_non_null(chain);
    assert_int_equal(chain->complete, 0);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    print_message("# %d certificates in circles: %.3f s\n", sk_X509_num(pool),
                  seconds);
    const char *slow = getenv("ECERT_TEST_SLOW"); /* under valgrind */
    assert_true(seconds < 2.0 * (slow ? atof(slow) : 1));

    ecert_chain_free(chain);
    pki_stack_free(roots);
    pki_stack_free(pool);
    X509_free(leaf);
    for (int i = 0; i < KEYS; i++) {
        EVP_PKEY_free(keys[i]);
        X509_free(first[i]);
    }
}

static void client_verdicts(void **state)
{
    (void)state;
    ecert_err_t err;
    STACK_OF(X509) *roots = pki_stack(pki->root, NULL);
    STACK_OF(X509) *none = sk_X509_new_null();
    STACK_OF(X509) *served = pki_stack(pki->new_sub, NULL);
    assert_int_equal(
        ecert_chain_verify(pki->leaf, none, roots, NULL, NOW, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_CHAIN);
    assert_non_null(strstr(err.detail, "issuer"));
    assert_int_equal(
        ecert_chain_verify(pki->leaf, served, none, NULL, NOW, &err), -1);
    assert_int_equal(
        ecert_chain_verify(pki->leaf, served, roots, NULL, NOW, &err), 0);
    /* The last second is inside, the next one is not. */
    int64_t end = NOW + 198 * PKI_DAY;
    assert_int_equal(
        ecert_chain_verify(pki->leaf, served, roots, NULL, end, &err), 0);
    assert_int_equal(
        ecert_chain_verify(pki->leaf, served, roots, NULL, end + 1, &err), -1);
    assert_non_null(strstr(err.detail, "expired"));
    pki_spec_t spec = {.cn = "www.example.hk",
                       .key = pki->leaf_key,
                       .issuer = pki->new_sub,
                       .issuer_key = pki->sub_key,
                       .not_before = NOW - PKI_DAY,
                       .not_after = NOW + PKI_DAY,
                       .server_auth = 1,
                       .key_usage = "keyEncipherment",
                       .names = "DNS:www.example.hk"};
    X509 *mute = pki_issue(&spec);
    assert_int_equal(ecert_chain_verify(mute, served, roots, NULL, NOW, &err),
                     -1);
    assert_non_null(strstr(err.detail, "no digitalSignature"));
    X509_free(mute);
    assert_int_equal(ERR_peek_error(), 0);
    pki_stack_free(roots);
    pki_stack_free(none);
    pki_stack_free(served);
}

static void words(void **state)
{
    (void)state;
    assert_string_equal(ecert_why_word(ECERT_WHY_TAKEN), "taken");
    assert_non_null(strstr(ecert_why_sentence(ECERT_WHY_DENIED), "forbids"));
    assert_string_equal(ecert_why_word(ECERT_WHY_LAST), "unknown");
    char hex[65], label[8];
    assert_int_equal(strlen(ecert_x509_fingerprint(pki->leaf, hex)), 64);
    assert_string_equal(ecert_x509_label(pki->leaf, label, sizeof(label)),
                        "www.exa");
    assert_int_equal(ecert_x509_not_before(pki->leaf), NOW - PKI_DAY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_there),
        cmocka_unit_test(policies),
        cmocka_unit_test(twins_without_catalogue),
        cmocka_unit_test(only_the_denied_one),
        cmocka_unit_test(not_the_one_here),
        cmocka_unit_test(nothing_there),
        cmocka_unit_test(known_roots),
        cmocka_unit_test(unproven_top),
        cmocka_unit_test(leaf_outside_its_time),
        cmocka_unit_test(other_reasons),
        cmocka_unit_test(self_signed_leaf),
        cmocka_unit_test(hostile_pool),
        cmocka_unit_test(client_verdicts),
        cmocka_unit_test(words),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
