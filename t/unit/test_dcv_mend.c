/* What people save as a validation file, its name, and the TXT record. */

#include "scratch.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>

#include "ecert_csr.h"
#include "ecert_dcv.h"
#include "ecert_dcv_mend.h"
#include "pki.h"

#define BOM   "\xef\xbb\xbf"
#define USUAL "fileauth.txt"

static ecert_err_t err;
static unsigned char *body;
static size_t body_len;
static unsigned mended;

static int mend_bytes(const void *bytes, size_t len)
{
    unsigned char *copy = malloc(len + 1); /* nothing readable behind it */
    int rc;

    copy = realloc(copy, len > 0 ? len : 1);
    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    ecert_err_clear(&err);
    rc =
        ecert_dcv_mend(copy, len, "/d/" USUAL, &body, &body_len, &mended, &err);
    free(copy);
    assert_int_equal(ERR_peek_error(), 0);
    if (rc != 0) {
        assert_int_equal(err.code, ECERT_ERR_TOKEN);
        assert_string_equal(err.file, "/d/" USUAL);
        assert_null(body);
        assert_int_equal(body_len, 0);
    }
    return rc;
}

static void assert_bytes(const void *bytes, size_t len, const char *want,
                         unsigned set)
{
    if (mend_bytes(bytes, len) != 0) {
        fail_msg("refused: %s", err.detail);
    }
    if (body_len != strlen(want) || memcmp(body, want, body_len) != 0) {
        fail_msg("\"%.*s\" instead of \"%s\"", (int)body_len, body, want);
    }
    assert_int_equal(mended, set);
    OPENSSL_free(body);
}

static void assert_mended(const char *text, const char *want, unsigned set)
{
    assert_bytes(text, strlen(text), want, set);
}

static void assert_refused_bytes(const void *bytes, size_t len, const char *why)
{
    if (mend_bytes(bytes, len) == 0) {
        fail_msg("taken, not refused for %s: \"%.*s\"", why, (int)body_len,
                 body);
    }
    if (strstr(err.detail, why) == NULL) {
        fail_msg("no \"%s\" in \"%s\"", why, err.detail);
    }
}

static void assert_refused(const char *text, const char *why)
{
    assert_refused_bytes(text, strlen(text), why);
}

static void assert_clean(const char *text)
{
    assert_mended(text, text, 0);
}

static void test_clean(void **state)
{
    (void)state;
    assert_clean("ABC123");
    assert_clean("ABC123\n");
    assert_clean("a");
    assert_clean("_x-1.2=+/~!\"'#$%&(){}[]\\^`|;,@?*\n");
    assert_clean("0D4C\nsectigo.com\nunique1\n");
    assert_clean("0D4C\nsectigo.com\nunique1");
    assert_clean("a\n\nb\n");
    assert_clean("code\nwith a remark behind it\n");
    assert_clean("code\n\xe6\xb8\xaf\n");
    assert_clean("A>B");
    assert_clean("MIIBabcdef\n");
    assert_clean("Subject\n");
    assert_clean("PKabc\n"); /* no ZIP, no gzip, no RTF, no PDF */
    assert_clean("{code}");
    assert_clean("%PDF");
    assert_clean("GIF8");
    assert_clean("30\n");
}

