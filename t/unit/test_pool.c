/* The pool of issuers, with the look-alike catalogue and its twins. */

#include "store_make.h"

#include "ecert_ca.h"
#include "ecert_chain.h"
#include "ecert_pool.h"

static ecert_ca_t *ca;

static int group_setup(void **state)
{
    char *text;

    store_group_setup(state);
    text = pki_catalogue(pki, NULL);
    ca = ecert_ca_parse(text, strlen(text), "/catalogue", &err);
    free(text);
    return ca != NULL ? 0 : -1;
}

static int group_teardown(void **state)
{
    ecert_ca_free(ca);
    return store_group_teardown(state);
}

static int add(X509 *cert)
{
    return ecert_pool_add(store, ca, cert, STORE_NOW, &err);
}

static size_t list(ecert_pooled_t **pool)
{
    size_t n;

    assert_int_equal(ecert_pool_list(store, ca, pool, &n, &err), 0);
    return n;
}

static void test_add(void **state)
{
    ecert_pooled_t *pool;
    char *pem = pki_pem(pki->new_sub);

    (void)state;
    umask(077);
    put("store/issuers/.sub-new.pem.ecert-0123abcd", "killed");
    assert_int_equal(add(pki->new_sub), 0);
    assert_int_equal(add(pki->new_sub), 1);
    assert_int_equal(add(pki->cross), 0);
    assert_int_equal(add(pki->root), 0); /* as knowledge, never sent */
    assert_holds("store/issuers/sub-new.pem", pem);
    assert_int_equal(mode_of("store/issuers/sub-new.pem"), 0644);
    assert_int_equal(entries("store/issuers"), 3);
    assert_int_equal(list(&pool), 3);
    assert_string_equal(pool[0].file, "cross.pem");
    assert_string_equal(pool[1].file, "root.pem");
    assert_string_equal(pool[2].file, "sub-new.pem");
    assert_string_equal(pool[2].entry->id, "sub-new");
    assert_true(pool[2].alone);
    assert_false(pool[2].aside);
    ecert_pool_free(pool, 3);
    free(pem);
}

/* With one file more than is read, no site would have any. */
static void test_full(void **state)
{
    ecert_pooled_t *pool;
    char name[64];

    (void)state;
    for (int i = 0; i < 255; i++) {
        snprintf(name, sizeof(name), "store/issuers/note-%d.txt", i);
        put(name, "no certificate, but a file");
    }
    put("store/issuers/.hidden", "is not read");
    assert_int_equal(add(pki->new_sub), 0);
    assert_int_equal(add(pki->cross), -1);
    assert_err(&err, ECERT_ERR_TOO_MANY);
    assert_non_null(strstr(err.hint, "ecert issuers remove"));
    assert_int_equal(add(pki->new_sub), 1);
    assert_int_equal(list(&pool), 1);
    ecert_pool_free(pool, 1);
    unlink(at("store/issuers/note-0.txt"));
    assert_int_equal(add(pki->cross), 0);
}

static void assert_denied(X509 *cert)
{
    ecert_err_clear(&err);
    assert_int_equal(add(cert), -1);
    assert_err(&err, ECERT_ERR_DENIED);
    assert_non_null(strstr(err.detail, "replaced by the one"));
    assert_non_null(strstr(err.hint, "http://ca.example.hk/sub.crt"));
}

static void test_refused(void **state)
{
    pki_spec_t spec = {.cn = "Past CA",
                       .key = pki->ev_key,
                       .issuer = pki->root,
                       .issuer_key = pki->root_key,
                       .ca = 1,
                       .not_before = STORE_NOW - PKI_YEAR,
                       .not_after = STORE_NOW - 1};
    X509 *expired = pki_issue(&spec), *last;

    (void)state;
    assert_denied(pki->old_sub);
    assert_denied(pki->old_ev);
    assert_int_equal(add(pki->leaf), -1);
    assert_err(&err, ECERT_ERR_NOT_CA);
    assert_string_equal(err.detail, "it is a server's");
    assert_int_equal(add(expired), -1);
    assert_err(&err, ECERT_ERR_EXPIRED);
    assert_int_equal(entries("store/issuers"), 0);
    spec.not_after = STORE_NOW; /* its last second */
    last = pki_issue(&spec);
    assert_int_equal(add(last), 0);
    assert_int_equal(
        ecert_pool_add(at("none"), ca, pki->new_sub, STORE_NOW, &err), -1);
    assert_err(&err, ECERT_ERR_MISSING);
    assert_int_equal(
        ecert_pool_add(too_long_path(), ca, pki->new_sub, STORE_NOW, &err), -1);
    assert_int_equal(err.sys, ENAMETOOLONG);
    X509_free(last);
    X509_free(expired);
}

/* A denied one without a successor in the catalogue: no download is made up. */
static void test_denied_without_url(void **state)
{
    char *text = pki_catalogue(pki, NULL), *url;
    ecert_ca_t *other;

    (void)state;
    while ((url = strstr(text, "\"url\"")) != NULL) {
        memcpy(url, "\"rul\"", 5);
    }
    other = ecert_ca_parse(text, strlen(text), "/catalogue", &err);
    assert_non_null(other);
    assert_int_equal(
        ecert_pool_add(store, other, pki->old_sub, STORE_NOW, &err), -1);
    assert_err(&err, ECERT_ERR_DENIED);
    assert_string_equal(err.hint, ""); /* the list's own */
    ecert_ca_free(other);
    free(text);
}

