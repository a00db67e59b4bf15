/* The workers' rows: taken, left behind by the dead, filled with nonsense. */

#include "scratch.h"

#include <signal.h>

#include <sys/mman.h>
#include <sys/wait.h>

#include "ecert_seen.h"

static ecert_err_t err;

typedef struct {
    int fd;
    uint64_t *raw;
    size_t size;
    ecert_seen_t *agent, *worker;
} rows_t;

static void open_rows(rows_t *rows, uint32_t sites)
{
    struct stat st;

    rows->fd = ecert_seen_create(sites, &err);
    assert_true(rows->fd >= 0);
    assert_int_equal(fstat(rows->fd, &st), 0);
    rows->size = (size_t)st.st_size;
    rows->raw =
        mmap(NULL, rows->size, PROT_READ | PROT_WRITE, MAP_SHARED, rows->fd, 0);
    assert_true(rows->raw != MAP_FAILED);
    rows->agent = ecert_seen_open(rows->fd, &err);
    rows->worker = ecert_seen_open(rows->fd, &err);
    assert_non_null(rows->agent);
    assert_non_null(rows->worker);
}

static void close_rows(rows_t *rows)
{
    munmap(rows->raw, rows->size);
    ecert_seen_close(rows->agent);
    ecert_seen_close(rows->worker);
    close(rows->fd);
}

/* A process that is dead and gone; its number is free. */
static pid_t dead_pid(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return pid;
}

static pid_t sleeping_pid(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        pause();
        _exit(0);
    }
    assert_true(pid > 0);
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_claim(void **state)
{
    pid_t child = sleeping_pid();
    rows_t rows;
    int row, other;

    (void)state;
    open_rows(&rows, 3);
    row = ecert_seen_claim(rows.worker, getpid());
    assert_int_equal(row, 0);
    assert_int_equal(ecert_seen_pid(rows.agent, 0), getpid());
    assert_int_equal(ecert_seen_pid(rows.agent, 1), 0);
    /* again: its own row */
    assert_int_equal(ecert_seen_claim(rows.worker, getpid()), 0);
    other = ecert_seen_claim(rows.worker, child);
    assert_int_equal(other, 1);
    ecert_seen_set(rows.worker, row, 0, 7);
    ecert_seen_set(rows.worker, row, 2, UINT64_MAX);
    ecert_seen_set(rows.worker, other, 2, 9);
    assert_int_equal(ecert_seen_get(rows.agent, row, 0), 7);
    assert_int_equal(ecert_seen_get(rows.agent, row, 1), 0);
    assert_true(ecert_seen_get(rows.agent, row, 2) == UINT64_MAX);
    assert_int_equal(ecert_seen_get(rows.agent, other, 2), 9);
    end(child);
    assert_int_equal(ecert_seen_pid(rows.agent, other), 0);
    /* what the dead one said is no longer there for the next */
    child = sleeping_pid();
    assert_int_equal(ecert_seen_claim(rows.worker, child), other);
    assert_int_equal(ecert_seen_get(rows.agent, other, 2), 0);
    end(child);
    close_rows(&rows);
}

static void test_outside(void **state)
{
    rows_t rows;

    (void)state;
    open_rows(&rows, 1);
    ecert_seen_set(rows.worker, -1, 0, 1);
    ecert_seen_set(rows.worker, ECERT_SEEN_WORKERS, 0, 1);
    ecert_seen_set(rows.worker, 0, 1, 1);
    ecert_seen_set(rows.worker, 0, UINT32_MAX, 1);
    for (size_t i = 0; i < rows.size / 8; i++) {
        assert_int_equal(rows.raw[i], 0);
    }
    assert_int_equal(ecert_seen_get(rows.agent, -1, 0), 0);
    assert_int_equal(ecert_seen_get(rows.agent, ECERT_SEEN_WORKERS, 0), 0);
    assert_int_equal(ecert_seen_get(rows.worker, ECERT_SEEN_WORKERS, 0), 0);
    assert_int_equal(ecert_seen_get(rows.agent, 0, 1), 0);
    assert_int_equal(ecert_seen_pid(rows.agent, -1), 0);
    assert_int_equal(ecert_seen_pid(rows.agent, ECERT_SEEN_WORKERS), 0);
    close_rows(&rows);
}

