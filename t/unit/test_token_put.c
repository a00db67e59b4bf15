/* Validation files as the command puts them. */

#include "clean.h"

#include <time.h>

#include "ecert_dcv.h"
#include "ecert_json.h"
#include "ecert_store.h"
#include "ecert_token_put.h"

#define HOST      "www.example.hk"
#define FILE_NAME "fileauth.txt"
#define NOW       INT64_C(1795392000)

static ecert_err_t err;
static char store[PATH_MAX];

static int setup(void **state)
{
    if (clean_setup(state) != 0) {
        return -1;
    }
    snprintf(store, sizeof(store), "%s", at("store"));
    return ecert_store_prepare(store, &err);
}

static int put_token(const char *host, const char *text, const char *site,
                     ecert_token_was_t *was)
{
    ecert_token_owner_t owner = {.site = site};

    return ecert_token_put(store, host, FILE_NAME, (const unsigned char *)text,
                           strlen(text), &owner, NOW, was, &err);
}

static ecert_token_was_t put_as(const char *text, const char *site)
{
    ecert_token_was_t was;

    if (put_token(HOST, text, site, &was) != 0) {
        fail_msg("%s: %s", err.file, ecert_err_word(err.code));
    }
    assert_holds("store/dcv/" HOST "/" FILE_NAME, text);
    return was;
}

static void assert_owner(const char *site)
{
    json_t *origin = ecert_token_origin(store, HOST, FILE_NAME, &err);

    assert_string_equal(ecert_json_text(origin, "site"), site);
    assert_int_equal(ecert_json_date(origin, "added"), NOW);
    json_decref(origin);
}

static void test_put(void **state)
{
    (void)state;
    umask(077);
    assert_int_equal(put_as("one", "a.hk"), ECERT_TOKEN_NEW);
    assert_owner("a.hk");
    put("store/dcv/" HOST "/." FILE_NAME ".ecert-0123abcd", "killed");
    assert_int_equal(mode_of("store/dcv/" HOST), 0755);
    assert_int_equal(mode_of("store/dcv/" HOST "/" FILE_NAME), 0644);
    assert_int_equal(mode_of("store/dcv/" HOST "/." FILE_NAME ".json"), 0600);
    assert_int_equal(put_as("two", "a.hk"), ECERT_TOKEN_REPLACED);
    assert_int_equal(entries("store/dcv/" HOST), 2);
    put("store/dcv/" HOST "/" FILE_NAME, ""); /* an upload that broke off */
    assert_int_equal(put_as("three", "a.hk"), ECERT_TOKEN_NEW);
}

/* Two orders for one host: neither loses what it needs without a trace. */
static void test_foreign(void **state)
{
    (void)state;
    put_as("of a", "a.hk");
    assert_int_equal(put_as("of b", "b.hk"), ECERT_TOKEN_FOREIGN);
    assert_owner("b.hk");
    assert_holds("store/dcv/" HOST "/." FILE_NAME ".saved", "of a");
    assert_int_equal(put_as("of b, newer", "b.hk"), ECERT_TOKEN_REPLACED);
    assert_holds("store/dcv/" HOST "/." FILE_NAME ".saved", "of a");
    assert_int_equal(put_as("of a", "a.hk"), ECERT_TOKEN_FOREIGN);
    assert_holds("store/dcv/" HOST "/." FILE_NAME ".saved", "of b, newer");
    assert_int_equal(entries("store/dcv/" HOST), 3);
}

static void test_by_hand(void **state)
{
    json_t *origin;

    (void)state;
    folders("store/dcv/" HOST);
    put("store/dcv/" HOST "/" FILE_NAME, "by hand");
    origin = ecert_token_origin(store, HOST, FILE_NAME, &err);
    assert_int_equal(json_object_size(origin), 0);
    json_decref(origin);
    assert_int_equal(put_as("of a", "a.hk"), ECERT_TOKEN_FOREIGN);
    assert_holds("store/dcv/" HOST "/." FILE_NAME ".saved", "by hand");
    put("store/dcv/" HOST "/." FILE_NAME ".json", "broken");
    assert_int_equal(put_as("of b", "b.hk"), ECERT_TOKEN_FOREIGN);
    assert_holds("store/dcv/" HOST "/." FILE_NAME ".saved", "of a");
    assert_owner("b.hk");
}

