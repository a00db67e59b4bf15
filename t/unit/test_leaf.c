/* Files to a leaf: in whatever order they are, and is it one for a server. */

#include "scratch.h"

#include <openssl/err.h>

#include "ecert_bundle.h"
#include "ecert_leaf.h"
#include "pki.h"

#define NOW ((int64_t)1795392000)

static pki_t *pki;
static ecert_err_t err;
static int complaints;

static int group_setup(void **state)
{
    (void)state;
    pki = pki_new(NOW);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    pki_free(pki);
    return 0;
}

static void complain(void *ctx, const ecert_err_t *what)
{
    (void)ctx;
    err = *what;
    complaints++;
}

static void put_pems(const char *name, X509 *a, X509 *b, X509 *c)
{
    X509 *list[] = {a, b, c};
    char *text = calloc(1, 40000);

    for (int i = 0; i < 3; i++) {
        char *pem = list[i] ? pki_pem(list[i]) : NULL;

        if (pem != NULL) {
            strcat(text, pem);
        }
        free(pem);
    }
    put(name, text);
    free(text);
}

/* Files as most tests need them: cert.pem, key.pem, issuers. */
static ecert_bundle_files_t files_of(const char *const *issuers, size_t n)
{
    static char paths[4][PATH_MAX];

    strcpy(paths[0], at("cert.pem"));
    strcpy(paths[1], at("key.pem"));
    strcpy(paths[2], at("chain.pem"));
    strcpy(paths[3], at("issuers"));
    return (ecert_bundle_files_t){paths[0], paths[1], paths[2], paths[3],
                                  issuers,  n,        0};
}

static void put_key(EVP_PKEY *key)
{
    char *pem = pki_pem_key(key);

    put("key.pem", pem);
    free(pem);
}

static int in(const STACK_OF(X509) *list, const X509 *cert)
{
    int n = 0;

    for (int i = 0; i < sk_X509_num(list); i++) {
        n += X509_cmp(sk_X509_value(list, i), cert) == 0;
    }
    return n;
}

static void test_order(void **state)
{
    X509 *orders[][3] = {
        {pki->leaf, pki->new_sub, pki->cross},
        {pki->cross, pki->new_sub, pki->leaf},
        {pki->new_sub, pki->leaf, pki->cross},
        {pki->leaf, pki->leaf, pki->new_sub},
    };
    ecert_shelf_t *shelf = ecert_shelf_new();
    ecert_bundle_files_t files = files_of(NULL, 0);
    ecert_bundle_t bundle;
    X509 *leaf;

    (void)state;
    put_key(pki->leaf_key);
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        put_pems("cert.pem", orders[i][0], orders[i][1], orders[i][2]);
        complaints = 0;
        assert_int_equal(ecert_bundle_read(&files, shelf, NULL, complain, NULL,
                                           &bundle, &err),
                         0);
        assert_int_equal(complaints, 0); /* chain and issuers may be missing */
        leaf = ecert_leaf_take(&bundle, files.certificate, files.key, &err);
        assert_non_null(leaf);
        assert_int_equal(X509_cmp(leaf, pki->leaf), 0);
        assert_int_equal(in(bundle.pool, pki->new_sub), 1);
        assert_int_equal(sk_X509_num(bundle.pool), 2);
        assert_int_equal(sk_X509_num(bundle.certificates), 0);
        X509_free(leaf);
        ecert_bundle_free(&bundle);
    }
    put_pems("cert.pem", pki->new_sub, pki->cross, NULL);
    assert_int_equal(
        ecert_bundle_read(&files, shelf, NULL, complain, NULL, &bundle, &err),
        0);
    assert_null(ecert_leaf_take(&bundle, files.certificate, files.key, &err));
    assert_int_equal(err.code, ECERT_ERR_MISMATCH);
    assert_int_equal(sk_X509_num(bundle.pool), 2);
    assert_int_equal(ERR_peek_error(), 0);
    ecert_bundle_free(&bundle);
    ecert_shelf_free(shelf);
    ecert_shelf_free(NULL);
}

