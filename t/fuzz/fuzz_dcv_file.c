/* Validation files as they are handed over (ecert_dcv_mend, _name, _txt): what
 * was mended needs no mending, a name is one that workers take. */

#include "fuzz.h"

#include <openssl/crypto.h>

#include "ecert_dcv.h"
#include "ecert_dcv_mend.h"

static void mend(const uint8_t *bytes, size_t len)
{
    unsigned char *out, *twice;
    size_t out_len, twice_len;
    unsigned mended, none;
    char words[256];
    ecert_err_t err;

    if (ecert_dcv_mend(bytes, len, "a.txt", &out, &out_len, &mended, &err)
        != 0) {
        fuzz_check_err(&err);
        return;
    }
    FUZZ_CHECK(out_len > 0 && out_len <= ECERT_DCV_BODY_MAX);
    FUZZ_CHECK(mended != 0 || (out_len == len && memcmp(out, bytes, len) == 0));
    FUZZ_CHECK((strlen(ecert_dcv_mended(mended, words, sizeof(words))) > 0)
               == (mended != 0));
    FUZZ_CHECK(
        ecert_dcv_mend(out, out_len, "b.txt", &twice, &twice_len, &none, &err)
        == 0);
    FUZZ_CHECK(none == 0 && twice_len == out_len);
    FUZZ_CHECK(memcmp(out, twice, out_len) == 0);
    OPENSSL_free(out);
    OPENSSL_free(twice);
}

static void name(const char *path, const char *as)
{
    char out[ECERT_DCV_FILE_MAX + 1], url[512];
    ecert_err_t err;
    size_t n;

    if (ecert_dcv_name(path, as, "fileauth.txt", out, &err) != 0) {
        fuzz_check_err(&err);
        return;
    }
    snprintf(url, sizeof(url), ECERT_DCV_PREFIX "%s", out);
    FUZZ_CHECK(ecert_dcv_file(url, strlen(url), &n) != NULL);
}

static void txt(const char *code)
{
    ecert_err_t err;
    char *record = ecert_dcv_txt("*.example.hk", code, 3600, &err);

    if (record == NULL) {
        fuzz_check_err(&err);
        return;
    }
    FUZZ_CHECK(strncmp(record, "example.hk. 3600 IN TXT \"", 25) == 0);
    FUZZ_CHECK(record[strlen(record) - 1] == '"');
    fuzz_check_text(record);
    free(record);
}

static void run(const uint8_t *bytes, size_t len)
{
    char *text = fuzz_text(bytes, len);

    mend(bytes, len);
    name(text, NULL);
    name(NULL, text);
    txt(text);
    free(text);
}

static void seeds(void)
{
    static const char utf16[] = "\xff\xfe"
                                "c\0o\0d\0e\0\r\0\n";

    fuzz_seed_text("0123456789abcdef0123456789abcdef\n");
    fuzz_seed_text("\xef\xbb\xbf \r\n0123abc \r\nsectigo.com\t\r\n\r\n");
    fuzz_seed(utf16, sizeof(utf16));
    fuzz_seed_text("<!DOCTYPE html><html><body>code</body></html>");
    fuzz_seed_text("fileauth (1).txt");
    fuzz_seed_text("/root/Downloads/Fileauth.TXT.download");
    fuzz_seed_text("-");
    fuzz_seed_text("globalsign-domain-verification=a\"b\\c");
    fuzz_seed_text("From: ca@example.hk\nSubject: code\n\nabc");
    fuzz_seed_text("{\\rtf1 code}");
}

static const char *const words[] = {"\xff\xfe",
                                    "\xfe\xff",
                                    "\xef\xbb\xbf",
                                    "<html",
                                    "-----BEGIN ",
                                    "%PDF-",
                                    "PK\3\4",
                                    "{\\rtf",
                                    " (1)",
                                    ".download",
                                    ".crdownload",
                                    ".part",
                                    "[InternetShortcut]",
                                    "\xc2\xa0",
                                    "\xe2\x80\x8b",
                                    "\r\n",
                                    "Subject: ",
                                    NULL};

FUZZ_TARGET(dcv_file, .run = run, .seeds = seeds, .max = 2048, .words = words);
