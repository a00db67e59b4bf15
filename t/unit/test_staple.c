/* The record of an OCSP response. */

#include "scratch.h"

#include <openssl/evp.h>

#include "ecert_snap.h"
#include "ecert_staple.h"
#include "pki.h"

#define NOW ((int64_t)1795392000)

static pki_t *pki;
static ecert_err_t err;

static ecert_staple_t of(const X509 *leaf, const char *der)
{
    ecert_staple_t staple = {.next_update = NOW + 60,
                             .der = (const unsigned char *)der,
                             .len = strlen(der)};

    assert_int_equal(X509_digest(leaf, EVP_sha256(), staple.leaf, NULL), 1);
    return staple;
}

static void test_there_and_back(void **state)
{
    ecert_staple_t in = of(pki->leaf, "response"), out;
    unsigned char *bytes;
    size_t len;

    (void)state;
    assert_int_equal(ecert_staple_encode(&in, &bytes, &len, &err), 0);
    assert_int_equal(ecert_staple_decode(bytes, len, &out, &err), 0);
    assert_memory_equal(out.leaf, in.leaf, sizeof(in.leaf));
    assert_int_equal(out.next_update, in.next_update);
    assert_int_equal(out.len, in.len);
    assert_memory_equal(out.der, "response", out.len);
    ecert_snap_free(bytes, len);
}

static void test_fits(void **state)
{
    ecert_staple_t staple = of(pki->leaf, "response");

    (void)state;
    assert_true(ecert_staple_fits(&staple, pki->leaf, NOW));
    assert_true(ecert_staple_fits(&staple, pki->leaf, NOW + 59));
    assert_false(ecert_staple_fits(&staple, pki->leaf, NOW + 60));
    assert_false(ecert_staple_fits(&staple, pki->new_sub, NOW));
    staple.len = 0; /* taken back */
    assert_false(ecert_staple_fits(&staple, pki->leaf, NOW));
}

static void test_taken_back(void **state)
{
    ecert_staple_t in = of(pki->leaf, ""), out;
    unsigned char *bytes;
    size_t len;

    (void)state;
    assert_int_equal(ecert_staple_encode(&in, &bytes, &len, &err), 0);
    assert_int_equal(ecert_staple_decode(bytes, len, &out, &err), 0);
    assert_int_equal(out.len, 0);
    ecert_snap_free(bytes, len);
}

static void test_cut(void **state)
{
    ecert_staple_t in = of(pki->leaf, ""), out;
    unsigned char *bytes;
    size_t len;

    (void)state;
    assert_int_equal(ecert_staple_encode(&in, &bytes, &len, &err), 0);
    for (size_t n = 0; n < len; n++) {
        ecert_err_clear(&err);
        assert_int_equal(ecert_staple_decode(bytes, n, &out, &err), -1);
        assert_int_equal(err.code, ECERT_ERR_SNAPSHOT);
    }
    ecert_snap_free(bytes, len);
}

static int setup(void **state)
{
    (void)state;
    pki = pki_new(NOW);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pki_free(pki);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_fits),
        cmocka_unit_test(test_taken_back),
        cmocka_unit_test(test_cut),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
