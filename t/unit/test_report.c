/* The report, as JSON and for people, of what may be in a certificate. */

#include "scratch.h"

#include <openssl/err.h>

#include "ecert_cred.h"
#include "ecert_placeholder.h"
#include "ecert_report.h"
#include "pki.h"

#define NOW ((int64_t)1795392000)

static pki_t *pki;
static ecert_err_t err;

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

static const char *str(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static char *printed(const json_t *report, int explain)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    ecert_report_print(report, out, explain, NOW);
    fclose(out);
    return text;
}

/* A report of one site, with whatever the caller adds. */
static json_t *report_of(json_t *site)
{
    json_t *report = ecert_report_head("/var/lib/ecert", NOW);
    json_t *sites = json_array();

    json_array_append_new(sites, site);
    json_object_set_new(report, "sites", sites);
    return report;
}

static json_t *site_of(const ecert_site_t *site, X509 *leaf, EVP_PKEY *key,
                       const ecert_err_t *error)
{
    STACK_OF(X509) *chain = pki_stack(pki->new_sub, NULL);
    ecert_cred_t *cred = ecert_cred_new(leaf, key, chain, &err);
    ecert_loader_t *loader = ecert_loader_new(NULL, &err);
    ecert_loaded_t loaded;
    json_t *json;

    assert_non_null(cred);
    assert_non_null(loader);
    assert_int_equal(
        ecert_load_adopt(loader, site, cred, NULL, NOW, &loaded, &err), 0);
    json = ecert_report_site(site, &loaded, error, NOW - 60);
    ecert_loaded_free(&loaded);
    ecert_loader_free(loader);
    ecert_cred_free(cred);
    pki_stack_free(chain);
    assert_non_null(json);
    return json;
}

static void test_site(void **state)
{
    static const char *const names[] = {"www.example.hk", "other.hk"};
    ecert_site_t site = {.name = "www.example.hk",
                         .names = names,
                         .n_names = 2,
                         .where = "/etc/a.conf:1"};
    json_t *json, *report, *leaf;
    ecert_err_t error;
    char *text;

    (void)state;
    ecert_err(&error, ECERT_ERR_MISMATCH, "/k\x1b", "because");
    json = site_of(&site, pki->leaf, pki->leaf_key, &error);
    assert_string_equal(str(json, "site"), "www.example.hk");
    assert_string_equal(str(json, "state"), "valid");
    assert_string_equal(str(json, "where"), "/etc/a.conf:1");
    assert_true(json_is_true(json_object_get(json, "store_site")));
    assert_true(json_is_null(json_object_get(json, "generation")));
    assert_int_equal(json_array_size(json_object_get(json, "vhosts")), 2);
    assert_int_equal(json_array_size(json_object_get(json, "uncovered")), 1);
    assert_int_equal(json_array_size(json_object_get(json, "chain")), 1);
    leaf = json_object_get(json, "leaf");
    assert_int_equal(strlen(str(leaf, "sha256")), 64);
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(leaf, "names"), 0)),
        "www.example.hk");
    assert_string_equal(str(json_object_get(json, "error"), "reason"),
                        "key-mismatch");
    assert_string_equal(str(json_object_get(json, "error"), "file"), "/k\\x1b");
    assert_non_null(str(json_object_get(json, "error"), "remedy"));
    report = report_of(json);
    assert_string_equal(str(report, "schema"), ECERT_REPORT_SCHEMA);
    text = printed(report, 1);
    assert_non_null(strstr(text, "www.example.hk (/etc/a.conf:1)"));
    assert_non_null(strstr(text, "other.hk"));
    assert_non_null(strstr(text, "key-mismatch"));
    assert_non_null(strstr(text, "Look-alike SSL CA 3 - 17"));
    assert_null(strchr(text, '\x1b'));
    free(text);
    json_decref(report);
}

