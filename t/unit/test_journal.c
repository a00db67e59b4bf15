/* The journal, and the lock under which it is written. */

#include "clean.h"

#include <signal.h>
#include <time.h>

#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "ecert_journal.h"
#include "ecert_json.h"
#include "ecert_lock.h"

#define NOW INT64_C(1795392000)

static ecert_err_t err;
static int waited;

static void waiting(void)
{
    waited++;
}

/* ---- the journal ------------------------------------------------------- */

static size_t count(const char *site)
{
    json_t *list = ecert_journal_read(scratch, site, &err);
    size_t n;

    if (list == NULL) {
        fail_msg("%s: %s", err.file, ecert_err_word(err.code));
    }
    n = json_array_size(list);
    json_decref(list);
    return n;
}

static int add(const char *command, const char *site, json_t *more)
{
    return ecert_journal_add(scratch, command, site, more, NOW, &err);
}

static void test_entries(void **state)
{
    json_t *list, *entry;

    (void)state;
    umask(0);
    assert_int_equal(count(NULL), 0);
    assert_false(is_there("log"));
    assert_int_equal(add("new", "a.hk", json_pack("{s:i}", "request", 3)), 0);
    assert_int_equal(add("issuers add", NULL, NULL), 0);
    assert_int_equal(add("install", "b.hk", NULL), 0);
    assert_int_equal(mode_of("log"), 0600);
    assert_int_equal(count(NULL), 3);
    assert_int_equal(count("a.hk"), 1);
    assert_int_equal(count("c.hk"), 0);
    list = ecert_journal_read(scratch, "a.hk", &err);
    entry = json_array_get(list, 0);
    assert_string_equal(ecert_json_text(entry, "time"), "2026-11-23T00:00:00Z");
    assert_string_equal(ecert_json_text(entry, "command"), "new");
    assert_string_equal(ecert_json_text(entry, "site"), "a.hk");
    assert_non_null(ecert_json_text(entry, "user"));
    assert_int_equal(json_integer_value(json_object_get(entry, "request")), 3);
    json_decref(list);
}

/* One line whatever stands in it, and nobody writes another's name. */
static void test_forged(void **state)
{
    json_t *list, *entry;

    (void)state;
    assert_int_equal(
        add("new", "a.hk",
            json_pack("{s:s,s:s,s:s}", "user", "somebody else", "time", "never",
                      "file", "x\n{\"command\": \"forged\"}\n")),
        0);
    assert_int_equal(count(NULL), 1);
    list = ecert_journal_read(scratch, NULL, &err);
    entry = json_array_get(list, 0);
    assert_string_not_equal(ecert_json_text(entry, "user"), "somebody else");
    assert_string_equal(ecert_json_text(entry, "time"), "2026-11-23T00:00:00Z");
    json_decref(list);
}

/* The login uid is the kernel's word; only without it sudo's counts. */
static void test_user(void **state)
{
    char login[32] = "";
    int fd = open("/proc/self/loginuid", O_RDONLY | O_CLOEXEC);
    json_t *list, *entry;
    int known;

    (void)state;
    if (fd >= 0) {
        assert_true(read(fd, login, sizeof(login) - 1) >= 0);
        close(fd);
    }
    known = login[0] != '\0' && strcmp(login, "4294967295") != 0;
    setenv("SUDO_USER", "alice", 1);
    assert_int_equal(add("new", NULL, NULL), 0);
    unsetenv("SUDO_USER");
    list = ecert_journal_read(scratch, NULL, &err);
    entry = json_array_get(list, 0);
    if (known || geteuid() != 0) {
        assert_string_not_equal(ecert_json_text(entry, "user"), "alice");
    } else {
        assert_string_equal(ecert_json_text(entry, "user"), "alice");
        assert_string_equal(ecert_json_text(entry, "as"), "root");
    }
    json_decref(list);
}

