/* How often a worker takes up again what it could not use: counted by the
 * copies that are made of the record. */

#include "live_make.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <time.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "ecert_cred.h"
#include "pki_group.h"

#define TRIES 200

static SSL_CTX *ctx;
static atomic_int reads;

static void *count_malloc(size_t size, const char *file, int line)
{
    (void)line;
    if (file != NULL && strstr(file, "ecert_snap.c") != NULL) {
        reads++;
    }
    return size > 0 ? malloc(size) : NULL;
}

static void *plain_realloc(void *p, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    if (size == 0) {
        free(p);
        return NULL;
    }
    return realloc(p, size);
}

static void plain_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    free(p);
}

static void publish_good(world_t *world)
{
    STACK_OF(X509) *chain = pki_stack(pki->new_sub, NULL);
    ecert_cred_t *cred = ecert_cred_new(pki->leaf, pki->leaf_key, chain, &err);
    unsigned char *bytes;
    size_t len;

    assert_non_null(cred);
    assert_int_equal(ecert_cred_encode(cred, &bytes, &len, &err), 0);
    assert_int_equal(ecert_snap_publish(world->agent, 0, bytes, len, &err), 0);
    ecert_snap_free(bytes, len);
    ecert_cred_free(cred);
    pki_stack_free(chain);
}

static void open_world(world_t *world)
{
    static const char *const names[] = {"www.example.hk"};

    open_sites(world, names, 1);
    become_worker(world);
    ctx = SSL_CTX_new(TLS_server_method());
    publish_good(world);
}

/* What the callback returns for a connection of this security level. */
static int certify(const world_t *world, int level)
{
    SSL *ssl = SSL_new(ctx);
    int rc;

    SSL_set_security_level(ssl, level);
    rc = ecert_live_certify(world->live, 0, ssl, &err);
    SSL_free(ssl);
    ERR_clear_error();
    return rc;
}

static int64_t seconds_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec;
}

static void wait_for_retry(void)
{
    struct timespec nap = {1, 100000000};

    nanosleep(&nap, NULL);
}

/* The first read, and one for each second that has begun meanwhile. */
static void assert_throttled(const world_t *world, int first)
{
    int64_t begin = seconds_now();
    int before = reads;

    for (int i = 0; i < TRIES; i++) {
        assert_true(certify(world, 1) >= 0); /* what was there goes on */
    }
    assert_uint_in_range(reads - before, first,
                         first + (int)(seconds_now() - begin) + 1);
}

/* What the agent is told of this worker. */
static void assert_says(const world_t *world, uint64_t serves, uint64_t refuses)
{
    ecert_seen_t *seen = ecert_seen_open(world->launch.seen, &err);

    assert_non_null(seen);
    assert_int_equal(ecert_seen_get(seen, 0, 0), serves);
    assert_int_equal(ecert_seen_refused(seen, 0, 0), refuses);
    ecert_seen_close(seen);
}

static void test_bad_record(void **state)
{
    world_t world;

    (void)state;
    open_world(&world);
    assert_int_equal(certify(&world, 1), 0);
    assert_int_equal(
        ecert_snap_publish(world.agent, 0, (const void *)"bad", 3, &err), 0);
    assert_throttled(&world, 1);
    assert_says(&world, 1, 2);
    wait_for_retry();
    assert_throttled(&world, 1);
    publish_good(&world); /* another generation need not wait */
    assert_int_equal(certify(&world, 1), 0);
    SSL_CTX_free(ctx);
    close_world(&world);
}

/*
 * What OpenSSL does not take (here for its key, which says nothing about other
 * connections) does not come in place: what was there goes on.
 */
static void test_refused(void **state)
{
    world_t world;

    (void)state;
    open_world(&world);
    assert_int_equal(certify(&world, 5), -1); /* there is none before */
    assert_int_equal(err.code, ECERT_ERR_OPENSSL);
    assert_says(&world, 0, 1);
    assert_int_equal(certify(&world, 1), 0); /* so nobody waits */
    assert_says(&world, 1, 0);
    publish_good(&world);
    assert_int_equal(certify(&world, 5), -1); /* no connection takes either */
    assert_int_equal(err.code, ECERT_ERR_OPENSSL);
    assert_says(&world, 1, 2);
    assert_int_equal(certify(&world, 1), 0);
    assert_says(&world, 1, 2); /* the one before; the new one waits */
    assert_int_equal(certify(&world, 5), -1);
    assert_int_equal(err.code, ECERT_OK); /* it is told once */
    wait_for_retry();
    assert_int_equal(certify(&world, 1), 0);
    assert_says(&world, 2, 0);
    SSL_CTX_free(ctx);
    close_world(&world);
}

/* The next time OpenSSL takes nothing into a connection. */
static int refuse_next;

int SSL_use_cert_and_key(SSL *ssl, X509 *leaf, EVP_PKEY *key,
                         STACK_OF(X509) *chain, int override)
{
    int (*real)(SSL *, X509 *, EVP_PKEY *, STACK_OF(X509) *, int);

    if (refuse_next) {
        refuse_next = 0;
        ERR_raise(ERR_LIB_SSL, ERR_R_MALLOC_FAILURE);
        return 0;
    }
    *(void **)&real = dlsym(RTLD_NEXT, "SSL_use_cert_and_key");
    return real(ssl, leaf, key, chain, override);
}

/* The connection in which it was refused has the one before. */
static void test_refused_once(void **state)
{
    world_t world;

    (void)state;
    open_world(&world);
    assert_int_equal(certify(&world, 1), 0);
    publish_good(&world);
    refuse_next = 1;
    assert_int_equal(certify(&world, 1), 1);
    assert_int_equal(err.code, ECERT_ERR_OPENSSL);
    assert_says(&world, 1, 2);
    assert_throttled(&world, 0);
    wait_for_retry();
    assert_int_equal(certify(&world, 1), 0);
    assert_says(&world, 2, 0);
    SSL_CTX_free(ctx);
    close_world(&world);
}

/* What worked once may have been harmed when it did not: it is made anew. */
static void test_spoiled(void **state)
{
    world_t world;
    int before;

    (void)state;
    open_world(&world);
    assert_int_equal(certify(&world, 1), 0);
    before = reads;
    assert_int_equal(certify(&world, 1), 0);
    assert_int_equal(reads, before);
    assert_says(&world, 1, 0);
    assert_int_equal(certify(&world, 5), -1);
    assert_int_equal(err.code, ECERT_ERR_OPENSSL);
    assert_says(&world, 1, 1);
    assert_int_equal(certify(&world, 5), -1);
    assert_int_equal(err.code, ECERT_OK); /* it is told once */
    before = reads;
    assert_throttled(&world, 0);
    assert_says(&world, 1, 0);
    wait_for_retry();
    assert_int_equal(certify(&world, 1), 0);
    assert_true(reads > before);
    before = reads;
    wait_for_retry();
    assert_int_equal(certify(&world, 1), 0);
    assert_int_equal(reads, before);
    SSL_CTX_free(ctx);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_record),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_once),
        cmocka_unit_test(test_spoiled),
    };

    /* before OpenSSL has allocated anything */
    if (CRYPTO_set_mem_functions(count_malloc, plain_realloc, plain_free)
        != 1) {
        return 1;
    }
    return cmocka_run_group_tests(tests, pki_setup, pki_teardown);
}
