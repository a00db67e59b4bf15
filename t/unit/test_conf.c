/* Configuration: what is one site, dates, and the way through a descriptor. */

#include "scratch.h"

#include <netinet/in.h>
#include <sys/mman.h>

#include "ecert_conf.h"

static ecert_err_t err;

static void add_listens(ecert_conf_t *conf, const char *const *names)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(8443)};
    ecert_vhost_t all = {.names = names, .n_names = 3, .stapling = 1};
    ecert_vhost_t none = {.proxied = 1};

    for (int site = 0; site < 2; site++) {
        assert_int_equal(ecert_conf_listen(conf, site, site ? &none : &all,
                                           (struct sockaddr *)&at, &err),
                         0);
    }
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(
        ecert_conf_listen(conf, -1, &none, (struct sockaddr *)&at, &err), 0);
    assert_string_equal(conf->sites[0].listens[0].name, "www.example.hk");
    assert_int_equal(conf->n_loopbacks, 1);
}

static ecert_conf_t *make(void)
{
    static const char *const issuers[] = {"/etc/ca/one.pem", "/etc/ca/more"};
    static const char *const names[] = {
        "www.example.hk", "\xe4\xb8\xad\xe5\x9b\xbd.hk", "*.example.hk"};
    ecert_conf_t *conf = ecert_conf_new();
    ecert_site_t store = {.name = "WWW.example.hk.",
                          .names = names,
                          .n_names = 3,
                          .issuers = issuers,
                          .n_issuers = 2,
                          .n_server_issuers = 1,
                          .catalogue = "/etc/ca/other ca.json",
                          .cross = {ECERT_CROSS_UNTIL, 1808352000},
                          .where = "/etc/nginx/a.conf:12"};
    ecert_site_t files = {.certificate = "/etc/a b/cert.pem",
                          .key = "/etc/a b/key.pem",
                          .cross = {ECERT_CROSS_OFF, 0}};

    assert_int_equal(ecert_conf_set(&conf->server, "nginx/1.22.1", &err), 0);
    assert_int_equal(ecert_conf_set(&conf->store, "/var/lib/e cert", &err), 0);
    assert_int_equal(ecert_conf_set(&conf->run, "/run/ecert", &err), 0);
    assert_int_equal(ecert_conf_set(&conf->agent, "/usr/sbin/ecert", &err), 0);
    assert_int_equal(ecert_conf_set(&conf->log_file, "/var/log/e", &err), 0);
    assert_int_equal(
        ecert_conf_set(&conf->log_prefix, "%Y [{level}] {pid}#0: ", &err), 0);
    conf->dcv = 1;
    assert_int_equal(ecert_conf_add(conf, &store, &err), 0);
    assert_int_equal(ecert_conf_add(conf, &files, &err), 1);
    add_listens(conf, names);
    for (int level = 3; level >= 0; level -= 3) { /* the highest counts */
        ecert_conf_security(conf, 1, level);
    }
    return conf;
}

static void test_fetch_values(void **state)
{
    static const char *const bad[] = {
        "", "On", "allow=", "allow=x", "allow=10.0.0.0/33", "allow 10.0.0.1"};
    ecert_conf_t *conf = ecert_conf_new();

    (void)state;
    assert_int_equal(conf->fetch, 1);
    assert_int_equal(ecert_conf_fetch(conf, "off", &err), 0);
    assert_int_equal(conf->fetch, 0);
    assert_int_equal(ecert_conf_fetch(conf, "on", &err), 0);
    assert_int_equal(conf->fetch, 1);
    assert_int_equal(ecert_conf_fetch(conf, "allow=10.0.0.0/8", &err), 0);
    assert_int_equal(ecert_conf_fetch(conf, "allow=::1", &err), 0);
    assert_int_equal(conf->n_allowed, 2);
    assert_string_equal(conf->allowed[1], "::1");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(ecert_conf_fetch(conf, bad[i], &err), -1);
    }
    assert_int_equal(conf->n_allowed, 2);
    ecert_conf_free(conf);
}

static int memory(const void *bytes, size_t len)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    return fd;
}

static void assert_same(const char *a, const char *b)
{
    if (a == NULL || b == NULL) {
        assert_ptr_equal(a, b);
    } else {
        assert_string_equal(a, b);
    }
}

static void assert_same_list(const char *const *a, size_t n,
                             const char *const *b, size_t m)
{
    assert_int_equal(n, m);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(a[i], b[i]);
    }
}

