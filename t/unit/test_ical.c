/* iCalendar as written, and as a small reader of RFC 5545 understands it. */

#include "asserts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ecert_calendar.h"

#define NOW ((int64_t)1795521600) /* 2026-11-24T12:00:00Z */
#define DAY ((int64_t)1810080000) /* 2027-05-12 */

#define HEAD                                                                   \
    "BEGIN:VCALENDAR\r\n"                                                      \
    "VERSION:2.0\r\n"                                                          \
    "PRODID:-//ecert//ecert//EN\r\n"                                           \
    "CALSCALE:GREGORIAN\r\n"                                                   \
    "METHOD:PUBLISH\r\n"
#define TAIL "END:VCALENDAR\r\n"

static ecert_err_t err;

static ecert_ical_t *begun(void)
{
    ecert_ical_t *ical = ecert_ical_new(NOW, &err);
    assert_non_null(ical);
    return ical;
}

static void add(ecert_ical_t *ical, const char *uid, const char *summary,
                const char *description, unsigned alarm_days)
{
    assert_int_equal(
        ecert_ical_add(ical, uid, DAY, summary, description, alarm_days, &err),
        0);
}

static char *ended(ecert_ical_t *ical)
{
    char *text = ecert_ical_end(ical, &err);
    assert_non_null(text);
    return text;
}

/* Checks the lines as they are, and joins the folded ones: free(). */
static char *unfolded(const char *text)
{
    char *out = calloc(1, strlen(text) + 1);
    size_t n = 0;
    assert_non_null(out);
    while (*text != '\0') {
        const char *end = strstr(text, "\r\n");
        assert_non_null(end);
        size_t len = (size_t)(end - text);
        assert_uint_in_range(len, 1, 75);
        assert_null(memchr(text, '\n', len));
        assert_null(memchr(text, '\r', len));
        if (*text == ' ') {
            assert_true(n > 0);
            /* no fold within a character */
            assert_true(len > 1 && ((unsigned char)text[1] & 0xc0) != 0x80);
            n--;
            text++;
            len--;
        }
        memcpy(out + n, text, len);
        out[n + len] = '\n';
        n += len + 1;
        text = end + 2;
    }
    return out;
}

/* The n-th value (from 0) of a property, with what was escaped set right. */
static int value_of(const char *lines, const char *name, int n, char *out,
                    size_t size)
{
    size_t len = strlen(name), used = 0;
    const char *p = lines;
    while (p != NULL && *p != '\0') {
        if (strncmp(p, name, len) == 0 && p[len] == ':' && n-- == 0) {
            break;
        }
        p = strchr(p, '\n');
        p = p ? p + 1 : NULL;
    }
    if (p == NULL || *p == '\0') {
        return 0;
    }
    for (p += len + 1; *p != '\n'; p++) {
        assert_true(used + 1 < size);
        assert_true(*p != ';' && *p != ',');
        int escaped = *p == '\\';
        p += escaped;
        assert_true(!escaped || strspn(p, "\\;,nN") > 0);
        out[used++] = escaped && (*p | 0x20) == 'n' ? '\n' : *p;
    }
    out[used] = '\0';
    return 1;
}

/* Components lie within each other as they should; returns how many events. */
static int balanced(const char *lines)
{
    char open[8][32];
    int depth = 0, events = 0;
    for (const char *p = lines; *p != '\0'; p = strchr(p, '\n') + 1) {
        char word[32];
        if (sscanf(p, "BEGIN:%31[A-Z]\n", word) == 1) {
            assert_uint_in_range(depth, 0, 2);
            memcpy(open[depth++], word, sizeof(word));
            events += strcmp(word, "VEVENT") == 0;
        } else if (sscanf(p, "END:%31[A-Z]\n", word) == 1) {
            assert_true(depth > 0);
            assert_string_equal(open[--depth], word);
        } else {
            assert_true(depth > 0);
        }
    }
    assert_int_equal(depth, 0);
    return events;
}

static int count(const char *lines, const char *name)
{
    char value[4096];
    int n = 0;
    while (value_of(lines, name, n, value, sizeof(value))) {
        n++;
    }
    return n;
}

static void assert_value(const char *lines, const char *name, int n,
                         const char *expected)
{
    char value[4096];
    if (!value_of(lines, name, n, value, sizeof(value))) {
        fail_msg("there is no %s", name);
    }
    assert_string_equal(value, expected);
}

