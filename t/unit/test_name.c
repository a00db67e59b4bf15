/* Host names: one spelling, folders, and what a certificate covers. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/err.h>

#include "ecert_name.h"
#include "pki.h"

static void good_names(void **state)
{
    static const struct {
        const char *name, *ascii;
    } rows[] = {
        {"www.example.hk", "www.example.hk"},
        {"WWW.Example.HK.", "www.example.hk"},
        {"localhost", "localhost"},
        {"*.Example.hk", "*.example.hk"},
        {"*.hk", "*.hk"},
        {"*\xe3\x80\x82"
         "example.hk",
         "*.example.hk"},
        {"1.example.hk", "1.example.hk"},
        {"www.\xe6\x88\x91\xe7\x9a\x84\xe6\x9c\x8d\xe5\x8a\xa1\xe5\x99\xa8.com",
         "www.xn--lhr645fjve3xwllk.com"},
        {"www\xe3\x80\x82"
         "example\xef\xbc\x8ehk\xef\xbd\xa1",
         "www.example.hk"},
        {"B\xc3\xbc"
         "cher.example",
         "xn--bcher-kva.example"},
        {"fa\xc3\x9f.de", "xn--fa-hia.de"}, /* non-transitional */
        {"XN--FA-HIA.de", "xn--fa-hia.de"},
        {"*.xn--fa-hia.de", "*.xn--fa-hia.de"},
        {"\xef\xbd\x97\xef\xbd\x97\xef\xbd\x97.hk", "www.hk"}, /* full width */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char out[ECERT_NAME_MAX];
        ecert_err_t err;
        ecert_err_clear(&err);
        if (ecert_name_ascii(rows[i].name, out, &err) != 0) {
            fail_msg("%s: %s", rows[i].name, err.detail);
        }
        if (strstr(rows[i].name, "\xe6\x88\x91") == NULL) {
            assert_string_equal(out, rows[i].ascii);
        } else {
            assert_memory_equal(out, "www.xn--", 8);
        }
        char again[ECERT_NAME_MAX];
        assert_int_equal(ecert_name_ascii(out, again, &err), 0);
        assert_string_equal(out, again);
    }
}

static void bad_names(void **state)
{
    static const struct {
        const char *name, *detail;
    } rows[] = {
        {"", "empty"},
        {".", ""},
        {"..", ""},
        {"a..b", "empty label"},
        {".a", "empty label"},
        {"a.hk..", "empty label"},
        {"*", "wildcard"},
        {"*.", "nothing"},
        {"*.*.hk", "wildcard"},
        {"a.*.hk", "wildcard"},
        {"*a.hk", "wildcard"},
        {"192.0.2.1", "address"},
        {"*.192.0.2.1", "address"},
        {"2001:db8::1", "address"},
        {"[2001:db8::1]", "address"},
        {"1.2.3", "number"},
        {"256.1.1.1", "number"},
        {"\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1", ""}, /* full width */
        {"_dmarc.example.hk", "underscore"},
        {"a b.hk", "space"},
        {"a.hk\n", "space"},
        {"https://a.hk/", "looks like a URL"},
        {"a.hk/x", "URL: it has a path"},
        {"a.hk:443", "colon, as before a port"},
        {"-a.hk", ""},
        {"a-.hk", ""},
        {"a\x01.hk", ""},
        {"../../etc", ""},
        {"xn--a.hk", ""},
        {"\xff\xfe.hk", "it is not UTF-8"},
        {"\xc3.hk", ""},
        {"a@b.hk", ""},
        {"a%2e.hk", ""},
        {"\xe2\x89\xaf.hk", ""}, /* U+226F: not left out */
        {"a\xe2\x89\xae"
         "b.hk",
         ""},                    /* U+226E */
        {"\xe2\x91\xb4.hk", ""}, /* becomes (1) */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char out[ECERT_NAME_MAX];
        ecert_err_t err;
        if (ecert_name_ascii(rows[i].name, out, &err) == 0) {
            fail_msg("\"%s\" became \"%s\"", rows[i].name, out);
        }
        assert_int_equal(err.code, ECERT_ERR_NAME);
        if (strstr(err.detail, rows[i].detail) == NULL) {
            fail_msg("%s: \"%s\"", rows[i].name, err.detail);
        }
    }
}

