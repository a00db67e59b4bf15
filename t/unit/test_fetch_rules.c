/* Where a download may go: addresses, ports, redirects, TLS. */

#include "fetches.h"

#include <sched.h>
#include <strings.h>

#include <sys/mount.h>
#include <sys/wait.h>

#include "pki.h"
#include "wire.h"

static void test_post_redirected(void **state)
{
    ecert_fetch_t again = post_request(url_of("/to307?/echo"));
    char *text = echo(&again);
    ecert_fetch_t get;

    (void)state;
    assert_memory_equal(text, "POST /echo ", 11);
    free(text);
    get = post_request(url_of("/to303?/echo"));
    text = echo(&get);
    assert_memory_equal(text, "GET /echo ", 10);
    assert_null(strstr(text, "Content-"));
    free(text);
}

static void test_redirects(void **state)
{
    static const char *const rows[][2] = {
        {"file:///etc/passwd", "to file:///etc/passwd: only http://"},
        {"FILE:///etc/passwd", "only http://"},
        {"ftp://127.0.0.1/", "only http://"},
        {"gopher://127.0.0.1:25/_HELO", "only http://"},
        {"javascript:alert(1)", "only http://"},
        {"http:good", "only http://"},
        {"http://a:b@127.0.0.1/", "user or a password"},
        {"//a@127.0.0.1/good", "user or a password"},
        {"http://127.0.0.2/", "127.0.0.2 port 80 is not allowed"},
        {"//127.0.0.2:8080/", "127.0.0.2 port 8080 is not allowed"},
        {"http://127.2/", "127.0.0.2 port 80 is not allowed"},
        {"http://2130706434/", "127.0.0.2 port 80 is not allowed"},
        {"http://0x7f000002/", "127.0.0.2 port 80 is not allowed"},
        {"http://10.0.0.1/", "10.0.0.1 port 80 is not allowed"},
        {"https://10.0.0.1/", "10.0.0.1 port 443 is not allowed"},
        {"http://169.254.169.254/latest", "169.254.169.254 port 80 is not"},
        {"http://8.8.8.8:22/", "8.8.8.8 port 22 is not allowed"},
        {"http://[::1]/", "::1 port 80 is not allowed"},
        {"http://[::ffff:127.0.0.2]/", "127.0.0.2 port 80 is not allowed"},
        {"http://[fe80::1%25lo]/", "fe80::1 port 80 is not allowed"},
        {"http://0.0.0.0/", "0.0.0.0 port 80 is not allowed"},
        {"http://127.0.0.1:99999/", "Port"},
    };
    ecert_network_t one;

    (void)state;
    assert_int_equal(ecert_network_parse("127.0.0.1", &one, &err), 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        char path[256];
        ecert_fetch_t what;

        snprintf(path, sizeof(path), "/to302?%s", rows[i][0]);
        what = request(url_of(path));
        what.allowed = &one;
        fetch_bad(&what, rows[i][1]);
    }
}

static void test_long_redirect(void **state)
{
    char path[2000] = "/to302?/good?";
    ecert_fetch_t what = request(url_of(path));

    (void)state;
    memset(path + 13, 'x', sizeof(path) - 14);
    what = request(url_of(path));
    fetch_ok(&what, "hello");
    assert_true(strlen(what.url) > 2000);
}

/* What a redirect says cannot become a header. */
static void test_injected(void **state)
{
    ecert_fetch_t what = request(url_of("/to302?/echo?%0d%0aInjected:%201"));
    char *text = echo(&what);

    (void)state;
    assert_int_equal(
        strncasecmp(text, "GET /echo?%0d%0aInjected:%201 HTTP", 34), 0);
    free(text);
}

/* One deadline for all exchanges. */
static void test_slow_redirect(void **state)
{
    ecert_fetch_t what = request(url_of("/to302?/to302?/drip"));
    int64_t begin = ms_now();

    (void)state;
    what.seconds = 1;
    fetch_bad(&what, "; redirected to http://127.0.0.1:");
    assert_true(ms_now() - begin < 3000);
}

static void test_forbidden(void **state)
{
    ecert_fetch_t what = request(url_of("/good"));
    char words[64], url[64];

    (void)state;
    what.allowed = NULL;
    what.n_allowed = 0;
    snprintf(words, sizeof(words), "127.0.0.1 port %u is not allowed",
             server.port);
    fetch_bad(&what, words);
    /* ::1 is not allowed, 127.0.0.1 is */
    snprintf(url, sizeof(url), "http://localhost:%u/good", server.port);
    what = request(url);
    fetch_ok(&what, "hello");
    what.n_allowed = 0;
    fetch_bad(&what, "is not allowed");
}

