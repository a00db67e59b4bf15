/* From the servers' addresses to where the agent looks, and by what name. */

#include "scratch.h"

#include <arpa/inet.h>

#include <sys/mman.h>

#include "ecert_target.h"

static ecert_err_t err;
static ecert_conf_t *conf;
static ecert_targets_t targets;

static int setup(void **state)
{
    ecert_site_t store = {.name = "site.example.hk"};
    ecert_site_t files = {.certificate = "/c.pem", .key = "/k.pem"};

    (void)state;
    conf = ecert_conf_new();
    assert_int_equal(ecert_conf_add(conf, &store, &err), 0);
    assert_int_equal(ecert_conf_add(conf, &files, &err), 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ecert_targets_free(&targets);
    ecert_conf_free(conf);
    return 0;
}

static ecert_sockaddr_t address(const char *host, uint16_t port)
{
    ecert_sockaddr_t out = {0};

    if (strchr(host, ':') != NULL) {
        out.v6.sin6_family = AF_INET6;
        out.v6.sin6_port = htons(port);
        assert_int_equal(inet_pton(AF_INET6, host, &out.v6.sin6_addr), 1);
    } else {
        out.v4.sin_family = AF_INET;
        out.v4.sin_port = htons(port);
        assert_int_equal(inet_pton(AF_INET, host, &out.v4.sin_addr), 1);
    }
    return out;
}

static void listen_at(int site, const char *host, uint16_t port,
                      const ecert_vhost_t *vhost)
{
    ecert_sockaddr_t to = address(host, port);

    assert_int_equal(ecert_conf_listen(conf, site, vhost, &to.any, &err), 0);
}

static void named(int site, const char *host, const char *name)
{
    ecert_vhost_t vhost = {.names = &name, .n_names = name != NULL};

    listen_at(site, host, 443, &vhost);
}

/* As the agent has it: over the text. */
static void make(void)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    assert_int_equal(ecert_conf_write(conf, fd, &err), 0);
    ecert_conf_free(conf);
    conf = ecert_conf_read(fd, &err);
    assert_non_null(conf);
    close(fd);
    assert_int_equal(ecert_targets_make(conf, &targets, &err), 0);
}

static void assert_target(size_t i, const char *where, const char *host)
{
    assert_true(i < targets.n);
    assert_string_equal(targets.list[i].where, where);
    assert_string_equal(targets.list[i].host, host);
}

static void assert_goes_to(const ecert_sockaddr_t *to, const char *host)
{
    ecert_sockaddr_t expected = address(host, 443);

    assert_int_equal(to->any.sa_family, expected.any.sa_family);
    assert_memory_equal(to, &expected, ecert_sockaddr_len(to));
}

static void test_addresses(void **state)
{
    struct sockaddr path = {.sa_family = AF_UNIX};
    ecert_vhost_t none = {0};

    (void)state;
    named(0, "192.0.2.1", "a.example.hk");
    named(0, "2001:db8::1", "a.example.hk");
    named(0, "0.0.0.0", "a.example.hk");
    named(0, "::", "a.example.hk");
    named(0, "::", "a.example.hk"); /* twice */
    assert_int_equal(ecert_conf_listen(conf, 0, &none, &path, &err), 0);
    make();
    assert_int_equal(targets.n, 4);
    assert_target(0, "192.0.2.1:443", "a.example.hk");
    assert_target(1, "[2001:db8::1]:443", "a.example.hk");
    assert_target(2, "127.0.0.1:443", "a.example.hk");
    assert_target(3, "[::1]:443", "a.example.hk");
    assert_goes_to(&targets.list[0].address, "192.0.2.1");
    assert_goes_to(&targets.list[1].address, "2001:db8::1");
    assert_goes_to(&targets.list[2].address, "127.0.0.1");
    assert_goes_to(&targets.list[3].address, "::1");
    assert_goes_to(&targets.list[3].other, "127.0.0.1");
    for (size_t i = 0; i < 4; i++) {
        assert_null(targets.list[i].why);
        if (i < 3) {
            assert_int_equal(targets.list[i].other.any.sa_family, AF_UNSPEC);
        }
    }
}

/* What stands at the loopback address itself is reached there instead. */
static void test_hidden(void **state)
{
    (void)state;
    named(0, "0.0.0.0", "a.example.hk");
    named(0, "::", "a.example.hk");
    named(-1, "127.0.0.1", NULL);
    make();
    assert_int_equal(targets.n, 2);
    assert_non_null(strstr(targets.list[0].why, "another virtual host"));
    assert_null(targets.list[1].why);
    assert_int_equal(targets.list[1].other.any.sa_family, AF_UNSPEC);
}

