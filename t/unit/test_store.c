#include "scratch.h"

#include <time.h>

#include "ecert_store.h"

#define DAY INT64_C(86400)

#define IDN         "xn--fiqs8s.example.hk"
#define IDN_UNICODE "\xe4\xb8\xad\xe5\x9b\xbd.example.hk"

static ecert_err_t err;

static int has_dir(const ecert_trail_t *trail, const char *dir)
{
    for (size_t i = 0; i < trail->n_dirs; i++) {
        if (strcmp(trail->dirs[i], dir) == 0) {
            return 1;
        }
    }
    return 0;
}

static mode_t mode_of(const char *name)
{
    struct stat st;

    assert_int_equal(stat(at(name), &st), 0);
    return st.st_mode & 07777;
}

static void test_prepare(void **state)
{
    (void)state;
    umask(077);
    assert_int_equal(ecert_store_prepare(at("s"), &err), 0);
    assert_int_equal(mode_of("s"), 0700);
    assert_int_equal(mode_of("s/issuers"), 0755);
    assert_int_equal(mode_of("s/sites"), 0700);
    assert_int_equal(mode_of("s/dcv"), 0755);
    assert_int_equal(mode_of("s/placeholder"), 0700);
    chmod(at("s/sites"), 0750);
    rmdir(at("s/placeholder"));
    assert_int_equal(ecert_store_prepare(at("s"), &err), 0);
    assert_int_equal(mode_of("s/sites"), 0750);
    assert_int_equal(mode_of("s/placeholder"), 0700);
    assert_int_not_equal(access(at("s/run"), F_OK), 0); /* the agent's */
    chmod(at("s"), 0777);
    assert_int_equal(ecert_store_prepare(at("s"), &err), -1);
    assert_int_equal(err.code, ECERT_ERR_UNSAFE);
    assert_non_null(strstr(err.hint, "chmod go-w"));
    chmod(at("s"), 0700);
    assert_int_equal(ecert_store_prepare(at("no/s"), &err), -1);
    assert_int_equal(err.code, ECERT_ERR_MISSING);
}

static void assert_site(const char *ascii, const char *folder)
{
    char path[PATH_MAX];

    if (ecert_store_site(scratch, ascii, NULL, path, &err) != 0) {
        fail_msg("%s: %s", ascii, ecert_err_word(err.code));
    }
    assert_string_equal(path, at(folder));
}

static void test_site_spellings(void **state)
{
    (void)state;
    folders("sites/www.example.hk");
    folders("sites/WWW.Example.HK");
    assert_site("www.example.hk", "sites/www.example.hk");
    folders("sites/Shop.Example.HK");
    assert_site("shop.example.hk", "sites/Shop.Example.HK");
    folders("sites/" IDN_UNICODE);
    assert_site(IDN, "sites/" IDN_UNICODE);
    folders("sites/" IDN);
    assert_site(IDN, "sites/" IDN);
    folders("sites/*.example.hk");
    assert_site("*.example.hk", "sites/*.example.hk");
    folders("sites/_.example.hk");
    assert_site("*.example.hk", "sites/_.example.hk");
}

