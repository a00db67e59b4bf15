/*
 * Private keys and passwords: no block of memory is freed while it still holds
 * one, and nothing of it stays allocated, whatever is done with them a thousand
 * times over.
 */

#include "freed.h"

#include "kept_make.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>

#include "ecert_bundle.h"
#include "ecert_cred.h"
#include "ecert_csr.h"
#include "ecert_jail_work.h"
#include "ecert_parcel.h"
#include "ecert_pem.h"
#include "ecert_pfx.h"
#include "ecert_stage.h"
#include "ecert_zip.h"
#include "pfx_make.h"
#include "zip_make.h"

#define ROUNDS 1000

/* In Latin-1 it would be another one: both ways are tried. */
static const char password[] = "correct horse battery st\xc3\xa4ple";

enum {
    EC,
    LONG,
    KINDS
};

static EVP_PKEY *keys[KINDS];
static X509 *leaves[KINDS];
static char *pems[KINDS], *traditional[KINDS];
static blob_t shrouded[KINDS], plain[KINDS];

/* ---- what is looked for ------------------------------------------------ */

static void number_is_secret(EVP_PKEY *key, const char *name)
{
    unsigned char bytes[1024];
    BIGNUM *number = NULL;

    assert_int_equal(EVP_PKEY_get_bn_param(key, name, &number), 1);
    assert_true(BN_num_bytes(number) >= FREED_SECRET
                && BN_num_bytes(number) <= (int)sizeof(bytes));
    BN_bn2bin(number, bytes);
    freed_secret(bytes);
    BN_clear_free(number);
    OPENSSL_cleanse(bytes, sizeof(bytes));
}

/* The line of a PEM in which the number stands. */
static void text_is_secret(const char *pem, int line)
{
    for (; line > 0; line--) {
        pem = strchr(pem, '\n') + 1;
    }
    freed_add(pem);
}

static blob_t make_pfx(int kind, int encrypted)
{
    STACK_OF(PKCS7) *safes = NULL;

    pfx_add(&safes, bag_certificate(leaves[kind]), 0, 1, NULL);
    pfx_add(&safes,
            bag_key(keys[kind], encrypted ? NID_aes_256_cbc : 0, password), 0,
            1, NULL);
    return pfx_bytes(pfx_of(safes, EVP_sha256(), 1, password));
}

static int begin(void **state)
{
    if (group_setup(state) != 0) {
        return -1;
    }
    keys[EC] = pki_key("P-256");
    keys[LONG] = pki_key("RSA-2048");
    for (int i = 0; i < KINDS; i++) {
        leaves[i] = pki_leaf(pki, "DNS:www.example.hk", keys[i],
                             NOW - PKI_DAY, NOW + 90 * PKI_DAY);
        pems[i] = pki_pem_key(keys[i]);
        traditional[i] = pki_pem_key_traditional(keys[i]);
        shrouded[i] = make_pfx(i, 1);
        plain[i] = make_pfx(i, 0);
    }
    number_is_secret(keys[EC], OSSL_PKEY_PARAM_PRIV_KEY);
    number_is_secret(keys[LONG], OSSL_PKEY_PARAM_RSA_FACTOR1);
    number_is_secret(keys[LONG], OSSL_PKEY_PARAM_RSA_D);
    text_is_secret(pems[EC], 1);
    text_is_secret(traditional[EC], 1);
    text_is_secret(pems[LONG], 10);
    text_is_secret(traditional[LONG], 10);
    freed_add(password);
    return 0;
}

static int finish(void **state)
{
    freed_n = 0;
    for (int i = 0; i < KINDS; i++) {
        EVP_PKEY_free(keys[i]);
        X509_free(leaves[i]);
        free(pems[i]);
        free(traditional[i]);
        blob_free(&shrouded[i]);
        blob_free(&plain[i]);
    }
    return group_teardown(state);
}

/*
 * Many times; looks at each block, and at what is left: a leak makes more of it
 * in each quarter, what OpenSSL keeps for good does so only at the beginning.
 */
static void again_and_again(int rounds, void (*once)(int kind))
{
    size_t before, after = freed_in_use(), steady = SIZE_MAX;

    freed->found = freed->looked = 0;
    for (int quarter = 0; quarter < 4; quarter++) {
        before = after;
        for (int i = 0; i < rounds / 4 && freed->found == 0; i++) {
            once(i % KINDS);
        }
        after = freed_in_use();
        if (after <= before || after - before < steady) {
            steady = after > before ? after - before : 0;
        }
    }
    freed_assert_none();
    assert_true(freed->looked > rounds); /* else nothing was looked at */
    if (steady >= (size_t)rounds / 4) {
        fail_msg("%zu bytes more are in use after %d rounds", steady,
                 rounds / 4);
    }
}

