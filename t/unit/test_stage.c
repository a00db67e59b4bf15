/* Folders and links come into the store whole or not at all. */

#include "clean.h"

#include <signal.h>
#include <time.h>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "ecert_entry.h"
#include "ecert_file.h"
#include "ecert_stage.h"
#include "pki.h"

#define OFTEN   50 /* what is seen of something that goes on */
#define LONGEST 60 /* seconds until then */

static ecert_err_t err;

static ecert_stage_t begun(const char *parent)
{
    ecert_stage_t stage;

    folders(parent);
    assert_int_equal(ecert_stage_begin(&stage, at(parent), &err), 0);
    assert_string_equal(stage.parent, at(parent));
    return stage;
}

static void put_one(const ecert_stage_t *stage, const char *name,
                    const char *text)
{
    assert_int_equal(
        ecert_stage_put(stage, name, text, strlen(text), 0600, &err), 0);
}

static void test_commit(void **state)
{
    ecert_stage_t stage = begun("p");

    (void)state;
    umask(0);
    assert_int_equal(entries("p"), 1);
    put_one(&stage, "key", "k");
    assert_int_equal(ecert_stage_put(&stage, "cert", "c", 1, 0644, &err), 0);
    assert_false(is_there("p/1"));
    assert_int_equal(ecert_stage_commit(&stage, "1", &err), 0);
    assert_string_equal(stage.path, "");
    ecert_stage_drop(&stage);
    assert_int_equal(entries("p"), 1);
    assert_int_equal(mode_of("p/1"), 0700);
    assert_int_equal(mode_of("p/1/key"), 0600);
    assert_int_equal(mode_of("p/1/cert"), 0644);
    assert_holds("p/1/key", "k");
    umask(077);
    stage = begun("p");
    assert_int_equal(ecert_stage_put(&stage, "cert", "c", 1, 0644, &err), 0);
    assert_int_equal(ecert_stage_commit(&stage, "2", &err), 0);
    assert_int_equal(mode_of("p/2/cert"), 0644);
}

static void assert_exists(ecert_stage_t *stage, const char *name,
                          const char *path)
{
    assert_int_equal(ecert_stage_commit(stage, name, &err), -1);
    assert_err(&err, ECERT_ERR_EXISTS);
    assert_string_equal(err.file, at(path));
    assert_string_not_equal(stage->path, "");
}

static void commit_over(void)
{
    ecert_stage_t stage = begun("p");

    put_one(&stage, "f", "new");
    folders("p/full");
    put("p/full/f", "old");
    folders("p/empty");
    put("p/file", "old");
    put_link("nowhere", "p/link");
    assert_exists(&stage, "full", "p/full");
    assert_exists(&stage, "empty", "p/empty");
    assert_exists(&stage, "file", "p/file");
    assert_exists(&stage, "link", "p/link");
    assert_holds("p/full/f", "old");
    assert_int_equal(entries("p/empty"), 0);
    assert_int_equal(ecert_stage_commit(&stage, "free", &err), 0);
    assert_holds("p/free/f", "new");
    ecert_stage_drop(&stage);
    assert_int_equal(entries("p"), 5);
}

static void test_exists(void **state)
{
    (void)state;
    commit_over();
}

/* As on a file system that cannot rename without replacing (NFS). */
static int forbid_renameat2(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                   && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0
               ? 0
               : -1;
}

