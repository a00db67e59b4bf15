/* A configuration as the agent and a worker have it. */

#ifndef LIVE_MAKE_H
#define LIVE_MAKE_H

#include "scratch.h"

#include <sys/prctl.h>

#include "ecert_live.h"
#include "ecert_seen.h"
#include "ecert_snap.h"
#include "ecert_visits.h"

static ecert_err_t err;

typedef struct {
    ecert_conf_t *conf;
    ecert_launch_t launch;
    ecert_snap_t *agent;
    ecert_live_t *live;
} world_t;

/* With n sites of these names. */
static void open_sites(world_t *world, const char *const *names, uint32_t n)
{
    world->conf = ecert_conf_new();
    for (uint32_t i = 0; i < n; i++) {
        ecert_site_t site = {.name = names[i]};

        assert_int_equal(ecert_conf_add(world->conf, &site, &err), i);
    }
    world->launch.snap = ecert_snap_create(n, &err);
    world->launch.seen = ecert_seen_create(n, &err);
    world->launch.visits = ecert_visits_create(&err);
    world->agent = ecert_snap_open_writer(world->launch.snap, &err);
    world->live = ecert_live_new(world->conf, &world->launch, &err);
    assert_non_null(world->agent);
    assert_non_null(world->live);
}

static inline void become_worker(const world_t *world)
{
    ecert_live_worker(world->live);
    prctl(PR_SET_DUMPABLE, 1); /* the leak checker looks into this process */
}

static void close_world(world_t *world)
{
    ecert_live_free(world->live);
    ecert_snap_close(world->agent);
    close(world->launch.snap);
    close(world->launch.seen);
    close(world->launch.visits);
    ecert_conf_free(world->conf);
}

#endif
