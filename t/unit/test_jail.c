/* What comes back of work on a stranger's bytes, and how it is ended. */

#include "scratch.h"

#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "ecert_jail_work.h"

#define MIB ((size_t)1024 * 1024)

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

/* Nothing comes back with an error. */
static void assert_fails(work_t *work, void *ctx, ecert_code_t code,
                         const char *detail)
{
    assert_int_equal(run(work, ctx), -1);
    assert_string_equal(err.detail, detail);
    assert_int_equal(err.code, code);
    assert_string_equal(err.file, "a.pfx");
    assert_int_equal(frames.n, 0);
}

static unsigned long ms_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (unsigned long)(now.tv_sec * 1000 + now.tv_nsec / 1000000);
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

static int largest(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    static char bytes[ECERT_JAIL_ANSWER - ECERT_JAIL_FRAMES + 1];

    (void)ctx;
    memset(bytes, 'l', sizeof(bytes));
    for (int i = 1; i < ECERT_JAIL_FRAMES; i++) {
        if (ecert_frames_add(out, 9, "x", 1, error) != 0) {
            return -1;
        }
    }
    return ecert_frames_add(out, 10, bytes, sizeof(bytes), error);
}

static int nothing(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    (void)ctx;
    (void)out;
    (void)error;
    return 0;
}

static void test_answers(void **state)
{
    const ecert_frame_t *last;

    (void)state;
    assert_int_equal(echoes(), 0);
    assert_int_equal(run(nothing, NULL), 0);
    assert_int_equal(frames.n, 0);
    assert_int_equal(run(largest, NULL), 0);
    assert_int_equal(frames.n, ECERT_JAIL_FRAMES);
    last = &frames.frames[frames.n - 1];
    assert_int_equal(last->len, ECERT_JAIL_ANSWER - ECERT_JAIL_FRAMES + 1);
    assert_int_equal(last->bytes[0], 'l');
    assert_int_equal(last->bytes[last->len - 1], 'l');
    ecert_frames_free(&frames);
    assert_int_equal(ecert_jail_run(echo, "x", NULL, &frames, &err), 0);
    assert_int_equal(frames.n, 2);
}

static int refuse(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    ecert_frames_add(out, 1, "key", 3, error);
    errno = ENOTTY;
    ecert_err(error, ECERT_ERR_MISSING, "b\\b", "%s", (char *)ctx);
    return ecert_err_hint(error, "try again");
}

static void test_error(void **state)
{
    char detail[] = "escaped once: \\ \x1b \xe9\xa6\x99 \\x1b";
    ecert_err_t same;

    (void)state;
    ecert_err(&same, ECERT_ERR_MISSING, "b\\b", "%s", detail);
    assert_int_equal(run(refuse, detail), -1);
    assert_int_equal(frames.n, 0);
    assert_int_equal(err.code, ECERT_ERR_MISSING);
    assert_int_equal(err.sys, ENOTTY);
    assert_string_equal(err.file, same.file);
    assert_string_equal(err.detail, same.detail);
    assert_string_equal(err.hint, "try again");
}

static int hostile(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    (void)ctx;
    (void)out;
    error->code = ECERT_ERR_PASSWORD;
    strcpy(error->file, "a\nb");
    strcpy(error->hint, "\x1b]0;owned\x07\\");
    memset(error->detail, '\x1b', sizeof(error->detail));
    return -1;
}

static int speechless(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    (void)ctx;
    (void)out;
    (void)error;
    return -1;
}

static void test_hostile_error(void **state)
{
    (void)state;
    assert_int_equal(run(hostile, NULL), -1);
    assert_int_equal(err.code, ECERT_ERR_PASSWORD);
    assert_string_equal(err.file, "a\\x0ab");
    assert_string_equal(err.hint, "\\x1b]0;owned\\x07\\x5c");
    assert_int_equal(strlen(err.detail), 508);
    assert_int_equal(strspn(err.detail, "\\x1b"), 508);
    assert_fails(speechless, NULL, ECERT_ERR_DAMAGED,
                 "the process that read it gave no sensible answer");
}

