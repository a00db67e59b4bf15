/* The live half: swaps between handshakes, damage, threads. */

#include "scratch.h"

#include <pthread.h>
#include <stdatomic.h>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "ecert_cred.h"
#include "ecert_live.h"
#include "ecert_seen.h"
#include "ecert_snap.h"
#include "ecert_visits.h"
#include "pki.h"
#include "wire.h"

#define NOW     ((int64_t)1795392000)
#define THREADS 8
#define SWAPS   500

static pki_t *pki;
static EVP_PKEY *rsa;
static ecert_cred_t *first, *second;
static ecert_err_t err;

/* One configuration with two sites, as master, agent and worker see it. */
typedef struct {
    ecert_conf_t *conf;
    ecert_launch_t launch;
    unsigned char *raw;
    size_t size;
    ecert_snap_t *agent;
    ecert_seen_t *seen;
    ecert_live_t *live;
} world_t;

static ecert_cred_t *make_cred(EVP_PKEY *key, const char *names)
{
    X509 *leaf = pki_leaf(pki, names, key, NOW, NOW + PKI_DAY);
    STACK_OF(X509) *chain = pki_stack(pki->new_sub, NULL);
    ecert_cred_t *cred =
        ecert_cred_new(leaf, key ? key : pki->leaf_key, chain, &err);

    X509_free(leaf);
    pki_stack_free(chain);
    assert_non_null(cred);
    return cred;
}

static int setup(void **state)
{
    (void)state;
    pki = pki_new(NOW);
    rsa = pki_key("RSA-2048");
    first = make_cred(NULL, "DNS:www.example.hk");
    second = make_cred(rsa, "DNS:www.example.hk");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ecert_cred_free(first);
    ecert_cred_free(second);
    EVP_PKEY_free(rsa);
    pki_free(pki);
    return 0;
}

static void open_world(world_t *world)
{
    ecert_site_t a = {.name = "www.example.hk"}, b = {.name = "b.example.hk"};
    struct stat st;

    world->conf = ecert_conf_new();
    assert_int_equal(ecert_conf_add(world->conf, &a, &err), 0);
    assert_int_equal(ecert_conf_add(world->conf, &b, &err), 1);
    world->launch.snap = ecert_snap_create(2, &err);
    world->launch.seen = ecert_seen_create(2, &err);
    world->launch.visits = ecert_visits_create(&err);
    assert_int_equal(fstat(world->launch.snap, &st), 0);
    world->size = (size_t)st.st_size;
    world->raw = mmap(NULL, world->size, PROT_READ | PROT_WRITE, MAP_SHARED,
                      world->launch.snap, 0);
    assert_true(world->raw != MAP_FAILED);
    world->agent = ecert_snap_open_writer(world->launch.snap, &err);
    world->seen = ecert_seen_open(world->launch.seen, &err);
    world->live = ecert_live_new(world->conf, &world->launch, &err);
    assert_non_null(world->live);
    ecert_live_worker(world->live);
    prctl(PR_SET_DUMPABLE, 1); /* the leak checker looks into this process */
}

static void close_world(world_t *world)
{
    ecert_live_free(world->live);
    ecert_seen_close(world->seen);
    ecert_snap_close(world->agent);
    munmap(world->raw, world->size);
    close(world->launch.snap);
    close(world->launch.seen);
    close(world->launch.visits);
    ecert_conf_free(world->conf);
}

static void publish(world_t *world, uint32_t site, const ecert_cred_t *cred)
{
    unsigned char *bytes;
    size_t len;

    assert_int_equal(ecert_cred_encode(cred, &bytes, &len, &err), 0);
    assert_int_equal(ecert_snap_publish(world->agent, site, bytes, len, &err),
                     0);
    ecert_snap_free(bytes, len);
}

/* What the callback of the last handshake returned, and why. */
static __thread int said;
static __thread ecert_err_t said_err;
static uint32_t asked_site;

static int certify(SSL *ssl, void *ctx)
{
    said = ecert_live_certify(ctx, asked_site, ssl, &said_err);
    return said >= 0;
}

