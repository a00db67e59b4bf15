/* From files to what is served: what the agent loads, keeps, and leaves. */

#include "scratch.h"

#include <time.h>

#include <openssl/err.h>

#include "ecert_cred.h"
#include "ecert_kept.h"
#include "ecert_log.h"
#include "pki.h"

static int64_t NOW;
static pki_t *pki;
static ecert_err_t err;

/* One site of one agent. */
typedef struct {
    ecert_site_t site;
    ecert_keeper_t keeper;
    ecert_kept_t kept;
    int fd;
    ecert_snap_t *reader;
} agent_t;

static int group_setup(void **state)
{
    (void)state;
    NOW = time(NULL);
    pki = pki_new(NOW);
    ecert_log_quiet(ECERT_LOG_ERROR);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    pki_free(pki);
    return 0;
}

static int setup(void **state)
{
    char *catalogue = pki_catalogue(pki, NULL), *pem;

    if (scratch_setup(state) != 0) {
        return -1;
    }
    folders("store/issuers");
    folders("store/sites/www.example.hk/generations");
    folders("store/dcv");
    folders("files");
    put("ca.json", catalogue);
    free(catalogue);
    pem = pki_pem(pki->new_sub);
    put("store/issuers/sub.pem", pem);
    free(pem);
    return 0;
}

static void start(agent_t *agent, const ecert_site_t *site)
{
    memset(agent, 0, sizeof(*agent));
    agent->site = *site;
    agent->site.catalogue = strdup(at("ca.json"));
    ecert_site_identity(&agent->site, agent->site.id);
    agent->keeper.store = strdup(at("store"));
    agent->keeper.loader = ecert_loader_new(agent->keeper.store, &err);
    assert_non_null(agent->keeper.loader);
    agent->fd = ecert_snap_create(1, &err);
    agent->keeper.snap = ecert_snap_open_writer(agent->fd, &err);
    agent->reader = ecert_snap_open(agent->fd, &err);
    assert_non_null(agent->reader);
    agent->keeper.now = NOW;
    agent->keeper.ms = 1000000;
    ecert_kept_init(&agent->kept, &agent->site, 0);
}

static void end(agent_t *agent)
{
    ecert_kept_free(&agent->kept);
    ecert_loader_free(agent->keeper.loader);
    ecert_snap_close(agent->keeper.snap);
    ecert_snap_close(agent->reader);
    close(agent->fd);
    free((char *)(uintptr_t)agent->site.catalogue);
    free((char *)(uintptr_t)agent->keeper.store);
    assert_int_equal(ERR_peek_error(), 0);
}

/* The next look, ms later. */
static void look(agent_t *agent, int64_t ms)
{
    agent->keeper.ms += ms;
    if (ecert_kept_due(&agent->keeper, &agent->kept)) {
        ecert_kept_load(&agent->keeper, &agent->kept);
    } else {
        ecert_kept_look(&agent->keeper, &agent->kept);
    }
}

static uint64_t generation(const agent_t *agent)
{
    return ecert_snap_generation(agent->reader, 0);
}

/* What workers would serve; its leaf (a reference). */
static X509 *served(const agent_t *agent, int *placeholder, int *chain)
{
    unsigned char *bytes;
    ecert_cred_t *cred;
    uint64_t number;
    X509 *leaf;
    size_t len;

    assert_int_equal(
        ecert_snap_read(agent->reader, 0, &bytes, &len, &number, &err), 0);
    cred = ecert_cred_decode(bytes, len, &err);
    ecert_snap_free(bytes, len);
    assert_non_null(cred);
    *placeholder = cred->placeholder;
    *chain = sk_X509_num(cred->chain);
    leaf = cred->leaf;
    X509_up_ref(leaf);
    ecert_cred_free(cred);
    return leaf;
}

static void assert_serves(const agent_t *agent, const X509 *want)
{
    int placeholder, chain;
    X509 *leaf = served(agent, &placeholder, &chain);

    assert_int_equal(placeholder, want == NULL);
    if (want != NULL) {
        assert_int_equal(X509_cmp(leaf, want), 0);
    }
    X509_free(leaf);
}

static void assert_error(const agent_t *agent, ecert_code_t code)
{
    assert_string_equal(ecert_err_word(agent->kept.error.code),
                        ecert_err_word(code));
}

/* A leaf for the usual names, that many days from .. to. */
static X509 *leaf_of(const char *names, int from, int to)
{
    return pki_leaf(pki, names ? names : "DNS:www.example.hk,DNS:example.hk",
                    NULL, NOW + from * PKI_DAY, NOW + to * PKI_DAY);
}

static void put_pem(const char *name, X509 *cert, EVP_PKEY *key)
{
    char *pem = cert ? pki_pem(cert) : pki_pem_key(key);

    put("new", pem);
    assert_int_equal(rename(at("new"), at(name)), 0);
    free(pem);
}