static void test_site_missing(void **state)
{
    ecert_trail_t trail;
    uint64_t before;
    char path[PATH_MAX];

    (void)state;
    ecert_trail_init(&trail);
    assert_int_equal(ecert_store_site(scratch, "a.hk", &trail, path, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_NO_SITE);
    assert_true(has_dir(&trail, scratch));
    ecert_trail_free(&trail);
    folders("sites");
    put("sites/a.hk", "not a folder");
    assert_int_equal(ecert_store_site(scratch, "a.hk", &trail, path, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_NO_SITE);
    assert_string_equal(err.file, at("sites/a.hk"));
    assert_true(has_dir(&trail, at("sites")));
    before = trail.digest;
    ecert_trail_free(&trail);
    unlink(at("sites/a.hk"));
    folders("sites/a.hk");
    assert_int_equal(ecert_store_site(scratch, "a.hk", &trail, path, &err), 0);
    assert_true(has_dir(&trail, at("sites/a.hk")));
    assert_false(has_dir(&trail, at("sites")));
    assert_true(trail.digest != before);
    ecert_trail_free(&trail);
    chmod(at("sites/a.hk"), 0777);
    assert_int_equal(ecert_store_site(scratch, "a.hk", &trail, path, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_UNSAFE);
    assert_true(has_dir(&trail, at("sites/a.hk")));
    ecert_trail_free(&trail);
}

static void test_sites(void **state)
{
    static const char *const expected[] = {"*.a.hk", "b.hk", IDN};
    char **names;
    size_t n;

    (void)state;
    assert_int_equal(ecert_store_sites(at("no"), &names, &n, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_MISSING);
    assert_int_equal(ecert_store_sites(scratch, &names, &n, &err), 0);
    assert_int_equal(n, 0);
    ecert_names_free(names, n);
    folders("sites/" IDN_UNICODE);
    folders("sites/" IDN);
    folders("sites/B.hk");
    folders("sites/_.a.hk");
    folders("sites/not a name");
    put("sites/readme.txt", "");
    chmod(at("sites/B.hk"), 0777); /* may not be used, but is no absent one */
    assert_int_equal(ecert_store_sites(scratch, &names, &n, &err), 0);
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(names[i], expected[i]);
    }
    ecert_names_free(names, n);
}

static void test_generations(void **state)
{
    static const struct {
        const char *target;
        int64_t number;
    } links[] = {
        {"generations/10", 10},
        {"generations/2/", 2},
        {"./generations//2", 2},
        {"/x/y/generations/7", 7},
        {"generations/02", -1},
        {"elsewhere/2", -1},
        {"mygenerations/2", -1},
        {"generations/x", -1},
        {"2", -1},
        {"generations/", -1},
        {"generations/9999999999999999999", -1},
    };
    uint64_t *numbers, last = 0;
    size_t n;
    int64_t current;
    ecert_trail_t trail;

    (void)state;
    assert_int_equal(
        ecert_store_generations(scratch, NULL, &numbers, &n, &current, &err),
        0);
    assert_int_equal(n, 0);
    assert_int_equal(current, -1);
    free(numbers);
    folders("generations/2");
    folders("generations/10");
    folders("generations/1");
    folders("generations/07");
    folders("generations/3.tmp");
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        unlink(at("current"));
        put_link(links[i].target, "current");
        ecert_trail_init(&trail);
        assert_int_equal(ecert_store_generations(scratch, &trail, &numbers, &n,
                                                 &current, &err),
                         0);
        assert_int_equal(n, 3);
        assert_int_equal(numbers[0], 10);
        assert_int_equal(numbers[1], 2);
        assert_int_equal(numbers[2], 1);
        assert_int_equal(current, links[i].number);
        assert_true(has_dir(&trail, scratch));
        assert_true(has_dir(&trail, at("generations")));
        assert_true(trail.digest != last);
        last = trail.digest;
        ecert_trail_free(&trail);
        free(numbers);
    }
    unlink(at("current"));
    folders("current");
    assert_int_equal(
        ecert_store_generations(scratch, NULL, &numbers, &n, &current, &err),
        0);
    assert_int_equal(current, -1);
    free(numbers);
}

static int json(const char *text, ecert_site_json_t *out)
{
    put("site.json", text);
    return ecert_store_json(scratch, "www.example.hk", NULL, out, &err);
}

static void test_json(void **state)
{
    ecert_site_json_t out;
    ecert_trail_t trail;

    (void)state;
    ecert_trail_init(&trail);
    folders("sites/a.hk");
    assert_int_equal(
        ecert_store_json(at("sites/a.hk"), "a.hk", &trail, &out, &err), 0);
    assert_int_equal(out.n_names, 1);
    assert_string_equal(out.names[0], "a.hk");
    assert_null(out.catalogue);
    assert_int_equal(out.cross.kind, ECERT_CROSS_UNSET);
    assert_true(has_dir(&trail, at("sites/a.hk")));
    ecert_site_json_free(&out);
    put("sites/a.hk/site.json", "{}");
    assert_int_equal(
        ecert_store_json(at("sites/a.hk"), "a.hk", &trail, &out, &err), 0);
    assert_int_equal(trail.n_dirs, 1); /* not sites/, see read_file */
    ecert_trail_free(&trail);
    ecert_site_json_free(&out);

    assert_int_equal(
        json("\xef\xbb\xbf{\"names\": [\"Z.hk\", \"" IDN_UNICODE "\", "
             "\"WWW.example.hk.\", \"z.hk\", \"*.b.hk\"],"
             " \"catalogue\": \"/etc/other.json\", \"future\": [1, null],"
             " \"subject\": {\"O\": \"x\"},"
             " \"policy\": {\"cross_certificate\": \"until=2027-04-15\"}}",
             &out),
        0);
    assert_int_equal(out.n_names, 4);
    assert_string_equal(out.names[0], "www.example.hk");
    assert_string_equal(out.names[1], "*.b.hk");
    assert_string_equal(out.names[2], IDN);
    assert_string_equal(out.names[3], "z.hk");
    assert_string_equal(out.catalogue, "/etc/other.json");
    assert_int_equal(out.cross.kind, ECERT_CROSS_UNTIL);
    ecert_site_json_free(&out);
    assert_int_equal(json("{}", &out), 0);
    assert_int_equal(out.n_names, 1);
    ecert_site_json_free(&out);
}

static void test_json_refused(void **state)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"{\n  \"names\": [,]}", "line 2, column 13"},
        {"{\"names\": [\"a.hk\"]", "line 1"},
        {"{\"names\": [], \"names\": []}", "duplicate"},
        {"[]", "not a JSON object"},
        {"null", "not a JSON object"},
        {"{\"names\": \"a.hk\"}", "\"names\" is not an array of strings"},
        {"{\"names\": [1]}", "element 1 is not a string"},
        {"{\"names\": [\"a.hk\", \"b\\u0000.hk\"]}", "element 2"},
        {"{\"names\": [\"a b\"]}", "\"a b\" is not a host name"},
        {"{\"names\": [\"\"]}", "\"names\""},
        {"{\"catalogue\": 1}", "\"catalogue\" is not an absolute path"},
        {"{\"catalogue\": \"x.json\"}", "\"catalogue\""},
        {"{\"policy\": []}", "\"policy\" is not an object"},
        {"{\"policy\": {\"cross_certificate\": true}}",
         "\"policy.cross_certificate\" is not a string"},
        {"{\"policy\": {\"cross_certificate\": \"perhaps\"}}",
         "\"policy.cross_certificate\": \"perhaps\""},
        {"{\"policy\": {\"cross_certificate\": \"until=2027-02-30\"}}",
         "\"policy.cross_certificate\""},
        {"{\"subject\": \"x\"}", "\"subject\" is not an object"},
    };
    ecert_site_json_t out;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(json(cases[i].text, &out), -1);
        assert_int_equal(err.code, ECERT_ERR_SITE);
        assert_string_equal(err.file, at("site.json"));
        if (strstr(err.detail, cases[i].expected) == NULL) {
            fail_msg("%s: %s", cases[i].text, err.detail);
        }
    }
    assert_int_equal(json("", &out), -1);
    assert_int_equal(err.code, ECERT_ERR_EMPTY);
    chmod(at("site.json"), 0666);
    assert_int_equal(json("{}", &out), -1);
    assert_int_equal(err.code, ECERT_ERR_UNSAFE);
}