/* The leaf that a new connection gets; NULL: no handshake. */
static X509 *peer(world_t *world, uint32_t site, int version)
{
    SSL_CTX *client = wire_client(version, NULL);
    SSL_CTX *server =
        wire_server(pki->leaf, pki->leaf_key, certify, world->live);
    X509 *leaf;

    asked_site = site;
    leaf = wire_peer(client, server);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    assert_int_equal(ERR_peek_error(), 0);
    return leaf;
}

static void assert_peer(world_t *world, uint32_t site, const X509 *want, int rc)
{
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        X509 *leaf = peer(world, site, version);

        assert_non_null(leaf);
        assert_int_equal(X509_cmp(leaf, want), 0);
        assert_int_equal(said, rc);
        X509_free(leaf);
        rc = 0; /* what there is to tell is told once */
    }
}

static void test_swap(void **state)
{
    world_t world;

    (void)state;
    open_world(&world);
    publish(&world, 0, first);
    assert_peer(&world, 0, first->leaf, 0);
    publish(&world, 0, second);
    assert_peer(&world, 0, second->leaf, 0);
    publish(&world, 1, first);
    assert_peer(&world, 1, first->leaf, 0);
    assert_peer(&world, 0, second->leaf, 0);
    publish(&world, 0, first);
    assert_peer(&world, 0, first->leaf, 0);
    close_world(&world);
}

static void test_seen(void **state)
{
    world_t world;

    (void)state;
    open_world(&world);
    assert_int_equal(ecert_seen_pid(world.seen, 0), getpid());
    publish(&world, 0, first);
    publish(&world, 0, second);
    assert_int_equal(ecert_seen_get(world.seen, 0, 0), 0);
    assert_peer(&world, 0, second->leaf, 0);
    assert_int_equal(ecert_seen_get(world.seen, 0, 0), 2);
    assert_int_equal(ecert_seen_get(world.seen, 0, 1), 0);
    close_world(&world);
}

static void flip_checksums(world_t *world)
{
    for (size_t i = 4096; i < 4096 + 64; i++) {
        world->raw[i + 40] ^= 0x55;
    }
}

/* Within some seconds, and nothing is said. */
static void assert_comes(world_t *world, uint32_t site, const X509 *leaf)
{
    time_t end = time(NULL) + 10;
    int is = 0;

    while (!is && time(NULL) < end) {
        X509 *got = peer(world, site, TLS1_3_VERSION);

        assert_int_equal(said, 0);
        is = got != NULL && X509_cmp(got, leaf) == 0;
        X509_free(got);
        usleep(20000);
    }
    assert_true(is);
}

static void test_damaged(void **state)
{
    world_t world;

    (void)state;
    open_world(&world);
    publish(&world, 0, first);
    assert_peer(&world, 0, first->leaf, 0);
    /* a record that is no credential */
    assert_int_equal(
        ecert_snap_publish(world.agent, 0, (const void *)"junk", 4, &err), 0);
    assert_peer(&world, 0, first->leaf, 1);
    assert_peer(&world, 0, first->leaf, 0);
    /* another one is told again */
    assert_int_equal(
        ecert_snap_publish(world.agent, 0, (const void *)"more", 4, &err), 0);
    X509_free(peer(&world, 0, TLS1_3_VERSION));
    assert_int_equal(said, 1);
    assert_int_equal(said_err.code, ECERT_ERR_SNAPSHOT);
    /* a good one whose bytes were changed behind our back */
    publish(&world, 0, second);
    flip_checksums(&world);
    assert_peer(&world, 0, first->leaf, 1);
    /* what could not be used is tried again by and by, without another word */
    flip_checksums(&world);
    assert_comes(&world, 0, second->leaf);
    publish(&world, 0, first);
    assert_peer(&world, 0, first->leaf, 0);
    publish(&world, 0, second);
    assert_peer(&world, 0, second->leaf, 0);
    close_world(&world);
}

