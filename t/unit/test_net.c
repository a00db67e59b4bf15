/*
 * What the agent asks for, and how much of it at once: against a fetcher that
 * only counts, in a time of the test's own.
 */

#include "scratch.h"

#include <openssl/objects.h>

#include <sys/socket.h>

#include "ecert_fetcher_work.h"
#include "ecert_jail_work.h"
#include "ecert_log.h"
#include "ecert_net_work.h"
#include "ecert_ocsp.h"
#include "ecert_pool.h"
#include "ocsp_make.h"
#include "pki.h"

/* How many sites looked at one certificate. */
static size_t looked;

static int count_look(ecert_net_t *net, ecert_net_site_t *site, const char *url,
                      X509 *cert, ecert_err_t *why)
{
    looked++;
    return ecert_net_above_take(net, site, url, cert, why);
}

#define ecert_net_above_take count_look
#include "ecert_net_issuers.c" /* with that count, in place of the library's */
#undef ecert_net_above_take

#define NOW  ((int64_t)1795392000)
#define MANY 1000

static ecert_err_t err;
static pki_t *pki;

/* One errand as the fetcher got it. */
typedef struct {
    ecert_errand_wire_t wire;
    int answer;
} asked_t;

typedef struct {
    ecert_conf_t *conf;
    ecert_keeper_t keeper;
    ecert_net_t *net;
    ecert_kept_t *kept;
    int ends[2];
    asked_t open[64];
    size_t n_open, most, total;
    size_t touched;
} world_t;

/* ---- the world --------------------------------------------------------- */

static void open_world(world_t *world, size_t n)
{
    int fd;

    memset(world, 0, sizeof(*world));
    world->conf = ecert_conf_new();
    for (size_t i = 0; i < n; i++) {
        ecert_site_t site = {.stapling = 1};
        char file[64];

        snprintf(file, sizeof(file), "/none/%zu.pem", i);
        site.certificate = site.key = file;
        assert_int_equal(ecert_conf_add(world->conf, &site, &err), (int)i);
    }
    world->kept = calloc(n, sizeof(*world->kept));
    fd = ecert_snap_create((uint32_t)n, &err);
    world->keeper = (ecert_keeper_t){.now = NOW, .ms = 1000};
    world->keeper.snap = ecert_snap_open_writer(fd, &err);
    close(fd);
    assert_non_null(world->keeper.snap);
    assert_int_equal(
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, world->ends), 0);
}

/* Whatever they lack is wanted from now on. */
static void begin(world_t *world, const char *store)
{
    world->keeper.store = store;
    world->keeper.loader = ecert_loader_new(store, &err);
    world->net =
        ecert_net_new(&world->keeper, world->conf, world->ends[0], &err);
    assert_non_null(world->net);
    for (size_t i = 0; i < world->conf->n_sites; i++) {
        ecert_net_look(world->net, &world->kept[i]);
    }
}

static void close_world(world_t *world)
{
    ecert_net_free(world->net);
    for (size_t i = 0; i < world->conf->n_sites; i++) {
        ecert_kept_free(&world->kept[i]);
    }
    for (size_t i = 0; i < world->n_open; i++) {
        close(world->open[i].answer);
    }
    free(world->kept);
    ecert_loader_free(world->keeper.loader);
    ecert_snap_close(world->keeper.snap);
    ecert_conf_free(world->conf);
    close(world->ends[0]);
    close(world->ends[1]);
}

/* The site holds this leaf, with the chain that this pool allows. */
static void hold(world_t *world, size_t i, X509 *leaf, STACK_OF(X509) *pool)
{
    ecert_kept_t *kept = &world->kept[i];
    ecert_chain_in_t in = {.leaf = leaf, .pool = pool, .now = NOW};

    ecert_kept_init(kept, &world->conf->sites[i], (uint32_t)i);
    kept->held.state = ECERT_STATE_VALID;
    kept->held.chain = ecert_chain_build(&in, &err);
    assert_non_null(kept->held.chain);
}

