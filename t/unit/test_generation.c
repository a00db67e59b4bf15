/* Generations: what was installed, and which of it is the current one. */

#include "store_make.h"

#include "ecert_csr.h"
#include "ecert_json.h"
#include "ecert_pem.h"

static size_t list(ecert_generation_t **generations)
{
    size_t n;

    assert_int_equal(ecert_generations(site_dir, generations, &n, &err), 0);
    return n;
}

static int certificates_in(const char *name)
{
    STACK_OF(X509) *certs = sk_X509_new_null();
    char *pem = slurp(name);
    int n;

    assert_int_equal(ecert_pem_certificates((unsigned char *)pem, strlen(pem),
                                            "/f", certs, &err),
                     0);
    n = sk_X509_num(certs);
    sk_X509_pop_free(certs, X509_free);
    free(pem);
    return n;
}

static void test_stage(void **state)
{
    STACK_OF(X509) *others = pki_stack(pki->new_sub, pki->leaf, pki->root,
                                       pki->cross, pki->new_sub, NULL);
    json_t *json = json_pack("{s:b}", "export", 0);
    ecert_generation_t *generations;
    ecert_stage_t stage;
    EVP_PKEY *key;
    char id[65];

    (void)state;
    umask(0);
    assert_int_equal(ecert_generation_stage(site_dir, pki->leaf, pki->leaf_key,
                                            others, json, &stage, &err),
                     0);
    assert_int_equal(ecert_stage_commit(&stage, "1", &err), 0);
    assert_int_equal(mode_of(of_site("generations")), 0700);
    assert_int_equal(mode_of(of_site("generations/1/key.pem")), 0600);
    assert_int_equal(mode_of(of_site("generations/1/certificate.pem")), 0644);
    assert_int_equal(certificates_in(of_site("generations/1/certificate.pem")),
                     1);
    assert_int_equal(certificates_in(of_site("generations/1/chain.pem")), 2);
    assert_int_equal(list(&generations), 1);
    assert_int_equal(generations[0].number, 1);
    assert_false(generations[0].current);
    assert_int_equal(X509_cmp(generations[0].leaf, pki->leaf), 0);
    assert_int_equal(sk_X509_num(generations[0].others), 2);
    assert_false(generations[0].exportable);
    assert_int_equal(ecert_key_id(pki->leaf_key, id, &err), 0);
    assert_string_equal(generations[0].key_id, id);
    key = ecert_generation_key(&generations[0], &err);
    assert_int_equal(EVP_PKEY_eq(key, pki->leaf_key), 1);
    EVP_PKEY_free(key);
    assert_null(ecert_generation_current(generations, 1));
    ecert_generations_free(generations, 1);
    json_decref(json);
    pki_stack_free(others);
}

static void test_alone(void **state)
{
    STACK_OF(X509) *others = pki_stack(pki->leaf, pki->root, NULL);
    json_t *json = json_object();
    ecert_stage_t stage;

    (void)state;
    assert_int_equal(ecert_generation_stage(site_dir, pki->leaf, pki->leaf_key,
                                            others, json, &stage, &err),
                     0);
    assert_int_equal(ecert_stage_commit(&stage, "1", &err), 0);
    assert_false(is_there(of_site("generations/1/chain.pem")));
    assert_int_equal(ecert_generation_stage(site_dir, pki->leaf, pki->leaf_key,
                                            NULL, json, &stage, &err),
                     0);
    assert_int_equal(ecert_stage_commit(&stage, "1", &err), -1);
    assert_err(&err, ECERT_ERR_EXISTS);
    ecert_stage_drop(&stage);
    assert_int_equal(entries(of_site("generations")), 1);
    json_decref(json);
    pki_stack_free(others);
}

static void test_stage_fails(void **state)
{
    json_t *json = json_object();
    ecert_stage_t stage;

    (void)state;
    assert_int_equal(ecert_generation_stage(at("none"), pki->leaf,
                                            pki->leaf_key, NULL, json, &stage,
                                            &err),
                     -1);
    assert_err(&err, ECERT_ERR_MISSING);
    ecert_stage_drop(&stage);
    assert_int_equal(ecert_generation_stage(site_dir, pki->leaf, pki->leaf_key,
                                            NULL, NULL, &stage, &err),
                     -1);
    assert_err(&err, ECERT_ERR_MEMORY);
    assert_string_equal(stage.path, "");
    assert_int_equal(entries(of_site("generations")), 0); /* no key is left */
    assert_int_equal(ecert_generation_stage(too_long_path(), pki->leaf,
                                            pki->leaf_key, NULL, json, &stage,
                                            &err),
                     -1);
    assert_int_equal(err.sys, ENAMETOOLONG);
    json_decref(json);
}

