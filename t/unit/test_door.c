/* Asking an agent for its status, also one that is dead, stopped, or foreign.
 */

#include "scratch.h"

#include <poll.h>
#include <signal.h>
#include <time.h>

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "ecert_door.h"

static ecert_err_t err;

static int setup(void **state)
{
    if (scratch_setup(state) != 0) {
        return -1;
    }
    folders("run");
    return 0;
}

static char *describe(void *ctx)
{
    return ctx ? strdup(ctx) : NULL;
}

/* A process that answers as often as it is told, then leaves. */
static pid_t agent(ecert_door_t *door, const char *text, int times)
{
    pid_t pid = fork();

    if (pid == 0) {
        for (; times > 0; times--) {
            struct pollfd pfd = {.fd = door->fd, .events = POLLIN};

            poll(&pfd, 1, 10000);
            ecert_door_answer(door, describe, (void *)(uintptr_t)text);
        }
        _exit(0);
    }
    assert_true(pid > 0);
    return pid;
}

static void test_answer(void **state)
{
    char *big = malloc(3 * 1000 * 1000 + 1), *text;
    ecert_door_t door;
    struct stat st;
    int dead = 7;
    pid_t pid;

    (void)state;
    memset(big, 'x', 3 * 1000 * 1000);
    big[3 * 1000 * 1000] = '\0';
    assert_int_equal(ecert_door_open(&door, scratch, &err), 0);
    assert_int_equal(stat(door.path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    pid = agent(&door, big, 3);
    for (int i = 0; i < 3; i++) {
        text = ecert_door_ask(door.path, 5, &dead, &err);
        assert_non_null(text);
        assert_int_equal(dead, 0);
        assert_string_equal(text, big);
        free(text);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    ecert_door_close(&door, 1);
    assert_int_equal(door.fd, -1);
    assert_int_equal(access(door.path, F_OK), -1);
    ecert_door_close(&door, 1);
    free(big);
}

static void test_nothing_to_say(void **state)
{
    ecert_door_t door;
    int dead;
    pid_t pid;

    (void)state;
    assert_int_equal(ecert_door_open(&door, scratch, &err), 0);
    pid = agent(&door, NULL, 1);
    assert_null(ecert_door_ask(door.path, 5, &dead, &err));
    assert_int_equal(err.code, ECERT_ERR_AGENT);
    assert_int_equal(dead, 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    ecert_door_close(&door, 1);
}

/* Who asks and leaves at once costs the agent nothing. */
static void test_nobody_there(void **state)
{
    ecert_door_t door;

    (void)state;
    assert_int_equal(ecert_door_open(&door, scratch, &err), 0);
    assert_int_equal(ecert_door_answer(&door, describe, NULL), 0);
    for (int i = 0; i < 3; i++) {
        int dead;

        assert_null(ecert_door_ask(door.path, 0, &dead, &err));
        ecert_door_answer(&door, describe, (void *)(uintptr_t) "text");
    }
    ecert_door_close(&door, 1);
}

/* The agent is told, or it would be woken for him without end. */
static void test_no_descriptor(void **state)
{
    struct rlimit before, few;
    ecert_door_t door;
    int dead, lowest;

    (void)state;
    assert_int_equal(ecert_door_open(&door, scratch, &err), 0);
    assert_null(ecert_door_ask(door.path, 0, &dead, &err));
    lowest = dup(door.fd);
    assert_int_equal(close(lowest), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = (rlim_t)lowest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_int_equal(ecert_door_answer(&door, describe, NULL), -1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(ecert_door_answer(&door, describe, NULL), 0);
    ecert_door_close(&door, 1);
}

static void test_dead(void **state)
{
    ecert_door_t door, other;
    char old[sizeof(door.path)];
    int dead;
    pid_t pid;

    (void)state;
    pid = fork();
    if (pid == 0) { /* dies without taking its socket away */
        _exit(ecert_door_open(&door, scratch, &err) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    snprintf(old, sizeof(old), "%s/run/%ld.sock", scratch, (long)pid);
    assert_int_equal(access(old, F_OK), 0);
    assert_null(ecert_door_ask(old, 1, &dead, &err));
    assert_int_equal(dead, 1);
    put("run/other.txt", "kept");
    put("run/file.sock", "no socket, kept");
    assert_int_equal(ecert_door_open(&other, scratch, &err), 0);
    assert_int_equal(access(old, F_OK), -1);
    assert_int_equal(access(at("run/other.txt"), F_OK), 0);
    assert_null(ecert_door_ask(old, 1, &dead, &err));
    assert_int_equal(dead, 1);
    assert_int_equal(err.code, ECERT_ERR_MISSING);
    ecert_door_close(&other, 0);
    assert_int_equal(access(other.path, F_OK), 0);
    /* its own old one (a number used again) is replaced */
    assert_int_equal(ecert_door_open(&other, scratch, &err), 0);
    ecert_door_close(&other, 1);
}

/* A living one's socket stays where it is. */
static void test_two(void **state)
{
    ecert_door_t one;
    int status;
    pid_t pid;

    (void)state;
    assert_int_equal(ecert_door_open(&one, scratch, &err), 0);
    pid = fork();
    if (pid == 0) {
        ecert_door_t two;
        int rc = ecert_door_open(&two, scratch, &err);

        ecert_door_close(&two, 1);
        _exit(rc == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(access(one.path, F_OK), 0);
    ecert_door_close(&one, 1);
}

static void test_stopped(void **state)
{
    struct timespec begin, end;
    ecert_door_t door;
    pid_t pid;
    int dead;

    (void)state;
    assert_int_equal(ecert_door_open(&door, scratch, &err), 0);
    pid = agent(&door, "text", 1);
    kill(pid, SIGSTOP);
    waitpid(pid, NULL, WUNTRACED);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < 14; i++) { /* more than it has places to wait */
        assert_null(ecert_door_ask(door.path, i == 0, &dead, &err));
        assert_int_equal(dead, 0);
        if (i == 0) {
            assert_int_equal(err.code, ECERT_ERR_AGENT);
            assert_non_null(strstr(err.detail, "does not answer"));
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - begin.tv_sec >= 1
                && end.tv_sec - begin.tv_sec <= 3);
    /* and nobody takes it for dead */
    assert_int_equal(access(door.path, F_OK), 0);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    ecert_door_close(&door, 1);
}

static void test_long_path(void **state)
{
    char store[1000] = "", endless[3501];
    ecert_door_t door;
    char *text;
    int dead;
    pid_t pid;

    (void)state;
    for (int i = 0; i < 10; i++) { /* far longer than sun_path */
        strcat(store, i ? "/a-folder-with-a-rather-long-name" : "deep");
    }
    folders(store);
    strcat(store, "/run");
    folders(store);
    *strrchr(store, '/') = '\0';
    assert_int_equal(ecert_door_open(&door, at(store), &err), 0);
    pid = agent(&door, "deep down", 1);
    text = ecert_door_ask(door.path, 5, &dead, &err);
    assert_non_null(text);
    assert_string_equal(text, "deep down");
    free(text);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    ecert_door_close(&door, 1);
    memset(endless, 'x', 3500);
    endless[0] = '/';
    endless[3500] = '\0';
    assert_int_equal(ecert_door_open(&door, endless, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_CONF);
    assert_int_equal(door.fd, -1);
}

static void test_no_store(void **state)
{
    ecert_door_t door;
    int dead;

    (void)state;
    assert_int_equal(ecert_door_open(&door, at("no"), &err), -1);
    assert_int_equal(err.code, ECERT_ERR_MISSING);
    ecert_door_close(&door, 1);
    assert_null(ecert_door_ask("no-slash", 1, &dead, &err));
    assert_null(ecert_door_ask(at("no/1.sock"), 1, &dead, &err));
    assert_int_equal(dead, 1);
}

/* Another user who got as far as the socket is told nothing. */
static void test_foreign(void **state)
{
    ecert_door_t door;
    int status;
    pid_t pid, asker;

    (void)state;
    if (skipped(geteuid() != 0, "needs root")) {
        return;
    }
    assert_int_equal(ecert_door_open(&door, scratch, &err), 0);
    assert_int_equal(chmod(scratch, 0755), 0);
    assert_int_equal(chmod(door.path, 0666), 0);
    pid = agent(&door, "secret", 1);
    asker = fork();
    if (asker == 0) {
        char *text;
        int dead;

        if (setgid(65534) != 0 || setuid(65534) != 0) {
            _exit(2);
        }
        text = ecert_door_ask(door.path, 5, &dead, &err);
        _exit(text != NULL);
    }
    assert_int_equal(waitpid(asker, &status, 0), asker);
    assert_int_equal(status, 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    ecert_door_close(&door, 1);
}

int main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_answer),       TEST(test_nothing_to_say),
        TEST(test_nobody_there), TEST(test_dead),
        TEST(test_two),          TEST(test_stopped),
        TEST(test_long_path),    TEST(test_no_store),
        TEST(test_foreign),      TEST(test_no_descriptor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
