/*
 * The CA's real certificates.  No key of theirs is ours, so no leaf can be
 * made: the issuers' part (ecert_chain_assemble, unsigned leaf) is given a leaf
 * that only names the Sub CA, and then each path above it is verified whole.
 */

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "ecert_chain_work.h"
#include "ecert_conf.h"
#include "ecert_pem.h"
#include "pki.h"

static ecert_ca_t *ca;
static STACK_OF(X509) *pool;
static X509 *sub_new, *sub_old, *ev_new, *ev_old, *cross, *root, *gs_root;
static X509 *root_1, *root_2, *dead[3], *cross_2029;

static X509 *load(const char *name)
{
    char path[PATH_MAX];
    size_t len = 0;
    ecert_err_t err;
    snprintf(path, sizeof(path), "pki/%s", name);
    char *bytes = pki_data_file(path, &len);
    assert_non_null(bytes);
    assert_int_equal(
        ecert_pem_certificates((unsigned char *)bytes, len, name, pool, &err),
        0);
    free(bytes);
    return sk_X509_value(pool, sk_X509_num(pool) - 1);
}

static int setup(void **state)
{
    ecert_err_t err;
    (void)state;
    if (pki_data() == NULL) {
        return 0;
    }
    ca = ecert_ca_builtin(&err);
    assert_non_null(ca);
    pool = sk_X509_new_null();
    dead[0] = load("root_ca_3_x_root_ca_1_20170603_EXPIRED.pem");
    dead[1] = load("root_ca_3_x_root_ca_1_20170812_EXPIRED.pem");
    dead[2] = load("root_ca_3_x_root_ca_1_20220727_to2023_EXPIRED.pem");
    cross_2029 = load("root_ca_3_x_root_ca_1_20220727_to2029.pem");
    ev_old = load("ecert_ev_ssl_ca_3-17_OLD_2017_noeku.pem");
    sub_old = load("ecert_ssl_ca_3-17_OLD_2017_noeku.pem");
    root_1 = load("Hongkong_Post_Root_CA_1.pem");
    root_2 = load("Hongkong_Post_Root_CA_2.pem");
    root = load("Hongkong_Post_Root_CA_3.pem");
    gs_root = load("GlobalSign_Root_CA_-_R3.pem");
    load("ecert_ca_1-14_EXPIRED.pem");
    load("ecert_ca_1-15_EXPIRED.pem");
    cross = load("root_ca_3_x_gsca_r3_2022.pem");
    ev_new = load("ecert_ev_ssl_ca_3-17_NEW_2025_eku.pem");
    sub_new = load("ecert_ssl_ca_3-17_NEW_2025_eku.pem");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ecert_ca_free(ca);
    sk_X509_pop_free(pool, X509_free);
    return 0;
}

/* A leaf in the name of this Sub CA, around that time, with a key of its own.
 */
static X509 *name_leaf(X509 *issuer, int64_t at)
{
    EVP_PKEY *key = pki_key("P-256");
    pki_spec_t spec = {.cn = "www.example.hk",
                       .key = key,
                       .issuer = issuer,
                       .issuer_key = key,
                       .not_before = at - 90 * PKI_DAY,
                       .not_after = at + 10 * PKI_DAY,
                       .server_auth = 1,
                       .names = "DNS:www.example.hk"};
    X509 *leaf = pki_issue(&spec);
    EVP_PKEY_free(key);
    return leaf;
}

static ecert_why_t why(const ecert_chain_t *chain, X509 *cert)
{
    for (size_t i = 0; i < chain->n_considered; i++) {
        if (chain->considered[i].cert == cert) {
            return chain->considered[i].why;
        }
    }
    fail();
    return ECERT_WHY_LAST;
}

static void same(X509 *a, X509 *b)
{
    assert_int_equal(X509_cmp(a, b), 0);
}

/* The served elements, as a client that trusts this root alone meets them. */
static int client(const ecert_chain_t *chain, X509 *trusted, int64_t at)
{
    /* The leaf is left out, so something stands in its place. */
    ecert_path_t path = {.certs = {root_2}, .n = 1, .root = trusted};
    ecert_err_t err;
    for (int i = 0; i < sk_X509_num(chain->served); i++) {
        path.certs[path.n++] = sk_X509_value(chain->served, i);
    }
    while (path.n > 1
           && X509_NAME_cmp(X509_get_issuer_name(path.certs[path.n - 1]),
                            X509_get_subject_name(trusted))) {
        path.n--;
    }
    assert_true(path.n > 1);
    return ecert_path_verify(&path, ECERT_PATH_UNSIGNED_LEAF, at, &err);
}

