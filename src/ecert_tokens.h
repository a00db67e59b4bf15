/* The validation files as the agent keeps them. */

#ifndef ECERT_TOKENS_H
#define ECERT_TOKENS_H

#include <stdint.h>

#include "ecert_file.h"
#include "ecert_kept.h"
#include "ecert_store.h"

/* What is wrong with one file, from look to look. */
typedef struct {
    char *line;
    int64_t since; /* monotonic ms */
    int told;
} ecert_complaint_t;

typedef struct {
    ecert_tokens_t held; /* what is published */
    ecert_trail_t trail;
    int64_t next_change; /* Unix time; 0: never */
    int64_t retry_at;    /* monotonic ms; 0: not */
    ecert_complaint_t *complaints;
    size_t n_complaints;
    unsigned char digest[32];
    int published;
} ecert_dcv_kept_t;

void ecert_dcv_kept_init(ecert_dcv_kept_t *kept);
void ecert_dcv_kept_free(ecert_dcv_kept_t *kept);

/* Looks at the store's validation files and publishes them; logs. */
void ecert_dcv_kept_load(ecert_keeper_t *keeper, ecert_dcv_kept_t *kept);

/* Whether its time has come (an end, an upload that takes too long). */
int ecert_dcv_kept_due(const ecert_keeper_t *keeper,
                       const ecert_dcv_kept_t *kept);

#endif