/* A leaf of a number, with this authority information access. */
static X509 *leaf_of(size_t i, const char *access)
{
    char name[64];
    X509 *leaf;

    snprintf(name, sizeof(name), "DNS:s%zu.example.hk", i);
    leaf = pki_leaf(pki, name, NULL, NOW - PKI_DAY, NOW + 90 * PKI_DAY);
    ocsp_extend(leaf, pki->sub_key, NID_info_access, access);
    return leaf;
}

static void touch(void *ctx, uint32_t site)
{
    (void)site;
    ((world_t *)ctx)->touched++;
}

static void turn(world_t *world)
{
    ecert_net_work(world->net, touch, world);
}

/* ---- the fetcher ------------------------------------------------------- */

static int receive(world_t *world)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    asked_t *asked = &world->open[world->n_open];
    struct iovec part = {&asked->wire, sizeof(asked->wire)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};

    if (recvmsg(world->ends[1], &message, MSG_DONTWAIT) < 0) {
        return 0;
    }
    assert_true(world->n_open < 63);
    memcpy(&asked->answer, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
    world->n_open++;
    world->total++;
    world->most = world->n_open > world->most ? world->n_open : world->most;
    return 1;
}

/* What was asked for now, after a turn. */
static size_t asks(world_t *world)
{
    size_t before = world->total;

    turn(world);
    while (receive(world)) {
    }
    return world->total - before;
}

/* The oldest errand ends: with one frame, or as a failure (NULL). */
static void answer(world_t *world, const unsigned char *bytes, size_t len)
{
    ecert_frames_t frames = {0};
    ecert_err_t why;

    ecert_err(&why, ECERT_ERR_FETCH, world->open[0].wire.url, "no way");
    if (bytes != NULL) {
        assert_int_equal(ecert_frames_add(&frames, 1, bytes, len, &err), 0);
    }
    assert_int_equal(ecert_answer_write(world->open[0].answer,
                                        bytes != NULL ? &frames : NULL, &why),
                     0);
    close(world->open[0].answer);
    world->n_open--;
    memmove(world->open, world->open + 1,
            world->n_open * sizeof(world->open[0]));
    ecert_frames_free(&frames);
}

static void answer_with(world_t *world, X509 *cert)
{
    unsigned char *der = NULL;
    int len = i2d_X509(cert, &der);

    assert_true(len > 0);
    answer(world, der, (size_t)len);
    OPENSSL_free(der);
}

/* ---- staples ----------------------------------------------------------- */

/* The number in http://127.0.0.1/NUMBER. */
static size_t number_of(const asked_t *asked)
{
    return strtoul(strrchr(asked->wire.url, '/') + 1, NULL, 10);
}

static void answer_ocsp(world_t *world)
{
    size_t i = number_of(&world->open[0]);
    ocsp_make_t make = ocsp_usual(pki);
    ocsp_bytes_t bytes;

    make.leaf = world->kept[i].held.chain->considered[0].cert;
    bytes = ocsp_make(&make);
    answer(world, bytes.bytes, bytes.len);
    OPENSSL_free(bytes.bytes);
}

/* When each is due again. */
static void assert_spread(const world_t *world)
{
    int64_t least = INT64_MAX, most = 0;

    for (size_t i = 0; i < MANY; i++) {
        const ecert_net_staple_t *staple = &world->net->sites[i].served;

        assert_non_null(staple->der);
        least = staple->want.due < least ? staple->want.due : least;
        most = staple->want.due > most ? staple->want.due : most;
    }
    assert_true(least > world->keeper.ms + 20 * 3600 * 1000);
    assert_true(most - least > 2 * 3600 * 1000);
}

static void test_many(void **state)
{
    world_t *world = malloc(sizeof(*world));
    STACK_OF(X509) *pool = pki_stack(pki->new_sub, pki->root, NULL);
    char access[64];

    (void)state;
    open_world(world, MANY);
    for (size_t i = 0; i < MANY; i++) {
        X509 *leaf;

        snprintf(access, sizeof(access), "OCSP;URI:http://127.0.0.1/%zu", i);
        leaf = leaf_of(i, access);
        hold(world, i, leaf, pool);
        X509_free(leaf);
    }
    begin(world, NULL);
    while (asks(world) > 0 || world->n_open > 0) {
        assert_true(ecert_net_is_awaited(world->net));
        answer_ocsp(world);
    }
    assert_false(ecert_net_is_awaited(world->net));
    assert_int_equal(world->total, MANY); /* each once */
    assert_int_equal(world->most, ECERT_ERRANDS_MAX);
    assert_spread(world);
    close_world(world);
    pki_stack_free(pool);
    free(world);
}

