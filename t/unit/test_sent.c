/* What a server sent: through frames that nobody trusts, and compared. */

#include "scratch.h"

#include "ecert_jail_work.h"
#include "ecert_sent.h"
#include "ecert_x509.h"
#include "pki.h"

static ecert_err_t err;
static pki_t *pki;

static int setup(void **state)
{
    (void)state;
    pki = pki_new(1800000000);
    return pki != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    pki_free(pki);
    return 0;
}

/* Written and read again. */
static ecert_sent_t pass(const ecert_shaken_t *got)
{
    ecert_frames_t frames = {0};
    ecert_sent_t sent;

    assert_int_equal(ecert_sent_write(got, &frames, &err), 0);
    assert_int_equal(ecert_sent_read(&frames, "127.0.0.1:443", &sent, &err), 0);
    ecert_frames_free(&frames);
    return sent;
}

static ecert_sent_t through(STACK_OF(X509) *certs, int stapled)
{
    ecert_sent_t sent =
        pass(&(ecert_shaken_t){.sent = certs, .staple_len = (size_t)stapled});

    pki_stack_free(certs);
    return sent;
}

/* The published ones are leaf, new_sub, cross. */
static void assert_differs(ecert_sent_t sent, int staple, const char *words)
{
    STACK_OF(X509) *chain = pki_stack(pki->new_sub, pki->cross, NULL);
    char said[256];

    assert_int_equal(
        ecert_sent_differs(&sent, pki->leaf, chain, staple, said, sizeof(said)),
        words[0] != '\0');
    if (strstr(said, words) == NULL || (words[0] == '\0' && said[0] != '\0')) {
        fail_msg("%s: %s", words, said);
    }
    pki_stack_free(chain);
}

/* Nothing but why. */
static void test_failed(void **state)
{
    ecert_shaken_t got = {.failed = "the alert internal_error"};

    (void)state;
    assert_differs(pass(&got), 1, "the alert internal_error");
    snprintf(got.failed, sizeof(got.failed), "an \x1b[1m alert");
    assert_differs(pass(&got), 1, "an \\x1b[1m alert");
}

static void test_compare(void **state)
{
    X509 *leaf = pki->leaf, *sub = pki->new_sub, *cross = pki->cross;
    char words[128], hex[65];

    (void)state;
    assert_differs(through(pki_stack(leaf, sub, cross, NULL), 1), 1, "");
    assert_differs(through(pki_stack(leaf, sub, cross, NULL), 1), 0, "");
    assert_differs(through(pki_stack(leaf, sub, cross, NULL), 0), 0, "");
    assert_differs(through(pki_stack(leaf, sub, cross, NULL), 0), 1,
                   "no OCSP response is stapled");
    assert_differs(through(pki_stack(leaf, sub, NULL), 0), 0,
                   "Look-alike Root 3 is not sent");
    assert_differs(through(pki_stack(leaf, NULL), 0), 0,
                   "Look-alike SSL CA 3 - 17 is not sent");
    assert_differs(through(pki_stack(leaf, pki->old_sub, cross, NULL), 0), 0,
                   "another certificate is sent in place of Look-alike SSL");
    assert_differs(through(pki_stack(leaf, cross, sub, NULL), 0), 0,
                   "in place of Look-alike SSL");
    assert_differs(through(pki_stack(leaf, sub, cross, pki->root, NULL), 0), 0,
                   "certificates are sent that are not published: 1");
    assert_differs(through(NULL, 0), 0, "no certificate is sent");
    snprintf(words, sizeof(words), "SHA-256 %.16s, and",
             ecert_x509_fingerprint(sub, hex));
    assert_differs(through(pki_stack(sub, leaf, cross, NULL), 0), 0, words);
    snprintf(words, sizeof(words), "and %.16s is published",
             ecert_x509_fingerprint(leaf, hex));
    assert_differs(through(pki_stack(sub, leaf, cross, NULL), 0), 0, words);
}

static void test_no_chain(void **state)
{
    ecert_sent_t sent = through(pki_stack(pki->leaf, NULL), 0);
    char said[256];

    (void)state;
    assert_int_equal(
        ecert_sent_differs(&sent, pki->leaf, NULL, 0, said, sizeof(said)), 0);
}

/* More than the bound are not told; the published ones are fewer. */
static void test_many(void **state)
{
    STACK_OF(X509) *many = pki_stack(pki->leaf, NULL);
    ecert_sent_t sent;

    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_true(X509_up_ref(pki->new_sub));
        sk_X509_push(many, pki->new_sub);
    }
    sent = through(many, 1);
    assert_int_equal(sent.n, ECERT_SENT_MAX);
    assert_true(sent.stapled);
}

static void add(ecert_frames_t *frames, unsigned char kind, size_t len)
{
    static const unsigned char bytes[1000];

    assert_int_equal(ecert_frames_add(frames, kind, bytes, len, &err), 0);
}

static void refused(ecert_frames_t *frames)
{
    ecert_sent_t sent;

    assert_int_equal(ecert_sent_read(frames, "[::1]:443", &sent, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_FETCH);
    assert_string_equal(err.file, "[::1]:443");
    assert_true(sent.n <= ECERT_SENT_MAX);
    ecert_frames_free(frames);
}

static void test_hostile(void **state)
{
    static const struct {
        unsigned char kind;
        size_t len;
    } bad[] = {{1, 0},  {1, 31}, {1, 33}, {1, 1000}, {2, 1},
               {3, 32}, {3, 0},  {4, 1},  {254, 0}};
    ecert_frames_t frames = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        add(&frames, 1, 32);
        add(&frames, bad[i].kind, bad[i].len);
        refused(&frames);
    }
    for (size_t i = 0; i <= ECERT_SENT_MAX; i++) { /* one too many */
        add(&frames, 1, 32);
    }
    refused(&frames);
    add(&frames, 2, 0);
    add(&frames, 2, 0);
    refused(&frames);
    add(&frames, 2, 0);
    add(&frames, 1, 32); /* behind the staple */
    refused(&frames);
    add(&frames, 3, 8);
    add(&frames, 1, 32); /* behind the failure */
    refused(&frames);
    add(&frames, 3, ECERT_HANDSHAKE_SAYS);
    refused(&frames);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare),  cmocka_unit_test(test_failed),
        cmocka_unit_test(test_no_chain), cmocka_unit_test(test_many),
        cmocka_unit_test(test_hostile),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
