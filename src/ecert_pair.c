#include "ecert_pair.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ecert_close.h"
#include "ecert_log.h"

#define GRACE_MS         1000 /* for the worker to leave by itself */
#define GUARD_GRACE_MS   500  /* for the guard, after the worker's word */
#define FIRST_PAUSE_MS   50   /* doubled before each return of the worker */
#define LONGEST_PAUSE_MS 30000
#define NO_PROCESS_MS    1000 /* to the next try where there was none */
#define HEALTHY_SECONDS  60   /* who lived so long is in no crash loop */

struct ecert_pair_s {
    int control;
    int link;    /* this side's end */
    int keep;    /* -1: none */
    pid_t other; /* the guard, seen from the worker, and the reverse */
    unsigned restarts;
};

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Only 0, 1, 2, and what a guard owns. */
static void close_others(const ecert_pair_t *pair)
{
    int kept[] = {pair->control, pair->link, pair->keep};
    int next = 3;

    qsort(kept, 3, sizeof(kept[0]), by_number);
    for (int i = 0; i < 3; i++) {
        if (kept[i] > next) {
            ecert_close(next, kept[i] - 1);
        }
        if (kept[i] >= next) {
            next = kept[i] + 1;
        }
    }
    ecert_close(next, -1);
}

/* Waits until one of the two ends, or for timeout ms. 1: control; 2: link. */
static int wait_end(const ecert_pair_t *pair, int timeout)
{
    struct pollfd fds[2] = {{.fd = pair->control, .events = POLLIN},
                            {.fd = pair->link, .events = POLLIN}};

    for (;;) {
        int n = poll(fds, 2, timeout);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return 0;
        }
        return fds[0].revents ? 1 : 2;
    }
}

static int wait_control(const ecert_pair_t *pair, int timeout)
{
    struct pollfd fd = {.fd = pair->control, .events = POLLIN};

    return poll(&fd, 1, timeout) > 0;
}

static void kill_and_reap(pid_t pid)
{
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

/* The server is gone: the worker leaves by itself, or is made to. */
static void leave_guard(ecert_pair_t *pair)
{
    struct pollfd fd = {.fd = pair->link, .events = POLLIN};
    char word;

    poll(&fd, 1, GRACE_MS);
    if (recv(pair->link, &word, 1, MSG_DONTWAIT) == 1) {
        _exit(0); /* it leaves, and waits for nothing but this */
    }
    kill_and_reap(pair->other);
    _exit(0);
}

/* 1 in the worker, 0 in the guard, -1 when there is no new process. */
static int fork_worker(ecert_pair_t *pair)
{
    int ends[2];
    pid_t guard = getpid(), pid;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        return -1;
    }
    pid = fork();
    if (pid < 0) {
        close(ends[0]);
        close(ends[1]);
        return -1;
    }
    if (pair->link >= 0) {
        close(pair->link);
    }
    close(ends[pid == 0 ? 0 : 1]);
    pair->link = ends[pid == 0 ? 1 : 0];
    pair->other = pid == 0 ? guard : pid;
    return pid == 0;
}

/* Seconds on a clock that nobody sets. */
static time_t uptime(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec;
}

static int pause_after(int pause, time_t lived)
{
    if (lived >= HEALTHY_SECONDS) {
        pause = FIRST_PAUSE_MS;
    }
    return pause * 2 < LONGEST_PAUSE_MS ? pause * 2 : LONGEST_PAUSE_MS;
}

static void tell_death(pid_t pid, int status, int pause)
{
    if (WIFSIGNALED(status)) {
        ecert_log(ECERT_LOG_ERROR,
                  "agent: process %ld was killed by signal %d; it is started "
                  "again in %d ms, workers go on with what they have",
                  (long)pid, WTERMSIG(status), pause);
        return;
    }
    ecert_log(ECERT_LOG_ERROR,
              "agent: process %ld ended with code %d; it is started again in "
              "%d ms, workers go on with what they have",
              (long)pid, WEXITSTATUS(status), pause);
}

/* Forks until it works. 1 in the new worker, 0 in the guard. */
static int fork_again(ecert_pair_t *pair)
{
    int rc, told = 0;

    pair->restarts++;
    while ((rc = fork_worker(pair)) < 0) {
        if (!told) {
            told = 1;
            ecert_log(ECERT_LOG_ERROR,
                      "agent: it cannot be started again (fork: %s), workers "
                      "go on with what they have; it is tried every second: "
                      "look at the limits of processes and memory",
                      strerror(errno));
        }
        if (wait_control(pair, NO_PROCESS_MS)) {
            _exit(0); /* no process to be had, and none needed any more */
        }
    }
    return rc;
}

/* The same for as long as it takes, in a log that is followed meanwhile. */
static int wait_long(const ecert_pair_t *pair)
{
    int end;

    while ((end = wait_end(pair, ECERT_LOG_FOLLOW_S * 1000)) == 0) {
        ecert_log_follow();
    }
    return end;
}

/* Returns in a new worker only. */
static void guard(ecert_pair_t *pair)
{
    int pause = FIRST_PAUSE_MS, status;
    time_t born = uptime();

    close_others(pair);
    for (;;) {
        if (wait_long(pair) == 1) {
            leave_guard(pair);
        }
        status = 0;
        while (waitpid(pair->other, &status, 0) < 0 && errno == EINTR) {
        }
        pause = pause_after(pause, uptime() - born);
        tell_death(pair->other, status, pause);
        if (wait_control(pair, pause)) {
            _exit(0);
        }
        if (fork_again(pair)) {
            return;
        }
        born = uptime();
    }
}

ecert_pair_t *ecert_pair_start(int control, int keep, ecert_err_t *err)
{
    ecert_pair_t *pair = calloc(1, sizeof(*pair));
    int rc;

    if (pair == NULL) {
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        return NULL;
    }
    pair->control = control;
    pair->keep = keep;
    pair->link = -1;
    rc = fork_worker(pair);
    if (rc < 0) {
        ecert_err(err, ECERT_ERR_SYSTEM, NULL, "cannot start the agent: fork");
        free(pair);
        return NULL;
    }
    if (rc == 0) {
        guard(pair);
    }
    return pair;
}

int ecert_pair_fd(const ecert_pair_t *pair)
{
    return pair->link;
}

unsigned ecert_pair_restarts(const ecert_pair_t *pair)
{
    return pair->restarts;
}

int ecert_pair_heal(ecert_pair_t *pair, ecert_err_t *err)
{
    int rc = fork_worker(pair);

    if (rc < 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, NULL, "fork");
    }
    if (rc == 0) {
        guard(pair);
    }
    return 0;
}

void ecert_pair_end(ecert_pair_t *pair)
{
    struct pollfd fd = {.fd = pair->link, .events = POLLIN};

    /* a stopped guard would stay for ever; a dead one's number is not reused
     * while the link has not told us that it died.  A healthy one is told: a
     * server that is process 1 reaps it, and would report a violent end */
    send(pair->link, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (poll(&fd, 1, GUARD_GRACE_MS) == 0) {
        kill(pair->other, SIGKILL);
    }
}