static void assert_same_conf(const ecert_conf_t *a, const ecert_conf_t *b)
{
    assert_same(a->server, b->server);
    assert_same(a->store, b->store);
    assert_same(a->run, b->run);
    assert_same(a->agent, b->agent);
    assert_same(a->log_file, b->log_file);
    assert_same(a->log_prefix, b->log_prefix);
    assert_int_equal(a->dcv, b->dcv);
    assert_int_equal(a->n_sites, b->n_sites);
    for (size_t i = 0; i < a->n_sites; i++) {
        const ecert_site_t *x = &a->sites[i], *y = &b->sites[i];

        assert_same(x->name, y->name);
        assert_same(x->certificate, y->certificate);
        assert_same(x->key, y->key);
        assert_same(x->catalogue, y->catalogue);
        assert_same(x->where, y->where);
        assert_same_list(x->issuers, x->n_issuers, y->issuers, y->n_issuers);
        assert_int_equal(x->n_server_issuers, y->n_server_issuers);
        assert_same_list(x->names, x->n_names, y->names, y->n_names);
        assert_int_equal(x->security_level, i == 1 ? 3 : 0);
        assert_int_equal(y->security_level, i == 1 ? 3 : 0);
        assert_int_equal(x->cross.kind, y->cross.kind);
        assert_int_equal(x->cross.until, y->cross.until);
        assert_memory_equal(x->id, y->id, 32);
        assert_int_equal(x->n_listens, y->n_listens);
        for (size_t k = 0; k < x->n_listens; k++) {
            assert_same(x->listens[k].address, y->listens[k].address);
            assert_same(x->listens[k].name, y->listens[k].name);
            assert_int_equal(x->listens[k].proxied, y->listens[k].proxied);
            assert_int_equal(x->listens[k].stapling, y->listens[k].stapling);
        }
    }
    assert_same_list((const char *const *)a->loopbacks, a->n_loopbacks,
                     (const char *const *)b->loopbacks, b->n_loopbacks);
}

static void test_round_trip(void **state)
{
    ecert_conf_t *conf = make(), *back;
    int fd = memory("", 0);

    (void)state;
    assert_int_equal(ecert_conf_write(conf, fd, &err), 0);
    back = ecert_conf_read(fd, &err);
    assert_non_null(back);
    assert_same_conf(conf, back);
    ecert_conf_free(back);
    /* twice from the same descriptor: reading begins at the beginning */
    back = ecert_conf_read(fd, &err);
    assert_non_null(back);
    assert_same_conf(conf, back);
    ecert_conf_free(back);
    ecert_conf_free(conf);
    close(fd);

    conf = ecert_conf_new();
    fd = memory("", 0);
    assert_int_equal(ecert_conf_write(conf, fd, &err), 0);
    back = ecert_conf_read(fd, &err);
    assert_non_null(back);
    assert_same_conf(conf, back);
    ecert_conf_free(back);
    ecert_conf_free(conf);
    close(fd);
    ecert_conf_free(NULL);
}

static int open_files(void)
{
    int n = 0;

    for (int fd = 0; fd < 64; fd++) {
        n += fcntl(fd, F_GETFD) >= 0;
    }
    return n;
}

static void test_write_fails(void **state)
{
    ecert_conf_t *conf = make();
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC), pipes[2];
    int before;
    char name[64];

    (void)state;
    for (int i = 0; i < 500; i++) { /* more than one buffer */
        ecert_site_t site = {.name = name};

        snprintf(name, sizeof(name), "s%d.example.hk", i);
        assert_true(ecert_conf_add(conf, &site, &err) >= 0);
    }
    before = open_files();
    assert_int_equal(ecert_conf_write(conf, full, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_SYSTEM);
    assert_int_equal(ecert_conf_write(conf, -1, &err), -1);
    assert_null(ecert_conf_read(-1, &err));
    assert_int_equal(err.code, ECERT_ERR_SYSTEM);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    assert_null(ecert_conf_read(pipes[0], &err)); /* cannot be rewound */
    assert_int_equal(err.code, ECERT_ERR_SYSTEM);
    close(pipes[0]);
    close(pipes[1]);
    assert_int_equal(open_files(), before);
    close(full);
    ecert_conf_free(conf);
}