static void at_date(const char *date, int with_pool_roots, int cross_served)
{
    int64_t at;
    ecert_err_t err;
    X509 *subs[2][3] = {{sub_new, sub_old, ev_new}, {ev_new, ev_old, sub_new}};

    assert_int_equal(ecert_date_parse(date, &at, &err), 0);
    STACK_OF(X509) *given = sk_X509_dup(pool);
    if (!with_pool_roots) {
        sk_X509_delete_ptr(given, root);
        sk_X509_delete_ptr(given, gs_root);
    }
    for (int i = 0; i < 2; i++) {
        X509 *leaf = name_leaf(subs[i][0], at);
        ecert_chain_in_t in = {.leaf = leaf,
                               .pool = given,
                               .ca = ca,
                               .cross = {ECERT_CROSS_AUTO, 0},
                               .now = at};
        ecert_chain_t *chain = ecert_chain_assemble(&in, 1, &err);
        assert_non_null(chain);
        assert_int_equal(ERR_peek_error(), 0);
        assert_int_equal(chain->complete, 1);
        assert_int_equal(sk_X509_num(chain->served), 1 + cross_served);
        same(sk_X509_value(chain->served, 0), subs[i][0]);
        assert_int_equal(why(chain, subs[i][0]), ECERT_WHY_TAKEN);
        assert_int_equal(why(chain, subs[i][1]), ECERT_WHY_DENIED);
        assert_int_equal(why(chain, subs[i][2]), ECERT_WHY_UNRELATED);
        assert_int_equal(client(chain, root, at), 0);
        if (cross_served) {
            same(sk_X509_value(chain->served, 1), cross);
            assert_int_equal(client(chain, gs_root, at), 0);
        }
        for (int d = 0; d < 3; d++) {
            assert_int_equal(why(chain, dead[d]), ECERT_WHY_EXPIRED);
        }
        assert_int_equal(why(chain, cross_2029), ECERT_WHY_DENIED);
        assert_int_equal(why(chain, root_1), ECERT_WHY_UNRELATED);
        assert_int_equal(why(chain, root_2), ECERT_WHY_UNRELATED);
        if (with_pool_roots) {
            assert_int_equal(why(chain, root), ECERT_WHY_ROOT);
        }
        if (!cross_served) {
            assert_int_equal(why(chain, cross), at > 1868486400 /* 2029-03-18 */
                                                    ? ECERT_WHY_EXPIRED
                                                    : ECERT_WHY_CROSS_PAST);
        }
        ecert_chain_free(chain);
        X509_free(leaf);
    }
    sk_X509_free(given);
}

static void all_dates(void **state)
{
    (void)state;
    if (pki_data() == NULL) {
        print_message("# the folder of test data is absent\n");
        skip();
    }
    for (int roots = 0; roots < 2; roots++) {
        at_date("2026-11-22", roots, 1);
        at_date("2027-04-15T23:59:59Z", roots, 1);
        at_date("2027-04-16", roots, 0);
        at_date("2029-03-19", roots, 0);
    }
}

/* The switch of the cross-certificate is announced as the next change. */
static void the_switch(void **state)
{
    int64_t at, next;
    ecert_err_t err;
    (void)state;
    if (pki_data() == NULL) {
        print_message("# the folder of test data is absent\n");
        skip();
    }
    ecert_date_parse("2027-04-10", &at, &err);
    ecert_date_parse("2027-04-16", &next, &err);
    X509 *leaf = name_leaf(sub_new, at);
    ecert_chain_in_t in = {.leaf = leaf,
                           .pool = pool,
                           .ca = ca,
                           .cross = {ECERT_CROSS_AUTO, 0},
                           .now = at};
    ecert_chain_t *chain = ecert_chain_assemble(&in, 1, &err);
    assert_int_equal(chain->next_change, next);
    ecert_chain_free(chain);

    /* Really signed by nobody: then nothing of it may be served. */
    chain = ecert_chain_build(&in, &err);
    assert_int_equal(sk_X509_num(chain->served), 0);
    assert_int_equal(chain->complete, 0);
    assert_int_equal(why(chain, sub_new), ECERT_WHY_SIGNATURE);
    ecert_chain_free(chain);
    X509_free(leaf);
}

/* The built-in catalogue's fingerprints are those of the real files. */
static void fingerprints(void **state)
{
    (void)state;
    if (pki_data() == NULL) {
        print_message("# the folder of test data is absent\n");
        skip();
    }
    const struct {
        X509 *cert;
        const char *id;
        int denied;
    } rows[] = {
        {root, "root-ca-3", 0},
        {gs_root, "gsca-r3", 0},
        {cross, "root-ca-3-x-gsca-r3", 0},
        {sub_new, "ssl-ca-3-17-2025", 0},
        {sub_old, "ssl-ca-3-17-2017", 1},
        {ev_new, "ev-ssl-ca-3-17-2025", 0},
        {ev_old, "ev-ssl-ca-3-17-2017", 1},
        {cross_2029, "root-ca-3-x-root-ca-1-2029", 1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const ecert_ca_entry_t *entry = ecert_ca_find(ca, rows[i].cert);
        assert_non_null(entry);
        assert_string_equal(entry->id, rows[i].id);
        assert_int_equal(entry->denied, rows[i].denied);
    }
    assert_int_equal(ecert_ca_count(ca), 8);
    assert_int_equal(ecert_ca_root_name(ca, X509_get_subject_name(gs_root)), 1);
    assert_int_equal(ecert_ca_root_name(ca, X509_get_subject_name(root_1)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_dates),
        cmocka_unit_test(the_switch),
        cmocka_unit_test(fingerprints),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
