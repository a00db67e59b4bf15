/*
 * Starting the agent: what it is given, what it may say, and what the server
 * does when it says nothing.  The agent in here is a shell script.
 */

#include "ecert_launch.h"

#undef ECERT_LAUNCH_PATIENCE
#define ECERT_LAUNCH_PATIENCE 1

#include "ecert_launch.c" /* with that patience, in place of the library's */

#include <sys/resource.h>

#include "scratch.h"

static ecert_conf_t *conf;
static ecert_launch_t launch;
static ecert_err_t err;
static int log_fd;

static int setup(void **state)
{
    ecert_site_t a = {.name = "a.hk"}, b = {.name = "b.hk"};

    if (scratch_setup(state) != 0) {
        return -1;
    }
    conf = ecert_conf_new();
    ecert_conf_set(&conf->agent, at("agent"), &err);
    ecert_conf_add(conf, &a, &err);
    ecert_conf_add(conf, &b, &err);
    log_fd = open(at("log"), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ecert_launch_init(&launch);
    return 0;
}

static int teardown(void **state)
{
    ecert_launch_close(&launch);
    ecert_conf_free(conf);
    close(log_fd);
    return scratch_teardown(state);
}

static void script(const char *body)
{
    char text[2048];

    snprintf(text, sizeof(text), "#!/bin/sh\n%s\n", body);
    put("agent.new", text);
    assert_int_equal(chmod(at("agent.new"), 0755), 0);
    assert_int_equal(rename(at("agent.new"), at("agent")), 0);
}

static int64_t clock_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* The file's content once it ends with that line; NULL after five seconds. */
static const char *wait_file(const char *name, const char *end)
{
    static char text[8192];

    for (int i = 0; i < 5000; i++) {
        int fd = open(at(name), O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

        if (fd >= 0) {
            close(fd);
        }
        if (n >= 0) {
            text[n] = '\0';
            if (strstr(text, end) != NULL) {
                return text;
            }
        }
        usleep(1000);
    }
    return NULL;
}

static void test_ready(void **state)
{
    char body[512];

    (void)state;
    /* lives until the control pipe ends */
    snprintf(body, sizeof(body),
             "printf R >&4; exec 4>&-; read x <&3; echo gone > %s", at("end"));
    script(body);
    assert_int_equal(ecert_launch(&launch, conf, log_fd, NULL, &err), 0);
    assert_true(launch.snap >= 0 && launch.seen >= 0 && launch.control >= 0);
    assert_int_equal(fcntl(launch.control, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(access(at("end"), F_OK), -1);
    ecert_launch_close(&launch);
    assert_int_equal(launch.snap, -1);
    assert_int_equal(launch.control, -1);
    assert_non_null(wait_file("end", "gone\n"));
    /* it was no child of this process */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

/* Exactly the descriptors that are for it, whatever this process has open. */
static void test_descriptors(void **state)
{
    char body[1024];
    const char *seen;
    int mine[40];

    (void)state;
    for (int i = 0; i < 40; i++) { /* none of them close-on-exec */
        mine[i] = open("/dev/null", O_RDONLY);
    }
    snprintf(
        body, sizeof(body),
        "printf R >&4\n(ls -l /proc/$$/fd > %s)\necho end >> %s\nread x <&3",
        at("fds"), at("fds"));
    script(body);
    assert_int_equal(ecert_launch(&launch, conf, log_fd, NULL, &err), 0);
    seen = wait_file("fds", "end\n");
    assert_non_null(seen);
    assert_non_null(strstr(seen, " 0 -> /dev/null\n"));
    assert_non_null(strstr(seen, " 1 -> /dev/null\n"));
    assert_non_null(strstr(seen, "/log\n"));
    assert_non_null(strstr(seen, " 3 -> pipe:"));
    assert_non_null(strstr(seen, " 4 -> pipe:"));
    assert_non_null(strstr(seen, " 5 -> /memfd:ecert-snapshot"));
    assert_non_null(strstr(seen, " 6 -> /memfd:ecert-seen"));
    assert_non_null(strstr(seen, " 7 -> /memfd:ecert-visits"));
    assert_non_null(strstr(seen, " 8 -> /memfd:ecert-configuration"));
    for (int fd = ECERT_FD_END; fd < 100; fd++) {
        char line[32];

        if (fd == 10) {
            continue; /* the shell's own, for its script */
        }
        snprintf(line, sizeof(line), " %d -> ", fd);
        assert_null(strstr(seen, line));
    }
    for (int i = 0; i < 40; i++) {
        close(mine[i]);
    }
}

static void test_environment(void **state)
{
    const char *seen;
    char body[1024];

    (void)state;
    setenv("ECERT_SECRET", "1", 1);
    unsetenv("TZ");
    snprintf(body, sizeof(body),
             "printf R >&4; tr '\\0' '\\n' < /proc/$$/environ > %s\n"
             "tr '\\0' ' ' < /proc/$$/cmdline > %s\n"
             "grep Sig /proc/$$/status > %s; echo end >> %s",
             at("env"), at("cmd"), at("signals"), at("signals"));
    script(body);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(ecert_launch(&launch, conf, log_fd, NULL, &err), 0);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    assert_non_null(wait_file("signals", "end\n"));
    seen = wait_file("env", "PATH=");
    assert_non_null(seen);
    assert_ptr_equal(strstr(seen, "PATH="), seen);
    assert_ptr_equal(strchr(seen, '\n') + 1, seen + strlen(seen));
    assert_non_null(wait_file("cmd", " agent --inherit "));
    seen = wait_file("signals", "SigIgn:\t0000000000000000");
    assert_non_null(seen);
    unsetenv("ECERT_SECRET");
}

/* Its lines have the server's time; one that does not fit is not cut. */
static void test_zone(void **state)
{
    char body[256], zone[300] = "";
    const char *seen;

    (void)state;
    for (size_t len = 252; len <= 253; len++) {
        memset(zone, 'x', len);
        setenv("TZ", zone, 1);
        snprintf(body, sizeof(body),
                 "tr '\\0' '\\n' < /proc/$$/environ > %s; echo end >> %s\n"
                 "printf R >&4",
                 at("zone"), at("zone"));
        script(body);
        assert_int_equal(ecert_launch(&launch, conf, log_fd, NULL, &err), 0);
        seen = wait_file("zone", "end\n");
        assert_non_null(seen);
        assert_int_equal(strstr(seen, "\nTZ=xxx") != NULL, len == 252);
        ecert_launch_close(&launch);
    }
    unsetenv("TZ");
}

/* It hears what was configured, and can write the snapshot. */
static void test_configuration(void **state)
{
    char body[512];
    const char *seen;

    (void)state;
    snprintf(body, sizeof(body), "cat /proc/$$/fd/8 > %s; printf R >&4",
             at("conf"));
    script(body);
    assert_int_equal(ecert_launch(&launch, conf, log_fd, NULL, &err), 0);
    seen = wait_file("conf", "name b.hk\n");
    assert_non_null(seen);
    assert_non_null(strstr(seen, "name a.hk\n"));
}

static void test_progress(void **state)
{
    int64_t begin = clock_now();

    (void)state;
    script(
        "for i in 1 2 3 4 5; do sleep 0.3; printf . >&4; done; printf R >&4");
    assert_int_equal(ecert_launch(&launch, conf, log_fd, NULL, &err), 0);
    assert_true(clock_now() - begin >= 1400); /* longer than the patience */
}

static void test_silence(void **state)
{
    int64_t begin = clock_now(), took;

    (void)state;
    script("read x <&3");
    assert_int_equal(ecert_launch(&launch, conf, log_fd, NULL, &err), 1);
    assert_int_equal(err.code, ECERT_ERR_AGENT);
    assert_non_null(strstr(err.detail, "1 seconds"));
    took = clock_now() - begin;
    assert_true(took >= 990 && took <= 3000);
    assert_true(launch.snap >= 0 && launch.control >= 0);
}

static void test_early_end(void **state)
{
    (void)state;
    script("printf . >&4; exit 3");
    assert_int_equal(ecert_launch(&launch, conf, log_fd, NULL, &err), 1);
    assert_int_equal(err.code, ECERT_ERR_AGENT);
    assert_non_null(strstr(err.detail, "ended before it was ready"));
    assert_true(launch.snap >= 0 && launch.seen >= 0);
}

static void test_no_executable(void **state)
{
    (void)state;
    assert_int_equal(ecert_launch(&launch, conf, log_fd, NULL, &err), 1);
    assert_int_equal(err.code, ECERT_ERR_AGENT);
    assert_non_null(strstr(err.detail, "cannot be executed"));
    assert_int_equal(ecert_launch_check(conf, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_AGENT);
    ecert_launch_close(&launch);
    put("agent", "not a program");
    assert_int_equal(ecert_launch(&launch, conf, log_fd, NULL, &err), 1);
    assert_non_null(strstr(err.detail, "cannot be executed"));
    assert_int_equal(ecert_launch_check(conf, &err), -1);
    assert_int_equal(ecert_launch_test(conf, log_fd, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_AGENT);
    assert_int_equal(chmod(at("agent"), 0755), 0);
    assert_int_equal(ecert_launch_check(conf, &err), 0);
    unlink(at("agent"));
    folders("agent");
    assert_int_equal(ecert_launch_check(conf, &err), -1);
}

static void test_test(void **state)
{
    const char *seen;

    (void)state;
    script("test \"$3\" = --test || exit 5\n"
           "grep -q 'name a.hk' /proc/$$/fd/8 || exit 6\n"
           "(ls -l /proc/$$/fd >&2); echo said >&2");
    assert_int_equal(ecert_launch_test(conf, log_fd, &err), 0);
    seen = wait_file("log", "said\n");
    assert_non_null(seen);
    assert_non_null(strstr(seen, " 0 -> /dev/null\n"));
    assert_non_null(strstr(seen, " 1 -> /dev/null\n"));
    assert_non_null(strstr(seen, " 8 -> /memfd:ecert-configuration"));
    for (int fd = 3; fd < 100; fd++) {
        char line[32];

        snprintf(line, sizeof(line), " %d -> ", fd);
        assert_true(fd == ECERT_FD_CONF || fd == 10
                    || strstr(seen, line) == NULL);
    }
    script("exit 1");
    assert_int_equal(ecert_launch_test(conf, log_fd, &err), 1);
    script("kill -9 $$");
    assert_int_equal(ecert_launch_test(conf, log_fd, &err), 1);
}

static void assert_record(uint32_t slot, const char *text)
{
    ecert_snap_t *snap = ecert_snap_open(launch.snap, &err);
    unsigned char *bytes;
    uint64_t generation;
    size_t len;

    assert_non_null(snap);
    if (text == NULL) {
        assert_int_equal(ecert_snap_generation(snap, slot), 0);
    } else {
        assert_int_equal(
            ecert_snap_read(snap, slot, &bytes, &len, &generation, &err), 0);
        assert_int_equal(len, strlen(text));
        assert_memory_equal(bytes, text, len);
        ecert_snap_free(bytes, len);
    }
    ecert_snap_close(snap);
}

/* Sites that go on begin with what was served, wherever their slot is now. */
static void test_previous(void **state)
{
    ecert_site_t c = {.name = "c.hk"}, b = {.name = "B.hk."};
    ecert_conf_t *before = ecert_conf_new();
    ecert_launch_t other;
    struct stat here, there;
    ecert_launch_t previous = {.snap = ecert_snap_create(2, &err),
                               .visits = ecert_visits_create(&err)};
    ecert_snap_t *old = ecert_snap_open_writer(previous.snap, &err);

    (void)state;
    conf->dcv = 1;
    assert_int_equal(ecert_conf_add(before, &b, &err), 0);
    assert_int_equal(ecert_conf_add(before, &c, &err), 1);
    for (uint32_t i = 0; i < 2; i++) {
        ecert_snap_name(old, i, before->sites[i].id);
    }
    ecert_snap_publish(old, 0, (const void *)"b's", 3, &err);
    ecert_snap_publish(old, 1, (const void *)"c's", 3, &err);
    ecert_snap_publish(old, 2, (const void *)"tokens", 6, &err);
    ecert_snap_publish(old, ecert_snap_evidence_slot(old),
                       (const void *)"evidence", 8, &err);
    ecert_snap_publish(old, ecert_snap_failures_slot(old),
                       (const void *)"failures", 8, &err);
    assert_int_equal(ecert_snap_seal(previous.snap, &err), 0);
    ecert_launch_init(&other);
    other.snap = other.visits = log_fd; /* no memory of ours */
    script("exit 1"); /* an agent that fails must not cost them */
    assert_int_equal(ecert_launch(&launch, conf, log_fd, &previous, &err), 1);
    assert_record(0, NULL);
    assert_record(1, "b's");
    assert_record(2, "tokens");
    assert_record(5, "evidence");
    assert_record(6, "failures");
    assert_int_equal(fstat(launch.visits, &there), 0);
    assert_int_equal(fstat(previous.visits, &here), 0);
    assert_true(here.st_ino == there.st_ino);
    ecert_launch_close(&launch);
    conf->dcv = 0; /* then nothing of who came is carried on */
    assert_int_equal(ecert_launch(&launch, conf, log_fd, &previous, &err), 1);
    assert_record(1, "b's");
    assert_record(2, NULL);
    assert_record(5, NULL);
    assert_int_equal(fstat(launch.visits, &there), 0);
    assert_true(here.st_ino != there.st_ino);
    ecert_launch_close(&launch);
    conf->dcv = 1;
    assert_int_equal(ecert_launch(&launch, conf, log_fd, &other, &err), 1);
    assert_record(1, NULL);
    assert_int_equal(fstat(launch.visits, &there), 0);
    assert_true(here.st_ino != there.st_ino && there.st_size > 1 << 20);
    ecert_snap_close(old);
    close(previous.snap);
    close(previous.visits);
    ecert_conf_free(before);
}

/* No room for more descriptors: an error, and nothing is left open. */
static void test_no_descriptors(void **state)
{
    struct rlimit old, few;
    int next = dup(0);

    (void)state;
    close(next);
    script("printf R >&4");
    getrlimit(RLIMIT_NOFILE, &old);
    for (rlim_t room = 0; room < 8; room++) {
        few = old;
        few.rlim_cur = (rlim_t)next + room;
        setrlimit(RLIMIT_NOFILE, &few);
        assert_int_not_equal(ecert_launch(&launch, conf, log_fd, NULL, &err),
                             0);
        assert_int_not_equal(err.code, ECERT_OK);
        ecert_launch_close(&launch);
        setrlimit(RLIMIT_NOFILE, &old);
        assert_int_equal(dup(0), next);
        close(next);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_ready),   TEST(test_descriptors),   TEST(test_environment),
        TEST(test_zone),    TEST(test_configuration), TEST(test_progress),
        TEST(test_silence), TEST(test_early_end),     TEST(test_no_executable),
        TEST(test_test),    TEST(test_previous),      TEST(test_no_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