static void test_torn(void **state)
{
    (void)state;
    put("log", "{\"command\": \"a\"}\n"
               "rubbish\n"
               "[1]\n"
               "\n"
               "{\"command\": \"b\", \"site\": \"a.hk\"}\r\n"
               "{\"command\": \"c\", \"si");
    assert_int_equal(count(NULL), 2);
    assert_int_equal(add("d", NULL, NULL), 0);
    assert_int_equal(count(NULL), 3); /* the torn line swallowed nothing */
    assert_int_equal(add("e", NULL, NULL), 0);
    assert_int_equal(count(NULL), 4);
    put("log", "{\"command\": \"a\"}"); /* whole, but for its newline */
    assert_int_equal(count(NULL), 1);
    assert_int_equal(add("b", NULL, NULL), 0);
    assert_int_equal(count(NULL), 2);
    put("log", "");
    assert_int_equal(count(NULL), 0);
}

static void test_large(void **state)
{
    static const char line[] = "{\"time\": \"2026-11-23T00:00:00Z\", \"user\": "
                               "\"root\", \"command\": \"x\", \"site\": "
                               "\"a.hk\"}\n";
    size_t n = 5 * 1024 * 1024 / (sizeof(line) - 1) + 1;
    FILE *out = fopen(at("log"), "w");
    struct timespec begin, end;
    double ms;

    (void)state;
    for (size_t i = 0; i < n; i++) {
        fputs(line, out);
    }
    fclose(out);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    assert_int_equal(count(NULL), n);
    clock_gettime(CLOCK_MONOTONIC, &end);
    ms = (double)(end.tv_sec - begin.tv_sec) * 1e3
         + (double)(end.tv_nsec - begin.tv_nsec) / 1e6;
    print_message("# 5 MB, %zu lines: %.0f ms\n", n, ms);
    assert_int_equal(add("y", "b.hk", NULL), 0);
    assert_int_equal(count("b.hk"), 1);
    assert_true(ms < 20000);
}

static void test_refused(void **state)
{
    (void)state;
    assert_int_equal(
        ecert_journal_add(at("none"), "x", NULL, json_object(), NOW, &err), -1);
    assert_err(&err, ECERT_ERR_MISSING);
    assert_int_equal(
        ecert_journal_add(too_long_path(), "x", NULL, json_object(), NOW, &err),
        -1);
    assert_int_equal(err.sys, ENAMETOOLONG);
    assert_null(ecert_journal_read(too_long_path(), NULL, &err));
    mkfifo(at("log"), 0600);
    assert_int_equal(add("x", NULL, NULL), -1); /* without waiting */
    assert_err(&err, ECERT_ERR_NOT_FILE);
    assert_null(ecert_journal_read(scratch, NULL, &err));
    assert_err(&err, ECERT_ERR_NOT_FILE);
    unlink(at("log"));
    put("other", "");
    put_link("other", "log");
    assert_int_equal(add("x", NULL, NULL), -1);
    assert_err(&err, ECERT_ERR_SYSTEM);
    assert_int_equal(err.sys, ELOOP);
    unlink(at("log"));
    put("log", "{}\n");
    chmod(at("log"), 0622);
    assert_null(ecert_journal_read(scratch, NULL, &err));
    assert_err(&err, ECERT_ERR_UNSAFE);
}

static void fill_disk(void)
{
    struct rlimit limit = {.rlim_cur = 100, .rlim_max = 100};
    static char text[200];

    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    memset(text, 'a', sizeof(text) - 1);
    _exit(add("x", NULL, json_pack("{s:s}", "text", text)) == -1
                  && err.code == ECERT_ERR_SYSTEM && err.sys == EFBIG
              ? 0
              : 1);
}

