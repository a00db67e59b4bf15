/* Known roots that have expired, are weak, or will not last. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ecert_chain.h"
#include "ecert_conf.h"
#include "pki_group.h"

/* The root of the pki, in another time. */
static X509 *root_of(int64_t from, int64_t to)
{
    return pki_ca("Look-alike Root 3", pki->root_key, NULL, NULL, from, to, 0);
}

static ecert_chain_t *build_with(STACK_OF(X509) *pool, X509 *anchor,
                                 const char *policy)
{
    STACK_OF(X509) *anchors =
        anchor ? pki_stack(anchor, NULL) : sk_X509_new_null();
    ecert_chain_in_t in = {
        .leaf = pki->leaf, .pool = pool, .anchors = anchors, .now = NOW};
    ecert_chain_t *chain;
    ecert_err_t err;
    assert_int_equal(ecert_cross_parse(policy, &in.cross, &err), 0);
    chain = ecert_chain_build(&in, &err);
    assert_non_null(chain);
    pki_stack_free(anchors);
    return chain;
}

static ecert_chain_t *build(STACK_OF(X509) *pool, const char *policy)
{
    return build_with(pool, NULL, policy);
}

static void served_are(const ecert_chain_t *chain, X509 *first, X509 *second)
{
    X509 *const expected[] = {first, second};
    int n = second != NULL ? 2 : 1;
    assert_int_equal(sk_X509_num(chain->served), n);
    for (int i = 0; i < n; i++) {
        assert_ptr_equal(sk_X509_value(chain->served, i), expected[i]);
    }
}

static void expired_root(void **state)
{
    X509 *old = root_of(NOW - PKI_YEAR, NOW - PKI_DAY);
    STACK_OF(X509) *pool = pki_stack(old, pki->new_sub, NULL);
    ecert_chain_t *chain = build(pool, "auto");
    (void)state;
    served_are(chain, pki->new_sub, NULL);
    assert_int_equal(chain->complete, 0);
    assert_string_equal(chain->missing,
                        "a root that verifies: Look-alike Root 3: expired on "
                        "2026-11-22");
    assert_int_equal(chain->considered[2].proven, 0);
    ecert_chain_free(chain);
    pki_stack_free(pool);

    pool = pki_stack(old, pki->new_sub, pki->cross, pki->other_root, NULL);
    chain = build(pool, "auto");
    served_are(chain, pki->new_sub, pki->cross);
    assert_int_equal(chain->complete, 1);
    assert_int_equal(chain->considered[2].proven, 1);
    ecert_chain_free(chain);
    pki_stack_free(pool);

    /* The CA prolonged it: the expired one is not the last word. */
    pool = pki_stack(old, pki->root, pki->new_sub, NULL);
    chain = build(pool, "auto");
    served_are(chain, pki->new_sub, NULL);
    assert_int_equal(chain->complete, 1);
    ecert_chain_free(chain);
    pki_stack_free(pool);
    X509_free(old);
}

static void root_to_come(void **state)
{
    X509 *root = root_of(NOW + 3 * PKI_DAY, NOW + PKI_YEAR);
    STACK_OF(X509) *pool = pki_stack(root, pki->new_sub, NULL);
    ecert_chain_t *chain = build(pool, "auto");
    (void)state;
    served_are(chain, pki->new_sub, NULL);
    assert_int_equal(chain->complete, 0);
    assert_int_equal(chain->next_change, NOW + 3 * PKI_DAY);
    ecert_chain_free(chain);
    pki_stack_free(pool);
    X509_free(root);
}

static void weak_root(void **state)
{
    EVP_PKEY *key = pki_key("RSA-1024");
    X509 *root =
        pki_ca("Weak Root", key, NULL, NULL, NOW - PKI_YEAR, NOW + PKI_YEAR, 0);
    X509 *sub = pki_ca("Look-alike SSL CA 3 - 17", pki->sub_key, root, key,
                       NOW - PKI_DAY, NOW + PKI_YEAR, 1);
    STACK_OF(X509) *pool = pki_stack(root, sub, NULL);
    ecert_chain_t *chain = build(pool, "auto");
    (void)state;
    served_are(chain, sub, NULL);
    assert_int_equal(chain->complete, 0);
    assert_non_null(strstr(chain->missing, "a root that verifies: "));
    assert_int_equal(chain->considered[2].proven, 0);
    ecert_chain_free(chain);
    pki_stack_free(pool);
    X509_free(root);
    X509_free(sub);
    EVP_PKEY_free(key);
}

/* Its root is known, so the topmost is no cross-certificate. */
static void nothing_is_cut(void **state)
{
    X509 *old = root_of(NOW - PKI_YEAR, NOW - PKI_DAY);
    EVP_PKEY *key = pki_key("P-256");
    X509 *middle = pki_ca("Middle", key, old, pki->root_key, NOW - PKI_DAY,
                          NOW + PKI_YEAR, 1);
    X509 *sub = pki_ca("Look-alike SSL CA 3 - 17", pki->sub_key, middle, key,
                       NOW - PKI_DAY, NOW + PKI_YEAR, 1);
    STACK_OF(X509) *pool = pki_stack(middle, old, sub, NULL);
    ecert_chain_t *chain = build(pool, "off");
    (void)state;
    served_are(chain, sub, middle);
    ecert_chain_free(chain);
    pki_stack_free(pool);
    X509_free(old);
    X509_free(middle);
    X509_free(sub);
    EVP_PKEY_free(key);
}

/* Roots of this machine are looked at again at their own dates, too. */
static void dates_of_roots(void **state)
{
    int64_t soon = NOW + 3 * PKI_DAY;
    X509 *lasting = root_of(NOW - PKI_YEAR, soon);
    X509 *coming = root_of(soon, NOW + PKI_YEAR);
    STACK_OF(X509) *pool =
        pki_stack(pki->new_sub, pki->cross, pki->other_root, NULL);
    STACK_OF(X509) *alone = pki_stack(pki->new_sub, NULL);
    ecert_chain_t *chain = build_with(pool, lasting, "on");
    (void)state;
    served_are(chain, pki->new_sub, pki->cross);
    assert_int_equal(chain->next_change, soon + 1);
    ecert_chain_free(chain);

    chain = build_with(alone, lasting, "on");
    assert_int_equal(chain->next_change, soon + 1);
    ecert_chain_free(chain);

    chain = build_with(alone, coming, "on");
    served_are(chain, pki->new_sub, NULL);
    assert_int_equal(chain->next_change, soon);
    ecert_chain_free(chain);
    pki_stack_free(pool);
    pki_stack_free(alone);
    X509_free(lasting);
    X509_free(coming);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expired_root),   cmocka_unit_test(root_to_come),
        cmocka_unit_test(weak_root),      cmocka_unit_test(nothing_is_cut),
        cmocka_unit_test(dates_of_roots),
    };
    return cmocka_run_group_tests(tests, pki_setup, pki_teardown);
}
