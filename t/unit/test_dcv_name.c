/* The name a validation file is served under, and TXT records. */

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

static void assert_name_of(const char *path, const char *as, const char *known,
                           const char *want)
{
    char out[ECERT_DCV_FILE_MAX + 1];

    ecert_err_clear(&err);
    if (ecert_dcv_name(path, as, known, out, &err) != 0) {
        fail_msg("%s: refused: %s", path, err.detail);
    }
    assert_string_equal(out, want);
}

static void assert_name(const char *path, const char *want)
{
    assert_name_of(path, NULL, USUAL, want);
}

static void test_names_usual(void **state)
{
    static const char *const same[] = {
        "fileauth.txt",
        "FILEAUTH.TXT",
        "Fileauth.Txt",
        "fileauth",
        "FileAuth",
        "fileauth (1).txt",
        "fileauth(2).txt",
        "fileauth (12).TXT",
        "fileauth[1].txt",
        "fileauth.txt.txt",
        "fileauth.txt.TXT",
        "fileauth.txt.download",
        "fileauth (1).txt.txt",
        "fileauth(1)",
        "fileauth.txt (1)",
        "fileauth (1) (2).txt",
        "fileauth-1.txt",
        "fileauth_2.txt",
        "fileauth 2.txt",
        "fileauth.txt.1",
        "fileauth.txt.html",
        "fileauth.txt.htm",
        "fileauth (1).txt.download",
        "-",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        char path[200];

        assert_name(same[i], USUAL);
        if (strcmp(same[i], "-") != 0) {
            snprintf(path, sizeof(path), "/srv/My Files (3)/%s", same[i]);
            assert_name(path, USUAL);
        }
    }
}

static void test_names_other(void **state)
{
    (void)state;
    assert_name("gsdv.txt", "gsdv.txt");
    assert_name("./gsdv (1).txt", "gsdv.txt");
    assert_name("D41D8CD98F00B204E9800998ECF8427E.txt",
                "D41D8CD98F00B204E9800998ECF8427E.txt");
    assert_name("D41D8CD98F00B204E9800998ECF8427E (1).txt.txt",
                "D41D8CD98F00B204E9800998ECF8427E.txt");
    assert_name("VERIFY.TXT", "VERIFY.TXT");
    assert_name("godaddy.html", "godaddy.html");
    assert_name("godaddy.html.html", "godaddy.html");
    assert_name("gsdv-1.txt", "gsdv-1.txt");
    assert_name("fileauth2.txt", "fileauth2.txt");
    assert_name("fileauth-a.txt", "fileauth-a.txt");
    assert_name("myfileauth.txt", "myfileauth.txt");
    assert_name("fileauth.txt.bak", "fileauth.txt.bak");
    assert_name("fileauth.old", "fileauth.old");
    assert_name("txt.txt", "txt.txt");
    assert_name("/x/a", "a");
    assert_name_of("fileauth (1).txt", NULL, NULL, "fileauth.txt");
    assert_name_of("FILEAUTH.TXT", NULL, NULL, "FILEAUTH.TXT");
    assert_name_of("verify(1).txt", NULL, "verify.txt", "verify.txt");
    assert_name_of("CODE", NULL, "code", "code"); /* without an extension */
    assert_name_of("/x/whatever (1)", "gsdv.txt", USUAL, "gsdv.txt");
    assert_name_of(NULL, "gsdv.txt", USUAL, "gsdv.txt");
    assert_name_of("-", "Fileauth.TXT", USUAL, "Fileauth.TXT");
}

static void assert_no_name(const char *path, const char *as, const char *why)
{
    char out[ECERT_DCV_FILE_MAX + 1], line[1500];

    ecert_err_clear(&err);
    if (ecert_dcv_name(path, as, USUAL, out, &err) == 0) {
        fail_msg("\"%s\" taken as \"%s\"", as ? as : path, out);
    }
    assert_int_equal(err.code, ECERT_ERR_TOKEN);
    ecert_err_line(&err, NULL, line, sizeof(line));
    assert_non_null(strstr(line, why));
}

static void test_names_refused(void **state)
{
    static const char *const bad[] = {
        "",
        ".",
        "..",
        ".htaccess",
        ".fileauth.txt",
        "a b.txt",
        "a%2e.txt",
        "a\n.txt",
        "\xe6\xb8\xaf.txt",
        "a\\b.txt",
        "a+b",
        "(1).txt",
        "(1)",
        "fileauth ().txt",
        "fileauth (x).txt",
        "fileauth - Copy.txt",
    };
    char name[700];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_no_name(bad[i], NULL, "letters, digits");
        assert_no_name("fileauth.txt", bad[i], USUAL);
    }
    assert_no_name("fileauth.txt", "a/b", "letters, digits");
    assert_no_name("fileauth.txt", "../a", "letters, digits");
    assert_no_name("fileauth.txt", "fileauth (1).txt", "letters, digits");
    assert_no_name("/x/", NULL, "letters, digits");
    assert_no_name("fileauth.txt.crdownload", NULL, "not finished");
    assert_no_name("fileauth.txt.part", NULL, "not finished");
    assert_no_name("fileauth.txt.partial", NULL, "not finished");
    assert_no_name("fileauth.txt.opdownload", NULL, "not finished");
    memset(name, 'a', sizeof(name));
    for (size_t len = 254; len < 260; len++) {
        name[len] = '\0';
        if (len <= ECERT_DCV_FILE_MAX) {
            assert_name(name, name);
            assert_name_of("x", name, USUAL, name);
        } else {
            assert_no_name(name, NULL, "255 at most");
            assert_no_name("x", name, "255 at most");
        }
        name[len] = 'a';
    }
    for (size_t len = 505; len < 520; len++) {
        name[len] = '\0';
        assert_no_name(name, NULL, "255 at most");
        assert_no_name("x", name, "255 at most");
        name[len] = 'a';
    }
}

