#include "ecert_jail.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <sys/wait.h>

#include <openssl/crypto.h>

#include "ecert_jail_work.h"

#define NOBODY      65534
#define PATIENCE    3 /* seconds by the clock for one of CPU */
#define MIB(number) ((number) / (1024 * 1024))

typedef struct {
    int (*work)(void *ctx, ecert_frames_t *out, ecert_err_t *err);
    void *ctx;
} job_t;

typedef enum {
    ENDED,
    LATE,
    TOO_MUCH,
    BROKEN
} ending_t;

typedef struct {
    unsigned char *bytes; /* ECERT_ANSWER_MAX and one */
    size_t len;
    ending_t ending;
    int status; /* of the child */
} answer_t;

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void choose_user(ecert_jail_t *jail)
{
    const struct passwd *nobody;

    jail->change = geteuid() == 0 || getuid() == 0;
    if (!jail->change) {
        return;
    }
    nobody = getpwnam("nobody");
    jail->uid = nobody ? nobody->pw_uid : NOBODY;
    jail->gid = nobody ? nobody->pw_gid : NOBODY;
}

static _Noreturn void child(const ecert_jail_t *jail, const job_t *job,
                            int answer)
{
    ecert_frames_t frames = {0};
    ecert_err_t err;
    int rc;

    ecert_err_clear(&err);
    if (answer != ECERT_JAIL_PIPE && dup2(answer, ECERT_JAIL_PIPE) < 0) {
        _exit(1);
    }
    rc = ecert_jail_enter(jail, &err);
    if (rc == 0) {
        rc = job->work(job->ctx, &frames, &err);
    }
    rc = ecert_answer_write(ECERT_JAIL_PIPE, rc == 0 ? &frames : NULL, &err);
    ecert_frames_free(&frames);
    _exit(rc == 0 ? 0 : 1);
}

/* The child's number, -1 without one; *answer is what it writes to. */
static pid_t start(const ecert_jail_t *jail, const job_t *job, int *answer)
{
    sigset_t all, before;
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) != 0) {
        return -1;
    }
    /* no handler of this process may run in the child */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0) {
        child(jail, job, ends[1]);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return -1;
    }
    *answer = ends[0];
    return pid;
}

/* 1 when there is something to read, or its end. */
static int wait_until(int fd, int64_t deadline)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    int64_t left = deadline - now_ms();

    if (left <= 0) {
        return 0;
    }
    return poll(&wanted, 1, left < INT_MAX ? (int)left : INT_MAX);
}

static ending_t read_answer(int fd, int64_t deadline, answer_t *answer)
{
    int ready;
    ssize_t n;

    while (answer->len <= ECERT_ANSWER_MAX) {
        ready = wait_until(fd, deadline);
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready <= 0) {
            return ready == 0 ? LATE : BROKEN;
        }
        n = read(fd, answer->bytes + answer->len,
                 ECERT_ANSWER_MAX + 1 - answer->len);
        if (n == 0) {
            return ENDED;
        }
        if (n < 0 && errno != EINTR) {
            return BROKEN;
        }
        answer->len += n > 0 ? (size_t)n : 0;
    }
    return TOO_MUCH;
}

/* One that has ended by itself keeps its own status. */
static int kill_and_reap(pid_t pid)
{
    int status = 0;

    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

/* While the child lives nobody else may reap it, nor may the system. */
static int run_child(const ecert_jail_t *jail, const job_t *job,
                     answer_t *answer, ecert_err_t *err)
{
    struct sigaction plain = {.sa_handler = SIG_DFL}, before;
    int64_t deadline =
        now_ms() + (int64_t)jail->limits.seconds * PATIENCE * 1000;
    int fd = -1, saved;
    pid_t pid;

    sigaction(SIGCHLD, &plain, &before);
    pid = start(jail, job, &fd);
    saved = errno;
    if (pid > 0) {
        answer->ending = read_answer(fd, deadline, answer);
        saved = errno;
        answer->status = kill_and_reap(pid);
        close(fd);
    }
    sigaction(SIGCHLD, &before, NULL);
    errno = saved;
    if (pid < 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, jail->file,
                         "cannot start a process to read it");
    }
    return answer->ending == BROKEN
               ? ecert_err(err, ECERT_ERR_SYSTEM, jail->file,
                           "cannot hear the process that reads it")
               : 0;
}

