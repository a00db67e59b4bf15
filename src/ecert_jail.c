#include "ecert_jail.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/wait.h>

#include <openssl/crypto.h>

#include "ecert_clock.h"
#include "ecert_jail_work.h"

#define NOBODY      65534
#define PATIENCE    3 /* seconds by the clock for one of CPU */
#define MIB(number) ((number) / (1024 * 1024))

/* Exit status of a child that could not answer, and errno on top of it. */
#define SPEECHLESS 64

typedef int (*work_t)(void *ctx, ecert_frames_t *out, ecert_err_t *err);

typedef struct {
    work_t work;
    void *ctx;
} job_t;

typedef enum {
    GOES_ON,
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

/* A child at work. */
typedef struct {
    ecert_jail_job_t *job; /* NULL: there is none */
    ecert_jail_t jail;
    answer_t answer;
    pid_t pid;
    int fd;
    int64_t deadline;
} ward_t;

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
        _exit(SPEECHLESS + errno);
    }
    rc = ecert_jail_enter(jail, &err);
    if (rc == 0) {
        rc = job->work(job->ctx, &frames, &err);
    }
    rc = ecert_answer_write(ECERT_JAIL_PIPE, rc == 0 ? &frames : NULL, &err);
    rc = rc == 0 ? 0 : SPEECHLESS + errno;
    ecert_frames_free(&frames);
    _exit(rc);
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