static void whole(void **state)
{
    (void)state;
    ecert_ical_t *ical = begun();
    add(ical, "renew-1@www.example.hk", "Renew www.example.hk",
        "Ask the CA, then:\n\tecert install", 7);
    add(ical, "end-1@www.example.hk", "It ends", "", 0);
    char *text = ended(ical);
    assert_string_equal(text, HEAD "BEGIN:VEVENT\r\n"
                                   "UID:renew-1@www.example.hk\r\n"
                                   "DTSTAMP:20261124T120000Z\r\n"
                                   "DTSTART;VALUE=DATE:20270512\r\n"
                                   "DTEND;VALUE=DATE:20270513\r\n"
                                   "SUMMARY:Renew www.example.hk\r\n"
                                   "DESCRIPTION:Ask the CA\\, then:\\n"
                                   "ecert install\r\n"
                                   "TRANSP:TRANSPARENT\r\n"
                                   "BEGIN:VALARM\r\n"
                                   "ACTION:DISPLAY\r\n"
                                   "TRIGGER:-P7D\r\n"
                                   "DESCRIPTION:Renew www.example.hk\r\n"
                                   "END:VALARM\r\n"
                                   "END:VEVENT\r\n"
                                   "BEGIN:VEVENT\r\n"
                                   "UID:end-1@www.example.hk\r\n"
                                   "DTSTAMP:20261124T120000Z\r\n"
                                   "DTSTART;VALUE=DATE:20270512\r\n"
                                   "DTEND;VALUE=DATE:20270513\r\n"
                                   "SUMMARY:It ends\r\n"
                                   "DESCRIPTION:\r\n"
                                   "TRANSP:TRANSPARENT\r\n"
                                   "BEGIN:VALARM\r\n"
                                   "ACTION:DISPLAY\r\n"
                                   "TRIGGER:PT0S\r\n"
                                   "DESCRIPTION:It ends\r\n"
                                   "END:VALARM\r\n"
                                   "END:VEVENT\r\n" TAIL);
    free(text);
    text = ended(begun());
    assert_string_equal(text, HEAD TAIL);
    free(text);
}

/* What goes in comes out again, at every length that a fold may meet. */
static void folds(void **state)
{
    static const char *const signs[] = {
        "x", "\xc3\xa9", "\xe9\xa6\x99", "\xf0\x9f\x94\x92", ",", "\\n", "\n"};
    (void)state;
    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
        for (size_t before = 0; before < 80; before++) {
            char in[512];
            size_t len = before;
            memset(in, 'a', before);
            while (len < 400) {
                memcpy(in + len, signs[i], strlen(signs[i]));
                len += strlen(signs[i]);
            }
            in[len] = '\0';
            ecert_ical_t *ical = begun();
            add(ical, in, in, in, 7);
            char *text = ended(ical), *lines = unfolded(text);
            assert_int_equal(balanced(lines), 1);
            assert_value(lines, "UID", 0, in);
            assert_value(lines, "SUMMARY", 0, in);
            assert_value(lines, "DESCRIPTION", 0, in);
            assert_value(lines, "DESCRIPTION", 1, in);
            free(lines);
            free(text);
        }
    }
}

/* 75 octets are a line still; the next begins with a blank, which counts. */
static void fold_places(void **state)
{
    char in[256], want[512];
    (void)state;
    memset(in, 'a', 67 + 75);
    in[67 + 75] = '\0';
    snprintf(want, sizeof(want), "\r\nSUMMARY:%.67s\r\n %.74s\r\n a\r\n", in,
             in);
    ecert_ical_t *ical = begun();
    add(ical, "u", in, "", 0);
    char *text = ended(ical);
    assert_non_null(strstr(text, want));
    free(text);
    in[67] = '\0';
    snprintf(want, sizeof(want), "\r\nSUMMARY:%s\r\nDESC", in);
    ical = begun();
    add(ical, "u", in, "", 0);
    text = ended(ical);
    assert_non_null(strstr(text, want));
    free(text);
    /* a sign of three octets has no room after 74 */
    memcpy(in + 66, "\xe9\xa6\x99", 4);
    snprintf(want, sizeof(want), "\r\nSUMMARY:%.66s\r\n \xe9\xa6\x99\r\n", in);
    ical = begun();
    add(ical, "u", in, "", 0);
    text = ended(ical);
    assert_non_null(strstr(text, want));
    free(text);
}