/* ---- the worker's and the agent's -------------------------------------- */

static void encode_and_decode(int kind)
{
    STACK_OF(X509) *chain = pki_stack(pki->new_sub, pki->cross, NULL);
    ecert_cred_t *cred = ecert_cred_new(leaves[kind], keys[kind], chain, &err);
    unsigned char *bytes;
    size_t len;

    assert_non_null(cred);
    assert_int_equal(ecert_cred_encode(cred, &bytes, &len, &err), 0);
    ecert_cred_free(cred);
    cred = ecert_cred_decode(bytes, len, &err);
    assert_non_null(cred);
    ecert_cred_free(cred);
    assert_null(ecert_cred_decode(bytes, len - 1, &err));
    ecert_snap_free(bytes, len);
    pki_stack_free(chain);
}

static void test_cred(void **state)
{
    (void)state;
    again_and_again(ROUNDS, encode_and_decode);
}

static void read_key(int kind)
{
    const char *all[] = {pems[kind], traditional[kind]};

    for (int i = 0; i < 2; i++) {
        EVP_PKEY *key = ecert_pem_key((const unsigned char *)all[i],
                                      strlen(all[i]), "k", &err);

        assert_non_null(key);
        EVP_PKEY_free(key);
        key = ecert_key_read(at(kind == EC ? "ec.pem" : "rsa.pem"), NULL, &err);
        assert_non_null(key);
        EVP_PKEY_free(key);
    }
}

static void put_keys(void)
{
    put("ec.pem", pems[EC]);
    put("rsa.pem", pems[LONG]);
}

static void test_key_files(void **state)
{
    (void)state;
    put_keys();
    again_and_again(200, read_key);
}

/* A key that says it is a certificate. */
static void read_wrong_label(int kind)
{
    STACK_OF(X509) *list = sk_X509_new_null();
    const char *body = strchr(pems[kind], '\n');
    char text[4096];
    int len = snprintf(text, sizeof(text),
                       "-----BEGIN CERTIFICATE-----%.*s-----END "
                       "CERTIFICATE-----\n",
                       (int)(strstr(body, "-----END") - body), body);

    assert_int_equal(ecert_pem_certificates((const unsigned char *)text,
                                            (size_t)len, "c", list, &err),
                     -1);
    sk_X509_free(list);
    OPENSSL_cleanse(text, sizeof(text));
}

static void test_wrong_label(void **state)
{
    (void)state;
    again_and_again(200, read_wrong_label);
}

static void write_key(int kind)
{
    ecert_stage_t stage;
    char *pem;
    size_t len;

    assert_int_equal(ecert_key_pem(keys[kind], &pem, &len, &err), 0);
    OPENSSL_clear_free(pem, len + 1);
    assert_int_equal(ecert_stage_begin(&stage, at("files"), &err), 0);
    assert_int_equal(ecert_stage_put_key(&stage, keys[kind], &err), 0);
    ecert_stage_drop(&stage);
}

static void test_written(void **state)
{
    (void)state;
    again_and_again(100, write_key);
}

/* The agent over swaps: load, publish, and what a worker reads. */
static agent_t agent;

static void swap(int kind)
{
    put_link(kind == EC ? "generations/1" : "generations/2", "link");
    assert_int_equal(
        rename(at("link"), at("store/sites/www.example.hk/current")), 0);
    look(&agent, 10000);
    assert_error(&agent, ECERT_OK);
    assert_serves(&agent, leaves[kind]);
}

static void test_swaps(void **state)
{
    (void)state;
    put_generation(1, leaves[EC], keys[EC], 1);
    put_generation(2, leaves[LONG], keys[LONG], 0);
    start(&agent, &store_site);
    again_and_again(200, swap);
    end(&agent);
}

/* ---- what is handed over ----------------------------------------------- */

static void read_pfx(int kind)
{
    const blob_t *all[] = {&shrouded[kind], &plain[kind]};
    ecert_pfx_t pfx;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(ecert_pfx_read(all[i]->bytes, all[i]->len, "a.pfx",
                                        password, &pfx, &err),
                         0);
        assert_non_null(pfx.key);
        ecert_pfx_free(&pfx);
        assert_int_equal(ecert_pfx_read(all[i]->bytes, all[i]->len, "a.pfx",
                                        "wrong", &pfx, &err),
                         -1);
    }
}

static void test_pfx(void **state)
{
    (void)state;
    again_and_again(200, read_pfx);
}

static blob_t two_keys(int same)
{
    STACK_OF(PKCS7) *safes = NULL;

    pfx_add(&safes, bag_key(keys[EC], 0, NULL), 0, 1, NULL);
    pfx_add(&safes, bag_key(keys[same ? EC : LONG], 0, NULL), 0, 1, NULL);
    return pfx_bytes(pfx_of(safes, EVP_sha256(), 1, password));
}

