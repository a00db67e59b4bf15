#include "scratch.h"

#include <poll.h>
#include <sched.h>

#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "ecert_watch.h"

#define SUBJECTS 10000

static ecert_err_t err;
static ecert_watch_t *watch;
static unsigned touched[SUBJECTS];

static int setup(void **state)
{
    watch = ecert_watch_new(&err);
    memset(touched, 0, sizeof(touched));
    return watch != NULL ? scratch_setup(state) : -1;
}

static int teardown(void **state)
{
    ecert_watch_free(watch);
    return scratch_teardown(state);
}

/* What happens in the moment before this path is watched. */
static const char *moment;
static void (*happens)(void);

/* Instead of libc's. */
int inotify_add_watch(int fd, const char *path, uint32_t mask)
{
    if (moment != NULL && strcmp(path, moment) == 0) {
        moment = NULL;
        happens();
    }
    return (int)syscall(SYS_inotify_add_watch, fd, path, mask);
}

static void touch(void *ctx, uint32_t subject)
{
    (void)ctx;
    assert_true(subject < SUBJECTS);
    touched[subject]++;
}

/* Reads events until there are none; inotify tells before a call returns. */
static void drain(void)
{
    struct pollfd fd = {.fd = ecert_watch_fd(watch), .events = POLLIN};

    memset(touched, 0, sizeof(touched));
    while (poll(&fd, 1, 0) == 1) {
        assert_int_equal(ecert_watch_read(watch, touch, NULL, &err), 0);
    }
}

static void assert_touched(uint32_t subject)
{
    drain();
    assert_true(touched[subject] > 0);
}

static void assert_quiet(void)
{
    drain();
    for (size_t i = 0; i < SUBJECTS; i++) {
        assert_int_equal(touched[i], 0);
    }
}

static void set(uint32_t subject, const char *one, const char *two)
{
    char *dirs[2] = {(char *)one, (char *)two};
    size_t n = (one != NULL) + (two != NULL);

    assert_true(ecert_watch_set(watch, subject, dirs, n, &err) >= 0);
}

/* 1 tells that a folder is watched from now on, 0 that all were before. */
static void test_anew(void **state)
{
    char *dirs[2] = {(char *)at("a"), (char *)at("b")};

    (void)state;
    mkdir(dirs[0], 0700);
    mkdir(dirs[1], 0700);
    assert_int_equal(ecert_watch_set(watch, 0, dirs, 1, &err), 1);
    assert_int_equal(ecert_watch_set(watch, 0, dirs, 1, &err), 0);
    assert_int_equal(ecert_watch_set(watch, 1, dirs, 1, &err), 0);
    assert_int_equal(ecert_watch_set(watch, 0, dirs, 2, &err), 1);
    assert_int_equal(ecert_watch_set(watch, 0, dirs, 2, &err), 0);
}

static void test_changes(void **state)
{
    int fd;
    char c;

    (void)state;
    folders("d");
    put("d/f", "one");
    set(3, at("d"), NULL);
    assert_quiet();
    put("d/f", "two");
    assert_touched(3);
    put("d/new", "x");
    assert_touched(3);
    assert_int_equal(rename(at("d/new"), at("d/f")), 0);
    assert_touched(3);
    chmod(at("d/f"), 0600);
    assert_touched(3);
    assert_int_equal(utimensat(AT_FDCWD, at("d/f"), NULL, 0), 0);
    assert_touched(3);
    chmod(at("d"), 0700);
    assert_touched(3);
    put_link("f", "d/l");
    assert_touched(3);
    unlink(at("d/l"));
    assert_touched(3);
    fd = open(at("d/f"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, &c, 1), 1);
    close(fd);
    assert_quiet();
}

static void test_once_per_read(void **state)
{
    (void)state;
    folders("d");
    folders("e");
    set(1, at("d"), at("e"));
    put("d/f", "x");
    put("e/f", "x");
    put("d/g", "x");
    memset(touched, 0, sizeof(touched));
    assert_int_equal(ecert_watch_read(watch, touch, NULL, &err), 0);
    assert_int_equal(touched[1], 1);
    assert_int_equal(ecert_watch_read(watch, touch, NULL, &err), 0);
    assert_int_equal(touched[1], 1);
}

