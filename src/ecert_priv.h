/* What the agent gives up before it reads the first byte. */

#ifndef ECERT_PRIV_H
#define ECERT_PRIV_H

#include "ecert_err.h"

/*
 * No core dumps, no new privileges, umask 077; as root, too: no network (an
 * empty network namespace where the kernel lets us), and of all capabilities
 * only CAP_DAC_READ_SEARCH, which reading other users' certificates needs.
 */
int ecert_priv_drop(ecert_err_t *err);

#endif
