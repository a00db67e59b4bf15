/*
 * Netflix's BetterTLS, path building: 81 pools in which a client must find the
 * one good path, or must find none.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/err.h>

#include "ecert_chain.h"
#include "pki.h"

static X509 *certificate(const json_t *text)
{
    size_t len = strlen(json_string_value(text));
    unsigned char *der = malloc(len);
    int n = EVP_DecodeBlock(der, (const unsigned char *)json_string_value(text),
                            (int)len);
    const unsigned char *p = der;
    X509 *cert = n > 0 ? d2i_X509(NULL, &p, n) : NULL;
    assert_non_null(cert);
    free(der);
    return cert;
}

static int verdict(const json_t *test, STACK_OF(X509) *roots, int64_t at,
                   ecert_err_t *err)
{
    json_t *list = json_object_get(test, "certificates");
    STACK_OF(X509) *pool = sk_X509_new_null();
    X509 *leaf = certificate(json_array_get(list, 0));
    for (size_t i = 1; i < json_array_size(list); i++) {
        sk_X509_push(pool, certificate(json_array_get(list, i)));
    }
    int rc = ecert_chain_verify(
        leaf, pool, roots, json_string_value(json_object_get(test, "hostname")),
        at, err);
    X509_free(leaf);
    pki_stack_free(pool);
    assert_int_equal(ERR_peek_error(), 0);
    return rc;
}

static void all_cases(void **state)
{
    (void)state;
    json_t *file = NULL;
    size_t len = 0;
    char *bytes = pki_data_file("bettertls-pathbuilding-81.json", &len);
    if (bytes == NULL) {
        print_message("# the folder of test data is absent\n");
        skip();
    }
    file = json_loadb(bytes, len, 0, NULL);
    assert_non_null(file);

    X509 *root = certificate(json_object_get(file, "trustRoot"));
    STACK_OF(X509) *roots = pki_stack(root, NULL);
    json_t *tests =
        json_object_get(json_object_get(file, "suite"), "testCases");
    int64_t at = 0;
    size_t good = 0, i;
    json_t *test;
    json_array_foreach(tests, i, test)
    {
        /* The files live for one year: take the day after they were made. */
        if (at == 0) {
            json_t *list = json_object_get(test, "certificates");
            X509 *leaf = certificate(json_array_get(list, 0));
            at = ecert_x509_not_before(leaf) + PKI_DAY;
            X509_free(leaf);
        }
        const char *expected =
            json_string_value(json_object_get(test, "expected"));
        ecert_err_t err;
        int rc = verdict(test, roots, at, &err);
        if ((rc == 0) == (strcmp(expected, "ACCEPT") == 0)) {
            good++;
        } else {
            print_message("# case %d: expected %s, got %s\n",
                          (int)json_integer_value(json_object_get(test, "id")),
                          expected, rc == 0 ? "accepted" : err.detail);
        }
    }
    print_message("# %zu of %zu\n", good, json_array_size(tests));
    assert_int_equal(json_array_size(tests), 81);
    assert_int_equal(good, 81);

    pki_stack_free(roots);
    X509_free(root);
    json_decref(file);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