static ending_t read_answer(ward_t *ward)
{
    answer_t *answer = &ward->answer;
    ssize_t n = read(ward->fd, answer->bytes + answer->len,
                     ECERT_ANSWER_MAX + 1 - answer->len);

    if (n == 0) {
        return ENDED;
    }
    if (n < 0) {
        return errno == EINTR ? GOES_ON : BROKEN;
    }
    answer->len += (size_t)n;
    return answer->len > ECERT_ANSWER_MAX ? TOO_MUCH : GOES_ON;
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
    if (WIFEXITED(status) && WEXITSTATUS(status) == ECERT_JAIL_NO_MEMORY) {
        return ecert_err(err, ECERT_ERR_LIMITS, jail->file,
                         "the process that read it got no more memory");
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) > SPEECHLESS) {
        errno = WEXITSTATUS(status) - SPEECHLESS;
        return ecert_err(err, ECERT_ERR_SYSTEM, jail->file,
                         "the process that read it could not answer");
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

/* ---- several of them --------------------------------------------------- */

/* 0, or -1 with the job's err. */
static int begin(ward_t *ward, const ecert_jail_limits_t *limits, work_t work,
                 ecert_jail_job_t *job)
{
    job_t what = {work, job->ctx};
    unsigned char *bytes = malloc(ECERT_ANSWER_MAX + 1);

    if (bytes == NULL) {
        return ecert_err(&job->err, ECERT_ERR_MEMORY, job->file, NULL);
    }
    *ward = (ward_t){
        .jail = {.limits = *limits, .file = job->file, .parent = getpid()},
        .answer = {.bytes = bytes}};
    choose_user(&ward->jail);
    ward->deadline =
        ecert_clock_ms() + (int64_t)limits->seconds * PATIENCE * 1000;
    ward->pid = start(&ward->jail, &what, &ward->fd);
    if (ward->pid < 0) {
        free(bytes);
        return ecert_err(&job->err, ECERT_ERR_SYSTEM, job->file,
                         "cannot start a process to read it");
    }
    ward->job = job;
    return 0;
}

static void end(ward_t *ward, ending_t ending)
{
    ecert_jail_job_t *job = ward->job;
    answer_t *answer = &ward->answer;
    int saved = errno;

    answer->ending = ending;
    answer->status = kill_and_reap(ward->pid);
    close(ward->fd);
    errno = saved;
    job->rc = ending == BROKEN
                  ? ecert_err(&job->err, ECERT_ERR_SYSTEM, job->file,
                              "cannot hear the process that reads it")
                  : judge(&ward->jail, answer, &job->frames, &job->err);
    if (job->rc != 0) {
        ecert_frames_free(&job->frames);
    }
    OPENSSL_cleanse(answer->bytes, answer->len);
    free(answer->bytes);
    ward->job = NULL;
}

/* Until one of them has something to say, or has no time left. */
static int wait_for(const ward_t *wards, struct pollfd *fds)
{
    int64_t left = INT_MAX, now = ecert_clock_ms();

    for (size_t i = 0; i < ECERT_JAIL_AT_ONCE; i++) {
        fds[i] = (struct pollfd){.fd = wards[i].job ? wards[i].fd : -1,
                                 .events = POLLIN};
        if (wards[i].job != NULL && wards[i].deadline - now < left) {
            left = wards[i].deadline - now;
        }
    }
    return poll(fds, ECERT_JAIL_AT_ONCE, left > 0 ? (int)left : 0);
}

static ending_t look_at(ward_t *ward, const struct pollfd *fd)
{
    if (fd->revents != 0) {
        return read_answer(ward);
    }
    return ecert_clock_ms() >= ward->deadline ? LATE : GOES_ON;
}

typedef struct {
    const ecert_jail_limits_t *limits;
    work_t work;
    ecert_jail_job_t *jobs;
    size_t n, next;
    void (*done)(void *ctx, size_t i);
    void *ctx;
} jobs_t;

static void finish(const jobs_t *all, const ecert_jail_job_t *job)
{
    if (all->done != NULL) {
        all->done(all->ctx, (size_t)(job - all->jobs));
    }
}

/* As many as there is room for; how many are at work. */
static size_t begin_some(jobs_t *all, ward_t *wards)
{
    size_t busy = 0;

    for (size_t i = 0; i < ECERT_JAIL_AT_ONCE; i++) {
        while (wards[i].job == NULL && all->next < all->n) {
            ecert_jail_job_t *job = &all->jobs[all->next++];

            job->frames = (ecert_frames_t){0};
            job->rc = begin(&wards[i], all->limits, all->work, job);
            if (job->rc != 0) {
                finish(all, job);
            }
        }
        busy += wards[i].job != NULL;
    }
    return busy;
}

/* While a child lives nobody else may reap it, nor may the system. */
static void run_all(jobs_t *all)
{
    struct sigaction plain = {.sa_handler = SIG_DFL}, before;
    ward_t wards[ECERT_JAIL_AT_ONCE] = {{0}};
    struct pollfd fds[ECERT_JAIL_AT_ONCE];

    sigaction(SIGCHLD, &plain, &before);
    while (begin_some(all, wards) > 0) {
        int ready = wait_for(wards, fds);

        if (ready < 0 && errno == EINTR) {
            continue;
        }
        for (size_t i = 0; i < ECERT_JAIL_AT_ONCE; i++) {
            ecert_jail_job_t *job = wards[i].job;
            ending_t ending = job == NULL ? GOES_ON
                              : ready < 0 ? BROKEN
                                          : look_at(&wards[i], &fds[i]);

            if (ending != GOES_ON) {
                end(&wards[i], ending);
                finish(all, job);
            }
        }
    }
    sigaction(SIGCHLD, &before, NULL);
}

int ecert_jail_run_within(const ecert_jail_limits_t *limits,
                          int (*work)(void *ctx, ecert_frames_t *out,
                                      ecert_err_t *err),
                          void *ctx, const char *file, ecert_frames_t *out,
                          ecert_err_t *err)
{
    ecert_jail_job_t job = {.ctx = ctx, .file = file};
    jobs_t all = {.limits = limits, .work = work, .jobs = &job, .n = 1};

    run_all(&all);
    *out = job.frames;
    if (job.rc != 0) {
        *err = job.err;
    }
    return job.rc;
}

static const ecert_jail_limits_t inside = {ECERT_JAIL_SECONDS,
                                           ECERT_JAIL_MEMORY, 0};
static const ecert_jail_limits_t outside = {ECERT_JAIL_SECONDS,
                                            ECERT_JAIL_MEMORY, 1};

int ecert_jail_run(int (*work)(void *ctx, ecert_frames_t *out,
                               ecert_err_t *err),
                   void *ctx, const char *file, ecert_frames_t *out,
                   ecert_err_t *err)
{
    return ecert_jail_run_within(&inside, work, ctx, file, out, err);
}

int ecert_jail_run_outside(int (*work)(void *ctx, ecert_frames_t *out,
                                       ecert_err_t *err),
                           void *ctx, const char *file, ecert_frames_t *out,
                           ecert_err_t *err)
{
    return ecert_jail_run_within(&outside, work, ctx, file, out, err);
}

void ecert_jail_run_each(int (*work)(void *ctx, ecert_frames_t *out,
                                     ecert_err_t *err),
                         ecert_jail_job_t *jobs, size_t n,
                         void (*done)(void *ctx, size_t i), void *ctx)
{
    jobs_t all = {&outside, work, jobs, n, 0, done, ctx};

    run_all(&all);
}
