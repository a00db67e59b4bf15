/* Requests that wait for their certificates. */

#include "store_make.h"

#include "ecert_csr.h"
#include "ecert_json.h"
#include "ecert_request.h"
#include "ecert_store.h"

static EVP_PKEY *keys[2];
static X509_REQ *csrs[2];

static int group_setup(void **state)
{
    static const char *const kinds[] = {"P-256", "RSA-2048"};
    ecert_subject_t subject = {.country = "HK", .common_name = STORE_ASCII};

    (void)state;
    for (int i = 0; i < 2; i++) {
        keys[i] = pki_key(kinds[i]);
        csrs[i] = ecert_csr_make(keys[i], &subject, NULL, 0, &err);
        if (csrs[i] == NULL) {
            return -1;
        }
    }
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        EVP_PKEY_free(keys[i]);
        X509_REQ_free(csrs[i]);
    }
    return 0;
}

static uint64_t add(int i, json_t *json)
{
    uint64_t number;

    assert_int_equal(ecert_request_add(site_dir, keys[i], csrs[i], json,
                                       STORE_NOW, &number, &err),
                     0);
    json_decref(json);
    return number;
}

static size_t list(ecert_request_t **requests)
{
    size_t n;

    assert_int_equal(ecert_requests(site_dir, STORE_ASCII, requests, &n, &err),
                     0);
    return n;
}

static void put_csr(const char *name, X509_REQ *csr)
{
    char *pem = ecert_csr_pem(csr, &err);

    put(name, pem);
    OPENSSL_free(pem);
}

static void assert_names(const ecert_request_t *request, const char *expected)
{
    char names[400] = "";
    size_t used = 0;

    for (size_t i = 0; i < request->n_names; i++) {
        used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s",
                                 i ? " " : "", request->names[i]);
    }
    assert_string_equal(names, expected);
}

static void test_add(void **state)
{
    ecert_request_t *requests;
    EVP_PKEY *key;
    X509_REQ *csr;
    char id[65];

    (void)state;
    umask(0);
    assert_int_equal(list(&requests), 0);
    ecert_requests_free(requests, 0);
    assert_int_equal(
        add(0, json_pack("{s:[s,s,s,s],s:s}", "names", "WWW.example.hk", "b.hk",
                         "B.hk", "no name", "mine", "kept")),
        1);
    assert_int_equal(add(1, json_pack("{s:b}", "export", 0)), 2);
    assert_int_equal(list(&requests), 2);
    assert_int_equal(requests[0].number, 1);
    assert_string_equal(requests[0].dir, at(of_site("pending/1")));
    assert_names(&requests[0], STORE_ASCII " b.hk");
    assert_int_equal(ecert_key_id(keys[0], id, &err), 0);
    assert_string_equal(requests[0].key_id, id);
    assert_string_equal(ecert_json_text(requests[0].json, "key_sha256"), id);
    assert_string_equal(ecert_json_text(requests[0].json, "mine"), "kept");
    assert_string_equal(requests[0].key_name, "EC P-256");
    assert_int_equal(requests[0].created, STORE_NOW);
    assert_int_equal(requests[0].printed, 0);
    assert_true(requests[0].has_csr);
    assert_true(requests[0].exportable);
    assert_false(requests[1].exportable);
    assert_string_equal(requests[1].key_name, "RSA-2048");
    key = ecert_request_key(&requests[1], &err);
    csr = ecert_request_csr(&requests[1], &err);
    assert_int_equal(EVP_PKEY_eq(key, keys[1]), 1);
    assert_int_equal(X509_REQ_verify(csr, key), 1);
    EVP_PKEY_free(key);
    X509_REQ_free(csr);
    ecert_requests_free(requests, 2);
    assert_int_equal(mode_of(of_site("pending")), 0700);
    assert_int_equal(mode_of(of_site("pending/1")), 0700);
    assert_int_equal(mode_of(of_site("pending/1/key.pem")), 0600);
    assert_int_equal(mode_of(of_site("pending/1/request.csr")), 0600);
    assert_int_equal(mode_of(of_site("pending/1/request.json")), 0600);
}