/* Files, too: a second link never replaces. */
static void move_files(void)
{
    int dir = open(at("p"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    put("p/a", "a");
    put("p/b", "b");
    assert_int_equal(ecert_entry_move(dir, "a", dir, "b"), -1);
    assert_int_equal(errno, EEXIST);
    assert_holds("p/b", "b");
    assert_int_equal(ecert_entry_move(dir, "a", dir, "c"), 0);
    assert_holds("p/c", "a");
    assert_false(is_there("p/a"));
    assert_int_equal(ecert_entry_move(dir, "a", dir, "d"), -1);
    assert_int_equal(errno, ENOENT);
    close(dir);
}

static int without_renameat2(void **state)
{
    (void)state;
    if (forbid_renameat2() != 0
        || renameat2(AT_FDCWD, "/a", AT_FDCWD, "/b", 1) != -1
        || errno != EINVAL) {
        return -1;
    }
    return clean_setup(state);
}

static void test_no_replace(void **state)
{
    (void)state;
    commit_over();
    move_files();
}

/* In a process of its own: the filter cannot be taken off again. */
static void test_old_file_systems(void **state)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(
        test_no_replace, without_renameat2, clean_teardown)};
    int status;
    pid_t pid;

    (void)state;
    folders("p");
    move_files();
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO);
        _exit(cmocka_run_group_tests(tests, NULL, NULL));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_begin_fails(void **state)
{
    ecert_stage_t stage;

    (void)state;
    assert_int_equal(ecert_stage_begin(&stage, at("none"), &err), -1);
    assert_err(&err, ECERT_ERR_MISSING);
    assert_string_equal(stage.path, "");
    ecert_stage_drop(&stage);
    folders("open");
    chmod(at("open"), 0777);
    assert_int_equal(ecert_stage_begin(&stage, at("open"), &err), -1);
    assert_err(&err, ECERT_ERR_UNSAFE);
    assert_int_equal(entries("open"), 0);
    assert_int_equal(ecert_stage_begin(&stage, too_long_path(), &err), -1);
    assert_err(&err, ECERT_ERR_SYSTEM);
    assert_int_equal(err.sys, ENAMETOOLONG);
}

/* A folder that can be reached, but a path in it cannot be written down. */
static void test_deep(void **state)
{
    char parent[2 * PATH_MAX], name[NAME_MAX + 1];
    ecert_stage_t stage;
    int dir = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    size_t len = (size_t)snprintf(parent, sizeof(parent), "%s", scratch);

    (void)state;
    memset(name, 'd', 200);
    name[200] = '\0';
    while (len < PATH_MAX - 8) {
        size_t left = PATH_MAX - 8 - len;
        int next;

        name[left < 202 ? left - 1 : 200] = '\0';
        if (left < 2 || mkdirat(dir, name, 0700) != 0) {
            break;
        }
        next = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(dir);
        dir = next;
        len +=
            (size_t)snprintf(parent + len, sizeof(parent) - len, "/%s", name);
    }
    close(dir);
    assert_true(len > PATH_MAX - 20);
    assert_int_equal(ecert_stage_begin(&stage, parent, &err), -1);
    assert_err(&err, ECERT_ERR_SYSTEM);
    assert_int_equal(err.sys, ENAMETOOLONG);
    assert_string_equal(stage.path, "");
    assert_int_equal(ecert_stage_link(parent, "currentlink", "x", &err), -1);
    assert_int_equal(err.sys, ENAMETOOLONG);
    assert_int_equal(ecert_stage_remove(parent, "0123456789", &err), -1);
    assert_int_equal(err.sys, ENAMETOOLONG);
}

static void fill_disk(void)
{
    struct rlimit limit = {.rlim_cur = 1000, .rlim_max = 1000};
    static char big[5000];
    ecert_stage_t stage = begun("p");

    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    if (ecert_stage_put(&stage, "f", big, sizeof(big), 0600, &err) != -1
        || err.sys != EFBIG || entries("p") != 1) {
        _exit(1);
    }
    ecert_stage_drop(&stage);
    _exit(entries("p") == 0 ? 0 : 2);
}

