/*
 * Two processes that bring each other back: a guard that only waits, and the
 * worker that does everything.  Each holds one end of a socket, whose end of
 * file tells it that the other is gone.  Both go when the control pipe ends.
 */

#ifndef ECERT_PAIR_H
#define ECERT_PAIR_H

#include "ecert_err.h"

typedef struct ecert_pair_s ecert_pair_t;

/*
 * Forks the worker and guards it.  Returns in the worker only, with its end;
 * once more in each worker that follows one that died (then restarts counts
 * up).  The guard never returns: it leaves with _exit(0).
 * control is the read end of the control pipe; keep is one more descriptor that
 * both hold on to (-1: none).
 */
ecert_pair_t *ecert_pair_start(int control, int keep, ecert_err_t *err);

/* For the worker's poll: readable when the guard is gone. */
int ecert_pair_fd(const ecert_pair_t *pair);

/* How often the worker had to be brought back. */
unsigned ecert_pair_restarts(const ecert_pair_t *pair);

/*
 * The guard is gone: this process forks; the child returns and goes on as the
 * worker, the parent is the new guard.  0, or -1 when fork fails: try later.
 * When that worker dies in its turn, the one that follows returns from here,
 * too, with restarts counted up: then every other descriptor is closed, and
 * what the process knows is as old as this call.
 */
int ecert_pair_heal(ecert_pair_t *pair, ecert_err_t *err);

/* The control pipe has ended: makes sure that the guard goes, too. */
void ecert_pair_end(ecert_pair_t *pair);

#endif
