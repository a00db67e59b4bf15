/* From files to what is served: what the agent loads, keeps, and leaves. */

#include "kept_make.h"

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

/* As a new process with empty memory. */
static void restart(agent_t *agent)
{
    end(agent);
    start(agent, &store_site);
    ecert_kept_load(&agent->keeper, &agent->kept);
}

/* What no client takes replaces nothing, and stands in for nothing. */
static void test_invalid(void **state)
{
    X509 *good = leaf_of(NULL, -1, 100);
    X509 *next = leaf_of(NULL, -1, 101), *bad = pki_damaged(next);
    agent_t agent;

    (void)state;
    put_generation(2, bad, NULL, 1);
    start(&agent, &store_site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    assert_serves(&agent, NULL);
    assert_error(&agent, ECERT_ERR_INVALID);
    put_generation(1, good, NULL, 1);
    look(&agent, 1000);
    assert_serves(&agent, good);
    put_generation(3, bad, NULL, 1);
    look(&agent, 1000);
    assert_serves(&agent, good);
    assert_error(&agent, ECERT_ERR_INVALID);
    restart(&agent);
    assert_serves(&agent, good);
    assert_int_equal(agent.kept.held.fallback, 1);
    assert_error(&agent, ECERT_ERR_INVALID);
    put_generation(4, next, NULL, 1); /* the real one, of the same key */
    look(&agent, 1000);
    assert_serves(&agent, next);
    assert_error(&agent, ECERT_OK);
    end(&agent);
    X509_free(good);
    X509_free(bad);
    X509_free(next);
}

/* The end of its issuer takes no certificate away, at no start either. */
static void test_issuer_ends(void **state)
{
    X509 *sub = pki_ca("Look-alike SSL CA 3 - 17", pki->sub_key, pki->root,
                       pki->root_key, NOW - PKI_YEAR, NOW + PKI_DAY, 1);
    X509 *one = leaf_of(NULL, -1, 100);
    agent_t agent;
    int placeholder, chain;

    (void)state;
    put_pem("store/issuers/sub.pem", sub, NULL);
    put_pem("store/issuers/root.pem", pki->root, NULL);
    put_generation(1, one, NULL, 1);
    start(&agent, &store_site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    assert_serves(&agent, one);
    agent.keeper.now = NOW + 2 * PKI_DAY;
    look(&agent, 1000);
    X509_free(served(&agent, &placeholder, &chain));
    assert_int_equal(placeholder, 0);
    ecert_kept_free(&agent.kept); /* the next process, a day later */
    ecert_kept_init(&agent.kept, &agent.site, 0);
    ecert_kept_load(&agent.keeper, &agent.kept);
    assert_serves(&agent, one);
    assert_error(&agent, ECERT_OK);
    assert_non_null(strstr(agent.kept.held.warnings[0], "has expired"));
    end(&agent);
    X509_free(sub);
    X509_free(one);
}

int main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_store),       TEST(test_same_record),   TEST(test_torn),
        TEST(test_bad_files),   TEST(test_fallback),      TEST(test_not_yet),
        TEST(test_expiry),      TEST(test_names),         TEST(test_chain_lost),
        TEST(test_take_over),   TEST(test_unusable_leaf), TEST(test_invalid),
        TEST(test_issuer_ends),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
