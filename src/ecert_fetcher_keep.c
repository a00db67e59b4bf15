/*
 * The keeper of the fetcher: a process of the agent's user that brings it back.
 * It holds the socket, so that errands that were sent meanwhile wait there; it
 * reads none of them, and no file.
 */

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/prctl.h>
#include <sys/wait.h>

#include "ecert_close.h"
#include "ecert_fetcher_work.h"
#include "ecert_log.h"
#include "ecert_priv.h"

#define SOCKET          3
#define FIRST_PAUSE_MS  100 /* doubled before each return */
#define LONGEST_PAUSE_S 30
#define HEALTHY_SECONDS 60 /* one that lived so long was no crash loop */

static void nothing(int number)
{
    (void)number; /* it only ends the wait */
}

/* SIGCHLD comes while it waits, and at no other time. */
static void hear_children(sigset_t *waiting)
{
    struct sigaction action = {.sa_handler = nothing};
    sigset_t child;

    sigaction(SIGCHLD, &action, NULL);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, waiting);
    sigdelset(waiting, SIGCHLD);
}

/* 1 when nobody is there any more who could send an errand. */
static int is_left(const struct timespec *timeout, const sigset_t *waiting)
{
    struct pollfd fd = {.fd = SOCKET}; /* POLLHUP */

    return ppoll(&fd, 1, timeout, waiting) > 0;
}

/* Until it ends; not longer than anybody needs it. */
static int wait_end(pid_t pid, const sigset_t *waiting)
{
    static const struct timespec pause = {ECERT_LOG_FOLLOW_S, 0};
    int status = 0;

    while (waitpid(pid, &status, WNOHANG) != pid) {
        if (is_left(&pause, waiting)) {
            _exit(0);
        }
        ecert_log_follow();
    }
    return status;
}

static struct timespec pause_after(unsigned *deaths, time_t lived)
{
    int64_t ms = FIRST_PAUSE_MS;

    *deaths = lived >= HEALTHY_SECONDS ? 0 : *deaths + 1;
    for (unsigned i = 1; i < *deaths && ms < LONGEST_PAUSE_S * 1000; i++) {
        ms *= 2;
    }
    if (ms >= LONGEST_PAUSE_S * 1000) {
        return (struct timespec){LONGEST_PAUSE_S, 0};
    }
    return (struct timespec){ms / 1000, ms % 1000 * 1000000};
}

static void tell(pid_t pid, int status, const struct timespec *pause)
{
    ecert_log(ECERT_LOG_WARN,
              "fetcher: process %ld was killed by signal %d; a new one is "
              "started in %ld ms, errands are tried again",
              (long)pid, WTERMSIG(status),
              (long)pause->tv_sec * 1000 + pause->tv_nsec / 1000000);
}

/*
 * It cannot be, and another one could not, either: said once, and the agent sees
 * that it has ended.
 */
static _Noreturn void give_up(const char *why)
{
    ecert_log(ECERT_LOG_ERROR,
              "fetcher: %s; it is not started again: a filter of system calls "
              "(seccomp of a container; SystemCallFilter or "
              "RestrictAddressFamilies of systemd) or missing capabilities do "
              "not let it; allow them, or switch it off: ecert_fetch off "
              "(ECertFetch)",
              why);
    _exit(1);
}

static void look_at_end(pid_t pid, int status)
{
    char why[100];

    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
        snprintf(why, sizeof(why), "process %ld was killed for a system call",
                 (long)pid);
        give_up(why);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
        snprintf(why, sizeof(why), "process %ld cannot begin (%s)", (long)pid,
                 strerror(WEXITSTATUS(status)));
        give_up(why);
    }
    if (!WIFSIGNALED(status)) {
        _exit(0); /* it is not needed any more */
    }
}

/* Returns when there is to be another one. */
static void keep_once(const ecert_fetcher_t *fetcher, unsigned *deaths,
                      const sigset_t *waiting)
{
    time_t born = time(NULL);
    pid_t self = getpid(), pid = fork();
    struct timespec pause;
    int status = 0;

    if (pid == 0) {
        ecert_fetcher_serve(fetcher, SOCKET, self);
    }
    if (pid > 0) {
        status = wait_end(pid, waiting);
        look_at_end(pid, status);
    }
    pause = pause_after(deaths, time(NULL) - born);
    if (pid > 0) {
        tell(pid, status, &pause);
    }
    if (is_left(&pause, waiting)) {
        _exit(0);
    }
}

static void begin(int socket)
{
    ecert_err_t err;

    if (socket != SOCKET && dup2(socket, SOCKET) < 0) {
        _exit(1);
    }
    ecert_close(SOCKET + 1, -1);
    prctl(PR_SET_NAME, "ecert-keeper");
    if (chdir("/") != 0 || ecert_priv_keeper(&err) != 0) {
        give_up("its keeper cannot give up its rights");
    }
}

_Noreturn void ecert_fetcher_keep(const ecert_fetcher_t *fetcher, int socket)
{
    unsigned deaths = 0;
    sigset_t waiting;

    begin(socket);
    hear_children(&waiting);
    for (;;) {
        keep_once(fetcher, &deaths, &waiting);
    }
}
