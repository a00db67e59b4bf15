/*
 * The agent's own look at what its server sends: when it is asked for, how long
 * a difference has to stand, and what a lying fetcher can do.  The fetcher is
 * the test.
 */

#include "served_make.h"

static void test_same(void **unused)
{
    (void)unused;
    begin(1);
    publish(0, 1);
    assert_string_equal(state(0), "not-yet");
    pass(4900);
    no_errand();
    pass(1300);
    answer_with(next(), right());
    assert_string_equal(state(0), "as-published");
    assert_non_null(member(0, "compared"));
    assert_string_equal(member(0, "address"), "127.0.0.1:443");
    assert_string_equal(member(0, "name"), "s0.example.hk");
    pass(24 * 3600 * 1000);
    no_errand(); /* never again, until something is published */
    publish(0, 1);
    no_errand(); /* which this was not */
    assert_int_equal(ecert_net_due(net), 0);
    publish(0, 2);
    assert_string_equal(state(0), "not-yet");
    pass(6100);
    answer_with(next(), right());
    assert_string_equal(state(0), "as-published");
    end();
}

static void test_differs(void **unused)
{
    size_t count = ecert_log_count();

    (void)unused;
    begin(1);
    publish(0, 1);
    pass(6100);
    answer_with(next(), wrong());
    assert_string_equal(state(0), "not-yet"); /* not for a minute yet */
    assert_null(member(0, "difference"));
    pass(26900);
    no_errand();
    pass(3200);
    answer_with(next(), wrong());
    assert_string_equal(state(0), "not-yet");
    pass(30000);
    no_errand();
    assert_int_equal(ecert_log_count(), count);
    pass(2100);
    answer_with(next(), wrong());
    assert_string_equal(state(0), "differs");
    assert_non_null(strstr(member(0, "difference"), "another certificate"));
    assert_non_null(member(0, "since"));
    assert_int_equal(ecert_log_count(), count + 1);
    /* looked at ever more rarely, and said once */
    for (int i = 0; i < 50; i++) {
        pass(3600 * 1000 * 5 / 4);
        answer_with(next(), wrong());
        no_errand();
    }
    assert_int_equal(ecert_log_count(), count + 1);
    assert_string_equal(state(0), "differs");
    pass(3600 * 1000 * 5 / 4);
    answer_with(next(), right());
    assert_string_equal(state(0), "as-published");
    pass(24 * 3600 * 1000);
    no_errand();
    end();
}

/* Clients fail, and so does the next look: no need to wait for a minute. */
static void test_failing(void **unused)
{
    ecert_shaken_t got = {.failed = "the alert internal_error"};
    size_t count = ecert_log_count();

    (void)unused;
    begin(1);
    publish(0, 1);
    pass(6100);
    answer(next(), &got);
    assert_string_equal(state(0), "not-yet");
    assert_int_equal(ecert_log_count(), count);
    pass(2900);
    no_errand();
    pass(1300);
    answer(next(), &got);
    assert_string_equal(state(0), "differs");
    assert_string_equal(member(0, "difference"), "the alert internal_error");
    assert_null(member(0, "sha256"));
    assert_int_equal(ecert_log_count(), count + 1);
    pass(3600 * 1000);
    answer_with(next(), right());
    assert_string_equal(state(0), "as-published");
    end();
}

/* A difference that goes within its minute was none. */
static void test_passes(void **unused)
{
    size_t count = ecert_log_count();

    (void)unused;
    begin(1);
    publish(0, 1);
    pass(6100);
    answer_with(next(), wrong());
    pass(30100);
    answer_with(next(), right());
    assert_string_equal(state(0), "as-published");
    pass(3600 * 1000);
    no_errand();
    assert_int_equal(ecert_log_count(), count);
    end();
}

