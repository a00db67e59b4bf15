/*
 * The agent's own look at what its server sends: when it is asked for, how long
 * a difference has to stand, and what a lying fetcher can do.  The fetcher is
 * the test.
 */

#include "scratch.h"

#include <sys/socket.h>

#include <netinet/in.h>

#include "ecert_fetcher_work.h"
#include "ecert_jail_work.h"
#include "ecert_log.h"
#include "ecert_net_work.h"
#include "pki.h"

#define SITES_MAX 1000

static ecert_err_t err;
static pki_t *pki;
static ecert_conf_t *conf;
static ecert_keeper_t keeper;
static ecert_net_t *net;
static int fetcher; /* the other end */
static ecert_kept_t *kept;
static ecert_chain_t chain;
static ecert_considered_t leaf;

/* ---- the agent's side -------------------------------------------------- */

static void add_site(int i)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(443)};
    char name[64], *names[1] = {name};
    ecert_vhost_t vhost = {.names = (const char *const *)names, .n_names = 1};
    ecert_site_t site = {.name = name};

    snprintf(name, sizeof(name), "s%d.example.hk", i);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(ecert_conf_add(conf, &site, &err), i);
    assert_int_equal(
        ecert_conf_listen(conf, i, &vhost, (struct sockaddr *)&to, &err), 0);
}

static void begin(int sites)
{
    int ends[2];

    conf = ecert_conf_new();
    for (int i = 0; i < sites; i++) {
        add_site(i);
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    fetcher = ends[1];
    keeper = (ecert_keeper_t){.now = pki->now, .ms = 1000000};
    net = ecert_net_new(&keeper, conf, ends[0], &err);
    assert_non_null(net);
    kept = calloc((size_t)sites, sizeof(*kept));
    leaf = (ecert_considered_t){.cert = pki->leaf};
    chain = (ecert_chain_t){.served = pki_stack(pki->new_sub, pki->cross, NULL),
                            .considered = &leaf,
                            .n_considered = 1,
                            .complete = 1};
    for (int i = 0; i < sites; i++) {
        ecert_kept_init(&kept[i], &conf->sites[i], (uint32_t)i);
        kept[i].held.state = ECERT_STATE_VALID;
        kept[i].held.chain = &chain;
    }
}

static void end(void)
{
    int fd = net->fetcher;

    ecert_net_free(net);
    close(fd);
    close(fetcher);
    pki_stack_free(chain.served);
    free(kept);
    ecert_conf_free(conf);
}

static void publish(int site, unsigned char record)
{
    kept[site].published = 1;
    memset(kept[site].digest, record, sizeof(kept[site].digest));
    ecert_net_look(net, &kept[site]);
}

static void no_touch(void *ctx, uint32_t site)
{
    (void)ctx;
    fail_msg("site %u is touched", (unsigned)site);
}

static void work(void)
{
    ecert_net_work(net, no_touch, NULL);
}

/* Time passes. */
static void pass(int64_t ms)
{
    keeper.ms += ms;
    keeper.now += ms / 1000;
    work();
}

static json_t *served(int site)
{
    static json_t *report;

    json_decref(report);
    report = json_object();
    ecert_net_report(net, (uint32_t)site, report);
    return json_object_get(report, "served");
}

static const char *state(int site)
{
    return json_string_value(json_object_get(served(site), "state"));
}

static const char *member(int site, const char *name)
{
    json_t *list = json_object_get(served(site), "addresses");

    return json_string_value(json_object_get(json_array_get(list, 0), name));
}

/* ---- the fetcher's side ------------------------------------------------ */

/* The next errand; its pipe, or -1 when there is none. */
static int errand(ecert_errand_wire_t *wire)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {wire, sizeof(*wire)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    int fd;

    if (recvmsg(fetcher, &message, 0) != (ssize_t)sizeof(*wire)) {
        return -1;
    }
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    assert_int_equal(wire->kind, ECERT_ERRAND_LOOK);
    return fd;
}

static void no_errand(void)
{
    ecert_errand_wire_t wire;

    work();
    assert_int_equal(errand(&wire), -1);
}

static void answer_with(int fd, STACK_OF(X509) *certs)
{
    ecert_frames_t frames = {0};

    assert_true(fd >= 0);
    assert_int_equal(ecert_sent_write(certs, 0, &frames, &err), 0);
    assert_int_equal(ecert_answer_write(fd, &frames, NULL), 0);
    ecert_frames_free(&frames);
    pki_stack_free(certs);
    close(fd);
    work();
}

static STACK_OF(X509) *right(void)
{
    return pki_stack(pki->leaf, pki->new_sub, pki->cross, NULL);
}

static STACK_OF(X509) *wrong(void)
{
    return pki_stack(pki->new_sub, NULL);
}

static int next(void)
{
    ecert_errand_wire_t wire;

    return errand(&wire);
}

/* ---- tests ------------------------------------------------------------- */

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
