/* Addresses that the fetcher may connect to. */

#include "scratch.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "ecert_addr.h"

static ecert_err_t err;

static int ask(const char *text, unsigned port, const ecert_network_t *allowed,
               size_t n)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    struct sockaddr_in in = {.sin_family = AF_INET};

    in.sin_port = in6.sin6_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
        return ecert_addr_allowed((struct sockaddr *)&in, allowed, n);
    }
    assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
    return ecert_addr_allowed((struct sockaddr *)&in6, allowed, n);
}

/* Each network's first and last address, and their neighbours. */
static void test_special(void **state)
{
    static const struct {
        const char *before, *first, *last, *after;
    } rows[] = {
        {NULL, "0.0.0.0", "0.255.255.255", "1.0.0.0"},
        {"9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
        {"100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"},
        {"126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"},
        {"169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"},
        {"172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"},
        {"191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"},
        {"192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"},
        {"192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"},
        {"192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"},
        {"198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"},
        {"198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"},
        {"203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"},
        {"223.255.255.255", "224.0.0.0", "255.255.255.255", NULL},
        {NULL, "::", "1fff:ffff::ffff", "2000::"},
        {NULL, "::1", "::ffff", NULL},
        {NULL, "::127.0.0.1", "::8.8.8.8", NULL},
        {NULL, "64:ff9b:1::", "64:ff9b:1:ffff::8.8.8.8", NULL},
        {NULL, "100::", "100::ffff:ffff:ffff:ffff", NULL},
        {"2000:ffff::", "2001::", "2001:1ff:ffff::ffff", "2001:200::"},
        {"2001:db7:ffff::", "2001:db8::", "2001:db8:ffff::1", "2001:db9::"},
        {"3ffe:ffff::", "3fff::", "3fff:fff:ffff::1", "3fff:1000::"},
        {"3fff:ffff::", "4000::", "ffff:ffff::1", NULL},
        {NULL, "5f00::", "5f00:ffff::1", NULL},
        {NULL, "fc00::1", "fdff::1", NULL},
        {NULL, "fe80::1", "febf::1", NULL},
        {NULL, "fec0::1", "feff::1", NULL},
        {NULL, "ff02::1", "ff0e::1", NULL},
        {"::ffff:9.9.9.9", "::ffff:10.0.0.0", "::ffff:10.9.9.9",
         "::ffff:11.0.0.0"},
        {"64:ff9b::8.8.8.8", "64:ff9b::127.0.0.1", "64:ff9b::192.168.1.1",
         "64:ff9b::193.0.0.1"},
        {"2002:7eff:ffff::", "2002:7f00:1::", "2002:7fff:ffff::1",
         "2002:8000::"},
        {"2001:4860:4860::8888", "2002:a00:1::8888",
         "2002:c0a8:101::", "2002:808:808::1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *good[] = {rows[i].before, rows[i].after};
        const char *bad[] = {rows[i].first, rows[i].last};

        for (int j = 0; j < 2; j++) {
            if (ask(bad[j], 443, NULL, 0) || ask(bad[j], 80, NULL, 0)) {
                fail_msg("%s is allowed", bad[j]);
            }
            if (good[j] != NULL
                && (!ask(good[j], 443, NULL, 0) || !ask(good[j], 80, NULL, 0)
                    || ask(good[j], 22, NULL, 0) || ask(good[j], 0, NULL, 0)
                    || ask(good[j], 8080, NULL, 0))) {
                fail_msg("%s is not what it was", good[j]);
            }
        }
    }
}

static void test_allowed(void **state)
{
    ecert_network_t list[3];

    (void)state;
    assert_int_equal(ecert_network_parse("10.1.0.0/16", &list[0], &err), 0);
    assert_int_equal(ecert_network_parse("127.0.0.1", &list[1], &err), 0);
    assert_int_equal(ecert_network_parse("fd00:1::/33", &list[2], &err), 0);
    assert_true(ask("10.1.2.3", 8080, list, 3));
    assert_true(ask("::ffff:10.1.2.3", 22, list, 3));
    assert_true(ask("127.0.0.1", 0, list, 3));
    assert_true(ask("fd00:1:7fff::1", 65535, list, 3));
    assert_false(ask("fd00:1:8000::1", 80, list, 3));
    assert_false(ask("10.2.0.0", 80, list, 3));
    assert_false(ask("127.0.0.2", 80, list, 3));
    assert_false(ask("64:ff9b::10.1.2.3", 80, list, 3));
    assert_false(ask("2002:a01:203::1", 80, list, 3));
    assert_false(ask("10.1.2.3", 80, list, 0));
    assert_true(ask("8.8.8.8", 80, list, 3));
    assert_false(ask("8.8.8.8", 8080, list, 3));
}

/* All of IPv6 is not IPv4, nor the other way round. */
static void test_all(void **state)
{
    ecert_network_t all6, all4;

    (void)state;
    assert_int_equal(ecert_network_parse("::/0", &all6, &err), 0);
    assert_int_equal(ecert_network_parse("0.0.0.0/0", &all4, &err), 0);
    assert_true(ask("::1", 1, &all6, 1));
    assert_true(ask("fe80::1", 1, &all6, 1));
    assert_false(ask("127.0.0.1", 80, &all6, 1));
    assert_false(ask("::ffff:127.0.0.1", 80, &all6, 1));
    assert_true(ask("127.0.0.1", 1, &all4, 1));
    assert_true(ask("255.255.255.255", 1, &all4, 1));
    assert_false(ask("::1", 80, &all4, 1));
    assert_false(ask("::127.0.0.1", 80, &all4, 1));
}

static void test_other_families(void **state)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr none = {.sa_family = AF_UNSPEC};

    (void)state;
    assert_false(ecert_addr_allowed((struct sockaddr *)&un, NULL, 0));
    assert_false(ecert_addr_allowed(&none, NULL, 0));
}

/* What stands for a name in a configuration. */
static void test_is(void **state)
{
    static const char *const addresses[] = {"127.0.0.1", "::1", "[::1]",
                                            "2001:db8::1", "::ffff:192.0.2.1"};
    static const char *const names[] = {"",       "1.hk",    "192.0.2.1.hk",
                                        "*.a.hk", "192.0.2", "localhost"};

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        assert_true(ecert_addr_is(addresses[i]));
    }
    for (size_t i = 0; i < 6; i++) {
        assert_false(ecert_addr_is(names[i]));
    }
}

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        unsigned bits;
        const char *address;
    } rows[] = {
        {"10.0.0.0/8", 104, "::ffff:10.0.0.0"},
        {"127.0.0.1", 128, "::ffff:127.0.0.1"},
        {"127.0.0.1/32", 128, "::ffff:127.0.0.1"},
        {"0.0.0.0/0", 96, "::ffff:0.0.0.0"},
        {"172.16.0.0/12", 108, "::ffff:172.16.0.0"},
        {"fd00::/8", 8, "fd00::"},
        {"::/0", 0, "::"},
        {"::1", 128, "::1"},
        {"2001:db8:1234:5678:9abc:def0:1234:5678/128", 128,
         "2001:db8:1234:5678:9abc:def0:1234:5678"},
        {"::ffff:10.0.0.0/104", 104, "::ffff:10.0.0.0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ecert_network_t network;
        unsigned char expected[16];

        if (ecert_network_parse(rows[i].text, &network, &err) != 0) {
            fail_msg("%s: %s", rows[i].text, err.detail);
        }
        assert_int_equal(network.bits, rows[i].bits);
        assert_int_equal(inet_pton(AF_INET6, rows[i].address, expected), 1);
        assert_memory_equal(network.address, expected, 16);
    }
}

