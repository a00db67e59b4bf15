/* A catalogue in memory; for ecert_ca.c and ecert_ca_rules.c alone. */

#ifndef ECERT_CA_WORK_H
#define ECERT_CA_WORK_H

#include <jansson.h>

#include "ecert_ca.h"

/* A certificate that is issued from here on lives so many days at most. */
typedef struct {
    int64_t from;
    unsigned days;
} ecert_ca_limit_t;

struct ecert_ca_s {
    ecert_ca_entry_t *entries;
    size_t n;
    int64_t updated;
    ecert_ca_rules_t rules; /* its strings are the catalogue's own */
    ecert_ca_limit_t *limits;
    size_t n_limits;
    unsigned margin; /* days, fewer than those of any limit */
};

/* Midnight of a day such as "2027-04-15": 0, or -1 when it is none. */
int ecert_ca_day(const json_t *value, int64_t *midnight);

/* Reads the rules of a catalogue whose head was checked. */
int ecert_ca_rules_parse(ecert_ca_t *ca, json_t *root, const char *file,
                         ecert_err_t *err);
void ecert_ca_rules_free(ecert_ca_t *ca);

#endif
