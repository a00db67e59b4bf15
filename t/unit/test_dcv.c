/* Validation files: hosts and paths in every odd shape, the table, damage. */

#include "scratch.h"

#include "ecert_dcv.h"
#include "ecert_snap.h"

static ecert_err_t err;

static void assert_host(const char *host, const char *want)
{
    char *copy = malloc(strlen(host) + 1); /* not terminated, exactly as long */
    char out[ECERT_DCV_HOST_MAX + 1];
    int rc;

    memcpy(copy, host, strlen(host));
    rc = ecert_dcv_host(copy, strlen(host), out);
    free(copy);
    if ((rc == 0) != (want != NULL)) {
        fail_msg("host \"%s\": %d", host, rc);
    }
    if (want != NULL) {
        assert_string_equal(out, want);
    }
}

static void test_hosts(void **state)
{
    static const char *const bad[] = {
        "",      ".",          "..",    ":",         ":80",  ".:80",
        "a b",   " a",         "a ",    "a\t",       "a\n",  "a\r",
        "a/b",   "a\\b",       "a@b",   "user@a.hk", "a?b",  "a#b",
        "a%2eb", "a,b",        "a;b",   "a'b",       "a\"b", "a<b",
        "a*b",   "*.a",        "[::1]", "[::1]:80",  "::1",  "a:80:90",
        "a:80 ", "a: 80",      "a:-1",  "a:+80",     "a:8x", "a:0x50",
        "a]",    "a:\xd9\xa8", ".a",    ".a:80",     "a..",  "a..:80",
        "a\x7f", "a\001b"};

    (void)state;
    assert_host("example.hk", "example.hk");
    assert_host("EXAMPLE.hK", "example.hk");
    assert_host("example.hk.", "example.hk");
    assert_host("example.hk.:8080", "example.hk");
    assert_host("Example.hk:443", "example.hk");
    assert_host("example.hk:", "example.hk");
    assert_host("example.hk:99999999999999999999", "example.hk");
    assert_host("a", "a");
    assert_host("a_b-c.0", "a_b-c.0");
    assert_host("192.0.2.1", "192.0.2.1");
    assert_host("XN--FIQS8S.hk", "xn--fiqs8s.hk");
    assert_host("\xe4\xb8\xad.HK", "\xe4\xb8\xad.hk");
    assert_host("\xc3\x89.hk", "\xc3\x89.hk"); /* bytes keep their case */
    assert_host("\x80\xff", "\x80\xff");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_host(bad[i], NULL);
    }
}

static void test_host_lengths(void **state)
{
    char host[400], out[ECERT_DCV_HOST_MAX + 2];

    (void)state;
    memset(host, 'A', sizeof(host));
    for (size_t len = 1; len < 300; len++) {
        memset(out, 'Z', sizeof(out));
        assert_int_equal(ecert_dcv_host(host, len, out), len <= 253 ? 0 : -1);
        assert_int_equal(out[ECERT_DCV_HOST_MAX + 1], 'Z');
        if (len <= 253) {
            assert_int_equal(strlen(out), len);
        }
    }
    host[253] = '.';
    assert_int_equal(ecert_dcv_host(host, 254, out), 0);
    memcpy(host + 253, ".:443", 5);
    assert_int_equal(ecert_dcv_host(host, 258, out), 0);
    assert_int_equal(strlen(out), 253);
    assert_int_equal(ecert_dcv_host("a\0b", 3, out), -1);
    assert_int_equal(ecert_dcv_host("a\0", 2, out), -1);
    assert_int_equal(ecert_dcv_host("a:8\0", 4, out), -1);
    assert_int_equal(ecert_dcv_host(NULL, 0, out), -1);
}

/* Every single byte at each place: what passes is one of the few. */
static void test_host_bytes(void **state)
{
    char out[ECERT_DCV_HOST_MAX + 1];

    (void)state;
    for (int c = 0; c < 256; c++) {
        char host[3] = {'a', (char)c, 'b'};
        int good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
                   || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'
                   || c >= 0x80;

        assert_int_equal(ecert_dcv_host(host, 3, out), good ? 0 : -1);
    }
}