static void test_bad_values(void **state)
{
    static const char *const bad[] = {"a\nb", "\r", "a\t", "\x1b[1m", "\x7f"};
    ecert_conf_t *conf = ecert_conf_new();
    char *text = malloc(4098);
    ecert_site_t site = {.name = "ok.hk"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ecert_site_t wrong[] = {
            {.name = bad[i]},
            {.certificate = bad[i], .key = "/k"},
            {.certificate = "/c", .key = bad[i]},
            {.name = "a", .catalogue = bad[i]},
            {.name = "a", .where = bad[i]},
            {.name = "a", .names = &bad[i], .n_names = 1},
            {.name = "a", .issuers = &bad[i], .n_issuers = 1},
        };

        assert_int_equal(ecert_conf_set(&conf->store, "/old", &err), 0);
        assert_int_equal(ecert_conf_set(&conf->store, bad[i], &err), -1);
        assert_int_equal(err.code, ECERT_ERR_CONF);
        assert_string_equal(conf->store, "/old");
        for (size_t j = 0; j < sizeof(wrong) / sizeof(wrong[0]); j++) {
            assert_int_equal(ecert_conf_add(conf, &wrong[j], &err), -1);
            assert_int_equal(err.code, ECERT_ERR_CONF);
        }
    }
    assert_int_equal(conf->n_sites, 0);
    memset(text, 'a', 4097);
    text[4097] = '\0';
    assert_int_equal(ecert_conf_set(&conf->store, text, &err), -1);
    text[4096] = '\0';
    assert_int_equal(ecert_conf_set(&conf->store, text, &err), 0);
    assert_int_equal(ecert_conf_set(&conf->store, NULL, &err), 0);
    assert_null(conf->store);
    assert_int_equal(ecert_conf_add(conf, &site, &err), 0);
    free(text);
    ecert_conf_free(conf);
}

static void test_needs(void **state)
{
    ecert_site_t bad[] = {
        {.where = "a:1"},
        {.certificate = "/c"},
        {.key = "/k"},
        {.name = "a", .certificate = "/c", .key = "/k"},
        {.name = "a", .key = "/k"},
    };
    ecert_conf_t *conf = ecert_conf_new();

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(ecert_conf_add(conf, &bad[i], &err), -1);
        assert_int_equal(err.code, ECERT_ERR_CONF);
    }
    assert_int_equal(conf->n_sites, 0);
    ecert_conf_free(conf);
}

static void test_sharing(void **state)
{
    static const char *const one[] = {"a.hk", "b.hk"};
    static const char *const two[] = {"b.hk", "c.hk"};
    static const char *const x[] = {"/x"}, *const y[] = {"/y"};
    static const char *const xy[] = {"/x", "/y"}, *const yx[] = {"/y", "/x"};
    static const char *const joined[] = {"/x/y"};
    ecert_conf_t *conf = ecert_conf_new();
    ecert_site_t same[] = {{.name = "a.hk", .names = one, .n_names = 2},
                           {.name = "A.HK.", .names = two, .n_names = 2},
                           {.name = "A.hk", .where = "elsewhere"},
                           {.name = "a.hk."}};
    ecert_site_t other[] = {
        {.name = "a.hkk"},
        {.name = "a.hk.."},
        {.certificate = "a.hk", .key = "a.hk"},
        {.certificate = "A.hk", .key = "a.hk"}, /* a path has case */
        {.name = "a.hk", .issuers = x, .n_issuers = 1},
        {.name = "a.hk", .issuers = y, .n_issuers = 1},
        {.name = "a.hk", .issuers = xy, .n_issuers = 2},
        {.name = "a.hk", .issuers = yx, .n_issuers = 2},
        {.name = "a.hk", .issuers = joined, .n_issuers = 1},
        {.name = "a.hk", .catalogue = "/x"},
        {.name = "a.hk", .cross = {ECERT_CROSS_ON, 0}},
        {.name = "a.hk", .cross = {ECERT_CROSS_OFF, 0}},
        {.name = "a.hk", .cross = {ECERT_CROSS_UNTIL, 1}},
        {.name = "a.hk", .cross = {ECERT_CROSS_UNTIL, 2}},
    };
    size_t i, n = sizeof(other) / sizeof(other[0]);

    (void)state;
    for (i = 0; i < 4; i++) {
        assert_int_equal(ecert_conf_add(conf, &same[i], &err), 0);
    }
    assert_int_equal(conf->n_sites, 1);
    assert_int_equal(conf->sites[0].n_names, 3);
    assert_string_equal(conf->sites[0].names[2], "c.hk");
    for (i = 0; i < n; i++) {
        assert_int_equal(ecert_conf_add(conf, &other[i], &err), i + 1);
    }
    for (i = 0; i < n; i++) { /* and found again */
        assert_int_equal(ecert_conf_add(conf, &other[i], &err), i + 1);
    }
    assert_int_equal(conf->n_sites, n + 1);
    ecert_conf_free(conf);
}

