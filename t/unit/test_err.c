/* Errors as values: their words, their line, and what foreign bytes become. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509.h>

#include "ecert_err.h"

static ecert_err_t err;

static void test_every_entry(void **state)
{
    (void)state;
    for (int i = 1; i < ECERT_ERR_LAST; i++) {
        const char *word = ecert_err_word((ecert_code_t)i);

        assert_true(strlen(word) >= 4 && strlen(word) <= 20);
        assert_int_equal(strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789-"),
                         strlen(word));
        assert_true(strlen(ecert_err_sentence((ecert_code_t)i)) > 10);
        assert_true(strlen(ecert_err_advice((ecert_code_t)i)) > 5);
        assert_null(strchr(ecert_err_sentence((ecert_code_t)i), '\n'));
        assert_true(strlen(ecert_err_advice((ecert_code_t)i))
                    < sizeof(err.hint));
        /* a line is "sentence (detail); hint": no full stop inside it */
        assert_null(strstr(ecert_err_sentence((ecert_code_t)i), ". "));
        for (int j = 1; j < i; j++) {
            assert_string_not_equal(word, ecert_err_word((ecert_code_t)j));
        }
    }
    assert_string_equal(ecert_err_word(ECERT_OK), "ok");
    assert_string_equal(ecert_err_word((ecert_code_t)ECERT_ERR_LAST),
                        "unknown");
    assert_string_equal(ecert_err_word((ecert_code_t)-1), "unknown");
    assert_string_equal(ecert_err_sentence((ecert_code_t)9999),
                        "unknown error");
    assert_string_equal(ecert_err_advice((ecert_code_t)9999), "");
}

static void test_fields(void **state)
{
    (void)state;
    memset(&err, 0xff, sizeof(err));
    errno = EACCES;
    assert_int_equal(ecert_err(&err, ECERT_ERR_EMPTY, NULL, NULL), -1);
    assert_int_equal(err.code, ECERT_ERR_EMPTY);
    assert_int_equal(err.sys, 0);
    assert_string_equal(err.file, "");
    assert_string_equal(err.detail, "");
    assert_string_equal(err.hint, "");
    assert_int_equal(ecert_err(&err, ECERT_ERR_EMPTY, "/f\n", "%d\t%s", 7, "x"),
                     -1);
    assert_string_equal(err.file, "/f\\x0a");
    assert_string_equal(err.detail, "7\\x09x");
    assert_int_equal(ecert_err_hint(&err, "do\r%d", 1), -1);
    assert_string_equal(err.hint, "do\\x0d1");
    ecert_err_clear(&err);
    assert_int_equal(err.code, ECERT_OK);
    assert_string_equal(err.hint, "");
}

