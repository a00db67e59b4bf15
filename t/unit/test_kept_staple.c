/*
 * A leaf that demands a staple, as the agent keeps its site: what is served
 * while there is none, before it comes and after it has ended.
 */

#include "kept_make.h"

#include "ecert_x509.h"
#include "ocsp_make.h"

static ecert_staple_state_t state_of; /* of the staple */
static int64_t staple_ends;

static ecert_staple_state_t demand(void *ctx, const ecert_kept_t *kept,
                                   const ecert_loaded_t *next, int64_t *until,
                                   ecert_err_t *why)
{
    (void)ctx;
    (void)kept;
    assert_true(ecert_x509_demands_staple(next->chain->considered[0].cert));
    *until = staple_ends;
    if (state_of == ECERT_STAPLE_LACKING) {
        ecert_err(why, ECERT_ERR_STAPLE, next->source, "a test");
    }
    return state_of;
}

static X509 *demanding(void)
{
    X509 *leaf = leaf_of(NULL, -1, 90);

    ocsp_extend(leaf, pki->sub_key, NID_tlsfeature, "status_request");
    return leaf;
}

static void begin(agent_t *agent, ecert_staple_state_t state)
{
    start(agent, &store_site);
    agent->keeper.demand = demand;
    state_of = state;
    staple_ends = NOW + 1000;
    ecert_kept_load(&agent->keeper, &agent->kept);
}

/* The agent's loop, when the staple came or at a rescan. */
static void again(agent_t *agent, ecert_staple_state_t state)
{
    state_of = state;
    agent->keeper.ms += 1000;
    ecert_kept_load(&agent->keeper, &agent->kept);
}

static void test_replaces_nothing_good(void **state)
{
    X509 *plain = leaf_of(NULL, -1, 60), *leaf = demanding();
    agent_t agent;

    (void)state;
    put_generation(1, plain, NULL, 1);
    begin(&agent, ECERT_STAPLE_LACKING);
    assert_serves(&agent, plain);
    put_generation(2, leaf, NULL, 1);
    again(&agent, ECERT_STAPLE_COMING);
    assert_serves(&agent, plain);
    assert_error(&agent, ECERT_OK); /* not yet */
    again(&agent, ECERT_STAPLE_LACKING);
    assert_serves(&agent, plain);
    assert_error(&agent, ECERT_ERR_STAPLE);
    again(&agent, ECERT_STAPLE_HERE);
    assert_serves(&agent, leaf);
    assert_error(&agent, ECERT_OK);
    end(&agent);
    X509_free(plain);
    X509_free(leaf);
}

/* A restart, and a staple that ends before there is a new one. */
static void test_older_stands_in(void **state)
{
    X509 *plain = leaf_of(NULL, -1, 60), *leaf = demanding();
    agent_t agent;

    (void)state;
    put_generation(1, plain, NULL, 1);
    put_generation(2, leaf, NULL, 1);
    begin(&agent, ECERT_STAPLE_LACKING);
    assert_serves(&agent, plain);
    assert_true(agent.kept.held.fallback);
    assert_error(&agent, ECERT_ERR_STAPLE);
    again(&agent, ECERT_STAPLE_HERE);
    assert_serves(&agent, leaf);
    assert_false(agent.kept.held.fallback);
    assert_int_equal(agent.kept.next_change, staple_ends);
    agent.keeper.now = staple_ends; /* then it is due by itself */
    state_of = ECERT_STAPLE_LACKING;
    look(&agent, 1);
    assert_serves(&agent, plain);
    assert_error(&agent, ECERT_ERR_STAPLE);
    staple_ends += 1000;
    again(&agent, ECERT_STAPLE_HERE);
    assert_serves(&agent, leaf);
    assert_error(&agent, ECERT_OK);
    end(&agent);
    X509_free(plain);
    X509_free(leaf);
}

/* Some clients take it: better than a placeholder, and than an expired one. */
static void test_nothing_better(void **state)
{
    X509 *old = leaf_of(NULL, -60, -1), *leaf = demanding();
    agent_t agent;

    (void)state;
    put_generation(1, old, NULL, 1);
    begin(&agent, ECERT_STAPLE_LACKING);
    assert_serves(&agent, old);
    put_generation(2, leaf, NULL, 1);
    again(&agent, ECERT_STAPLE_LACKING);
    assert_serves(&agent, leaf);
    assert_error(&agent, ECERT_ERR_STAPLE);
    again(&agent, ECERT_STAPLE_HERE);
    assert_error(&agent, ECERT_OK);
    again(&agent, ECERT_STAPLE_LACKING); /* it ends: nothing else is there */
    assert_serves(&agent, leaf);
    assert_error(&agent, ECERT_ERR_STAPLE);
    end(&agent);
    X509_free(old);
    X509_free(leaf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_replaces_nothing_good, setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(test_older_stands_in, setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(test_nothing_better, setup,
                                        scratch_teardown),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
