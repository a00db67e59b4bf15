/* What failed is known to the next agent, which goes on with its pauses. */

#include "scratch.h"

#include "ecert_net_work.h"

#define DAY_MS (24 * 3600 * INT64_C(1000))

static ecert_err_t err;
static ecert_conf_t *conf;
static ecert_keeper_t keeper;

static int open_world(void **state)
{
    ecert_site_t site = {.name = "www.example.hk", .stapling = 1};
    int fd = ecert_snap_create(1, &err);

    (void)state;
    conf = ecert_conf_new();
    keeper = (ecert_keeper_t){.now = 1795392000, .ms = DAY_MS};
    keeper.snap = ecert_snap_open_writer(fd, &err);
    close(fd);
    return ecert_conf_add(conf, &site, &err);
}

static int close_world(void **state)
{
    (void)state;
    ecert_snap_close(keeper.snap);
    ecert_conf_free(conf);
    return 0;
}

static ecert_net_t *begin(void)
{
    ecert_net_t *net = ecert_net_new(&keeper, conf, -1, &err);

    assert_non_null(net);
    return net;
}

static uint64_t saved(void)
{
    return ecert_snap_generation(keeper.snap,
                                 ecert_snap_failures_slot(keeper.snap));
}

/* It has failed so often with the response for its leaf. */
static void fail_staple(ecert_net_t *net, unsigned times)
{
    ecert_net_staple_t *staple = &net->sites[0].served;

    staple->leaf = staple->leaf ? staple->leaf : X509_new();
    memset(staple->digest, 0xab, sizeof(staple->digest));
    while (times-- > 0) {
        ecert_err(&err, ECERT_ERR_FETCH, "http://ocsp.example.hk/",
                  "no \"connection\" \\ %s", "\xe4\xb8\xad");
        ecert_net_note(net, &staple->want, &err);
    }
    net->is_changed = 1;
}

static void test_staple(void **state)
{
    ecert_net_t *net = begin(), *next;
    ecert_net_staple_t again = {0};
    ecert_want_t want;

    (void)state;
    fail_staple(net, 3);
    ecert_net_failures_save(net);
    want = net->sites[0].served.want;
    ecert_net_free(net);

    keeper.ms += 10;
    next = begin();
    assert_int_equal(ecert_net_failures_take(next, &again), 0);
    memset(again.digest, 0xab, sizeof(again.digest));
    assert_int_equal(ecert_net_failures_take(next, &again), 1);
    assert_int_equal(again.want.failures, 3);
    assert_int_equal(again.want.due, want.due);
    assert_int_equal(again.want.error_at, want.error_at);
    assert_int_equal(again.want.error.code, ECERT_ERR_FETCH);
    assert_string_equal(again.want.error.file, want.error.file);
    assert_string_equal(again.want.error.detail, want.error.detail);
    assert_string_equal(again.want.error.hint, want.error.hint);
    assert_int_equal(ecert_net_failures_take(next, &again), 0); /* once */
    ecert_net_free(next);
}

static void test_place(void **state)
{
    ecert_net_t *net = begin();
    int64_t due;

    (void)state;
    ecert_err(&err, ECERT_ERR_FETCH, NULL, "HTTP status 500");
    ecert_net_place_failed(net, "http://ca.example.hk/sub.crt", &err);
    due = ecert_net_place(net, "http://ca.example.hk/sub.crt")->due;
    net->is_changed = 1;
    ecert_net_failures_save(net);
    ecert_net_free(net);

    keeper.ms += 10;
    net = begin();
    assert_non_null(ecert_net_place(net, "http://ca.example.hk/sub.crt"));
    assert_int_equal(ecert_net_place(net, "http://ca.example.hk/sub.crt")->due,
                     due);
    assert_null(ecert_net_place(net, "http://ca.example.hk/other.crt"));
    keeper.ms = due + 1; /* and its next pause is the longer one */
    ecert_net_place_failed(net, "http://ca.example.hk/sub.crt", &err);
    assert_int_equal(
        ecert_net_place(net, "http://ca.example.hk/sub.crt")->failures, 2);
    ecert_net_free(net);
}

/* Written when something has changed, once a second. */
static void test_seldom(void **state)
{
    ecert_net_t *net = begin();

    (void)state;
    net->is_changed = 1;
    ecert_net_failures_save(net);
    assert_int_equal(saved(), 0); /* nothing has failed */
    keeper.ms += 1000;
    fail_staple(net, 1);
    ecert_net_failures_save(net);
    assert_int_equal(saved(), 1);
    keeper.ms += 999;
    fail_staple(net, 1);
    assert_int_equal(ecert_net_due(net), keeper.ms + 1);
    ecert_net_failures_save(net);
    assert_int_equal(saved(), 1);
    keeper.ms += 1;
    ecert_net_failures_save(net);
    assert_int_equal(saved(), 2);
    assert_int_equal(ecert_net_due(net), 0);
    keeper.ms += 1000;
    ecert_net_came(&net->sites[0].served.want);
    net->is_changed = 1;
    ecert_net_failures_save(net);
    assert_int_equal(saved(), 3);
    ecert_net_free(net);
    net = begin();
    assert_int_equal(json_object_size(net->past), 0);
    ecert_net_free(net);
}

/* However many there are, what is published fits. */
static void test_many(void **state)
{
    ecert_net_t *net = begin();
    char url[2000], tail[1000];

    (void)state;
    memset(tail, '\\', sizeof(tail) - 1);
    tail[sizeof(tail) - 1] = '\0';
    for (int i = 0; i < ECERT_NET_PLACES; i++) {
        snprintf(url, sizeof(url), "http://ca.example.hk/%d/%s", i, tail);
        ecert_err(&err, ECERT_ERR_FETCH, NULL, "%s", tail);
        ecert_net_place_failed(net, url, &err);
    }
    net->is_changed = 1;
    ecert_net_failures_save(net);
    assert_int_equal(saved(), 1);
    ecert_net_free(net);
    net = begin();
    assert_true(net->n_places > 100 && net->n_places < ECERT_NET_PLACES);
    ecert_net_free(net);
}

static void test_bad_records(void **state)
{
    static const char *const bad[] = {
        "x",
        "{}",
        "[1,null,[]]",
        "[{\"url\":1}]",
        "[{\"leaf\":\"ab\"}]",
        "[{\"url\":\"u\",\"failures\":1,\"due\":1.5,\"word\":[]}]",
        "[{\"url\":\"v\",\"failures\":1,\"due\":9000000000000000000}]",
        "[{\"url\":\"w\",\"failures\":-1,\"due\":-1,\"word\":\"none\"}]"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ecert_net_t *net;

        assert_int_equal(ecert_snap_publish(
                             keeper.snap, ecert_snap_failures_slot(keeper.snap),
                             (const void *)bad[i], strlen(bad[i]), &err),
                         0);
        net = begin();
        /* at once, not in a thousand years */
        assert_true(net->n_places == 0 || net->places[0].due <= keeper.ms);
        ecert_net_free(net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_staple, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_place, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_seldom, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_many, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_bad_records, open_world,
                                        close_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
