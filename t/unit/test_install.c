/* A certificate becomes the current one, and a kill at any moment leaves the
 * old state or the new one. */

#include "store_make.h"

#include "ecert_csr.h"
#include "ecert_install.h"
#include "ecert_json.h"
#include "ecert_load.h"
#include "ecert_request.h"
#include "ecert_store.h"
#include "ecert_swap.h"

#define OTHER "other.example.hk"

static char *default_names[] = {STORE_ASCII, "example.hk"};

static ecert_install_t usual(X509 *leaf)
{
    return (ecert_install_t){.store = store,
                             .site_dir = site_dir,
                             .ascii = STORE_ASCII,
                             .leaf = leaf,
                             .key = pki->leaf_key,
                             .names = default_names,
                             .n_names = 2,
                             .exportable = 1,
                             .now = STORE_NOW};
}

static void setup_pool(void)
{
    put_cert("store/issuers/sub.pem", pki->new_sub);
    put_cert("store/issuers/root.pem", pki->root);
}

/* Another leaf for these names, good for a year; the caller's. */
static X509 *leaf_for(const char *names)
{
    return pki_leaf(pki, names, NULL, STORE_NOW - PKI_DAY,
                    STORE_NOW + PKI_YEAR);
}

static ecert_installed_t install(const ecert_install_t *in)
{
    ecert_installed_t out;

    if (ecert_install(in, &out, &err) != 0) {
        fail_msg("%s: %s", ecert_err_word(err.code), err.detail);
    }
    return out;
}

/* What an agent makes of the site now: its state, and the leaf it serves. */
static int agent_sees(X509 *leaf)
{
    ecert_loader_t *loader = ecert_loader_new(store, &err);
    ecert_site_t site = {.name = STORE_ASCII};
    ecert_loaded_t loaded;
    int rc = ecert_load(loader, &site, STORE_NOW, &loaded, &err);

    if (rc == 0) {
        assert_int_equal(X509_cmp(loaded.cred->leaf, leaf), 0);
    }
    ecert_loaded_free(&loaded);
    ecert_loader_free(loader);
    return rc;
}

static void assert_site_names(const char *expected)
{
    json_t *json = ecert_site_read(site_dir, &err);
    json_t *names = json_object_get(json, "names"), *name;
    char text[300] = "";
    size_t i, used = 0;

    json_array_foreach(names, i, name)
    {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
                                 i ? " " : "", json_string_value(name));
    }
    assert_string_equal(text, expected);
    json_decref(json);
}

/* ---- what is taken ----------------------------------------------------- */

static void test_first(void **state)
{
    STACK_OF(X509) *others = pki_stack(pki->new_sub, pki->root, NULL);
    json_t *site = json_pack("{s:{s:s}}", "subject", "country", "HK");
    ecert_install_t in = usual(pki->leaf);
    ecert_installed_t out;
    json_t *json;

    (void)state;
    setup_pool();
    put(of_site("site.json"), "{\"mine\": 1}");
    in.others = others;
    in.site = site;
    in.exportable = 0;
    out = install(&in);
    assert_int_equal(out.number, 1);
    assert_true(out.current);
    assert_false(out.same || out.waiting);
    assert_string_equal(out.missing, "");
    assert_int_equal(out.not_after, STORE_NOW + 198 * PKI_DAY);
    assert_int_equal(current_number(), 1);
    assert_site_names("example.hk");
    json = ecert_site_read(site_dir, &err);
    assert_non_null(json_object_get(json, "mine"));
    assert_non_null(json_object_get(json, "subject"));
    json_decref(json);
    json = ecert_json_read(at(of_site("generations/1/generation.json")), &err);
    assert_int_equal(ecert_json_flag(json, "export", 1), 0);
    assert_int_equal(ecert_json_date(json, "created"), STORE_NOW);
    assert_int_equal(json_array_size(json_object_get(json, "names")), 2);
    assert_null(json_object_get(json, "request"));
    json_decref(json);
    assert_int_equal(agent_sees(pki->leaf), 0);
    assert_int_equal(entries(of_site("generations")), 1);
    json_decref(site);
    pki_stack_free(others);
}