static void test_full_disk(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        fill_disk();
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_key_and_json(void **state)
{
    json_t *json = json_pack("{s:i}", "a", 1);
    EVP_PKEY *key = pki_key("P-256");
    ecert_stage_t stage = begun("p");
    char *pem = pki_pem_key(key);

    (void)state;
    umask(0);
    assert_int_equal(ecert_stage_put_key(&stage, key, &err), 0);
    assert_int_equal(ecert_stage_put_json(&stage, "x.json", json, &err), 0);
    assert_int_equal(ecert_stage_put_json(&stage, "y.json", NULL, &err), -1);
    assert_err(&err, ECERT_ERR_MEMORY);
    assert_int_equal(ecert_stage_commit(&stage, "1", &err), 0);
    assert_int_equal(mode_of("p/1/key.pem"), 0600);
    assert_int_equal(mode_of("p/1/x.json"), 0600);
    assert_holds("p/1/key.pem", pem);
    assert_holds("p/1/x.json", "{\n  \"a\": 1\n}\n");
    assert_int_equal(entries("p/1"), 2);
    json_decref(json);
    EVP_PKEY_free(key);
    free(pem);
}

static void assert_target(const char *name, const char *target)
{
    char text[PATH_MAX];
    ssize_t n = readlink(at(name), text, sizeof(text) - 1);

    assert_true(n > 0);
    text[n] = '\0';
    assert_string_equal(text, target);
}

static void test_link(void **state)
{
    (void)state;
    folders("s");
    assert_int_equal(ecert_stage_link(at("s"), "current", "g/1", &err), 0);
    assert_target("s/current", "g/1");
    assert_int_equal(ecert_stage_link(at("s"), "current", "g/2", &err), 0);
    assert_target("s/current", "g/2");
    put("s/file", "");
    assert_int_equal(ecert_stage_link(at("s"), "file", "g/1", &err), 0);
    assert_target("s/file", "g/1");
    folders("s/folder");
    assert_int_equal(ecert_stage_link(at("s"), "folder", "g/1", &err), -1);
    assert_err(&err, ECERT_ERR_SYSTEM);
    assert_int_equal(err.sys, EISDIR);
    assert_string_equal(err.file, at("s/folder"));
    assert_int_equal(ecert_stage_link(at("none"), "x", "y", &err), -1);
    assert_err(&err, ECERT_ERR_MISSING);
    assert_int_equal(entries("s"), 3);
}

/* In a process of its own, until it is killed; a failure ends it. */
static pid_t go_on(int (*once)(int i))
{
    pid_t pid = fork();

    for (int i = 0; pid == 0; i++) {
        if (once(i) != 0) {
            _exit(1);
        }
    }
    return pid;
}

/* Whether it went on until now. */
static int went_on(pid_t pid)
{
    int status;

    kill(pid, SIGKILL);
    return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status);
}

static int link_again(int i)
{
    return ecert_stage_link(at("s"), "current", i % 2 ? "a" : "b", &err);
}

/* A reader at the same time finds the one or the other, and sees it change
 * often enough. */
static void test_link_is_never_missing(void **state)
{
    time_t end = time(NULL) + LONGEST;
    int changes = 0, bad = 0;
    char last = '?';
    pid_t pid;

    (void)state;
    folders("s/a");
    folders("s/b");
    put("s/a/f", "a");
    put("s/b/f", "b");
    assert_int_equal(ecert_stage_link(at("s"), "current", "a", &err), 0);
    pid = go_on(link_again);
    while (changes < OFTEN && time(NULL) < end) {
        int fd = open(at("s/current/f"), O_RDONLY | O_CLOEXEC);
        char c = '?';

        bad += fd < 0 || read(fd, &c, 1) != 1;
        changes += c != last;
        last = c;
        close(fd);
    }
    assert_true(went_on(pid));
    assert_int_equal(bad, 0);
    assert_true(changes >= OFTEN);
}

