/*
 * One site as the agent keeps it: what is published, what went wrong last, and
 * when to look again.
 */

#ifndef ECERT_KEPT_H
#define ECERT_KEPT_H

#include <stdint.h>

#include "ecert_conf.h"
#include "ecert_load.h"
#include "ecert_snap.h"

#define ECERT_SETTLE_MS   200  /* between two looks at a torn pair */
#define ECERT_PATIENCE_MS 2000 /* then it is an error */
#define ECERT_STARVED_MS  1000 /* to the next look when there was no memory */

typedef struct {
    const ecert_site_t *site;
    uint32_t slot;
    ecert_loaded_t held; /* what is published, without the key */
    ecert_trail_t trail; /* of the last look */
    uint64_t look;
    int64_t next_change;      /* Unix time; 0: never */
    ecert_err_t error;        /* code ECERT_OK: none */
    int64_t error_at;         /* Unix time */
    ecert_err_t unpublished;  /* why the last record is not; ECERT_OK: it is */
    int64_t torn_at;          /* monotonic ms since when it is torn; 0: not */
    int64_t retry_at;         /* monotonic ms; 0: not */
    int64_t busy_until;       /* monotonic ms; looks before it are put off */
    unsigned char digest[32]; /* of the published record */
    int published;
} ecert_kept_t;

/* The staple of a leaf that demands one (RFC 7633). */
typedef enum {
    ECERT_STAPLE_HERE = 0,
    ECERT_STAPLE_COMING, /* asked for a moment ago */
    ECERT_STAPLE_LACKING
} ecert_staple_state_t;

typedef struct {
    const char *store;
    ecert_loader_t *loader;
    ecert_snap_t *snap; /* written; NULL: nothing is published (a test) */
    int64_t now;        /* Unix time */
    int64_t ms;         /* monotonic */
    /* Asked before a new leaf takes another one's place; 1: not yet. */
    int (*hold_off)(void *ctx, const ecert_kept_t *kept,
                    const ecert_loaded_t *next);
    /* Asked of a leaf that demands a staple: HERE with its end in *until,
     * LACKING with err (STAPLE).  NULL: nobody cares. */
    ecert_staple_state_t (*demand)(void *ctx, const ecert_kept_t *kept,
                                   const ecert_loaded_t *next, int64_t *until,
                                   ecert_err_t *err);
    void *ctx;
} ecert_keeper_t;

void ecert_kept_init(ecert_kept_t *kept, const ecert_site_t *site,
                     uint32_t slot);
void ecert_kept_free(ecert_kept_t *kept);

/* Whether its slot has a record that another process left, which this one has
 * not looked at yet: it is served until then. */
int ecert_kept_is_inherited(const ecert_keeper_t *keeper,
                            const ecert_kept_t *kept);

/* Looks at the site's files and publishes what should be served; logs. */
void ecert_kept_load(ecert_keeper_t *keeper, ecert_kept_t *kept);

/* The same when something may have changed; 0, and cheap, when nothing has. */
int ecert_kept_look(ecert_keeper_t *keeper, ecert_kept_t *kept);

/*
 * Whether to load it again though its files are as they were: what is wrong may
 * not have been their fault.
 */
int ecert_kept_is_doubtful(const ecert_keeper_t *keeper,
                           const ecert_kept_t *kept);

/* Whether its time has come (a retry, a date). */
int ecert_kept_due(const ecert_keeper_t *keeper, const ecert_kept_t *kept);

#endif