/* What was planned by a clock that was wrong is planned anew. */
static void test_clock_set(void **state)
{
    world_t *world = malloc(sizeof(*world));
    STACK_OF(X509) *pool = pki_stack(pki->new_sub, pki->root, NULL);
    X509 *leaf = leaf_of(0, "OCSP;URI:http://127.0.0.1/0");

    (void)state;
    open_world(world, 1);
    hold(world, 0, leaf, pool);
    begin(world, NULL);
    assert_int_equal(asks(world), 1);
    ecert_net_hasten(world->net); /* under way: not twice */
    assert_int_equal(asks(world), 0);
    answer(world, NULL, 0);
    assert_int_equal(asks(world), 0); /* a pause */
    ecert_net_hasten(world->net);
    assert_int_equal(asks(world), 1);
    answer_ocsp(world);
    assert_int_equal(asks(world), 0);
    assert_true(ecert_net_due(world->net) > world->keeper.ms + 3600 * 1000);
    world->keeper.now = world->net->sites[0].served.facts.next_update - 600;
    ecert_net_hasten(world->net);
    assert_true(ecert_net_due(world->net) <= world->keeper.ms + 600 * 1000);
    close_world(world);
    pki_stack_free(pool);
    X509_free(leaf);
    free(world);
}

/* Nobody looks at a response for what has expired. */
static void test_expired(void **state)
{
    world_t *world = malloc(sizeof(*world));
    STACK_OF(X509) *pool = pki_stack(pki->new_sub, pki->root, NULL);
    X509 *leaf = leaf_of(0, "OCSP;URI:http://127.0.0.1/0");

    (void)state;
    open_world(world, 1);
    hold(world, 0, leaf, pool);
    world->keeper.now = NOW + 90 * PKI_DAY;
    begin(world, NULL);
    assert_int_equal(asks(world), 1);
    answer(world, NULL, 0);
    assert_int_equal(asks(world), 0);
    world->keeper.now++;
    ecert_net_look(world->net, &world->kept[0]);
    world->keeper.ms += 3600 * 1000;
    assert_int_equal(asks(world), 0);
    assert_null(world->net->sites[0].served.url);
    close_world(world);
    X509_free(leaf);
    pki_stack_free(pool);
    free(world);
}

/* ---- CA certificates --------------------------------------------------- */

static void open_lacking(world_t *world, size_t n, const char *access,
                         STACK_OF(X509) *pool)
{
    open_world(world, n);
    for (size_t i = 0; i < n; i++) {
        X509 *leaf = leaf_of(i, access);

        hold(world, i, leaf, pool);
        world->conf->sites[i].stapling = 0;
        X509_free(leaf);
    }
    begin(world, scratch);
}

static size_t pooled(void)
{
    ecert_ca_t *ca = ecert_ca_builtin(&err);
    ecert_pooled_t *list;
    size_t n;

    assert_int_equal(ecert_pool_list(scratch, ca, &list, &n, &err), 0);
    ecert_pool_free(list, n);
    ecert_ca_free(ca);
    return n;
}