static void test_hidden_elsewhere(void **state)
{
    ecert_vhost_t none = {0};

    (void)state;
    named(0, "0.0.0.0", "a.example.hk");
    listen_at(-1, "127.0.0.1", 4430, &none);
    named(-1, "::1", NULL);
    named(-1, "192.0.2.1", NULL);
    make();
    assert_int_equal(targets.n, 1);
    assert_null(targets.list[0].why);
    assert_int_equal(conf->n_loopbacks, 2);
}

static void test_names(void **state)
{
    static const struct {
        const char *names[3], *host;
    } cases[] = {
        {{NULL}, "site.example.hk"},
        {{"WWW.Example.HK"}, "www.example.hk"},
        {{"*.example.hk"}, "ecert-probe.example.hk"},
        {{"*.example.hk", "example.hk"}, "example.hk"},
        {{"\xe4\xb8\xad\xe5\x9b\xbd.hk"}, "xn--fiqs8s.hk"},
        {{"\xe4\xb8\xad\xe5\x9b\xbd.hk", "*.example.hk"},
         "ecert-probe.example.hk"},
        {{"\xe4\xb8\xad\xe5\x9b\xbd.hk", "xn--fiqs8s.hk"}, "xn--fiqs8s.hk"},
        {{"*.\xe4\xb8\xad\xe5\x9b\xbd.hk"}, "ecert-probe.xn--fiqs8s.hk"},
        {{"127.0.0.1"}, ""},
        {{"a b"}, ""},
    };
    size_t n = sizeof(cases) / sizeof(cases[0]);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        ecert_vhost_t vhost = {.names = cases[i].names};

        while (vhost.n_names < 3 && cases[i].names[vhost.n_names] != NULL) {
            vhost.n_names++;
        }
        listen_at(0, "192.0.2.1", (uint16_t)(1000 + i), &vhost);
    }
    named(1, "192.0.2.1", NULL); /* files elsewhere: there is no name at all */
    make();
    assert_int_equal(targets.n, n + 1);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(targets.list[i].host, cases[i].host);
    }
    assert_string_equal(targets.list[n].host, "");
    assert_int_equal(targets.list[n].site, 1);
}

static void test_flags(void **state)
{
    ecert_vhost_t plain = {0}, proxied = {.proxied = 1}, staples = {0};

    (void)state;
    staples.stapling = 1;
    listen_at(0, "192.0.2.1", 1, &plain);
    listen_at(0, "192.0.2.1", 2, &proxied);
    listen_at(0, "192.0.2.1", 3, &staples);
    make();
    assert_null(targets.list[0].why);
    assert_false(targets.list[0].stapling);
    assert_non_null(strstr(targets.list[1].why, "PROXY"));
    assert_null(targets.list[2].why);
    assert_true(targets.list[2].stapling);
}

static void test_bounds(void **state)
{
    char name[64];

    (void)state;
    for (int i = 0; i < 2 * ECERT_LISTENS_MAX; i++) {
        snprintf(name, sizeof(name), "n%d.example.hk", i);
        named(0, "192.0.2.1", name);
    }
    make();
    assert_int_equal(targets.n, ECERT_LISTENS_MAX);
}

static void test_bad_lines(void **state)
{
    static const char *const bad[] = {"", "0", "x 127.0.0.1:443", "0 "};
    ecert_site_t site = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(ecert_listen_read(&site, bad[i], &err), -1);
        assert_int_equal(err.code, ECERT_ERR_CONF);
    }
    assert_int_equal(site.n_listens, 0);
}

/* Only the configuration makes them; but what is none leads nowhere. */
static void test_no_address(void **state)
{
    static const char *const bad[] = {"0 127.0.0.1",   "0 127.0.0.1:0",
                                      "0 localhost:1", "0 [::1]:99999",
                                      "0 ::1:443",     "0 :443"};
    size_t n = sizeof(bad) / sizeof(bad[0]);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(ecert_listen_read(&conf->sites[0], bad[i], &err), 0);
    }
    assert_int_equal(ecert_targets_make(conf, &targets, &err), 0);
    assert_int_equal(targets.n, n);
    for (size_t i = 0; i < n; i++) {
        assert_non_null(targets.list[i].why);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_addresses),
        TEST(test_hidden),
        TEST(test_hidden_elsewhere),
        TEST(test_names),
        TEST(test_flags),
        TEST(test_bounds),
        TEST(test_bad_lines),
        TEST(test_no_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
