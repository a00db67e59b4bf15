/* Guard and worker: each brings the other back, both go with the server. */

#include "scratch.h"

#include <poll.h>
#include <signal.h>
#include <time.h>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "ecert_pair.h"

/*
 * What the worker says of itself, in memory that every process of the pair
 * has: it grows with each worker that begins.
 */
typedef struct {
    volatile int workers;  /* how many have begun */
    volatile int restarts; /* what the last of them was told */
    volatile pid_t worker;
    volatile pid_t guard;
    volatile int heals;
    volatile int descriptors; /* open in the last guard-made worker */
} board_t;

static board_t *board;
static int control;
static pid_t started; /* the process that began: the first guard */

/* In the place of libc's: what an old kernel has, or seccomp allows. */
static int old_kernel;

int close_range(unsigned first, unsigned last, int flags)
{
    if (old_kernel) {
        errno = ENOSYS;
        return -1;
    }
    return (int)syscall(SYS_close_range, first, last, flags);
}

static int count_descriptors(void)
{
    int n = 0;

    for (int fd = 3; fd < 256; fd++) {
        n += fcntl(fd, F_GETFD) >= 0;
    }
    return n;
}

static void begin(const ecert_pair_t *pair)
{
    board->restarts = (int)ecert_pair_restarts(pair);
    board->descriptors = count_descriptors();
    board->worker = getpid();
    board->guard = getppid();
    board->workers++;
}

/* The worker's whole life. */
static void work(int end)
{
    ecert_err_t err;
    ecert_pair_t *pair = ecert_pair_start(end, -1, &err);

    if (pair == NULL) {
        _exit(9);
    }
    begin(pair);
    for (;;) {
        struct pollfd fds[2] = {{.fd = end, .events = POLLIN},
                                {.fd = ecert_pair_fd(pair), .events = POLLIN}};

        poll(fds, 2, -1);
        if (fds[0].revents) {
            ecert_pair_end(pair);
            _exit(0);
        }
        if (ecert_pair_heal(pair, &err) != 0) {
            _exit(8);
        }
        board->heals++;
        begin(pair);
    }
}

/* A condition with a deadline. */
#define WAIT_FOR(condition)                                                    \
    do {                                                                       \
        int ms_;                                                               \
        for (ms_ = 0; !(condition) && ms_ < 5000; ms_++) {                     \
            usleep(1000);                                                      \
        }                                                                      \
        assert_true(condition);                                                \
    } while (0)

/* Gone, or a zombie that whoever is its parent will reap. */
static int gone(pid_t pid)
{
    char path[64], line[256] = "";
    FILE *stat_file;
    const char *state;

    waitpid(pid, NULL, WNOHANG);
    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    stat_file = fopen(path, "re");
    if (stat_file == NULL) {
        return 1;
    }
    if (fgets(line, sizeof(line), stat_file) == NULL) {
        line[0] = '\0';
    }
    fclose(stat_file);
    state = strrchr(line, ')');
    return state == NULL || state[2] == 'Z' || state[2] == 'X';
}

static int setup(void **state)
{
    int pipes[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    (void)state;
    board = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                 -1, 0);
    /* orphans of the pair come to this process */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (pipe(pipes) != 0) {
        return -1;
    }
    started = fork();
    if (started == 0) {
        close(pipes[1]);
        dup2(null, 2); /* it logs deaths */
        work(pipes[0]);
    }
    close(null);
    close(pipes[0]);
    control = pipes[1];
    for (int ms = 0; board->workers == 0 && ms < 5000; ms++) {
        usleep(1000);
    }
    return board->workers == 1 ? 0 : -1;
}

static int setup_old_kernel(void **state)
{
    int rc;

    old_kernel = 1;
    rc = setup(state);
    old_kernel = 0;
    return rc;
}

/* Closes the control pipe: nothing of them is left within a second or two. */
static void assert_all_go(void)
{
    pid_t worker = board->worker, guard = board->guard;

    close(control);
    control = -1;
    WAIT_FOR(gone(worker));
    WAIT_FOR(gone(guard));
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nor any other */
    assert_int_equal(errno, ECHILD);
}

