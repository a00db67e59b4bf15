/* From validation files to the table that workers answer from. */

#include "scratch.h"

#include <time.h>

#include "ecert_dcv.h"
#include "ecert_log.h"
#include "ecert_tokens.h"

#define DAY 86400

static int64_t NOW;
static ecert_err_t err;

typedef struct {
    ecert_keeper_t keeper;
    ecert_dcv_kept_t kept;
    int fd;
    ecert_snap_t *reader;
} agent_t;

static int setup(void **state)
{
    NOW = time(NULL);
    ecert_log_quiet(ECERT_LOG_ERROR);
    if (scratch_setup(state) != 0) {
        return -1;
    }
    folders("store/dcv");
    return 0;
}

static void start(agent_t *agent)
{
    memset(agent, 0, sizeof(*agent));
    agent->keeper.store = strdup(at("store"));
    agent->fd = ecert_snap_create(1, &err);
    agent->keeper.snap = ecert_snap_open_writer(agent->fd, &err);
    agent->reader = ecert_snap_open(agent->fd, &err);
    assert_non_null(agent->reader);
    agent->keeper.now = NOW;
    agent->keeper.ms = 1000000;
    ecert_dcv_kept_init(&agent->kept);
}

static void load(agent_t *agent)
{
    ecert_dcv_kept_load(&agent->keeper, &agent->kept);
}

static void end(agent_t *agent)
{
    ecert_dcv_kept_free(&agent->kept);
    ecert_snap_close(agent->keeper.snap);
    ecert_snap_close(agent->reader);
    close(agent->fd);
    free((char *)(uintptr_t)agent->keeper.store);
}

static int table_has(const agent_t *agent, const char *host, const char *body)
{
    uint32_t slot = ecert_snap_dcv_slot(agent->reader);
    unsigned char *bytes;
    ecert_token_t token;
    uint64_t number;
    size_t len;
    int found;

    assert_int_equal(
        ecert_snap_read(agent->reader, slot, &bytes, &len, &number, &err), 0);
    assert_int_equal(ecert_dcv_check(bytes, len, &err), 0);
    found = ecert_dcv_find(bytes, len, host, "f.txt", 5, &token)
            && token.body_len == strlen(body)
            && memcmp(token.body, body, token.body_len) == 0;
    ecert_snap_free(bytes, len);
    return found;
}

static void test_tokens(void **state)
{
    agent_t agent;

    (void)state;
    start(&agent);
    load(&agent);
    assert_int_equal(ecert_snap_generation(agent.reader, 1), 1);
    folders("store/dcv/www.example.hk");
    put("store/dcv/www.example.hk/f.txt", "token");
    load(&agent);
    assert_true(table_has(&agent, "www.example.hk", "token"));
    assert_int_equal(agent.kept.held.n, 1);
    assert_true(agent.kept.next_change >= NOW + 29 * DAY
                && agent.kept.next_change <= NOW + 31 * DAY);
    load(&agent);
    assert_int_equal(ecert_snap_generation(agent.reader, 1), 2); /* the same */
    agent.keeper.now = agent.kept.next_change;
    load(&agent);
    assert_false(table_has(&agent, "www.example.hk", "token"));
    assert_true(agent.kept.next_change == 0
                || agent.kept.next_change > agent.keeper.now);
    agent.keeper.now = NOW;
    load(&agent);
    assert_true(table_has(&agent, "www.example.hk", "token"));
    /* the store is no longer to be trusted: what there is stays, and no time
     * that has passed keeps the agent busy */
    agent.keeper.now = agent.kept.next_change + 1;
    assert_int_equal(chmod(at("store"), 0777), 0);
    load(&agent);
    assert_true(agent.kept.next_change == 0
                || agent.kept.next_change > agent.keeper.now);
    assert_int_equal(chmod(at("store"), 0755), 0);
    agent.keeper.now = NOW;
    put("store/dcv/www.example.hk/empty.txt", "");
    load(&agent);
    assert_int_equal(agent.kept.n_complaints, 1);
    unlink(at("store/dcv/www.example.hk/empty.txt"));
    load(&agent);
    assert_int_equal(agent.kept.n_complaints, 0);
    end(&agent);
}

/* An upload on its way is not complained about before its patience is over. */
static void test_upload(void **state)
{
    agent_t agent;

    (void)state;
    start(&agent);
    folders("store/dcv/www.example.hk");
    put("store/dcv/www.example.hk/f.txt", "");
    load(&agent);
    assert_int_equal(agent.kept.n_complaints, 1);
    assert_false(agent.kept.complaints[0].told);
    agent.keeper.ms += ECERT_PATIENCE_MS;
    load(&agent);
    assert_true(agent.kept.complaints[0].told);
    end(&agent);
}

/* Written anew in its place: what it was is answered until it is whole. */
static void test_in_place(void **state)
{
    agent_t agent;

    (void)state;
    start(&agent);
    folders("store/dcv/www.example.hk");
    folders("store/dcv/\xe9\xa6\x99\xe6\xb8\xaf.hk");
    put("store/dcv/www.example.hk/f.txt", "before");
    put("store/dcv/\xe9\xa6\x99\xe6\xb8\xaf.hk/f.txt", "twice");
    load(&agent);
    put("store/dcv/www.example.hk/f.txt", "");
    put("store/dcv/\xe9\xa6\x99\xe6\xb8\xaf.hk/f.txt", "");
    load(&agent);
    assert_int_equal(agent.kept.n_complaints, 2);
    assert_true(table_has(&agent, "www.example.hk", "before"));
    assert_true(table_has(&agent, "xn--j6w193g.hk", "twice"));
    assert_true(table_has(&agent, "\xe9\xa6\x99\xe6\xb8\xaf.hk", "twice"));
    agent.keeper.now = agent.kept.next_change; /* not beyond its 30 days */
    load(&agent);
    assert_false(table_has(&agent, "www.example.hk", "before"));
    agent.keeper.now = NOW;
    put("store/dcv/www.example.hk/f.txt", "after");
    load(&agent);
    assert_true(table_has(&agent, "www.example.hk", "after"));
    unlink(at("store/dcv/www.example.hk/f.txt"));
    load(&agent);
    assert_false(table_has(&agent, "www.example.hk", "after"));
    end(&agent);
}

/* Lines that a look writes; they go nowhere. */
static unsigned lines_of_look(agent_t *agent)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC), log = dup(2);
    unsigned before = ecert_log_count();

    ecert_log_quiet(ECERT_LOG_NOTICE);
    dup2(null, 2);
    load(agent);
    dup2(log, 2);
    close(log);
    close(null);
    ecert_log_quiet(ECERT_LOG_ERROR);
    return ecert_log_count() - before;
}

/* However many are bad, nothing is told twice. */
static void test_many_bad(void **state)
{
    char name[64];
    agent_t agent;

    (void)state;
    folders("store/dcv/www.example.hk");
    for (int i = 100; i < 200; i++) {
        snprintf(name, sizeof(name), "store/dcv/www.example.hk/bad name %d", i);
        put(name, "x");
    }
    start(&agent);
    assert_int_equal(lines_of_look(&agent), 65); /* and that there are more */
    assert_int_equal(lines_of_look(&agent), 0);
    for (int i = 100; i < 150; i++) {
        snprintf(name, sizeof(name), "store/dcv/www.example.hk/bad name %d", i);
        unlink(at(name));
    }
    assert_int_equal(lines_of_look(&agent), 36);
    assert_int_equal(lines_of_look(&agent), 0);
    end(&agent);
}

int main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_tokens),
        TEST(test_upload),
        TEST(test_in_place),
        TEST(test_many_bad),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