static void test_placeholder(void **state)
{
    world_t world;
    X509 *one, *two;

    (void)state;
    open_world(&world);
    one = peer(&world, 0, TLS1_2_VERSION);
    assert_int_equal(said, 0);
    assert_non_null(one);
    assert_int_equal(X509_check_host(one, "www.example.hk", 0, 0, NULL), 1);
    assert_int_equal(X509_self_signed(one, 1), 1);
    two = peer(&world, 0, TLS1_3_VERSION);
    assert_int_equal(X509_cmp(one, two), 0); /* made once */
    X509_free(one);
    X509_free(two);
    publish(&world, 0, first);
    assert_peer(&world, 0, first->leaf, 0);
    close_world(&world);
}

/* Nothing to fall back to: no placeholder for what was published. */
static void test_damaged_at_first(void **state)
{
    world_t world;

    (void)state;
    open_world(&world);
    assert_int_equal(
        ecert_snap_publish(world.agent, 1, (const void *)"junk", 4, &err), 0);
    assert_null(peer(&world, 1, TLS1_3_VERSION));
    assert_int_equal(said, -1);
    assert_int_equal(said_err.code, ECERT_ERR_SNAPSHOT);
    /* told once */
    assert_null(peer(&world, 1, TLS1_3_VERSION));
    assert_int_equal(said, -1);
    assert_int_equal(said_err.code, ECERT_OK);
    publish(&world, 1, second);
    assert_peer(&world, 1, second->leaf, 0);
    /* tried again at once */
    publish(&world, 0, first);
    flip_checksums(&world);
    assert_null(peer(&world, 0, TLS1_3_VERSION));
    flip_checksums(&world);
    assert_peer(&world, 0, first->leaf, 0);
    close_world(&world);
}