/* Names made to disturb: text in, text out, and valid JSON. */
static void test_hostile_names(void **state)
{
    static const char *const names[] = {"<script>alert(1)</script>",
                                        "\"};alert(1)//",
                                        "a\x1b[2Jb",
                                        "a\nb: ok",
                                        "\xe2\x80\xaetxt.exe",
                                        "\\u0000",
                                        "%s%n%x",
                                        "\xe4\xb8\xad\xe5\x9b\xbd"};

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        pki_spec_t spec = {.cn = names[i],
                           .key = pki->leaf_key,
                           .issuer = pki->new_sub,
                           .issuer_key = pki->sub_key,
                           .not_before = NOW,
                           .not_after = NOW + PKI_DAY,
                           .names = "DNS:a.hk"};
        X509 *leaf = pki_issue(&spec);
        ecert_site_t site = {
            .certificate = "/\xff/c", .key = "/k", .where = names[i]};
        json_t *report = report_of(site_of(&site, leaf, pki->leaf_key, NULL));
        char *text = json_dumps(report, 0), *shown;
        json_t *back = json_loads(text, 0, NULL);

        assert_non_null(back);
        assert_true(json_equal(report, back));
        assert_true(json_is_null(json_object_get(
            json_array_get(json_object_get(back, "sites"), 0), "error")));
        shown = printed(report, 1);
        assert_null(strchr(shown, '\x1b'));
        assert_null(strstr(shown, "\xe2\x80\xae"));
        assert_null(strstr(shown, "\nb: ok"));
        free(shown);
        free(text);
        json_decref(back);
        json_decref(report);
        X509_free(leaf);
    }
}

static void test_nothing(void **state)
{
    ecert_site_t site = {.name = "a.hk"};
    ecert_loaded_t none = {.store_generation = -1}, loaded;
    json_t *json = ecert_report_site(&site, &none, NULL, 0), *report;
    char *text;

    (void)state;
    assert_non_null(json);
    assert_null(json_object_get(json, "leaf"));
    report = report_of(json);
    text = printed(report, 1);
    assert_non_null(strstr(text, "a.hk"));
    free(text);
    json_decref(report);
    assert_int_equal(ecert_load_placeholder(ecert_placeholder_new(&site, &err),
                                            &loaded, &err),
                     0);
    report = report_of(ecert_report_site(&site, &loaded, NULL, 0));
    text = printed(report, 0);
    assert_non_null(strstr(text, "placeholder"));
    free(text);
    json_decref(report);
    ecert_loaded_free(&loaded);
    report = report_of(json_pack("{s:s, s:s, s:[i]}", "site", "a\x1b[2J\nb: ok",
                                 "where", "\xe2\x80\xae", "warnings", 1));
    text = printed(report, 1);
    assert_null(strchr(text, '\x1b'));
    assert_null(strstr(text, "\xe2\x80\xae"));
    assert_null(strstr(text, "\nb: ok"));
    free(text);
    json_decref(report);
    report = json_object(); /* of another version, perhaps */
    text = printed(report, 1);
    assert_non_null(text);
    free(text);
    json_decref(report);
}

static void test_tokens(void **state)
{
    ecert_token_t token = {.host = "www.example.hk",
                           .file = "f.txt",
                           .body_len = 9,
                           .expires = NOW + PKI_DAY};
    ecert_tokens_t tokens = {.tokens = &token, .n = 1};
    json_t *report = ecert_report_head("/s", NOW);
    char *text;

    (void)state;
    ecert_report_files(report, &tokens, NULL);
    assert_null(json_object_get(report, "validation_files_over"));
    tokens.n_over = 2;
    ecert_report_files(report, &tokens, NULL);
    text = printed(report, 0);
    assert_non_null(strstr(text, "30 days are over: 2 (ecert dcv list)\n"));
    assert_non_null(strstr(text, "http://www.example.hk/.well-known/"
                                 "pki-validation/f.txt  9 bytes"));
    free(text);
    json_decref(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_site),
        cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_tokens),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