static void test_pool(void **state)
{
    static char more[2][PATH_MAX];
    const char *issuers[] = {more[0], more[1]};
    ecert_shelf_t *shelf = ecert_shelf_new();
    ecert_bundle_files_t files = files_of(issuers, 2);
    ecert_bundle_t bundle;
    ecert_trail_t trail;

    (void)state;
    strcpy(more[0], at("folder"));
    strcpy(more[1], at("one.pem"));
    put_key(pki->leaf_key);
    put_pems("cert.pem", pki->leaf, NULL, NULL);
    put_pems("chain.pem", pki->new_sub, NULL, NULL);
    folders("issuers");
    put_pems("issuers/a.crt", pki->old_sub, NULL, NULL);
    put("issuers/b", "rubbish");
    folders("folder");
    put_pems("folder/x", pki->cross, pki->root, NULL);
    complaints = 0;
    ecert_trail_init(&trail);
    assert_int_equal(
        ecert_bundle_read(&files, shelf, &trail, complain, NULL, &bundle, &err),
        0);
    assert_int_equal(complaints, 2); /* the rubbish, and one.pem is missing */
    assert_int_equal(in(bundle.pool, pki->new_sub), 1);
    assert_int_equal(in(bundle.pool, pki->old_sub), 1);
    assert_int_equal(in(bundle.pool, pki->cross), 1);
    assert_int_equal(sk_X509_num(bundle.pool), 4);
    ecert_bundle_free(&bundle);
    ecert_trail_free(&trail);
    ecert_shelf_free(shelf);
}

/* The shelf must not outlive what it was parsed from, however quickly the file
 * is written again with the same size. */
static void test_shelf(void **state)
{
    ecert_shelf_t *shelf = ecert_shelf_new();
    ecert_bundle_files_t files = files_of(NULL, 0);
    X509 *twins[2] = {pki->new_sub, NULL};
    ecert_bundle_t bundle;
    char *pems[2];

    (void)state;
    for (int i = 0; i < 1000 && twins[1] == NULL; i++) {
        pki_spec_t spec = {.cn = "Look-alike SSL CA 3 - 17",
                           .key = pki->sub_key,
                           .issuer = pki->root,
                           .issuer_key = pki->root_key,
                           .ca = 1,
                           .server_auth = 1,
                           .not_before = NOW - PKI_DAY,
                           .not_after = NOW + PKI_YEAR};
        X509 *twin = pki_issue(&spec);

        if (i2d_X509(twin, NULL) == i2d_X509(twins[0], NULL)) {
            twins[1] = twin;
        } else {
            X509_free(twin);
        }
    }
    assert_non_null(twins[1]);
    pems[0] = pki_pem(twins[0]);
    pems[1] = pki_pem(twins[1]);
    put_key(pki->leaf_key);
    put_pems("cert.pem", pki->leaf, NULL, NULL);
    for (int i = 0; i < 200; i++) {
        put("chain.pem", pems[i % 2]); /* in place: the same inode */
        assert_int_equal(ecert_bundle_read(&files, shelf, NULL, complain, NULL,
                                           &bundle, &err),
                         0);
        assert_int_equal(in(bundle.pool, twins[i % 2]), 1);
        ecert_bundle_free(&bundle);
    }
    free(pems[0]);
    free(pems[1]);
    X509_free(twins[1]);
    ecert_shelf_free(shelf);
}

static void test_look_like_read(void **state)
{
    ecert_shelf_t *shelf = ecert_shelf_new();
    ecert_bundle_files_t files = files_of(NULL, 0);
    ecert_bundle_t bundle;
    ecert_trail_t read, look;
    int same = 0;

    (void)state;
    folders("issuers");
    put_key(pki->leaf_key);
    put_pems("cert.pem", pki->leaf, NULL, NULL);
    put_pems("issuers/a", pki->new_sub, NULL, NULL);
    for (int i = 0; i < 50 && !same; i++) { /* until the files are old enough */
        ecert_trail_init(&read);
        ecert_trail_init(&look);
        assert_int_equal(ecert_bundle_read(&files, shelf, &read, complain, NULL,
                                           &bundle, &err),
                         0);
        ecert_bundle_look(&files, &look);
        ecert_bundle_free(&bundle);
        same = read.digest == look.digest;
        ecert_trail_free(&read);
        ecert_trail_free(&look);
        usleep(same ? 0 : 20000);
    }
    assert_true(same);
    ecert_shelf_free(shelf);
}

