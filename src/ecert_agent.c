#include "ecert_agent.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "ecert_agent_work.h"
#include "ecert_launch.h"
#include "ecert_log.h"
#include "ecert_priv.h"
#include "ecert_store.h"

/* A store that is read-only here is for somebody else to fill: what it lacks is
 * told by who needs it. */
static int is_read_only(const ecert_err_t *err)
{
    return err->sys == EROFS || err->sys == EACCES;
}

static void prepare_store(const ecert_agent_t *agent)
{
    ecert_err_t err;

    if (agent->conf->store != NULL
        && ecert_store_prepare(agent->conf->store, &err) != 0
        && !is_read_only(&err) && ecert_agent_uses_store(agent)) {
        ecert_log_err(ECERT_LOG_WARN, NULL, &err);
    }
}

static int fail(const ecert_err_t *err)
{
    ecert_log_err(ECERT_LOG_ERROR, NULL, err);
    return 1;
}

static int open_maps(ecert_agent_t *agent, ecert_err_t *err)
{
    agent->keeper.snap = ecert_snap_open_writer(ECERT_FD_SNAP, err);
    if (agent->keeper.snap == NULL
        || ecert_snap_seal(ECERT_FD_SNAP, err) != 0) {
        return -1;
    }
    agent->seen = ecert_seen_open(ECERT_FD_SEEN, err);
    agent->visits =
        agent->seen ? ecert_visits_open(ECERT_FD_VISITS, err) : NULL;
    if (agent->visits == NULL) {
        return -1;
    }
    close(ECERT_FD_SNAP);
    close(ECERT_FD_SEEN);
    close(ECERT_FD_VISITS);
    return 0;
}

/* Before anything is given up, and before the first key is read. */
static void start_fetcher(ecert_agent_t *agent)
{
    ecert_err_t err;

    agent->fetcher =
        agent->conf->fetch ? ecert_fetcher_start(agent->conf, &err) : -1;
    if (agent->conf->fetch && agent->fetcher < 0) {
        ecert_log_err(ECERT_LOG_WARN, NULL, &err);
    }
}

/*
 * The guard closed everything before this process came out of it: watch,
 * door and errands have numbers that may belong to something else now, such as
 * the link to the guard, and are left.
 */
static void forget(ecert_agent_t *agent)
{
    size_t i;

    for (i = 0; i < agent->conf->n_sites; i++) {
        ecert_kept_free(&agent->kept[i]);
    }
    free(agent->kept);
    free(agent->touched);
    ecert_dcv_kept_free(&agent->dcv);
    ecert_evidence_free(agent->evidence);
    agent->evidence = NULL;
    ecert_net_abandon(agent->net);
    ecert_net_free(agent->net);
    agent->net = NULL;
    ecert_loader_free(agent->keeper.loader);
    agent->watch = NULL;
    agent->watch_failed = 0;
    agent->heal_at = agent->answer_at = agent->visits_at = 0;
    agent->reborn = 0;
}

int ecert_agent_inherit(void)
{
    ecert_agent_t agent = {.control = ECERT_FD_CONTROL};
    ecert_err_t err;
    int ready, rc;

    signal(SIGPIPE, SIG_IGN); /* nobody reads the log: no reason to die */
    agent.conf = ecert_conf_read(ECERT_FD_CONF, &err);
    if (agent.conf == NULL) {
        return fail(&err);
    }
    ecert_log_open(agent.conf);
    close(ECERT_FD_CONF);
    prepare_store(&agent);
    start_fetcher(&agent);
    if (open_maps(&agent, &err) != 0 || ecert_priv_drop(&err) != 0) {
        return fail(&err);
    }
    agent.pair = ecert_pair_start(ECERT_FD_CONTROL, agent.fetcher, &err);
    if (agent.pair == NULL) {
        return fail(&err);
    }
    ready = ecert_pair_restarts(agent.pair) == 0 ? ECERT_FD_READY : -1;
    while ((rc = ecert_agent_work(&agent, ready, &err)) == 0 && agent.reborn) {
        forget(&agent);
        ready = -1;
    }
    if (rc != 0) {
        return fail(&err);
    }
    ecert_pair_end(agent.pair);
    return 0;
}

int ecert_agent_test(void)
{
    ecert_agent_t agent = {.control = -1, .fetcher = -1};
    ecert_err_t err;
    int bad;
    size_t i;

    agent.conf = ecert_conf_read(ECERT_FD_CONF, &err);
    if (agent.conf == NULL) {
        return fail(&err);
    }
    ecert_log_open(agent.conf);
    if (ecert_priv_drop(&err) != 0 || ecert_agent_prepare(&agent, &err) != 0) {
        return fail(&err);
    }
    ecert_log_quiet(ECERT_LOG_NOTICE);
    for (i = 0; i < agent.conf->n_sites; i++) {
        ecert_agent_clocks(&agent);
        ecert_kept_load(&agent.keeper, &agent.kept[i]);
        /* no patience here: it is looked at only once */
        if (agent.kept[i].torn_at != 0) {
            agent.kept[i].torn_at -= ECERT_PATIENCE_MS;
            ecert_kept_load(&agent.keeper, &agent.kept[i]);
        }
    }
    ecert_agent_clocks(&agent);
    ecert_agent_load_dcv(&agent);
    agent.keeper.ms += ECERT_PATIENCE_MS;
    ecert_agent_load_dcv(&agent);
    bad = ecert_log_count() > 0;
    return bad;
}

static int add_store_sites(ecert_conf_t *conf, const char *store,
                           ecert_err_t *err)
{
    char **names;
    size_t n, i;
    int rc = 0;

    if (ecert_store_sites(store, &names, &n, err) != 0) {
        return -1;
    }
    for (i = 0; rc >= 0 && i < n; i++) {
        ecert_site_t site = {.name = names[i]};

        rc = ecert_conf_add(conf, &site, err);
    }
    ecert_names_free(names, n);
    return rc < 0 ? -1 : 0;
}

/* Readable when somebody interrupts: as if a server had gone. */
static int ending_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int ecert_agent_foreground(const char *store, const char *run, ecert_err_t *err)
{
    ecert_agent_t agent = {.control = -1, .fetcher = -1};
    int fd;

    agent.conf = ecert_conf_new();
    if (agent.conf == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    if (ecert_conf_set(&agent.conf->store, store, err) != 0
        || ecert_conf_set(&agent.conf->run, run, err) != 0
        || ecert_conf_set(&agent.conf->server, "none", err) != 0
        || add_store_sites(agent.conf, store, err) != 0) {
        return -1;
    }
    agent.conf->dcv = 1;
    agent.conf->fetch = 0; /* it only looks */
    agent.control = ending_signals();
    prepare_store(&agent);
    fd = ecert_snap_create((uint32_t)agent.conf->n_sites, err);
    if (fd < 0 || ecert_priv_drop(err) != 0) {
        return -1;
    }
    agent.keeper.snap = ecert_snap_open_writer(fd, err);
    close(fd);
    if (agent.keeper.snap == NULL || ecert_agent_work(&agent, -1, err) != 0) {
        return -1;
    }
    return 0;
}