static void assert_path(const char *path, const char *want)
{
    char *copy = malloc(strlen(path) + 1);
    const char *file;
    size_t len = 999;

    memcpy(copy, path, strlen(path));
    file = ecert_dcv_file(copy, strlen(path), &len);
    if ((file != NULL) != (want != NULL)) {
        fail_msg("path \"%s\"", path);
    }
    if (want != NULL) {
        assert_int_equal(len, strlen(want));
        assert_memory_equal(file, want, len);
    }
    free(copy);
}

static void test_paths(void **state)
{
    static const char *const bad[] = {
        "",
        "/",
        "/.well-known",
        "/.well-known/pki-validation",
        "/.well-known/pki-validation/",
        "/.well-known/pki-validation//a",
        "//.well-known/pki-validation/a",
        ".well-known/pki-validation/a",
        "/.well-known/pki-validation/.a",
        "/.well-known/pki-validation/..",
        "/.well-known/pki-validation/a/b",
        "/.well-known/pki-validation/a/",
        "/.well-known/pki-validation/a?x",
        "/.well-known/pki-validation/a;x",
        "/.well-known/pki-validation/a%2e",
        "/.well-known/pki-validation/a b",
        "/.well-known/pki-validation/a#",
        "/.well-known/pki-validation/a\\b",
        "/.well-known/pki-validation/\xe4\xb8\xad",
        "/.Well-known/pki-validation/a",
        "/.well-known/PKI-validation/a",
        "/.well-known/acme-challenge/a",
        "/x/.well-known/pki-validation/a",
        "/.well-known/pki-validation/a\n",
        "/.well-known/./pki-validation/a"};
    char path[400] = ECERT_DCV_PREFIX;
    size_t prefix = strlen(path), len;

    (void)state;
    assert_path(ECERT_DCV_PREFIX "gsdv.txt", "gsdv.txt");
    assert_path(ECERT_DCV_PREFIX "a", "a");
    assert_path(ECERT_DCV_PREFIX "A-z_0.9..txt", "A-z_0.9..txt");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_path(bad[i], NULL);
    }
    assert_null(ecert_dcv_file(ECERT_DCV_PREFIX "a\0b", prefix + 3, &len));
    memset(path + prefix, 'x', sizeof(path) - prefix);
    assert_non_null(ecert_dcv_file(path, prefix + ECERT_DCV_FILE_MAX, &len));
    assert_int_equal(len, ECERT_DCV_FILE_MAX);
    assert_null(ecert_dcv_file(path, prefix + ECERT_DCV_FILE_MAX + 1, &len));
}

static ecert_token_t token_of(const char *host, const char *file,
                              const char *body, int64_t expires)
{
    return (ecert_token_t){.host = host,
                           .file = file,
                           .body = (const unsigned char *)body,
                           .body_len = body ? strlen(body) : 0,
                           .expires = expires};
}

/* NULL: not there. */
static void assert_found(const unsigned char *table, size_t len,
                         const char *host, const char *file, const char *body)
{
    ecert_token_t token;
    int found = ecert_dcv_find(table, len, host, file, strlen(file), &token);

    if (found != (body != NULL)) {
        fail_msg("%s %s: %d", host, file, found);
    }
    if (body != NULL) {
        assert_int_equal(token.body_len, strlen(body));
        assert_memory_equal(token.body, body, token.body_len);
    }
}

static void test_prefixes(void **state)
{
    const ecert_token_t tokens[] = {
        token_of("a-b", "f", "2", 1), token_of("a.b", "f", "1", 1),
        token_of("a", "f", "0", 1),   token_of("ab", "f", "3", 1),
        token_of("a", "fa", "4", 1),  token_of("a", "f.b", "5", 1),
        token_of("a.b", "", "6", 1),  token_of("\xff", "f", "7", 1),
        token_of("a0", "f", NULL, 1),
    };
    size_t n = sizeof(tokens) / sizeof(tokens[0]), len;
    unsigned char *table;

    (void)state;
    assert_int_equal(ecert_dcv_encode(tokens, n, &table, &len, &err), 0);
    assert_int_equal(ecert_dcv_check(table, len, &err), 0);
    for (size_t i = 0; i + 1 < n; i++) {
        assert_found(table, len, tokens[i].host, tokens[i].file,
                     (const char *)tokens[i].body);
    }
    assert_found(table, len, "a0", "f", "");
    assert_found(table, len, "a", "f.", NULL);
    assert_found(table, len, "", "f", NULL);
    assert_found(table, len, "a", "", NULL);
    assert_found(table, len, "af", "", NULL);
    assert_found(table, len, "a.", "bf", NULL);
    assert_found(table, len, "zzz", "f", NULL);
    assert_found(table, len, "A", "f", NULL);
    ecert_snap_free(table, len);
}

