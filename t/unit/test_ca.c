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
#include "ecert_conf.h"
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

static int64_t at(const char *date)
{
    int64_t seconds = 0;
    ecert_err_t err;
    assert_int_equal(ecert_date_parse(date, &seconds, &err), 0);
    return seconds;
}

static void builtin_rules(void **state)
{
    static const struct {
        const char *issued;
        unsigned ceiling, life;
    } rows[] = {
        {"1970-01-01", 0, 0},     {"2026-03-14T23:59:59Z", 0, 0},
        {"2026-03-15", 200, 199}, {"2027-03-14T23:59:59Z", 200, 199},
        {"2027-03-15", 100, 99},  {"2029-03-14T23:59:59Z", 100, 99},
        {"2029-03-15", 47, 46},   {"2099-01-01", 47, 46},
    };
    ecert_err_t err;
    (void)state;
    ecert_ca_t *ca = ecert_ca_builtin(&err);
    assert_non_null(ca);
    const ecert_ca_rules_t *rules = ecert_ca_rules(ca);
    assert_string_equal(rules->name, "Hongkong Post CA");
    assert_string_equal(rules->token_file, "fileauth.txt");
    assert_int_equal(rules->token_days, 30);
    assert_int_equal(rules->txt_ttl, 3600);
    assert_int_equal(rules->names_max, 50);
    assert_true(rules->mail_ends == 1836691200); /* 2028-03-15 00:00 UTC */
    assert_string_equal(rules->contact, "enquiry@eCert.gov.hk");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t issued = at(rows[i].issued);
        assert_int_equal(ecert_ca_ceiling(ca, issued), rows[i].ceiling);
        assert_int_equal(ecert_ca_life(ca, issued), rows[i].life);
    }
    ecert_ca_free(ca);
}

static void no_rules(void **state)
{
    static const char *const rows[] = {
        HEAD ROOT "}]}",
        HEAD ROOT "}], \"validation\": {}, \"validity_ceilings\": []}",
        HEAD ROOT "}], \"validation\": {\"colour\": 1}, "
                  "\"validity_margin\": 10000}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ecert_err_t err;
        ecert_ca_t *ca = ecert_ca_parse(rows[i], strlen(rows[i]), "f", &err);
        assert_non_null(ca);
        const ecert_ca_rules_t *rules = ecert_ca_rules(ca);
        assert_null(rules->name);
        assert_null(rules->token_file);
        assert_null(rules->contact);
        assert_int_equal(rules->token_days, 0);
        assert_int_equal(rules->txt_ttl, 0);
        assert_int_equal(rules->names_max, 0);
        assert_true(rules->mail_ends == 0);
        assert_int_equal(ecert_ca_ceiling(ca, INT64_MAX), 0);
        assert_int_equal(ecert_ca_life(ca, INT64_MAX), 0);
        ecert_ca_free(ca);
    }
}

