/* Files named at the command line: what root opens, and what it does not. */

#include "scratch.h"

#include <sys/syscall.h>

#include <openssl/crypto.h>

#include "cli/outfile.h"
#include "ecert_given.h"

#define STRANGER 65534

static ecert_err_t err;
static const char *swapped; /* comes in the place of what is opened */

/* In the place of libc's. */
int openat(int dir, const char *name, int flags, ...)
{
    va_list args;
    int mode;

    va_start(args, flags);
    mode = va_arg(args, int);
    va_end(args);
    if (swapped != NULL && (flags & (O_PATH | O_DIRECTORY)) == 0) {
        const char *other = swapped;

        swapped = NULL;
        assert_int_equal(renameat(AT_FDCWD, other, dir, name), 0);
    }
    return (int)syscall(SYS_openat, dir, name, flags, mode);
}

static int opened(const char *path)
{
    struct stat st;
    int fd;

    ecert_err_clear(&err);
    fd = ecert_given_open(path, &st, &err);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0 ? 0 : (int)err.code;
}

static void assert_refused(const char *path, const char *why)
{
    assert_int_equal(opened(path), ECERT_ERR_UNSAFE);
    assert_string_equal(err.file, path);
    if (strstr(err.detail, why) == NULL) {
        fail_msg("%s: %s", path, err.detail);
    }
    assert_non_null(strstr(err.hint, "name"));
}

static void give(const char *name)
{
    assert_int_equal(lchown(at(name), STRANGER, STRANGER), 0);
}

/* A stranger's folder, and one that is ours with a secret in it. */
static int setup(void **state)
{
    if (scratch_setup(state) != 0) {
        return -1;
    }
    chmod(scratch, 0755);
    folders("theirs/below");
    folders("ours");
    put("ours/secret", "secret");
    chmod(at("ours/secret"), 0600);
    return 0;
}

static void test_their_links(void **state)
{
    (void)state;
    if (skipped(geteuid() != 0, "needs root")) {
        return;
    }
    give("theirs");
    put_link("../ours/secret", "theirs/file");
    put_link("../ours", "theirs/folder");
    put_link("theirs/file", "to-theirs");
    give("theirs/file");
    give("theirs/folder");
    assert_refused(at("theirs/file"), "belongs to uid 65534 and leads to "
                                      "../ours/secret");
    assert_refused(at("theirs/folder/secret"), "/theirs/folder belongs to uid");
    assert_refused(at("to-theirs"), "/theirs/file belongs to uid 65534");
    assert_refused(at("theirs/below/../file"), "/theirs/file belongs to");
    put_link("../ours/secret", "ours/theirs"); /* wherever it is */
    give("ours/theirs");
    assert_refused(at("ours/theirs"), "/ours/theirs belongs to uid 65534");
}

static void test_relative(void **state)
{
    char before[PATH_MAX];

    (void)state;
    if (skipped(geteuid() != 0, "needs root")) {
        return;
    }
    put_link("../ours/secret", "theirs/file");
    give("theirs/file");
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(at("theirs")), 0);
    assert_refused("file", "/theirs/file belongs to uid 65534");
    assert_refused("./below/../file", "/theirs/file belongs to uid 65534");
    assert_int_equal(opened("../ours/secret"), 0);
    assert_int_equal(opened("."), ECERT_ERR_NOT_FILE);
    assert_int_equal(opened("below"), ECERT_ERR_NOT_FILE);
    assert_int_equal(chdir(before), 0);
}

/* Links of root's own, in a folder of whomever, and files of whomever. */
static void test_usual(void **state)
{
    (void)state;
    put_link("../ours", "theirs/current");
    put_link("theirs/current/secret", "link");
    put("theirs/f", "x");
    if (geteuid() == 0) {
        give("theirs/f");
        give("theirs");
    }
    assert_int_equal(opened(at("link")), 0);
    assert_int_equal(opened(at("theirs/current/secret")), 0);
    assert_int_equal(opened(at("theirs/f")), 0);
    assert_int_equal(chmod(at("theirs"), 01777), 0);
    assert_int_equal(opened(at("theirs/f")), 0);
    assert_int_equal(opened(at("theirs/current/secret")), 0);
}

/* Who cannot read a file may be able to give it one more name. */
static void test_hard_links(void **state)
{
    (void)state;
    if (skipped(geteuid() != 0, "needs root")) {
        return;
    }
    assert_int_equal(link(at("ours/secret"), at("ours/also")), 0);
    assert_int_equal(opened(at("ours/also")), 0);
    unlink(at("ours/also"));
    assert_int_equal(link(at("ours/secret"), at("theirs/file")), 0);
    assert_int_equal(opened(at("theirs/file")), 0);
    chmod(at("theirs"), 01777);
    assert_refused(at("theirs/file"), "2 names (hard links)");
    chmod(at("theirs"), 0755);
    give("theirs");
    assert_refused(at("theirs/file"), "2 names (hard links)");
    put("theirs/own", "x");
    give("theirs/own");
    assert_int_equal(link(at("theirs/own"), at("theirs/twice")), 0);
    assert_int_equal(opened(at("theirs/twice")), 0);
    put_link("../ours/secret", "ours/link");
    assert_int_equal(link(at("ours/link"), at("theirs/link")), 0);
    assert_refused(at("theirs/link"), "/theirs/link belongs to uid 0");
}