static void test_same(void **state)
{
    ecert_install_t in = usual(pki->leaf);
    X509 *second = leaf_for("DNS:www.example.hk,DNS:example.hk");
    ecert_installed_t out;

    (void)state;
    setup_pool();
    install(&in);
    out = install(&in);
    assert_true(out.same && out.current);
    assert_int_equal(out.number, 1);
    in.leaf = second;
    assert_int_equal(install(&in).number, 2);
    in.leaf = pki->leaf; /* the older one again: it is used, not copied */
    out = install(&in);
    assert_true(out.same && out.current);
    assert_int_equal(out.number, 1);
    assert_int_equal(current_number(), 1);
    in.leaf = second;
    in.keep_current = 1;
    out = install(&in);
    assert_true(out.same);
    assert_false(out.current);
    assert_int_equal(current_number(), 1);
    assert_int_equal(entries(of_site("generations")), 2);
    X509_free(second);
}

/* The same certificate, but without its key, is not the same. */
static void test_same_without_key(void **state)
{
    ecert_install_t in = usual(pki->leaf);
    ecert_installed_t out;

    (void)state;
    setup_pool();
    put_generation("1", pki->leaf, NULL);
    put_generation("2", pki->leaf, pki->sub_key);
    out = install(&in);
    assert_false(out.same);
    assert_int_equal(out.number, 3);
    assert_int_equal(agent_sees(pki->leaf), 0);
}

static void test_numbers(void **state)
{
    ecert_install_t in = usual(pki->leaf);
    X509 *leaves[3];

    (void)state;
    setup_pool();
    in.wanted = 5;
    assert_int_equal(install(&in).number, 5); /* the request's own */
    for (int i = 0; i < 3; i++) {
        leaves[i] = leaf_for("DNS:www.example.hk,DNS:example.hk");
    }
    in.leaf = leaves[0];
    in.wanted = 4; /* an older request, answered later */
    assert_int_equal(install(&in).number, 6);
    folders(of_site("generations/9")); /* nothing in it that can be read */
    in.leaf = leaves[1];
    in.wanted = 9;
    assert_int_equal(install(&in).number, 10);
    in.leaf = leaves[2];
    in.wanted = 0;
    assert_int_equal(install(&in).number, 11);
    for (int i = 0; i < 3; i++) {
        X509_free(leaves[i]);
    }
}

static void test_waiting(void **state)
{
    X509 *leaf = pki_leaf(pki, "DNS:www.example.hk,DNS:example.hk", NULL,
                          STORE_NOW + PKI_DAY, STORE_NOW + PKI_YEAR);
    ecert_install_t in = usual(leaf);
    ecert_installed_t out;

    (void)state;
    setup_pool();
    out = install(&in);
    assert_true(out.waiting && out.current);
    assert_int_equal(out.not_before, STORE_NOW + PKI_DAY);
    assert_int_equal(current_number(), 1);
    in = usual(pki->leaf);
    out = install(&in);
    assert_false(out.waiting);
    X509_free(leaf);
}

static void test_missing(void **state)
{
    ecert_install_t in = usual(pki->leaf);
    ecert_installed_t out;

    (void)state;
    out = install(&in); /* the pool is empty: loud, but installed */
    assert_non_null(strstr(out.missing, "Look-alike SSL CA 3 - 17"));
    assert_true(out.current);
}

static void test_keep_current(void **state)
{
    ecert_install_t in = usual(pki->leaf);
    X509 *second = leaf_for("DNS:www.example.hk");
    ecert_installed_t out;

    (void)state;
    setup_pool();
    in.keep_current = 1;
    assert_true(install(&in).current); /* there is none yet */
    in.leaf = second;
    in.n_names = 1;
    out = install(&in);
    assert_false(out.current);
    assert_int_equal(out.number, 2);
    assert_int_equal(current_number(), 1);
    assert_site_names("example.hk"); /* what is served has to cover it still */
    X509_free(second);
}

/* ---- what is refused --------------------------------------------------- */

static void assert_refused(const ecert_install_t *in, ecert_code_t code)
{
    ecert_installed_t out;
    ecert_err_t why;

    ecert_err_clear(&err);
    assert_int_equal(ecert_install(in, &out, &err), -1);
    assert_err(&err, code);
    why = err;
    assert_int_equal(current_number(), -1);
    assert_false(is_there(of_site("site.json")));
    assert_true(!is_there(of_site("generations"))
                || entries(of_site("generations")) == 0);
    err = why;
}