static void test_shared(void **state)
{
    (void)state;
    folders("d");
    folders("e");
    set(0, at("d"), NULL);
    set(1, at("d"), at("e"));
    set(2, at("e"), NULL);
    put("d/f", "x");
    drain();
    assert_int_equal(touched[0], 1);
    assert_int_equal(touched[1], 1);
    assert_int_equal(touched[2], 0);
    set(1, at("e"), NULL);
    put("d/f", "y");
    drain();
    assert_int_equal(touched[0], 1);
    assert_int_equal(touched[1], 0);
    set(0, NULL, NULL);
    drain();
    put("d/f", "z");
    assert_quiet();
    put("e/f", "x");
    drain();
    assert_int_equal(touched[1], 1);
    assert_int_equal(touched[2], 1);
}

/* One folder by two paths has one watch in the kernel. */
static void test_two_paths(void **state)
{
    (void)state;
    folders("d");
    put_link("d", "l");
    set(0, at("d"), at("d"));
    set(1, at("l"), NULL);
    put("d/f", "x");
    drain();
    assert_int_equal(touched[0], 1);
    assert_int_equal(touched[1], 1);
    set(0, NULL, NULL);
    drain();
    put("d/f", "y");
    drain();
    assert_int_equal(touched[0], 0);
    assert_int_equal(touched[1], 1);
}

static void test_moved_away(void **state)
{
    (void)state;
    folders("d");
    set(0, at("d"), NULL);
    assert_int_equal(rename(at("d"), at("away")), 0);
    assert_touched(0);
    put("away/f", "x");
    assert_quiet();
    folders("d");
    set(0, at("d"), NULL);
    drain();
    put("d/f", "x");
    assert_touched(0);
    put("away/f", "y");
    assert_quiet();
}

static void test_removed(void **state)
{
    (void)state;
    folders("d");
    set(0, at("d"), NULL);
    rmdir(at("d"));
    assert_touched(0);
    folders("d");
    set(0, at("d"), NULL);
    drain();
    put("d/f", "x");
    assert_touched(0);
}

/* Another folder under the same path, before anybody has read the event. */
static void test_replaced(void **state)
{
    (void)state;
    folders("d");
    folders("e");
    set(0, at("d"), NULL);
    rename(at("d"), at("old"));
    rename(at("e"), at("d"));
    set(0, at("d"), NULL);
    drain();
    set(0, at("d"), NULL);
    drain();
    put("d/f", "x");
    assert_touched(0);
    put("old/f", "x");
    assert_quiet();
    set(0, NULL, NULL);
    put("old/f", "y");
    put("d/f", "y");
    assert_quiet();
}

/* Gone between the look and the watch: its coming back is seen all the same. */
static void test_gone_before(void **state)
{
    (void)state;
    set(0, at("a/b/c"), NULL);
    folders("a/b/c");
    assert_touched(0);
    set(0, at("a/b/c"), NULL);
    drain();
    put("a/b/c/f", "x");
    assert_touched(0);
    put("other", "x");
    assert_quiet();
}

static void make_b(void)
{
    folders("a/b");
}

/* It comes when it was not found, and the one above is not watched yet. */
static void test_came_meanwhile(void **state)
{
    char above[PATH_MAX];

    (void)state;
    folders("a");
    snprintf(above, sizeof(above), "%s", at("a"));
    moment = above;
    happens = make_b;
    set(0, at("a/b"), NULL);
    assert_null(moment);
    assert_quiet();
    put("a/b/f", "x");
    assert_touched(0);
}

/* So many events that the kernel drops the rest. */
static void flood(const char *one, const char *two)
{
    unsigned most = 16384;
    FILE *limit = fopen("/proc/sys/fs/inotify/max_queued_events", "re");

    if (limit != NULL) {
        (void)!fscanf(limit, "%u", &most);
        fclose(limit);
    }
    /* Equal events in a row count as one. */
    for (unsigned i = 0; i <= most / 2; i++) {
        chmod(one, 0600);
        chmod(two, 0600);
    }
}

/* What was changed after the overflow is told, and nobody knows of what. */
static void test_overflow(void **state)
{
    (void)state;
    folders("a");
    folders("b");
    folders("c");
    put("a/f", "x");
    put("a/g", "x");
    set(0, at("a"), NULL);
    set(1, at("b"), NULL);
    set(2, at("c"), NULL);
    set(2, NULL, NULL);
    flood(at("a/f"), at("a/g"));
    put("b/f", "x");
    drain();
    assert_true(touched[0] > 0);
    assert_true(touched[1] > 0);
    assert_int_equal(touched[2], 0);
    put("b/f", "y");
    assert_touched(1);
    assert_int_equal(touched[0], 0);
}

