#include "ecert_priv.h"

#include <sched.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* All capabilities but one, of which nothing can come back by exec. */
static int drop_capabilities(void)
{
    static const cap_value_t keep[] = {CAP_DAC_READ_SEARCH};
    cap_t caps = cap_init();
    int ok;

    if (caps == NULL) {
        return -1;
    }
    ok = cap_set_flag(caps, CAP_PERMITTED, 1, keep, CAP_SET) == 0
         && cap_set_flag(caps, CAP_EFFECTIVE, 1, keep, CAP_SET) == 0
         && cap_set_proc(caps) == 0;
    if (!ok) { /* a container may have taken this one, too */
        ok = cap_clear(caps) == 0 && cap_set_proc(caps) == 0;
    }
    cap_free(caps);
    return ok ? 0 : -1;
}

int ecert_priv_drop(ecert_err_t *err)
{
    struct rlimit none = {0, 0};

    umask(077);
    if (setrlimit(RLIMIT_CORE, &none) != 0
        || prctl(PR_SET_DUMPABLE, 0) != 0
        || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, NULL,
                         "cannot give up privileges");
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
