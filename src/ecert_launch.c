#include "ecert_launch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ecert_clock.h"
#include "ecert_seen.h"
#include "ecert_snap.h"
#include "ecert_visits.h"

#define PARKED 32  /* descriptors wait here while they take their places */
#define ZONE   256 /* bytes of "TZ=Asia/Hong_Kong", with its end */

/* What the child needs; made before the fork, so that it only makes calls
 * that are safe there. */
typedef struct {
    const char *path;
    int fds[ECERT_FD_END]; /* to be 0.. in the child; -1: /dev/null or none */
    int test;
    char zone[ZONE]; /* TZ=...; empty: the machine's */
} child_t;

void ecert_launch_init(ecert_launch_t *launch)
{
    launch->snap = -1;
    launch->seen = -1;
    launch->visits = -1;
    launch->control = -1;
}

static void close_one(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void ecert_launch_close(ecert_launch_t *launch)
{
    close_one(&launch->control);
    close_one(&launch->snap);
    close_one(&launch->seen);
    close_one(&launch->visits);
}

static void reset_signals(void)
{
    struct sigaction action;
    sigset_t none;
    int number;

    memset(&action, 0, sizeof(action));
    action.sa_handler = SIG_DFL;
    for (number = 1; number < NSIG; number++) {
        sigaction(number, &action, NULL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void close_from(int first)
{
    int fd, max;

    if (close_range((unsigned)first, ~0U, 0) == 0) {
        return;
    }
    max = (int)sysconf(_SC_OPEN_MAX);
    for (fd = first; fd < max && fd < 65536; fd++) {
        close(fd);
    }
}

/* Each descriptor to its number: first all out of the way, then down. */
static int place_descriptors(int *fds)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int i;

    for (i = 0; i < ECERT_FD_END; i++) {
        int from = fds[i] >= 0 ? fds[i] : i < 3 ? null : -1;

        fds[i] = from < 0 ? -1 : fcntl(from, F_DUPFD, PARKED);
        if (from >= 0 && fds[i] < 0) {
            return -1;
        }
    }
    for (i = 0; i < ECERT_FD_END; i++) {
        if (fds[i] < 0) {
            close(i);
        } else if (dup2(fds[i], i) < 0) {
            return -1;
        }
    }
    return 0;
}

/* The agent's lines stand among the server's, in one log. */
static void take_zone(child_t *child)
{
    const char *zone = getenv("TZ");

    if (zone != NULL && strlen(zone) + sizeof("TZ=") <= sizeof(child->zone)) {
        stpcpy(stpcpy(child->zone, "TZ="), zone);
    }
}

static void run_child(child_t *child)
{
    char *env[] = {
        (char *)(uintptr_t) "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:"
                            "/usr/bin:/sbin:/bin",
        child->zone[0] != '\0' ? child->zone : NULL, NULL};
    char *argv[] = {(char *)(uintptr_t) "ecert", (char *)(uintptr_t) "agent",
                    (char *)(uintptr_t) "--inherit",
                    child->test ? (char *)(uintptr_t) "--test" : NULL, NULL};

    reset_signals();
    if (!child->test) {
        setsid(); /* signals to the server's terminal are not for the agent */
    }
    if (place_descriptors(child->fds) == 0) {
        close_from(ECERT_FD_END);
        execve(child->path, argv, env);
        if (!child->test) {
            ssize_t said = write(ECERT_FD_READY, "X", 1);
            (void)said;
        }
    }
    _exit(127);
}

/* Waits for exactly this child, who may have been reaped by the server. */
static int wait_for(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return 0;
        }
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* Forks twice, so that the agent is nobody's child but init's. */
static int spawn(child_t *child, ecert_err_t *err)
{
    pid_t middle = fork();

    if (middle == 0) {
        pid_t pid = fork();

        if (pid == 0) {
            run_child(child);
        }
        _exit(pid < 0 ? 1 : 0);
    }
    if (middle < 0 || wait_for(middle) != 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, child->path,
                         "cannot start the agent: fork");
    }
    return 0;
}

/* 0: ready; else 1 with err. */
static int wait_ready(int fd, const char *agent, ecert_err_t *err)
{
    int64_t end = ecert_clock_ms() + ECERT_LAUNCH_PATIENCE * 1000;
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    char byte;

    for (;;) {
        int64_t left = end - ecert_clock_ms();
        ssize_t n;

        if (left <= 0) {
            ecert_err(err, ECERT_ERR_AGENT, agent,
                      "it gave no sign for %d seconds; placeholders are served "
                      "until it does",
                      ECERT_LAUNCH_PATIENCE);
            return 1;
        }
        if (poll(&pfd, 1, (int)left) <= 0) {
            continue;
        }
        n = read(fd, &byte, 1);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n == 1 && byte == 'R') {
            return 0;
        }
        if (n == 1 && byte == '.') {
            end = ecert_clock_ms() + ECERT_LAUNCH_PATIENCE * 1000;
            continue;
        }
        ecert_err(err, ECERT_ERR_AGENT, agent,
                  n == 1 ? "it cannot be executed"
                         : "it ended before it was ready");
        return 1;
    }
}

static int conf_memory(const ecert_conf_t *conf, ecert_err_t *err)
{
    int fd = memfd_create("ecert-configuration", MFD_CLOEXEC);

    if (fd < 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, NULL, "memfd_create");
    }
    if (ecert_conf_write(conf, fd, err) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/*
 * That of the configuration before, unless another version made it; without
 * validation files nothing of it is to be kept.
 */
static int visits_memory(const ecert_conf_t *conf,
                         const ecert_launch_t *previous, ecert_err_t *err)
{
    ecert_visits_t *usable;
    int fd = -1;

    if (conf->dcv && previous != NULL && previous->visits >= 0) {
        usable = ecert_visits_open(previous->visits, err);
        fd = usable ? fcntl(previous->visits, F_DUPFD_CLOEXEC, 3) : -1;
        ecert_visits_close(usable);
    }
    return fd >= 0 ? fd : ecert_visits_create(err);
}

static int make_memory(ecert_launch_t *launch, const ecert_conf_t *conf,
                       const ecert_launch_t *previous, ecert_err_t *err)
{
    launch->snap = ecert_snap_create((uint32_t)conf->n_sites, err);
    if (launch->snap < 0) {
        return -1;
    }
    launch->seen = ecert_seen_create((uint32_t)conf->n_sites, err);
    if (launch->seen >= 0) {
        launch->visits = visits_memory(conf, previous, err);
    }
    if (launch->visits < 0) {
        ecert_launch_close(launch);
        return -1;
    }
    return 0;
}

static void copy_slot(ecert_snap_t *to, uint32_t slot, const ecert_snap_t *from,
                      uint32_t old)
{
    unsigned char *bytes;
    uint64_t generation;
    ecert_err_t ignored;
    size_t len;

    if (ecert_snap_read(from, old, &bytes, &len, &generation, &ignored) == 0) {
        ecert_snap_publish(to, slot, bytes, len, &ignored);
        ecert_snap_free(bytes, len);
    }
}

/* The records of the configuration before, as far as its sites go on. */
static void seed(int snap, int previous, const ecert_conf_t *conf)
{
    ecert_err_t ignored;
    ecert_snap_t *from, *to;
    uint32_t i;
    int64_t old;

    if (previous < 0) {
        return;
    }
    from = ecert_snap_open(previous, &ignored);
    to = from ? ecert_snap_open_writer(snap, &ignored) : NULL;
    for (i = 0; to != NULL && i < conf->n_sites; i++) {
        /* the agent does so, too; but if it fails, the next one looks here */
        ecert_snap_name(to, i, conf->sites[i].id);
        old = ecert_snap_find(from, conf->sites[i].id, i);
        if (old >= 0) {
            copy_slot(to, i, from, (uint32_t)old);
            copy_slot(to, ecert_snap_staple_slot(to, i), from,
                      ecert_snap_staple_slot(from, (uint32_t)old));
        }
    }
    if (to != NULL) {
        copy_slot(to, ecert_snap_failures_slot(to), from,
                  ecert_snap_failures_slot(from));
    }
    if (to != NULL && conf->dcv) {
        copy_slot(to, ecert_snap_dcv_slot(to), from, ecert_snap_dcv_slot(from));
        copy_slot(to, ecert_snap_evidence_slot(to), from,
                  ecert_snap_evidence_slot(from));
    }
    ecert_snap_close(to);
    ecert_snap_close(from);
}

static int start(ecert_launch_t *launch, const ecert_conf_t *conf, int log_fd,
                 ecert_err_t *err)
{
    int control[2] = {-1, -1}, ready[2] = {-1, -1};
    int conf_fd = conf_memory(conf, err), rc = 1;

    if (conf_fd >= 0
        && (pipe2(control, O_CLOEXEC) != 0 || pipe2(ready, O_CLOEXEC) != 0)) {
        ecert_err(err, ECERT_ERR_SYSTEM, NULL, "pipe");
    } else if (conf_fd >= 0) {
        child_t child = {.path = conf->agent,
                         .fds = {-1, -1, log_fd, control[0], ready[1],
                                 launch->snap, launch->seen, launch->visits,
                                 conf_fd}};

        take_zone(&child);
        rc = spawn(&child, err) == 0 ? 0 : 1;
    }
    close_one(&control[0]);
    close_one(&ready[1]);
    close_one(&conf_fd);
    launch->control = control[1];
    if (rc == 0) {
        rc = wait_ready(ready[0], conf->agent, err);
    }
    close_one(&ready[0]);
    return rc;
}

int ecert_launch(ecert_launch_t *launch, const ecert_conf_t *conf, int log_fd,
                 const ecert_launch_t *previous, ecert_err_t *err)
{
    ecert_launch_init(launch);
    if (make_memory(launch, conf, previous, err) != 0) {
        return -1;
    }
    seed(launch->snap, previous != NULL ? previous->snap : -1, conf);
    return start(launch, conf, log_fd, err);
}

int ecert_launch_test(const ecert_conf_t *conf, int log_fd, ecert_err_t *err)
{
    child_t child = {.path = conf->agent, .test = 1};
    int i, rc;
    pid_t pid;

    for (i = 0; i < ECERT_FD_END; i++) {
        child.fds[i] = -1;
    }
    child.fds[2] = log_fd;
    child.fds[ECERT_FD_CONF] = conf_memory(conf, err);
    if (child.fds[ECERT_FD_CONF] < 0) {
        return -1;
    }
    take_zone(&child);
    pid = fork();
    if (pid == 0) {
        run_child(&child);
    }
    rc = pid < 0 ? 127 : wait_for(pid);
    close(child.fds[ECERT_FD_CONF]);
    if (rc == 127) {
        return ecert_err(err, ECERT_ERR_AGENT, conf->agent,
                         "it cannot be executed");
    }
    return rc == 0 ? 0 : 1;
}

int ecert_launch_check(const ecert_conf_t *conf, ecert_err_t *err)
{
    struct stat st;

    if (stat(conf->agent, &st) != 0) {
        return ecert_err(err, ECERT_ERR_AGENT, conf->agent, "%s",
                         strerror(errno));
    }
    if (!S_ISREG(st.st_mode) || access(conf->agent, X_OK) != 0) {
        return ecert_err(err, ECERT_ERR_AGENT, conf->agent,
                         "it is not an executable file");
    }
    return 0;
}
