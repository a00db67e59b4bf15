/* What the agent gives up before it reads the first byte. */

#ifndef ECERT_PRIV_H
#define ECERT_PRIV_H

#include "ecert_err.h"

/*
 * No core dumps, no new privileges, umask 077; as root, too: no network (an
 * empty network namespace where the kernel lets us), and of all capabilities
 * only CAP_DAC_READ_SEARCH, which reading other users' certificates needs.
 * CAP_DAC_OVERRIDE stays permitted, but asleep: see ecert_priv_log.
 */
int ecert_priv_drop(ecert_err_t *err);

/*
 * For the process that starts the fetcher: as ecert_priv_drop, but the network
 * stays, and of all capabilities only CAP_SETUID and CAP_SETGID: it reads no
 * file and no message, and makes processes of another user.
 */
int ecert_priv_keeper(ecert_err_t *err);

/*
 * open(2) of the server's log for appending, which may belong to the workers'
 * user after a rotation: with CAP_DAC_OVERRIDE for this one call, and in a
 * folder that is held open, so that no link leads this right astray.  -1 with
 * errno.
 */
int ecert_priv_log(int folder, const char *name);

#endif
