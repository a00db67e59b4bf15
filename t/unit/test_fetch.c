/* Downloads: what is asked for, and answers that no server should give. */

#include "fetches.h"

static void test_good(void **state)
{
    static const char *const rows[][2] = {
        {"/good", "hello"},        {"/page", "<html>hi</html>"},
        {"/chunked", "hello"},     {"/gzip", "\x1f\x8bzz"},
        {"/continue", "hello"},    {"/1", "hello"},
        {"/2", "hello"},           {"/2?query", "hello"},
        {"/302-endless", "hello"}, {"/to308?/good", "hello"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        ecert_fetch_t what = request(url_of(rows[i][0]));

        fetch_ok(&what, rows[i][1]);
    }
}

/* Nothing in it comes from the environment that main() makes. */
static void test_request(void **state)
{
    static const char *const absent[] = {
        "Expect", "Cookie",  "Accept-Encoding",  "Authorization", "Proxy",
        "Via",    "Upgrade", "\r\nTE:",          "Referer",       "If-",
        "Range",  "Forward", "Content-Encoding", "secret",
    };
    ecert_fetch_t what = request(url_of("/echo?a=b#c"));
    char *text = echo(&what), host[64];

    (void)state;
    snprintf(host, sizeof(host), "\r\nHost: 127.0.0.1:%u\r\n", server.port);
    assert_memory_equal(text, "GET /echo?a=b HTTP/1.1\r\n", 24);
    assert_non_null(strstr(text, host));
    assert_non_null(strstr(text, "\r\nUser-Agent: ecert/0."));
    for (size_t i = 0; i < COUNT(absent); i++) {
        if (strstr(text, absent[i]) != NULL) {
            fail_msg("%s in %s", absent[i], text);
        }
    }
    free(text);
}

static void test_post(void **state)
{
    ecert_fetch_t what = post_request(url_of("/echo"));
    ecert_fetch_got_t out;

    (void)state;
    assert_int_equal(ecert_fetch(&what, &out, &err), 0);
    assert_memory_equal(out.bytes, "POST /echo HTTP/1.1\r\n", 21);
    assert_memory_equal(out.bytes + out.len - 8, "\r\n\r\n\0\xff=1", 8);
    out.bytes[out.len - 4] = '\0';
    assert_non_null(strstr((char *)out.bytes,
                           "\r\nContent-Type: application/ocsp-request\r\n"));
    assert_non_null(strstr((char *)out.bytes, "\r\nContent-Length: 4\r\n"));
    assert_null(strstr((char *)out.bytes, "urlencoded"));
    assert_null(strstr((char *)out.bytes, "Expect"));
    free(out.bytes);
}

/* More than fits on the way, to a server that hangs up: no SIGPIPE. */
static void test_post_refused(void **state)
{
    ecert_fetch_t what = post_request(url_of("/nothing"));
    unsigned char *bytes = calloc(1, 30 * 1000 * 1000);

    (void)state;
    what.post = bytes;
    what.post_len = 30 * 1000 * 1000;
    fetch_bad(&what, "");
    free(bytes);
}

static void test_url(void **state)
{
    static const char *const rows[][2] = {
        {"", "http://"},
        {"example.hk", "http://"},
        {"//127.0.0.1/good", "http://"},
        {"file:///etc/passwd", "http://"},
        {"FILE:///etc/passwd", "http://"},
        {"ftp://127.0.0.1/", "http://"},
        {"gopher://127.0.0.1/", "http://"},
        {"dict://127.0.0.1/", "http://"},
        {"javascript:alert(1)", "http://"},
        {"ldap://127.0.0.1/", "http://"},
        {"unix:/run/x", "http://"},
        {"http:/127.0.0.1/", "http://"},
        {"http:127.0.0.1", "http://"},
        {"httpx://127.0.0.1/", "http://"},
        {"http://", "no host"},
        {"http:///good", "no host"},
        {"http://?x", "no host"},
        {"http://user@127.0.0.1/", "user or a password"},
        {"http://user:password@127.0.0.1/", "user or a password"},
        {"https://:@127.0.0.1/", "user or a password"},
        {"http://127.0.0.1\\@example.hk/", "sign"},
        {"http://127.0.0.1/ x", "sign"},
        {" http://127.0.0.1/", "sign"},
        {"http://127.0.0.1/\r\nX: y", "sign"},
        {"http://127.0.0.1/\n", "sign"},
        {"http://127.0.0.1/\t", "sign"},
        {"http://127.0.0.1/\x7f", "sign"},
        {"http://\xe2\x80\xae.hk/", "sign"},
        {"http://127.0.0.1:99999/", "Port"},
        {"http://127.0.0.1:x/", "Port"},
        {"http://[::1/", "IPv6"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        ecert_fetch_t what = request(rows[i][0]);

        fetch_bad(&what, rows[i][1]);
    }
}

static void test_url_length(void **state)
{
    char path[3000] = "/good?";
    size_t start = strlen(url_of(""));
    ecert_fetch_t what;

    (void)state;
    memset(path + 6, 'x', sizeof(path) - 7);
    path[2048 - start] = '\0';
    what = request(url_of(path));
    assert_int_equal(strlen(what.url), 2048);
    fetch_ok(&what, "hello");
    path[2048 - start] = 'x';
    path[2049 - start] = '\0';
    what = request(url_of(path));
    fetch_bad(&what, "2,048");
}

static void test_status(void **state)
{
    static const char *const rows[] = {"101", "201", "204", "206", "300",
                                       "304", "401", "404", "407", "500"};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char path[16], words[32];
        ecert_fetch_t what;

        snprintf(path, sizeof(path), "/%s", rows[i]);
        snprintf(words, sizeof(words), "status %s", rows[i]);
        what = request(url_of(path));
        fetch_bad(&what, words);
    }
}

static void test_hostile(void **state)
{
    static const char *const rows[][2] = {
        {"/nothing", "there is no answer"},
        {"/empty", "the body is empty"},
        {"/dropped", "shorter than announced"},
        {"/cut", "shorter than announced"},
        {"/cut-chunks", "shorter than announced"},
        {"/reset", "cannot be received"},
        {"/headers", "more than 64 KiB"},
        {"/header", "a header is too large"},
        {"/continues", "more than 64 KiB"},
        {"/trailers", "more than 64 KiB"},
        {"/body", "more than 100000 bytes"},
        {"/chunks", "more than 100000 bytes"},
        {"/10GB", "more than 100000 bytes"},
        {"/huge", "more than 100000 bytes"},
        {"/negative", ""},
        {"/bad-chunks", ""},
        {"/big-chunk", ""},
        {"/coded", "gzip"},
        {"/garbage", "not HTTP"},
        {"/old", "not HTTP"},
        {"/cut-header", "cut off"},
        {"/404-endless", "status 404"},
        {"/3", "two redirects"},
        {"/loop", "two redirects"},
        {"/nowhere", "redirects to nowhere"},
        {"/cr", ""}, /* newer libcurl refuses it by itself */
        {"/esc", "/\\x1b[2J"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        ecert_fetch_t what = request(url_of(rows[i][0]));
        int64_t begin = ms_now();

        fetch_bad(&what, rows[i][1]);
        if (ms_now() - begin > 5000) {
            fail_msg("%s took too long", rows[i][0]);
        }
        if (getenv("ECERT_TEST_WORDS")) {
            print_message("# %s: %s\n", rows[i][0], err.detail);
        }
    }
}

static void test_slow(void **state)
{
    static const char *const rows[] = {"/drip", "/drip-header"};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        ecert_fetch_t what = request(url_of(rows[i]));
        int64_t begin = ms_now(), took;

        what.seconds = 2;
        fetch_bad(&what, "out of time");
        took = ms_now() - begin;
        assert_true(took >= 1900 && took < 4000);
    }
}

static void test_no_time(void **state)
{
    ecert_fetch_t what = request(url_of("/good"));

    (void)state;
    what.seconds = 0;
    fetch_bad(&what, "out of time");
}

static void test_bound(void **state)
{
    ecert_fetch_t what = request(url_of("/good"));

    (void)state;
    what.max = 5;
    fetch_ok(&what, "hello");
    what.max = 4;
    fetch_bad(&what, "more than 4 bytes");
    what = request(url_of("/chunked"));
    what.max = 5;
    fetch_ok(&what, "hello");
    what.max = 4;
    fetch_bad(&what, "more than 4 bytes");
    what.max = 0;
    fetch_bad(&what, "more than 0 bytes");
}

static void test_nobody(void **state)
{
    char url[64] = "";
    ecert_fetch_t what = request(url);

    (void)state;
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/", hostile_nobody());
    fetch_bad(&what, "there is no connection");
}

/* Nothing is left open. */
static void test_descriptors(void **state)
{
    ecert_fetch_t what;
    int before = dup(0);

    (void)state;
    close(before);
    for (int i = 0; i < 20; i++) {
        what = request(url_of(i % 2 ? "/good" : "/reset"));
        if (i % 2) {
            fetch_ok(&what, "hello");
        } else {
            fetch_bad(&what, "");
        }
    }
    assert_int_equal(dup(0), before);
    close(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),        cmocka_unit_test(test_request),
        cmocka_unit_test(test_post),        cmocka_unit_test(test_post_refused),
        cmocka_unit_test(test_url),         cmocka_unit_test(test_url_length),
        cmocka_unit_test(test_status),      cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_slow),        cmocka_unit_test(test_no_time),
        cmocka_unit_test(test_bound),       cmocka_unit_test(test_nobody),
        cmocka_unit_test(test_descriptors),
    };

    return cmocka_run_group_tests(tests, fetches_setup, fetches_teardown);
}