/* Answers that no work can give without taking over its process. */

static int raw(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    const char *const *text = ctx;
    ssize_t n = write(ECERT_JAIL_PIPE, text[0], (size_t)(text[1] - text[0]));

    (void)out;
    (void)error;
    _exit(n >= 0 ? 0 : 1);
}

static void assert_nonsense(const char *bytes, size_t len)
{
    const char *text[] = {bytes, bytes + len};

    assert_fails(raw, text, ECERT_ERR_DAMAGED,
                 "the process that read it gave no sensible answer");
}

static int many(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    (void)out;
    (void)error;
    for (int i = 0; i < *(int *)ctx; i++) {
        if (write(ECERT_JAIL_PIPE, "\1\1\0\0\0x", 6) != 6) {
            _exit(1);
        }
    }
    _exit(write(ECERT_JAIL_PIPE, "\0\0\0\0\0", 5) == 5 ? 0 : 1);
}

static int endless(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    static char bytes[6000];

    (void)ctx;
    (void)out;
    (void)error;
    for (size_t i = 0; i < sizeof(bytes); i += 6) {
        memcpy(bytes + i, "\1\1\0\0\0x", 6);
    }
    while (write(ECERT_JAIL_PIPE, bytes, sizeof(bytes)) > 0) {
    }
    _exit(0);
}

static void test_nonsense(void **state)
{
    int most = ECERT_JAIL_FRAMES, too_many = ECERT_JAIL_FRAMES + 1;

    (void)state;
    assert_nonsense("", 0);
    assert_nonsense("garbage, and much of it", 23);
    assert_nonsense("\1\1\0\0\0x", 6);
    assert_nonsense("\1\1\0\0\0x\0\0\0\0\0\0", 12);
    assert_int_equal(run(many, &most), 0);
    assert_int_equal(frames.n, ECERT_JAIL_FRAMES);
    assert_fails(many, &too_many, ECERT_ERR_DAMAGED,
                 "the process that read it gave no sensible answer");
    assert_fails(endless, NULL, ECERT_ERR_LIMITS, "more than 2 MiB came of it");
}

/* Time. */

static int spin(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    volatile unsigned turns = 1;

    (void)out;
    (void)error;
    signal(SIGXCPU, ctx != NULL ? SIG_IGN : SIG_DFL);
    while (turns != 0) {
        turns |= 1;
    }
    return 0;
}

static int wait_for_ever(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    (void)out;
    (void)error;
    if (ctx != NULL) {
        close(ECERT_JAIL_PIPE);
    }
    while (pause() != 0) {
    }
    return 0;
}

static void test_time(void **state)
{
    unsigned long before = ms_now();

    (void)state;
    assert_fails(spin, NULL, ECERT_ERR_LIMITS, "more than 1 seconds");
    assert_uint_in_range(ms_now() - before, 900, 2990);
    before = ms_now();
    assert_fails(wait_for_ever, NULL, ECERT_ERR_LIMITS, "more than 3 seconds");
    assert_uint_in_range(ms_now() - before, 2990, 6000);
    before = ms_now();
    assert_fails(wait_for_ever, "quietly", ECERT_ERR_LIMITS,
                 "it was ended by signal 9");
    assert_true(ms_now() - before < 2000);
}

/* Who does not mind the first warning is ended, whatever is said of it. */
static void test_stubborn(void **state)
{
    (void)state;
    assert_int_equal(run(spin, "ignore"), -1);
    assert_int_equal(err.code, ECERT_ERR_LIMITS);
}

/* Memory. */

static size_t take_all(void)
{
    size_t n = 0;
    char *block;

    while (n < 1024 && (block = malloc(MIB)) != NULL) {
        memset(block, 'm', MIB);
        n++;
    }
    return n;
}