static void put_files(X509 *leaf, EVP_PKEY *key)
{
    put_pem("files/key.pem", NULL, key ? key : pki->leaf_key);
    put_pem("files/cert.pem", leaf, NULL);
}

/* Generation n of the store's site; current moves to it when asked to. */
static void put_generation(int n, X509 *leaf, EVP_PKEY *key, int make_current)
{
    char name[128], target[64];

    snprintf(name, sizeof(name), "store/sites/www.example.hk/generations/%d",
             n);
    folders(name);
    strcat(name, "/key.pem");
    put_pem(name, NULL, key ? key : pki->leaf_key);
    strcpy(strrchr(name, '/'), "/certificate.pem");
    put_pem(name, leaf, NULL);
    if (make_current) {
        snprintf(target, sizeof(target), "generations/%d", n);
        put_link(target, "link");
        assert_int_equal(
            rename(at("link"), at("store/sites/www.example.hk/current")), 0);
    }
}

static const ecert_site_t store_site = {.name = "www.example.hk"};
static char file_paths[2][PATH_MAX];

static ecert_site_t files_site(void)
{
    strcpy(file_paths[0], at("files/cert.pem"));
    strcpy(file_paths[1], at("files/key.pem"));
    return (ecert_site_t){.certificate = file_paths[0], .key = file_paths[1]};
}