static void test_limits(void **state)
{
    ecert_conf_t *conf = ecert_conf_new();
    char names[4097][20];
    const char *list[4097];
    ecert_site_t site = {.name = "a.hk", .names = list, .n_names = 4097};

    (void)state;
    for (int i = 0; i < 4097; i++) {
        snprintf(names[i], sizeof(names[i]), "n%d.hk", i);
        list[i] = names[i];
    }
    assert_int_equal(ecert_conf_add(conf, &site, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_TOO_MANY);
    assert_int_equal(conf->n_sites, 0);
    site.n_names = 4096;
    assert_int_equal(ecert_conf_add(conf, &site, &err), 0);
    site.names = list + 4096;
    site.n_names = 1;
    assert_int_equal(ecert_conf_add(conf, &site, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_TOO_MANY);
    ecert_conf_free(conf);
}

static void test_label(void **state)
{
    static const char *const names[] = {"v.hk"};
    ecert_site_t site = {
        .name = "n", .certificate = "/c", .names = names, .n_names = 1};

    (void)state;
    assert_string_equal(ecert_site_label(&site), "n");
    site.name = NULL;
    assert_string_equal(ecert_site_label(&site), "v.hk");
    site.n_names = 0;
    assert_string_equal(ecert_site_label(&site), "/c");
}

static void test_dates(void **state)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } good[] = {
        {"1970-01-01", 0},
        {"2026-11-23", 1795392000},
        {"2024-02-29", 1709164800},
        {"2000-02-29", 951782400},
        {"2027-04-15T23:59:59Z", 1807833599},
        {"1969-12-31T23:59:59Z", -1},
        {"2038-01-19T03:14:08Z", INT64_C(2147483648)},
        {"9999-12-31T23:59:59Z", INT64_C(253402300799)},
    };
    static const char *const bad[] = {
        "",
        "2026",
        "2026-2-3",
        "2026-02-30",
        "2025-02-29",
        "1900-02-29",
        "2026-04-31",
        "2026-13-01",
        "2026-00-01",
        "2026-01-00",
        "2026-01-32",
        "2026/01/01",
        "26-01-01",
        " 2026-01-01",
        "2026-01-01 ",
        "2026-01-+1",
        "-026-01-01",
        "2026-01-0x",
        "20260101",
        "1899-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00z",
        "2026-01-01t00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T23:60:00Z",
        "2026-12-31T23:59:60Z",
        "2026-01-01T-1:00:00Z",
        "2026-01-01T00:00:00+",
        "2026-01-01T00-00-00Z",
        "xxxxxxxxxxxxxxxxxxxx",
        "2026-01-01\n",
    };
    char out[32];
    int64_t seconds;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(ecert_date_parse(good[i].text, &seconds, &err), 0);
        assert_true(seconds == good[i].seconds);
        ecert_date_format(seconds, out);
        assert_int_equal(strncmp(out, good[i].text, strlen(good[i].text)), 0);
        assert_int_equal(strlen(out), 20);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (ecert_date_parse(bad[i], &seconds, &err) == 0) {
            fail_msg("\"%s\" was taken for a date", bad[i]);
        }
        assert_int_equal(err.code, ECERT_ERR_USAGE);
        assert_non_null(strstr(err.hint, "YYYY-MM-DD"));
    }
    assert_string_equal(ecert_date_format(INT64_MAX, out), "?");
    assert_string_equal(ecert_date_format(INT64_MIN, out), "?");
}

static void test_cross(void **state)
{
    static const char *const bad[] = {"",
                                      "AUTO",
                                      "auto ",
                                      "yes",
                                      "until",
                                      "until=",
                                      "until=2026-02-30",
                                      "until=2026-01-01T00:00:00Z",
                                      "until 2026-01-01",
                                      "until=2026-1-1"};
    ecert_cross_t cross = {ECERT_CROSS_ON, 7};

    (void)state;
    assert_int_equal(ecert_cross_parse("auto", &cross, &err), 0);
    assert_int_equal(cross.kind, ECERT_CROSS_AUTO);
    assert_int_equal(cross.until, 0);
    assert_int_equal(ecert_cross_parse("on", &cross, &err), 0);
    assert_int_equal(cross.kind, ECERT_CROSS_ON);
    assert_int_equal(ecert_cross_parse("off", &cross, &err), 0);
    assert_int_equal(cross.kind, ECERT_CROSS_OFF);
    assert_int_equal(ecert_cross_parse("until=2027-04-15", &cross, &err), 0);
    assert_int_equal(cross.kind, ECERT_CROSS_UNTIL);
    assert_int_equal(cross.until, 1807833600); /* the day after, 0:00 */
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(ecert_cross_parse(bad[i], &cross, &err), -1);
        assert_int_equal(err.code, ECERT_ERR_CONF);
        assert_non_null(strstr(err.hint, "auto, on, off, until=YYYY-MM-DD"));
        assert_int_equal(cross.kind, ECERT_CROSS_UNSET);
    }
}