static void test_names(void **state)
{
    char *names[] = {STORE_ASCII, "b.hk", "example.hk", "c.hk"};
    ecert_install_t in = usual(pki->leaf);
    char *many[51], text[51][32];

    (void)state;
    in.names = names;
    in.n_names = 4;
    assert_refused(&in, ECERT_ERR_NAMES);
    assert_non_null(strstr(err.detail, "b.hk, c.hk are not in"));
    in.names = &names[1];
    in.n_names = 2;
    assert_refused(&in, ECERT_ERR_NAMES);
    assert_non_null(strstr(err.detail, "b.hk is not in"));
    for (int i = 0; i < 51; i++) {
        snprintf(text[i], sizeof(text[i]), "server-%02d.example.com.hk", i);
        many[i] = text[i];
    }
    in.names = many;
    in.n_names = 51;
    assert_refused(&in, ECERT_ERR_NAMES);
    assert_non_null(strstr(err.detail, "server-13.example.com.hk"));
    assert_non_null(strstr(err.detail, ".hk and 3"));
    assert_non_null(strstr(err.detail, " more are not in the certificate"));
}

static void test_refused(void **state)
{
    X509 *expired = pki_leaf(pki, "DNS:www.example.hk,DNS:example.hk", NULL,
                             STORE_NOW - PKI_YEAR, STORE_NOW - PKI_DAY);
    pki_spec_t spec = {.cn = STORE_ASCII,
                       .key = pki->leaf_key,
                       .issuer = pki->new_sub,
                       .issuer_key = pki->sub_key,
                       .not_before = STORE_NOW - PKI_DAY,
                       .not_after = STORE_NOW + PKI_DAY,
                       .eku = "clientAuth",
                       .names = "DNS:www.example.hk,DNS:example.hk"};
    X509 *client = pki_issue(&spec), *weak;
    EVP_PKEY *small = pki_key("RSA-1024");
    ecert_install_t in = usual(expired);

    (void)state;
    spec.eku = NULL;
    spec.server_auth = 1;
    spec.md = EVP_sha1();
    weak = pki_issue(&spec);
    in.file = "given.crt";
    assert_refused(&in, ECERT_ERR_EXPIRED);
    assert_string_equal(err.file, "given.crt");
    in.leaf = client;
    assert_refused(&in, ECERT_ERR_PURPOSE);
    assert_string_equal(err.file, "given.crt");
    in.leaf = weak;
    assert_refused(&in, ECERT_ERR_SIGNATURE);
    assert_string_equal(err.file, "given.crt");
    in.file = NULL;
    in.leaf = pki->leaf;
    in.key = pki->sub_key;
    assert_refused(&in, ECERT_ERR_MISMATCH);
    in.key = small;
    assert_refused(&in, ECERT_ERR_KEY_TYPE);
    assert_string_equal(err.file, in.ascii); /* the stage is gone */
    EVP_PKEY_free(small);
    X509_free(weak);
    X509_free(client);
    X509_free(expired);
}

static void test_broken_site(void **state)
{
    ecert_install_t in = usual(pki->leaf);
    ecert_installed_t out;

    (void)state;
    put(of_site("site.json"), "{");
    assert_int_equal(ecert_install(&in, &out, &err), -1);
    assert_err(&err, ECERT_ERR_SITE);
    assert_int_equal(entries(of_site("generations")), 0);
    assert_int_equal(current_number(), -1);
    assert_holds(of_site("site.json"), "{");
}

/* `current` as rsync or an administrator may have made it: a folder. */
static void test_current_is_folder(void **state)
{
    ecert_install_t in = usual(pki->leaf);
    ecert_installed_t out;

    (void)state;
    setup_pool();
    folders(of_site("current"));
    put_cert(of_site("current/certificate.pem"), pki->leaf);
    put_key(of_site("current/key.pem"), pki->leaf_key);
    assert_int_equal(ecert_install(&in, &out, &err), -1);
    assert_err(&err, ECERT_ERR_SYSTEM);
    assert_non_null(strstr(err.hint, "is a folder"));
    assert_int_equal(agent_sees(pki->leaf), 0);
    assert_int_equal(
        rename(at(of_site("current")), at(of_site("generations/4"))), 0);
    out = install(&in);
    assert_true(out.same);
    assert_int_equal(out.number, 4);
}

