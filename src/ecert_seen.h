/*
 * What workers say: one row of shared memory per worker, with the generation
 * of each site that it put into a connection last, and the one that it could
 * not use.  Workers write it, so the agent believes none of it: numbers to
 * show, never a length, an index or an address.
 */

#ifndef ECERT_SEEN_H
#define ECERT_SEEN_H

#include <stdint.h>
#include <sys/types.h>

#include "ecert_err.h"

#define ECERT_SEEN_WORKERS 1024

typedef struct ecert_seen_s ecert_seen_t;

int ecert_seen_create(uint32_t sites, ecert_err_t *err);
ecert_seen_t *ecert_seen_open(int fd, ecert_err_t *err);
void ecert_seen_close(ecert_seen_t *seen);

/*
 * Takes a row for this process: a free one or a dead process's.  Returns its
 * index, -1 when all are taken (then this worker is not shown).
 */
int ecert_seen_claim(ecert_seen_t *seen, pid_t pid);
/* This generation is in a connection; what was refused up to it is forgotten.
 */
void ecert_seen_set(ecert_seen_t *seen, int row, uint32_t site,
                    uint64_t generation);
/* This one could not be used. */
void ecert_seen_refuse(ecert_seen_t *seen, int row, uint32_t site,
                       uint64_t generation);
/* What was refused is forgotten in all rows: who still refuses says so again,
 * and a worker that nobody asks any more does not stand for a fault. */
void ecert_seen_forget(ecert_seen_t *seen);

/* Whether a process has this number now; a number that none can have: 0. */
int ecert_seen_alive(uint64_t pid);

/* The process of a row, 0 when free or dead; the generation it said, and the
 * one that it cannot use (0: none). */
pid_t ecert_seen_pid(const ecert_seen_t *seen, int row);
uint64_t ecert_seen_get(const ecert_seen_t *seen, int row, uint32_t site);
uint64_t ecert_seen_refused(const ecert_seen_t *seen, int row, uint32_t site);

#endif