/* What is meant by a URL, or a name with something around it. */
static void urls_are_told(void **state)
{
    static const struct {
        const char *name, *host; /* NULL: none can be told */
    } rows[] = {
        {"https://www.a.hk/", "www.a.hk"},
        {"http://www.a.hk:8080/x/y?z=1#q", "www.a.hk"},
        {"HTTPS://WWW.a.hk", "WWW.a.hk"},
        {"http:www.a.hk", "www.a.hk"},
        {"https://user:pw@a.hk/", "a.hk"},
        {"https://*.a.hk/", "*.a.hk"},
        {"//a.hk", "a.hk"},
        {"a.hk/", "a.hk"},
        {"a.hk/login.jsp?x", "a.hk"},
        {"a.hk:443", "a.hk"},
        {"*.a.hk:443", "*.a.hk"},
        {"user@a.hk", "a.hk"},
        {"a.hk?x", "a.hk"},
        {"a.hk#x", "a.hk"},
        {"DNS:a.hk", NULL},
        {"https//a.hk", NULL},
        {"https://", NULL},
        {"https://192.0.2.1/", NULL},
        {"https://[2001:db8::1]/", NULL},
        {"https://a_b.hk/", NULL},
        {"/", NULL},
        {":", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char out[ECERT_NAME_MAX], want[300] = "";
        ecert_err_t err;

        assert_int_equal(ecert_name_ascii(rows[i].name, out, &err), -1);
        assert_int_equal(err.code, ECERT_ERR_NAME);
        if (rows[i].host != NULL) {
            snprintf(want, sizeof(want),
                     "NAME is a host name, not a URL; say %s", rows[i].host);
        }
        assert_string_equal(err.hint, want);
    }
}

static void lengths(void **state)
{
    char name[600], out[ECERT_NAME_MAX];
    ecert_err_t err;
    (void)state;
    memset(name, 'a', sizeof(name));
    memcpy(name + 63, ".hk", 4);
    assert_int_equal(ecert_name_ascii(name, out, &err), 0);
    memset(name, 'a', sizeof(name));
    memcpy(name + 64, ".hk", 4);
    assert_int_equal(ecert_name_ascii(name, out, &err), -1);
    for (int total = 240; total < 260; total++) {
        memset(name, 'a', sizeof(name));
        for (int at = 50; at < total; at += 50) {
            name[at] = '.';
        }
        name[total] = '\0';
        int ok = total <= 253 && name[total - 1] != '.';
        if (name[total - 1] == '.') {
            continue;
        }
        assert_int_equal(ecert_name_ascii(name, out, &err), ok ? 0 : -1);
        char wild[700];
        snprintf(wild, sizeof(wild), "*.%s", name);
        assert_int_equal(ecert_name_ascii(wild, out, &err),
                         total + 2 <= 253 ? 0 : -1);
    }
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(ecert_name_ascii(name, out, &err), -1);
    assert_int_equal(ecert_name_unslug(name, out, &err), -1);
}

static void folders(void **state)
{
    char out[ECERT_NAME_MAX];
    ecert_err_t err;
    (void)state;
    assert_int_equal(ecert_name_slug("*.example.hk", out, &err), 0);
    assert_string_equal(out, "_.example.hk");
    assert_int_equal(ecert_name_slug("../x", out, &err), -1);
    static const char *const spellings[] = {"_.example.hk", "*.example.hk",
                                            "_.EXAMPLE.hk", "*.Example.HK."};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(ecert_name_unslug(spellings[i], out, &err), 0);
        assert_string_equal(out, "*.example.hk");
    }
    assert_int_equal(ecert_name_unslug("fa\xc3\x9f.de", out, &err), 0);
    assert_string_equal(out, "xn--fa-hia.de");
    assert_int_equal(ecert_name_unslug("_x.hk", out, &err), -1);
    assert_int_equal(ecert_name_unslug("lost+found", out, &err), -1);

    char text[64];
    ecert_name_unicode("*.xn--fa-hia.de", text, sizeof(text));
    assert_string_equal(text, "*.fa\xc3\x9f.de");
    ecert_name_unicode("www.example.hk", text, sizeof(text));
    assert_string_equal(text, "www.example.hk");
    ecert_name_unicode("xn--a.hk", text, sizeof(text));
    assert_string_equal(text, "xn--a.hk");
}