static void test_wrong(void **state)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"", "such as"},
        {"/8", "such as"},
        {"10", "such as"},
        {"10.0.0/8", "such as"},
        {"10.0.0.0.0/8", "such as"},
        {"010.0.0.0/8", "such as"},
        {"10.0.0.256", "such as"},
        {" 10.0.0.0/8", "such as"},
        {"localhost", "such as"},
        {"[::1]", "such as"},
        {"fe80::1%lo", "such as"},
        {"::g/8", "such as"},
        {"1111:1111:1111:1111:1111:1111:1111:1111:1111:1111/8", "such as"},
        {"10.0.0.0/", "from 0 to 32"},
        {"10.0.0.0/33", "from 0 to 32"},
        {"10.0.0.0/-1", "from 0 to 32"},
        {"10.0.0.0/+8", "from 0 to 32"},
        {"10.0.0.0/8 ", "from 0 to 32"},
        {"10.0.0.0/8/8", "from 0 to 32"},
        {"10.0.0.0/255.0.0.0", "from 0 to 32"},
        {"10.0.0.0/4294967304", "from 0 to 32"},
        {"fd00::/129", "from 0 to 128"},
        {"fd00::/", "from 0 to 128"},
        {"10.1.0.0/8", "10.0.0.0/8"},
        {"192.168.1.10/24", "192.168.1.0/24"},
        {"127.0.0.1/31", "127.0.0.0/31"},
        {"1.2.3.4/0", "0.0.0.0/0"},
        {"fd00::1/8", "fd00::/8"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ecert_network_t network;

        if (ecert_network_parse(rows[i].text, &network, &err) == 0) {
            fail_msg("\"%s\" is a network", rows[i].text);
        }
        assert_int_equal(err.code, ECERT_ERR_CONF);
        assert_string_equal(err.file, rows[i].text);
        if (strstr(err.detail, rows[i].words) == NULL) {
            fail_msg("%s: \"%s\"", rows[i].text, err.detail);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_special), cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_all),     cmocka_unit_test(test_other_families),
        cmocka_unit_test(test_is),      cmocka_unit_test(test_parse),
        cmocka_unit_test(test_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
