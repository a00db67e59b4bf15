/* Credentials: as bytes, damaged bytes, and in a handshake. */

#include "scratch.h"

#include <openssl/err.h>

#include "ecert_cred.h"
#include "ecert_snap.h"
#include "pki.h"
#include "wire.h"

#define NOW ((int64_t)1795392000)

static const char *const kinds[] = {"RSA-2048", "RSA-3072", "RSA-4096", "P-256",
                                    "P-384"};
enum {
    KINDS = sizeof(kinds) / sizeof(kinds[0]),
    SOME_RSA = 0,
    SOME_EC = 3
};

static pki_t *pki;
static EVP_PKEY *keys[KINDS];
static ecert_cred_t *creds[KINDS]; /* with a chain of two */
static ecert_err_t err;

static int setup(void **state)
{
    STACK_OF(X509) *chain;

    (void)state;
    pki = pki_new(NOW);
    chain = pki_stack(pki->new_sub, pki->cross, NULL);
    for (int i = 0; i < KINDS; i++) {
        X509 *leaf;

        keys[i] = pki_key(kinds[i]);
        leaf = pki_leaf(pki, "DNS:www.example.hk", keys[i], NOW, NOW + PKI_DAY);
        creds[i] = ecert_cred_new(leaf, keys[i], chain, &err);
        X509_free(leaf);
        if (creds[i] == NULL) {
            return -1;
        }
    }
    pki_stack_free(chain);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        ecert_cred_free(creds[i]);
        EVP_PKEY_free(keys[i]);
    }
    pki_free(pki);
    return 0;
}

static void assert_same_cred(const ecert_cred_t *a, const ecert_cred_t *b)
{
    assert_int_equal(X509_cmp(a->leaf, b->leaf), 0);
    assert_int_equal(EVP_PKEY_eq(a->key, b->key), 1);
    assert_int_equal(sk_X509_num(a->chain), sk_X509_num(b->chain));
    for (int i = 0; i < sk_X509_num(a->chain); i++) {
        assert_int_equal(
            X509_cmp(sk_X509_value(a->chain, i), sk_X509_value(b->chain, i)),
            0);
    }
    assert_int_equal(a->placeholder, b->placeholder);
}

static void test_round_trip(void **state)
{
    unsigned char *bytes;
    ecert_cred_t *back;
    size_t len;

    (void)state;
    for (int i = 0; i < KINDS; i++) {
        for (int placeholder = 0; placeholder < 2; placeholder++) {
            creds[i]->placeholder = placeholder;
            assert_int_equal(ecert_cred_encode(creds[i], &bytes, &len, &err),
                             0);
            assert_true(len < ECERT_SNAP_RECORD_MAX);
            back = ecert_cred_decode(bytes, len, &err);
            assert_non_null(back);
            assert_same_cred(creds[i], back);
            assert_int_equal(back->generation, 0);
            assert_int_equal(ERR_peek_error(), 0);
            ecert_cred_free(back);
            ecert_snap_free(bytes, len);
        }
        creds[i]->placeholder = 0;
    }
    ecert_cred_free(NULL);
}

static void test_no_chain(void **state)
{
    ecert_cred_t *cred =
        ecert_cred_new(creds[SOME_EC]->leaf, keys[SOME_EC], NULL, &err);
    unsigned char *bytes;
    ecert_cred_t *back;
    size_t len;

    (void)state;
    assert_non_null(cred->chain);
    assert_int_equal(sk_X509_num(cred->chain), 0);
    assert_int_equal(ecert_cred_encode(cred, &bytes, &len, &err), 0);
    back = ecert_cred_decode(bytes, len, &err);
    assert_non_null(back);
    assert_same_cred(cred, back);
    ecert_cred_free(back);
    ecert_cred_free(cred);
    ecert_snap_free(bytes, len);
}

static void test_mismatch(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        assert_null(
            ecert_cred_new(creds[i]->leaf, keys[(i + 1) % KINDS], NULL, &err));
        assert_int_equal(err.code, ECERT_ERR_MISMATCH);
        assert_int_equal(ERR_peek_error(), 0);
    }
}

