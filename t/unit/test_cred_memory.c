/*
 * Memory that is not to be had while a credential is decoded, or a record
 * published: one allocation of OpenSSL fails, one after the other.  What is
 * decoded all the same is as good as any.
 */

#include "scratch.h"

#include <openssl/err.h>

#include "ecert_conf.h"
#include "ecert_cred.h"
#include "ecert_snap.h"
#include "pki.h"
#include "starve.h"

#define NOW  ((int64_t)1795392000)
#define STEP 7 /* there are thousands; a prime, so that all kinds are met */

static long made;    /* allocations */
static long failing; /* which of them fails; 0: none */

static int fails(void)
{
    return ++made == failing;
}

static void assert_signs(EVP_PKEY *key, long nth)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    unsigned char signature[1024];
    size_t len = sizeof(signature);

    if (EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key) != 1
        || EVP_DigestSign(md, signature, &len, (const unsigned char *)"a", 1)
               != 1) {
        fail_msg("allocation %ld: the key does not sign", nth);
    }
    EVP_MD_CTX_free(md);
}

/* 1: decoded and used; 0: refused, for lack of memory or as damaged (OpenSSL
 * does not always say which). */
static int decode(SSL_CTX *ctx, const unsigned char *bytes, size_t len,
                  long nth)
{
    ecert_cred_t *cred;
    ecert_err_t err;
    SSL *ssl;

    made = 0;
    failing = nth;
    cred = ecert_cred_decode(bytes, len, &err);
    failing = 0;
    ERR_clear_error();
    if (cred == NULL) {
        assert_true(err.code == ECERT_ERR_MEMORY
                    || err.code == ECERT_ERR_SNAPSHOT);
        return 0;
    }
    ssl = SSL_new(ctx);
    if (ecert_cred_use(cred, ssl, &err) != 0) {
        fail_msg("allocation %ld: %s", nth, err.detail);
    }
    SSL_free(ssl);
    assert_signs(cred->key, nth);
    ecert_cred_free(cred);
    return 1;
}

static void test_each_allocation(void **state)
{
    pki_t *pki = pki_new(NOW);
    STACK_OF(X509) *chain = pki_stack(pki->new_sub, pki->cross, NULL);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    ecert_cred_t *cred;
    unsigned char *bytes;
    ecert_err_t err;
    size_t len;
    long nth, all, refused = 0;

    (void)state;
    cred = ecert_cred_new(pki->leaf, pki->leaf_key, chain, &err);
    assert_int_equal(ecert_cred_encode(cred, &bytes, &len, &err), 0);
    assert_int_equal(decode(ctx, bytes, len, 0), 1);
    all = made;
    for (nth = 1; nth <= all; nth += STEP) {
        refused += !decode(ctx, bytes, len, nth);
    }
    assert_uint_in_range(refused, 10, all / STEP);

    ecert_snap_free(bytes, len);
    ecert_cred_free(cred);
    SSL_CTX_free(ctx);
    pki_stack_free(chain);
    pki_free(pki);
}

static void assert_record(const ecert_snap_t *snap, uint32_t slot,
                          const char *text, uint64_t number)
{
    unsigned char *bytes;
    uint64_t generation;
    ecert_err_t err;
    size_t len;

    assert_int_equal(
        ecert_snap_read(snap, slot, &bytes, &len, &generation, &err), 0);
    assert_int_equal(generation, number);
    assert_int_equal(len, strlen(text));
    assert_memory_equal(bytes, text, len);
    ecert_snap_free(bytes, len);
}

/* Without its SHA-256 no record is published; the one before stays. */
static void test_no_digest(void **state)
{
    ecert_err_t err;
    int fd = ecert_snap_create(1, &err);
    ecert_snap_t *snap = ecert_snap_open_writer(fd, &err);

    (void)state;
    assert_non_null(snap);
    for (uint32_t slot = 0; slot < 4; slot++) {
        const void *good = "good", *next = "next";

        assert_int_equal(ecert_snap_publish(snap, slot, good, 4, &err), 0);
        made = 0;
        failing = 1;
        assert_int_equal(ecert_snap_publish(snap, slot, next, 4, &err), -1);
        failing = 0;
        assert_int_equal(err.code, ECERT_ERR_OPENSSL);
        assert_record(snap, slot, "good", 1);
        assert_int_equal(ecert_snap_publish(snap, slot, next, 4, &err), 0);
        assert_record(snap, slot, "next", 2);
    }
    ecert_snap_close(snap);
    close(fd);
}

/* Nor is a site taken for another one: all of them would be the same. */
static void test_no_identity(void **state)
{
    const ecert_site_t a = {.name = "a.example.hk"},
                       b = {.name = "b.example.hk"};
    ecert_conf_t *conf = ecert_conf_new();
    long all, refused = 0;
    ecert_err_t err;

    (void)state;
    made = 0;
    assert_int_equal(ecert_conf_add(conf, &a, &err), 0);
    all = made;
    for (long nth = 1; nth <= all; nth++) {
        made = 0;
        failing = nth;
        int site = ecert_conf_add(conf, &b, &err);
        failing = 0;
        assert_true(site == 1 || (site == -1 && err.code == ECERT_ERR_OPENSSL));
        refused += site < 0;
    }
    assert_uint_in_range(refused, 1, all);
    assert_int_equal(ecert_conf_add(conf, &a, &err), 0);
    ecert_conf_free(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_allocation),
        cmocka_unit_test(test_no_digest),
        cmocka_unit_test(test_no_identity),
    };

    if (!starve_openssl()) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
