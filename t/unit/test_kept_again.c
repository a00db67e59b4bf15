/*
 * What went wrong by no fault of the files, which do not change when it is
 * over: no memory, a file that could not be read, a clock that was set.
 */

#include "kept_make.h"
#include "starve.h"

#include <stdarg.h>

#include <sys/syscall.h>

static long made;           /* allocations of OpenSSL */
static long from = -1;      /* which of them fail, from this one on */
static long how_many;       /* of them */
static const char *refused; /* the file that is refused, */
static int why;             /* with this */

static int fails(void)
{
    made++;
    return from >= 0 && made > from && made <= from + how_many;
}

/* In the place of libc's. */
int openat(int dir, const char *name, int flags, ...)
{
    va_list args;
    int mode;

    va_start(args, flags);
    mode = va_arg(args, int);
    va_end(args);
    if (refused != NULL && strcmp(name, refused) == 0) {
        errno = why;
        return -1;
    }
    return (int)syscall(SYS_openat, dir, name, flags, mode);
}

/* As the agent's loop, for so many seconds: with a rescan each 30. */
static void pass_time(agent_t *agent, int seconds)
{
    for (int i = 1; i <= seconds; i++) {
        uint64_t look_before = agent->kept.look;

        look(agent, 1000);
        if (i % 30 == 0 && agent->kept.look == look_before
            && ecert_kept_is_doubtful(&agent->keeper, &agent->kept)) {
            ecert_kept_load(&agent->keeper, &agent->kept);
        }
    }
}

static int chain_of(const agent_t *agent)
{
    int placeholder, chain;

    X509_free(served(agent, &placeholder, &chain));
    return chain;
}

/* Files so old that the next change of them has another time. */
static void settle(void)
{
    usleep(120000);
}

static void assert_new(agent_t *agent, X509 *leaf, long nth)
{
    uint64_t number = generation(agent);

    assert_serves(agent, leaf);
    if (chain_of(agent) != 1 || agent->kept.error.code != ECERT_OK) {
        fail_msg("allocation %ld: chain %d, %s", nth, chain_of(agent),
                 ecert_err_word(agent->kept.error.code));
    }
    assert_false(ecert_kept_is_doubtful(&agent->keeper, &agent->kept));
    pass_time(agent, 60);
    assert_int_equal(generation(agent), number); /* nothing new: nothing */
}

