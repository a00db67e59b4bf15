/* ZIP archives: as CAs mail them, and as nobody should.  All but the last are
 * read as the command does it, in a jail. */

#include "scratch.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>

#include "ecert_parcel.h"
#include "ecert_pem.h"
#include "ecert_zip.h"
#include "pki.h"
#include "zip_make.h"

#define NOW ((int64_t)1795392000)

static pki_t *pki;
static char *leaf, *sub, *cross, *key;
static zip_made_t zip;
static ecert_parcel_t parcel;
static ecert_err_t err;

static int group_setup(void **state)
{
    (void)state;
    pki = pki_new(NOW);
    leaf = pki_pem(pki->leaf);
    sub = pki_pem(pki->new_sub);
    cross = pki_pem(pki->cross);
    key = pki_pem_key(pki->leaf_key);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    pki_free(pki);
    free(leaf);
    free(sub);
    free(cross);
    free(key);
    return 0;
}

static int setup(void **state)
{
    zip_make(&zip, "compression=deflate");
    return scratch_setup(state);
}

static int teardown(void **state)
{
    zip_free(&zip);
    ecert_parcel_free(&parcel);
    return scratch_teardown(state);
}

static int open_bytes(const void *bytes, size_t len)
{
    ecert_file_t file;

    put_bytes("parcel", bytes, len);
    ecert_parcel_free(&parcel);
    assert_int_equal(ecert_parcel_read(at("parcel"), &file, &err), 0);
    assert_int_equal(ecert_parcel_locked(&file), 0);
    ecert_err_clear(&err);
    if (ecert_parcel_open(&file, "a.zip", NULL, &parcel, &err) != 0) {
        assert_memory_equal(err.file, "a.zip", 5);
        memset(&parcel, 0, sizeof(parcel));
    }
    ecert_file_free(&file);
    return (int)err.code;
}

static int open_zip(void)
{
    zip_done(&zip);
    return open_bytes(zip.bytes, zip.len);
}

static void assert_refused(int expected, const char *detail)
{
    int code = open_zip();

    if (code != expected || strstr(err.detail, detail) == NULL) {
        fail_msg("%s (%s) where %s (%s) was expected", ecert_err_word(code),
                 err.detail, ecert_err_word(expected), detail);
    }
    zip_free(&zip);
    zip_make(&zip, "compression=deflate");
}

static void assert_holds(int n, X509 *first, X509 *second, X509 *third)
{
    X509 *list[] = {first, second, third};

    assert_int_equal(sk_X509_num(parcel.certificates), n);
    for (int i = 0; i < n; i++) {
        assert_int_equal(
            X509_cmp(sk_X509_value(parcel.certificates, i), list[i]), 0);
    }
}

static void test_as_mailed(void **state)
{
    char *bundle = pki_join(sub, cross, NULL), *all = pki_join(leaf, sub, NULL);
    unsigned char *der = NULL;
    int len = i2d_X509(pki->leaf, &der);

    (void)state;
    zip_folder(&zip, "www_example_hk/");
    zip_text(&zip, "__MACOSX/._www_example_hk.crt", "Mac OS X");
    zip_text(&zip, ".DS_Store", "Bud1");
    zip_text(&zip, "www_example_hk/www_example_hk.crt", leaf);
    zip_text(&zip, "www_example_hk/www_example_hk.ca-bundle", bundle);
    zip_file(&zip, "www_example_hk/iis/www.cer", der, (size_t)len);
    zip_text(&zip, "www_example_hk/nginx/chain.pem", all);
    zip_text(&zip, "\xe8\xab\x8b\xe8\xae\x80.txt", "Dear customer,\r\n");
    zip_text(&zip, "www_example_hk/index.html", "<html>how to</html>");
    zip_text(&zip, "logo.gif", "GIF89a");
    zip_text(&zip, "empty.txt", "");
    zip_text(&zip, "www.csr",
             "-----BEGIN CERTIFICATE REQUEST-----\nMAAA\n"
             "-----END CERTIFICATE REQUEST-----\n");
    zip_link(&zip, "link.crt", "/etc/passwd");
    assert_int_equal(open_zip(), 0);
    assert_holds(3, pki->leaf, pki->new_sub, pki->cross);
    assert_null(parcel.key);
    OPENSSL_free(der);
    free(bundle);
    free(all);
}