static size_t written(char *text, size_t size)
{
    ecert_conf_t *conf = make();
    int fd = memory("", 0);
    ssize_t n;

    assert_int_equal(ecert_conf_write(conf, fd, &err), 0);
    n = pread(fd, text, size, 0);
    assert_true(n >= 100 && (size_t)n < size);
    close(fd);
    ecert_conf_free(conf);
    return (size_t)n;
}

/* Whatever is read: a configuration, or an error that says why. */
static int read_bytes(const char *text, size_t len)
{
    int fd = memory(text, len), ok;
    ecert_conf_t *conf;

    memset(&err, 0, sizeof(err));
    conf = ecert_conf_read(fd, &err);
    ok = conf != NULL;
    assert_true(ok || err.code != ECERT_OK);
    ecert_conf_free(conf);
    close(fd);
    return ok;
}

static void test_cut(void **state)
{
    char text[4096];
    size_t len = written(text, sizeof(text)), i;

    (void)state;
    for (i = 0; i < len; i++) {
        int ok = read_bytes(text, i);

        /* inside a site it must be seen */
        if (strstr(text, "site\n") + 4 <= text + i
            && i < (size_t)(strstr(text, "\nend") - text) + 4) {
            assert_false(ok);
        }
    }
    assert_true(read_bytes(text, len));
}

static void test_garbage(void **state)
{
    char text[4096], bad[4096];
    size_t len = written(text, sizeof(text)), i;
    unsigned seed = 7;

    (void)state;
    for (i = 0; i < len; i++) {
        memcpy(bad, text, len);
        bad[i] = (char)(rand_r(&seed) >> 3);
        read_bytes(bad, len);
        bad[i] = '\0';
        read_bytes(bad, len);
        bad[i] = '\n';
        read_bytes(bad, len);
    }
    for (i = 0; i < 200; i++) {
        for (size_t j = 0; j < len; j++) {
            bad[j] = (char)(rand_r(&seed) >> 3);
        }
        memcpy(bad, "ecert-configuration 1\n", 22);
        read_bytes(bad, len);
    }
}

static void test_bad_text(void **state)
{
    static const char *const bad[] = {
        "",
        "ecert-configuration 2\n",
        "ecert-configuration 1",
        "ecert-configuration 1\nunknown x\n",
        "ecert-configuration 1\nend\n",
        "ecert-configuration 1\nsite\nsite\n",
        "ecert-configuration 1\nsite\nend\n",
        "ecert-configuration 1\nsite\nname a\nname b\nend\n",
        "ecert-configuration 1\nsite\nname a\ncross 9 0\nend\n",
        "ecert-configuration 1\nsite\nname a\ncross -1 0\nend\n",
        "ecert-configuration 1\nsite\nname a\ncross\nend\n",
        "ecert-configuration 1\nsite\nname a\nend\nsite\nname A.\nend\n",
        "ecert-configuration 1\nsite\nname a\ncertificate /c\nend\n",
        "ecert-configuration 1\nstore a\tb\n",
    };
    size_t n = 100 * 1000;
    char *text = malloc(n);

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(read_bytes(bad[i], strlen(bad[i])));
        assert_int_equal(err.code, ECERT_ERR_CONF);
    }
    memset(text, 'x', n); /* one endless line */
    memcpy(text, "ecert-configuration 1\nsite\nname ", 31);
    assert_false(read_bytes(text, n));
    text[0] = '\0';
    strcpy(text, "ecert-configuration 1\nsite\nname a\n");
    for (int i = 0; i < 4097; i++) {
        strcpy(text + strlen("ecert-configuration 1\nsite\nname a\n")
                   + (size_t)i * 8,
               "vhost a\n");
    }
    assert_false(read_bytes(text, strlen(text)));
    assert_int_equal(err.code, ECERT_ERR_TOO_MANY);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fetch_values), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_write_fails),  cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_needs),        cmocka_unit_test(test_sharing),
        cmocka_unit_test(test_limits),       cmocka_unit_test(test_label),
        cmocka_unit_test(test_dates),        cmocka_unit_test(test_cross),
        cmocka_unit_test(test_cut),          cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_bad_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