static void test_remove(void **state)
{
    char text[10] = "";
    int fd;

    (void)state;
    folders("p/1");
    put("p/1/key", "secret");
    put("p/1/.hidden", "");
    put_link("/etc", "p/1/link");
    fd = open(at("p/1/key"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(ecert_stage_remove(at("p"), "1", &err), 0);
    assert_int_equal(entries("p"), 0);
    assert_int_equal(read(fd, text, 9), 6); /* who was reading reads on */
    close(fd);
    assert_true(access("/etc/passwd", F_OK) == 0);
    assert_int_equal(ecert_stage_remove(at("p"), "1", &err), 0);
    assert_int_equal(ecert_stage_remove(at("none"), "1", &err), 0);
    folders("elsewhere");
    put("elsewhere/f", "");
    put_link("../elsewhere", "p/2");
    assert_int_equal(ecert_stage_remove(at("p"), "2", &err), 0);
    assert_int_equal(entries("p"), 0);
    assert_true(is_there("elsewhere/f"));
    folders("p/3/inner");
    put("p/3/inner/f", "");
    put("p/3/g", "");
    assert_int_equal(ecert_stage_remove(at("p"), "3", &err), -1);
    assert_err(&err, ECERT_ERR_SYSTEM);
    assert_int_equal(err.sys, ENOTEMPTY);
    assert_string_equal(err.file, at("p/3"));
    assert_false(is_there("p/3"));
    assert_int_equal(entries("p"), 1); /* the folder in it is kept */
}

static int put_and_remove(int i)
{
    ecert_stage_t stage;

    (void)i;
    return ecert_stage_begin(&stage, at("p"), &err) != 0
           || ecert_stage_put(&stage, "a", "a", 1, 0600, &err) != 0
           || ecert_stage_put(&stage, "b", "b", 1, 0600, &err) != 0
           || ecert_stage_commit(&stage, "1", &err) != 0
           || ecert_stage_remove(at("p"), "1", &err) != 0;
}

/* Opened as p/1: 1 when something is missing in it that is still called so. */
static int is_half(int dir)
{
    struct stat a, b;
    int one = fstatat(dir, "a", &a, 0), two = fstatat(dir, "b", &b, 0);
    char where[64], real[PATH_MAX];
    ssize_t n;

    snprintf(where, sizeof(where), "/proc/self/fd/%d", dir);
    n = readlink(where, real, sizeof(real) - 1);
    real[n > 0 ? n : 0] = '\0';
    return (one != 0 || two != 0) && strcmp(real, at("p/1")) == 0;
}

/* By its path a reader sees all of it, or that it is not there; it comes and
 * goes often enough. */
static void test_remove_while_read(void **state)
{
    time_t end = time(NULL) + LONGEST;
    int changes = 0, there = 0, half = 0;
    pid_t pid;

    (void)state;
    folders("p");
    pid = go_on(put_and_remove);
    while (changes < OFTEN && time(NULL) < end) {
        int dir = open(at("p/1"), O_PATH | O_DIRECTORY | O_CLOEXEC);

        changes += there != (dir >= 0);
        there = dir >= 0;
        half += there && is_half(dir);
        close(dir);
    }
    assert_true(went_on(pid));
    assert_int_equal(half, 0);
    assert_true(changes >= OFTEN);
}

static void test_sweep(void **state)
{
    static const char *const foreign[] = {
        ".key.pem.Ab3DeF",       /* rsync */
        ".key.pem.abcde0",       /* rsync, by chance all lower case */
        ".key.pem.ecert-ABCDEF", /* nearly ours */
        ".ecert-01234567",       /* of no file */
        "key.pem.ecert-01234567", ".stage-notes",    ".stage-0123456",
        ".stage-012345678",       ".stage-0123456A", ".nfs0000001",
    };
    size_t n = sizeof(foreign) / sizeof(foreign[0]);
    char path[64];

    (void)state;
    folders("s");
    for (size_t i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "s/%s", foreign[i]);
        put(path, "");
    }
    folders("s/.git");
    put("s/.git/f", "");
    folders("s/1");
    put("s/1/key.pem", "");
    folders("s/.x.ecert-01234567"); /* a folder is never a temporary file */
    folders("s/.stage-0123abcd");
    put("s/.stage-0123abcd/key.pem", "");
    put("s/.stage-0123abcd/.key.pem.ecert-01234567", "");
    put_link("g/1", "s/.stage-00000000");
    put("s/.key.pem.ecert-0123abcd", "");
    ecert_stage_sweep(at("s"));
    for (size_t i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "s/%s", foreign[i]);
        assert_true(is_there(path));
    }
    assert_true(is_there("s/.git/f"));
    assert_true(is_there("s/1/key.pem"));
    assert_int_equal(entries("s"), n + 3);
    ecert_stage_sweep(at("none"));
}