static void test_store(void **state)
{
    X509 *one = leaf_of(NULL, -1, 100), *two = leaf_of(NULL, -1, 101), *leaf;
    agent_t agent;
    int placeholder, chain;

    (void)state;
    start(&agent, &store_site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    assert_serves(&agent, NULL);
    assert_error(&agent, ECERT_ERR_NO_CERTIFICATE);
    assert_int_equal(agent.kept.held.state, ECERT_STATE_PLACEHOLDER);
    put_generation(1, one, NULL, 1);
    look(&agent, 1000);
    assert_serves(&agent, one);
    assert_error(&agent, ECERT_OK);
    assert_int_equal(agent.kept.held.store_generation, 1);
    assert_int_equal(agent.kept.held.state, ECERT_STATE_VALID);
    leaf = served(&agent, &placeholder, &chain);
    assert_int_equal(chain, 1);
    X509_free(leaf);
    put_generation(2, two, NULL, 0);
    look(&agent, 1000);
    assert_serves(&agent, one); /* not before current says so */
    put_generation(2, two, NULL, 1);
    look(&agent, 1000);
    assert_serves(&agent, two);
    assert_int_equal(agent.kept.held.store_generation, 2);
    assert_null(agent.kept.held.cred); /* the key is not kept */
    end(&agent);
    X509_free(one);
    X509_free(two);
}

static void test_same_record(void **state)
{
    X509 *one = leaf_of(NULL, -1, 100);
    ecert_site_t site = files_site();
    agent_t agent;

    (void)state;
    put_files(one, NULL);
    start(&agent, &site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    assert_int_equal(generation(&agent), 1);
    for (int i = 0; i < 3; i++) {
        put_files(one, NULL);
        look(&agent, 1000);
        ecert_kept_load(&agent.keeper, &agent.kept);
    }
    assert_int_equal(generation(&agent), 1);
    end(&agent);
    X509_free(one);
}

/* The certificate first, its key later, and the reverse. */
static void test_torn(void **state)
{
    X509 *one = leaf_of(NULL, -1, 100), *two, *three;
    EVP_PKEY *other = pki_key("P-256");
    ecert_site_t site = files_site();
    agent_t agent;

    (void)state;
    two = pki_leaf(pki, "DNS:www.example.hk", other, NOW, NOW + PKI_YEAR / 3);
    three = leaf_of(NULL, 0, 90);
    put_files(one, NULL);
    start(&agent, &site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    put_pem("files/cert.pem", two, NULL);
    look(&agent, 1000);
    assert_serves(&agent, one);
    assert_error(&agent, ECERT_OK); /* patience */
    assert_true(agent.kept.retry_at != 0);
    look(&agent, ECERT_SETTLE_MS);
    assert_error(&agent, ECERT_OK);
    put_pem("files/key.pem", NULL, other);
    look(&agent, ECERT_SETTLE_MS);
    assert_serves(&agent, two);
    put_pem("files/key.pem", NULL, pki->leaf_key);
    look(&agent, 1000);
    assert_error(&agent, ECERT_OK);
    for (int i = 0; agent.kept.retry_at != 0; i++) {
        assert_true(i <= ECERT_PATIENCE_MS / ECERT_SETTLE_MS);
        look(&agent, ECERT_SETTLE_MS);
    }
    assert_error(&agent, ECERT_ERR_MISMATCH); /* it has lasted too long */
    assert_serves(&agent, two);
    put_pem("files/cert.pem", three, NULL);
    look(&agent, 1000);
    assert_serves(&agent, three);
    assert_error(&agent, ECERT_OK);
    end(&agent);
    EVP_PKEY_free(other);
    X509_free(one);
    X509_free(two);
    X509_free(three);
}

static void test_bad_files(void **state)
{
    static const struct {
        const char *text;
        ecert_code_t code;
    } cases[] = {
        {"", ECERT_ERR_EMPTY},
        {"hello", ECERT_ERR_FORMAT},
        {"-----BEGIN CERTIFICATE-----\nMIIB\n", ECERT_ERR_TRUNCATED},
    };
    X509 *one = leaf_of(NULL, -1, 100);
    ecert_site_t site = files_site();
    agent_t agent;

    (void)state;
    put_files(one, NULL);
    start(&agent, &site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put("files/cert.pem", cases[i].text);
        look(&agent, 1000);
        assert_error(&agent, ECERT_OK);
        look(&agent, ECERT_PATIENCE_MS);
        assert_error(&agent, cases[i].code);
        assert_string_equal(agent.kept.error.file, file_paths[0]);
        assert_serves(&agent, one);
        put_files(one, NULL);
        look(&agent, 1000);
        assert_error(&agent, ECERT_OK);
    }
    unlink(at("files/key.pem"));
    look(&agent, 1000);
    look(&agent, ECERT_PATIENCE_MS);
    assert_error(&agent, ECERT_ERR_NO_KEY);
    assert_serves(&agent, one);
    assert_int_equal(generation(&agent), 1);
    end(&agent);
    X509_free(one);
}

/* current is broken at a start: the newest that can be served stands in. */
static void test_fallback(void **state)
{
    X509 *one = leaf_of(NULL, -1, 100), *two = leaf_of(NULL, -1, 101);
    EVP_PKEY *other = pki_key("P-256");
    agent_t agent;

    (void)state;
    put_generation(1, one, NULL, 0);
    put_generation(2, two, NULL, 0);
    put_generation(3, two, other, 1);
    start(&agent, &store_site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    assert_serves(&agent, two);
    assert_int_equal(agent.kept.held.store_generation, 2);
    assert_int_equal(agent.kept.held.fallback, 1);
    look(&agent, ECERT_PATIENCE_MS);
    look(&agent, ECERT_PATIENCE_MS);
    assert_error(&agent, ECERT_ERR_MISMATCH);
    put_generation(3, one, NULL, 1);
    look(&agent, 1000);
    assert_serves(&agent, one);
    assert_error(&agent, ECERT_OK);
    assert_int_equal(agent.kept.held.fallback, 0);
    /* while it runs, what is served is better than an older generation, and
     * a file that is being written is no error yet */
    put_generation(3, one, other, 0);
    look(&agent, 1000);
    assert_error(&agent, ECERT_OK);
    assert_serves(&agent, one);
    end(&agent);
    EVP_PKEY_free(other);
    X509_free(one);
    X509_free(two);
}

static void test_not_yet(void **state)
{
    X509 *one = leaf_of(NULL, -1, 100), *two = leaf_of(NULL, 5, 200);
    ecert_site_t site = files_site();
    agent_t agent;

    (void)state;
    put_files(one, NULL);
    start(&agent, &site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    put_files(two, NULL);
    look(&agent, 1000);
    assert_serves(&agent, one);
    assert_error(&agent, ECERT_ERR_NOT_YET);
    assert_int_equal(agent.kept.next_change, NOW + 5 * PKI_DAY);
    agent.keeper.now = NOW + 5 * PKI_DAY - 1;
    assert_false(ecert_kept_due(&agent.keeper, &agent.kept));
    agent.keeper.now++;
    assert_true(ecert_kept_due(&agent.keeper, &agent.kept));
    look(&agent, 1000);
    assert_serves(&agent, two);
    assert_error(&agent, ECERT_OK);
    end(&agent);
    X509_free(one);
    X509_free(two);
}

static void test_expiry(void **state)
{
    X509 *one = leaf_of(NULL, -1, 100), *old = leaf_of(NULL, -100, -1);
    X509 *narrow = leaf_of("DNS:www.example.hk", -1, 300);
    static const char *const names[] = {"www.example.hk", "example.hk"};
    ecert_site_t site = files_site();
    agent_t agent;

    (void)state;
    site.names = names;
    site.n_names = 2;
    put_files(one, NULL);
    start(&agent, &site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    put_files(old, NULL);
    look(&agent, 1000);
    assert_serves(&agent, one); /* the valid one stays */
    assert_error(&agent, ECERT_ERR_EXPIRED);
    assert_int_equal(agent.kept.next_change, NOW + 100 * PKI_DAY + 1);
    put_files(narrow, NULL);
    look(&agent, 1000);
    assert_serves(&agent, one); /* it would lose a name */
    assert_error(&agent, ECERT_ERR_NAMES);
    agent.keeper.now = NOW + 100 * PKI_DAY + 1;
    assert_true(ecert_kept_due(&agent.keeper, &agent.kept));
    look(&agent, 1000);
    assert_serves(&agent, narrow); /* but an expired one has none at all */
    assert_int_equal(agent.kept.held.n_uncovered, 1);
    assert_string_equal(agent.kept.held.uncovered[0], "example.hk");
    end(&agent);
    /* nothing better: served, and loud */
    put_files(old, NULL);
    start(&agent, &site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    assert_serves(&agent, old);
    assert_int_equal(agent.kept.held.state, ECERT_STATE_EXPIRED);
    put_files(one, NULL);
    look(&agent, 1000);
    assert_serves(&agent, one);
    end(&agent);
    X509_free(one);
    X509_free(old);
    X509_free(narrow);
}

/* Another site's certificate is not taken. */
static void test_names(void **state)
{
    X509 *other = leaf_of("DNS:other.hk", -1, 100),
         *one = leaf_of(NULL, -1, 99);
    agent_t agent;

    (void)state;
    put_generation(1, other, NULL, 1);
    start(&agent, &store_site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    assert_serves(&agent, NULL);
    assert_error(&agent, ECERT_ERR_NAMES);
    put_generation(2, one, NULL, 1);
    look(&agent, 1000);
    assert_serves(&agent, one);
    put_generation(3, other, NULL, 1);
    look(&agent, 1000);
    assert_serves(&agent, one);
    assert_error(&agent, ECERT_ERR_NAMES);
    end(&agent);
    X509_free(other);
    X509_free(one);
}

/* The issuer's file goes: the chain that is served stays. */
static void test_chain_lost(void **state)
{
    X509 *one = leaf_of(NULL, -1, 100), *leaf;
    ecert_site_t site = files_site();
    int placeholder, chain;
    agent_t agent;

    (void)state;
    put_files(one, NULL);
    start(&agent, &site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    unlink(at("store/issuers/sub.pem"));
    look(&agent, 1000);
    look(&agent, ECERT_PATIENCE_MS);
    assert_error(&agent, ECERT_ERR_CHAIN);
    leaf = served(&agent, &placeholder, &chain);
    assert_int_equal(chain, 1);
    X509_free(leaf);
    end(&agent);
    /* without one before: served all the same, with a warning */
    start(&agent, &site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    assert_serves(&agent, one);
    assert_true(agent.kept.held.n_warnings > 0);
    assert_non_null(strstr(agent.kept.held.warnings[0], "chain-incomplete"));
    end(&agent);
    X509_free(one);
}

/* A new process over the same memory, with files that are broken now. */
static void test_take_over(void **state)
{
    X509 *one = leaf_of(NULL, -1, 100);
    ecert_site_t site = files_site();
    agent_t agent;

    (void)state;
    put_files(one, NULL);
    start(&agent, &site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    ecert_kept_free(&agent.kept);
    ecert_kept_init(&agent.kept, &agent.site, 0);
    put("files/cert.pem", "broken");
    ecert_kept_load(&agent.keeper, &agent.kept);
    assert_serves(&agent, one);
    assert_int_equal(agent.kept.held.state, ECERT_STATE_VALID);
    assert_true(agent.kept.published);
    end(&agent);
    X509_free(one);
}

static void test_unusable_leaf(void **state)
{
    pki_spec_t spec = {.cn = "www.example.hk",
                       .key = pki->leaf_key,
                       .issuer = pki->new_sub,
                       .issuer_key = pki->sub_key,
                       .not_before = NOW - 10,
                       .not_after = NOW + PKI_DAY,
                       .names = "DNS:www.example.hk",
                       .eku = "clientAuth"};
    X509 *client = pki_issue(&spec), *ca;
    ecert_site_t site = files_site();
    agent_t agent;

    (void)state;
    spec.eku = NULL;
    spec.ca = 1;
    ca = pki_issue(&spec);
    put_files(client, NULL);
    start(&agent, &site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    assert_serves(&agent, NULL);
    assert_error(&agent, ECERT_ERR_PURPOSE);
    put_files(ca, NULL);
    look(&agent, 1000);
    assert_serves(&agent, NULL);
    assert_error(&agent, ECERT_ERR_PURPOSE);
    end(&agent);
    X509_free(client);
    X509_free(ca);
}

int main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_store),     TEST(test_same_record),   TEST(test_torn),
        TEST(test_bad_files), TEST(test_fallback),      TEST(test_not_yet),
        TEST(test_expiry),    TEST(test_names),         TEST(test_chain_lost),
        TEST(test_take_over), TEST(test_unusable_leaf),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
