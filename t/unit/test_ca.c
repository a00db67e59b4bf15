/* The catalogue: the built-in one, and files that are wrong. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "ecert_ca.h"
#include "pki.h"

#define HEAD  "{\"schema\": \"ecert-ca\", \"version\": 1, \"entries\": ["
#define HEX32 "00112233445566778899aabbccddeeff"
#define SHA   "\"sha256\": \"" HEX32 HEX32 "\""
#define OTHER "\"sha256\": \"ff" HEX32 "112233445566778899aabbccddeeff\""
#define ROOT  "{\"id\": \"r\", \"role\": \"root\", \"name\": \"R\", " SHA

static void builtin(void **state)
{
    ecert_err_t err;
    (void)state;
    ecert_ca_t *ca = ecert_ca_builtin(&err);
    assert_non_null(ca);
    const ecert_ca_entry_t *cross = ecert_ca_find_id(ca, "root-ca-3-x-gsca-r3");
    assert_non_null(cross);
    assert_int_equal(cross->role, ECERT_CA_CROSS);
    assert_string_equal(cross->issuer, "gsca-r3");
    assert_true(cross->useful_until == 1807833600); /* 2027-04-16 00:00 UTC */
    assert_non_null(strstr(cross->url, "root_ca_3_x_gsca_r3_pem.crt"));
    assert_string_equal(ecert_ca_entry(ca, 0)->id, "root-ca-3");
    assert_int_equal(ecert_ca_entry(ca, 0)->role, ECERT_CA_ROOT);
    assert_int_equal(ecert_ca_find_id(ca, "ssl-ca-3-17-2017")->denied, 1);
    assert_non_null(ecert_ca_find_id(ca, "ssl-ca-3-17-2017")->reason);
    assert_null(ecert_ca_find_id(ca, "nobody"));
    assert_null(ecert_ca_entry(ca, ecert_ca_count(ca)));
    for (size_t i = 0; i < ecert_ca_count(ca); i++) {
        const ecert_ca_entry_t *entry = ecert_ca_entry(ca, i);
        assert_true(entry->role != ECERT_CA_SUB || entry->denied || entry->url);
    }
    ecert_ca_free(ca);
    ecert_ca_free(NULL);
    assert_int_equal(ecert_ca_count(NULL), 0);
}

static void look_alike(void **state)
{
    ecert_err_t err;
    (void)state;
    pki_t *pki = pki_new(1795392000);
    char *json = pki_catalogue(pki, NULL);
    ecert_ca_t *ca = ecert_ca_parse(json, strlen(json), "f", &err);
    assert_non_null(ca);
    assert_string_equal(ecert_ca_find(ca, pki->cross)->id, "cross");
    assert_true(ecert_ca_find(ca, pki->cross)->useful_until == 0);
    assert_int_equal(ecert_ca_find(ca, pki->old_sub)->denied, 1);
    assert_null(ecert_ca_find(ca, pki->leaf));
    assert_null(ecert_ca_find(NULL, pki->root));
    assert_int_equal(ecert_ca_root_name(ca, X509_get_subject_name(pki->cross)),
                     1);
    assert_int_equal(
        ecert_ca_root_name(ca, X509_get_subject_name(pki->new_sub)), 0);
    ecert_ca_free(ca);
    /* Every prefix of it is refused, with an error and nothing else. */
    for (size_t cut = 0; cut + 2 < strlen(json); cut++) {
        assert_null(ecert_ca_parse(json, cut, "f", &err));
        assert_int_equal(err.code, ECERT_ERR_CATALOGUE);
    }
    free(json);
    pki_free(pki);
}

static void wrong_files(void **state)
{
    static const struct {
        const char *json, *detail;
    } rows[] = {
        {"", "line"},
        {"[]", "schema"},
        {"{\"schema\": 1}", "schema: expected \"ecert-ca\""},
        {"{\"schema\": \"ecert-ca\", \"version\": 2}", "version"},
        {"{\"schema\": \"ecert-ca\", \"version\": \"1\"}", "version"},
        {"{\"schema\": \"ecert-ca\", \"version\": 1}", "entries"},
        {HEAD "]}", "entries: expected an array of 1 to"},
        {"{\"schema\": \"ecert-ca\", \"version\": 1, \"keys\": 1}", "keys"},
        {HEAD "1]}", "entries[0]: expected an object"},
        {HEAD "{\"id\": 1}]}", "entries[0].id: expected a string"},
        {HEAD "{\"id\": \"a\", \"role\": \"king\"}]}", "entries[0].role"},
        {HEAD "{\"id\": \"a\", \"role\": \"sub\"}]}", "entries[0].name"},
        {HEAD "{\"id\": \"a\", \"role\": \"sub\", \"name\": \"S\", "
              "\"sha256\": \"12\"}]}",
         "entries[0].sha256: expected 64"},
        {HEAD "{\"id\": \"a\", \"role\": \"sub\", \"name\": \"S\", "
              "\"sha256\": \"" HEX32 "0011223344556677889 aabbccddeeff\"}]}",
         "entries[0].sha256: expected 64"},
        {HEAD ROOT ", \"status\": \"gone\"}]}", "entries[0].status"},
        {HEAD ROOT ", \"status\": 1}]}", "entries[0].status"},
        {HEAD ROOT ", \"useful_until\": \"2027-02-30\"}]}",
         "entries[0].useful_until: expected a date"},
        {HEAD ROOT ", \"useful_until\": 5}]}", "entries[0].useful_until"},
        {HEAD ROOT ", \"reason\": []}]}", "entries[0].reason"},
        {HEAD ROOT ", \"url\": {}}]}", "entries[0].url"},
        {HEAD ROOT ", \"issuer\": \"x\"}]}", "entries[0].issuer"},
        {HEAD ROOT "}," ROOT "}]}", "entries[1].id"},
        {HEAD ROOT
         "}, {\"id\": \"b\", \"role\": \"root\", \"name\": \"R\", " SHA "}]}",
         "entries[1].sha256"},
        {"{\"schema\": \"ecert-ca\", \"schema\": \"ecert-ca\"}", "line 1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ecert_err_t err;
        assert_null(ecert_ca_parse(rows[i].json, strlen(rows[i].json),
                                   "/etc/ca.json", &err));
        assert_int_equal(err.code, ECERT_ERR_CATALOGUE);
        assert_string_equal(err.file, "/etc/ca.json");
        if (strstr(err.detail, rows[i].detail) == NULL) {
            fail_msg("\"%s\" is not in \"%s\"", rows[i].detail, err.detail);
        }
    }
}

static void unknown_members(void **state)
{
    static const char json[] =
        HEAD ROOT ", \"colour\": \"red\"}, {\"id\": \"b\", \"role\": \"sub\", "
                  "\"name\": \"S\", \"issuer\": \"r\", " OTHER
                  "}], \"later\": {\"x\": [1]}}";
    ecert_err_t err;
    (void)state;
    ecert_ca_t *ca = ecert_ca_parse(json, strlen(json), "f", &err);
    assert_non_null(ca);
    assert_int_equal(ecert_ca_count(ca), 2);
    assert_int_equal(ecert_ca_entry(ca, 1)->sha256[0], 0xff);
    ecert_ca_free(ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builtin),
        cmocka_unit_test(look_alike),
        cmocka_unit_test(wrong_files),
        cmocka_unit_test(unknown_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
