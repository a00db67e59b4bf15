/*
 * Downloads from hostile.c's server, in an environment that does not mean well
 * either: proxies, .netrc, .curlrc, a file for the secrets of TLS.
 */

#ifndef T_UNIT_FETCHES_H
#define T_UNIT_FETCHES_H

#include "scratch.h"

#include <time.h>

#include "ecert_fetch.h"
#include "hostile.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static ecert_err_t err;
static hostile_t server;
static ecert_network_t loopback;

static inline int64_t ms_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline const char *url_of(const char *path)
{
    static char url[8192];

    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", server.port, path);
    return url;
}

static inline ecert_fetch_t request(const char *url)
{
    return (ecert_fetch_t){.url = url,
                           .max = 100000,
                           .seconds = 10,
                           .allowed = &loopback,
                           .n_allowed = 1};
}

static inline void fetch_ok(const ecert_fetch_t *what, const char *body)
{
    ecert_fetch_got_t out;

    if (ecert_fetch(what, &out, &err) != 0) {
        fail_msg("%s: %s", what->url, err.detail);
    }
    assert_int_equal(out.status, 200);
    assert_int_equal(out.len, strlen(body));
    assert_memory_equal(out.bytes, body, out.len);
    free(out.bytes);
}

static inline void fetch_bad(const ecert_fetch_t *what, const char *words)
{
    ecert_fetch_got_t out;
    char url[sizeof(err.file)];

    if (ecert_fetch(what, &out, &err) == 0) {
        fail_msg("%s was fetched", what->url);
    }
    assert_int_equal(err.code, ECERT_ERR_FETCH);
    assert_null(out.bytes);
    assert_int_equal(out.len, 0);
    ecert_escape(url, sizeof(url), what->url, strlen(what->url));
    if (strcmp(err.file, url) != 0 || strstr(err.detail, words) == NULL) {
        fail_msg("%s: \"%s\" without \"%s\"", what->url, err.detail, words);
    }
}

/* The request as the server got it; free() it. */
static inline char *echo(ecert_fetch_t *what)
{
    ecert_fetch_got_t out;
    char *text;

    if (ecert_fetch(what, &out, &err) != 0) {
        fail_msg("%s: %s", what->url, err.detail);
    }
    text = calloc(1, out.len + 1);
    memcpy(text, out.bytes, out.len);
    free(out.bytes);
    return text;
}

static inline ecert_fetch_t post_request(const char *url)
{
    ecert_fetch_t what = request(url);

    what.post = (const unsigned char *)"\0\xff=1";
    what.post_len = 4;
    what.post_type = "application/ocsp-request";
    return what;
}

static inline int fetches_setup(void **state)
{
    static const char *const proxies[] = {
        "http_proxy",  "https_proxy", "all_proxy", "HTTP_PROXY",
        "HTTPS_PROXY", "ALL_PROXY",   "FTP_PROXY"};

    if (scratch_setup(state) != 0
        || ecert_network_parse("127.0.0.0/8", &loopback, &err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < COUNT(proxies); i++) {
        setenv(proxies[i], "http://127.0.0.1:1/", 1);
    }
    setenv("no_proxy", "nothing.example.hk", 1);
    setenv("HOME", scratch, 1);
    setenv("CURL_HOME", scratch, 1);
    setenv("NETRC", at(".netrc"), 1);
    setenv("SSLKEYLOGFILE", at("keylog"), 1);
    put(".netrc", "machine 127.0.0.1 login secret password secret\n");
    put(".curlrc", "proxy = http://127.0.0.1:1/\nheader = \"secret: 1\"\n");
    hostile_start(&server, NULL);
    return 0;
}

static inline int fetches_teardown(void **state)
{
    hostile_stop(&server);
    return scratch_teardown(state);
}

#endif
