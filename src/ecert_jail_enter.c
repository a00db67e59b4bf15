#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "ecert_close.h"
#include "ecert_jail_work.h"

/* OpenSSL may have to load its legacy provider. */
#define DESCRIPTORS 16

static void reset_signals(void)
{
    sigset_t none;

    for (int number = 1; number < NSIG; number++) {
        signal(number, SIG_DFL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int close_files(void)
{
    int null;

    ecert_close(ECERT_JAIL_PIPE + 1, -1);
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) {
        return -1;
    }
    for (int fd = 0; fd < ECERT_JAIL_PIPE; fd++) {
        if (null != fd && dup2(null, fd) < 0) {
            return -1;
        }
    }
    if (null > ECERT_JAIL_PIPE) {
        close(null);
    }
    return 0;
}

static int become(const ecert_jail_t *jail)
{
    if (!jail->change) {
        return 0;
    }
    if (setgroups(0, NULL) != 0 || setresgid(jail->gid, jail->gid, jail->gid)
        || setresuid(jail->uid, jail->uid, jail->uid) != 0) {
        return -1;
    }
    return 0;
}

static int drop_capabilities(void)
{
    cap_t none = cap_init();
    int rc = none != NULL ? cap_set_proc(none) : -1;

    cap_free(none);
    return rc;
}

static int can_return(const ecert_jail_t *jail)
{
    return geteuid() == 0 || setuid(0) == 0
           || (jail->change && (getegid() == 0 || setgid(0) == 0));
}

static int drop_rights(const ecert_jail_t *jail, ecert_err_t *err)
{
    if (become(jail) != 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, jail->file,
                         "cannot become user %u to read it",
                         (unsigned)jail->uid);
    }
    if (drop_capabilities() != 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, jail->file,
                         "cannot give up capabilities to read it");
    }
    if (can_return(jail)) {
        errno = 0;
        return ecert_err(err, ECERT_ERR_SYSTEM, jail->file,
                         "root's rights could not be given up to read it");
    }
    return 0;
}

/* Only after the change of user, which undoes two of these. */
static int close_doors(const ecert_jail_t *jail)
{
    if (prctl(PR_SET_DUMPABLE, 0) != 0
        || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return -1;
    }
    if (jail->unlimited) {
        return 0; /* it outlives a parent that another one follows */
    }
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        return -1;
    }
    if (getppid() != jail->parent) {
        _exit(1); /* it ended before it could take this process with it */
    }
    return 0;
}

static size_t present_size(void)
{
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    char text[64];

    if (fd >= 0) {
        n = read(fd, text, sizeof(text) - 1);
        close(fd);
    }
    if (n <= 0) {
        return 0;
    }
    text[n] = '\0';
    return strtoul(text, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* Never beyond what was allowed before. */
static int lower(int what, rlim_t soft, rlim_t hard)
{
    struct rlimit limit;

    if (getrlimit(what, &limit) != 0) {
        return -1;
    }
    limit.rlim_max = hard < limit.rlim_max ? hard : limit.rlim_max;
    limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
    return setrlimit(what, &limit);
}

static int set_limits(const ecert_jail_t *jail, size_t size)
{
    rlim_t seconds = (rlim_t)jail->limits.seconds;
    rlim_t memory = size + jail->limits.memory;

    if (jail->unlimited) {
        return lower(RLIMIT_CORE, 0, 0);
    }
    if (ECERT_JAIL_BOUNDS_MEMORY && lower(RLIMIT_AS, memory, memory) != 0) {
        return -1;
    }
    /* SIGXCPU at the first, SIGKILL at the second */
    return lower(RLIMIT_CPU, seconds, seconds + 1) == 0
                   && lower(RLIMIT_FSIZE, 0, 0) == 0
                   && lower(RLIMIT_CORE, 0, 0) == 0
                   /* libcurl resolves names in a thread */
                   && (jail->limits.network || lower(RLIMIT_NPROC, 0, 0) == 0)
                   && lower(RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS) == 0
               ? 0
               : -1;
}

int ecert_jail_enter(const ecert_jail_t *jail, ecert_err_t *err)
{
    size_t size;

    reset_signals();
    umask(077);
    if (close_files() != 0 || chdir("/") != 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, jail->file,
                         "cannot leave its files behind to read it");
    }
    size = present_size();
    if (!jail->limits.network && unshare(CLONE_NEWNET) != 0) {
        /* without the right to it, or in a container: the rest must do */
    }
    if (drop_rights(jail, err) != 0) {
        return -1;
    }
    if (close_doors(jail) != 0 || set_limits(jail, size) != 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, jail->file,
                         "cannot set limits to read it");
    }
    return 0;
}
