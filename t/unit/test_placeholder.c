/* The placeholder: whatever a site is called, as a file, and files gone bad. */

#include "scratch.h"

#include <dlfcn.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "ecert_placeholder.h"
#include "pki.h"

static ecert_err_t err;

static void test_names(void **state)
{
    static const char *const names[] = {
        "www.a.hk", "*.a.hk", "dot.a.hk.", "\xe4\xb8\xad.hk", "a b", ""};
    ecert_site_t site = {.name = "a.hk", .names = names, .n_names = 6};
    ecert_cred_t *cred = ecert_placeholder_new(&site, &err);
    GENERAL_NAMES *found;

    (void)state;
    assert_non_null(cred);
    assert_int_equal(cred->placeholder, 1);
    assert_int_equal(sk_X509_num(cred->chain), 0);
    assert_int_equal(X509_check_host(cred->leaf, "a.hk", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(cred->leaf, "www.a.hk", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(cred->leaf, "x.a.hk", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(cred->leaf, "b.hk", 0, 0, NULL), 0);
    found = X509_get_ext_d2i(cred->leaf, NID_subject_alt_name, NULL, NULL);
    assert_int_equal(sk_GENERAL_NAME_num(found), 4);
    GENERAL_NAMES_free(found);
    assert_int_equal(X509_self_signed(cred->leaf, 1), 1);
    assert_int_equal(X509_check_purpose(cred->leaf, X509_PURPOSE_SSL_SERVER, 0),
                     1);
    assert_int_equal(X509_check_ca(cred->leaf), 0);
    assert_int_equal(ERR_peek_error(), 0);
    ecert_cred_free(cred);
}

/* A server must start, whatever stands in its configuration. */
static void test_odd_labels(void **state)
{
    static char big[301];
    static const char *const labels[] = {"\xe4\xb8\xad\xe5\x9b\xbd.hk",
                                         "/etc/\xff\xfe/cert.pem",
                                         "\xe4\xb8",
                                         "a",
                                         "/",
                                         "x y",
                                         "*.a.hk",
                                         big};

    (void)state;
    memset(big, 'l', 300);
    for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
        for (int as_name = 0; as_name < 2; as_name++) {
            ecert_site_t site = {.name = as_name ? labels[i] : NULL,
                                 .certificate = as_name ? NULL : labels[i]};
            ecert_cred_t *cred = ecert_placeholder_new(&site, &err);

            if (cred == NULL) {
                fail_msg("label %zu: %s", i, err.detail);
            }
            assert_int_equal(ERR_peek_error(), 0);
            ecert_cred_free(cred);
        }
    }
}

/* What was synced last, and whether it was that which got its name then. */
static ino_t synced;
static int put_synced;

int fsync(int fd)
{
    struct stat st;

    synced = fstat(fd, &st) == 0 ? st.st_ino : 0;
    return 0;
}

int renameat(int from, const char *old, int to, const char *new)
{
    static int (*next)(int, const char *, int, const char *);
    struct stat st;

    if (next == NULL) {
        *(void **)&next = dlsym(RTLD_NEXT, "renameat");
    }
    put_synced += fstatat(from, old, &st, 0) == 0 && st.st_ino == synced;
    return next(from, old, to, new);
}

static void assert_file(const char *path, const ecert_site_t *site,
                        const ecert_cred_t *same)
{
    ecert_cred_t *cred = ecert_placeholder_read(path, site, &err);

    assert_non_null(cred);
    assert_int_equal(cred->placeholder, 1);
    if (same != NULL) {
        assert_int_equal(X509_cmp(cred->leaf, same->leaf), 0);
    }
    assert_int_equal(ERR_peek_error(), 0);
    ecert_cred_free(cred);
}

static void test_file(void **state)
{
    ecert_site_t site = {.name = "www.a.hk"}, other = {.name = "www.b.hk"};
    ecert_site_t weird = {.certificate = "/../etc/\xff pass/../wd"};
    char path[PATH_MAX], again[PATH_MAX];
    ecert_cred_t *cred;
    struct stat st;

    (void)state;
    umask(0);
    assert_int_equal(
        ecert_placeholder_file(scratch, &site, path, sizeof(path), &err), 0);
    assert_int_equal(put_synced, 1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(at("placeholder"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    /* httpd's run-time folder ends with a slash */
    assert_int_equal(
        ecert_placeholder_file(at(""), &site, again, sizeof(again), &err), 0);
    assert_string_equal(again, path);
    cred = ecert_placeholder_read(path, &site, &err);
    assert_non_null(cred);
    assert_file(path, &site, cred);
    assert_int_equal(
        ecert_placeholder_file(scratch, &site, again, sizeof(again), &err), 0);
    assert_string_equal(again, path);
    assert_file(again, &site, cred); /* made once */
    ecert_cred_free(cred);
    assert_int_equal(
        ecert_placeholder_file(scratch, &other, again, sizeof(again), &err), 0);
    assert_string_not_equal(again, path);
    assert_int_equal(
        ecert_placeholder_file(scratch, &weird, again, sizeof(again), &err), 0);
    assert_ptr_equal(strstr(again, at("placeholder/")), again);
    assert_null(strchr(again + strlen(at("placeholder/")), '/'));
}

static void test_bad_file(void **state)
{
    ecert_site_t site = {.name = "www.a.hk"};
    EVP_PKEY *other = pki_key("P-256");
    char path[PATH_MAX], *key = pki_pem_key(other);
    ecert_cred_t *cred;
    char *pem, *both;

    (void)state;
    cred = ecert_placeholder_new(&site, &err);
    pem = pki_pem(cred->leaf);
    both = pki_join(pem, key, NULL);
    put("bad", "");
    assert_file(at("bad"), &site, NULL);
    put("bad", "garbage");
    assert_file(at("bad"), &site, NULL);
    put("bad", pem); /* no key */
    assert_file(at("bad"), &site, NULL);
    put("bad", both); /* not its key */
    assert_file(at("bad"), &site, NULL);
    assert_file(at("missing"), &site, NULL);
    assert_int_equal(mkfifo(at("fifo"), 0600), 0);
    assert_file(at("fifo"), &site, NULL);
    assert_file(scratch, &site, NULL);
    /* an empty file is made anew */
    assert_int_equal(
        ecert_placeholder_file(scratch, &site, path, sizeof(path), &err), 0);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(
        ecert_placeholder_file(scratch, &site, path, sizeof(path), &err), 0);
    ecert_cred_free(cred);
    cred = ecert_placeholder_read(path, &site, &err);
    assert_file(path, &site, cred);
    ecert_cred_free(cred);
    EVP_PKEY_free(other);
    free(key);
    free(pem);
    free(both);
}

static void test_folder(void **state)
{
    ecert_site_t site = {.name = "www.a.hk"};
    char path[PATH_MAX];

    (void)state;
    folders("placeholder");
    assert_int_equal(chmod(at("placeholder"), 0777), 0);
    assert_int_equal(
        ecert_placeholder_file(scratch, &site, path, sizeof(path), &err), -1);
    assert_int_equal(err.code, ECERT_ERR_UNSAFE);
    assert_int_equal(rmdir(at("placeholder")), 0);
    folders("elsewhere");
    put_link("elsewhere", "placeholder");
    assert_int_equal(
        ecert_placeholder_file(scratch, &site, path, sizeof(path), &err), -1);
    assert_int_equal(
        ecert_placeholder_file(at("none"), &site, path, sizeof(path), &err),
        -1);
    assert_int_equal(err.code, ECERT_ERR_MISSING);
    unlink(at("placeholder"));
    for (size_t size = 1; size < strlen(scratch) + 40; size += 7) {
        memset(path, 'Z', sizeof(path));
        assert_int_equal(
            ecert_placeholder_file(scratch, &site, path, size, &err), -1);
        assert_int_equal(err.code, ECERT_ERR_CONF);
        assert_int_equal(path[size], 'Z');
    }
}

static void test_path_tidy(void **state)
{
    static const char *const cases[][2] = {
        {"/var/lib/ecert/", "/var/lib/ecert"},
        {"//a///b//", "/a/b"},
        {"/", "/"},
        {"///", "/"},
        {"/a", "/a"},
        {"a//b/", "a/b"},
        {"", ""},
    };
    ecert_conf_t *conf = ecert_conf_new();
    char path[32];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        strcpy(path, cases[i][0]);
        assert_string_equal(ecert_conf_path(path), cases[i][1]);
    }
    assert_int_equal(ecert_conf_set(&conf->store, "/a//b/", &err), 0);
    assert_string_equal(conf->store, "/a/b");
    ecert_conf_free(conf);
}

int main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_odd_labels),
        cmocka_unit_test(test_path_tidy),
        TEST(test_file),
        TEST(test_bad_file),
        TEST(test_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
