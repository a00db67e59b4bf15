/* What a backup brings back for its key, though it cannot be served. */

#include "store_make.h"

#include "ecert_install.h"

static void test_invalid(void **state)
{
    static char name[] = STORE_ASCII;
    char *names[] = {name};
    X509 *damaged = pki_damaged(pki->leaf);
    ecert_install_t in = {.store = store,
                          .site_dir = site_dir,
                          .ascii = STORE_ASCII,
                          .leaf = damaged,
                          .key = pki->leaf_key,
                          .names = names,
                          .n_names = 1,
                          .exportable = 1,
                          .now = STORE_NOW};
    ecert_installed_t out;

    (void)state;
    put_cert("store/issuers/sub.pem", pki->new_sub);
    assert_int_equal(ecert_install(&in, &out, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_INVALID);
    assert_false(is_there(of_site("generations/1")));
    in.keep_expired = 1;
    assert_int_equal(ecert_install(&in, &out, &err), 0);
    assert_true(out.invalid);
    assert_false(out.current);
    assert_true(is_there(of_site("generations/1/key.pem")));
    assert_false(is_there(of_site("current")));
    X509_free(damaged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {IN_STORE(test_invalid)};

    return cmocka_run_group_tests(tests, store_group_setup,
                                  store_group_teardown);
}