/* ---- stopped half-way -------------------------------------------------- */

/* A site that serves `leaf` for example.hk, and a request for OTHER waits. */
static uint64_t renewal(X509 *leaf)
{
    json_t *json = json_pack("{s:[s,s],s:{s:{s:s}}}", "names", STORE_ASCII,
                             OTHER, "site", "subject", "country", "HK");
    ecert_install_t in = usual(leaf);
    uint64_t number;

    setup_pool();
    install(&in);
    assert_int_equal(ecert_request_add(site_dir, pki->sub_key, NULL, json,
                                       STORE_NOW, &number, &err),
                     0);
    json_decref(json);
    return number;
}

static X509 *renewed(void)
{
    return pki_leaf(pki, "DNS:" STORE_ASCII ",DNS:" OTHER, pki->sub_key,
                    STORE_NOW - PKI_DAY, STORE_NOW + PKI_YEAR);
}

/* generations/N with what ecert_install would put there. */
static void put_renewed(X509 *leaf, uint64_t number, const char *name)
{
    json_t *json = json_pack("{s:I}", "request", (json_int_t)number);
    ecert_stage_t stage;

    assert_int_equal(ecert_generation_stage(site_dir, leaf, pki->sub_key, NULL,
                                            json, &stage, &err),
                     0);
    if (name != NULL) {
        assert_int_equal(ecert_stage_commit(&stage, name, &err), 0);
    }
    json_decref(json);
}

static size_t pending(void)
{
    ecert_request_t *requests;
    size_t n;

    assert_int_equal(ecert_requests(site_dir, STORE_ASCII, &requests, &n, &err),
                     0);
    ecert_requests_free(requests, n);
    return n;
}

static void finish(X509 *leaf, uint64_t number)
{
    char *names[] = {STORE_ASCII, OTHER};
    ecert_install_t in = usual(leaf);

    in.key = pki->sub_key;
    in.names = names;
    in.wanted = number;
    install(&in);
    assert_int_equal(current_number(), (int64_t)number);
    assert_site_names(OTHER);
    assert_int_equal(agent_sees(leaf), 0);
}

static void test_stop_in_stage(void **state)
{
    X509 *leaf = renewed();
    uint64_t number = renewal(pki->leaf);

    (void)state;
    put_renewed(leaf, number, NULL);
    put(of_site(".site.json.ecert-0123abcd"), "{");
    put(of_site("pending/.key.pem.Ab3DeF"), "rsync's");
    folders(of_site("pending/.stage-0123abcd"));
    put(of_site("pending/.stage-0123abcd/key.pem"), "");
    assert_int_equal(agent_sees(pki->leaf), 0);
    ecert_install_tidy(site_dir, STORE_ASCII, &err);
    assert_int_equal(entries(of_site("generations")), 1);
    assert_false(is_there(of_site(".site.json.ecert-0123abcd")));
    assert_false(is_there(of_site("pending/.stage-0123abcd")));
    assert_true(is_there(of_site("pending/.key.pem.Ab3DeF")));
    assert_int_equal(pending(), 1);
    finish(leaf, number);
    X509_free(leaf);
}

static void test_stop_behind_commit(void **state)
{
    X509 *leaf = renewed();
    uint64_t number = renewal(pki->leaf);

    (void)state;
    put_renewed(leaf, number, "2");
    assert_int_equal(agent_sees(pki->leaf), 0);
    ecert_install_tidy(site_dir, STORE_ASCII, &err);
    assert_int_equal(current_number(), 1);
    assert_int_equal(pending(), 1);
    assert_site_names("example.hk");
    finish(leaf, number);
    assert_int_equal(entries(of_site("generations")), 2);
    X509_free(leaf);
}

/* Names that the new leaf lacks are gone, the old one is served still. */
static void test_stop_behind_names(void **state)
{
    char *names[] = {STORE_ASCII};
    X509 *leaf = renewed();
    uint64_t number = renewal(pki->leaf);

    (void)state;
    put_renewed(leaf, number, "2");
    assert_int_equal(ecert_site_write(site_dir, names, 1, NULL, &err), 0);
    assert_int_equal(agent_sees(pki->leaf), 0);
    ecert_install_tidy(site_dir, STORE_ASCII, &err);
    assert_int_equal(pending(), 1);
    finish(leaf, number);
    X509_free(leaf);
}