static void covered(void **state)
{
    static const struct {
        const char *name;
        int covered;
    } rows[] = {
        {"www.example.hk", 1},  {"example.hk", 0},    {"a.wild.hk", 1},
        {"b.a.wild.hk", 0},     {"wild.hk", 0},       {"*.wild.hk", 1},
        {"*.example.hk", 0},    {"xn--fa-hia.de", 1}, {"upper.hk", 1},
        {"www.example.hkx", 0}, {"ww.example.hk", 0}, {"common.hk", 0},
        {"xn--a.wild.hk", 1},   {"wildxhk", 0},       {"*.a.wild.hk", 0},
    };
    (void)state;
    pki_t *pki = pki_new(1795392000);
    X509 *leaf = pki_leaf(pki,
                          "DNS:www.example.hk,DNS:*.wild.hk,DNS:xn--fa-hia.de,"
                          "DNS:UPPER.hk,IP:192.0.2.1,email:a@common.hk",
                          NULL, 0, 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (ecert_name_covered(leaf, rows[i].name) != rows[i].covered) {
            fail_msg("%s", rows[i].name);
        }
    }
    /* The CN counts for nothing. */
    assert_int_equal(ecert_name_covered(pki->root, "Look-alike Root 3"), 0);
    assert_int_equal(ERR_peek_error(), 0);
    X509_free(leaf);
    pki_free(pki);
}

/* \uXXXX and \x{XXXX} to UTF-8; -1 for a lone surrogate, which UTF-8 has not.
 */
static int unescape(const char *in, char *out)
{
    while (*in) {
        unsigned long c = 0;
        if (in[0] != '\\') {
            *out++ = *in++;
            continue;
        }
        if (in[1] == 'u') {
            char hex[5] = {in[2], in[3], in[4], in[5], 0};
            c = strtoul(hex, NULL, 16);
            in += 6;
        } else {
            char *end;
            c = strtoul(in + 3, &end, 16);
            in = end + 1;
        }
        if (c >= 0xd800 && c <= 0xdfff) {
            return -1;
        }
        if (c < 0x80) {
            *out++ = (char)c;
        } else if (c < 0x800) {
            *out++ = (char)(0xc0 | c >> 6);
            *out++ = (char)(0x80 | (c & 63));
        } else if (c < 0x10000) {
            *out++ = (char)(0xe0 | c >> 12);
            *out++ = (char)(0x80 | (c >> 6 & 63));
            *out++ = (char)(0x80 | (c & 63));
        } else {
            *out++ = (char)(0xf0 | c >> 18);
            *out++ = (char)(0x80 | (c >> 12 & 63));
            *out++ = (char)(0x80 | (c >> 6 & 63));
            *out++ = (char)(0x80 | (c & 63));
        }
    }
    *out = '\0';
    return 0;
}

/* One field of the line, trimmed, or the earlier one when it is empty. */
static char *field(char **line, char *earlier)
{
    char *text = strsep(line, ";");
    text += strspn(text, " \t");
    size_t len = strlen(text);
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t')) {
        text[--len] = '\0';
    }
    return *text ? text : earlier;
}

/*
 * What the file calls good, and yet is no host name: signs that are no letter,
 * digit or hyphen, empty labels, lengths, a number at the end.
 */
static int host_refuses(const char *ascii)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-.";
    size_t len = strlen(ascii);
    const char *last = strrchr(ascii, '.');
    last = last && last[1] ? last + 1 : ascii;
    return len == 0 || len > 253 || ascii[strspn(ascii, allowed)] != '\0'
           || strstr(ascii, "..") || strstr(ascii, "-.") || strstr(ascii, ".-")
           || ascii[0] == '-' || ascii[0] == '.' || ascii[len - 1] == '-'
           || last[strspn(last, "0123456789.")] == '\0';
}

/* Nothing but rules on the direction of writing. */
static int only_bidi(const char *status)
{
    return status[0] == '[' && status[1] == 'B'
           && status[strspn(status, "[]B123456, ")] == '\0';
}

typedef struct {
    int lines, same, refused_both, no_host, not_2008, bidi, wrong;
} tally_t;

