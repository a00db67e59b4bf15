/* Which of several issuers is taken, where it is easy to take the wrong one. */

#include "asserts.h"

#include <openssl/err.h>

#include "ecert_chain.h"
#include "ecert_path.h"
#include "pki_group.h"

/* Without a catalogue. */
static ecert_chain_t *build_under(const STACK_OF(X509) *pool,
                                  const STACK_OF(X509) *anchors,
                                  ecert_cross_kind_t cross, int64_t now)
{
    ecert_chain_in_t in = {.leaf = pki->leaf,
                           .pool = pool,
                           .anchors = anchors,
                           .cross = {cross, 0},
                           .now = now};
    ecert_err_t err;
    ecert_chain_t *chain = ecert_chain_build(&in, &err);

    assert_non_null(chain);
    assert_int_equal(ERR_peek_error(), 0);
    return chain;
}

static ecert_chain_t *build(const STACK_OF(X509) *pool,
                            ecert_cross_kind_t cross, int64_t now)
{
    return build_under(pool, NULL, cross, now);
}

static void assert_why(const ecert_chain_t *chain, const X509 *cert,
                       ecert_why_t why)
{
    for (size_t i = 0; i < chain->n_considered; i++) {
        if (chain->considered[i].cert == cert) {
            assert_string_equal(ecert_why_word(chain->considered[i].why),
                                ecert_why_word(why));
            return;
        }
    }
    fail_msg("not considered");
}

static int count_rooted(ecert_search_t *search, const ecert_path_t *path)
{
    *(int *)search->ctx += path->root != NULL;
    return 0;
}

/* The search ends behind its last step, which is taken. */
static void test_last_step(void **state)
{
    STACK_OF(X509) *roots = pki_stack(pki->root, NULL);

    (void)state;
    for (size_t taken = ECERT_CHAIN_NODES - 1; taken <= ECERT_CHAIN_NODES;
         taken++) {
        static ecert_search_t search;
        ecert_path_t path = {.certs = {pki->new_sub}, .n = 1};
        int found = 0;

        search = (ecert_search_t){.roots = roots,
                                  .visit = count_rooted,
                                  .ctx = &found,
                                  .nodes = taken};
        assert_int_equal(ecert_path_search(&search, &path), 0);
        assert_int_equal(found, taken < ECERT_CHAIN_NODES);
        assert_int_equal(search.exhausted, taken == ECERT_CHAIN_NODES);
    }
    pki_stack_free(roots);
}

/* An issuer without serverAuth does not win by being the newer one. */
static void test_purpose_before_age(void **state)
{
    pki_spec_t spec = {.cn = "Look-alike SSL CA 3 - 17",
                       .key = pki->sub_key,
                       .issuer = pki->root,
                       .issuer_key = pki->root_key,
                       .not_before = NOW - 2 * PKI_DAY,
                       .not_after = NOW + 9 * PKI_YEAR,
                       .ca = 1};
    X509 *newer = pki_issue(&spec);
    STACK_OF(X509) *pool = pki_stack(newer, pki->new_sub, pki->root, NULL);
    ecert_chain_t *chain = build(pool, ECERT_CROSS_AUTO, NOW);

    (void)state;
    assert_int_equal(sk_X509_num(chain->served), 1);
    assert_ptr_equal(sk_X509_value(chain->served, 0), pki->new_sub);
    assert_why(chain, newer, ECERT_WHY_NO_SERVER_AUTH);
    ecert_chain_free(chain);
    pki_stack_free(pool);
    X509_free(newer);
}

/*
 * A chain for a leaf that has ended is judged at the leaf's last day, but a
 * cross-certificate that has ended since is of no use to any client.
 */
static void test_dead_cross(void **state)
{
    STACK_OF(X509) *pool =
        pki_stack(pki->new_sub, pki->cross, pki->root, pki->other_root, NULL);
    ecert_chain_t *chain = build(pool, ECERT_CROSS_ON, NOW + PKI_YEAR);

    (void)state;
    assert_int_equal(sk_X509_num(chain->served), 2); /* it still lives */
    assert_why(chain, pki->cross, ECERT_WHY_TAKEN);
    ecert_chain_free(chain);

    chain = build(pool, ECERT_CROSS_ON, NOW + 3 * PKI_YEAR - PKI_DAY);
    assert_int_equal(sk_X509_num(chain->served), 1);
    assert_why(chain, pki->new_sub, ECERT_WHY_TAKEN);
    assert_why(chain, pki->cross, ECERT_WHY_EXPIRED);
    assert_int_equal(chain->complete, 1);
    ecert_chain_free(chain);
    pki_stack_free(pool);
}

#define TALL 8
#define WIDE 3

/* CA certificates of a stranger: a twin of the Sub CA that looks better, and as
 * many above it as there are levels; the last one leads nowhere, or is a root.
 */
static void add_stranger(STACK_OF(X509) *pool, int levels, int wide)
{
    EVP_PKEY *key = pki_key("P-256");
    X509 *issuer[TALL + 1];
    char cn[32];

    for (int i = 0; i <= levels; i++) {
        snprintf(cn, sizeof(cn), "Stranger %d", i);
        issuer[i] =
            pki_ca(cn, key, NULL, NULL, NOW - PKI_YEAR, NOW + PKI_YEAR, 1);
    }
    for (int i = 0; i < levels; i++) {
        for (int k = 0; k < wide; k++) {
            snprintf(cn, sizeof(cn), "Stranger %d", i - 1);
            sk_X509_push(pool,
                         pki_ca(i ? cn : "Look-alike SSL CA 3 - 17",
                                i ? key : pki->sub_key, issuer[i], key,
                                NOW - (k + 1) * PKI_DAY, NOW + PKI_YEAR, 1));
        }
    }
    if (levels == 1) {
        sk_X509_push(pool, issuer[0]);
        X509_up_ref(issuer[0]);
    }
    for (int i = 0; i <= levels; i++) {
        X509_free(issuer[i]);
    }
    EVP_PKEY_free(key);
}

/* What a stranger handed over neither takes the place of what a trusted root
 * vouches for, nor uses up the search before it is reached. */
static void test_stranger_above(void **state)
{
    static const int shapes[][2] = {{1, 1}, {TALL, WIDE}};
    STACK_OF(X509) *anchors = pki_stack(pki->root, NULL);

    (void)state;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        STACK_OF(X509) *pool = sk_X509_new_null();
        ecert_chain_t *chain;

        add_stranger(pool, shapes[i][0], shapes[i][1]);
        sk_X509_push(pool, pki->new_sub);
        X509_up_ref(pki->new_sub);
        chain = build_under(pool, anchors, ECERT_CROSS_AUTO, NOW);
        assert_int_equal(chain->complete, 1);
        assert_int_equal(sk_X509_num(chain->served), 1);
        assert_ptr_equal(sk_X509_value(chain->served, 0), pki->new_sub);
        ecert_chain_free(chain);
        sk_X509_pop_free(pool, X509_free);
    }
    pki_stack_free(anchors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_step),
        cmocka_unit_test(test_purpose_before_age),
        cmocka_unit_test(test_dead_cross),
        cmocka_unit_test(test_stranger_above),
    };

    return cmocka_run_group_tests(tests, pki_setup, pki_teardown);
}