/* The new one is served; tidy brings its names, and takes the request. */
static void test_stop_behind_use(void **state)
{
    char *names[] = {STORE_ASCII};
    X509 *leaf = renewed();
    uint64_t number = renewal(pki->leaf);
    json_t *json;

    (void)state;
    put_renewed(leaf, number, "2");
    assert_int_equal(ecert_site_write(site_dir, names, 1, NULL, &err), 0);
    assert_int_equal(ecert_generation_use(site_dir, 2, &err), 0);
    assert_int_equal(agent_sees(leaf), 0);
    ecert_install_tidy(site_dir, STORE_ASCII, &err);
    assert_site_names(OTHER);
    assert_int_equal(pending(), 0);
    assert_int_equal(entries(of_site("pending")), 0);
    json = ecert_site_read(site_dir, &err);
    assert_non_null(json_object_get(json, "subject"));
    json_decref(json);
    assert_int_equal(agent_sees(leaf), 0);
    ecert_install_tidy(site_dir, STORE_ASCII, &err);
    assert_int_equal(current_number(), 2);
    X509_free(leaf);
}

/* In every moment of its three steps an agent has something to serve. */
static void test_steps(void **state)
{
    char *names[] = {STORE_ASCII, OTHER};
    X509 *leaf = renewed();

    (void)state;
    put_renewed(leaf, renewal(pki->leaf), "2");
    assert_int_equal(ecert_swap(site_dir, 2, leaf, names, 2, NULL, &err), 0);
    assert_site_names(OTHER);
    assert_int_equal(agent_sees(leaf), 0);
    names[1] = "example.hk"; /* and back */
    assert_int_equal(ecert_swap(site_dir, 1, pki->leaf, names, 2, NULL, &err),
                     0);
    assert_site_names("example.hk");
    assert_int_equal(agent_sees(pki->leaf), 0);
    put(of_site("site.json"), "broken");
    assert_int_equal(ecert_swap(site_dir, 2, leaf, names, 2, NULL, &err), -1);
    assert_err(&err, ECERT_ERR_SITE);
    assert_int_equal(current_number(), 1);
    X509_free(leaf);
}

/* A request of another number, or with the key of the current generation (for
 * a renewal that keeps the key), is none that came to its end. */
static void test_tidy_keeps(void **state)
{
    ecert_install_t in = usual(pki->leaf);

    (void)state;
    setup_pool();
    folders(of_site("pending/3"));
    put_key(of_site("pending/3/key.pem"), pki->leaf_key);
    in.wanted = 2;
    install(&in);
    ecert_install_tidy(site_dir, STORE_ASCII, &err);
    assert_int_equal(pending(), 1);
    folders(of_site("pending/2")); /* the number, but another key */
    put_key(of_site("pending/2/key.pem"), pki->sub_key);
    ecert_install_tidy(site_dir, STORE_ASCII, &err);
    assert_int_equal(pending(), 2);
    put_key(of_site("pending/2/key.pem"), pki->leaf_key);
    put(of_site("site.json"), "broken"); /* its names could not be written */
    ecert_install_tidy(site_dir, STORE_ASCII, &err);
    assert_int_equal(pending(), 2);
    unlink(at(of_site("site.json")));
    ecert_install_tidy(site_dir, STORE_ASCII, &err);
    assert_int_equal(pending(), 1);
    ecert_install_tidy(at("none"), STORE_ASCII, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_STORE(test_first),
        IN_STORE(test_same),
        IN_STORE(test_same_without_key),
        IN_STORE(test_numbers),
        IN_STORE(test_waiting),
        IN_STORE(test_missing),
        IN_STORE(test_keep_current),
        IN_STORE(test_names),
        IN_STORE(test_refused),
        IN_STORE(test_broken_site),
        IN_STORE(test_current_is_folder),
        IN_STORE(test_stop_in_stage),
        IN_STORE(test_stop_behind_commit),
        IN_STORE(test_stop_behind_names),
        IN_STORE(test_stop_behind_use),
        IN_STORE(test_steps),
        IN_STORE(test_tidy_keeps),
    };

    return cmocka_run_group_tests(tests, store_group_setup,
                                  store_group_teardown);
}