static void test_mended(void **state)
{
    (void)state;
    assert_mended(BOM "ABC", "ABC", ECERT_MENDED_BOM);
    assert_mended(BOM BOM "ABC", "ABC", ECERT_MENDED_BOM);
    assert_mended("ABC\r\n", "ABC\n", ECERT_MENDED_CRLF);
    assert_mended("ABC\r", "ABC\n", ECERT_MENDED_CRLF);
    assert_mended("a\rb\rc", "a\nb\nc", ECERT_MENDED_CRLF);
    assert_mended(BOM "a\r\nsectigo.com\r\nu\r\n", "a\nsectigo.com\nu\n",
                  ECERT_MENDED_BOM | ECERT_MENDED_CRLF);
    assert_mended("\nABC\n", "ABC\n", ECERT_MENDED_LEADING);
    assert_mended("\r\n\r\nABC", "ABC", ECERT_MENDED_LEADING);
    assert_mended(" \t\v\fABC", "ABC", ECERT_MENDED_LEADING);
    assert_mended("\xc2\xa0\xe3\x80\x80\xe2\x80\x8b\xe2\x80\x8e"
                  "ABC",
                  "ABC", ECERT_MENDED_LEADING);
    assert_mended("\n" BOM "ABC", "ABC",
                  ECERT_MENDED_LEADING | ECERT_MENDED_BOM);
    assert_mended("ABC ", "ABC", ECERT_MENDED_TRAILING);
    assert_mended("ABC \n", "ABC\n", ECERT_MENDED_TRAILING);
    assert_mended("ABC\n\n\n", "ABC\n", ECERT_MENDED_TRAILING);
    assert_mended("ABC\n \t", "ABC\n", ECERT_MENDED_TRAILING);
    assert_mended("ABC\xe2\x80\x8b\n", "ABC\n", ECERT_MENDED_TRAILING);
    assert_mended("ABC" BOM, "ABC", ECERT_MENDED_TRAILING);
    assert_mended("a \t\nb  \nc ", "a\nb\nc", ECERT_MENDED_TRAILING);
    assert_mended("a\n \nb", "a\n\nb", ECERT_MENDED_TRAILING);
    assert_mended("ABC \r\n\r\n", "ABC\n",
                  ECERT_MENDED_TRAILING | ECERT_MENDED_CRLF);
    assert_mended(BOM "\r\n ABC \r\n", "ABC\n",
                  ECERT_MENDED_BOM | ECERT_MENDED_LEADING | ECERT_MENDED_CRLF
                      | ECERT_MENDED_TRAILING);
}

/* ASCII in UTF-16, big endian or little; free() it. */
static unsigned char *wide(const char *text, int big)
{
    unsigned char *out = calloc(2, strlen(text) + 1);

    for (size_t i = 0; text[i] != '\0'; i++) {
        out[2 * i + (big ? 1 : 0)] = (unsigned char)text[i];
    }
    return out;
}

static void test_utf16(void **state)
{
    (void)state;
    for (int big = 0; big < 2; big++) {
        unsigned char *lines = wide(".a1\r\nsectigo.com\r\n", big);
        unsigned char *spaced = wide("  AB \n", big);
        unsigned char *page = wide(".<!DOCTYPE html>", big);

        lines[0] = page[0] = big ? 0xfe : 0xff;
        lines[1] = page[1] = big ? 0xff : 0xfe;
        assert_bytes(lines, 36, "a1\nsectigo.com\n",
                     ECERT_MENDED_UTF16 | ECERT_MENDED_BOM | ECERT_MENDED_CRLF);
        assert_bytes(lines + 2, 34, "a1\nsectigo.com\n",
                     ECERT_MENDED_UTF16 | ECERT_MENDED_CRLF);
        assert_bytes(spaced, 12, "AB\n",
                     ECERT_MENDED_UTF16 | ECERT_MENDED_LEADING
                         | ECERT_MENDED_TRAILING);
        assert_refused_bytes(lines, 35, "UTF-16");
        assert_refused_bytes(lines, 2, "empty");
        assert_refused_bytes(page, 32, "HTML");
        free(lines);
        free(spaced);
        free(page);
    }
    /* pairs of surrogates, whole and torn; a zero; UTF-32 */
    assert_bytes("\xff\xfe"
                 "a\0\n\0\x40\xd8\x86\xdc",
                 10, "a\n\xf0\xa0\x82\x86",
                 ECERT_MENDED_UTF16 | ECERT_MENDED_BOM);
    assert_refused_bytes("\xff\xfe"
                         "a\0\x40\xd8",
                         6, "UTF-16");
    assert_refused_bytes("\xff\xfe"
                         "a\0\x40\xd8z\0",
                         8, "UTF-16");
    assert_refused_bytes("\xff\xfe\x86\xdcz\0", 6, "UTF-16");
    assert_refused_bytes("\xff\xfe"
                         "a\0\0\0b\0",
                         8, "0x00");
    assert_refused_bytes("\xff\xfe\0\0a\0\0\0b\0\0\0", 12, "UTF-32");
}

