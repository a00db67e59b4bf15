/* What is left of the process that reads a stranger's bytes. */

#include "scratch.h"

#include <grp.h>
#include <pwd.h>
#include <sched.h>

#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <netinet/in.h>

#include <openssl/crypto.h>
#include <openssl/provider.h>

#include "ecert_close.h"
#include "ecert_jail_work.h"

#define STRANGER 65534
#define MIB      ((size_t)1024 * 1024)

typedef int work_t(void *ctx, ecert_frames_t *out, ecert_err_t *err);

static ecert_err_t err;
static ecert_frames_t frames;

static const ecert_jail_limits_t small = {1, 64 * MIB, 0};

static int run(work_t *work, void *ctx)
{
    ecert_frames_free(&frames);
    ecert_err_clear(&err);
    return ecert_jail_run_within(&small, work, ctx, "a.pfx", &frames, &err);
}

static int frames_teardown(void **state)
{
    (void)state;
    ecert_frames_free(&frames);
    return 0;
}

static int both_teardown(void **state)
{
    return frames_teardown(state) | scratch_teardown(state);
}

/* The work says what is wrong by an error's detail. */
static void assert_well(work_t *work, void *ctx)
{
    if (run(work, ctx) != 0) {
        print_error("%d: %s\n", (int)err.code, err.detail);
    }
    assert_int_equal(err.code, ECERT_OK);
}

/* In a process of its own, 0 is well. */
static int apart(int (*check)(void))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(check());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int echo(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    const char *text = ctx;

    return ecert_frames_add(out, 7, text, strlen(text), error) == 0
                   && ecert_frames_add(out, 8, "\0\1", 2, error) == 0
               ? 0
               : -1;
}

static int echoes(void)
{
    return run(echo, "hello") == 0 && frames.n == 2
                   && frames.frames[0].kind == 7 && frames.frames[0].len == 5
                   && memcmp(frames.frames[0].bytes, "hello", 5) == 0
                   && frames.frames[1].kind == 8 && frames.frames[1].len == 2
                   && memcmp(frames.frames[1].bytes, "\0\1", 2) == 0
               ? 0
               : 1;
}

static int wrong(ecert_err_t *error, const char *what)
{
    return ecert_err(error, ECERT_ERR_UNSAFE, NULL, "%s", what);
}

static int has_limit(int what, rlim_t soft, rlim_t hard)
{
    struct rlimit limit;

    return getrlimit(what, &limit) == 0 && limit.rlim_cur == soft
           && limit.rlim_max == hard;
}

static int poor(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    char folder[8];

    (void)ctx;
    (void)out;
    if (!has_limit(RLIMIT_CPU, 1, 2) || !has_limit(RLIMIT_CORE, 0, 0)
        || !has_limit(RLIMIT_FSIZE, 0, 0) || !has_limit(RLIMIT_NPROC, 0, 0)
        || !has_limit(RLIMIT_NOFILE, 16, 16)) {
        return wrong(error, "limits");
    }
    if (prctl(PR_GET_DUMPABLE) != 0
        || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) {
        return wrong(error, "dumpable, no new privileges");
    }
    if (umask(0) != 077 || getcwd(folder, sizeof(folder)) == NULL
        || strcmp(folder, "/") != 0) {
        return wrong(error, "umask, folder");
    }
    if (geteuid() == 0 || getuid() == 0 || setuid(0) == 0) {
        return wrong(error, "user");
    }
    return fork() < 0 ? 0 : wrong(error, "fork");
}

static int only_null(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    struct stat st;

    (void)ctx;
    (void)out;
    for (int fd = 0; fd < 3; fd++) {
        if (fstat(fd, &st) != 0 || !S_ISCHR(st.st_mode)
            || st.st_rdev != makedev(1, 3)) {
            return wrong(error, "standard descriptors");
        }
    }
    for (int fd = 4; fd < 1024; fd++) {
        if (fcntl(fd, F_GETFD) != -1) {
            return wrong(error, "a descriptor is left");
        }
    }
    return 0;
}

static int as_stranger(void)
{
    if (setgid(STRANGER) != 0 || setuid(STRANGER) != 0) {
        return 2;
    }
    return echoes() == 0 && run(poor, NULL) == 0 && run(only_null, NULL) == 0
               ? 0
               : 1;
}

static void test_left(void **state)
{
    int fd = open("/proc/self/stat", O_RDONLY);

    (void)state;
    assert_int_equal(dup2(fd, 900), 900);
    assert_well(only_null, NULL);
    close(900);
    close(fd);
    if (geteuid() == 0) {
        assert_int_equal(apart(as_stranger), 0);
    }
    assert_well(poor, NULL);
}

static int has_capabilities(void)
{
    cap_t now = cap_get_proc(), none = cap_init();
    int has = now == NULL || none == NULL || cap_compare(now, none) != 0;

    cap_free(now);
    cap_free(none);
    return has;
}