static int count_memory(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    void **kept = malloc(1024 * sizeof(*kept));
    size_t n = 0;

    (void)ctx;
    while (n < 1024 && (kept[n] = malloc(MIB)) != NULL) {
        n++;
    }
    for (size_t i = 0; i < n; i++) {
        free(kept[i]);
    }
    free(kept);
    return ecert_frames_add(out, 1, &n, sizeof(n), error);
}

static int exhaust(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    (void)out;
    take_all();
    if (ctx != NULL) {
        abort();
    }
    return ecert_err(error, ECERT_ERR_MEMORY, "a.pfx", NULL);
}

static void test_memory(void **state)
{
    size_t n;

    (void)state;
    if (skipped(!ECERT_JAIL_BOUNDS_MEMORY, "built with a sanitizer")) {
        return;
    }
    assert_int_equal(run(count_memory, NULL), 0);
    memcpy(&n, frames.frames[0].bytes, sizeof(n));
    assert_uint_in_range(n, 48, 72); /* some of it lay free before the fork */
    assert_fails(exhaust, NULL, ECERT_ERR_LIMITS, "more than 64 MiB");
    assert_fails(exhaust, "abort", ECERT_ERR_LIMITS,
                 "it was ended by signal 6");
}

/* Crashes, signals, and who else waits for them. */

static int crash(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    char *page =
        mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)ctx;
    (void)out;
    (void)error;
    *(volatile char *)page = 1;
    return 0;
}

static int raise_it(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    (void)out;
    (void)error;
    raise(*(int *)ctx);
    return 0;
}

static void go_on(int number)
{
    (void)number;
}

static void test_crash(void **state)
{
    (void)state;
    assert_fails(crash, NULL, ECERT_ERR_LIMITS, "it was ended by signal 11");
}

/* Neither handlers nor the mask of the caller are the child's. */
static void test_signals(void **state)
{
    int number = SIGUSR1;
    sigset_t set, before;

    (void)state;
    signal(SIGUSR1, go_on);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &before);
    assert_fails(raise_it, &number, ECERT_ERR_LIMITS,
                 "it was ended by signal 10");
    sigprocmask(SIG_SETMASK, NULL, &set);
    assert_true(sigismember(&set, SIGUSR1));
    sigprocmask(SIG_SETMASK, &before, NULL);
    signal(SIGUSR1, SIG_DFL);
}

static void test_ignored_children(void **state)
{
    (void)state;
    signal(SIGCHLD, SIG_IGN);
    assert_fails(crash, NULL, ECERT_ERR_LIMITS, "it was ended by signal 11");
    assert_int_equal(echoes(), 0);
    assert_true(signal(SIGCHLD, SIG_DFL) == SIG_IGN);
}

static int be_slow(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    struct timespec pause = {.tv_nsec = 200000000};

    nanosleep(&pause, NULL);
    return echo(ctx, out, error);
}

static void test_interrupted(void **state)
{
    struct itimerval often = {{0, 1000}, {0, 1000}}, never = {0};
    struct sigaction action = {.sa_handler = go_on};
    int rc;

    (void)state;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    rc = run(be_slow, "slow");
    setitimer(ITIMER_REAL, &never, NULL);
    signal(SIGALRM, SIG_DFL);
    assert_int_equal(rc, 0);
    assert_int_equal(frames.n, 2);
}

static int tell_pid(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    *(volatile pid_t *)ctx = getpid();
    return wait_for_ever(NULL, out, error);
}

/* It goes with the process that waits for it. */
static void test_orphan(void **state)
{
    volatile pid_t *jailed = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct timespec pause = {.tv_nsec = 5000000};
    unsigned long before = ms_now();
    int status;
    pid_t pid;

    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    pid = fork();
    if (pid == 0) {
        ecert_jail_run(tell_pid, (void *)jailed, NULL, &frames, &err);
        _exit(0);
    }
    while (*jailed == 0 && ms_now() - before < 10000) {
        nanosleep(&pause, NULL);
    }
    assert_true(*jailed > 0);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    while (waitpid(*jailed, &status, WNOHANG) == 0) {
        nanosleep(&pause, NULL);
        if (ms_now() - before > 10000) {
            kill(*jailed, SIGKILL);
        }
    }
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_true(ms_now() - before < 10000);
    munmap((void *)jailed, 4096);
}

