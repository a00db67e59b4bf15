/* What a validator would say to an answer, a name, a TXT record. */

#include "scratch.h"

#include "ecert_dcv_judge.h"

#define CODE "20261125-abcdef"

static ecert_dcv_verdict_t verdict;

static void judge(const void *body, size_t len, const char *code)
{
    ecert_dcv_answer_t *answer = calloc(1, sizeof(*answer));

    answer->status = 200;
    answer->len = len;
    answer->kept = len < ECERT_DCV_KEPT ? len : ECERT_DCV_KEPT;
    memcpy(answer->body, body, answer->kept);
    ecert_dcv_judge(answer, (const unsigned char *)code,
                    code ? strlen(code) : 0, &verdict);
    free(answer);
}

static void assert_said(ecert_dcv_state_t state, const char *what)
{
    assert_string_equal(ecert_dcv_state_word(verdict.state),
                        ecert_dcv_state_word(state));
    if (strstr(verdict.what, what) == NULL) {
        fail_msg("no \"%s\" in \"%s\"", what, verdict.what);
    }
}

static void assert_body(const char *body, ecert_dcv_state_t state,
                        const char *what)
{
    judge(body, strlen(body), CODE "\n");
    assert_said(state, what);
}

static void test_bodies(void **state)
{
    (void)state;
    assert_body(CODE, ECERT_DCV_GOOD, "exactly");
    assert_body(CODE "\n", ECERT_DCV_GOOD, "exactly");
    assert_body(CODE "\r\n\r\n", ECERT_DCV_GOOD, "exactly");
    assert_body(CODE "x", ECERT_DCV_BAD, "behind the code");
    assert_body("\n" CODE, ECERT_DCV_BAD, "blank line");
    assert_body("\xef\xbb\xbf" CODE, ECERT_DCV_BAD, "byte order mark");
    assert_body("x" CODE, ECERT_DCV_BAD, "1 bytes stand before");
    assert_body("<html>" CODE, ECERT_DCV_BAD, "6 bytes stand before");
    assert_body("<html>", ECERT_DCV_BAD, "web page");
    assert_body("", ECERT_DCV_BAD, "empty");
    assert_body("20261125-abcde", ECERT_DCV_BAD, "another answer");
    assert_body("20261125-ABCDEF", ECERT_DCV_BAD, "another answer");
    judge(CODE "\0", sizeof(CODE), CODE);
    assert_said(ECERT_DCV_BAD, "behind the code");
}

/* The 100 bytes: the last place at which the code is in them. */
static void test_first_bytes(void **state)
{
    char body[ECERT_DCV_FIRST + 32];
    size_t n = ECERT_DCV_FIRST - strlen(CODE);

    (void)state;
    memset(body, 'x', sizeof(body));
    strcpy(body + n, CODE);
    assert_body(body, ECERT_DCV_BAD, "85 bytes stand before");
    body[n] = 'x';
    strcpy(body + n + 1, CODE);
    assert_body(body, ECERT_DCV_BAD, "behind the first 100");
}

static void test_long(void **state)
{
    static char code[ECERT_DCV_KEPT + 100], body[ECERT_DCV_KEPT + 100];

    (void)state;
    memset(code, 'c', sizeof(code) - 1);
    memset(body, 'c', sizeof(body) - 1);
    judge(body, strlen(body), code);
    assert_said(ECERT_DCV_GOOD, "exactly");
    judge(body, strlen(body), CODE);
    assert_said(ECERT_DCV_BAD, "another answer");
    body[10] = 'd';
    judge(body, strlen(body), code);
    assert_said(ECERT_DCV_BAD, "another answer");
}

static void test_unknown(void **state)
{
    (void)state;
    judge(CODE, strlen(CODE), NULL);
    assert_said(ECERT_DCV_UNSURE, "\"" CODE "\"");
    judge("<!DOCTYPE html>", 15, NULL);
    assert_said(ECERT_DCV_BAD, "web page");
    judge("\n" CODE, strlen(CODE) + 1, NULL);
    assert_said(ECERT_DCV_BAD, "blank line");
}

static void test_troubles(void **state)
{
    static const ecert_dcv_state_t states[ECERT_DCV_TROUBLES] = {
        [ECERT_DCV_NOT_PUBLIC] = ECERT_DCV_UNSURE,
        [ECERT_DCV_NO_CONNECTION] = ECERT_DCV_SILENT,
        [ECERT_DCV_SLOW_CONNECT] = ECERT_DCV_SILENT,
        [ECERT_DCV_SLOW_READ] = ECERT_DCV_BAD,
        [ECERT_DCV_NO_TLS] = ECERT_DCV_BAD,
        [ECERT_DCV_NOT_HTTP] = ECERT_DCV_BAD,
        [ECERT_DCV_REDIRECT] = ECERT_DCV_BAD,
    };
    ecert_dcv_answer_t *answer = calloc(1, sizeof(*answer));

    (void)state;
    for (int i = ECERT_DCV_ANSWERED + 1; i < ECERT_DCV_TROUBLES; i++) {
        answer->trouble = (ecert_dcv_trouble_t)i;
        memset(answer->why, 'w', sizeof(answer->why) - 1);
        ecert_dcv_judge(answer, (const unsigned char *)CODE, strlen(CODE),
                        &verdict);
        assert_int_equal(verdict.state, states[i]);
        assert_true(verdict.what[0] != '\0' && verdict.hint[0] != '\0');
    }
    free(answer);
}

/* ---- names ------------------------------------------------------------- */