static void test_key(void **state)
{
    char *sec1 = pki_pem_key_traditional(pki->leaf_key);
    EVP_PKEY *other = pki_key("P-256");
    char *other_pem = pki_pem_key(other);

    (void)state;
    zip_text(&zip, "private.key", key);
    zip_text(&zip, "ca_bundle.crt", sub);
    zip_text(&zip, "certificate.crt", leaf);
    zip_text(&zip, "again.pem", sec1);
    assert_int_equal(open_zip(), 0);
    assert_holds(2, pki->new_sub, pki->leaf, NULL);
    assert_int_equal(EVP_PKEY_eq(parcel.key, pki->leaf_key), 1);
    zip_free(&zip);
    zip_make(&zip, "compression=store");
    zip_text(&zip, "a.key", key);
    zip_text(&zip, "b.key", other_pem);
    assert_refused(ECERT_ERR_TOO_MANY, "two different private keys");
    EVP_PKEY_free(other);
    free(other_pem);
    free(sec1);
}

/* Whoever left one out in silence would serve less than was mailed. */
static void test_not_left_out(void **state)
{
    PKCS12 *p12 =
        PKCS12_create("x", "n", pki->leaf_key, pki->leaf, NULL, 0, 0, 0, 0, 0);
    char *cut = strndup(sub, strlen(sub) - 40);
    unsigned char *der = NULL;
    int len = i2d_PKCS12(p12, &der);

    (void)state;
    zip_text(&zip, "www.crt", leaf);
    zip_text(&zip, "sub.crt", cut);
    assert_refused(ECERT_ERR_TRUNCATED, "has no end");
    assert_string_equal(err.file, "a.zip: sub.crt");
    zip_text(&zip, "www.crt", leaf);
    zip_text(&zip, "note.txt", cut);
    assert_refused(ECERT_ERR_TRUNCATED, "has no end");
    zip_text(&zip, "www.crt", leaf);
    zip_text(&zip, "SUB.CER", "garbage");
    assert_refused(ECERT_ERR_FORMAT, "found something else");
    zip_text(&zip, "www.crt", leaf);
    zip_text(&zip, "sub.zip", "PK\3\4");
    assert_refused(ECERT_ERR_FORMAT, "found a ZIP archive");
    assert_string_equal(err.file, "a.zip: sub.zip");
    assert_non_null(strstr(err.hint, "unpack it"));
    zip_text(&zip, "www.crt", leaf);
    zip_text(&zip, "sub.gz", "\x1f\x8b");
    assert_refused(ECERT_ERR_FORMAT, "found an archive (gzip)");
    zip_file(&zip, "www.pfx", der, (size_t)len);
    assert_refused(ECERT_ERR_FORMAT, "found a PFX");
    zip_text(&zip, "readme.txt", "hello");
    assert_refused(ECERT_ERR_FORMAT, "a ZIP archive without one");
    assert_refused(ECERT_ERR_FORMAT, "an empty ZIP archive");
    OPENSSL_free(der);
    PKCS12_free(p12);
    free(cut);
}

static void test_encrypted(void **state)
{
    static const char *const kinds[] = {"encryption=traditional",
                                        "encryption=aes256"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        zip_free(&zip);
        zip_make(&zip, kinds[i]);
        zip_text(&zip, "www.crt", leaf);
        assert_refused(ECERT_ERR_FORMAT, "found www.crt in it encrypted");
        assert_non_null(strstr(err.hint, "with its password"));
    }
}

