/* The working agent, whatever started it; for ecert_agent*.c alone. */

#ifndef ECERT_AGENT_WORK_H
#define ECERT_AGENT_WORK_H

#include "ecert_conf.h"
#include "ecert_door.h"
#include "ecert_evidence.h"
#include "ecert_kept.h"
#include "ecert_net.h"
#include "ecert_pair.h"
#include "ecert_seen.h"
#include "ecert_tokens.h"
#include "ecert_visits.h"
#include "ecert_watch.h"

typedef struct {
    ecert_conf_t *conf;
    ecert_keeper_t keeper;
    ecert_net_t *net;
    int fetcher; /* -1: none */
    ecert_seen_t *seen;
    ecert_visits_t *visits;     /* NULL: no workers, or no validation files */
    ecert_evidence_t *evidence; /* the same */
    ecert_kept_t *kept;         /* conf->n_sites */
    ecert_dcv_kept_t dcv;
    ecert_watch_t *watch;
    int watch_failed; /* told already */
    ecert_door_t door;
    ecert_code_t door_failed; /* told already; OK: nothing is wrong */
    ecert_pair_t *pair; /* NULL: alone */
    int control;        /* -1: none */
    int reborn;         /* after both processes died: begin anew */
    int64_t rescan_at;  /* monotonic ms */
    int64_t forget_at;  /* the same, of what workers refused */
    int64_t heal_at;    /* monotonic ms; the pair is left alone before it */
    int64_t answer_at;  /* the same for the door */
    int64_t visits_at;  /* the same for the workers' visits */
    int64_t offset;     /* ms of the time of day before the monotonic clock */
    int stepped;        /* somebody set the clock */
    int again;          /* something is touched that no event will tell of */
    unsigned char *touched; /* per site, the last one for validation files;
                               TOUCHED_ bits */
} ecert_agent_t;

/* Sites and loader for agent->conf, which is set. */
int ecert_agent_prepare(ecert_agent_t *agent, ecert_err_t *err);

/*
 * Loads and publishes everything, says R on ready (-1: to nobody), and watches
 * until the control pipe ends or agent->reborn is set.
 */
int ecert_agent_work(ecert_agent_t *agent, int ready, ecert_err_t *err);

void ecert_agent_clocks(ecert_agent_t *agent);
void ecert_agent_load_dcv(ecert_agent_t *agent);

/* Takes what the workers saw of fetches since the last time. */
void ecert_agent_look_at_visits(ecert_agent_t *agent);

/* Whether a site's files are in the store. */
int ecert_agent_uses_store(const ecert_agent_t *agent);

/* The status report as text (free()); ctx is the agent. */
char *ecert_agent_describe(void *ctx);

#endif