static void test_chain_limit(void **state)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    ecert_cred_t *cred, *back;
    unsigned char *bytes;
    size_t len;

    (void)state;
    for (int i = 0; i < ECERT_CHAIN_MAX; i++) {
        sk_X509_push(chain, pki->new_sub);
    }
    cred = ecert_cred_new(creds[SOME_EC]->leaf, keys[SOME_EC], chain, &err);
    assert_non_null(cred);
    assert_int_equal(ecert_cred_encode(cred, &bytes, &len, &err), 0);
    back = ecert_cred_decode(bytes, len, &err);
    assert_non_null(back);
    assert_int_equal(sk_X509_num(back->chain), ECERT_CHAIN_MAX);
    ecert_cred_free(back);
    ecert_cred_free(cred);
    ecert_snap_free(bytes, len);
    sk_X509_push(chain, pki->new_sub);
    assert_null(
        ecert_cred_new(creds[SOME_EC]->leaf, keys[SOME_EC], chain, &err));
    assert_int_equal(err.code, ECERT_ERR_TOO_MANY);
    sk_X509_free(chain);
}

/* Decodes what may be anything; what comes out must be whole. */
static int decode(const unsigned char *bytes, size_t len)
{
    unsigned char *copy = malloc(len ? len : 1); /* for the sanitizer */
    ecert_cred_t *cred;
    int ok;

    memcpy(copy, bytes, len);
    cred = ecert_cred_decode(copy, len, &err);
    ok = cred != NULL;
    if (ok) {
        assert_non_null(cred->leaf);
        assert_int_equal(X509_check_private_key(cred->leaf, cred->key), 1);
        assert_true(sk_X509_num(cred->chain) <= ECERT_CHAIN_MAX);
    } else {
        assert_int_equal(err.code, ECERT_ERR_SNAPSHOT);
    }
    assert_int_equal(ERR_peek_error(), 0);
    ecert_cred_free(cred);
    free(copy);
    return ok;
}

static void test_cut(void **state)
{
    unsigned char *bytes;
    size_t len, key_len = 0, leaf_len;
    uint32_t head[2];

    (void)state;
    assert_int_equal(ecert_cred_encode(creds[SOME_EC], &bytes, &len, &err), 0);
    memcpy(head, bytes, 8);
    key_len = 8 + head[1];
    memcpy(head, bytes + key_len, 8);
    leaf_len = 8 + head[1];
    for (size_t i = 0; i < len; i++) {
        int ok = decode(bytes, i);

        /* between two elements of the chain nobody but the checksum knows */
        if (i < key_len + leaf_len) {
            assert_false(ok);
        }
    }
    /* key without leaf, leaf without key, of two keys the first */
    assert_false(decode(bytes, key_len));
    assert_false(decode(bytes + key_len, leaf_len));
    assert_true(decode(bytes, key_len + leaf_len));
    ecert_snap_free(bytes, len);
}

static void test_mutated(void **state)
{
    static const uint32_t words[] = {
        0, 1, 2, 3, 4, 5, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff8};
    unsigned char *bytes, *bad;
    unsigned seed = 9;
    size_t len;

    (void)state;
    assert_int_equal(ecert_cred_encode(creds[SOME_EC], &bytes, &len, &err), 0);
    bad = malloc(len);
    for (size_t i = 0; i < len; i++) {
        memcpy(bad, bytes, len);
        bad[i] ^= (unsigned char)(1u << (rand_r(&seed) >> 4) % 8);
        decode(bad, len);
    }
    for (size_t i = 0; i + 4 <= len; i += 4) {
        memcpy(bad, bytes, len);
        memcpy(bad + i, &words[i / 4 % 10], 4);
        decode(bad, len);
    }
    for (int i = 0; i < 300; i++) {
        for (size_t j = 0; j < len; j++) {
            bad[j] = (unsigned char)(rand_r(&seed) >> 4);
        }
        memcpy(bad, &words[i % 5], 4);
        decode(bad, (size_t)i * 3 % len);
    }
    free(bad);
    ecert_snap_free(bytes, len);
}

/* Key of one, leaf of the other: each is fine, together they are not. */
static void test_mixed(void **state)
{
    unsigned char *a, *b, *mixed;
    size_t a_len, b_len, key_len, skip;
    uint32_t head[2];

    (void)state;
    assert_int_equal(ecert_cred_encode(creds[SOME_EC], &a, &a_len, &err), 0);
    assert_int_equal(ecert_cred_encode(creds[SOME_RSA], &b, &b_len, &err), 0);
    memcpy(head, a, 8);
    key_len = 8 + head[1];
    memcpy(head, b, 8);
    skip = 8 + head[1];
    mixed = malloc(key_len + b_len);
    memcpy(mixed, a, key_len);
    memcpy(mixed + key_len, b + skip, b_len - skip);
    assert_false(decode(mixed, key_len + b_len - skip));
    free(mixed);
    ecert_snap_free(a, a_len);
    ecert_snap_free(b, b_len);
}