static void test_no_such_site(void **state)
{
    SSL_CTX *server = wire_server(NULL, NULL, NULL, NULL);
    SSL *ssl = SSL_new(server);
    world_t world;

    (void)state;
    open_world(&world);
    assert_int_equal(ecert_live_certify(world.live, 2, ssl, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_SNAPSHOT);
    assert_int_equal(ecert_live_certify(world.live, UINT32_MAX, ssl, &err), -1);
    assert_int_equal(ecert_live_certify(NULL, 0, ssl, &err), -1);
    assert_null(peer(&world, 2, TLS1_3_VERSION));
    SSL_free(ssl);
    SSL_CTX_free(server);
    close_world(&world);
    ecert_live_free(NULL);
}

static void test_bad_memory(void **state)
{
    ecert_conf_t *conf = ecert_conf_new();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int snap = ecert_snap_create(0, &err), seen = ecert_seen_create(0, &err);
    ecert_launch_t launch = {.snap = null, .seen = null, .visits = null};

    (void)state;
    assert_null(ecert_live_new(conf, &launch, &err));
    launch.snap = snap;
    assert_null(ecert_live_new(conf, &launch, &err));
    launch.seen = seen;
    assert_null(ecert_live_new(conf, &launch, &err));
    ecert_launch_init(&launch);
    assert_null(ecert_live_new(conf, &launch, &err));
    close(snap);
    close(seen);
    close(null);
    ecert_conf_free(conf);
}

/* No core dump, no entry in /proc that its own user could open. */
static void test_worker(void **state)
{
    world_t world;
    int status;
    pid_t pid;

    (void)state;
    open_world(&world);
    pid = fork();
    if (pid == 0) {
        ecert_live_worker(world.live);
        _exit(prctl(PR_GET_DUMPABLE) == 0
                      && ecert_seen_pid(world.seen, 1) == getpid()
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close_world(&world);
}

/* A renegotiation goes on with the certificate of its connection. */
static void test_renegotiation(void **state)
{
    SSL_CTX *client = wire_client(TLS1_2_VERSION, NULL), *server;
    world_t world;
    wire_t wire;
    char byte;

    (void)state;
    open_world(&world);
    publish(&world, 0, first);
    server = wire_server(pki->leaf, pki->leaf_key, certify, world.live);
    SSL_CTX_set_options(server, SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION);
    asked_site = 0;
    assert_int_equal(wire_shake(&wire, client, server, NULL), 1);
    publish(&world, 0, second);
    said = 77;
    assert_int_equal(SSL_renegotiate(wire.server), 1);
    for (int i = 0; i < 10; i++) {
        SSL_do_handshake(wire.server);
        SSL_read(wire.server, &byte, 1);
        SSL_read(wire.client, &byte, 1);
    }
    ERR_clear_error();
    assert_int_equal(SSL_num_renegotiations(wire.server), 1);
    assert_int_equal(said, 0); /* it was asked */
    assert_int_equal(
        X509_cmp(SSL_get0_peer_certificate(wire.client), first->leaf), 0);
    wire_free(&wire);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    close_world(&world);
}

/* ---- threads ------------------------------------------------------------ */

typedef struct {
    world_t *world;
    atomic_ulong published; /* generations that are out */
    atomic_int stop;
    atomic_int wrong;
    atomic_long shakes;
} load_t;

static void *shake_all_the_time(void *ctx)
{
    load_t *load = ctx;
    SSL_CTX *client = wire_client(TLS1_3_VERSION, NULL);
    SSL_CTX *server =
        wire_server(pki->leaf, pki->leaf_key, certify, load->world->live);

    while (!atomic_load(&load->stop)) {
        unsigned long before = atomic_load(&load->published), after;
        X509 *leaf = wire_peer(client, server);
        long number =
            leaf ? ASN1_INTEGER_get(X509_get0_serialNumber(leaf)) : -1;

        after = atomic_load(&load->published) + 1;
        if (said != 0 || number < (long)before || number > (long)after) {
            atomic_fetch_add(&load->wrong, 1);
        }
        atomic_fetch_add(&load->shakes, 1);
        X509_free(leaf);
    }
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    OPENSSL_thread_stop();
    return NULL;
}

/* The same certificate with the generation as its serial number. */
static ecert_cred_t *numbered(unsigned long number)
{
    X509 *leaf = X509_dup(first->leaf);
    ecert_cred_t *cred;

    ASN1_INTEGER_set_uint64(X509_get_serialNumber(leaf), number);
    assert_true(X509_sign(leaf, pki->sub_key, EVP_sha256()) > 0);
    cred = ecert_cred_new(leaf, pki->leaf_key, NULL, &err);
    X509_free(leaf);
    assert_non_null(cred);
    return cred;
}

static void test_threads(void **state)
{
    pthread_t threads[THREADS];
    load_t load = {0};
    world_t world;

    (void)state;
    open_world(&world);
    load.world = &world;
    asked_site = 0;
    for (unsigned long i = 1; i <= SWAPS; i++) {
        ecert_cred_t *cred = numbered(i);
        long seen = atomic_load(&load.shakes);

        publish(&world, 0, cred);
        atomic_store(&load.published, i);
        ecert_cred_free(cred);
        if (i == 1) {
            for (int t = 0; t < THREADS; t++) {
                assert_int_equal(pthread_create(&threads[t], NULL,
                                                shake_all_the_time, &load),
                                 0);
            }
        } else if (i % 8 == 0) { /* let the others have a turn */
            for (int spin = 0; spin < 2000 && atomic_load(&load.shakes) == seen;
                 spin++) {
                usleep(100);
            }
        }
    }
    atomic_store(&load.stop, 1);
    for (int t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
    }
    assert_int_equal(atomic_load(&load.wrong), 0);
    assert_true(atomic_load(&load.shakes) > 20);
    assert_int_equal(ecert_snap_generation(world.agent, 0), SWAPS);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_swap),

        cmocka_unit_test(test_seen),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_placeholder),
        cmocka_unit_test(test_damaged_at_first),
        cmocka_unit_test(test_no_such_site),
        cmocka_unit_test(test_bad_memory),
        cmocka_unit_test(test_worker),
        cmocka_unit_test(test_renegotiation),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