/* Each number at the ends of what is allowed; no margin is a margin of 0. */
static void outer_rules(void **state)
{
    static const char low[] =
        HEAD ROOT "}], \"names_max\": 1, \"validation\": {\"days\": 1, "
                  "\"txt_ttl\": 1}, \"validity_ceilings\": "
                  "[[\"2026-03-15\", 1], [\"2026-03-16\", 10000]]}";
    static const char high[] =
        HEAD ROOT "}], \"names_max\": 10000, \"validation\": {\"days\": "
                  "10000, \"txt_ttl\": 2147483647}, \"validity_margin\": "
                  "9999, \"validity_ceilings\": [[\"2026-03-15\", 10000]]}";
    ecert_err_t err;
    (void)state;
    ecert_ca_t *ca = ecert_ca_parse(low, strlen(low), "f", &err);
    assert_non_null(ca);
    assert_int_equal(ecert_ca_rules(ca)->names_max, 1);
    assert_int_equal(ecert_ca_rules(ca)->token_days, 1);
    assert_int_equal(ecert_ca_rules(ca)->txt_ttl, 1);
    assert_int_equal(ecert_ca_life(ca, at("2026-03-15")), 1);
    assert_int_equal(ecert_ca_life(ca, at("2026-03-16")), 10000);
    ecert_ca_free(ca);
    ca = ecert_ca_parse(high, strlen(high), "f", &err);
    assert_non_null(ca);
    assert_int_equal(ecert_ca_rules(ca)->names_max, 10000);
    assert_int_equal(ecert_ca_rules(ca)->token_days, 10000);
    assert_int_equal(ecert_ca_rules(ca)->txt_ttl, 2147483647);
    assert_int_equal(ecert_ca_ceiling(ca, at("2026-03-15")), 10000);
    assert_int_equal(ecert_ca_life(ca, at("2026-03-15")), 1);
    ecert_ca_free(ca);
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

typedef struct {
    const char *json, *detail;
} wrong_t;

static void assert_wrong(const wrong_t *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
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

static void wrong_files(void **state)
{
    static const wrong_t rows[] = {
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
    assert_wrong(rows, sizeof(rows) / sizeof(rows[0]));
}

#define RULES(text)      HEAD ROOT "}], " text "}"
#define VALIDATION(text) RULES("\"validation\": {" text "}")
#define CEILINGS(text)   RULES("\"validity_ceilings\": [" text "]")

static void wrong_rules(void **state)
{
    static const wrong_t rows[] = {
        {RULES("\"name\": 1"), "name: expected a string"},
        {RULES("\"name\": \"\""), "name: expected a string"},
        {RULES("\"contact\": []"), "contact: expected a string"},
        {RULES("\"names_max\": \"50\""),
         "names_max: expected a whole number from 1 to 10000"},
        {RULES("\"names_max\": 0"), "names_max: expected a whole number"},
        {RULES("\"names_max\": 10001"), "names_max: expected a whole number"},
        {RULES("\"names_max\": 50.0"), "names_max: expected a whole number"},
        {RULES("\"names_max\": null"), "names_max: expected a whole number"},
        {RULES("\"validity_margin\": -1"),
         "validity_margin: expected a whole number from 0 to 10000"},
        {RULES("\"validity_margin\": true"), "validity_margin: expected a"},
        {RULES("\"validity_margin\": 4294967297"), "validity_margin"},
        {RULES("\"validation\": []"), "validation: expected an object"},
        {VALIDATION("\"file\": 1"), "validation.file: expected a string"},
        {VALIDATION("\"file\": null"), "validation.file: expected a string"},
        {VALIDATION("\"days\": \"30\""),
         "validation.days: expected a whole number from 1 to 10000"},
        {VALIDATION("\"days\": 0"), "validation.days: expected"},
        {VALIDATION("\"days\": 10001"), "validation.days: expected"},
        {VALIDATION("\"txt_ttl\": 0"),
         "validation.txt_ttl: expected a whole number from 1 to 2147483647"},
        {VALIDATION("\"txt_ttl\": 2147483648"), "validation.txt_ttl: expected"},
        {VALIDATION("\"txt_ttl\": {}"), "validation.txt_ttl: expected"},
        {VALIDATION("\"mail_ends\": 2028"),
         "validation.mail_ends: expected a date such as \"2028-03-15\""},
        {VALIDATION("\"mail_ends\": \"2028-02-30\""),
         "validation.mail_ends: expected a date"},
        {VALIDATION("\"mail_ends\": \"2028-03-15T00:00:00Z\""),
         "validation.mail_ends: expected a date"},
        {RULES("\"validity_ceilings\": {}"),
         "validity_ceilings: expected an array"},
        {CEILINGS("1"), "validity_ceilings[0]: expected a date and 1 to 10000"},
        {CEILINGS("[]"), "validity_ceilings[0]: expected a date and"},
        {CEILINGS("[\"2026-03-15\"]"), "validity_ceilings[0]: expected a date"},
        {CEILINGS("[\"2026-03-15\", 1, 2]"), "validity_ceilings[0]: expected"},
        {CEILINGS("[\"2026-03-32\", 1]"), "validity_ceilings[0]: expected"},
        {CEILINGS("[\"2026-03-15\", 0]"), "validity_ceilings[0]: expected"},
        {CEILINGS("[\"2026-03-15\", 10001]"), "validity_ceilings[0]: expected"},
        {CEILINGS("[\"2026-03-15\", \"1\"]"), "validity_ceilings[0]: expect"},
        {CEILINGS("[20260315, 1]"), "validity_ceilings[0]: expected a date"},
        {CEILINGS("[\"2026-03-15\", 2], [\"2026-03-15\", 1]"),
         "validity_ceilings[1]: expected a later date than the one before"},
        {CEILINGS("[\"2026-03-15\", 2], [\"2026-03-14\", 1]"),
         "validity_ceilings[1]: expected a later date"},
        {CEILINGS("[\"2026-03-15\", 9], [\"2027-03-15\", 2]], "
                  "\"validity_margin\": 2, \"later\": ["),
         "validity_margin: expected fewer days than any of"},
    };
    (void)state;
    assert_wrong(rows, sizeof(rows) / sizeof(rows[0]));
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
        cmocka_unit_test(builtin),     cmocka_unit_test(builtin_rules),
        cmocka_unit_test(no_rules),    cmocka_unit_test(outer_rules),
        cmocka_unit_test(look_alike),  cmocka_unit_test(wrong_files),
        cmocka_unit_test(wrong_rules), cmocka_unit_test(unknown_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