static void test_all_taken(void **state)
{
    pid_t child = sleeping_pid();
    rows_t rows;

    (void)state;
    open_rows(&rows, 0);
    for (int i = 0; i < ECERT_SEEN_WORKERS; i++) {
        rows.raw[i] = (uint64_t)child;
    }
    assert_int_equal(ecert_seen_claim(rows.worker, getpid()), -1);
    rows.raw[700] = (uint64_t)dead_pid();
    assert_int_equal(ecert_seen_claim(rows.worker, getpid()), 700);
    end(child);
    close_rows(&rows);
}

/* Numbers that no worker would write: shown or not, but nothing happens. */
static void test_hostile(void **state)
{
    static const uint64_t odd[] = {UINT64_MAX,
                                   (uint64_t)INT64_MIN,
                                   (uint64_t)-1,
                                   (uint64_t)-2,
                                   INT32_MAX,
                                   (uint64_t)INT32_MAX + 1,
                                   UINT32_MAX,
                                   (UINT64_C(1) << 32) + 1,
                                   UINT64_C(0xdeadbeefdeadbeef)};
    unsigned seed = 2;
    rows_t rows;

    (void)state;
    open_rows(&rows, 2);
    for (int i = 0; i < ECERT_SEEN_WORKERS * 3; i++) {
        rows.raw[i] = odd[(size_t)i % (sizeof(odd) / sizeof(odd[0]))]
                      + (uint64_t)(i % 5 == 0) * (uint64_t)rand_r(&seed);
    }
    for (int row = 0; row < ECERT_SEEN_WORKERS; row++) {
        pid_t pid = ecert_seen_pid(rows.agent, row);

        assert_true(pid >= 0);
        ecert_seen_get(rows.agent, row, 0);
    }
    rows.raw[0] = UINT64_MAX; /* kill(-1) would be everybody */
    assert_int_equal(ecert_seen_pid(rows.agent, 0), 0);
    assert_int_equal(ecert_seen_claim(rows.worker, getpid()), 0);
    close_rows(&rows);
}

static void test_sealed(void **state)
{
    rows_t rows;
    struct stat st;

    (void)state;
    open_rows(&rows, 1);
    assert_int_equal(fstat(rows.fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(ftruncate(rows.fd, 0), -1);
    assert_int_equal(ftruncate(rows.fd, 1 << 30), -1);
    assert_int_equal(fcntl(rows.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    assert_int_equal(fcntl(rows.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close_rows(&rows);
}

static void test_bad_file(void **state)
{
    int fd = memfd_create("short", MFD_CLOEXEC);
    int pipes[2];

    (void)state;
    assert_null(ecert_seen_open(fd, &err));
    assert_int_equal(err.code, ECERT_ERR_SYSTEM);
    assert_int_equal(ftruncate(fd, 8191), 0);
    assert_null(ecert_seen_open(fd, &err));
    assert_null(ecert_seen_open(-1, &err));
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    assert_null(ecert_seen_open(pipes[0], &err));
    close(pipes[0]);
    close(pipes[1]);
    close(fd);
    ecert_seen_close(NULL);
}

/* Many at once: each gets a row of its own. */
static void test_race(void **state)
{
    enum {
        N = 24
    };
    pid_t pids[N];
    char taken[ECERT_SEEN_WORKERS] = {0};
    rows_t rows;
    int go[2];

    (void)state;
    open_rows(&rows, 1);
    assert_int_equal(pipe(go), 0);
    for (int i = 0; i < N; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            char byte;
            int row;

            close(go[1]);
            if (read(go[0], &byte, 1) != 0) {
                _exit(1);
            }
            row = ecert_seen_claim(rows.worker, getpid());
            ecert_seen_set(rows.worker, row, 0, (uint64_t)getpid());
            pause();
            _exit(0);
        }
    }
    close(go[0]);
    close(go[1]);
    for (int i = 0; i < N; i++) {
        int row = 0;

        while (ecert_seen_get(rows.agent, row, 0) != (uint64_t)pids[i]) {
            row = (row + 1) % N;
            if (row == 0) {
                usleep(100);
            }
        }
        assert_int_equal(ecert_seen_pid(rows.agent, row), pids[i]);
        assert_false(taken[row]);
        taken[row] = 1;
    }
    for (int i = 0; i < N; i++) {
        end(pids[i]);
    }
    close_rows(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claim),     cmocka_unit_test(test_outside),
        cmocka_unit_test(test_all_taken), cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_sealed),    cmocka_unit_test(test_bad_file),
        cmocka_unit_test(test_race),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