static void escapes(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"a\\b;c,d\ne:\"f\"", "a\\\\b\\;c\\,d\\ne:\"f\""},
        {"two\r\nlines", "two\\nlines"},
        {"\n\n", "\\n\\n"},
        {"\x01"
         "a\tb\rc\x1b[0m\x7f"
         "d",
         "abc[0md"},
        {"END:VEVENT\r\nBEGIN:VEVENT", "END:VEVENT\\nBEGIN:VEVENT"},
        {"\xc2\x80"
         "a\xc2\x9f"
         "b\xc2\xa0",
         "ab\xc2\xa0"},
        {"\xe9\xa6\x99\xe6\xb8\xaf", "\xe9\xa6\x99\xe6\xb8\xaf"},
        /* no UTF-8: alone, cut off, overlong, a surrogate, beyond Unicode */
        {"\x80"
         "a\xff\xfe",
         "?a??"},
        {"a\xe9\xa6", "a??"},
        {"\xf0\x9f\x94", "???"},
        {"\xc0\xaf\xe0\x9f\xbf\xf0\x8f\xbf\xbf", "?????????"},
        {"\xed\xa0\x80\xf4\x90\x80\x80", "???????"},
        {"\xed\x9f\xbf\xf4\x8f\xbf\xbf", "\xed\x9f\xbf\xf4\x8f\xbf\xbf"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char want[512];
        ecert_ical_t *ical = begun();
        add(ical, rows[i].in, rows[i].in, rows[i].in, 1);
        char *text = ended(ical);
        static const char *const names[] = {"UID", "SUMMARY", "DESCRIPTION"};
        for (size_t k = 0; k < 3; k++) {
            snprintf(want, sizeof(want), "\r\n%s:%s\r\n", names[k],
                     rows[i].out);
            if (strstr(text, want) == NULL) {
                fail_msg("row %zu: no %s in %s", i, want, text);
            }
        }
        char *lines = unfolded(text);
        assert_int_equal(balanced(lines), 1);
        free(lines);
        free(text);
    }
}

/* What RFC 5545, 3.6 demands of each component, once each. */
static void required(void **state)
{
    static const char *const once[] = {"VERSION", "PRODID", "CALSCALE",
                                       "METHOD"};
    static const char *const each[] = {"UID",
                                       "DTSTAMP",
                                       "DTSTART;VALUE=DATE",
                                       "DTEND;VALUE=DATE",
                                       "SUMMARY",
                                       "TRANSP",
                                       "ACTION",
                                       "TRIGGER"};
    (void)state;
    ecert_ical_t *ical = begun();
    for (unsigned i = 0; i < 250; i++) {
        char uid[64];
        snprintf(uid, sizeof(uid), "%u@example.hk", i);
        add(ical, uid, "S", "D", i);
    }
    char *text = ended(ical), *lines = unfolded(text);
    assert_int_equal(balanced(lines), 250);
    for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++) {
        assert_int_equal(count(lines, once[i]), 1);
    }
    for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
        assert_int_equal(count(lines, each[i]), 250);
    }
    assert_int_equal(count(lines, "DESCRIPTION"), 500);
    assert_value(lines, "TRIGGER", 0, "PT0S");
    assert_value(lines, "TRIGGER", 249, "-P249D");
    assert_value(lines, "UID", 249, "249@example.hk");
    free(lines);
    free(text);
}

static void days(void **state)
{
    static const struct {
        int64_t day;
        const char *start, *end; /* NULL: refused */
    } rows[] = {
        {0, "19700101", "19700102"},
        {951782400, "20000229", "20000301"},
        {1830297599, "20271231", "20280101"}, /* its last second */
        {253402128000, "99991230", "99991231"},
        {253402214400, NULL, NULL},
        {-1, NULL, NULL},
        {INT64_MAX, NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ecert_ical_t *ical = begun();
        int rc = ecert_ical_add(ical, "u", rows[i].day, "S", "D", 7, &err);
        char *text = ended(ical);
        if (rows[i].start == NULL) {
            assert_int_equal(rc, -1);
            assert_int_equal(err.code, ECERT_ERR_USAGE);
            assert_string_equal(text, HEAD TAIL);
        } else {
            assert_int_equal(rc, 0);
            char *lines = unfolded(text);
            assert_value(lines, "DTSTART;VALUE=DATE", 0, rows[i].start);
            assert_value(lines, "DTEND;VALUE=DATE", 0, rows[i].end);
            free(lines);
        }
        free(text);
    }
    assert_null(ecert_ical_new(INT64_MIN, &err));
    assert_int_equal(err.code, ECERT_ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),       cmocka_unit_test(folds),
        cmocka_unit_test(fold_places), cmocka_unit_test(escapes),
        cmocka_unit_test(required),    cmocka_unit_test(days),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
