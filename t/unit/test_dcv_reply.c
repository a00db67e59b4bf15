/* Answers of name servers: sound ones, cut ones, and noise. */

#include "scratch.h"

#include "ecert_dcv_reply.h"

#define HEAD(code, questions, answers)                                         \
    "\x12\x34\x84" code "\0" questions "\0" answers "\0\0\0\0"
#define QUESTION               "\3www\7example\2hk\0\0\x10\0\1"
#define RECORD(type, ttl, len) "\xc0\x0c\0" type "\0\1\0\0" ttl "\0" len

static ecert_dcv_reply_t reply;

/* Nothing readable stands behind the bytes. */
static int take(const void *bytes, size_t len, unsigned type)
{
    unsigned char *copy = malloc(len ? len : 1);
    int rc;

    memcpy(copy, bytes, len);
    rc = ecert_dcv_reply(copy, len, type, "www.example.hk", &reply);
    free(copy);
    return rc;
}

static const char txt[] = HEAD("\0", "\1", "\2") QUESTION RECORD(
    "\x10", "\x0e\x10", "\7") "\2ab\3cde" RECORD("\x10", "\0\x3c", "\2") "\1x";

static void test_txt(void **state)
{
    (void)state;
    assert_int_equal(take(txt, sizeof(txt) - 1, ECERT_DNS_TXT), 0);
    assert_int_equal(reply.n, 2);
    assert_int_equal(reply.authoritative, 1);
    assert_int_equal(reply.records[0].ttl, 3600);
    assert_int_equal(reply.records[0].strings, 2);
    assert_int_equal(reply.records[0].len, 5);
    assert_memory_equal(reply.records[0].value, "abcde", 5);
    assert_int_equal(reply.records[1].ttl, 60);
    assert_int_equal(take(txt, sizeof(txt) - 1, ECERT_DNS_A), 0);
    assert_int_equal(reply.n, 0);
}

static void test_cut(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof(txt) - 1; len++) {
        assert_int_equal(take(txt, len, ECERT_DNS_TXT), -1);
    }
}

static void test_names(void **state)
{
    static const char ns[] = HEAD("\0", "\1", "\2")
        QUESTION RECORD("\2", "\0\x3c", "\6") "\3ns1\xc0\x10"
                                              "\xc0\x10\0\2\0\1\0\0\0\x3c\0\6"
                                              "\3ns2\xc0\x10";
    static const char alias[] = HEAD("\0", "\1", "\2") QUESTION RECORD(
        "\5", "\0\x3c", "\4") "\1a\xc0\x10"
                              "\1a\xc0\x10\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1";

    (void)state;
    assert_int_equal(take(ns, sizeof(ns) - 1, ECERT_DNS_NS), 0);
    assert_int_equal(reply.n, 1); /* the other is the zone's above */
    assert_string_equal((char *)reply.records[0].value, "ns1.example.hk");
    assert_int_equal(take(alias, sizeof(alias) - 1, ECERT_DNS_A), 0);
    assert_string_equal(reply.alias, "a.example.hk");
    assert_int_equal(reply.n, 1);
    assert_memory_equal(reply.records[0].value, "\xc0\0\2\1", 4);
}

static void test_malformed(void **state)
{
    static const char loop[] = HEAD("\0", "\0", "\1") "\xc0\x0c";
    static const char loops[] = HEAD("\0", "\0", "\1") "\1a\xc0\x0c";
    static const char wide[] = HEAD("\0", "\0", "\1") "\x40xx";
    static const char address[] =
        HEAD("\0", "\1", "\1") QUESTION RECORD("\1", "\0\x3c", "\3") "\1\2\3";
    static const char string[] =
        HEAD("\0", "\1", "\1") QUESTION RECORD("\x10", "\0\x3c", "\2") "\2x";

    (void)state;
    assert_int_equal(take(loop, sizeof(loop) - 1, ECERT_DNS_TXT), -1);
    assert_int_equal(take(loops, sizeof(loops) - 1, ECERT_DNS_TXT), -1);
    assert_int_equal(take(wide, sizeof(wide) - 1, ECERT_DNS_TXT), -1);
    assert_int_equal(take(address, sizeof(address) - 1, ECERT_DNS_A), -1);
    assert_int_equal(take(string, sizeof(string) - 1, ECERT_DNS_TXT), -1);
    assert_int_equal(take("\x12\x34\0\0\0\0\0\0\0\0\0\0", 12, ECERT_DNS_TXT),
                     -1); /* a question */
}

static void test_codes(void **state)
{
    static const char none[] = HEAD("\3", "\0", "\0");
    static const char odd[] = HEAD("\0", "\1", "\1")
        QUESTION RECORD("\5", "\0\x3c", "\5") "\3\033[J\0";

    (void)state;
    assert_int_equal(take(none, sizeof(none) - 1, ECERT_DNS_TXT), 0);
    assert_int_equal(reply.code, ECERT_DNS_NXDOMAIN);
    assert_int_equal(take(odd, sizeof(odd) - 1, ECERT_DNS_TXT), 0);
    assert_string_equal(reply.alias, "??J");
}

/* Each byte of a sound answer replaced by each other byte. */
static void test_noise(void **state)
{
    char copy[sizeof(txt)];

    (void)state;
    for (size_t at = 0; at < sizeof(txt) - 1; at++) {
        memcpy(copy, txt, sizeof(txt));
        for (int byte = 0; byte < 256; byte++) {
            copy[at] = (char)byte;
            take(copy, sizeof(txt) - 1, ECERT_DNS_TXT);
            take(copy, sizeof(txt) - 1, ECERT_DNS_NS);
            assert_true(reply.n <= ECERT_DNS_RECORDS);
        }
    }
}

/* More records and longer ones than are kept. */
static void test_many(void **state)
{
    static unsigned char bytes[64 * 1024];
    size_t len = 12;

    (void)state;
    memcpy(bytes, HEAD("\0", "\0", "\x64"), 12);
    for (int i = 0; i < 100; i++) {
        memcpy(bytes + len, "\0\0\x10\0\1\0\0\0\1\2\x58", 11);
        len += 11;
        memset(bytes + len, 199, 600); /* three strings of 199 */
        len += 600;
    }
    assert_int_equal(take(bytes, len, ECERT_DNS_TXT), 0);
    assert_int_equal(reply.n, ECERT_DNS_RECORDS);
    assert_int_equal(reply.records[0].len, 597);
    assert_int_equal(reply.records[0].strings, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_txt),   cmocka_unit_test(test_cut),
        cmocka_unit_test(test_names), cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_codes), cmocka_unit_test(test_noise),
        cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
