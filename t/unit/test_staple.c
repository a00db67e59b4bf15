/* The record of an OCSP response. */

#include "scratch.h"

#include <openssl/evp.h>

#include "ecert_snap.h"
#include "ecert_staple.h"
#include "pki_group.h"

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
    ecert_staple_t in[] = {of(pki->leaf, "response"), of(pki->new_sub, "two")};
    ecert_staple_t out[ECERT_STAPLES];
    unsigned char *bytes;
    size_t len, n;

    (void)state;
    for (size_t many = 1; many <= ECERT_STAPLES; many++) {
        assert_int_equal(ecert_staple_encode(in, many, &bytes, &len, &err), 0);
        assert_int_equal(ecert_staple_decode(bytes, len, out, &n, &err), 0);
        assert_int_equal(n, many);
        for (size_t i = 0; i < n; i++) {
            assert_memory_equal(out[i].leaf, in[i].leaf, sizeof(in[i].leaf));
            assert_int_equal(out[i].next_update, in[i].next_update);
            assert_int_equal(out[i].len, in[i].len);
            assert_memory_equal(out[i].der, in[i].der, out[i].len);
        }
        ecert_snap_free(bytes, len);
    }
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
    ecert_staple_t in = of(pki->leaf, ""), out[ECERT_STAPLES];
    unsigned char *bytes;
    size_t len, n;

    (void)state;
    assert_int_equal(ecert_staple_encode(&in, 1, &bytes, &len, &err), 0);
    assert_int_equal(ecert_staple_decode(bytes, len, out, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_int_equal(out[0].len, 0);
    ecert_snap_free(bytes, len);
}

static void test_cut(void **state)
{
    ecert_staple_t in[] = {of(pki->leaf, "response"), of(pki->new_sub, "two")};
    ecert_staple_t out[ECERT_STAPLES];
    unsigned char *bytes;
    size_t len, whole, n;

    (void)state;
    assert_int_equal(ecert_staple_encode(in, 1, &bytes, &whole, &err), 0);
    ecert_snap_free(bytes, whole);
    assert_int_equal(ecert_staple_encode(in, 2, &bytes, &len, &err), 0);
    for (size_t cut = 0; cut < len; cut++) {
        if (cut != whole) { /* one of the two */
            ecert_err_clear(&err);
            assert_int_equal(ecert_staple_decode(bytes, cut, out, &n, &err),
                             -1);
            assert_int_equal(err.code, ECERT_ERR_SNAPSHOT);
        }
    }
    ecert_snap_free(bytes, len);
}

static void test_damaged(void **state)
{
    ecert_staple_t in[] = {of(pki->leaf, "a"), of(pki->leaf, "b"),
                           of(pki->leaf, "c")};
    ecert_staple_t out[ECERT_STAPLES];
    unsigned char *bytes;
    size_t len, n;

    (void)state;
    assert_int_equal(ecert_staple_encode(in, 3, &bytes, &len, &err), 0);
    assert_int_equal(ecert_staple_decode(bytes, len, out, &n, &err), -1);
    memset(bytes, 0xff, len); /* a length beyond the end */
    assert_int_equal(ecert_staple_decode(bytes, len, out, &n, &err), -1);
    ecert_snap_free(bytes, len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_fits),
        cmocka_unit_test(test_taken_back),     cmocka_unit_test(test_cut),
        cmocka_unit_test(test_damaged),
    };

    return cmocka_run_group_tests(tests, pki_setup, pki_teardown);
}