static void add_certificates(int n)
{
    for (int i = 0; i < n; i++) {
        X509 *cert = pki_leaf(pki, "DNS:a.hk", NULL, NOW, NOW + 1 + i);
        char *pem = pki_pem(cert), name[32];

        snprintf(name, sizeof(name), "%d.crt", i);
        zip_text(&zip, name, pem);
        X509_free(cert);
        free(pem);
    }
}

static void add_entries(int n)
{
    char name[32];

    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "%d.txt", i);
        zip_text(&zip, name, "");
    }
}

static void test_too_many(void **state)
{
    (void)state;
    add_certificates(ECERT_PEM_CERTIFICATES);
    assert_int_equal(open_zip(), 0);
    assert_int_equal(sk_X509_num(parcel.certificates), ECERT_PEM_CERTIFICATES);
    zip_free(&zip);
    zip_make(&zip, "compression=deflate");
    add_certificates(ECERT_PEM_CERTIFICATES + 1);
    assert_refused(ECERT_ERR_TOO_MANY, "more than 16 certificates");
    add_entries(ECERT_ZIP_ENTRIES - 1);
    zip_text(&zip, "www.crt", leaf);
    assert_int_equal(open_zip(), 0);
    zip_free(&zip);
    zip_make(&zip, "compression=deflate");
    add_entries(ECERT_ZIP_ENTRIES);
    zip_text(&zip, "www.crt", leaf);
    assert_refused(ECERT_ERR_TOO_MANY, "more than 256 files and folders");
    assert_non_null(strstr(err.hint, "unpack it"));
    add_entries(5000);
    assert_refused(ECERT_ERR_TOO_MANY, "more than 256 files and folders");
}

static void test_bombs(void **state)
{
    const size_t size = 64 * 1024 * 1024;
    char *zeros = calloc(1, size), *noise = malloc(ECERT_ZIP_FILE);
    uint32_t seed = 1;

    (void)state;
    zip_file(&zip, "a.crt", zeros, size);
    assert_refused(ECERT_ERR_TOO_LARGE, "a.crt in it has more than 1048576");
    zip_file(&zip, "a.txt", zeros, 512 * 1024);
    assert_refused(ECERT_ERR_TOO_LARGE, "bytes come of it"); /* by the ratio */
    /* a quarter of each is noise, so that the ratio is good */
    for (size_t i = 0; i < ECERT_ZIP_FILE / 5; i++) {
        seed = seed * 1664525 + 1013904223;
        noise[i] = (char)(seed >> 24);
    }
    memset(noise + ECERT_ZIP_FILE / 5, 'a', ECERT_ZIP_FILE * 4 / 5);
    for (int i = 0; i < 4; i++) {
        char name[] = {(char)('a' + i), '.', 't', 'x', 't', '\0'};
        zip_file(&zip, name, noise, ECERT_ZIP_FILE);
    }
    zip_text(&zip, "e.txt", "one more");
    assert_refused(ECERT_ERR_TOO_LARGE, "more than 4194304 bytes come of it");
    free(zeros);
    free(noise);
}

/* ---- archives that lie ------------------------------------------------- */

static unsigned char *find(const char *magic)
{
    unsigned char *found = memmem(zip.bytes, zip.len, magic, 4);

    assert_non_null(found);
    return found;
}