/* "hg" is http good, "Sb" https bad; s, u, b, g. */
static void assert_count(const char *votes, ecert_dcv_state_t state,
                         const char *what)
{
    static const unsigned char digests[2][32] = {{1}, {2}};
    ecert_dcv_vote_t list[8];
    size_t n = 0;

    for (; votes[0]; votes += 2) {
        list[n++] = (ecert_dcv_vote_t){
            votes[0] == 'S',
            votes[1] == 'g'                      ? ECERT_DCV_GOOD
            : votes[1] == 's'                    ? ECERT_DCV_SILENT
            : votes[1] == 'u' || votes[1] == 'v' ? ECERT_DCV_UNSURE
                                                 : ECERT_DCV_BAD,
            votes[1] == 's' ? NULL : digests[votes[1] == 'v']};
    }
    ecert_dcv_count(list, n, &verdict);
    assert_said(state, what);
}

static void test_count(void **state)
{
    (void)state;
    assert_count("hgSg", ECERT_DCV_GOOD, "as it should be");
    assert_count("hgSs", ECERT_DCV_GOOD, "nobody answers by https");
    assert_count("hsSg", ECERT_DCV_GOOD, "nobody answers by http");
    assert_count("hgSb", ECERT_DCV_GOOD, "https gives something else");
    assert_count("hbSg", ECERT_DCV_GOOD, "http gives something else");
    assert_count("hghsSgSg", ECERT_DCV_GOOD, "not every address");
    assert_count("hghbSbSg", ECERT_DCV_BAD, "some addresses only");
    assert_count("hghbSs", ECERT_DCV_BAD, "some addresses only");
    assert_count("hbSb", ECERT_DCV_BAD, "not answered");
    assert_count("hsSs", ECERT_DCV_BAD, "nobody answers at any");
    assert_count("huSu", ECERT_DCV_UNSURE, "not certain");
    assert_count("huSs", ECERT_DCV_UNSURE, "not certain");
    assert_count("huhvSs", ECERT_DCV_BAD, "differ");
    assert_count("huhbSs", ECERT_DCV_BAD, "not answered");
}

/* ---- TXT --------------------------------------------------------------- */

static ecert_dcv_reply_t reply;

static void add(const char *value, unsigned ttl, unsigned strings)
{
    ecert_dns_record_t *record = &reply.records[reply.n++];

    memset(record, 0, sizeof(*record));
    record->ttl = ttl;
    record->strings = strings;
    record->len = strlen(value);
    memcpy(record->value, value, record->len);
}

static void assert_txt(const char *value, ecert_dcv_state_t state,
                       const char *what)
{
    memset(&reply, 0, sizeof(reply));
    reply.authoritative = 1;
    add(value, 3600, 1);
    ecert_dcv_judge_txt(&reply, CODE, 3600, &verdict);
    assert_said(state, what);
}

static void test_txt(void **state)
{
    (void)state;
    assert_txt(CODE, ECERT_DCV_GOOD, "the code");
    assert_txt("\"" CODE "\"", ECERT_DCV_BAD, "quotes");
    assert_txt("\xe2\x80\x9c" CODE "\xe2\x80\x9d", ECERT_DCV_BAD, "quotes");
    assert_txt("'" CODE "'", ECERT_DCV_BAD, "quotes");
    assert_txt(" " CODE, ECERT_DCV_BAD, "blanks");
    assert_txt(CODE "\t", ECERT_DCV_BAD, "blanks");
    assert_txt("20261125-ABCDEF", ECERT_DCV_BAD, "case");
    assert_txt("code=" CODE, ECERT_DCV_BAD, "something else");
    assert_txt("v=spf1 -all", ECERT_DCV_BAD, "another value: v=spf1 -all");
    assert_txt("\033[2J", ECERT_DCV_BAD, "another value: \\x1b[2J");
    assert_txt("", ECERT_DCV_BAD, "another value");
}

static void test_txt_several(void **state)
{
    (void)state;
    memset(&reply, 0, sizeof(reply));
    add("v=spf1 -all", 60, 1);
    add(CODE, 60, 2);
    ecert_dcv_judge_txt(&reply, CODE, 3600, &verdict);
    assert_said(ECERT_DCV_GOOD, "beside 1 other TXT records, in several");
    assert_null(strstr(verdict.what, "TTL")); /* a resolver's counts down */
    reply.authoritative = 1;
    ecert_dcv_judge_txt(&reply, CODE, 3600, &verdict);
    assert_said(ECERT_DCV_GOOD, "TTL is 60");
    ecert_dcv_judge_txt(&reply, CODE, 0, &verdict);
    assert_null(strstr(verdict.what, "TTL"));
    ecert_dcv_judge_txt(&reply, "other", 3600, &verdict);
    assert_said(ECERT_DCV_BAD, "2 TXT records");
    reply.records[1].len = ECERT_DNS_VALUE + 1; /* longer than was kept */
    ecert_dcv_judge_txt(&reply, CODE, 3600, &verdict);
    assert_int_equal(verdict.state, ECERT_DCV_BAD);
}

static void test_txt_codes(void **state)
{
    (void)state;
    for (unsigned code = 1; code < 16; code++) {
        memset(&reply, 0, sizeof(reply));
        reply.code = code;
        add(CODE, 1, 1);
        ecert_dcv_judge_txt(&reply, CODE, 3600, &verdict);
        assert_said(ECERT_DCV_BAD, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies),    cmocka_unit_test(test_first_bytes),
        cmocka_unit_test(test_long),      cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_troubles),  cmocka_unit_test(test_count),
        cmocka_unit_test(test_txt),       cmocka_unit_test(test_txt_several),
        cmocka_unit_test(test_txt_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
