/* What is served goes on when its files are broken: under the policy that it
 * was served under. */

#include "store_make.h"

#include "ecert_load.h"

#define POLICY(text) "{\"policy\": {\"cross_certificate\": \"" text "\"}}"

static const ecert_site_t site = {.name = STORE_ASCII};

static void put_site(const char *json)
{
    put_generation("1", pki->leaf, pki->leaf_key);
    assert_int_equal(symlink("generations/1", at(of_site("current"))), 0);
    folders("store/issuers");
    put_cert("store/issuers/sub.pem", pki->new_sub);
    put_cert("store/issuers/cross.pem", pki->cross);
    put_cert("store/issuers/root.pem", pki->root);
    put(of_site("site.json"), json);
}

static ecert_loaded_t load(ecert_loader_t *loader)
{
    ecert_loaded_t held;

    assert_int_equal(ecert_load(loader, &site, STORE_NOW, &held, &err), 0);
    assert_non_null(held.cred);
    return held;
}

static void assert_adopts(ecert_loader_t *loader, const ecert_loaded_t *held,
                          ecert_cross_kind_t cross, int served)
{
    ecert_loaded_t next;

    assert_int_equal(ecert_load_adopt(loader, &site, held->cred, held,
                                      STORE_NOW, &next, &err),
                     0);
    assert_int_equal(next.cross.kind, cross);
    assert_int_equal(sk_X509_num(next.chain->served), served);
    assert_int_equal(sk_X509_num(next.cred->chain), served);
    ecert_loaded_free(&next);
}

static void test_policy(void **state)
{
    ecert_loader_t *loader = ecert_loader_new(store, &err);
    ecert_loaded_t held;

    (void)state;
    assert_non_null(loader);
    put_site(POLICY("off"));
    held = load(loader);
    assert_int_equal(sk_X509_num(held.chain->served), 1);
    assert_adopts(loader, &held, ECERT_CROSS_OFF, 1);
    put(of_site("site.json"), "{");
    assert_adopts(loader, &held, ECERT_CROSS_OFF, 1);
    put(of_site("site.json"), POLICY("on")); /* readable: it counts */
    assert_adopts(loader, &held, ECERT_CROSS_ON, 2);
    ecert_loaded_free(&held);
    ecert_loader_free(loader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_STORE(test_policy),
    };

    return cmocka_run_group_tests(tests, store_group_setup,
                                  store_group_teardown);
}