/* An element of a newer agent is passed over. */
static void test_unknown_element(void **state)
{
    uint32_t head[2] = {77, 5};
    unsigned char *bytes, *more;
    size_t len;

    (void)state;
    assert_int_equal(ecert_cred_encode(creds[SOME_EC], &bytes, &len, &err), 0);
    more = calloc(1, len + 13);
    memcpy(more, head, 8);
    memcpy(more + 13, bytes, len);
    assert_true(decode(more, len + 13));
    free(more);
    ecert_snap_free(bytes, len);
}

static int use(SSL *ssl, void *ctx)
{
    return ecert_cred_use(ctx, ssl, &err) == 0;
}

static void assert_served(const ecert_cred_t *want, const ecert_cred_t *before,
                          int version, const char *sigalgs)
{
    SSL_CTX *client = wire_client(version, sigalgs);
    SSL_CTX *server =
        wire_server(before->leaf, before->key, use, (void *)(uintptr_t)want);
    STACK_OF(X509) *seen;
    wire_t wire;

    assert_int_equal(wire_shake(&wire, client, server, NULL), 1);
    seen = SSL_get_peer_cert_chain(wire.client);
    assert_int_equal(sk_X509_num(seen), 1 + sk_X509_num(want->chain));
    assert_int_equal(X509_cmp(sk_X509_value(seen, 0), want->leaf), 0);
    for (int i = 1; i < sk_X509_num(seen); i++) {
        assert_int_equal(
            X509_cmp(sk_X509_value(seen, i), sk_X509_value(want->chain, i - 1)),
            0);
    }
    wire_free(&wire);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void test_handshakes(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

    (void)state;
    for (int v = 0; v < 2; v++) {
        for (int i = 0; i < KINDS; i++) {
            assert_served(creds[i], creds[SOME_EC], versions[v], NULL);
            assert_served(creds[i], creds[SOME_RSA], versions[v], NULL);
        }
    }
}

/* A client that takes both must not find the one that was there before. */
static void test_nothing_stays_behind(void **state)
{
    static const char ec[] = "ECDSA+SHA256:ECDSA+SHA384";
    static const char rsa[] = "RSA-PSS+SHA256:RSA+SHA256";
    SSL_CTX *client = wire_client(TLS1_2_VERSION, ec), *server;
    wire_t wire;

    (void)state;
    server =
        wire_server(creds[SOME_EC]->leaf, keys[SOME_EC], use, creds[SOME_RSA]);
    assert_int_equal(wire_shake(&wire, client, server, NULL), 0);
    wire_free(&wire);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    client = wire_client(TLS1_3_VERSION, rsa);
    server =
        wire_server(creds[SOME_RSA]->leaf, keys[SOME_RSA], use, creds[SOME_EC]);
    assert_int_equal(wire_shake(&wire, client, server, NULL), 0);
    wire_free(&wire);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
}

static void test_use_fails(void **state)
{
    SSL_CTX *server = wire_server(NULL, NULL, NULL, NULL);
    ecert_cred_t broken = *creds[SOME_EC];
    SSL *ssl = SSL_new(server);

    (void)state;
    broken.key = keys[SOME_RSA];
    assert_int_equal(ecert_cred_use(&broken, ssl, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_OPENSSL);
    assert_int_equal(ERR_peek_error(), 0);
    assert_int_equal(ecert_cred_use(creds[SOME_EC], ssl, &err), 0);
    assert_int_equal(ERR_peek_error(), 0);
    assert_ptr_equal(SSL_get_certificate(ssl), creds[SOME_EC]->leaf);
    SSL_free(ssl);
    SSL_CTX_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_no_chain),
        cmocka_unit_test(test_mismatch),
        cmocka_unit_test(test_chain_limit),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_mutated),
        cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_unknown_element),
        cmocka_unit_test(test_handshakes),
        cmocka_unit_test(test_nothing_stays_behind),
        cmocka_unit_test(test_use_fails),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