static int count_files(void)
{
    int n = 0;

    for (int fd = 0; fd < 1024; fd++) {
        n += fcntl(fd, F_GETFD) != -1;
    }
    return n;
}

static void test_nothing_left_behind(void **state)
{
    static work_t *const works[] = {echo, refuse, crash, endless, largest};
    int before = count_files();

    (void)state;
    for (int i = 0; i < 100; i++) {
        run(works[i % 5], "x");
    }
    assert_int_equal(count_files(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

/* ---- several at once --------------------------------------------------- */

#define JOBS 30

/* Shared with the children. */
typedef struct {
    _Atomic int now, most;
} meter_t;

typedef struct {
    meter_t *meter;
    int number;
} one_t;

static int measured(void *ctx, ecert_frames_t *out, ecert_err_t *error)
{
    const one_t *one = ctx;
    int now = ++one->meter->now, most = one->meter->most;

    while (now > most
           && !atomic_compare_exchange_weak(&one->meter->most, &most, now)) {
    }
    nanosleep(&(struct timespec){0, 30 * 1000 * 1000}, NULL);
    one->meter->now--;
    if (one->number % 5 == 0) {
        return ecert_err(error, ECERT_ERR_USAGE, "job", "%d", one->number);
    }
    if (one->number % 5 == 1) {
        raise(SIGSEGV);
    }
    return ecert_frames_add(out, 1, &one->number, sizeof(one->number), error);
}

static void count_done(void *ctx, size_t i)
{
    ((int *)ctx)[i]++;
}

static void assert_job(ecert_jail_job_t *job, int i)
{
    if (i % 5 > 1) {
        assert_int_equal(job->rc, 0);
        assert_int_equal(job->frames.n, 1);
        assert_memory_equal(job->frames.frames[0].bytes, &i, sizeof(i));
    } else {
        assert_int_equal(job->rc, -1);
        assert_int_equal(job->frames.n, 0);
        assert_int_equal(job->err.code,
                         i % 5 ? ECERT_ERR_LIMITS : ECERT_ERR_USAGE);
    }
    ecert_frames_free(&job->frames);
}

static void test_each(void **state)
{
    meter_t *meter = mmap(NULL, sizeof(*meter), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ecert_jail_job_t jobs[JOBS] = {{0}};
    one_t ones[JOBS];
    int done[JOBS] = {0}, before = count_files();

    (void)state;
    assert_true(meter != MAP_FAILED);
    for (int i = 0; i < JOBS; i++) {
        ones[i] = (one_t){meter, i};
        jobs[i].ctx = &ones[i];
        jobs[i].file = "a job";
    }
    ecert_jail_run_each(measured, jobs, JOBS, count_done, done);
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(done[i], 1);
        assert_job(&jobs[i], i);
    }
    assert_uint_in_range(meter->most, 2, ECERT_JAIL_AT_ONCE);
    assert_int_equal(count_files(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    ecert_jail_run_each(measured, jobs, 0, count_done, done);
    munmap(meter, sizeof(*meter));
}

#define TEST(name) cmocka_unit_test_teardown(name, frames_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_answers),
        TEST(test_error),
        TEST(test_hostile_error),
        TEST(test_nonsense),
        TEST(test_time),
        TEST(test_stubborn),
        TEST(test_memory),
        TEST(test_crash),
        TEST(test_signals),
        TEST(test_ignored_children),
        TEST(test_interrupted),
        TEST(test_orphan),
        TEST(test_nothing_left_behind),
        TEST(test_each),
    };

    /* on a busy machine a second of CPU would take longer than three */
    setpriority(PRIO_PROCESS, 0, -15);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