/* The same one twice, or two of them: one is too many either way. */
static void read_two_keys(int same)
{
    blob_t two = two_keys(same);
    ecert_pfx_t pfx;

    assert_int_equal(
        ecert_pfx_read(two.bytes, two.len, "a.pfx", password, &pfx, &err),
        same ? 0 : -1);
    if (same) {
        ecert_pfx_free(&pfx);
    }
    blob_free(&two);
}

static void test_two_keys(void **state)
{
    (void)state;
    again_and_again(100, read_two_keys);
}

static void open_parcel(int kind)
{
    ecert_file_t files[] = {
        {.bytes = (unsigned char *)pems[kind], .len = strlen(pems[kind])},
        {.bytes = shrouded[kind].bytes, .len = shrouded[kind].len},
    };
    ecert_parcel_t parcel;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            ecert_parcel_open(&files[i], "p", password, &parcel, &err), 0);
        assert_non_null(parcel.key);
        ecert_parcel_free(&parcel);
    }
}

/* Both ends of the jail's pipe. */
static void test_parcels(void **state)
{
    (void)state;
    again_and_again(100, open_parcel);
}

static int give_key(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    const char *pem = pems[EC];

    (void)ctx;
    for (int i = 0; i < 3; i++) {
        if (ecert_frames_add(out, 1, pem, strlen(pem), error) != 0) {
            return -1;
        }
    }
    return 0;
}

static int take_nothing(void *ctx, const char *path, const unsigned char *bytes,
                        size_t len, ecert_err_t *error)
{
    (void)path;
    (void)error;
    *(int *)ctx += memmem(bytes, len, "PRIVATE", 7) != NULL;
    return 0;
}

static zip_made_t zips[KINDS];

static void unpack(int kind)
{
    int seen = 0;

    assert_int_equal(ecert_zip_each(zips[kind].bytes, zips[kind].len, "z",
                                    take_nothing, &seen, &err),
                     0);
    assert_int_equal(seen, 1);
}

static void test_zip(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        zip_make(&zips[i], "compression=store");
        zip_text(&zips[i], "key.pem", pems[i]);
        zip_done(&zips[i]);
    }
    again_and_again(100, unpack);
    zip_free(&zips[EC]);
    zip_free(&zips[LONG]);
}

/* An answer that is cut off: what had come goes all the same. */
static int give_half(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    uint32_t len = (uint32_t)strlen(pems[EC]);
    unsigned char head[ECERT_ANSWER_HEADER] = {1};

    (void)ctx;
    (void)out;
    (void)error;
    memcpy(head + 1, &len, sizeof(len));
    _exit(write(ECERT_JAIL_PIPE, head, sizeof(head)) < 0
          || write(ECERT_JAIL_PIPE, pems[EC], len) < 0);
}

static void run_jail(int cut)
{
    ecert_frames_t frames;
    int rc = ecert_jail_run(cut ? give_half : give_key, NULL, "j", &frames,
                            &err);

    assert_int_equal(rc, cut ? -1 : 0);
    ecert_frames_free(&frames);
}

static void test_jail(void **state)
{
    (void)state;
    again_and_again(100, run_jail);
}

/* The hook itself: a block that is not wiped is found. */
static void test_hook(void **state)
{
    char *copy = malloc(strlen(pems[EC]) + 1);

    (void)state;
    freed->found = 0;
    assert_string_equal(strcpy(copy, pems[EC]), pems[EC]);
    free(copy);
    assert_int_equal(freed->found, 1);
    copy = OPENSSL_strdup(password);
    CRYPTO_free(copy, "src/ecert_some.c", 1);
    assert_int_equal(freed->found, 2);
    freed->found = 0;
}

static void test_sanitized(void **state)
{
    (void)state;
    skipped(1, "a sanitizer looks after memory");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest none[] = {cmocka_unit_test(test_sanitized)};
    volatile int possible = ECERT_JAIL_BOUNDS_MEMORY; /* all is compiled */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hook),
        cmocka_unit_test(test_cred),
        cmocka_unit_test_setup_teardown(test_key_files, setup,
                                        scratch_teardown),
        cmocka_unit_test(test_wrong_label),
        cmocka_unit_test_setup_teardown(test_written, setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_swaps, setup, scratch_teardown),
        cmocka_unit_test(test_pfx),
        cmocka_unit_test(test_two_keys),
        cmocka_unit_test(test_parcels),
        cmocka_unit_test(test_jail),
        cmocka_unit_test(test_zip),
    };

    (void)argc;
    if (!possible) {
        return cmocka_run_group_tests(none, NULL, NULL);
    }
    if (!freed_begin(argv)) {
        return 1;
    }
    return cmocka_run_group_tests(tests, begin, finish);
}
