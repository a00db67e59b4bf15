#include "ecert_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Sets what is permitted and what is in effect; nothing comes back by exec. */
static int set_capabilities(const cap_value_t *permitted, int n,
                            const cap_value_t *effective, int m)
{
    cap_t caps = cap_init();
    int ok =
        caps != NULL
        /* it refuses an empty list */
        && (n == 0
            || cap_set_flag(caps, CAP_PERMITTED, n, permitted, CAP_SET) == 0)
        && (m == 0
            || cap_set_flag(caps, CAP_EFFECTIVE, m, effective, CAP_SET) == 0)
        && cap_set_proc(caps) == 0;

    cap_free(caps);
    return ok ? 0 : -1;
}

static const cap_value_t kept[] = {CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE};

static int drop_capabilities(void)
{
    /* a container may have taken the one, the other or both */
    if (set_capabilities(kept, 2, kept, 1) == 0
        || set_capabilities(kept, 1, kept, 1) == 0
        || set_capabilities(&kept[1], 1, kept, 0) == 0) {
        return 0;
    }
    return set_capabilities(kept, 0, kept, 0);
}

int ecert_priv_log(int folder, const char *name)
{
    cap_t before = cap_get_proc();
    cap_t raised = before ? cap_dup(before) : NULL;
    int fd, saved;

    if (raised != NULL
        && cap_set_flag(raised, CAP_EFFECTIVE, 1, &kept[1], CAP_SET) == 0) {
        cap_set_proc(raised); /* refused where it is not permitted */
    }
    fd = openat(folder, name,
                O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    saved = errno;
    if (before != NULL) {
        cap_set_proc(before);
    }
    cap_free(raised);
    cap_free(before);
    errno = saved;
    return fd;
}

/* No core dumps, no tracing, nothing new by exec. */
static int close_doors(ecert_err_t *err)
{
    struct rlimit none = {0, 0};

    umask(077);
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0
        || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, NULL,
                         "cannot give up privileges");
    }
    return 0;
}

int ecert_priv_keeper(ecert_err_t *err)
{
    static const cap_value_t users[] = {CAP_SETUID, CAP_SETGID};

    if (close_doors(err) != 0) {
        return -1;
    }
    if (geteuid() != 0
        || set_capabilities(users, 2, users, 2) == 0
        /* a container may have taken them: then the fetcher says so */
        || set_capabilities(users, 0, users, 0) == 0) {
        return 0;
    }
    return ecert_err(err, ECERT_ERR_SYSTEM, NULL,
                     "cannot give up capabilities");
}

int ecert_priv_drop(ecert_err_t *err)
{
    if (close_doors(err) != 0) {
        return -1;
    }
    if (geteuid() != 0) {
        return 0;
    }
    if (unshare(CLONE_NEWNET) != 0) {
        /* in a container without the right: the capabilities go anyway */
    }
    if (drop_capabilities() != 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, NULL,
                         "cannot give up capabilities");
    }
    return 0;
}
