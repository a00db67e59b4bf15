/* Text as people save and paste it. */

#include "asserts.h"

#include <stdio.h>

#include "ecert_text.h"

static void assert_pasted(const char *text, const char *want)
{
    char copy[256];

    snprintf(copy, sizeof(copy), "%s", text);
    assert_string_equal(ecert_text_pasted(copy), want);
}

static void blanks_come_off(void **state)
{
    (void)state;
    assert_pasted("20261130-abc", "20261130-abc");
    assert_pasted("  a b\t\r\n", "a b");
    assert_pasted("\xc2\xa0www.example.hk\xc2\xa0", "www.example.hk");
    assert_pasted("\xe2\x80\x8b"
                  "a\xef\xbb\xbf\xe2\x81\xa0",
                  "a");
    assert_pasted("\xe3\x80\x80\xe9\xa6\x99\xe6\xb8\xaf\xe3\x80\x80",
                  "\xe9\xa6\x99\xe6\xb8\xaf");
    assert_pasted(" \xc2\xa0 ", "");
    assert_pasted("", "");
}

static void quotes_come_off(void **state)
{
    (void)state;
    assert_pasted("\"abc\"", "abc");
    assert_pasted("'abc'", "abc");
    assert_pasted(" \xe2\x80\x9c abc \xe2\x80\x9d ", "abc");
    assert_pasted("\xe2\x80\x98"
                  "abc\xe2\x80\x99",
                  "abc");
    assert_pasted("\xe2\x80\x9e"
                  "abc\xe2\x80\x9c",
                  "abc");
    assert_pasted("\xc2\xab\xc2\xa0"
                  "abc\xc2\xa0\xc2\xbb",
                  "abc");
    assert_pasted("\xe3\x80\x8c\xe9\xa6\x99\xe3\x80\x8d", "\xe9\xa6\x99");
    assert_pasted("\"'abc'\"", "abc");
    assert_pasted("`abc`", "abc");
    assert_pasted("abc\"", "abc");
    assert_pasted("\xe2\x80\x9c"
                  "abc",
                  "abc");
    assert_pasted("\"\"", "");
}

/* What belongs to the value. */
static void quotes_stay(void **state)
{
    (void)state;
    assert_pasted("O'Brien Ltd", "O'Brien Ltd");
    assert_pasted("Ladies'", "Ladies'");
    assert_pasted("Ladies\xe2\x80\x99", "Ladies\xe2\x80\x99");
    assert_pasted("\"Lucky\" Trading", "\"Lucky\" Trading");
    assert_pasted("Trading \"Lucky\"", "Trading \"Lucky\"");
    assert_pasted("\"A\" and \"B\"", "\"A\" and \"B\"");
    assert_pasted("\xe3\x80\x8c\xe9\xa6\x99\xe3\x80\x8d\xe6\xb8\xaf",
                  "\xe3\x80\x8c\xe9\xa6\x99\xe3\x80\x8d\xe6\xb8\xaf");
    assert_pasted("\xff"
                  "abc\xa4",
                  "\xff"
                  "abc\xa4");
}

static void assert_order(const char *bytes, size_t len, ecert_text_order_t want)
{
    assert_int_equal(ecert_text_order((const unsigned char *)bytes, len), want);
}

static void order_is_seen(void **state)
{
    (void)state;
    assert_order("\xff\xfe", 2, ECERT_TEXT_UTF16LE);
    assert_order("\xfe\xff", 2, ECERT_TEXT_UTF16BE);
    assert_order("a\0b\0", 4, ECERT_TEXT_UTF16LE);
    assert_order("\0a\0b", 4, ECERT_TEXT_UTF16BE);
    assert_order("a\0b", 3, ECERT_TEXT_BYTES);
    assert_order("abcd", 4, ECERT_TEXT_BYTES);
    assert_order("\0\0a\0", 4, ECERT_TEXT_BYTES);
    assert_order("", 0, ECERT_TEXT_BYTES);
}

static int from_utf16(const char *bytes, size_t len, char out[32])
{
    size_t n;

    return ecert_text_from_utf16((const unsigned char *)bytes, len,
                                 ECERT_TEXT_UTF16BE, out, &n);
}

/* RFC 2781, 2.2: the first and the last pair; halves of one are no text. */
static void pairs_are_one_sign(void **state)
{
    char out[32];

    (void)state;
    assert_int_equal(from_utf16("\xd8\x00\xdc\x00", 4, out), 0);
    assert_string_equal(out, "\xf0\x90\x80\x80");
    assert_int_equal(from_utf16("\xdb\xff\xdf\xff", 4, out), 0);
    assert_string_equal(out, "\xf4\x8f\xbf\xbf");
    assert_int_equal(from_utf16("\xd8\x00\xdb\xff", 4, out), -1);
    assert_int_equal(from_utf16("\xd8\x00\xe0\x00", 4, out), -1);
    assert_int_equal(from_utf16("\xd8\x00", 2, out), -1);
    assert_int_equal(from_utf16("\xdc\x00\x00\x61", 4, out), -1);
    assert_int_equal(from_utf16("\x00\x61\x00", 3, out), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blanks_come_off),
        cmocka_unit_test(quotes_come_off),
        cmocka_unit_test(quotes_stay),
        cmocka_unit_test(order_is_seen),
        cmocka_unit_test(pairs_are_one_sign),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