static void test_documents(void **state)
{
    (void)state;
    assert_refused("<!DOCTYPE html>\n<html>", "HTML");
    assert_refused(BOM "\r\n  <HTML><body>ABC", "HTML");
    assert_refused("<p>ABC</p>", "HTML");
    assert_refused("<?xml version=\"1.0\"?><plist>", "XML");
    assert_refused("Login\n<html>", "HTML");
    assert_refused("ABC\n<BODY>", "HTML");
    assert_refused("{\\rtf1\\ansi\\deff0 ABC}", "RTF");
    assert_refused("[InternetShortcut]\r\nURL=https://x/\r\n", "shortcut");
    assert_refused("Received: from a by b\r\nSubject: x\r\n\r\nABC\r\n",
                   "a mail");
    assert_refused("From a@b.hk Mon Jan  5\nABC\n", "a mail");
    assert_refused("x-mailer: q\nABC", "a mail");
    assert_refused("subject:code\nABC\n", "a mail");
    assert_refused("%PDF-1.7\n", "PDF");
    assert_refused("PK\003\004zzz", "a ZIP archive");
    assert_refused("PK\003\004ZZZZZZZZZZZZZZZZZZZZZZZZZZ_rels/.rels", "docx");
    assert_refused("PK\005\006", "ZIP");
    assert_refused("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Word");
    assert_refused("\x1f\x8b\x08", "gzip");
    assert_refused("\xfd"
                   "7zXZ",
                   "xz");
    assert_refused("7z\xbc\xaf\x27\x1c", "7z");
    assert_refused("\x89PNG\r\n\x1a\n", "PNG");
    assert_refused("\xff\xd8\xff\xe0", "JPEG");
    assert_refused("GIF89a", "GIF");
    assert_refused("GIF87a", "GIF");
    assert_refused("bplist00", "shortcut");
    assert_refused("\xef\xbb\xbf\r\nbplist00\r\n", "shortcut");
}

static void test_secrets(void **state)
{
    pki_t *pki = pki_new(1795392000);
    char *cert = pki_pem(pki->leaf), *key = pki_pem_key(pki->leaf_key);
    char *sec1 = pki_pem_key_traditional(pki->leaf_key);
    ecert_subject_t subject = {.common_name = "a.hk"};
    X509_REQ *csr = ecert_csr_make(pki->leaf_key, &subject, NULL, 0, &err);
    char *request = ecert_csr_pem(csr, &err);
    char *behind = pki_join("ABC\n", key, NULL);
    char *bare = strdup(strchr(key, '\n') + 1);
    unsigned char *der = NULL;
    int len = i2d_X509(pki->leaf, &der);

    (void)state;
    strchr(bare, '-')[0] = '\0';
    bare[0] = 'M';
    assert_refused(cert, "it is a certificate");
    assert_refused(request, "it is a certificate request");
    assert_refused(key, "it is a private key");
    assert_refused(sec1, "it is a private key");
    assert_refused(behind, "it is a private key");
    assert_refused(bare, "Base64");
    assert_refused("-----BEGIN PRIVATE KEY-----\nMII", "a private key");
    assert_refused("-----BEGIN ", "PEM");
    assert_refused("PuTTY-User-Key-File-3: ssh-rsa\n", "a private key");
    assert_refused("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n", "a key");
    assert_refused_bytes(der, (size_t)len, "DER");
    OPENSSL_free(der);
    OPENSSL_free(request);
    X509_REQ_free(csr);
    free(cert);
    free(key);
    free(sec1);
    free(behind);
    free(bare);
    pki_free(pki);
}

static void test_not_text(void **state)
{
    (void)state;
    assert_refused_bytes("AB\0C", 4, "byte 3 is 0x00");
    assert_refused_bytes("ABC\0", 4, "0x00");
    assert_refused_bytes("\0", 1, "0x00");
    assert_refused("AB\x01", "0x01");
    assert_refused("AB\x1b[0m", "0x1b");
    assert_refused("AB\x1a", "0x1a");
    assert_refused("AB\x7f", "0x7f");
    assert_refused("AB\xc2\x80", "0x80");
    assert_refused("\x80", "byte 1 is not UTF-8");
    assert_refused("AB\xff", "byte 3 is not UTF-8");
    assert_refused("A\xc0\xaf", "not UTF-8");
    assert_refused("A\xed\xa0\x80", "not UTF-8");
    assert_refused("A\xf4\x90\x80\x80", "not UTF-8");
    assert_refused("A\xe6\xb8", "not UTF-8");
    assert_refused("\xad\xbb\xb4\xe4", "not UTF-8"); /* Big5 */
}