static void set_again(void *ctx, uint32_t subject)
{
    touch(ctx, subject);
    set(subject, at("e"), NULL);
    set(subject + 5000, at("e"), NULL);
}

static void test_set_inside(void **state)
{
    (void)state;
    folders("d");
    folders("e");
    for (uint32_t i = 0; i < 20; i++) {
        set(i, at("d"), NULL);
    }
    put("d/f", "x");
    assert_int_equal(ecert_watch_read(watch, set_again, NULL, &err), 0);
    drain();
    put("d/f", "y");
    assert_quiet();
    put("e/f", "x");
    drain();
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(touched[i], 1);
        assert_int_equal(touched[i + 5000], 1);
    }
}

static void test_many(void **state)
{
    char name[32], file[40];

    (void)state;
    folders("shared");
    for (uint32_t i = 0; i < SUBJECTS; i++) {
        snprintf(name, sizeof(name), "d%u", i / 5);
        folders(name);
        set(i, at(name), at("shared"));
    }
    drain();
    for (uint32_t i = 0; i < SUBJECTS; i += 500) {
        snprintf(file, sizeof(file), "d%u/f", i / 5);
        put(file, "x");
        drain();
        for (uint32_t j = 0; j < SUBJECTS; j++) {
            assert_int_equal(touched[j], j / 5 == i / 5);
        }
    }
    put("shared/f", "x");
    drain();
    for (uint32_t j = 0; j < SUBJECTS; j++) {
        assert_int_equal(touched[j], 1);
    }
    for (uint32_t i = 0; i < SUBJECTS; i++) {
        set(i, NULL, NULL);
    }
    drain();
    put("shared/f", "y");
    put("d0/f", "y");
    assert_quiet();
}

/* The kernel's limits for one user namespace, which ends with its process. */
static int limit(const char *file, const char *value)
{
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    int rc = fd >= 0 && write(fd, value, strlen(value)) > 0 ? 0 : -1;

    close(fd);
    return rc;
}

#define CANNOT 77

static int few_watches(void)
{
    char *dirs[] = {(char *)at("a"), (char *)at("b"), (char *)at("c")};
    unsigned told = 0;

    if (unshare(CLONE_NEWUSER) != 0
        || limit("/proc/sys/user/max_inotify_watches", "2") != 0) {
        return CANNOT;
    }
    ecert_watch_free(watch);
    watch = ecert_watch_new(&err);
    if (ecert_watch_set(watch, 0, dirs, 3, &err) != -1
        || err.code != ECERT_ERR_WATCH) {
        return 1;
    }
    for (int i = 0; i < 3; i++) {
        put(i == 0 ? "a/f" : i == 1 ? "b/f" : "c/f", "x");
        drain();
        told += touched[0] > 0;
    }
    if (told != 2 || limit("/proc/sys/user/max_inotify_watches", "9") != 0
        || ecert_watch_set(watch, 0, dirs, 3, &err) != 1) {
        return 2;
    }
    put("c/f", "y");
    drain();
    return touched[0] > 0 ? 0 : 3;
}

static int no_instance(void)
{
    char *dirs[] = {(char *)at("a")};

    if (unshare(CLONE_NEWUSER) != 0
        || limit("/proc/sys/user/max_inotify_instances", "0") != 0) {
        return CANNOT;
    }
    ecert_watch_free(watch);
    watch = ecert_watch_new(&err);
    return watch != NULL && ecert_watch_fd(watch) == -1
                   && ecert_watch_set(watch, 0, dirs, 1, &err) == 0
                   && ecert_watch_read(watch, touch, NULL, &err) == 0
               ? 0
               : 1;
}

static void in_child(int (*run)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        _exit(run());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (!skipped(WEXITSTATUS(status) == CANNOT,
                 "no user namespace, so no limits of its own")) {
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

static void test_limits(void **state)
{
    (void)state;
    folders("a");
    folders("b");
    folders("c");
    in_child(few_watches);
    in_child(no_instance);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_anew),       TEST(test_changes),   TEST(test_once_per_read),
        TEST(test_shared),     TEST(test_two_paths), TEST(test_moved_away),
        TEST(test_removed),    TEST(test_replaced),  TEST(test_gone_before),
        TEST(test_set_inside), TEST(test_many),      TEST(test_limits),
        TEST(test_overflow),   TEST(test_came_meanwhile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
