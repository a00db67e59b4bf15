/*
 * What the agent knows of the fetches of each validation file.  It takes it
 * from the workers' pages, in which it believes nothing, and publishes it in a
 * slot of the snapshot, where the next agent finds it: after a crash of this
 * one, and after a reload.  It ends with the server; no file is written.
 */

#ifndef ECERT_EVIDENCE_H
#define ECERT_EVIDENCE_H

#include <stddef.h>
#include <stdint.h>

#include "ecert_snap.h"
#include "ecert_store.h"
#include "ecert_visits.h"

#define ECERT_EVIDENCE_FILES    1000 /* files with fetches at a time */
#define ECERT_EVIDENCE_LAST     8    /* fetches kept of each: the last, */
#define ECERT_EVIDENCE_FIRST    8    /* the first, */
#define ECERT_EVIDENCE_NETWORKS 64   /* and the first one of each network */
#define ECERT_EVIDENCE_KEPT     (ECERT_EVIDENCE_FIRST + ECERT_EVIDENCE_NETWORKS)

/* Of one file; the numbers are within their bounds. */
typedef struct {
    uint64_t token;   /* ecert_token_t.id */
    uint64_t times;   /* that it was sent */
    uint64_t https;   /* of these over TLS */
    uint64_t refused; /* requests with another method than GET and HEAD */
    int64_t first;    /* Unix time of the first one */
    uint32_t n_networks;
    uint32_t n_kept;
    uint32_t n_last;
    ecert_visit_t last[ECERT_EVIDENCE_LAST]; /* the latest one first */
    /* whoever comes later, and however often, does not push them out: the first
     * one of each network, and the first ones besides; as they were taken */
    ecert_visit_t kept[ECERT_EVIDENCE_KEPT];
} ecert_fetched_t;

typedef struct ecert_evidence_s ecert_evidence_t;

/*
 * visits stays the caller's.  What an agent before this one published in snap
 * for the same memory is taken over.  NULL on lack of memory.
 */
ecert_evidence_t *ecert_evidence_new(const ecert_visits_t *visits,
                                     const ecert_snap_t *snap,
                                     ecert_err_t *err);
void ecert_evidence_free(ecert_evidence_t *evidence);

/*
 * Takes what the workers wrote since the last look, forgets what is about no
 * token of held, and publishes when anything changed.  now is Unix time.
 */
void ecert_evidence_look(ecert_evidence_t *evidence, ecert_snap_t *snap,
                         const ecert_tokens_t *held, int64_t now);

/* Whether the workers' memory fills, so that a look is due at once. */
int ecert_evidence_filling(const ecert_evidence_t *evidence);

/* NULL: it was not fetched.  Valid until the next look. */
const ecert_fetched_t *ecert_evidence_find(const ecert_evidence_t *evidence,
                                           uint64_t token);

/* Since when fetches are seen (Unix time); how many were too many to be kept.
 */
int64_t ecert_evidence_since(const ecert_evidence_t *evidence);
uint64_t ecert_evidence_lost(const ecert_evidence_t *evidence);

#endif
