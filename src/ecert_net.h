/*
 * What the agent gets from the network for its sites: OCSP responses to staple,
 * and CA certificates that a chain lacks; and what its own server sends, which
 * it compares with what it has published.  It has no network itself: errands
 * go through the fetcher (ecert_fetcher.h), and what they bring is checked
 * again here.
 */

#ifndef ECERT_NET_H
#define ECERT_NET_H

#include <stddef.h>
#include <stdint.h>

#include <poll.h>

#include <jansson.h>

#include "ecert_conf.h"
#include "ecert_fetcher.h"
#include "ecert_kept.h"

#define ECERT_NET_PATIENCE_MS 3000 /* that something waits for its staple */
#define ECERT_NET_FDS         (ECERT_ERRANDS_MAX + ECERT_LOOKS_MAX + 1)

typedef struct ecert_net_s ecert_net_t;

/* fetcher: its descriptor, or -1: then nothing is asked for, but responses
 * that the store keeps are used. */
ecert_net_t *ecert_net_new(ecert_keeper_t *keeper, const ecert_conf_t *conf,
                           int fetcher, ecert_err_t *err);
void ecert_net_free(ecert_net_t *net);

/* In a process whose descriptors are its own: those of errands, which the one
 * before had, are left alone from now on. */
void ecert_net_abandon(ecert_net_t *net);

/* After each load of a site: what it needs now. */
void ecert_net_look(ecert_net_t *net, const ecert_kept_t *kept);

/*
 * Before a new leaf is published: 1 while its staple is being fetched, for
 * three seconds at most; 0: go on.  ctx is the net.
 */
int ecert_net_hold_off(void *ctx, const ecert_kept_t *kept,
                       const ecert_loaded_t *next);

/* As ecert_keeper_t's demand.  From the first call on the staple is asked for.
 */
ecert_staple_state_t ecert_net_demand(void *ctx, const ecert_kept_t *kept,
                                      const ecert_loaded_t *next,
                                      int64_t *until, ecert_err_t *err);

/* Descriptors of the errands under way and of the fetcher, whose end is told;
 * at most ECERT_NET_FDS. */
size_t ecert_net_fds(const ecert_net_t *net, struct pollfd *fds);

/*
 * Takes what came, sends out what is due.  touch is called for each site that
 * is to be looked at again.
 */
void ecert_net_work(ecert_net_t *net, void (*touch)(void *ctx, uint32_t site),
                    void *ctx);

/* The clock was set: staples are asked for as if they were new. */
void ecert_net_hasten(ecert_net_t *net);

/* Monotonic ms at which ecert_net_work has something to do; 0: never. */
int64_t ecert_net_due(const ecert_net_t *net);

/* 1 while sites that are served already wait for their first staple. */
int ecert_net_is_awaited(const ecert_net_t *net);

/* The members "staple", "download" and "served" of a site's report. */
void ecert_net_report(const ecert_net_t *net, uint32_t site, json_t *report);

#endif
