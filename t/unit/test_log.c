/* The agent's lines in the server's log: their form, and where they go. */

#include "scratch.h"

#include <time.h>

#include <sys/socket.h>
#include <sys/un.h>

#include "ecert_log.h"

static ecert_conf_t *conf;
static int saved; /* the real descriptor 2 */

static int setup(void **state)
{
    ecert_err_t err;
    int fd;

    if (scratch_setup(state) != 0) {
        return -1;
    }
    fflush(stderr);
    saved = dup(2);
    folders("logs");
    fd = open(at("logs/error.log"), O_WRONLY | O_CREAT | O_APPEND, 0640);
    dup2(fd, 2);
    close(fd);
    conf = ecert_conf_new();
    ecert_conf_set(&conf->log_file, at("logs/error.log"), &err);
    ecert_conf_set(&conf->log_prefix, "%Y [{level}] {pid}#0: ", &err);
    ecert_log_open(conf);
    return 0;
}

static int teardown(void **state)
{
    ecert_log_open(NULL);
    ecert_log_quiet(ECERT_LOG_NOTICE + 1);
    dup2(saved, 2);
    close(saved);
    ecert_conf_free(conf);
    return scratch_teardown(state);
}

static const char *content(const char *name)
{
    static char text[16384];
    int fd = open(at(name), O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (n < 0) {
        return NULL;
    }
    close(fd);
    text[n] = '\0';
    return text;
}

static void test_prefix(void **state)
{
    time_t now = time(NULL);
    char want[200], year[8];
    struct tm tm;

    (void)state;
    localtime_r(&now, &tm);
    strftime(year, sizeof(year), "%Y", &tm);
    ecert_log(ECERT_LOG_WARN, "site %s: %d", "a.hk", 7);
    snprintf(want, sizeof(want), "%s [warn] %ld#0: site a.hk: 7\n", year,
             (long)getpid());
    assert_string_equal(content("logs/error.log"), want);
}

static void test_plain(void **state)
{
    ecert_err_t err;

    (void)state;
    ecert_log_open(NULL);
    ecert_err(&err, ECERT_ERR_EMPTY, "/f\n", NULL);
    ecert_log_err(ECERT_LOG_ERROR, "a.hk", &err);
    assert_string_equal(content("logs/error.log"),
                        "ecert: error: site a.hk: empty: /f\\x0a: the file is "
                        "empty; save the file again\n");
}

static void test_odd_prefixes(void **state)
{
    ecert_err_t err;
    char *prefix = malloc(2100);

    (void)state;
    memset(prefix, 'p', 2000);
    prefix[2000] = '\0'; /* longer than what is taken: none, then */
    ecert_conf_set(&conf->log_prefix, prefix, &err);
    ecert_log(ECERT_LOG_NOTICE, "one");
    assert_string_equal(content("logs/error.log"), "one\n");
    prefix[0] = '\0';
    for (int i = 0; i < 60; i++) { /* each of them grows */
        strcat(prefix, "{level}{pid}{x}");
    }
    prefix[500] = '\0';
    ecert_conf_set(&conf->log_prefix, prefix, &err);
    ecert_log(ECERT_LOG_NOTICE, "two");
    assert_non_null(strstr(content("logs/error.log"), "{x}notice"));
    free(prefix);
}

/* However long: one line, with its end. */
static void test_long(void **state)
{
    char *text = malloc(10001);
    const char *line;

    (void)state;
    memset(text, 'x', 10000);
    text[10000] = '\0';
    ecert_log(ECERT_LOG_ERROR, "%s", text);
    line = content("logs/error.log");
    assert_true(strlen(line) >= 3000 && strlen(line) <= 4096);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    free(text);
}

/* Besides, a local syslog is told, in its own form, also one that came anew. */
static void test_syslog(void **state)
{
    struct sockaddr_un at_socket = {.sun_family = AF_UNIX};
    char got[512];
    ecert_err_t err;
    ssize_t n;
    int fd;

    (void)state;
    snprintf(at_socket.sun_path, sizeof(at_socket.sun_path), "%s", at("sock"));
    ecert_conf_set(&conf->log_socket, at("sock"), &err);
    ecert_conf_set(&conf->log_head, "23 host nginx", &err);
    ecert_log(ECERT_LOG_WARN, "nobody listens");
    for (int i = 0; i < 2; i++) {
        unlink(at("sock"));
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_int_equal(
            bind(fd, (struct sockaddr *)&at_socket, sizeof(at_socket)), 0);
        ecert_log(i ? ECERT_LOG_ERROR : ECERT_LOG_NOTICE, "told %d", i);
        n = recv(fd, got, sizeof(got) - 1, 0);
        assert_true(n > 0);
        got[n] = '\0';
        assert_memory_equal(got, i ? "<187>" : "<189>", 5);
        assert_non_null(strstr(got, i ? " host nginx: 20" : " nginx: "));
        assert_string_equal(got + n - 6, i ? "told 1" : "told 0");
        close(fd);
    }
    assert_non_null(strstr(content("logs/error.log"), "nobody listens\n"));
    assert_non_null(strstr(content("logs/error.log"), "told 1\n"));
}

static void test_quiet(void **state)
{
    unsigned before = ecert_log_count();

    (void)state;
    ecert_log_quiet(ECERT_LOG_NOTICE);
    ecert_log(ECERT_LOG_NOTICE, "not seen");
    assert_int_equal(ecert_log_count(), before);
    assert_string_equal(content("logs/error.log"), "");
    ecert_log(ECERT_LOG_WARN, "seen");
    assert_int_equal(ecert_log_count(), before + 1);
    assert_non_null(strstr(content("logs/error.log"), "seen\n"));
}

static void rotate(void)
{
    assert_int_equal(rename(at("logs/error.log"), at("logs/error.log.1")), 0);
}

static void test_rotation(void **state)
{
    (void)state;
    ecert_log(ECERT_LOG_WARN, "one");
    rotate();
    ecert_log(ECERT_LOG_WARN, "two"); /* nothing new there yet */
    put("logs/error.log", "");
    ecert_log(ECERT_LOG_WARN, "three");
    ecert_log(ECERT_LOG_WARN, "four");
    assert_non_null(strstr(content("logs/error.log.1"), "two\n"));
    assert_null(strstr(content("logs/error.log.1"), "three\n"));
    assert_non_null(strstr(content("logs/error.log"), "three\n"));
    assert_non_null(strstr(content("logs/error.log"), "four\n"));
    assert_int_equal(fcntl(2, F_GETFL) & O_APPEND, O_APPEND);
}

/* Without a line to write, too; a deleted one is not held. */
static void test_deleted(void **state)
{
    struct stat now;

    (void)state;
    rotate();
    ecert_log_follow();
    assert_int_equal(fstat(2, &now), 0);
    assert_true(S_ISREG(now.st_mode)); /* somebody may still read it */
    put("logs/error.log", "");
    ecert_log_follow();
    unlink(at("logs/error.log.1"));
    assert_int_equal(fstat(2, &now), 0);
    assert_int_equal(now.st_nlink, 1);
    unlink(at("logs/error.log"));
    ecert_log(ECERT_LOG_WARN, "one");
    assert_int_equal(fstat(2, &now), 0);
    assert_true(S_ISCHR(now.st_mode));
    put("logs/error.log", "");
    ecert_log(ECERT_LOG_WARN, "two");
    assert_non_null(strstr(content("logs/error.log"), "two\n"));
}

/* A folder in which others can put files: their file is not written to. */
static void test_not_followed(void **state)
{
    (void)state;
    put("target", "");
    rotate();
    put("logs/error.log", "");
    assert_int_equal(chmod(at("logs"), 0777), 0);
    ecert_log(ECERT_LOG_WARN, "one");
    assert_int_equal(chmod(at("logs"), 0775), 0);
    ecert_log(ECERT_LOG_WARN, "two");
    assert_string_equal(content("logs/error.log"), "");
    assert_int_equal(chmod(at("logs"), 01777), 0); /* as /tmp */
    ecert_log(ECERT_LOG_WARN, "sticky");
    assert_string_equal(content("logs/error.log"), "");
    assert_int_equal(chmod(at("logs"), 0755), 0);
    unlink(at("logs/error.log"));
    put_link(at("target"), "logs/error.log");
    ecert_log(ECERT_LOG_WARN, "three");
    assert_string_equal(content("target"), "");
    unlink(at("logs/error.log"));
    assert_int_equal(mkfifo(at("logs/error.log"), 0600), 0);
    ecert_log(ECERT_LOG_WARN, "four");
    unlink(at("logs/error.log"));
    folders("logs/error.log");
    ecert_log(ECERT_LOG_WARN, "five");
    assert_non_null(strstr(content("logs/error.log.1"), "five\n"));
    assert_int_equal(rmdir(at("logs/error.log")), 0);
    if (geteuid() == 0) { /* a folder that is somebody else's */
        put("logs/error.log", "");
        assert_int_equal(chown(at("logs"), 65534, 65534), 0);
        ecert_log(ECERT_LOG_WARN, "six");
        assert_string_equal(content("logs/error.log"), "");
        assert_int_equal(chown(at("logs"), 0, 0), 0);
    }
}

/* Whoever owns a folder above can put another one in the place of the log's. */
static void test_swapped_ancestor(void **state)
{
    ecert_err_t err;

    (void)state;
    if (skipped(geteuid() != 0, "needs root")) {
        return;
    }
    folders("tenant/sub");
    folders("victim");
    put("tenant/sub/error.log", "");
    put("victim/error.log", "precious\n");
    ecert_conf_set(&conf->log_file, at("tenant/sub/error.log"), &err);
    ecert_log(ECERT_LOG_WARN, "one");
    assert_non_null(strstr(content("tenant/sub/error.log"), "one\n"));
    assert_int_equal(chown(at("tenant"), 65534, 65534), 0);
    assert_int_equal(rename(at("tenant/sub"), at("tenant/old")), 0);
    put_link(at("victim"), "tenant/sub");
    assert_int_equal(lchown(at("tenant/sub"), 65534, 65534), 0);
    ecert_log(ECERT_LOG_WARN, "two");
    assert_string_equal(content("victim/error.log"), "precious\n");
    assert_non_null(strstr(content("tenant/old/error.log"), "two\n"));
    unlink(at("tenant/sub")); /* and a folder that he moves there himself */
    assert_int_equal(rename(at("victim"), at("tenant/sub")), 0);
    ecert_log(ECERT_LOG_WARN, "three");
    assert_string_equal(content("tenant/sub/error.log"), "precious\n");
    assert_non_null(strstr(content("tenant/old/error.log"), "three\n"));
}

/* A link of root's own on the way, as /var/log may be one. */
static void test_own_link(void **state)
{
    ecert_err_t err;

    (void)state;
    put_link(at("logs"), "var");
    ecert_conf_set(&conf->log_file, at("var/error.log"), &err);
    rotate();
    put("logs/error.log", "");
    ecert_log(ECERT_LOG_WARN, "one");
    assert_non_null(strstr(content("logs/error.log"), "one\n"));
}

static void test_no_file(void **state)
{
    ecert_err_t err;

    (void)state;
    assert_int_equal(ecert_conf_set(&conf->log_file, NULL, &err), 0);
    rotate();
    put("logs/error.log", "");
    ecert_log(ECERT_LOG_WARN, "one");
    ecert_conf_set(&conf->log_file, "no-folder", &err);
    ecert_log(ECERT_LOG_WARN, "two");
    assert_string_equal(content("logs/error.log"), "");
    assert_non_null(strstr(content("logs/error.log.1"), "two\n"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_prefix),       TEST(test_plain),
        TEST(test_odd_prefixes), TEST(test_long),
        TEST(test_quiet),        TEST(test_rotation),
        TEST(test_not_followed), TEST(test_no_file),
        TEST(test_deleted),      TEST(test_swapped_ancestor),
        TEST(test_own_link),     TEST(test_syslog),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