/* What was complained about: code and file of each, in order. */
typedef struct {
    size_t n;
    ecert_err_t errs[32];
} complaints_t;

static void complain(void *ctx, const ecert_err_t *why)
{
    complaints_t *all = ctx;

    if (all->n < 32) {
        all->errs[all->n] = *why;
    }
    all->n++;
}

static const ecert_err_t *complaint(const complaints_t *all, const char *name)
{
    for (size_t i = 0; i < all->n && i < 32; i++) {
        if (strcmp(all->errs[i].file, at(name)) == 0) {
            return &all->errs[i];
        }
    }
    return NULL;
}

static void assert_complaint(const complaints_t *all, const char *name,
                             ecert_code_t code)
{
    const ecert_err_t *why = complaint(all, name);

    if (why == NULL) {
        fail_msg("no word about %s", name);
        return;
    }
    assert_string_equal(ecert_err_word(why->code), ecert_err_word(code));
}

static const ecert_token_t *token(const ecert_tokens_t *all, const char *host,
                                  const char *file)
{
    const ecert_token_t *found = NULL;

    for (size_t i = 0; i < all->n; i++) {
        if (strcmp(all->tokens[i].host, host) == 0
            && strcmp(all->tokens[i].file, file) == 0) {
            found = &all->tokens[i];
        }
    }
    return found;
}

static void set_time(const char *name, int64_t seconds)
{
    struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};

    assert_int_equal(utimensat(AT_FDCWD, at(name), times, 0), 0);
}

static void load(int64_t now, complaints_t *all, ecert_tokens_t *tokens,
                 ecert_trail_t *trail)
{
    all->n = 0;
    if (ecert_store_tokens(scratch, now, NULL, trail, complain, all, tokens,
                           &err)
        != 0) {
        fail_msg("%s", err.detail);
    }
}