static int all_of_it(int i)
{
    ecert_stage_t stage;
    char name[16];

    snprintf(name, sizeof(name), "%d", i);
    return ecert_stage_begin(&stage, at("p"), &err) != 0
           || ecert_stage_put(&stage, "a", "a", 1, 0600, &err) != 0
           || ecert_file_write(at("p/f"), "f", 1, 0600, &err) != 0
           || ecert_stage_link(at("p"), "l", "a", &err) != 0
           || ecert_stage_commit(&stage, name, &err) != 0
           || ecert_stage_remove(at("p"), name, &err) != 0;
}

/* Whoever is killed at any moment leaves nothing that sweep does not find.
 * Until some were in the midst of it, and some behind a commit. */
static void test_killed(void **state)
{
    time_t end = time(NULL) + LONGEST;
    int kills = 0, begun_some = 0, committed = 0;

    (void)state;
    folders("p");
    while ((kills < 40 || begun_some < 5 || committed < 2)
           && time(NULL) < end) {
        struct timespec pause = {0, 50000L * (kills++ % 100)};
        pid_t pid = go_on(all_of_it);

        nanosleep(&pause, NULL);
        assert_true(went_on(pid));
        begun_some += entries("p") > 0;
        ecert_stage_sweep(at("p"));
        unlink(at("p/f"));
        unlink(at("p/l"));
        if (entries("p") == 1) { /* committed, not yet removed: whole */
            char command[200];

            committed++;
            snprintf(command, sizeof(command),
                     "test \"$(ls -A %s/p/*)\" = a && rm -r %s/p/*", scratch,
                     scratch);
            assert_int_equal(system(command), 0);
        }
        assert_int_equal(entries("p"), 0);
    }
    assert_true(begun_some >= 5 && committed >= 2);
}

static void test_temporary(void **state)
{
    char longest[NAME_MAX + 1], name[NAME_MAX + 1];
    int dir, fd;

    (void)state;
    folders("t");
    dir = open(at("t"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    memset(longest, 'n', NAME_MAX);
    longest[NAME_MAX] = '\0';
    umask(0);
    fd = ecert_entry_temporary(dir, longest, name);
    assert_true(fd >= 0);
    assert_int_equal(strlen(name), NAME_MAX);
    assert_true(ecert_entry_is_temporary(name));
    assert_int_equal(faccessat(dir, name, F_OK, 0), 0);
    assert_int_equal(ecert_entry_fill(fd, "abc", 3), 0);
    close(fd);
    assert_int_equal(ecert_entry_fill(fd, "abc", 3), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(unlinkat(dir, name, 0), 0);
    assert_int_equal(ecert_entry_remove(dir, "none"), -1);
    assert_int_equal(errno, ENOENT);
    close(dir);
    assert_int_equal(ecert_entry_sync(dir), -1);
    assert_false(ecert_entry_is_temporary(""));
    assert_false(ecert_entry_is_temporary("."));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLEAN(test_commit),
        CLEAN(test_exists),
        CLEAN(test_old_file_systems),
        CLEAN(test_begin_fails),
        CLEAN(test_deep),
        CLEAN(test_full_disk),
        CLEAN(test_key_and_json),
        CLEAN(test_link),
        CLEAN(test_link_is_never_missing),
        CLEAN(test_remove),
        CLEAN(test_remove_while_read),
        CLEAN(test_sweep),
        CLEAN(test_killed),
        CLEAN(test_temporary),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
