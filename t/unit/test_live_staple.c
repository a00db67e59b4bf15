/* The staple in a worker: whose it is, until when, and that it is taken back.
 */

#include "scratch.h"

#include <openssl/evp.h>

#include "ecert_live.h"
#include "ecert_seen.h"
#include "ecert_snap.h"
#include "ecert_staple.h"
#include "ecert_visits.h"
#include "pki.h"
#include "wire.h"

#define NOW ((int64_t)1795392000)

static ecert_err_t err;

typedef struct {
    ecert_conf_t *conf;
    ecert_launch_t launch;
    ecert_snap_t *agent;
    ecert_live_t *live;
    pki_t *pki;
    X509 *other;
} world_t;

static void open_world(world_t *world)
{
    ecert_site_t a = {.name = "www.example.hk"}, b = {.name = "b.example.hk"};

    world->pki = pki_new(NOW);
    world->other =
        pki_leaf(world->pki, "DNS:www.example.hk", NULL, NOW, NOW + PKI_DAY);
    world->conf = ecert_conf_new();
    assert_int_equal(ecert_conf_add(world->conf, &a, &err), 0);
    assert_int_equal(ecert_conf_add(world->conf, &b, &err), 1);
    world->launch.snap = ecert_snap_create(2, &err);
    world->launch.seen = ecert_seen_create(2, &err);
    world->launch.visits = ecert_visits_create(&err);
    world->agent = ecert_snap_open_writer(world->launch.snap, &err);
    world->live = ecert_live_new(world->conf, &world->launch, &err);
    assert_non_null(world->agent);
    assert_non_null(world->live);
}

static void close_world(world_t *world)
{
    ecert_live_free(world->live);
    ecert_snap_close(world->agent);
    close(world->launch.snap);
    close(world->launch.seen);
    close(world->launch.visits);
    ecert_conf_free(world->conf);
    X509_free(world->other);
    pki_free(world->pki);
}

/* The shortest response, with a status of its own (RFC 6960, 4.2.1): OpenSSL
 * 3.6 decodes what it is given to send. */
#define RESPONSE(status) "\x30\x03\x0a\x01" status

static ecert_staple_t of(const X509 *leaf, const char *der)
{
    ecert_staple_t staple = {.next_update = NOW + 60,
                             .der = (const unsigned char *)der,
                             .len = strlen(der)};

    assert_int_equal(X509_digest(leaf, EVP_sha256(), staple.leaf, NULL), 1);
    return staple;
}

static void publish(world_t *world, uint32_t site, const ecert_staple_t *list,
                    size_t n)
{
    unsigned char *bytes;
    size_t len;

    assert_int_equal(ecert_staple_encode(list, n, &bytes, &len, &err), 0);
    assert_int_equal(
        ecert_snap_publish(world->agent,
                           ecert_snap_staple_slot(world->agent, site), bytes,
                           len, &err),
        0);
    ecert_snap_free(bytes, len);
}

static void publish_staple(world_t *world, uint32_t site, const X509 *leaf,
                           const char *der)
{
    ecert_staple_t staple = of(leaf, der);

    publish(world, site, &staple, 1);
}

/* What is sent beside the leaf; "": nothing. */
static void assert_staple(world_t *world, int64_t now, const char *want)
{
    SSL_CTX *ctx =
        wire_server(world->pki->leaf, world->pki->leaf_key, NULL, NULL);
    SSL *ssl = SSL_new(ctx);
    const unsigned char *der = NULL;
    long len;

    assert_non_null(ssl);
    assert_int_equal(ecert_live_staple(world->live, 0, ssl, now),
                     want[0] != '\0');
    len = SSL_get_tlsext_status_ocsp_resp(ssl, &der);
    assert_int_equal(len > 0 ? len : 0, (long)strlen(want));
    if (len > 0) {
        assert_memory_equal(der, want, strlen(want));
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

static void test_staple(void **state)
{
    world_t world;

    (void)state;
    open_world(&world);
    assert_staple(&world, NOW, "");
    publish_staple(&world, 1, world.pki->leaf, RESPONSE("\1"));
    assert_staple(&world, NOW, "");
    publish_staple(&world, 0, world.pki->leaf, RESPONSE("\2"));
    assert_staple(&world, NOW, RESPONSE("\2"));
    assert_staple(&world, NOW + 60, "");
    publish_staple(&world, 0, world.pki->leaf, RESPONSE("\3"));
    assert_staple(&world, NOW + 59, RESPONSE("\3"));
    publish_staple(&world, 0, world.other, RESPONSE("\4"));
    assert_staple(&world, NOW, "");
    publish_staple(&world, 0, world.pki->leaf, RESPONSE("\5"));
    assert_staple(&world, NOW, RESPONSE("\5"));
    publish_staple(&world, 0, world.pki->leaf, ""); /* taken back */
    assert_staple(&world, NOW, "");
    ecert_staple_t both[] = {of(world.other, RESPONSE("\6")),
                             of(world.pki->leaf, RESPONSE("\7"))};
    publish(&world, 0, both, 2);
    assert_staple(&world, NOW, RESPONSE("\7"));
    assert_staple(&world, NOW + 60, "");
    assert_int_equal(ecert_live_staple(world.live, 2, NULL, NOW), 0);
    assert_int_equal(ecert_live_staple(NULL, 0, NULL, NOW), 0);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_staple),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