/* The same file once more: the 30 days count from now on, for the agent too. */
static void test_same(void **state)
{
    struct timespec old[2] = {{1700000000, 0}, {1700000000, 0}};
    struct stat before, after;
    ecert_tokens_t tokens;
    int64_t now = time(NULL);

    (void)state;
    put_as("one", "a.hk");
    assert_int_equal(
        utimensat(AT_FDCWD, at("store/dcv/" HOST "/" FILE_NAME), old, 0), 0);
    assert_int_equal(stat(at("store/dcv/" HOST "/" FILE_NAME), &before), 0);
    assert_int_equal(
        ecert_store_tokens(store, now, NULL, NULL, NULL, NULL, &tokens, &err),
        0);
    assert_int_equal(tokens.n, 0); /* over */
    ecert_tokens_free(&tokens);
    assert_int_equal(put_as("one", "a.hk"), ECERT_TOKEN_SAME);
    assert_int_equal(stat(at("store/dcv/" HOST "/" FILE_NAME), &after), 0);
    assert_true(after.st_mtim.tv_sec > before.st_mtim.tv_sec);
    assert_int_equal(
        ecert_store_tokens(store, now, NULL, NULL, NULL, NULL, &tokens, &err),
        0);
    assert_int_equal(tokens.n, 1); /* and nothing of what is beside it */
    assert_true(tokens.tokens[0].expires >= now + ECERT_DCV_DAYS * 86400);
    ecert_tokens_free(&tokens);
    assert_int_equal(put_as("one", "b.hk"), ECERT_TOKEN_SAME);
    assert_false(is_there("store/dcv/" HOST "/." FILE_NAME ".saved"));
}

static void test_remove(void **state)
{
    (void)state;
    put_as("of a", "a.hk");
    put_as("of b", "b.hk");
    assert_int_equal(ecert_token_remove(store, HOST, FILE_NAME, &err), 1);
    assert_false(is_there("store/dcv/" HOST "/" FILE_NAME));
    assert_false(is_there("store/dcv/" HOST "/." FILE_NAME ".json"));
    assert_true(is_there("store/dcv/" HOST "/." FILE_NAME ".saved"));
    assert_int_equal(ecert_token_remove(store, HOST, FILE_NAME, &err), 0);
    assert_int_equal(ecert_token_remove(store, "b.hk", FILE_NAME, &err), 0);
    folders("store/dcv/c.hk/folder");
    assert_int_equal(ecert_token_remove(store, "c.hk", "folder", &err), -1);
    assert_err(&err, ECERT_ERR_SYSTEM);
}

static void test_refused(void **state)
{
    ecert_token_owner_t owner = {.site = "a.hk"};
    ecert_token_was_t was;
    char *large = calloc(1, ECERT_DCV_BODY_MAX + 2);

    (void)state;
    memset(large, 'x', ECERT_DCV_BODY_MAX + 1);
    folders("store/dcv/" HOST);
    put("store/dcv/" HOST "/" FILE_NAME, large);
    assert_int_equal(put_token(HOST, "one", "a.hk", &was), -1);
    assert_err(&err, ECERT_ERR_TOO_LARGE);
    free(large);
    unlink(at("store/dcv/" HOST "/" FILE_NAME));
    mkfifo(at("store/dcv/" HOST "/" FILE_NAME), 0644);
    assert_int_equal(put_token(HOST, "one", "a.hk", &was), -1);
    assert_err(&err, ECERT_ERR_NOT_FILE);
    unlink(at("store/dcv/" HOST "/" FILE_NAME));
    chmod(at("store/dcv/" HOST), 0777);
    assert_int_equal(put_token(HOST, "one", "a.hk", &was), -1);
    assert_err(&err, ECERT_ERR_UNSAFE);
    assert_int_equal(entries("store/dcv/" HOST), 0);
    put("store/dcv/b.hk", "a file");
    assert_int_equal(put_token("b.hk", "one", "a.hk", &was), -1);
    assert_err(&err, ECERT_ERR_SYSTEM);
    assert_int_equal(ecert_token_put(too_long_path(), HOST, FILE_NAME,
                                     (const unsigned char *)"x", 1, &owner, NOW,
                                     &was, &err),
                     -1);
    assert_int_equal(err.sys, ENAMETOOLONG);
    assert_int_equal(ecert_token_put(at("none"), HOST, FILE_NAME,
                                     (const unsigned char *)"x", 1, &owner, NOW,
                                     &was, &err),
                     -1);
    assert_err(&err, ECERT_ERR_MISSING);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, clean_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_put),  TEST(test_foreign), TEST(test_by_hand),
        TEST(test_same), TEST(test_remove),  TEST(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