/* The answer to a look from before the swap says nothing. */
static void test_overtaken(void **unused)
{
    int fd;

    (void)unused;
    begin(1);
    publish(0, 1);
    pass(6100);
    fd = next();
    publish(0, 2);
    answer_with(fd, wrong());
    assert_string_equal(state(0), "not-yet");
    assert_null(member(0, "compared"));
    no_errand();
    pass(6100);
    answer_with(next(), right());
    assert_string_equal(state(0), "as-published");
    end();
}

/* Swaps in a row are one look. */
static void test_coalesced(void **unused)
{
    (void)unused;
    begin(1);
    for (unsigned char i = 1; i < 50; i++) {
        publish(0, i);
        pass(100);
        no_errand();
    }
    pass(1200);
    answer_with(next(), right());
    no_errand();
    end();
}

static void test_unreachable(void **unused)
{
    size_t count = ecert_log_count();
    ecert_err_t refused;
    int fd;

    (void)unused;
    begin(1);
    publish(0, 1);
    for (int i = 0; i < 20; i++) {
        pass(3600 * 1000 * 5 / 4);
        fd = next();
        errno = ECONNREFUSED;
        ecert_err(&refused, ECERT_ERR_SYSTEM, "127.0.0.1:443", "connect");
        assert_int_equal(ecert_answer_write(fd, NULL, &refused), 0);
        close(fd);
        work();
        assert_string_equal(state(0), "not-compared");
        assert_non_null(strstr(member(0, "reason"), "refused"));
        no_errand();
    }
    assert_int_equal(ecert_log_count(), count); /* not an error */
    end();
}

/* Silence is bounded. */
static void test_silent(void **unused)
{
    int fd;

    (void)unused;
    begin(1);
    publish(0, 1);
    pass(6100);
    fd = next();
    assert_true(fd >= 0);
    pass(6900);
    assert_string_equal(state(0), "not-yet");
    pass(200);
    assert_string_equal(state(0), "not-compared");
    assert_non_null(strstr(member(0, "reason"), "within 7 seconds"));
    close(fd);
    end();
}

static void put_raw(int fd, unsigned char kind, uint32_t len)
{
    static const unsigned char bytes[4096];
    unsigned char header[5] = {kind};

    memcpy(header + 1, &len, 4);
    assert_int_equal(write(fd, header, 5), 5);
    assert_int_equal(write(fd, bytes, len < 4096 ? len : 4096),
                     len < 4096 ? len : 4096);
}

static void lie_garbage(int fd)
{
    assert_int_equal(write(fd, "HTTP/1.1 200 OK\r\n\r\n", 19), 19);
}

static void lie_thousand(int fd)
{
    for (int i = 0; i < 1000; i++) {
        put_raw(fd, 1, 32);
    }
    put_raw(fd, 0, 0);
}

static void lie_hundred(int fd)
{
    for (int i = 0; i < 100; i++) {
        put_raw(fd, 1, 32);
    }
    put_raw(fd, 0, 0);
}

static void lie_short(int fd)
{
    put_raw(fd, 1, 31);
    put_raw(fd, 0, 0);
}

static void lie_cut(int fd)
{
    put_raw(fd, 1, 32);
}

static void lie_long(int fd)
{
    put_raw(fd, 1, UINT32_MAX);
}

static void lie_twice(int fd)
{
    for (int i = 0; i < 2; i++) {
        put_raw(fd, 1, 32);
        put_raw(fd, 0, 0);
    }
}

static void lie_staples(int fd)
{
    put_raw(fd, 1, 32);
    put_raw(fd, 2, 0);
    put_raw(fd, 2, 0);
    put_raw(fd, 0, 0);
}

static void lie_nothing(int fd)
{
    (void)fd;
}