/* Sizes in the directory, and where the entry or the directory is. */
static void test_lies(void **state)
{
    static const struct {
        const char *magic;
        size_t at;
        int bytes;
    } fields[] = {
        {"PK\1\2", 20, 4}, {"PK\1\2", 24, 4}, {"PK\1\2", 28, 2},
        {"PK\1\2", 30, 2}, {"PK\1\2", 42, 4}, {"PK\3\4", 18, 4},
        {"PK\3\4", 22, 4}, {"PK\3\4", 26, 2}, {"PK\3\4", 28, 2},
        {"PK\5\6", 8, 2},  {"PK\5\6", 10, 2}, {"PK\5\6", 12, 4},
        {"PK\5\6", 16, 4},
    };
    static const char *const values[] = {
        "\0\0\0\0", "\1\0\0\0", "\xff\xff\xff\xff", "\xff\xff\xff\x7f"};
    unsigned char kept[4];

    (void)state;
    zip_text(&zip, "www.crt", leaf);
    zip_text(&zip, "sub.crt", sub);
    zip_done(&zip);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
            unsigned char *p = find(fields[i].magic) + fields[i].at;
            int code;

            memcpy(kept, p, 4);
            memcpy(p, values[k], (size_t)fields[i].bytes);
            code = open_bytes(zip.bytes, zip.len);
            if (code == 0) {
                assert_holds(2, pki->leaf, pki->new_sub, NULL);
            } else {
                assert_true(
                    code == ECERT_ERR_DAMAGED || code == ECERT_ERR_FORMAT
                    || code == ECERT_ERR_TRUNCATED || code == ECERT_ERR_EMPTY);
            }
            memcpy(p, kept, 4);
        }
    }
    assert_int_equal(open_bytes(zip.bytes, zip.len), 0);
}

/* As Windows packs what is large. */
static void test_method(void **state)
{
    (void)state;
    zip_text(&zip, "www.crt", leaf);
    zip_done(&zip);
    memcpy(find("PK\3\4") + 8, "\x09\0", 2);
    memcpy(find("PK\1\2") + 10, "\x09\0", 2);
    assert_int_equal(open_bytes(zip.bytes, zip.len), ECERT_ERR_FORMAT);
    assert_non_null(strstr(err.detail, "deflation-64"));
    assert_non_null(strstr(err.hint, "unpack it"));
}

static void test_zip64(void **state)
{
    (void)state;
    zip_free(&zip);
    zip_make(&zip, "compression=deflate,zip64");
    zip_text(&zip, "www.crt", leaf);
    assert_int_equal(open_zip(), 0);
    assert_holds(1, pki->leaf, NULL, NULL);
    /* a million entries by its word, and one */
    if (memmem(zip.bytes, zip.len, "PK\6\6", 4) != NULL) {
        memcpy(find("PK\6\6") + 24, "\x40\x42\x0f\0\0\0\0\0", 8);
        memcpy(find("PK\6\6") + 32, "\x40\x42\x0f\0\0\0\0\0", 8);
        assert_true(open_bytes(zip.bytes, zip.len) == 0
                    || err.code == ECERT_ERR_DAMAGED);
    }
}

static int count(void *ctx, const char *name, const unsigned char *bytes,
                 size_t len, ecert_err_t *ignored)
{
    (void)name;
    (void)bytes;
    (void)len;
    (void)ignored;
    ++*(int *)ctx;
    return 0;
}

/* Each cut is noticed; nothing that is flipped does more than damage. */
static void test_damage(void **state)
{
    int files = 0;

    (void)state;
    zip_text(&zip, "www.crt", leaf);
    zip_text(&zip, "sub.crt", sub);
    zip_done(&zip);
    for (size_t cut = 0; cut < zip.len; cut++) {
        unsigned char *part = malloc(cut + (cut == 0));

        memcpy(part, zip.bytes, cut);
        assert_int_equal(
            ecert_zip_each(part, cut, "a.zip", count, &files, &err), -1);
        assert_int_equal(err.code, ECERT_ERR_DAMAGED);
        free(part);
    }
    for (size_t i = 0; i < zip.len; i++) {
        zip.bytes[i] ^= 0x55;
        if (ecert_zip_each(zip.bytes, zip.len, "a.zip", count, &files, &err)
            != 0) {
            assert_string_equal(err.file, "a.zip");
        }
        zip.bytes[i] ^= 0x55;
    }
    files = 0;
    assert_int_equal(
        ecert_zip_each(zip.bytes, zip.len, "a.zip", count, &files, &err), 0);
    assert_int_equal(files, 2);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_as_mailed), test(test_key),    test(test_not_left_out),
        test(test_encrypted), test(test_method), test(test_too_many),
        test(test_bombs),     test(test_lies),   test(test_zip64),
        test(test_damage),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