/* TXT records. */

static void assert_record(const char *name, const char *code, unsigned ttl,
                          const char *want)
{
    char *record = ecert_dcv_txt(name, code, ttl, &err);

    if (record == NULL) {
        fail_msg("refused: %s", err.detail);
    }
    assert_string_equal(record, want);
    free(record);
}

static void test_txt(void **state)
{
    (void)state;
    assert_record("www.example.hk", "ABC123", 3600,
                  "www.example.hk. 3600 IN TXT \"ABC123\"");
    assert_record("www.example.hk.", "A", 0, "www.example.hk. 0 IN TXT \"A\"");
    assert_record("*.example.hk", "A", 60, "example.hk. 60 IN TXT \"A\"");
    assert_record("_dnsauth.xn--fiqs8s.hk", "A", 2147483647,
                  "_dnsauth.xn--fiqs8s.hk. 2147483647 IN TXT \"A\"");
    assert_record("a.hk", "a b;c=d", 1, "a.hk. 1 IN TXT \"a b;c=d\"");
    assert_record("a.hk", "a\"b\\c\\\"", 1,
                  "a.hk. 1 IN TXT \"a\\\"b\\\\c\\\\\\\"\"");
}

/* What the quoted strings hold, put together, as a name server reads them. */
static size_t strings_of(const char *record, char *out, size_t *strings)
{
    const char *p = strchr(record, '"');
    size_t n = 0, start;

    *strings = 0;
    while (p != NULL && *p == '"') {
        start = n;
        for (p++; *p != '"'; p++) {
            p += *p == '\\';
            assert_true(*p != '\0');
            out[n++] = *p;
        }
        assert_uint_in_range(n - start, 1, 255);
        ++*strings;
        p++;
        if (*p == ' ') {
            p++;
            assert_int_equal(*p, '"');
        }
    }
    assert_true(p != NULL && *p == '\0');
    return n;
}

static void test_txt_split(void **state)
{
    static const size_t lengths[] = {1, 254, 255, 256, 510, 511, 65025};
    char *code = malloc(65027), *back = malloc(65027);

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        for (int kind = 0; kind < 3; kind++) {
            size_t n = lengths[i], strings;
            char *record;

            memset(code, kind == 0 ? 'a' : kind == 1 ? '"' : '\\', n);
            code[n] = '\0';
            record = ecert_dcv_txt("a.hk", code, 1, &err);
            assert_non_null(record);
            assert_int_equal(strings_of(record, back, &strings), n);
            assert_memory_equal(back, code, n);
            assert_int_equal(strings, (n + 254) / 255);
            free(record);
        }
    }
    memset(code, 'a', 65026);
    code[65026] = '\0';
    assert_null(ecert_dcv_txt("a.hk", code, 1, &err));
    assert_int_equal(err.code, ECERT_ERR_TOKEN);
    free(code);
    free(back);
}

static void test_txt_refused(void **state)
{
    static const char *const codes[] = {
        "", " ", "a\n", "a\tb", "a\r", "\x7f", "\x01", "\xe6\xb8\xaf", "\x80"};
    static const char *const names[] = {"",
                                        ".",
                                        "*.",
                                        "a b",
                                        "a.hk\n@ IN A 1.2.3.4",
                                        "a;b",
                                        "$ORIGIN",
                                        "*.*.hk",
                                        "a..hk",
                                        ".a.hk",
                                        "a.hk..",
                                        "\xe6\xb8\xaf.hk",
                                        "a\\.hk"};
    char longest[ECERT_DCV_HOST_MAX + 2];

    (void)state;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        ecert_err_clear(&err);
        assert_null(ecert_dcv_txt("a.hk", codes[i], 1, &err));
        assert_int_equal(err.code, ECERT_ERR_TOKEN);
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        ecert_err_clear(&err);
        assert_null(ecert_dcv_txt(names[i], "A", 1, &err));
        assert_int_equal(err.code, ECERT_ERR_TOKEN);
    }
    assert_null(ecert_dcv_txt("a.hk", "A", 2147483648U, &err));
    memset(longest, 'a', sizeof(longest));
    longest[ECERT_DCV_HOST_MAX + 1] = '\0';
    assert_null(ecert_dcv_txt(longest, "A", 1, &err));
    longest[ECERT_DCV_HOST_MAX] = '\0';
    char *record = ecert_dcv_txt(longest, "A", 2147483647, &err);
    assert_non_null(record);
    free(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_usual),
        cmocka_unit_test(test_names_other),
        cmocka_unit_test(test_names_refused),
        cmocka_unit_test(test_txt),
        cmocka_unit_test(test_txt_split),
        cmocka_unit_test(test_txt_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