static void test_magic(void **state)
{
    char path[64];
    int fd = open(at("ours/secret"), O_RDONLY);

    (void)state;
    snprintf(path, sizeof(path), "/proc/%ld/fd/%d", (long)getpid(), fd);
    assert_refused(path, "stands for what a process has open");
    snprintf(path, sizeof(path), "/proc/self/root%s", at("ours/secret"));
    assert_refused(path, "/root stands for what a process has open");
    snprintf(path, sizeof(path), "/proc/%ld/exe", (long)getpid());
    assert_refused(path, "stands for what a process has open");
    assert_int_equal(opened("/proc/mounts"), 0); /* -> self/mounts */
    put_link("/proc/self/fd/0", "to-input");
    assert_refused(at("to-input"), "stands for what a process has open");
    close(fd);
}

/* Between the look and the opening another file gets the name. */
static void test_swapped(void **state)
{
    (void)state;
    put("ours/one", "one");
    put("ours/other", "other");
    swapped = at("ours/other");
    assert_int_equal(opened(at("ours/one")), ECERT_ERR_CHANGING);
    assert_null(swapped);
    assert_int_equal(opened(at("ours/one")), 0);
}

/* What the command was started with: `ecert install <(...)`, say. */
static void test_own_descriptors(void **state)
{
    static const char *const forms[] = {"/dev/fd/%d", "/proc/self/fd/%d"};
    char path[64], text[8] = "";
    struct stat st;
    int ends[2], fd;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(write(ends[1], "piped", 5), 5);
        snprintf(path, sizeof(path), forms[i], ends[0]);
        fd = ecert_given_open(path, &st, &err);
        assert_true(fd >= 0);
        assert_int_equal(read(fd, text, sizeof(text)), 5);
        assert_string_equal(text, "piped");
        close(fd);
        close(ends[0]);
        close(ends[1]);
        assert_int_equal(opened(path), ECERT_ERR_MISSING);
    }
    fd = open(scratch, O_RDONLY);
    snprintf(path, sizeof(path), "/dev/fd/%d", fd);
    assert_int_equal(opened(path), ECERT_ERR_NOT_FILE);
    close(fd);
    assert_int_equal(opened("/dev/fd/99999999999999999999"), ECERT_ERR_MISSING);
    assert_int_equal(opened("/dev/zero"), ECERT_ERR_NOT_FILE);
    assert_int_equal(opened(""), ECERT_ERR_MISSING);
}

/* ---- files that are written -------------------------------------------- */

static void test_out_folder(void **state)
{
    ecert_outfile_t out;

    (void)state;
    if (skipped(geteuid() != 0, "needs root")) {
        return;
    }
    put_link("../ours", "theirs/folder");
    give("theirs/folder");
    assert_int_equal(
        ecert_outfile_write(&out, at("theirs/folder/f.pfx"), "x", 1, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_UNSAFE);
    ecert_outfile_end(&out);
    assert_int_equal(access(at("ours/f.pfx"), F_OK), -1);
}

/* Whoever owns the folder puts something else under the name. */
static void test_out_swapped(void **state)
{
    unsigned char *bytes;
    ecert_outfile_t out;
    char temporary[PATH_MAX];
    size_t len;

    (void)state;
    assert_int_equal(
        ecert_outfile_write(&out, at("theirs/f.pfx"), "mine", 4, &err), 0);
    snprintf(temporary, sizeof(temporary), "%s/%s", at("theirs"),
             out.temporary);
    assert_int_equal(unlink(temporary), 0);
    assert_int_equal(mkfifo(temporary, 0600), 0);
    alarm(20); /* whoever opens the FIFO waits for ever */
    assert_int_equal(ecert_outfile_read(&out, &bytes, &len, &err), 0);
    assert_int_equal(len, 4);
    assert_memory_equal(bytes, "mine", 4);
    OPENSSL_free(bytes);
    assert_int_equal(ecert_outfile_commit(&out, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_UNSAFE);
    alarm(0);
    ecert_outfile_end(&out);
    assert_int_equal(access(at("theirs/f.pfx"), F_OK), -1);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_their_links), TEST(test_relative),
        TEST(test_usual),       TEST(test_hard_links),
        TEST(test_magic),       TEST(test_own_descriptors),
        TEST(test_out_folder),  TEST(test_out_swapped),
        TEST(test_swapped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