static int connects(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(9),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    return fd >= 0
           && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

typedef struct {
    const char *secret;
    int network; /* it can be taken away */
} root_t;

static int not_root(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    const root_t *root = ctx;
    const struct passwd *nobody = getpwnam("nobody");
    uid_t real, effective, saved, uid = nobody ? nobody->pw_uid : STRANGER;

    (void)out;
    if (getresuid(&real, &effective, &saved) != 0 || real != uid
        || effective != uid || saved != uid) {
        return wrong(error, "user");
    }
    if (getgroups(0, NULL) != 0 || getgid() == 0 || getegid() == 0
        || setgid(0) == 0) {
        return wrong(error, "groups");
    }
    if (has_capabilities()) {
        return wrong(error, "capabilities");
    }
    if (open(root->secret, O_RDONLY) != -1 || errno != EACCES) {
        return wrong(error, "a secret");
    }
    return root->network && connects() ? wrong(error, "the network") : 0;
}

static int unshares(void)
{
    return unshare(CLONE_NEWNET) == 0 ? 0 : 1;
}

static void test_root(void **state)
{
    gid_t groups[] = {0, 1, 2};
    root_t root = {at("secret"), 0};

    (void)state;
    if (skipped(geteuid() != 0, "needs root")) {
        return;
    }
    put("secret", "s");
    assert_int_equal(chmod(scratch, 0755), 0);
    assert_int_equal(chmod(root.secret, 0600), 0);
    assert_int_equal(setgroups(3, groups), 0);
    root.network = apart(unshares) == 0;
    if (root.network) {
        assert_true(connects());
    }
    assert_well(not_root, &root);
    assert_int_equal(geteuid(), 0);
}

/* A root that cannot become another user does not read as root. */
static int bound_root(void)
{
    cap_t none = cap_init();

    if (cap_set_proc(none) != 0 || run(echo, "x") != -1) {
        return 1;
    }
    cap_free(none);
    return err.code == ECERT_ERR_SYSTEM && err.sys == EPERM
                   && strncmp(err.detail, "cannot become user", 18) == 0
               ? 0
               : 2;
}

static void test_bound_root(void **state)
{
    (void)state;
    if (!skipped(geteuid() != 0, "needs root")) {
        assert_int_equal(apart(bound_root), 0);
    }
}

static int closed_input(void)
{
    close(0);
    close(1);
    close(2);
    return echoes() == 0 && run(only_null, NULL) == 0 ? 0 : 1;
}

static void test_closed_input(void **state)
{
    (void)state;
    assert_int_equal(apart(closed_input), 0);
}

static int close_each(void)
{
    int kept = dup(1);

    dup2(1, 500);
    dup2(1, 70);
    ecert_close_each(kept + 1, -1);
    return fcntl(kept, F_GETFD) != -1 && fcntl(70, F_GETFD) == -1
                   && fcntl(500, F_GETFD) == -1
               ? 0
               : 1;
}

static void test_close_each(void **state)
{
    (void)state;
    assert_int_equal(apart(close_each), 0);
}

static int load_legacy(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    OSSL_LIB_CTX *library = OSSL_LIB_CTX_new();
    OSSL_PROVIDER *legacy = OSSL_PROVIDER_load(library, "legacy");
    int rc = legacy != NULL ? 0 : wrong(error, "no legacy provider");

    (void)ctx;
    (void)out;
    OSSL_PROVIDER_unload(legacy);
    OSSL_LIB_CTX_free(library);
    return rc;
}

static void test_legacy(void **state)
{
    (void)state;
    if (!skipped(load_legacy(NULL, NULL, &err) != 0, "no legacy provider")) {
        assert_well(load_legacy, NULL);
    }
}

/* The pipe stays open, or its keeper would take this process for dead. */
static int mute(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    (void)ctx;
    (void)out;
    (void)error;
    return fcntl(ECERT_JAIL_PIPE, F_DUPFD, 0) < 0 || close(ECERT_JAIL_PIPE) != 0
               ? -1
               : 0;
}

/* A process that cannot answer: that is no fault of the file. */
static void test_mute(void **state)
{
    (void)state;
    assert_int_equal(run(mute, NULL), -1);
    assert_int_equal(err.code, ECERT_ERR_SYSTEM);
    assert_int_equal(err.sys, EBADF);
    assert_string_equal(err.detail, "the process that read it could not "
                                    "answer: Bad file descriptor");
}

#define TEST(name) cmocka_unit_test_teardown(name, frames_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_left),
        TEST(test_bound_root),
        TEST(test_closed_input),
        TEST(test_close_each),
        TEST(test_legacy),
        TEST(test_mute),
        cmocka_unit_test_setup_teardown(test_root, scratch_setup,
                                        both_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
