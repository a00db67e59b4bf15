/*
 * The server's side of the agent: start it, wait until it is ready, let it go.
 *
 * The agent lives as long as the write end of its control pipe is open in the
 * server's master process.  Closing it, dying or being killed ends the agent.
 */

#ifndef ECERT_LAUNCH_H
#define ECERT_LAUNCH_H

#include "ecert_conf.h"
#include "ecert_err.h"

#define ECERT_LAUNCH_PATIENCE 10 /* seconds without any sign of progress */

typedef struct {
    int snap;    /* the snapshot's descriptor; a later agent may take it over */
    int seen;    /* the workers' rows */
    int visits;  /* their pages; a later configuration goes on with them */
    int control; /* write end of the control pipe, close-on-exec */
} ecert_launch_t;

/* All descriptors -1. */
void ecert_launch_init(ecert_launch_t *launch);

/*
 * Makes the shared memory and starts `AGENT agent --inherit` with it, with the
 * configuration and with log_fd as its standard error; it keeps no other
 * descriptor, has default signals and an empty environment but PATH and the
 * server's TZ.  It is no child of the server: nothing to reap, nothing that
 * counts as a lost worker. previous is that of the configuration before, of
 * which snap and visits are looked at, or NULL: its records of the same sites
 * come first, so that nothing served is lost if the agent fails or finds the
 * files broken; and its pages for visits are used on. Returns 0 when the agent
 * said that everything is published that previous did not have; 1 when it did
 * not within ECERT_LAUNCH_PATIENCE (err tells; the server goes on with
 * placeholders); -1 when there is no shared memory (the server cannot start).
 */
int ecert_launch(ecert_launch_t *launch, const ecert_conf_t *conf, int log_fd,
                 const ecert_launch_t *previous, ecert_err_t *err);

/*
 * In workers: closes the descriptors, so that none of them keeps the agent
 * alive or reaches the memory.  In the master: the same lets the agent go.
 */
void ecert_launch_close(ecert_launch_t *launch);

/*
 * For -t: runs `AGENT agent --inherit --test` in the foreground with log_fd as
 * standard error.  Returns 0 when nothing is wrong, 1 when it complained (it
 * has said so itself), -1 when it could not be run.
 */
int ecert_launch_test(const ecert_conf_t *conf, int log_fd, ecert_err_t *err);

/* Whether the executable is there and may be run; AGENT otherwise. */
int ecert_launch_check(const ecert_conf_t *conf, ecert_err_t *err);

/*
 * The descriptors of `ecert agent --inherit`, and what it says on ready: a dot
 * for progress, then R.
 */
enum {
    ECERT_FD_CONTROL = 3, /* read end: end of file, or a byte, means go */
    ECERT_FD_READY,
    ECERT_FD_SNAP,
    ECERT_FD_SEEN,
    ECERT_FD_VISITS,
    ECERT_FD_CONF,
    ECERT_FD_END
};

#endif