static void test_order(void **state)
{
    ecert_generation_t *generations;
    size_t n;

    (void)state;
    put_generation("10", pki->leaf, pki->leaf_key);
    put_generation("9", pki->leaf, pki->leaf_key);
    put_generation("0", pki->leaf, pki->leaf_key);
    put_generation("07", pki->leaf, pki->leaf_key);
    put_generation(".8", pki->leaf, pki->leaf_key);
    folders(of_site("generations/11")); /* being filled */
    folders(of_site("generations/12"));
    put(of_site("generations/12/certificate.pem"), "rubbish");
    put_link("generations/9", of_site("current"));
    n = list(&generations);
    assert_int_equal(n, 3);
    assert_int_equal(generations[0].number, 0);
    assert_int_equal(generations[1].number, 9);
    assert_int_equal(generations[2].number, 10);
    assert_ptr_equal(ecert_generation_current(generations, n), &generations[1]);
    assert_true(json_is_object(generations[1].json));
    assert_true(generations[1].exportable);
    ecert_generations_free(generations, n);
}

/* certificate.pem as the CA's portal gives it: in any order. */
static void test_bundle(void **state)
{
    ecert_generation_t *generations;
    char *sub = pki_pem(pki->new_sub), *leaf = pki_pem(pki->leaf);
    char *both = pki_join(sub, leaf, NULL);
    size_t n;

    (void)state;
    put_generation("1", pki->leaf, NULL);
    put(of_site("generations/1/certificate.pem"), both);
    put(of_site("generations/1/generation.json"), "{\"export\": true, ");
    put_generation("2", pki->new_sub, NULL); /* CAs alone: still shown */
    n = list(&generations);
    assert_int_equal(n, 2);
    assert_int_equal(X509_cmp(generations[0].leaf, pki->leaf), 0);
    assert_int_equal(sk_X509_num(generations[0].others), 1);
    assert_false(generations[0].exportable); /* nobody can tell */
    assert_null(ecert_generation_key(&generations[0], &err));
    assert_err(&err, ECERT_ERR_NO_KEY);
    assert_int_equal(X509_cmp(generations[1].leaf, pki->new_sub), 0);
    ecert_generations_free(generations, n);
    free(sub);
    free(leaf);
    free(both);
}

static void assert_current(const char *target, int64_t number)
{
    unlink(at(of_site("current")));
    put_link(target, of_site("current"));
    assert_int_equal(current_number(), number);
}

static void test_current(void **state)
{
    (void)state;
    assert_int_equal(current_number(), -1);
    put_generation("1", pki->leaf, pki->leaf_key);
    put_generation("2", pki->leaf, pki->leaf_key);
    assert_int_equal(current_number(), -1);
    assert_current("generations/1", 1);
    assert_current("./generations/2/", 2);
    assert_current("generations/3", -1); /* dangling */
    assert_current("elsewhere", -1);
    folders(of_site("elsewhere"));
    assert_current("elsewhere", -1); /* but nothing in it */
    put_cert(of_site("elsewhere/certificate.pem"), pki->leaf);
    assert_current("elsewhere", 0);
    unlink(at(of_site("current")));
    folders(of_site("current"));
    assert_int_equal(current_number(), -1);
    put_cert(of_site("current/certificate.pem"), pki->leaf);
    assert_int_equal(current_number(), 0);
}

static void test_use(void **state)
{
    (void)state;
    put_generation("1", pki->leaf, pki->leaf_key);
    put_generation("2", pki->leaf, pki->leaf_key);
    assert_int_equal(ecert_generation_use(site_dir, 1, &err), 0);
    assert_int_equal(current_number(), 1);
    assert_int_equal(ecert_generation_use(site_dir, 2, &err), 0);
    assert_int_equal(current_number(), 2);
    assert_current("/nowhere", -1);
    assert_int_equal(ecert_generation_use(site_dir, 1, &err), 0);
    assert_int_equal(current_number(), 1);
    unlink(at(of_site("current")));
    folders(of_site("current"));
    put_cert(of_site("current/certificate.pem"), pki->leaf);
    assert_int_equal(ecert_generation_use(site_dir, 1, &err), -1);
    assert_err(&err, ECERT_ERR_SYSTEM);
    assert_non_null(strstr(err.hint, "is a folder"));
    assert_int_equal(current_number(), 0);
    assert_int_equal(entries(of_site("")), 2);
}

static void test_unsafe(void **state)
{
    ecert_generation_t *generations;
    size_t n;

    (void)state;
    put_generation("1", pki->leaf, pki->leaf_key);
    put_generation("2", pki->leaf, pki->leaf_key);
    chmod(at(of_site("generations/2/certificate.pem")), 0666);
    assert_int_equal(ecert_generations(site_dir, &generations, &n, &err), -1);
    assert_err(&err, ECERT_ERR_UNSAFE);
    assert_non_null(strstr(err.file, "generations/2/certificate.pem"));
    chmod(at(of_site("generations/2/certificate.pem")), 0644);
    n = list(&generations);
    assert_int_equal(n, 2);
    ecert_generations_free(generations, n);
    chmod(at(of_site("generations")), 0777);
    assert_int_equal(ecert_generations(site_dir, &generations, &n, &err), -1);
    assert_err(&err, ECERT_ERR_UNSAFE);
    assert_null(generations);
    assert_int_equal(n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_STORE(test_stage), IN_STORE(test_alone),  IN_STORE(test_stage_fails),
        IN_STORE(test_order), IN_STORE(test_bundle), IN_STORE(test_current),
        IN_STORE(test_use),   IN_STORE(test_unsafe),
    };

    return cmocka_run_group_tests(tests, store_group_setup,
                                  store_group_teardown);
}