static void test_untrusted(void **state)
{
    pki_t *pki = pki_new(time(NULL));
    X509 *leaf = pki_leaf(pki, "IP:127.0.0.1", NULL, pki->now - PKI_DAY,
                          pki->now + PKI_DAY);
    SSL_CTX *ctx = wire_server(leaf, pki->leaf_key, NULL, NULL);
    hostile_t tls;
    char url[64];
    ecert_fetch_t what = request(url);

    (void)state;
    hostile_start(&tls, ctx);
    snprintf(url, sizeof(url), "https://127.0.0.1:%u/good", tls.port);
    fetch_bad(&what, "certificate is not trusted");
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/good", tls.port);
    fetch_bad(&what, "");
    snprintf(url, sizeof(url), "https://127.0.0.1:%u/good", server.port);
    fetch_bad(&what, "TLS");
    assert_int_equal(access(at("keylog"), F_OK), -1);
    hostile_stop(&tls);
    SSL_CTX_free(ctx);
    X509_free(leaf);
    pki_free(pki);
}

/* Another trust store and other names, in a process of its own. */
static int own_world(const char *root, const char *hosts)
{
    return unshare(CLONE_NEWNS) == 0
           && mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0
           && mount(root, "/etc/ssl/certs/ca-certificates.crt", "none",
                    MS_BIND, NULL)
                  == 0
           && mount(hosts, "/etc/hosts", "none", MS_BIND, NULL) == 0;
}

static void fetch_trusted(unsigned port)
{
    char url[128] = "";
    ecert_fetch_t what = request(url);

    snprintf(url, sizeof(url), "https://www.example.hk:%u/good", port);
    fetch_ok(&what, "hello");
    snprintf(url, sizeof(url), "https://www.example.hk:%u/2", port);
    fetch_ok(&what, "hello");
    snprintf(url, sizeof(url), "https://other.example.hk:%u/good", port);
    fetch_bad(&what, "certificate is not trusted");
    snprintf(url, sizeof(url), "https://inside.example.hk:%u/good", port);
    fetch_bad(&what, "10.1.2.3 port");
    snprintf(url, sizeof(url),
             "https://www.example.hk:%u/to302?http://127.0.0.1:%u/good", port,
             server.port);
    fetch_bad(&what, "from https to http");
    snprintf(url, sizeof(url),
             "http://127.0.0.1:%u/to302?https://www.example.hk:%u/good",
             server.port, port);
    fetch_ok(&what, "hello");
    assert_int_equal(access(at("keylog"), F_OK), -1);
}

static void test_trusted(void **state)
{
    pki_t *pki = pki_new(time(NULL));
    SSL_CTX *ctx = wire_server(pki->leaf, pki->leaf_key, NULL, NULL);
    char *root = pki_pem(pki->root);
    hostile_t tls;
    int status;
    pid_t pid;

    (void)state;
    SSL_CTX_add_extra_chain_cert(ctx, X509_dup(pki->new_sub));
    put("root.pem", root);
    put("hosts", "127.0.0.1 www.example.hk other.example.hk\n"
                 "10.1.2.3 inside.example.hk\n");
    hostile_start(&tls, ctx);
    pid = fork();
    if (pid == 0) {
        if (!own_world(at("root.pem"), at("hosts"))) {
            _exit(77);
        }
        fetch_trusted(tls.port);
        SSL_CTX_free(ctx);
        pki_free(pki);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    hostile_stop(&tls);
    free(root);
    SSL_CTX_free(ctx);
    pki_free(pki);
    if (!skipped(WIFEXITED(status) && WEXITSTATUS(status) == 77,
                 "needs to mount")) {
        assert_int_equal(status, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_post_redirected),
        cmocka_unit_test(test_redirects),
        cmocka_unit_test(test_long_redirect),
        cmocka_unit_test(test_injected),
        cmocka_unit_test(test_slow_redirect),
        cmocka_unit_test(test_forbidden),
        cmocka_unit_test(test_untrusted),
        cmocka_unit_test(test_trusted),
    };

    return cmocka_run_group_tests(tests, fetches_setup, fetches_teardown);
}