static void test_numbers(void **state)
{
    ecert_request_t *requests;

    (void)state;
    folders(of_site("generations/7"));
    folders(of_site("generations/x"));
    folders(of_site("generations/.99"));
    assert_int_equal(add(0, json_object()), 8);
    assert_int_equal(ecert_request_remove(site_dir, 8, &err), 0);
    assert_int_equal(add(0, json_object()), 8); /* nobody has it any more */
    assert_int_equal(add(1, json_object()), 9);
    assert_int_equal(ecert_request_remove(site_dir, 8, &err), 0);
    assert_int_equal(add(0, json_object()), 10); /* the gap stays */
    assert_int_equal(list(&requests), 2);
    assert_int_equal(requests[0].number, 9);
    assert_int_equal(requests[1].number, 10);
    ecert_requests_free(requests, 2);
    assert_int_equal(ecert_request_remove(site_dir, 77, &err), 0);
    assert_int_equal(entries(of_site("pending")), 2);
}

static void test_by_hand(void **state)
{
    ecert_request_t *requests;
    EVP_PKEY *key;

    (void)state;
    put(of_site("site.json"), "{\"names\": [\"example.hk\"]}");
    folders(of_site("pending/3"));
    put_key(of_site("pending/3/key.pem"), keys[0]);
    put_csr(of_site("pending/3/request.csr"), csrs[0]);
    folders(of_site("pending/4"));
    put_key(of_site("pending/4/key.pem"), keys[1]);
    folders(of_site("pending/5"));
    put_csr(of_site("pending/5/request.csr"), csrs[1]);
    folders(of_site("pending/6")); /* empty */
    folders(of_site("pending/07"));
    put(of_site("pending/8"), "a file");
    assert_int_equal(list(&requests), 3);
    assert_int_equal(requests[0].number, 3);
    assert_true(requests[0].has_csr && requests[0].exportable);
    assert_int_equal(requests[0].created, 0);
    assert_names(&requests[0], STORE_ASCII " example.hk");
    assert_true(json_is_object(requests[0].json));
    assert_int_equal(requests[1].number, 4);
    assert_false(requests[1].has_csr);
    assert_string_equal(requests[1].key_name, "RSA-2048");
    assert_null(ecert_request_csr(&requests[1], &err));
    assert_err(&err, ECERT_ERR_MISSING);
    assert_int_equal(requests[2].number, 5);
    key = ecert_request_key(&requests[2], &err);
    assert_null(key);
    assert_err(&err, ECERT_ERR_NO_KEY);
    ecert_requests_free(requests, 3);
    put(of_site("site.json"), "broken");
    assert_int_equal(list(&requests), 3);
    assert_names(&requests[0], STORE_ASCII);
    ecert_requests_free(requests, 3);
}

/* A broken request.json hides no key, and is never written over. */
static void test_broken(void **state)
{
    ecert_request_t *requests;

    (void)state;
    put(of_site("site.json"), "{\"names\": [\"example.hk\"]}");
    add(0, json_object());
    put(of_site("pending/1/request.json"), "{\"export\": false, ");
    add(1, json_pack("{s:s}", "names", "b.hk"));
    assert_int_equal(list(&requests), 2);
    assert_true(requests[0].has_csr);
    assert_false(requests[0].exportable);
    assert_names(&requests[0], STORE_ASCII " example.hk");
    assert_true(requests[1].exportable);
    assert_names(&requests[1], STORE_ASCII " example.hk");
    assert_int_equal(ecert_request_printed(&requests[0], STORE_NOW, &err), -1);
    assert_err(&err, ECERT_ERR_SITE);
    assert_holds(of_site("pending/1/request.json"), "{\"export\": false, ");
    ecert_requests_free(requests, 2);
    put(of_site("pending/1/request.csr"), "rubbish");
    assert_int_equal(list(&requests), 2);
    assert_false(requests[0].has_csr);
    assert_null(ecert_request_csr(&requests[0], &err));
    assert_err(&err, ECERT_ERR_FORMAT);
    ecert_requests_free(requests, 2);
    put(of_site("pending/1/key.pem"), "rubbish");
    assert_int_equal(list(&requests), 1);
    assert_int_equal(requests[0].number, 2);
    ecert_requests_free(requests, 1);
}