static int teardown(void **state)
{
    (void)state;
    if (control >= 0) {
        close(control);
    }
    while (waitpid(-1, NULL, 0) > 0) {
    }
    munmap(board, 4096);
    return 0;
}

static void test_end(void **state)
{
    (void)state;
    assert_int_equal(board->restarts, 0);
    assert_int_equal(board->guard, started);
    assert_int_not_equal(board->worker, started);
    assert_all_go();
    assert_int_equal(board->workers, 1);
}

static void test_worker_killed(void **state)
{
    (void)state;
    for (int i = 1; i <= 2; i++) {
        pid_t old = board->worker;

        kill(old, SIGKILL);
        WAIT_FOR(board->workers == i + 1);
        assert_int_equal(board->restarts, i);
        assert_int_not_equal(board->worker, old);
        assert_int_equal(board->guard, started);
        assert_int_equal(board->descriptors, 2); /* control and link */
        assert_int_equal(board->heals, 0);
    }
    assert_all_go();
}

static void test_guard_killed(void **state)
{
    pid_t worker = board->worker;

    (void)state;
    kill(board->guard, SIGKILL);
    WAIT_FOR(board->workers == 2);
    assert_int_equal(board->heals, 1);
    assert_int_equal(board->restarts, 0);   /* the work went on */
    assert_int_equal(board->guard, worker); /* which is the guard now */
    assert_int_not_equal(board->worker, worker);
    assert_all_go();
}

/* On a kernel that has no close_range. */
static void test_old_kernel(void **state)
{
    test_worker_killed(state);
}

/* First the guard, then the worker that follows: its guard brings it back. */
static void test_guard_then_worker(void **state)
{
    (void)state;
    kill(board->guard, SIGKILL);
    WAIT_FOR(board->workers == 2);
    kill(board->worker, SIGKILL);
    WAIT_FOR(board->workers == 3);
    assert_int_equal(board->restarts, 1);
    assert_int_equal(board->descriptors, 2);
    kill(board->worker, SIGKILL);
    WAIT_FOR(board->workers == 4);
    assert_int_equal(board->restarts, 2);
    assert_all_go();
}

static void test_stopped_worker(void **state)
{
    (void)state;
    kill(board->worker, SIGSTOP);
    assert_all_go();
}

static void test_stopped_guard(void **state)
{
    (void)state;
    kill(board->guard, SIGSTOP);
    assert_all_go();
}

/* A worker of a healed pair knows its new guard. */
static void test_stopped_after_heal(void **state)
{
    (void)state;
    kill(board->guard, SIGKILL);
    WAIT_FOR(board->workers == 2);
    kill(board->guard, SIGSTOP);
    assert_all_go();
}

/* The server goes while the guard waits before it brings the worker back. */
static void test_end_in_pause(void **state)
{
    pid_t guard = board->guard;

    (void)state;
    kill(board->worker, SIGKILL);
    WAIT_FOR(gone(board->worker));
    close(control);
    control = -1;
    WAIT_FOR(gone(guard));
    WAIT_FOR(gone(board->worker));
    assert_true(board->workers <= 2);
}

/* Both at once: that is the end, for nobody is left to do anything. */
static void test_both_killed(void **state)
{
    pid_t worker = board->worker, guard = board->guard;

    (void)state;
    kill(guard, SIGSTOP);
    kill(worker, SIGSTOP);
    kill(worker, SIGKILL);
    kill(guard, SIGKILL);
    WAIT_FOR(gone(guard) && gone(worker));
    assert_int_equal(board->workers, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_worker_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_kernel, setup_old_kernel,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_guard_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_guard_then_worker, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_stopped_worker, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stopped_guard, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stopped_after_heal, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_end_in_pause, setup, teardown),
        cmocka_unit_test_setup_teardown(test_both_killed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