static void test_tokens(void **state)
{
    int64_t now = (int64_t)time(NULL);
    complaints_t all;
    ecert_tokens_t tokens;
    ecert_trail_t trail;
    const ecert_token_t *one;

    (void)state;
    load(now, &all, &tokens, NULL);
    assert_int_equal(tokens.n + all.n, 0);
    folders("dcv/WWW.example.hk");
    folders("dcv/" IDN_UNICODE);
    put("dcv/WWW.example.hk/fileauth.txt", "code");
    put_bytes("dcv/" IDN_UNICODE "/A-b_1.txt", "a\0b\n", 4);
    set_time("dcv/WWW.example.hk/fileauth.txt", now - 10 * DAY);
    ecert_trail_init(&trail);
    load(now, &all, &tokens, &trail);
    assert_int_equal(all.n, 0);
    assert_int_equal(tokens.n, 3);
    one = token(&tokens, "www.example.hk", "fileauth.txt");
    assert_non_null(one);
    assert_int_equal(one->body_len, 4);
    assert_memory_equal(one->body, "code", 4);
    assert_int_equal(one->expires, now + 20 * DAY);
    assert_int_equal(tokens.next_change, now + 20 * DAY);
    one = token(&tokens, IDN, "A-b_1.txt");
    assert_non_null(one);
    assert_memory_equal(one->body, "a\0b\n", 4);
    assert_non_null(token(&tokens, IDN_UNICODE, "A-b_1.txt"));
    assert_true(has_dir(&trail, at("dcv")));
    assert_true(has_dir(&trail, at("dcv/WWW.example.hk")));
    assert_true(has_dir(&trail, at("dcv/" IDN_UNICODE)));
    assert_int_equal(trail.n_dirs, 3);
    ecert_trail_free(&trail);
    ecert_tokens_free(&tokens);
    load(now + 20 * DAY - 1, &all, &tokens, NULL);
    assert_int_equal(tokens.n, 3);
    ecert_tokens_free(&tokens);
    load(now + 20 * DAY, &all, &tokens, NULL);
    assert_int_equal(tokens.n, 2);
    assert_int_equal(all.n, 0);
    assert_int_equal(tokens.n_over, 1);
    assert_int_equal(ecert_tokens_over(&tokens, &err), 0);
    ecert_tokens_free(&tokens);
    set_time("dcv/WWW.example.hk/fileauth.txt", now + 1000 * DAY);
    load(now + 31 * DAY, &all, &tokens, NULL);
    assert_int_equal(tokens.n, 0);
    assert_int_equal(tokens.next_change, 0);
    ecert_tokens_free(&tokens);
}

/* Copied with a time of change that was old already: not answered, but told. */
static void test_tokens_over(void **state)
{
    int64_t now = (int64_t)time(NULL);
    complaints_t all;
    ecert_tokens_t tokens;
    char name[32];

    (void)state;
    folders("dcv/A.hk");
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "dcv/A.hk/%d", i);
        put(name, "code");
        set_time(name, i == 3 ? 315532800 : now - 29 * DAY);
    }
    load(now, &all, &tokens, NULL);
    assert_int_equal(tokens.n, 4);
    assert_int_equal(tokens.n_over, 1);
    assert_string_equal(tokens.over[0].host, "a.hk");
    assert_string_equal(tokens.over[0].file, "3");
    assert_string_equal(tokens.over[0].path, at("dcv/A.hk/3"));
    assert_int_equal(tokens.over[0].expires, 315532800 + 30 * DAY);
    assert_int_equal(tokens.over[0].len, 4);
    assert_int_equal(ecert_tokens_over(&tokens, &err), 1);
    assert_int_equal(err.code, ECERT_ERR_TOKEN);
    assert_string_equal(err.file, at("dcv/A.hk/3"));
    assert_non_null(strstr(err.detail, "1980-01-01"));
    ecert_tokens_free(&tokens);
    load(now + 2 * DAY, &all, &tokens, NULL);
    assert_int_equal(tokens.n_over, 5);
    assert_int_equal(ecert_tokens_over(&tokens, &err), 1); /* it comes first */
    assert_string_equal(err.file, at("dcv/A.hk/3"));
    assert_non_null(strstr(err.detail, "of 4 more"));
    for (int i = 0; i < 5; i++) { /* one of them, too, and put after it */
        if (strcmp(tokens.over[i].file, "1") == 0) {
            tokens.over[i].came = tokens.over[i].expires + 1;
        }
    }
    assert_int_equal(ecert_tokens_over(&tokens, &err), 2);
    assert_string_equal(err.file, at("dcv/A.hk/1"));
    assert_int_equal(all.n, 0);
    ecert_tokens_free(&tokens);
    assert_int_equal(ecert_tokens_over(&tokens, &err), -1);
}

