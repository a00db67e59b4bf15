/* The staple in a worker: whose it is, until when, and that it is taken back.
 */

#include "live_make.h"

#include <openssl/evp.h>

#include "ecert_staple.h"
#include "pki_group.h"
#include "wire.h"

static X509 *other;

static void open_world(world_t *world)
{
    static const char *const names[] = {"www.example.hk", "b.example.hk"};

    open_sites(world, names, 2);
    other = pki_leaf(pki, "DNS:www.example.hk", NULL, NOW, NOW + PKI_DAY);
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
    SSL_CTX *ctx = wire_server(pki->leaf, pki->leaf_key, NULL, NULL);
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
    publish_staple(&world, 1, pki->leaf, RESPONSE("\1"));
    assert_staple(&world, NOW, "");
    publish_staple(&world, 0, pki->leaf, RESPONSE("\2"));
    assert_staple(&world, NOW, RESPONSE("\2"));
    assert_staple(&world, NOW + 60, "");
    publish_staple(&world, 0, pki->leaf, RESPONSE("\3"));
    assert_staple(&world, NOW + 59, RESPONSE("\3"));
    publish_staple(&world, 0, other, RESPONSE("\4"));
    assert_staple(&world, NOW, "");
    publish_staple(&world, 0, pki->leaf, RESPONSE("\5"));
    assert_staple(&world, NOW, RESPONSE("\5"));
    publish_staple(&world, 0, pki->leaf, ""); /* taken back */
    assert_staple(&world, NOW, "");
    ecert_staple_t both[] = {of(other, RESPONSE("\6")),
                             of(pki->leaf, RESPONSE("\7"))};
    publish(&world, 0, both, 2);
    assert_staple(&world, NOW, RESPONSE("\7"));
    assert_staple(&world, NOW + 60, "");
    assert_int_equal(ecert_live_staple(world.live, 2, NULL, NOW), 0);
    assert_int_equal(ecert_live_staple(NULL, 0, NULL, NOW), 0);
    X509_free(other);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_staple),
    };

    return cmocka_run_group_tests(tests, pki_setup, pki_teardown);
}