static void idna_line(char *line, tally_t *tally)
{
    char source[4096], expected[4096], out[ECERT_NAME_MAX];
    ecert_err_t err;
    char empty[] = "";
    char *raw = field(&line, empty);
    char *unicode = field(&line, raw);
    char *status = field(&line, empty);
    char *ascii = field(&line, unicode);
    char *ascii_status = field(&line, status);

    if (unescape(raw, source) != 0 || unescape(ascii, expected) != 0) {
        return;
    }
    tally->lines++;
    int bad = *ascii_status != '\0' && strcmp(ascii_status, "[]") != 0;
    size_t len = strlen(expected);
    if (len > 0 && expected[len - 1] == '.') {
        expected[len - 1] = '\0';
    }
    int rc = ecert_name_ascii(source, out, &err);
    if (rc == 0 && !bad && strcmp(out, expected) == 0) {
        tally->same++;
    } else if (rc != 0 && bad) {
        tally->refused_both++;
    } else if (rc != 0 && host_refuses(expected)) {
        tally->no_host++;
    } else if (rc != 0 && strstr(err.detail, "disallowed character")) {
        /* Symbols (NV8) that UTS 46 lets pass and IDNA2008 does not. */
        tally->not_2008++;
    } else if (rc == 0 && only_bidi(ascii_status)
               && strcmp(out, expected) == 0) {
        /* RFC 5893, 2 over all labels: libidn2 looks at each by itself. */
        tally->bidi++;
    } else {
        tally->wrong++;
        print_message("# %s: expected %s %s, got %s\n", raw, ascii_status,
                      expected, rc == 0 ? out : err.detail);
    }
}

static void idna_file(void **state)
{
    (void)state;
    char *bytes = pki_data_file("IdnaTestV2-13.0.txt", NULL);
    if (bytes == NULL) {
        print_message("# the folder of test data is absent\n");
        skip();
    }
    tally_t tally = {0};
    char *rest = bytes, *line;
    while ((line = strsep(&rest, "\n")) != NULL) {
        line[strcspn(line, "#")] = '\0';
        if (strchr(line, ';') != NULL) {
            idna_line(line, &tally);
        }
    }
    print_message("# %d lines: %d the same, %d refused by both; refused: %d as "
                  "no host name, %d by IDNA2008; passed: %d with mixed "
                  "directions\n",
                  tally.lines, tally.same, tally.refused_both, tally.no_host,
                  tally.not_2008, tally.bidi);
    assert_true(tally.lines > 5000 && tally.same > 300);
    assert_true(tally.no_host < 60 && tally.not_2008 < 80 && tally.bidi < 80);
    assert_int_equal(tally.wrong, 0);
    free(bytes);
}

/* Punycode alone: what is a name in A-label form comes back as it was. */
static void punycode_file(void **state)
{
    (void)state;
    size_t len = 0, i;
    char *bytes = pki_data_file("punycode_tests.json", &len);
    if (bytes == NULL) {
        print_message("# the folder of test data is absent\n");
        skip();
    }
    json_t *tests = json_loadb(bytes, len, 0, NULL), *test;
    assert_non_null(tests);
    int names = 0;
    json_array_foreach(tests, i, test)
    {
        const char *decoded =
            json_string_value(json_object_get(test, "decoded"));
        const char *encoded =
            json_string_value(json_object_get(test, "encoded"));
        char name[512], expected[512], out[ECERT_NAME_MAX];
        ecert_err_t err;
        if (decoded == NULL || encoded == NULL) {
            continue;
        }
        snprintf(name, sizeof(name), "%s.hk", decoded);
        snprintf(expected, sizeof(expected), "xn--%s.hk", encoded);
        /* Only some are names: no spaces or signs, lower case. */
        if (ecert_name_ascii(name, out, &err) != 0
            || strncmp(out, "xn--", 4) != 0) {
            continue;
        }
        char lower[512];
        snprintf(lower, sizeof(lower), "%s", expected);
        for (char *p = lower; *p; p++) {
            *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
        }
        if (strcmp(out, lower) == 0) {
            names++;
        } else {
            print_message("# %s: %s, not %s\n", decoded, out, lower);
        }
    }
    print_message("# %d of %zu are names\n", names, json_array_size(tests));
    assert_true(names >= 9);
    json_decref(tests);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_names),    cmocka_unit_test(bad_names),
        cmocka_unit_test(urls_are_told),
        cmocka_unit_test(lengths),       cmocka_unit_test(folders),
        cmocka_unit_test(covered),       cmocka_unit_test(idna_file),
        cmocka_unit_test(punycode_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