/* A disk that is full cuts the line off; the next one is whole again. */
static void test_full_disk(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    assert_int_equal(add("a", NULL, NULL), 0);
    pid = fork();
    if (pid == 0) {
        fill_disk();
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(count(NULL), 1);
    assert_int_equal(add("b", NULL, NULL), 0);
    assert_int_equal(count(NULL), 2);
}

/* ecert log takes no lock. */
static void test_read_while_written(void **state)
{
    int status;
    pid_t pid;
    size_t n = 0;

    (void)state;
    assert_int_equal(add("a", NULL, NULL), 0);
    pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 200; i++) {
            struct timespec pause = {0, 2000000};

            add("b", NULL, NULL);
            nanosleep(&pause, NULL);
        }
        _exit(0);
    }
    while (waitpid(pid, &status, WNOHANG) == 0) {
        size_t now = count(NULL);

        assert_true(now >= n);
        n = now;
    }
    assert_int_equal(count(NULL), 201);
}

/* ---- the lock ---------------------------------------------------------- */

/* A child that holds the lock and says so with a byte. */
static pid_t hold(int *from)
{
    int fds[2];
    pid_t pid;
    char byte;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        close(fds[0]);
        if (ecert_lock(scratch, NULL, &err) >= 0
            && write(fds[1], "x", 1) == 1) {
            pause();
        }
        _exit(1);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    *from = fds[0];
    return pid;
}

static void test_lock(void **state)
{
    int fd, other;

    (void)state;
    waited = 0;
    fd = ecert_lock(scratch, waiting, &err);
    assert_true(fd >= 0);
    assert_int_equal(waited, 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    other = open(scratch, O_RDONLY | O_CLOEXEC);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), -1);
    assert_int_equal(errno, EWOULDBLOCK);
    close(fd);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
    close(other);
    assert_int_equal(entries(""), 0);
}

static void on_alarm(int signal_number)
{
    (void)signal_number;
}

/* Signals (a timer, SIGWINCH) do not end the waiting; the holder's does. */
static void test_lock_killed(void **state)
{
    struct sigaction action = {.sa_handler = on_alarm}, old;
    int from, fd, status, killed = 0;
    pid_t pid, killer;

    (void)state;
    waited = 0;
    pid = hold(&from);
    sigaction(SIGALRM, &action, &old);
    killer = fork();
    if (killer == 0) {
        usleep(50000);
        kill(getppid(), SIGALRM);
        usleep(100000);
        kill(pid, SIGKILL);
        _exit(0);
    }
    fd = ecert_lock(scratch, waiting, &err);
    assert_true(fd >= 0);
    assert_int_equal(waited, 1);
    killed = waitpid(pid, &status, 0) == pid && WIFSIGNALED(status);
    assert_true(killed);
    assert_int_equal(waitpid(killer, &status, 0), killer);
    sigaction(SIGALRM, &old, NULL);
    close(from);
    close(fd);
}

/* Two that come at once: one after the other, nothing is lost. */
static void test_lock_many(void **state)
{
    pid_t pids[8];

    (void)state;
    put("n", "0");
    for (int i = 0; i < 8; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            for (int k = 0; k < 20; k++) {
                int fd = ecert_lock(scratch, NULL, &err);
                char *text = slurp("n"), next[16];

                snprintf(next, sizeof(next), "%d", atoi(text) + 1);
                put("n", next);
                free(text);
                close(fd);
            }
            _exit(0);
        }
    }
    for (int i = 0; i < 8; i++) {
        int status;

        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    assert_holds("n", "160");
}

static void test_lock_refused(void **state)
{
    (void)state;
    assert_int_equal(ecert_lock(at("none"), waiting, &err), -1);
    assert_err(&err, ECERT_ERR_MISSING);
    folders("open");
    chmod(at("open"), 0777);
    assert_int_equal(ecert_lock(at("open"), waiting, &err), -1);
    assert_err(&err, ECERT_ERR_UNSAFE);
    put("file", "");
    assert_int_equal(ecert_lock(at("file"), waiting, &err), -1);
    assert_err(&err, ECERT_ERR_MISSING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLEAN(test_entries),   CLEAN(test_forged),
        CLEAN(test_user),      CLEAN(test_torn),
        CLEAN(test_large),     CLEAN(test_refused),
        CLEAN(test_full_disk), CLEAN(test_read_while_written),
        CLEAN(test_lock),      CLEAN(test_lock_killed),
        CLEAN(test_lock_many), CLEAN(test_lock_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
