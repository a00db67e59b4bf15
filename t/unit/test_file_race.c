/* A child changes a file without end, this process reads it. */

#include "scratch.h"

#include <signal.h>
#include <time.h>

#include <sys/prctl.h>
#include <sys/wait.h>

#include "ecert_file.h"

#define BLOCK 60000

static ecert_err_t err;

static int read_code(const char *path)
{
    ecert_file_t file;

    if (ecert_file_read(path, ECERT_FILE_MAX, NULL, &file, &err) != 0) {
        return (int)err.code;
    }
    ecert_file_free(&file);
    return 0;
}

static void fill(char *block, char c)
{
    memset(block, c, BLOCK);
}

/* Changes its mind without end, until it is killed. */
static void change_for_ever(void)
{
    static char block[BLOCK];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (unsigned i = 0;; i++) {
        fill(block, (char)('a' + i % 26));
        switch (i % 6) {
        case 0:
        case 1:
            ecert_file_write(at("r/f"), block, BLOCK, 0600, &err);
            break;
        case 2:
            put("r/f", ""); /* cut off in place */
            break;
        case 3:
            unlink(at("r/t"));
            mkfifo(at("r/t"), 0600);
            rename(at("r/t"), at("r/f"));
            break;
        case 4:
            unlink(at("r/t"));
            put_link("/dev/zero", "r/t");
            rename(at("r/t"), at("r/f"));
            break;
        default:
            unlink(at("r/f"));
        }
    }
}

static void check_block(const ecert_file_t *file)
{
    assert_int_equal(file->len, BLOCK);
    for (size_t i = 1; i < file->len; i++) {
        if (file->bytes[i] != file->bytes[0]) {
            fail_msg("a mixture: %c and %c", file->bytes[0], file->bytes[i]);
        }
    }
}

static void test_race(void **state)
{
    struct timespec now, end;
    ecert_file_t file;
    unsigned good = 0;
    pid_t pid;

    (void)state;
    folders("r");
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        change_for_ever();
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += 2;
    do {
        if (ecert_file_read(at("r/f"), ECERT_FILE_MAX, NULL, &file, &err)
            == 0) {
            good++;
            check_block(&file);
            ecert_file_free(&file);
        } else if (err.code != ECERT_ERR_MISSING
                   && err.code != ECERT_ERR_CHANGING
                   && err.code != ECERT_ERR_EMPTY
                   && err.code != ECERT_ERR_NOT_FILE) {
            kill(pid, SIGKILL);
            fail_msg("%s: %s", ecert_err_word(err.code), err.detail);
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec < end.tv_sec
             || (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_true(good > 0);
}

/* Only adds to the file; the next one takes its place by rename. */
static void grow_for_ever(void)
{
    static char block[BLOCK];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        int fd;

        ecert_file_write(at("f"), block, BLOCK, 0600, &err);
        fd = open(at("f"), O_WRONLY | O_APPEND | O_CLOEXEC);
        for (int i = 0; i < 200000 && write(fd, "x", 1) == 1; i++) {
        }
        close(fd);
    }
}

static void test_growing(void **state)
{
    time_t end = time(NULL) + 20;
    int code;
    pid_t pid;

    (void)state;
    put("f", "x");
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        grow_for_ever();
    }
    do {
        code = read_code(at("f"));
    } while (code != ECERT_ERR_CHANGING && time(NULL) < end);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(code, ECERT_ERR_CHANGING);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_race), TEST(test_growing)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