/* Those that lack the same ask once, fail once, and wait together. */
static void test_together(void **state)
{
    world_t *world = malloc(sizeof(*world));
    STACK_OF(X509) *pool = pki_stack(pki->root, NULL);

    (void)state;
    open_lacking(world, 100, "caIssuers;URI:http://127.0.0.1/sub", pool);
    for (int64_t pause = 30000; pause <= 60000; pause *= 2) {
        assert_int_equal(asks(world), 1);
        assert_int_equal(asks(world), 0);
        assert_int_equal(ecert_net_due(world->net),
                         world->net->errands[0].errand.deadline);
        answer(world, NULL, 0);
        assert_int_equal(asks(world), 0);
        for (size_t i = 0; i < 100; i++) {
            const ecert_want_t *want = &world->net->sites[i].issuers;

            assert_int_equal(want->error.code, ECERT_ERR_FETCH);
            assert_int_equal(want->due, world->net->sites[0].issuers.due);
        }
        assert_uint_in_range(ecert_net_due(world->net),
                             world->keeper.ms + pause * 4 / 5,
                             world->keeper.ms + pause * 6 / 5);
        world->keeper.ms = ecert_net_due(world->net) - 1;
        assert_int_equal(asks(world), 0);
        world->keeper.ms++;
    }
    assert_int_equal(asks(world), 1);
    answer_with(world, pki->new_sub);
    assert_int_equal(asks(world), 0);
    assert_int_equal(world->touched, 100);
    assert_int_equal(pooled(), 1);
    assert_int_equal(world->total, 3);
    close_world(world);
    pki_stack_free(pool);
    free(world);
}

/* One that is of no use to all of them is looked at by a few. */
static void test_refused_by_many(void **state)
{
    world_t *world = malloc(sizeof(*world));
    STACK_OF(X509) *pool = pki_stack(pki->root, NULL);

    (void)state;
    open_lacking(world, 300, "caIssuers;URI:http://127.0.0.1/sub", pool);
    assert_int_equal(asks(world), 1);
    looked = 0;
    answer_with(world, pki->cross);
    assert_int_equal(asks(world), 0);
    assert_true(looked > 0 && looked <= 100);
    for (size_t i = 0; i < 300; i++) {
        assert_int_equal(world->net->sites[i].issuers.error.code,
                         ECERT_ERR_CHAIN);
    }
    world->keeper.ms = ecert_net_due(world->net);
    assert_int_equal(asks(world), 1);
    answer_with(world, pki->new_sub); /* and it goes on, for all of them */
    assert_int_equal(asks(world), 0);
    assert_int_equal(world->touched, 300);
    close_world(world);
    pki_stack_free(pool);
    free(world);
}

/* A CA below another one, or self-signed, that says where that one is. */
static X509 *ca_of(const char *cn, EVP_PKEY *key, X509 *issuer,
                   EVP_PKEY *issuer_key, const char *access)
{
    pki_spec_t spec = {.cn = cn,
                       .key = key,
                       .issuer = issuer,
                       .issuer_key = issuer_key,
                       .not_before = NOW - PKI_YEAR,
                       .not_after = NOW + PKI_YEAR,
                       .ca = 1,
                       .server_auth = 1};
    X509 *cert = pki_issue(&spec);

    if (access != NULL) {
        ocsp_extend(cert, issuer_key, NID_info_access, access);
    }
    return cert;
}

/* The answer at a step: the next URL is asked for, or (NULL) nothing is. */
static void step(world_t *world, X509 *cert, const char *next)
{
    answer_with(world, cert);
    assert_int_equal(asks(world), next != NULL);
    if (next != NULL) {
        assert_string_equal(world->open[0].wire.url, next);
    }
}

/* Two links at once: nothing is in the pool before the root is reached. */
static void test_two_links(void **state)
{
    world_t *world = malloc(sizeof(*world));
    STACK_OF(X509) *pool = pki_stack(pki->root, NULL);
    EVP_PKEY *key = pki_key("P-256");
    X509 *middle = ca_of("Middle", key, pki->root, pki->root_key, NULL);
    X509 *sub = ca_of("Look-alike SSL CA 3 - 17", pki->sub_key, middle, key,
                      "caIssuers;URI:http://127.0.0.1/middle");

    (void)state;
    open_lacking(world, 2, "caIssuers;URI:http://127.0.0.1/sub", pool);
    assert_int_equal(asks(world), 1);
    step(world, sub, "http://127.0.0.1/middle");
    assert_int_equal(pooled(), 0);
    assert_int_equal(world->touched, 0);
    step(world, middle, NULL);
    assert_int_equal(pooled(), 2);
    assert_int_equal(world->touched, 2);
    assert_null(world->net->sites[0].found);
    close_world(world);
    pki_stack_free(pool);
    X509_free(sub);
    X509_free(middle);
    EVP_PKEY_free(key);
    free(world);
}

