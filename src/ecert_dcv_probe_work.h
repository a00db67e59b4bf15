/* Inside the jail of a probe: one exchange. */

#ifndef ECERT_DCV_PROBE_WORK_H
#define ECERT_DCV_PROBE_WORK_H

#include "ecert_dcv_probe.h"

typedef struct {
    const char *url, *host;
    unsigned port;
    ecert_dcv_place_t place;
    long milliseconds; /* for all of it */
    char location[2048];
    ecert_dcv_answer_t *answer; /* all but the hops */
} ecert_dcv_hop_work_t;

void ecert_dcv_hop(ecert_dcv_hop_work_t *hop);

#endif