static void assert_leaf(pki_spec_t spec, ecert_code_t code)
{
    X509 *leaf;

    spec.cn = "leaf";
    spec.key = pki->leaf_key;
    if (spec.issuer == NULL && spec.issuer_key == NULL) {
        spec.issuer = pki->new_sub;
        spec.issuer_key = pki->sub_key;
    }
    if (spec.issuer_key == pki->leaf_key) {
        spec.issuer_key = NULL; /* self-signed */
    }
    spec.not_before = NOW;
    spec.not_after = NOW + PKI_DAY;
    leaf = pki_issue(&spec);
    ecert_err_clear(&err);
    assert_int_equal(ecert_leaf_check(leaf, "/f", &err), code ? -1 : 0);
    assert_string_equal(ecert_err_word(err.code), ecert_err_word(code));
    assert_int_equal(ERR_peek_error(), 0);
    X509_free(leaf);
}

static void test_check(void **state)
{
    EVP_PKEY *self = pki->leaf_key;

    (void)state;
    assert_leaf((pki_spec_t){.server_auth = 1}, ECERT_OK);
    assert_leaf((pki_spec_t){.names = "DNS:a.hk"}, ECERT_OK); /* no EKU */
    assert_leaf((pki_spec_t){.eku = "clientAuth,serverAuth"}, ECERT_OK);
    assert_leaf((pki_spec_t){.eku = "clientAuth"}, ECERT_ERR_PURPOSE);
    assert_leaf((pki_spec_t){.eku = "emailProtection"}, ECERT_ERR_PURPOSE);
    assert_leaf((pki_spec_t){.eku = "codeSigning"}, ECERT_ERR_PURPOSE);
    assert_leaf((pki_spec_t){.eku = "nsSGC"}, ECERT_ERR_PURPOSE);
    assert_leaf((pki_spec_t){.eku = "msSGC,clientAuth"}, ECERT_ERR_PURPOSE);
    assert_leaf((pki_spec_t){.eku = "msSGC,serverAuth"}, ECERT_OK);
    assert_leaf((pki_spec_t){.ca = 1}, ECERT_ERR_PURPOSE);
    assert_leaf((pki_spec_t){.ca = 1, .key_usage = "digitalSignature"},
                ECERT_ERR_PURPOSE);
    assert_leaf((pki_spec_t){.ca = 1, .key_usage = ""}, ECERT_ERR_PURPOSE);
    assert_leaf((pki_spec_t){.server_auth = 1, .key_usage = ""}, ECERT_OK);
    assert_leaf((pki_spec_t){.server_auth = 1,
                             .key_usage = "digitalSignature,keyEncipherment"},
                ECERT_OK);
    assert_leaf(
        (pki_spec_t){.server_auth = 1, .key_usage = "critical,keyEncipherment"},
        ECERT_ERR_PURPOSE);
    assert_non_null(strstr(err.detail, "has no digitalSignature"));
    assert_leaf((pki_spec_t){.server_auth = 1, .key_usage = "keyAgreement"},
                ECERT_ERR_PURPOSE);
    assert_leaf((pki_spec_t){.server_auth = 1, .md = EVP_sha1()},
                ECERT_ERR_SIGNATURE);
    assert_leaf((pki_spec_t){.server_auth = 1, .md = EVP_sha384()}, ECERT_OK);
    assert_leaf((pki_spec_t){.server_auth = 1, .issuer_key = self}, ECERT_OK);
}

int main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_order),
        TEST(test_pool),
        TEST(test_shelf),
        TEST(test_look_like_read),
        cmocka_unit_test(test_check),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