static void test_errno(void **state)
{
    static const struct {
        int sys;
        ecert_code_t code;
        int shown;
    } cases[] = {
        {ENOENT, ECERT_ERR_MISSING, 0},    {ENOTDIR, ECERT_ERR_MISSING, 0},
        {EACCES, ECERT_ERR_UNREADABLE, 1}, {EPERM, ECERT_ERR_UNREADABLE, 1},
        {EIO, ECERT_ERR_SYSTEM, 1},        {ENOSPC, ECERT_ERR_SYSTEM, 1},
        {EMFILE, ECERT_ERR_SYSTEM, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        errno = cases[i].sys;
        assert_int_equal(ecert_err_errno(&err, "/f", "open"), -1);
        assert_int_equal(err.code, cases[i].code);
        assert_int_equal(err.sys, cases[i].sys);
        assert_int_equal(strstr(err.detail, strerror(cases[i].sys)) != NULL,
                         cases[i].shown);
        if (cases[i].shown) {
            assert_non_null(strstr(err.detail, "open: "));
            /* once, not twice */
            assert_null(strstr(strstr(err.detail, ": ") + 2, ": "));
        }
    }
    errno = 0;
    ecert_err(&err, ECERT_ERR_SYSTEM, NULL, "nothing");
    assert_string_equal(err.detail, "nothing");
}

static void test_openssl(void **state)
{
    const unsigned char *bytes = (const unsigned char *)"no";

    (void)state;
    ERR_clear_error();
    assert_null(d2i_X509(NULL, &bytes, 2));
    assert_int_not_equal(ERR_peek_error(), 0);
    ecert_err_openssl(&err, ECERT_ERR_OPENSSL, "/f", "decode %d", 1);
    assert_int_equal(ERR_peek_error(), 0);
    assert_int_equal(strncmp(err.detail, "decode 1: ", 10), 0);
    assert_true(strlen(err.detail) > 10);
    ecert_err_openssl(&err, ECERT_ERR_OPENSSL, NULL, NULL);
    assert_string_equal(err.detail, "");
}

static void assert_escaped(const char *in, const char *out)
{
    char text[200];

    assert_ptr_equal(ecert_escape(text, sizeof(text), in, strlen(in)), text);
    assert_string_equal(text, out);
}

static void test_escape(void **state)
{
    (void)state;
    assert_escaped("", "");
    assert_escaped("plain text ~ '\"<>&%", "plain text ~ '\"<>&%");
    assert_escaped("a\\b", "a\\x5cb");
    assert_escaped("\\x0a", "\\x5cx0a");
    assert_escaped("\x1b[31m\a\b\x7f\n\r\t", "\\x1b[31m\\x07\\x08\\x7f"
                                             "\\x0a\\x0d\\x09");
    /* what is allowed of two, three and four bytes */
    assert_escaped("\xc2\xa0 \xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80",
                   "\xc2\xa0 \xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80");
    assert_escaped("\xc2\x9b"
                   "31m",
                   "\\xc2\\x9b31m"); /* C1: CSI */
    assert_escaped("\xc2\x80\xc2\x9f", "\\xc2\\x80\\xc2\\x9f");
    assert_escaped("\x9b", "\\x9b");
    /* bidirectional controls, zero width, line separators, BOM */
    assert_escaped("\xe2\x80\xae"
                   "a",
                   "\\xe2\\x80\\xaea");
    assert_escaped("\xe2\x81\xa6", "\\xe2\\x81\\xa6");
    assert_escaped("\xe2\x80\x8f", "\\xe2\\x80\\x8f");
    assert_escaped("\xe2\x80\xa8", "\\xe2\\x80\\xa8");
    assert_escaped("\xd8\x9c", "\\xd8\\x9c");
    assert_escaped("\xef\xbb\xbf", "\\xef\\xbb\\xbf");
    /* overlong, surrogate, beyond Unicode, cut off, stray */
    assert_escaped("\xc0\xaf", "\\xc0\\xaf");
    assert_escaped("\xc1\xbf", "\\xc1\\xbf");
    assert_escaped("\xe0\x80\xaf", "\\xe0\\x80\\xaf");
    assert_escaped("\xf0\x80\x80\xaf", "\\xf0\\x80\\x80\\xaf");
    assert_escaped("\xed\xa0\x80", "\\xed\\xa0\\x80");
    assert_escaped("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
    assert_escaped("\xf8\x88\x80\x80", "\\xf8\\x88\\x80\\x80");
    assert_escaped("\xff\xfe", "\\xff\\xfe");
    assert_escaped("\xe4\xb8", "\\xe4\\xb8");
    assert_escaped("\xe4\xb8"
                   "a",
                   "\\xe4\\xb8"
                   "a");
    assert_escaped("\xf0\x9f\x98\n", "\\xf0\\x9f\\x98\\x0a");
}

/* Whatever comes in, what comes out is printable UTF-8, in time terminated. */
static void assert_harmless(const char *text)
{
    char again[4000];

    for (const char *p = text; *p; p++) {
        assert_false((unsigned char)*p < 0x20 || *p == 0x7f);
    }
    ecert_escape(again, sizeof(again), text, strlen(text));
    for (const char *p = again; (p = strchr(p, '\\')) != NULL; p++) {
        /* the only thing left to escape are the backslashes of the first */
        assert_int_equal(strncmp(p, "\\x5c", 4), 0);
    }
}

static void test_escape_random(void **state)
{
    unsigned char bytes[64];
    unsigned seed = 1;
    char text[300];

    (void)state;
    for (int i = 0; i < 20000; i++) {
        size_t len = (size_t)i % sizeof(bytes), size = 1 + (size_t)i % 290;

        for (size_t j = 0; j < len; j++) {
            bytes[j] = (unsigned char)(rand_r(&seed) >> 4);
        }
        memset(text, 'Z', sizeof(text));
        ecert_escape(text, size, (char *)bytes, len);
        assert_true(memchr(text, '\0', size) != NULL);
        assert_int_equal(text[size], 'Z');
        assert_harmless(text);
    }
}

static void test_escape_cut(void **state)
{
    const char *in = "a\n\xe4\xb8\xad";
    char text[16];

    (void)state;
    memset(text, 'Z', sizeof(text));
    ecert_escape(text, 0, in, strlen(in));
    assert_int_equal(text[0], 'Z');
    assert_string_equal(ecert_escape(text, 1, in, strlen(in)), "");
    assert_string_equal(ecert_escape(text, 2, in, strlen(in)), "a");
    assert_string_equal(ecert_escape(text, 5, in, strlen(in)), "a");
    assert_string_equal(ecert_escape(text, 6, in, strlen(in)), "a\\x0a");
    assert_string_equal(ecert_escape(text, 8, in, strlen(in)), "a\\x0a");
    assert_string_equal(ecert_escape(text, 9, in, strlen(in)),
                        "a\\x0a\xe4\xb8\xad");
    assert_string_equal(ecert_escape(text, 16, "a\0b", 3), "a\\x00b");
}

static void test_trim(void **state)
{
    static const char *const cut[][2] = {
        {"", ""},
        {"abc", "abc"},
        {"a\xe9\xa6\x99", "a\xe9\xa6\x99"},
        {"a\xe9\xa6", "a"},
        {"a\xe9", "a"},
        {"\xf0\x9f\x98", ""},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
    };
    char text[16];

    (void)state;
    for (size_t i = 0; i < sizeof(cut) / sizeof(cut[0]); i++) {
        strcpy(text, cut[i][0]);
        assert_string_equal(ecert_trim(text), cut[i][1]);
    }
}

static void test_line(void **state)
{
    char line[1700];

    (void)state;
    ecert_err(&err, ECERT_ERR_MISMATCH, "/k.pem", "RSA against EC");
    assert_string_equal(
        ecert_err_line(&err, "www.example.hk", line, sizeof(line)),
        "site www.example.hk: key-mismatch: /k.pem: key and certificate do not "
        "belong together (RSA against EC); install the certificate together "
        "with the key of its own request");
    ecert_err(&err, ECERT_ERR_EMPTY, NULL, NULL);
    assert_string_equal(ecert_err_line(&err, NULL, line, sizeof(line)),
                        "empty: the file is empty; save the file again");
    ecert_err_hint(&err, "try %s", "this");
    assert_string_equal(ecert_err_line(&err, "a\nb", line, sizeof(line)),
                        "site a\\x0ab: empty: the file is empty; try this");
}

/* All parts as long as they can be, cut at every length. */
static void test_line_cut(void **state)
{
    char line[1701], site[900];

    (void)state;
    for (size_t i = 0; i + 3 < sizeof(site); i += 3) {
        memcpy(site + i, "\xe4\xb8\xad", 4);
    }
    ecert_err(&err, ECERT_ERR_SIGNATURE, site, "%s", site);
    ecert_err_hint(&err, "%s", site);
    for (size_t size = 1; size < sizeof(line); size++) {
        memset(line, 'Z', sizeof(line));
        ecert_err_line(&err, site, line, size);
        assert_true(strlen(line) < size);
        assert_int_equal(line[size], 'Z');
        assert_harmless(line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_entry),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_errno),
        cmocka_unit_test(test_openssl),
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_escape_random),
        cmocka_unit_test(test_escape_cut),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_line_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
