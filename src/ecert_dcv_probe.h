/*
 * One request for a validation file as a validator makes it, at one address.
 */

#ifndef ECERT_DCV_PROBE_H
#define ECERT_DCV_PROBE_H

#include "ecert_dcv_ask.h"
#include "ecert_dcv_judge.h"
#include "ecert_err.h"

typedef struct {
    const ecert_dcv_net_t *net; /* for hosts that redirects name */
    const char *host;
    const char *file;
    int https;
    ecert_dcv_place_t place;
} ecert_dcv_probe_t;

/*
 * All of these, a few at a time.  Certificates are not verified, redirects
 * followed, each hop within the time that validators wait.  Where the file is
 * not answered, the path without the dot is tried, too.  Done in jails; what
 * comes back is checked and escaped, and told to done in the order in which it
 * comes: answer is NULL and err set where the jail failed.  MEMORY alone is
 * returned.
 */
int ecert_dcv_probe(const ecert_dcv_probe_t *probes, size_t n,
                    void (*done)(void *ctx, size_t i,
                                 const ecert_dcv_answer_t *answer,
                                 const ecert_err_t *err),
                    void *ctx, ecert_err_t *err);

#endif