/* The twins: same name and key; the file's name comes from the catalogue. */
static void test_twins(void **state)
{
    ecert_pooled_t *pool;

    (void)state;
    put_cert("store/issuers/downloaded.crt", pki->old_sub);
    assert_int_equal(add(pki->new_sub), 0);
    assert_int_equal(list(&pool), 2);
    assert_string_equal(pool[0].file, "downloaded.crt");
    assert_true(pool[0].entry->denied);
    assert_false(pool[1].entry->denied);
    ecert_pool_free(pool, 2);
    assert_int_equal(ecert_pool_aside(store, "downloaded.crt", &err), 0);
    assert_int_equal(list(&pool), 2);
    assert_string_equal(pool[0].file, "sub-new.pem");
    assert_string_equal(pool[1].file, "downloaded.crt");
    assert_true(pool[1].aside);
    ecert_pool_free(pool, 2);
}

static X509 *unknown_ca(const char *cn)
{
    pki_spec_t spec = {.cn = cn,
                       .key = pki->ev_key,
                       .issuer = pki->root,
                       .issuer_key = pki->root_key,
                       .ca = 1,
                       .not_before = STORE_NOW - PKI_DAY,
                       .not_after = STORE_NOW + PKI_DAY};

    return pki_issue(&spec);
}

static void test_unknown(void **state)
{
    X509 *cert = unknown_ca("../../etc/Unknown CA");
    char hex[65], name[100];

    (void)state;
    assert_int_equal(add(cert), 0);
    snprintf(name, sizeof(name), "store/issuers/%.16s.pem",
             ecert_x509_fingerprint(cert, hex));
    assert_true(is_there(name));
    assert_int_equal(entries("store/issuers"), 1);
    X509_free(cert);
}

/* What is there under the name that it would get is never written over. */
static void test_name_taken(void **state)
{
    char hex[65], name[100];

    (void)state;
    snprintf(name, sizeof(name), "store/issuers/%.16s.pem",
             ecert_x509_fingerprint(pki->new_sub, hex));
    put("store/issuers/sub-new.pem", "something of the administrator's");
    assert_int_equal(add(pki->new_sub), 0);
    assert_holds("store/issuers/sub-new.pem",
                 "something of the administrator's");
    assert_true(is_there(name));
    put(name, "something else");
    assert_int_equal(add(pki->new_sub), -1);
    assert_err(&err, ECERT_ERR_EXISTS);
    assert_string_equal(err.file, at(name));
    assert_holds(name, "something else");
}

static void test_list(void **state)
{
    char *a = pki_pem(pki->new_sub), *b = pki_pem(pki->root);
    char *both = pki_join(a, b, NULL);
    ecert_pooled_t *pool;
    size_t n;

    (void)state;
    put("store/issuers/both.pem", both);
    put("store/issuers/rubbish", "rubbish");
    put("store/issuers/empty", "");
    put_cert("store/issuers/.hidden.pem", pki->cross);
    folders("store/issuers/folder");
    assert_int_equal(list(&pool), 2);
    assert_string_equal(pool[0].file, "both.pem");
    assert_false(pool[0].alone || pool[1].alone);
    ecert_pool_free(pool, 2);
    assert_int_equal(add(pki->root), 1); /* in a file with others */
    assert_int_equal(ecert_pool_list(at("none"), ca, &pool, &n, &err), 0);
    assert_int_equal(n, 0);
    ecert_pool_free(pool, n);
    for (int i = 0; i < 260; i++) {
        char name[40];

        snprintf(name, sizeof(name), "store/issuers/%d", i);
        put(name, "");
    }
    assert_int_equal(ecert_pool_list(store, ca, &pool, &n, &err), -1);
    assert_err(&err, ECERT_ERR_TOO_MANY);
    assert_null(pool);
    free(a);
    free(b);
    free(both);
}

static void assert_no_aside(const char *file, ecert_code_t code)
{
    ecert_err_clear(&err);
    assert_int_equal(ecert_pool_aside(store, file, &err), -1);
    assert_err(&err, code);
}

static void test_aside(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        char text[2] = {(char)('a' + i), '\0'};

        put("store/issuers/f.pem", text);
        assert_int_equal(ecert_pool_aside(store, "f.pem", &err), 0);
        assert_false(is_there("store/issuers/f.pem"));
    }
    assert_holds("store/issuers/.aside/f.pem", "a");
    assert_holds("store/issuers/.aside/f.pem.1", "b");
    assert_holds("store/issuers/.aside/f.pem.2", "c");
    assert_int_equal(mode_of("store/issuers/.aside"), 0755);
    assert_no_aside("f.pem", ECERT_ERR_MISSING);
    assert_no_aside("../sites", ECERT_ERR_USAGE);
    assert_no_aside("..", ECERT_ERR_USAGE);
    assert_no_aside("", ECERT_ERR_USAGE);
    assert_no_aside(".aside", ECERT_ERR_USAGE);
    chmod(at("store/issuers/.aside"), 0777);
    put("store/issuers/g.pem", "g");
    assert_no_aside("g.pem", ECERT_ERR_UNSAFE);
    assert_holds("store/issuers/g.pem", "g");
}

/* What was set aside may come back. */
static void test_back(void **state)
{
    (void)state;
    assert_int_equal(add(pki->new_sub), 0);
    assert_int_equal(ecert_pool_aside(store, "sub-new.pem", &err), 0);
    assert_int_equal(add(pki->new_sub), 0);
    assert_true(is_there("store/issuers/sub-new.pem"));
    assert_true(is_there("store/issuers/.aside/sub-new.pem"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_STORE(test_add),        IN_STORE(test_full),
        IN_STORE(test_refused),    IN_STORE(test_denied_without_url),
        IN_STORE(test_twins),      IN_STORE(test_unknown),
        IN_STORE(test_name_taken), IN_STORE(test_list),
        IN_STORE(test_aside),      IN_STORE(test_back),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