static void test_doubles(void **state)
{
    const ecert_token_t tokens[] = {
        token_of("a", "f", "first", 1), token_of("b", "f", "other", 9),
        token_of("a", "f", "second", 2), token_of("a", "f", "third", 3)};
    ecert_token_t token;
    unsigned char *table;
    uint32_t count;
    size_t len;

    (void)state;
    assert_int_equal(ecert_dcv_encode(tokens, 4, &table, &len, &err), 0);
    memcpy(&count, table, 4);
    assert_int_equal(count, 2);
    assert_found(table, len, "a", "f", "third");
    assert_int_equal(ecert_dcv_find(table, len, "a", "f", 1, &token), 1);
    assert_int_equal(token.expires, 3);
    ecert_snap_free(table, len);
}

static void test_unfit(void **state)
{
    static char host[300], file[300];
    ecert_token_t tokens[] = {
        token_of("", "f", "x", 1), token_of(host, "f", "x", 1),
        token_of("a", file, "x", 1), token_of("big", "f", "x", 1),
        token_of("good", "f", "x", 1)};
    unsigned char *table, *body = calloc(1, ECERT_DCV_BODY_MAX + 1);
    size_t len;

    (void)state;
    memset(host, 'h', 254);
    memset(file, 'f', 256);
    tokens[3].body = body;
    tokens[3].body_len = ECERT_DCV_BODY_MAX + 1;
    assert_int_equal(ecert_dcv_encode(tokens, 5, &table, &len, &err), 0);
    assert_int_equal(ecert_dcv_check(table, len, &err), 0);
    assert_found(table, len, "good", "f", "x");
    assert_found(table, len, "big", "f", NULL);
    assert_found(table, len, host, "f", NULL);
    assert_found(table, len, "a", file, NULL);
    ecert_snap_free(table, len);
    host[253] = '\0';
    file[255] = '\0';
    tokens[3].body_len = ECERT_DCV_BODY_MAX;
    tokens[2].host = host;
    assert_int_equal(ecert_dcv_encode(tokens, 5, &table, &len, &err), 0);
    assert_int_equal(ecert_dcv_check(table, len, &err), 0);
    assert_found(table, len, host, file, "x");
    assert_found(table, len, host, "f", "x");
    ecert_snap_free(table, len);
    free(body);
}

/* A table that nobody here wrote: all of it is there, but a body is longer than
 * any that was put in. */