/*
 * Somebody on the way gives the Sub CA's key a name above it of his own, and a
 * ladder that never ends.
 */
static void test_ladder(void **state)
{
    world_t *world = malloc(sizeof(*world));
    STACK_OF(X509) *pool = pki_stack(pki->root, NULL);
    EVP_PKEY *key = pki_key("P-256");
    const char *next = "http://127.0.0.1/1";
    char name[32], above[32], access[64], url[64];
    size_t steps = 0;
    X509 *issuer, *cert;

    (void)state;
    open_lacking(world, 1, "caIssuers;URI:http://127.0.0.1/0", pool);
    assert_int_equal(asks(world), 1);
    for (; world->n_open > 0; steps++) {
        snprintf(name, sizeof(name), "%s%.0zu",
                 steps ? "Rung " : "Look-alike SSL CA 3 - 17", steps);
        snprintf(above, sizeof(above), "Rung %zu", steps + 1);
        snprintf(access, sizeof(access), "caIssuers;URI:http://127.0.0.1/%zu",
                 steps + 1);
        snprintf(url, sizeof(url), "http://127.0.0.1/%zu", steps + 1);
        next = url;
        issuer = ca_of(above, key, NULL, NULL, NULL);
        cert = ca_of(name, steps ? key : pki->sub_key, issuer, key, access);
        answer_with(world, cert);
        if (asks(world) == 1) {
            assert_string_equal(world->open[0].wire.url, next);
        }
        X509_free(cert);
        X509_free(issuer);
        assert_true(steps < 20);
    }
    assert_uint_in_range(steps, 11, ECERT_NET_ABOVE + 1);
    assert_int_equal(pooled(), 0);
    assert_null(world->net->sites[0].found);
    assert_int_equal(world->net->sites[0].issuers.error.code, ECERT_ERR_CHAIN);
    /* the next round begins below */
    world->keeper.ms = ecert_net_due(world->net);
    assert_int_equal(asks(world), 1);
    assert_string_equal(world->open[0].wire.url, "http://127.0.0.1/0");
    close_world(world);
    pki_stack_free(pool);
    EVP_PKEY_free(key);
    free(world);
}

/* A circle, the same again, and a stranger's root. */
static void test_nowhere(void **state)
{
    world_t *world = malloc(sizeof(*world));
    STACK_OF(X509) *pool = pki_stack(pki->root, NULL);
    EVP_PKEY *key = pki_key("P-256");
    X509 *root = ca_of("Rung 1", key, NULL, NULL, NULL);
    X509 *sub = ca_of("Look-alike SSL CA 3 - 17", pki->sub_key, root, key,
                      "caIssuers;URI:http://127.0.0.1/sub");

    (void)state;
    open_lacking(world, 1, "caIssuers;URI:http://127.0.0.1/sub", pool);
    assert_int_equal(asks(world), 1);
    step(world, sub, "http://127.0.0.1/sub");
    step(world, sub, NULL);
    world->keeper.ms = ecert_net_due(world->net);
    assert_int_equal(asks(world), 1);
    step(world, sub, "http://127.0.0.1/sub");
    step(world, root, NULL);
    assert_int_equal(pooled(), 0);
    close_world(world);
    pki_stack_free(pool);
    X509_free(sub);
    X509_free(root);
    EVP_PKEY_free(key);
    free(world);
}

static int setup(void **state)
{
    int rc = scratch_setup(state);

    folders("issuers");
    pki = pki_new(NOW);
    return rc;
}

static int teardown(void **state)
{
    pki_free(pki);
    return scratch_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clock_set, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expired, setup, teardown),
        cmocka_unit_test_setup_teardown(test_together, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_by_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_links, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ladder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nowhere, setup, teardown),
    };

    ecert_log_quiet(ECERT_LOG_WARN); /* a hundred sites say the same */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
