/* OCSP: bytes that are no answer, or no longer one. */

#include "scratch.h"

#include "ecert_ocsp.h"
#include "ocsp_make.h"
#include "pki.h"

#define NOW ((int64_t)1795392000)

static pki_t *pki;
static EVP_PKEY *key;
static X509 *delegate;
static ecert_ocsp_t got;
static ecert_err_t err;

static int group_setup(void **state)
{
    (void)state;
    pki = pki_new(NOW);
    key = pki_key("P-256");
    delegate = ocsp_delegate(pki, key, NOW + 60 * PKI_DAY);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    X509_free(delegate);
    EVP_PKEY_free(key);
    pki_free(pki);
    return 0;
}

static ocsp_make_t delegated(void)
{
    ocsp_make_t make = ocsp_usual(pki);

    make.by = make.certs[0] = delegate;
    make.key = key;
    return make;
}

static void assert_refused(ocsp_bytes_t bytes, const char *why)
{
    int rc = ocsp_check(bytes, pki->leaf, pki->new_sub, NOW, 0, &got, &err);

    assert_int_equal(rc, -1);
    if (strstr(err.detail, why) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.detail, why);
    }
}

static void test_no_answer(void **state)
{
    static const struct {
        int status;
        const char *why;
    } rows[] = {
        {OCSP_RESPONSE_STATUS_MALFORMEDREQUEST, "says malformedRequest"},
        {OCSP_RESPONSE_STATUS_INTERNALERROR, "says internalError"},
        {OCSP_RESPONSE_STATUS_TRYLATER, "says tryLater"},
        {OCSP_RESPONSE_STATUS_SIGREQUIRED, "says sigRequired"},
        {OCSP_RESPONSE_STATUS_UNAUTHORIZED, "says unauthorized"},
        {4, "says a status that does not exist"},
        {77, "says a status that does not exist"},
        {OCSP_RESPONSE_STATUS_SUCCESSFUL, "it holds no basic response"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ocsp_bytes_t bytes = ocsp_make_failure(rows[i].status);

        assert_refused(bytes, rows[i].why);
        OPENSSL_free(bytes.bytes);
    }
}

static void test_rubbish(void **state)
{
    static unsigned char zeros[ECERT_OCSP_MAX + 1];
    static char page[] = "<!DOCTYPE html><title>503</title>";
    unsigned char *der = NULL;
    size_t len = 0;

    (void)state;
    assert_refused((ocsp_bytes_t){zeros, 0}, "no OCSP response");
    assert_refused((ocsp_bytes_t){NULL, 0}, "no OCSP response");
    assert_refused((ocsp_bytes_t){zeros, 100}, "no OCSP response");
    assert_refused((ocsp_bytes_t){(unsigned char *)page, sizeof(page) - 1},
                   "no OCSP response");
    assert_refused((ocsp_bytes_t){zeros, sizeof(zeros)},
                   "it has 16385 bytes, 16384 are allowed");
    assert_int_equal(
        ecert_ocsp_request(pki->leaf, pki->new_sub, &der, &len, &err), 0);
    assert_refused((ocsp_bytes_t){der, len}, "no OCSP response");
    OPENSSL_free(der);
}

/* As much as fits is read, one byte more is not.  RSA: ECDSA's signatures are
 * not always equally long. */
static void test_too_large(void **state)
{
    EVP_PKEY *rsa = pki_key("RSA-2048");
    X509 *signer = ocsp_delegate(pki, rsa, NOW + 60 * PKI_DAY);
    X509 *needless = X509_dup(signer);
    char comment[ECERT_OCSP_MAX];
    size_t len = 13000;
    ocsp_make_t make = ocsp_usual(pki);
    ocsp_bytes_t bytes;

    (void)state;
    make.by = make.certs[0] = signer;
    make.key = rsa;
    make.certs[1] = needless;
    for (int i = 0; i < 3; i++) {
        memset(comment, 'a', len);
        comment[len] = '\0';
        ocsp_extend(needless, rsa, NID_netscape_comment, comment);
        bytes = ocsp_make(&make);
        if (i == 0) {
            len += ECERT_OCSP_MAX - bytes.len;
        } else if (i == 1) {
            assert_int_equal(bytes.len, ECERT_OCSP_MAX);
            assert_int_equal(
                ocsp_check(bytes, pki->leaf, pki->new_sub, NOW, 0, &got, &err),
                0);
            len++;
        } else {
            assert_refused(bytes, "it has 16385 bytes, 16384 are allowed");
        }
        OPENSSL_free(bytes.bytes);
    }
    X509_free(needless);
    X509_free(signer);
    EVP_PKEY_free(rsa);
}

static ocsp_bytes_t longer(ocsp_bytes_t bytes, size_t more)
{
    unsigned char *out = OPENSSL_zalloc(bytes.len + more);

    memcpy(out, bytes.bytes, bytes.len);
    OPENSSL_free(bytes.bytes);
    return (ocsp_bytes_t){out, bytes.len + more};
}

static void test_garbage_behind(void **state)
{
    ocsp_make_t make = delegated();
    ocsp_bytes_t bytes = longer(ocsp_make(&make), 1);

    (void)state;
    assert_refused(bytes, "1 bytes follow where it should end");
    bytes = longer(bytes, 99);
    bytes.bytes[bytes.len - 1] = 0x30;
    assert_refused(bytes, "100 bytes follow where it should end");
    OPENSSL_free(bytes.bytes);
}

/* The outer length in a byte more than it needs: BER, not DER. */
static void test_not_der(void **state)
{
    ocsp_make_t make = delegated();
    ocsp_bytes_t bytes = longer(ocsp_make(&make), 1);

    (void)state;
    assert_int_equal(bytes.bytes[1], 0x82);
    memmove(bytes.bytes + 3, bytes.bytes + 2, bytes.len - 3);
    bytes.bytes[1] = 0x83;
    bytes.bytes[2] = 0;
    assert_refused(bytes, "it is not encoded in DER");
    OPENSSL_free(bytes.bytes);
}

/* A copy of just that size, so that reading beyond it is seen. */
static void test_truncated(void **state)
{
    ocsp_make_t make = delegated();
    ocsp_bytes_t bytes = ocsp_make(&make);

    (void)state;
    for (size_t len = 0; len < bytes.len; len++) {
        unsigned char *part = OPENSSL_memdup(bytes.bytes, len ? len : 1);

        assert_refused((ocsp_bytes_t){part, len}, "cut off");
        OPENSSL_free(part);
    }
    OPENSSL_free(bytes.bytes);
}

/* How many flips of one bit are taken: each with the meaning it had. */
static int count_taken(ocsp_make_t make)
{
    ocsp_bytes_t bytes = ocsp_make(&make);
    int taken = 0;

    for (size_t bit = 0; bit < 8 * bytes.len; bit++) {
        bytes.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        if (ocsp_check(bytes, pki->leaf, pki->new_sub, NOW, 0, &got, &err)
            == 0) {
            taken++;
            assert_int_equal(got.status, make.status);
            assert_int_equal(got.this_update, make.from);
            assert_int_equal(got.next_update, make.to);
        }
        bytes.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    assert_int_equal(
        ocsp_check(bytes, pki->leaf, pki->new_sub, NOW, 0, &got, &err), 0);
    OPENSSL_free(bytes.bytes);
    return taken;
}

static void test_bits(void **state)
{
    ocsp_make_t make = ocsp_usual(pki);

    (void)state;
    assert_int_equal(count_taken(make), 0);
    make.by_key = 1;
    make.status = V_OCSP_CERTSTATUS_UNKNOWN;
    assert_int_equal(count_taken(make), 0);
    make = delegated();
    make.status = V_OCSP_CERTSTATUS_REVOKED;
    make.revoked_at = NOW;
    assert_int_equal(count_taken(make), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_answer), cmocka_unit_test(test_rubbish),
        cmocka_unit_test(test_too_large), cmocka_unit_test(test_garbage_behind),
        cmocka_unit_test(test_not_der),   cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_bits),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