/* One host in two spellings: what was put later is the last, so it counts. */
static void test_tokens_twice(void **state)
{
    int64_t now = (int64_t)time(NULL);
    complaints_t all;
    ecert_tokens_t tokens;

    (void)state;
    folders("dcv/A.hk");
    folders("dcv/a.hk");
    put("dcv/A.hk/f", "new");
    put("dcv/a.hk/f", "old");
    set_time("dcv/a.hk/f", now - 100);
    load(now, &all, &tokens, NULL);
    assert_int_equal(tokens.n, 2);
    assert_memory_equal(token(&tokens, "a.hk", "f")->body, "new", 3);
    ecert_tokens_free(&tokens);
}

static void test_tokens_refused(void **state)
{
    static char big[ECERT_DCV_BODY_MAX + 1];
    complaints_t all;
    ecert_tokens_t tokens;

    (void)state;
    folders("dcv/a.hk/folder");
    folders("dcv/_.a.hk");
    folders("dcv/not a host");
    put("dcv/loose.txt", "x");
    put("dcv/.hidden", "x");
    put("dcv/_.a.hk/f", "x");
    put("dcv/a.hk/good", "x");
    put("dcv/a.hk/sp ace", "x");
    put("dcv/a.hk/a\xff", "x");
    put("dcv/a.hk/empty", "");
    put("dcv/a.hk/good~", "x");
    put("dcv/a.hk/.good.swp", "x");
    put("dcv/a.hk/good.tmp", "x");
    put("dcv/a.hk/#good#", "x");
    put("dcv/a.hk/open", "x");
    chmod(at("dcv/a.hk/open"), 0666);
    assert_int_equal(mkfifo(at("dcv/a.hk/fifo"), 0644), 0);
    put_bytes("dcv/a.hk/full", big, sizeof(big) - 1);
    put_bytes("dcv/a.hk/big", big, sizeof(big));
    load((int64_t)time(NULL), &all, &tokens, NULL);
    assert_int_equal(tokens.n, 2);
    assert_non_null(token(&tokens, "a.hk", "good"));
    assert_int_equal(token(&tokens, "a.hk", "full")->body_len,
                     ECERT_DCV_BODY_MAX);
    assert_int_equal(all.n, 10);
    assert_complaint(&all, "dcv/_.a.hk", ECERT_ERR_TOKEN);
    assert_complaint(&all, "dcv/not a host", ECERT_ERR_TOKEN);
    assert_complaint(&all, "dcv/loose.txt", ECERT_ERR_TOKEN);
    assert_complaint(&all, "dcv/a.hk/sp ace", ECERT_ERR_TOKEN);
    assert_complaint(&all, "dcv/a.hk/empty", ECERT_ERR_CHANGING);
    assert_complaint(&all, "dcv/a.hk/open", ECERT_ERR_UNSAFE);
    assert_complaint(&all, "dcv/a.hk/fifo", ECERT_ERR_NOT_FILE);
    assert_complaint(&all, "dcv/a.hk/folder", ECERT_ERR_NOT_FILE);
    assert_complaint(&all, "dcv/a.hk/big", ECERT_ERR_TOO_LARGE);
    ecert_tokens_free(&tokens);
}

/* The table is published whole or not at all, so it must fit. */
static void test_tokens_many(void **state)
{
    static char big[ECERT_DCV_BODY_MAX];
    char name[64];
    complaints_t all;
    ecert_tokens_t tokens;
    size_t bytes = 0;

    (void)state;
    folders("dcv/a.hk");
    for (int i = 0; i < 80; i++) {
        snprintf(name, sizeof(name), "dcv/a.hk/f%d", i);
        put_bytes(name, big, sizeof(big));
    }
    load((int64_t)time(NULL), &all, &tokens, NULL);
    assert_int_equal(all.n, 1);
    assert_int_equal(all.errs[0].code, ECERT_ERR_TOO_MANY);
    assert_true(tokens.n > 50 && tokens.n < 64);
    for (size_t i = 0; i < tokens.n; i++) {
        bytes += tokens.tokens[i].body_len;
    }
    assert_true(bytes < 4 * 1024 * 1024);
    ecert_tokens_free(&tokens);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_prepare),      TEST(test_site_spellings),
        TEST(test_site_missing), TEST(test_sites),
        TEST(test_generations),  TEST(test_json),
        TEST(test_json_refused), TEST(test_tokens),
        TEST(test_tokens_twice), TEST(test_tokens_refused),
        TEST(test_tokens_many),  TEST(test_tokens_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
