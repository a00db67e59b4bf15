/* PFX files that other programs wrote: each opens, or is refused. */

#include "scratch.h"

#include "ecert_sniff.h"
#include "pfx_make.h"
#include "pki.h"

static ecert_err_t err;

static int read_blob(const blob_t *blob, const char *password, ecert_pfx_t *out)
{
    return pfx_read(blob->bytes, blob->len, password, out, &err);
}

/* As stock OpenSSL reads it, with the legacy provider. */
static void as_openssl(const blob_t *blob, const char *password,
                       const ecert_pfx_t *pfx)
{
    const unsigned char *p = blob->bytes;
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    STACK_OF(X509) *others = NULL;
    PKCS12 *p12 = d2i_PKCS12(NULL, &p, (long)blob->len);

    assert_int_equal(PKCS12_parse(p12, password, &key, &cert, &others), 1);
    assert_int_equal(key != NULL, pfx->key != NULL);
    assert_true(key == NULL || pfx_same_key(key, pfx->key));
    assert_int_equal((cert != NULL) + (others ? sk_X509_num(others) : 0),
                     sk_X509_num(pfx->certificates));
    if (cert != NULL) {
        assert_int_equal(X509_cmp(cert, sk_X509_value(pfx->certificates, 0)),
                         0);
    }
    EVP_PKEY_free(key);
    X509_free(cert);
    sk_X509_pop_free(others, X509_free);
    PKCS12_free(p12);
}

static void readable(const blob_t *blob, const char *password, const char *how)
{
    int legacy = strcmp(how, "legacy") == 0;
    ecert_pfx_t out;

    if (read_blob(blob, password, &out) != 0) {
        fail_msg("%s: %s", ecert_err_word(err.code), err.detail);
    }
    assert_true(out.key != NULL || sk_X509_num(out.certificates) > 0);
    if (out.key != NULL) {
        assert_true(pfx_key_signs(out.key));
    }
    if (legacy_enter()) {
        as_openssl(blob, password, &out);
        legacy_leave();
    } else {
        assert_int_equal(legacy, 0);
    }
    ecert_pfx_free(&out);
    if (*password != '\0') { /* without a MAC any other is fine, too */
        assert_int_equal(read_blob(blob, "another", &out), -1);
        assert_int_equal(err.code, ECERT_ERR_PASSWORD);
    }
}

static void unreadable(const blob_t *blob)
{
    const char *passwords[] = {"", "foo"};
    ecert_pfx_t out;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(read_blob(blob, passwords[i], &out), -1);
        assert_true(err.code == ECERT_ERR_DAMAGED
                    || err.code == ECERT_ERR_PASSWORD);
    }
}

/* One line of the manifest; 1 when it is about a file. */
static int corpus_line(char *line)
{
    char *field[4], path[300];
    ecert_pfx_t out;
    blob_t blob;

    for (int i = 0; i < 4; i++) {
        field[i] = strsep(&line, "\t");
        assert_non_null(field[i]);
    }
    if (strcmp(field[0], "file") == 0) {
        return 0;
    }
    snprintf(path, sizeof(path), "pfx/%s", field[0]);
    blob.bytes = (unsigned char *)pki_data_file(path, &blob.len);
    assert_non_null(blob.bytes);
    assert_int_equal(blob.len, strtoul(field[1], NULL, 10));
    print_message("# %s\n", field[0]);
    assert_int_equal(ecert_sniff_pfx(blob.bytes, blob.len), 1);
    if (strncmp(field[3], "DoS", 3) == 0) {
        assert_int_equal(read_blob(&blob, field[2], &out), -1);
        assert_int_equal(err.code, ECERT_ERR_ITERATIONS);
        assert_non_null(strstr(err.detail, "20,000,000 iterations"));
    } else if (strcmp(field[3], "unreadable") == 0) {
        unreadable(&blob);
    } else {
        readable(&blob, field[2], field[3]);
    }
    free(blob.bytes);
    return 1;
}

static void test_corpus(void **state)
{
    size_t len;
    char *manifest =
        pki_data() ? pki_data_file("pfx/MANIFEST.tsv", &len) : NULL;
    char *rest = manifest, *line;
    int n = 0;

    (void)state;
    if (skipped(manifest == NULL, "no folder of test data")) {
        return;
    }
    while ((line = strsep(&rest, "\n")) != NULL) {
        if (*line != '\0') {
            n += corpus_line(line);
        }
    }
    assert_true(n > 20);
    free(manifest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corpus),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
