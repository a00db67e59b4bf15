/* Files are written whole or not at all. */

#include "scratch.h"

#include <signal.h>

#include <sys/resource.h>
#include <sys/wait.h>

#include "ecert_file.h"
#include "reads.h"

static ecert_err_t err;

static int leftovers(const char *path)
{
    char command[PATH_MAX + 64];

    snprintf(command, sizeof(command),
             "test -z \"$(ls -A '%s' | grep '^\\.')\"", path);
    return system(command);
}

static void test_write(void **state)
{
    struct stat st;

    (void)state;
    folders("w");
    umask(077);
    assert_int_equal(ecert_file_write(at("w/f"), "one", 3, 0644, &err), 0);
    assert_int_equal(stat(at("w/f"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_reads(at("w/f"), "one");
    assert_int_equal(ecert_file_write(at("w/f"), "two2", 4, 0600, &err), 0);
    assert_reads(at("w/f"), "two2");
    put_link("/etc/hostname", "w/l");
    assert_int_equal(ecert_file_write(at("w/l"), "mine", 4, 0600, &err), 0);
    assert_int_equal(lstat(at("w/l"), &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(leftovers(at("w")), 0);
}

static void limit_and_write(void)
{
    struct rlimit limit = {.rlim_cur = 1000, .rlim_max = 1000};
    static char big[100000];

    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    _exit(ecert_file_write(at("w/f"), big, sizeof(big), 0600, &err) == -1
                  && err.code == ECERT_ERR_SYSTEM && err.sys == EFBIG
              ? 0
              : 1);
}

static void test_write_fails(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    folders("w/folder");
    put("w/folder/x", "");
    put("w/f", "old");
    pid = fork();
    if (pid == 0) {
        limit_and_write();
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_reads(at("w/f"), "old");
    assert_int_equal(ecert_file_write(at("w/folder"), "x", 1, 0600, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_SYSTEM);
    assert_int_equal(ecert_file_write(at("none/f"), "x", 1, 0600, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_MISSING);
    assert_int_equal(ecert_file_write(at("w/.."), "x", 1, 0600, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_USAGE);
    assert_int_equal(ecert_file_write("/", "x", 1, 0600, &err), -1);
    chmod(at("w"), 0777);
    assert_int_equal(ecert_file_write(at("w/f"), "x", 1, 0600, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_UNSAFE);
    chmod(at("w"), 0755);
    assert_int_equal(leftovers(at("w")), 0);
}

static void test_folder(void **state)
{
    struct stat st;

    (void)state;
    umask(077);
    assert_int_equal(ecert_file_folder(at("n"), 0755, &err), 0);
    assert_int_equal(stat(at("n"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(ecert_file_folder(at("n"), 0700, &err), 0);
    assert_int_equal(stat(at("n"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(ecert_file_folder(at("o/p"), 0700, &err), -1);
    put("f", "");
    assert_int_equal(ecert_file_folder(at("f"), 0700, &err), -1);
    put_link("n", "ln");
    assert_int_equal(ecert_file_folder(at("ln"), 0700, &err), 0);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_write),
        TEST(test_write_fails),
        TEST(test_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