static void test_hostile(void **unused)
{
    static void (*const lies[])(int fd) = {
        lie_garbage, lie_thousand, lie_hundred, lie_short,  lie_cut,
        lie_long,    lie_twice,    lie_staples, lie_nothing};
    size_t count = ecert_log_count();
    int fd;

    (void)unused;
    begin(1);
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        publish(0, (unsigned char)(i + 1));
        pass(6100);
        fd = next();
        assert_true(fd >= 0);
        lies[i](fd);
        close(fd);
        work();
        assert_string_equal(state(0), "not-compared");
        assert_true(strstr(member(0, "reason"), "no sensible answer") != NULL
                    || strstr(member(0, "reason"), "more came than is allowed")
                           != NULL);
    }
    publish(0, 100);
    pass(6100);
    answer_with(next(), right()); /* and it goes on */
    assert_string_equal(state(0), "as-published");
    assert_int_equal(ecert_log_count(), count);
    end();
}

/* 1,000 at once: a few at a time, over a while, and each once. */
static void test_many(void **unused)
{
    static char seen[SITES_MAX];
    ecert_errand_wire_t wire;
    int fds[SITES_MAX], n, steps = 0, done = 0, most = 0;

    (void)unused;
    begin(SITES_MAX);
    for (int i = 0; i < SITES_MAX; i++) {
        publish(i, 1);
    }
    pass(4900);
    no_errand();
    while (done < SITES_MAX && steps++ < 1000) {
        pass(100);
        do {
            for (n = 0; (fds[n] = errand(&wire)) >= 0; n++) {
                assert_false(seen[wire.target]);
                seen[wire.target] = 1;
            }
            assert_true(n <= ECERT_LOOKS_MAX);
            most = n > most ? n : most;
            for (int i = 0; i < n; i++) {
                answer_with(fds[i], right());
                done++;
            }
        } while (n > 0);
    }
    assert_int_equal(done, SITES_MAX);
    assert_int_equal(most, ECERT_LOOKS_MAX);
    assert_uint_in_range(steps, 150, 250); /* 20 ms for each */
    assert_int_equal(ecert_net_due(net), 0);
    end();
}

/* Looks that get no answer leave the places of all other errands alone. */
static void test_places(void **unused)
{
    int fds[ECERT_LOOKS_MAX];

    (void)unused;
    begin(10);
    for (int i = 0; i < 10; i++) {
        publish(i, 1);
    }
    pass(7000);
    for (int i = 0; i < ECERT_LOOKS_MAX; i++) {
        fds[i] = next();
        assert_true(fds[i] >= 0);
    }
    no_errand();
    for (int i = 0; i < ECERT_ERRANDS_MAX; i++) {
        assert_int_equal(net->errands[i].errand.fd, -1);
    }
    assert_true(ecert_net_due(net) > keeper.ms); /* and no busy loop */
    for (int i = 0; i < ECERT_LOOKS_MAX; i++) {
        close(fds[i]);
    }
    end();
}

static void test_nothing_to_compare(void **unused)
{
    (void)unused;
    begin(1);
    kept[0].held.state = ECERT_STATE_PLACEHOLDER;
    publish(0, 1);
    pass(3600 * 1000);
    no_errand();
    assert_true(json_is_null(served(0)));
    end();

    begin(1);
    close(net->fetcher);
    net->fetcher = -1;
    publish(0, 1);
    pass(3600 * 1000);
    assert_string_equal(state(0), "not-compared");
    assert_non_null(strstr(member(0, "reason"), "no fetcher"));
    conf->fetch = 0;
    assert_string_equal(member(0, "reason"), "ecert_fetch is off");
    net->fetcher = dup(0);
    end();
}

static int setup(void **unused)
{
    (void)unused;
    pki = pki_new(1800000000);
    return pki != NULL ? 0 : -1;
}

static int teardown(void **unused)
{
    (void)unused;
    pki_free(pki);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_differs),
        cmocka_unit_test(test_failing),
        cmocka_unit_test(test_passes),
        cmocka_unit_test(test_overtaken),
        cmocka_unit_test(test_coalesced),
        cmocka_unit_test(test_unreachable),
        cmocka_unit_test(test_silent),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_nothing_to_compare),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
