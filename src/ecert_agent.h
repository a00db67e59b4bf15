/*
 * The agent: reads the store and the configured files, watches them, and
 * publishes.  `ecert agent`, in three lives.
 */

#ifndef ECERT_AGENT_H
#define ECERT_AGENT_H

#include "ecert_conf.h"
#include "ecert_err.h"

/*
 * Started by a server (ecert_launch): the descriptors are in their places.
 * Returns the exit code when the control pipe has ended.
 */
int ecert_agent_inherit(void);

/* Started by a server's -t: the same checks, once; 1 when it complained. */
int ecert_agent_test(void);

/* For people: all sites of the store, without a server, until a signal; run:
 * where its status socket is, NULL for the store's.  0, or -1. */
int ecert_agent_foreground(const char *store, const char *run,
                           ecert_err_t *err);

#endif