static void test_not_code(void **state)
{
    (void)state;
    assert_refused("", "empty");
    assert_refused(BOM, "empty");
    assert_refused(" \r\n\t\xe3\x80\x80", "empty");
    assert_refused("Please log in again", "a sentence");
    assert_refused("code: ABC\n", "a sentence");
    assert_refused("ABC\tDEF\r\n\r\n", "a sentence");
    assert_refused("\xe8\xab\x8b\xe7\x99\xbb\xe5\x85\xa5", "U+8ACB");
    assert_refused("AB\xe2\x80\x93"
                   "C\nx\n",
                   "sign 3 of its first line, U+2013");
    assert_refused("AB\xe2\x80\x8b"
                   "C",
                   "U+200B");
}

static void test_size(void **state)
{
    size_t most = ECERT_DCV_BODY_MAX, room = 5 * most;
    char *text = malloc(room);

    (void)state;
    memset(text, 'a', room);
    assert_int_equal(mend_bytes(text, most), 0);
    assert_int_equal(body_len, most);
    assert_int_equal(mended, 0);
    OPENSSL_free(body);
    text[most] = ' ';
    assert_int_equal(mend_bytes(text, most + 1), 0);
    assert_int_equal(body_len, most);
    OPENSSL_free(body);
    text[most] = 'a';
    assert_refused_bytes(text, most + 1, "65537 bytes, 65536 are allowed");
    assert_refused_bytes(text, room, "65536 are allowed");
    free(text);
}

/* Whatever comes in, nothing may break, and what comes out stays as it is. */
static void test_noise(void **state)
{
    static const char alphabet[] = "a<-\n\r \t\xef\xbb\xbf\xff\xfe\xc2\xa0z\\";
    unsigned char noise[24], *first;
    int taken = 0;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        size_t len = 0, first_len;

        assert_int_equal(RAND_bytes(noise, sizeof(noise)), 1);
        len = noise[0] % sizeof(noise);
        for (size_t k = 0; k < len; k++) {
            /* a zero among them, by the alphabet's own terminator */
            noise[k] = (unsigned char)alphabet[noise[k] % sizeof(alphabet)];
        }
        if (mend_bytes(noise, len) != 0) {
            continue;
        }
        taken++;
        first = body;
        first_len = body_len;
        assert_true(first_len > 0 && first_len <= 2 * len);
        assert_null(memchr(first, '\r', first_len));
        assert_int_equal(mend_bytes(first, first_len), 0);
        assert_int_equal(mended, 0);
        assert_int_equal(body_len, first_len);
        assert_memory_equal(body, first, first_len);
        OPENSSL_free(body);
        OPENSSL_free(first);
    }
    assert_true(taken > 100);
}

static void test_words(void **state)
{
    char out[200], small[20];

    (void)state;
    assert_string_equal(ecert_dcv_mended(0, out, sizeof(out)), "");
    assert_string_equal(ecert_dcv_mended(ECERT_MENDED_BOM | ECERT_MENDED_CRLF,
                                         out, sizeof(out)),
                        "a byte order mark, line ends of Windows");
    assert_string_equal(ecert_dcv_mended(31, out, sizeof(out)),
                        "a byte order mark, UTF-16, line ends of Windows, "
                        "white space before the code, white space behind it");
    assert_string_equal(ecert_dcv_mended(31, small, sizeof(small)),
                        "a byte order mark, ");
    small[0] = 'x';
    ecert_dcv_mended(31, small, 0);
    assert_int_equal(small[0], 'x');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),    cmocka_unit_test(test_mended),
        cmocka_unit_test(test_utf16),    cmocka_unit_test(test_documents),
        cmocka_unit_test(test_secrets),  cmocka_unit_test(test_not_text),
        cmocka_unit_test(test_not_code), cmocka_unit_test(test_size),
        cmocka_unit_test(test_noise),    cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
