/*
 * Who fetched a validation file, as the workers saw it: each has a page of its
 * own in shared memory, with two rings of ECERT_VISITS_SLOTS visits.  In the
 * one are first fetches, so few that they stand until the agent has looked: of
 * each file the first one from each network (and a few more, whatever theirs)
 * in half a minute.  All others are in the other one, where a flood of them
 * overwrites nothing but its own.  To write one takes no lock, no system call
 * and no wait; what the agent has not taken in time is overwritten, and
 * counted. Once a worker has its page, it cannot reach any other one's.
 *
 * The memory outlives the configuration: workers that finish their last
 * requests go on writing, and the next agent takes what they write.
 */

#ifndef ECERT_VISITS_H
#define ECERT_VISITS_H

#include <stdint.h>
#include <sys/types.h>

#include "ecert_err.h"

#define ECERT_VISITS_WORKERS 1024
#define ECERT_VISITS_SLOTS   511 /* of each ring */
#define ECERT_VISITS_RINGS   2   /* 0: all others, 1: first fetches */
#define ECERT_VISIT_AGENT    79  /* bytes kept of a User-Agent */

typedef enum {
    ECERT_METHOD_OTHER,
    ECERT_METHOD_GET,
    ECERT_METHOD_HEAD,
    ECERT_METHOD_END
} ecert_method_t;

/* One request for a validation file that was answered. */
typedef struct {
    uint64_t token;            /* ecert_token_t.id */
    int64_t when;              /* Unix time */
    uint32_t bytes;            /* of the body that was sent */
    uint16_t status;           /* HTTP status */
    uint8_t method;            /* ecert_method_t */
    uint8_t tls;               /* 0 http, 1 https */
    unsigned char address[16]; /* ecert_addr_bytes; all 0: not known */
    uint8_t agent_len;
    char agent[ECERT_VISIT_AGENT]; /* begin of the User-Agent, as it came */
} ecert_visit_t;

typedef struct ecert_visits_s ecert_visits_t;

/* The network it came from: /24 of IPv4, /48 of IPv6, and one for all that have
 * neither. */
uint64_t ecert_visit_network(const ecert_visit_t *visit);

/* A memfd of mode 0600, sealed in size, close-on-exec; -1 and SYSTEM. */
int ecert_visits_create(ecert_err_t *err);

/* NULL: SNAPSHOT when it is none or of another version, SYSTEM, MEMORY.  The
 * caller keeps fd. */
ecert_visits_t *ecert_visits_open(int fd, ecert_err_t *err);
void ecert_visits_close(ecert_visits_t *visits);

/*
 * In a worker, before its threads: takes a page, a free one or a dead
 * process's, and unmaps all others.  Without a free one nothing is kept of what
 * this worker answers.
 */
void ecert_visits_claim(ecert_visits_t *visits, pid_t pid);

/* Safe under threads; without a page, or with NULL, it does nothing. */
void ecert_visits_put(ecert_visits_t *visits, const ecert_visit_t *visit);

/*
 * The agent's side, in a map that claimed nothing.  When the memory was made,
 * in nanoseconds of Unix time: another memory has another one.
 */
int64_t ecert_visits_born(const ecert_visits_t *visits);

/* How far the agent has read in a page's rings. */
typedef struct {
    uint64_t next[ECERT_VISITS_RINGS];
    /* a visit that was being written at the last look */
    uint64_t awaited[ECERT_VISITS_RINGS];
} ecert_visits_place_t;

/*
 * Hands out each visit of a page, from place on, the first fetches first; a
 * worker wrote it, and nothing in it may be believed.
 * Returns how many were overwritten or given up before they could be read.
 */
uint64_t ecert_visits_take(const ecert_visits_t *visits, int page,
                           ecert_visits_place_t *place,
                           void (*take)(void *ctx, const ecert_visit_t *visit),
                           void *ctx);

/* Whether one of the page's rings is half full of what was not taken. */
int ecert_visits_filling(const ecert_visits_t *visits, int page,
                         const ecert_visits_place_t *place);

#endif
