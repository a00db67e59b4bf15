/*
 * C2SP's x509-limbo, the part that is there: each case's verdict is ours, or
 * the case stands in limbo-disagreements.txt, which is of the whole suite, with
 * the reason.
 */

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "ecert_chain.h"
#include "ecert_conf.h"
#include "pki.h"

#ifndef ECERT_SRCDIR
#define ECERT_SRCDIR "."
#endif
#define LISTED 256

static char *listed[LISTED];
static size_t n_listed;

static void read_list(void)
{
    char line[1024];
    FILE *f = fopen(ECERT_SRCDIR "/t/unit/limbo-disagreements.txt", "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        char *reason = strchr(line, '\t');
        if (line[0] == '#' || line[0] == '\n') {
            continue;
        }
        assert_non_null(reason); /* id, tab, reason */
        assert_true(strlen(reason) > 20);
        *reason = '\0';
        assert_true(n_listed < LISTED);
        listed[n_listed++] = strdup(line);
    }
    fclose(f);
}

static int on_list(const char *id)
{
    for (size_t i = 0; i < n_listed; i++) {
        if (strcmp(listed[i], id) == 0) {
            return 1;
        }
    }
    return 0;
}

static json_t *load(void)
{
    char command[PATH_MAX + 64], path[PATH_MAX];
    const char *dir = pki_data();
    if (dir == NULL) {
        return NULL;
    }
    snprintf(path, sizeof(path), "%s/x509-limbo-part.json.gz", dir);
    FILE *there = fopen(path, "rb");
    if (there == NULL) {
        return NULL;
    }
    fclose(there);
    snprintf(command, sizeof(command), "gzip -dc '%s'", path);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    json_t *file = json_loadf(f, 0, NULL);
    assert_int_equal(pclose(f), 0);
    assert_non_null(file);
    return file;
}

static X509 *certificate(const json_t *pem)
{
    BIO *bio = BIO_new_mem_buf(json_string_value(pem), -1);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    ERR_clear_error();
    return cert;
}

/* -1: one of them cannot even be decoded, which is a refusal. */
static int certificates(const json_t *list, STACK_OF(X509) *out)
{
    int rc = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        X509 *cert = certificate(json_array_get(list, i));
        if (cert == NULL) {
            rc = -1;
        } else {
            sk_X509_push(out, cert);
        }
    }
    return rc;
}

static int64_t time_of(const json_t *test)
{
    const char *text =
        json_string_value(json_object_get(test, "validation_time"));
    char iso[32];
    int64_t at = 0;
    ecert_err_t err;
    if (text == NULL) {
        return 1780000000; /* not said: any time after the suite was made */
    }
    snprintf(iso, sizeof(iso), "%.19sZ", text);
    assert_int_equal(ecert_date_parse(iso, &at, &err), 0);
    return at;
}

static int verdict(const json_t *test, ecert_err_t *err)
{
    STACK_OF(X509) *roots = sk_X509_new_null(), *pool = sk_X509_new_null();
    X509 *leaf = certificate(json_object_get(test, "peer_certificate"));
    json_t *name = json_object_get(test, "expected_peer_name");
    int rc = -1;

    ecert_err(err, ECERT_ERR_FORMAT, NULL, "a certificate cannot be decoded");
    certificates(json_object_get(test, "trusted_certs"), roots);
    certificates(json_object_get(test, "untrusted_intermediates"), pool);
    if (leaf != NULL) {
        rc = ecert_chain_verify(
            leaf, pool, roots,
            json_string_value(json_object_get(name, "value")), time_of(test),
            err);
    }
    X509_free(leaf);
    pki_stack_free(roots);
    pki_stack_free(pool);
    assert_int_equal(ERR_peek_error(), 0);
    return rc;
}

static void all_cases(void **state)
{
    (void)state;
    json_t *file = load();
    if (file == NULL) {
        print_message("# the folder of test data is absent\n");
        skip();
    }
    read_list();
    json_t *tests = json_object_get(file, "testcases"), *test;
    size_t bad = 0, agreed = 0, i;
    json_array_foreach(tests, i, test)
    {
        const char *id = json_string_value(json_object_get(test, "id"));
        const char *expected =
            json_string_value(json_object_get(test, "expected_result"));
        ecert_err_t err;
        int rc = verdict(test, &err);
        int agrees = (rc == 0) == (strcmp(expected, "SUCCESS") == 0);
        agreed += (size_t)agrees;
        if (agrees == !on_list(id)) {
            continue;
        }
        bad++;
        print_message("# %s: expected %s, got %s: %s\n", id, expected,
                      rc == 0 ? "accepted" : err.detail,
                      agrees ? "take it off the list" : "not on the list");
    }
    for (i = 0; i < n_listed; i++) {
        free(listed[i]);
    }
    print_message("# %zu of %zu agree, %zu listed\n", agreed,
                  json_array_size(tests), n_listed);
    json_decref(file);
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