static void test_printed(void **state)
{
    ecert_request_t *requests;
    json_t *json;

    (void)state;
    add(0, json_pack("{s:s}", "mine", "kept"));
    assert_int_equal(list(&requests), 1);
    assert_int_equal(ecert_request_printed(&requests[0], STORE_NOW + 5, &err),
                     0);
    assert_int_equal(ecert_request_printed(&requests[0], STORE_NOW + 9, &err),
                     0);
    ecert_requests_free(requests, 1);
    assert_int_equal(list(&requests), 1);
    assert_int_equal(requests[0].printed, STORE_NOW + 5); /* the first time */
    assert_int_equal(requests[0].created, STORE_NOW);
    assert_string_equal(ecert_json_text(requests[0].json, "mine"), "kept");
    unlink(at(of_site("pending/1/request.json"))); /* made by hand */
    assert_int_equal(ecert_request_printed(&requests[0], STORE_NOW, &err), 0);
    json = ecert_json_read(at(of_site("pending/1/request.json")), &err);
    assert_int_equal(ecert_json_date(json, "printed"), STORE_NOW);
    json_decref(json);
    assert_int_equal(ecert_request_remove(site_dir, 1, &err), 0);
    assert_int_equal(ecert_request_printed(&requests[0], STORE_NOW, &err), -1);
    assert_err(&err, ECERT_ERR_MISSING);
    ecert_requests_free(requests, 1);
}

static void test_find(void **state)
{
    ecert_request_t *requests;
    size_t n;

    (void)state;
    assert_null(ecert_request_find(NULL, 0, 0, STORE_ASCII, &err));
    assert_err(&err, ECERT_ERR_NO_REQUEST);
    assert_non_null(strstr(err.hint, "ecert new " STORE_ASCII));
    assert_null(ecert_request_find(NULL, 0, 3, STORE_ASCII, &err));
    assert_err(&err, ECERT_ERR_NO_REQUEST);
    assert_non_null(strstr(err.detail, "3"));
    add(0, json_object());
    add(1, json_object());
    n = list(&requests);
    assert_int_equal(
        ecert_request_find(requests, n, 0, STORE_ASCII, &err)->number, 2);
    assert_int_equal(
        ecert_request_find(requests, n, 1, STORE_ASCII, &err)->number, 1);
    assert_null(ecert_request_find(requests, n, 4, STORE_ASCII, &err));
    assert_err(&err, ECERT_ERR_NO_REQUEST);
    ecert_requests_free(requests, n);
}

static void test_refused(void **state)
{
    ecert_request_t *requests;
    json_t *json = json_object();
    uint64_t number;
    size_t n;

    (void)state;
    assert_int_equal(ecert_request_add(at("none"), keys[0], csrs[0], json,
                                       STORE_NOW, &number, &err),
                     -1);
    assert_err(&err, ECERT_ERR_MISSING);
    assert_int_equal(ecert_request_add(too_long_path(), keys[0], csrs[0], json,
                                       STORE_NOW, &number, &err),
                     -1);
    assert_int_equal(err.sys, ENAMETOOLONG);
    put(of_site("pending"), "a file");
    assert_int_equal(ecert_request_add(site_dir, keys[0], csrs[0], json,
                                       STORE_NOW, &number, &err),
                     -1);
    assert_err(&err, ECERT_ERR_SYSTEM);
    unlink(at(of_site("pending")));
    folders(of_site("pending"));
    chmod(at(of_site("pending")), 0777);
    assert_int_equal(ecert_requests(site_dir, STORE_ASCII, &requests, &n, &err),
                     -1);
    assert_err(&err, ECERT_ERR_UNSAFE);
    assert_null(requests);
    assert_int_equal(ecert_request_add(site_dir, keys[0], csrs[0], json,
                                       STORE_NOW, &number, &err),
                     -1);
    assert_err(&err, ECERT_ERR_UNSAFE);
    assert_int_equal(entries(of_site("pending")), 0);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_STORE(test_add),     IN_STORE(test_numbers), IN_STORE(test_by_hand),
        IN_STORE(test_broken),  IN_STORE(test_printed), IN_STORE(test_find),
        IN_STORE(test_refused),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