static void test_forged_body(void **state)
{
    const size_t at_len = 8 + 3 * sizeof(uint32_t); /* of the first entry */
    unsigned char *table, *bad, *body = calloc(1, ECERT_DCV_BODY_MAX);
    ecert_token_t token = token_of("a", "f", "", 1);
    uint32_t told = 0;
    size_t len;

    (void)state;
    token.body = body;
    token.body_len = ECERT_DCV_BODY_MAX;
    assert_int_equal(ecert_dcv_encode(&token, 1, &table, &len, &err), 0);
    memcpy(&told, table + at_len, sizeof(told));
    assert_int_equal(told, ECERT_DCV_BODY_MAX);
    bad = calloc(1, len + 1);
    memcpy(bad, table, len);
    assert_int_equal(ecert_dcv_check(bad, len + 1, &err), 0);
    told++;
    memcpy(bad + at_len, &told, sizeof(told));
    assert_int_equal(ecert_dcv_check(bad, len + 1, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_SNAPSHOT);
    free(bad);
    ecert_snap_free(table, len);
    free(body);
}

/* A body of which a part lies behind the table. */
static void test_body_outside(void **state)
{
    const size_t at_len = 8 + 3 * sizeof(uint32_t); /* of the first entry */
    ecert_token_t token = token_of("a", "f", "body", 1);
    unsigned char *table;
    uint32_t told = 5;
    size_t len;

    (void)state;
    assert_int_equal(ecert_dcv_encode(&token, 1, &table, &len, &err), 0);
    memcpy(table + at_len, &told, sizeof(told));
    assert_int_equal(ecert_dcv_check(table, len, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_SNAPSHOT);
    ecert_snap_free(table, len);
}

static void test_empty(void **state)
{
    unsigned char *table;
    size_t len;

    (void)state;
    assert_int_equal(ecert_dcv_encode(NULL, 0, &table, &len, &err), 0);
    assert_int_equal(ecert_dcv_check(table, len, &err), 0);
    assert_found(table, len, "a", "f", NULL);
    ecert_snap_free(table, len);
    assert_int_equal(ecert_dcv_check((const unsigned char *)"", 0, &err), -1);
    assert_int_equal(ecert_dcv_check((const unsigned char *)"1234567", 7, &err),
                     -1);
    assert_int_equal(err.code, ECERT_ERR_SNAPSHOT);
}

static void test_many(void **state)
{
    enum {
        N = 10000
    };
    ecert_token_t *tokens = calloc(N, sizeof(*tokens));
    char(*hosts)[32] = calloc(N, sizeof(*hosts));
    unsigned char *table;
    size_t len;

    (void)state;
    for (int i = 0; i < N; i++) {
        int shuffled = (int)((long)i * 7919 % N);

        snprintf(hosts[i], 32, "%.*s%d%s.hk", shuffled % 5, "aaaaa", shuffled,
                 shuffled % 3 ? "-x" : "");
        tokens[i] = token_of(hosts[i], "f.txt", hosts[i], 5);
    }
    assert_int_equal(ecert_dcv_encode(tokens, N, &table, &len, &err), 0);
    assert_int_equal(ecert_dcv_check(table, len, &err), 0);
    for (int i = 0; i < N; i++) {
        assert_found(table, len, hosts[i], "f.txt", hosts[i]);
        hosts[i][0] ^= 1;
        if (i % 7 == 0) { /* some of those exist, with their own name inside */
            ecert_token_t token;

            if (ecert_dcv_find(table, len, hosts[i], "f.txt", 5, &token)) {
                assert_memory_equal(token.body, hosts[i], token.body_len);
            }
        }
        hosts[i][0] ^= 1;
    }
    ecert_snap_free(table, len);
    free(hosts);
    free(tokens);
}

/* A table that passes the check is safe to search, whatever is in it. */
static void test_damage(void **state)
{
    static const uint32_t words[] = {
        0, 1, 8, 255, 65536, 65537, 0x7fffffff, 0xfffffff0, 0xffffffff};
    ecert_token_t tokens[20];
    char hosts[20][16];
    unsigned char *table, *bad;
    unsigned seed = 21;
    int passed = 0;
    size_t len;

    (void)state;
    for (int i = 0; i < 20; i++) {
        snprintf(hosts[i], sizeof(hosts[i]), "h%d", i);
        tokens[i] = token_of(hosts[i], "f", "body", 1);
    }
    assert_int_equal(ecert_dcv_encode(tokens, 20, &table, &len, &err), 0);
    for (int i = 0; i < 20000; i++) {
        size_t cut = i % 4 == 0 ? (size_t)rand_r(&seed) % (len + 1) : len;

        bad = malloc(cut ? cut : 1);
        memcpy(bad, table, cut);
        for (int hit = i % 3; hit >= 0 && cut > 8; hit--) {
            size_t at_word = (size_t)rand_r(&seed) % (cut / 4 - 1) * 4;

            memcpy(bad + at_word, &words[(unsigned)rand_r(&seed) % 9], 4);
        }
        if (ecert_dcv_check(bad, cut, &err) == 0) {
            ecert_token_t token;
            unsigned sum = 0;

            passed++;
            for (int j = 0; j < 20; j++) {
                if (ecert_dcv_find(bad, cut, hosts[j], "f", 1, &token)) {
                    for (size_t k = 0; k < token.body_len; k++) {
                        sum += token.body[k];
                    }
                }
            }
            assert_int_not_equal(sum, 1);
        } else {
            assert_int_equal(err.code, ECERT_ERR_SNAPSHOT);
        }
        free(bad);
    }
    assert_true(passed > 0);
    ecert_snap_free(table, len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),       cmocka_unit_test(test_host_lengths),
        cmocka_unit_test(test_host_bytes),  cmocka_unit_test(test_paths),
        cmocka_unit_test(test_prefixes),    cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_unfit),       cmocka_unit_test(test_empty),
        cmocka_unit_test(test_many),        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_forged_body), cmocka_unit_test(test_body_outside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
