/* Asking an agent for its status, also one that is dead, stopped, or foreign.
 */

#include "scratch.h"

#include <poll.h>
#include <signal.h>
#include <time.h>

#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "cli/cli.h"
#include "cli/servers.h"
#include "ecert_door.h"
#include "ecert_file.h"

static ecert_err_t err;

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
    ecert_door_state_t found = ECERT_DOOR_DEAD;
    pid_t pid;

    (void)state;
    memset(big, 'x', 3 * 1000 * 1000);
    big[3 * 1000 * 1000] = '\0';
    assert_int_equal(ecert_door_open(&door, at("run"), &err), 0);
    assert_int_equal(stat(door.path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    pid = agent(&door, big, 3);
    for (int i = 0; i < 3; i++) {
        text = ecert_door_ask(door.path, 5, &found, &err);
        assert_non_null(text);
        assert_int_equal(found, ECERT_DOOR_LIVES);
        assert_string_equal(text, big);
        free(text);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    ecert_door_close(&door);
    assert_int_equal(door.fd, -1);
    assert_int_equal(access(door.path, F_OK), -1);
    ecert_door_close(&door);
    free(big);
}

static void test_nothing_to_say(void **state)
{
    ecert_door_t door;
    ecert_door_state_t found;
    pid_t pid;

    (void)state;
    assert_int_equal(ecert_door_open(&door, at("run"), &err), 0);
    pid = agent(&door, NULL, 1);
    assert_null(ecert_door_ask(door.path, 5, &found, &err));
    assert_int_equal(err.code, ECERT_ERR_AGENT);
    assert_int_equal(found, ECERT_DOOR_LIVES);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    ecert_door_close(&door);
}

/* Who asks and leaves at once costs the agent nothing. */
static void test_nobody_there(void **state)
{
    ecert_door_t door;

    (void)state;
    assert_int_equal(ecert_door_open(&door, at("run"), &err), 0);
    assert_int_equal(ecert_door_answer(&door, describe, NULL), 0);
    for (int i = 0; i < 3; i++) {
        ecert_door_state_t found;

        assert_null(ecert_door_ask(door.path, 0, &found, &err));
        ecert_door_answer(&door, describe, (void *)(uintptr_t) "text");
    }
    ecert_door_close(&door);
}

/* The agent is told, or it would be woken for him without end. */
static void test_no_descriptor(void **state)
{
    struct rlimit before, few;
    ecert_door_t door;
    ecert_door_state_t found;
    int lowest;

    (void)state;
    assert_int_equal(ecert_door_open(&door, at("run"), &err), 0);
    assert_null(ecert_door_ask(door.path, 0, &found, &err));
    lowest = dup(door.fd);
    assert_int_equal(close(lowest), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = (rlim_t)lowest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_int_equal(ecert_door_answer(&door, describe, NULL), -1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(ecert_door_answer(&door, describe, NULL), 0);
    ecert_door_close(&door);
}

/* The socket that is there, and no other file but its lock. */
static void only_socket(char *path, size_t size)
{
    char **names;
    size_t n;

    assert_int_equal(ecert_file_list(at("run"), 10, NULL, &names, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_true(ecert_door_is(names[0]));
    snprintf(path, size, "%s/run/%s", scratch, names[0]);
    ecert_names_free(names, n);
}

/* What an agent that was killed leaves, with its lock's file. */
static void leave_dead(char *path, size_t size)
{
    ecert_door_t door;
    pid_t pid = fork();

    if (pid == 0) {
        _exit(ecert_door_open(&door, at("run"), &err) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    only_socket(path, size);
}

static const char *lock_of(const char *socket)
{
    static char path[4096];
    const char *name = strrchr(socket, '/') + 1;

    snprintf(path, sizeof(path), "%.*s.%.*s.lock", (int)(name - socket), socket,
             (int)(strlen(name) - strlen(".sock")), name);
    return path;
}

static void test_dead(void **state)
{
    char old[sizeof(((ecert_door_t *)0)->path)];
    ecert_door_state_t found;
    ecert_door_t door;

    (void)state;
    leave_dead(old, sizeof(old));
    assert_int_equal(access(lock_of(old), F_OK), 0);
    assert_null(ecert_door_ask(old, 1, &found, &err));
    assert_int_equal(found, ECERT_DOOR_DEAD);
    put("run/other.txt", "kept");
    put("run/file.sock", "no socket of an agent, kept");
    assert_int_equal(ecert_door_open(&door, at("run"), &err), 0);
    assert_int_equal(access(old, F_OK), -1);
    assert_int_equal(access(lock_of(old), F_OK), -1);
    assert_int_equal(access(at("run/other.txt"), F_OK), 0);
    assert_int_equal(access(at("run/file.sock"), F_OK), 0);
    assert_null(ecert_door_ask(old, 1, &found, &err));
    assert_int_equal(found, ECERT_DOOR_DEAD);
    assert_int_equal(err.code, ECERT_ERR_MISSING);
    ecert_door_close(&door);
    assert_int_equal(access(lock_of(door.path), F_OK), -1);
}

/* Nobody listens here, but somebody holds its lock: an agent of another machine
 * that shares the folder. */
static void test_elsewhere(void **state)
{
    char old[sizeof(((ecert_door_t *)0)->path)];
    ecert_door_state_t found;
    ecert_door_t door;
    int fd;

    (void)state;
    leave_dead(old, sizeof(old));
    fd = open(lock_of(old), O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    assert_null(ecert_door_ask(old, 1, &found, &err));
    assert_int_equal(found, ECERT_DOOR_ELSEWHERE);
    assert_int_equal(ecert_door_open(&door, at("run"), &err), 0);
    assert_int_equal(access(old, F_OK), 0);
    ecert_door_close(&door);
    close(fd);
    assert_null(ecert_door_ask(old, 1, &found, &err));
    assert_int_equal(found, ECERT_DOOR_DEAD);
}

/* Two agents with one PID, as in two containers: neither's way is the other's.
 */
static void test_same_pid(void **state)
{
    ecert_door_t one, two;

    (void)state;
    assert_int_equal(ecert_door_open(&one, at("run"), &err), 0);
    assert_int_equal(ecert_door_open(&two, at("run"), &err), 0);
    assert_string_not_equal(one.path, two.path);
    assert_true(ecert_door_is_there(&one) && ecert_door_is_there(&two));
    ecert_door_close(&two);
    assert_true(ecert_door_is_there(&one));
    ecert_door_close(&one);
}

/* Whoever replaced the folder finds out; what is there now is not touched. */
static void test_replaced(void **state)
{
    ecert_door_t door;

    (void)state;
    assert_int_equal(ecert_door_open(&door, at("run"), &err), 0);
    assert_int_equal(rename(at("run"), at("moved")), 0);
    assert_false(ecert_door_is_there(&door));
    folders("run");
    assert_false(ecert_door_is_there(&door));
    put(door.path + strlen(scratch) + 1, "of somebody else");
    assert_false(ecert_door_is_there(&door));
    ecert_door_close(&door);
    assert_int_equal(access(door.path, F_OK), 0);
    assert_int_equal(ecert_door_open(&door, at("run"), &err), 0);
    assert_true(ecert_door_is_there(&door));
    ecert_door_close(&door);
}

static void test_names(void **state)
{
    (void)state;
    assert_true(ecert_door_is("4711-0123abcd.sock"));
    assert_true(ecert_door_is("4711.sock"));
    assert_false(ecert_door_is("4711-0123abc.sock"));
    assert_false(ecert_door_is("4711-0123abcd.lock"));
    assert_false(ecert_door_is("mysqld.sock"));
    assert_false(ecert_door_is(".4711-0123abcd.sock"));
}

/* A living one's socket stays where it is. */
static void test_two(void **state)
{
    ecert_door_t one;
    int status;
    pid_t pid;

    (void)state;
    assert_int_equal(ecert_door_open(&one, at("run"), &err), 0);
    pid = fork();
    if (pid == 0) {
        ecert_door_t two;
        int rc = ecert_door_open(&two, at("run"), &err);

        ecert_door_close(&two);
        _exit(rc == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(access(one.path, F_OK), 0);
    ecert_door_close(&one);
}

static void test_stopped(void **state)
{
    struct timespec begin, end;
    ecert_door_t door;
    pid_t pid;
    ecert_door_state_t found;

    (void)state;
    assert_int_equal(ecert_door_open(&door, at("run"), &err), 0);
    pid = agent(&door, "text", 1);
    kill(pid, SIGSTOP);
    waitpid(pid, NULL, WUNTRACED);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < 14; i++) { /* more than it has places to wait */
        assert_null(ecert_door_ask(door.path, i == 0, &found, &err));
        assert_int_equal(found, ECERT_DOOR_LIVES);
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
    ecert_door_close(&door);
}

static void test_long_path(void **state)
{
    char store[1000] = "", endless[4096];
    ecert_door_t door;
    char *text;
    ecert_door_state_t found;
    pid_t pid;

    (void)state;
    for (int i = 0; i < 10; i++) { /* far longer than sun_path */
        strcat(store, i ? "/a-folder-with-a-rather-long-name" : "deep");
    }
    folders(store);
    assert_int_equal(ecert_door_open(&door, at(store), &err), 0);
    pid = agent(&door, "deep down", 1);
    text = ecert_door_ask(door.path, 5, &found, &err);
    assert_non_null(text);
    assert_string_equal(text, "deep down");
    free(text);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    ecert_door_close(&door);
    memset(endless, 'x', sizeof(endless) - 1);
    endless[0] = '/';
    endless[sizeof(endless) - 1] = '\0';
    assert_int_equal(ecert_door_open(&door, endless, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_SYSTEM);
    assert_int_equal(door.fd, -1);
}

static void test_no_store(void **state)
{
    ecert_door_t door;
    ecert_door_state_t found;

    (void)state;
    assert_int_equal(ecert_door_open(&door, at("no/run"), &err), -1);
    assert_int_equal(err.code, ECERT_ERR_MISSING);
    ecert_door_close(&door);
    assert_null(ecert_door_ask("no-slash", 1, &found, &err));
    assert_null(ecert_door_ask(at("no/1.sock"), 1, &found, &err));
    assert_int_equal(found, ECERT_DOOR_DEAD);
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
    assert_int_equal(ecert_door_open(&door, at("run"), &err), 0);
    assert_int_equal(chmod(scratch, 0755), 0);
    assert_int_equal(chmod(door.path, 0666), 0);
    pid = agent(&door, "secret", 1);
    asker = fork();
    if (asker == 0) {
        char *text;
        ecert_door_state_t found;

        if (setgid(65534) != 0 || setuid(65534) != 0) {
            _exit(2);
        }
        text = ecert_door_ask(door.path, 5, &found, &err);
        _exit(text != NULL);
    }
    assert_int_equal(waitpid(asker, &status, 0), asker);
    assert_int_equal(status, 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    ecert_door_close(&door);
}

/* Who made a socket in a folder of everybody's is not believed, unless it is
 * root or oneself. */
static void test_planted(void **state)
{
    char path[sizeof(((ecert_door_t *)0)->path)], *text;
    ecert_door_state_t found;
    ecert_door_t door;
    pid_t pid;
    int ready[2];

    (void)state;
    if (skipped(geteuid() != 0, "needs root")) {
        return;
    }
    assert_int_equal(chmod(scratch, 0755), 0);
    assert_int_equal(mkdir(at("run"), 0700), 0);
    assert_int_equal(chmod(at("run"), 01777), 0);
    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        if (setgid(65534) != 0 || setuid(65534) != 0
            || ecert_door_open(&door, at("run"), &err) != 0
            || write(ready[1], "", 1) != 1) {
            _exit(1);
        }
        pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], path, 1), 1);
    close(ready[0]);
    only_socket(path, sizeof(path));
    assert_null(ecert_door_ask(path, 1, &found, &err));
    assert_int_equal(found, ECERT_DOOR_FOREIGN);
    assert_int_equal(err.code, ECERT_ERR_UNSAFE);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);

    assert_int_equal(ecert_door_open(&door, at("run"), &err), 0);
    pid = agent(&door, "root's", 1);
    text = ecert_door_ask(door.path, 5, &found, &err);
    assert_string_equal(text, "root's");
    free(text);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    ecert_door_close(&door);
}

const char *ecert_cli_run(void)
{
    return NULL;
}

int ecert_cli_fail(const char *site, const ecert_err_t *error)
{
    (void)site;
    return error->code == ECERT_OK;
}

/* What the commands print of a report may come from an agent that was taken
 * over. */
static void test_terminal(void **state)
{
    json_t *servers, *site;
    ecert_door_t door;
    int silent = 0;
    pid_t pid;

    (void)state;
    assert_int_equal(ecert_door_open(&door, at("run"), &err), 0);
    pid = agent(&door,
                "{\"server\": \"nginx\\u001b[31m\\n[x] forged\", \"sites\": "
                "[{\"site\": \"a\\u0007\"}]}",
                1);
    servers = ecert_cli_servers(scratch, &silent);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(silent, 0);
    assert_string_equal(json_string_value(json_object_get(
                            json_array_get(servers, 0), "server")),
                        "nginx\\x1b[31m\\x0a[x] forged");
    site = json_array_get(
        json_object_get(json_array_get(servers, 0), "sites"), 0);
    assert_string_equal(json_string_value(json_object_get(site, "site")),
                        "a\\x07");
    json_decref(servers);
    ecert_door_close(&door);
}

int main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_answer),       TEST(test_nothing_to_say),
        TEST(test_nobody_there), TEST(test_dead),
        TEST(test_two),          TEST(test_stopped),
        TEST(test_long_path),    TEST(test_no_store),
        TEST(test_foreign),      TEST(test_no_descriptor),
        TEST(test_elsewhere),    TEST(test_same_pid),
        TEST(test_replaced),     TEST(test_names),
        TEST(test_planted),      TEST(test_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