/* Allocations of a load that takes the second leaf over the first. */
static long swap(X509 *one, X509 *two, long nth, long n)
{
    ecert_site_t site = files_site();
    agent_t agent;

    put_files(one, NULL);
    start(&agent, &site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    put_files(two, NULL);
    made = 0;
    how_many = n;
    from = nth;
    look(&agent, 1000);
    nth = made;
    from = -1;
    ERR_clear_error();
    settle();
    pass_time(&agent, 40);
    assert_new(&agent, two, nth);
    end(&agent);
    return nth;
}

/* OpenSSL has no memory, anywhere in a load: later it is as if it had. */
static void test_memory(void **state)
{
    X509 *one = leaf_of(NULL, -1, 100), *two = leaf_of(NULL, -1, 101);
    long all;

    (void)state;
    swap(one, two, -1, 0); /* what is made once */
    all = swap(one, two, -1, 0);
    assert_true(all > 100);
    for (long nth = 0; nth < all; nth += all / 40) {
        swap(one, two, nth, 1000000);
    }
    for (long nth = all - 8; nth < all; nth++) {
        swap(one, two, nth, 1);
        swap(one, two, nth, 1000000);
    }
    X509_free(one);
    X509_free(two);
}

/* Without memory from the first load on: not even a placeholder. */
static void test_no_placeholder(void **state)
{
    X509 *one = leaf_of(NULL, -1, 100);
    ecert_site_t site = files_site();
    agent_t agent;

    (void)state;
    put_files(one, NULL);
    start(&agent, &site);
    made = from = 0;
    how_many = 1000000;
    ecert_kept_load(&agent.keeper, &agent.kept);
    assert_int_equal(generation(&agent), 0);
    assert_int_equal(agent.kept.retry_at, agent.keeper.ms + ECERT_STARVED_MS);
    from = -1;
    ERR_clear_error();
    pass_time(&agent, 2);
    assert_serves(&agent, one);
    end(&agent);
    X509_free(one);
}

/* What cannot be published for good is not tried each second. */
static void test_too_large(void **state)
{
    char *names = malloc(ECERT_SNAP_RECORD_MAX * 2);
    size_t used = (size_t)sprintf(names, "DNS:www.example.hk");
    ecert_site_t site = files_site();
    agent_t agent;
    X509 *one;

    (void)state;
    for (int i = 0; used < ECERT_SNAP_RECORD_MAX + 20000; i++) {
        used +=
            (size_t)sprintf(names + used, ",DNS:a-long-name-%d.example.hk", i);
    }
    one = leaf_of(names, -1, 100);
    put_files(one, NULL);
    start(&agent, &site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    assert_error(&agent, ECERT_ERR_TOO_LARGE);
    assert_int_equal(agent.kept.retry_at, 0);
    assert_true(ecert_kept_is_doubtful(&agent.keeper, &agent.kept));
    assert_serves(&agent, NULL);
    end(&agent);
    X509_free(one);
    free(names);
}

/* `current` is broken, and an older generation becomes good. */
static void test_older(void **state)
{
    X509 *one = leaf_of(NULL, -1, 100), *two = leaf_of(NULL, -1, 101);
    EVP_PKEY *other = pki_key("P-256");
    agent_t agent;
    unsigned told;

    (void)state;
    ecert_log_quiet(ECERT_LOG_NOTICE); /* so that errors are counted */
    put_generation(3, two, other, 1);
    start(&agent, &store_site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    told = ecert_log_count();
    pass_time(&agent, 5);
    assert_serves(&agent, NULL);
    assert_error(&agent, ECERT_ERR_MISMATCH);
    pass_time(&agent, 60);
    assert_int_equal(ecert_log_count(), told + 1);
    ecert_log_quiet(ECERT_LOG_ERROR);
    put_generation(2, one, NULL, 0);
    pass_time(&agent, 31);
    assert_serves(&agent, one);
    assert_int_equal(agent.kept.held.store_generation, 2);
    assert_error(&agent, ECERT_ERR_MISMATCH);
    end(&agent);
    EVP_PKEY_free(other);
    X509_free(one);
    X509_free(two);
}

/* A new leaf waits for a chain that cannot be read for a moment. */
static void test_issuer_refused(void **state)
{
    static const int reasons[] = {ENFILE, EIO, ENOMEM, EACCES};
    X509 *one = leaf_of(NULL, -1, 100), *two = leaf_of(NULL, -1, 101);
    ecert_site_t site = files_site();
    agent_t agent;

    (void)state;
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        put_files(one, NULL);
        start(&agent, &site);
        ecert_kept_load(&agent.keeper, &agent.kept);
        refused = "sub.pem";
        why = reasons[i];
        put_files(two, NULL);
        look(&agent, 1000);
        assert_serves(&agent, one);
        look(&agent, 1000);
        assert_serves(&agent, one);
        refused = NULL;
        pass_time(&agent, 2);
        assert_new(&agent, two, 0);
        end(&agent);
    }
    X509_free(one);
    X509_free(two);
}

/* The same at a start, where there is nothing to stay. */
static void test_issuer_refused_first(void **state)
{
    static const struct {
        int why, seconds;
    } cases[] = {{ENFILE, 1}, {ENOMEM, 1}, {EIO, 30}};
    X509 *one = leaf_of(NULL, -1, 100);
    ecert_site_t site = files_site();
    agent_t agent;

    (void)state;
    put_files(one, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        start(&agent, &site);
        refused = "sub.pem";
        why = cases[i].why;
        ecert_kept_load(&agent.keeper, &agent.kept);
        assert_int_equal(chain_of(&agent), 0);
        refused = NULL;
        pass_time(&agent, cases[i].seconds);
        assert_new(&agent, one, 0);
        end(&agent);
    }
    X509_free(one);
}

static int hold_off(void *ctx, const ecert_kept_t *kept,
                    const ecert_loaded_t *next)
{
    (void)kept;
    (void)next;
    ++*(int *)ctx;
    return 1;
}

/* What the process before published goes on until the staple of what comes is
 * here, as it does within one process. */
static void test_held_off_by_the_next(void **state)
{
    X509 *one = leaf_of(NULL, -1, 60), *two = leaf_of(NULL, -1, 90);
    ecert_site_t site = files_site();
    int asked = 0;
    agent_t agent;

    (void)state;
    put_files(one, NULL);
    start(&agent, &site);
    look(&agent, 1000);
    assert_serves(&agent, one);
    put_files(two, NULL);
    ecert_kept_free(&agent.kept);
    ecert_kept_init(&agent.kept, &agent.site, 0);
    agent.keeper.hold_off = hold_off;
    agent.keeper.ctx = &asked;
    ecert_kept_load(&agent.keeper, &agent.kept);
    assert_int_equal(asked, 1);
    assert_serves(&agent, one);
    agent.keeper.hold_off = NULL;
    look(&agent, 10000);
    assert_serves(&agent, two);
    end(&agent);
    X509_free(one);
    X509_free(two);
}

int main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_memory),         TEST(test_no_placeholder),
        TEST(test_too_large),      TEST(test_older),
        TEST(test_issuer_refused), TEST(test_issuer_refused_first),
        TEST(test_held_off_by_the_next),
    };

    if (!starve_openssl()) {
        return 99;
    }
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