static int too_slow(const ecert_jail_t *jail, int seconds, ecert_err_t *err)
{
    return ecert_err(err, ECERT_ERR_LIMITS, jail->file, "more than %d seconds",
                     seconds);
}

/* What a child without a whole answer died of. */
static int explain(const ecert_jail_t *jail, int status, ecert_err_t *err)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU) {
        return too_slow(jail, jail->limits.seconds, err);
    }
    if (WIFSIGNALED(status)) {
        return ecert_err(err, ECERT_ERR_LIMITS, jail->file,
                         "it was ended by signal %d", WTERMSIG(status));
    }
    return ecert_err(err, ECERT_ERR_DAMAGED, jail->file,
                     "the process that read it gave no sensible answer");
}

static int judge(const ecert_jail_t *jail, const answer_t *answer,
                 ecert_frames_t *out, ecert_err_t *err)
{
    if (answer->ending == LATE) {
        return too_slow(jail, jail->limits.seconds * PATIENCE, err);
    }
    if (answer->ending == TOO_MUCH) {
        return ecert_err(err, ECERT_ERR_LIMITS, jail->file,
                         "more than %d MiB came of it",
                         (int)MIB(ECERT_JAIL_ANSWER));
    }
    switch (ecert_answer_read(answer->bytes, answer->len, out, err)) {
    case ECERT_ANSWER_FRAMES:
        return 0;
    case ECERT_ANSWER_BAD:
        return explain(jail, answer->status, err);
    case ECERT_ANSWER_REFUSED:
        return err->code != ECERT_ERR_MEMORY
                   ? -1
                   : ecert_err(err, ECERT_ERR_LIMITS, jail->file,
                               "more than %zu MiB", MIB(jail->limits.memory));
    default:
        return -1;
    }
}

int ecert_jail_run_within(const ecert_jail_limits_t *limits,
                          int (*work)(void *ctx, ecert_frames_t *out,
                                      ecert_err_t *err),
                          void *ctx, const char *file, ecert_frames_t *out,
                          ecert_err_t *err)
{
    ecert_jail_t jail = {.limits = *limits, .file = file, .parent = getpid()};
    job_t job = {work, ctx};
    answer_t answer = {.bytes = malloc(ECERT_ANSWER_MAX + 1)};
    int rc;

    *out = (ecert_frames_t){0};
    if (answer.bytes == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, file, NULL);
    }
    choose_user(&jail);
    rc = run_child(&jail, &job, &answer, err);
    if (rc == 0) {
        rc = judge(&jail, &answer, out, err);
    }
    if (rc != 0) {
        ecert_frames_free(out);
    }
    OPENSSL_cleanse(answer.bytes, answer.len);
    free(answer.bytes);
    return rc;
}

int ecert_jail_run(int (*work)(void *ctx, ecert_frames_t *out,
                               ecert_err_t *err),
                   void *ctx, const char *file, ecert_frames_t *out,
                   ecert_err_t *err)
{
    static const ecert_jail_limits_t limits = {ECERT_JAIL_SECONDS,
                                               ECERT_JAIL_MEMORY, 0};

    return ecert_jail_run_within(&limits, work, ctx, file, out, err);
}

int ecert_jail_run_outside(int (*work)(void *ctx, ecert_frames_t *out,
                                       ecert_err_t *err),
                           void *ctx, const char *file, ecert_frames_t *out,
                           ecert_err_t *err)
{
    static const ecert_jail_limits_t limits = {ECERT_JAIL_SECONDS,
                                               ECERT_JAIL_MEMORY, 1};

    return ecert_jail_run_within(&limits, work, ctx, file, out, err);
}
