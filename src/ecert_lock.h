/* One command at a time changes the store. */

#ifndef ECERT_LOCK_H
#define ECERT_LOCK_H

#include "ecert_err.h"

/*
 * Waits for the store's lock: flock(2) on the store's own folder, so that the
 * kernel frees it whatever becomes of the holder.  It holds between processes
 * of one machine, not between machines that share a store.  waiting, unless
 * NULL, is called once when somebody else has it.  Returns the descriptor to
 * close, or -1: MISSING, UNSAFE, SYSTEM.
 */
int ecert_lock(const char *store, void (*waiting)(void), ecert_err_t *err);

/* The same, but SYSTEM at once when somebody else has it. */
int ecert_lock_try(const char *store, ecert_err_t *err);

#endif
