#include "ecert_agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "ecert_door.h"
#include "ecert_kept.h"
#include "ecert_launch.h"
#include "ecert_log.h"
#include "ecert_pair.h"
#include "ecert_priv.h"
#include "ecert_report.h"
#include "ecert_seen.h"
#include "ecert_store.h"
#include "ecert_tokens.h"
#include "ecert_watch.h"

#define RESCAN_MS 30000

typedef struct {
    ecert_conf_t *conf;
    ecert_keeper_t keeper;
    ecert_seen_t *seen;
    ecert_kept_t *kept; /* conf->n_sites */
    ecert_dcv_kept_t dcv;
    ecert_watch_t *watch;
    int watch_failed;   /* told already */
    ecert_door_t door;
    ecert_pair_t *pair; /* NULL: alone */
    int control;        /* -1: none */
    int reborn;         /* after both processes died: begin anew */
    int64_t started;    /* Unix time */
    int64_t rescan_at;  /* monotonic ms */
    int again;          /* something is touched that no event will tell of */
    unsigned char *touched; /* per site, the last one for validation files */
} agent_t;

static int64_t clock_ms(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void update_clocks(agent_t *agent)
{
    agent->keeper.ms = clock_ms(CLOCK_MONOTONIC);
    agent->keeper.now = time(NULL);
}

/* ---- status ------------------------------------------------------------ */

/* The rows of workers that live now; asked once per report. */
static int live_rows(const agent_t *agent, int *rows)
{
    int row, n = 0;

    for (row = 0; agent->seen != NULL && row < ECERT_SEEN_WORKERS; row++) {
        if (ecert_seen_pid(agent->seen, row) != 0) {
            rows[n++] = row;
        }
    }
    return n;
}

static json_t *report_workers(const agent_t *agent, const int *rows, int n,
                              uint32_t site)
{
    json_t *array = json_array();
    int i;

    for (i = 0; i < n; i++) {
        json_array_append_new(
            array,
            json_pack("{s:I, s:I}", "pid",
                      (json_int_t)ecert_seen_pid(agent->seen, rows[i]),
                      "serves",
                      (json_int_t)ecert_seen_get(agent->seen, rows[i], site)));
    }
    return array;
}

static json_t *report_sites(const agent_t *agent)
{
    json_t *array = json_array();
    int rows[ECERT_SEEN_WORKERS], n = live_rows(agent, rows);
    size_t i;

    for (i = 0; i < agent->conf->n_sites; i++) {
        const ecert_kept_t *kept = &agent->kept[i];
        json_t *site = ecert_report_site(kept->site, &kept->held, &kept->error,
                                         kept->error_at);

        json_object_set_new(
            site, "published",
            json_integer((json_int_t)ecert_snap_generation(agent->keeper.snap,
                                                           kept->slot)));
        json_object_set_new(site, "workers",
                            report_workers(agent, rows, n, kept->slot));
        json_array_append_new(array, site);
    }
    return array;
}

static char *describe(void *ctx)
{
    agent_t *agent = ctx;
    json_t *report;
    char *text;

    update_clocks(agent);
    report = ecert_report_head(agent->conf->store, agent->keeper.now);
    json_object_set_new(report, "server", json_string(agent->conf->server
                                                          ? agent->conf->server
                                                          : ""));
    json_object_set_new(report, "agent", json_integer(getpid()));
    json_object_set_new(report, "restarts",
                        json_integer(agent->pair
                                         ? ecert_pair_restarts(agent->pair)
                                         : 0));
    json_object_set_new(
        report, "watching",
        json_string(agent->watch && ecert_watch_fd(agent->watch) >= 0
                            && !agent->watch_failed
                        ? "events"
                        : "polling"));
    json_object_set_new(report, "sites", report_sites(agent));
    json_object_set_new(report, "validation_files",
                        ecert_report_tokens(&agent->dcv.held));
    text = json_dumps(report, JSON_INDENT(1));
    json_decref(report);
    return text;
}

/* ---- looking and watching ---------------------------------------------- */

/*
 * What changed in a folder between the look and its first watch would go
 * unseen: so it is looked at once more.
 */
static void watch_trail(agent_t *agent, uint32_t subject,
                        const ecert_trail_t *trail)
{
    ecert_err_t err;
    int rc;

    if (agent->watch == NULL) {
        return;
    }
    rc = ecert_watch_set(agent->watch, subject, trail->dirs, trail->n_dirs,
                         &err);
    if (rc > 0) {
        agent->touched[subject] = 1;
        agent->again = 1;
    } else if (rc < 0 && !agent->watch_failed) {
        agent->watch_failed = 1;
        ecert_log_err(ECERT_LOG_WARN, NULL, &err);
    }
}

static void load_site(agent_t *agent, size_t i)
{
    ecert_kept_load(&agent->keeper, &agent->kept[i]);
    watch_trail(agent, (uint32_t)i, &agent->kept[i].trail);
}

static void look_site(agent_t *agent, size_t i)
{
    ecert_kept_look(&agent->keeper, &agent->kept[i]);
    watch_trail(agent, (uint32_t)i, &agent->kept[i].trail);
}

static void load_dcv(agent_t *agent)
{
    if (agent->conf->dcv) {
        ecert_dcv_kept_load(&agent->keeper, &agent->dcv);
        watch_trail(agent, (uint32_t)agent->conf->n_sites, &agent->dcv.trail);
    }
}

static void touch(void *ctx, uint32_t subject)
{
    agent_t *agent = ctx;

    if (subject <= agent->conf->n_sites) {
        agent->touched[subject] = 1;
    }
}

static void look_at_touched(agent_t *agent)
{
    size_t i, n = agent->conf->n_sites;

    for (i = 0; i < n; i++) {
        update_clocks(agent);
        if (agent->touched[i]) {
            agent->touched[i] = 0;
            look_site(agent, i);
        } else if (ecert_kept_due(&agent->keeper, &agent->kept[i])) {
            load_site(agent, i);
        }
    }
    if (agent->touched[n]
        || (agent->dcv.next_change != 0
            && agent->keeper.now >= agent->dcv.next_change)) {
        agent->touched[n] = 0;
        load_dcv(agent);
    }
}

static void touch_all(agent_t *agent)
{
    memset(agent->touched, 1, agent->conf->n_sites + 1);
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Milliseconds to the next thing to do by itself. */
static int patience(agent_t *agent)
{
    int64_t unix_ms = clock_ms(CLOCK_REALTIME);
    int64_t wait, next = agent->dcv.next_change;
    size_t i;

    if (agent->again) {
        agent->again = 0;
        return 0;
    }
    update_clocks(agent);
    wait = agent->rescan_at - agent->keeper.ms;
    for (i = 0; i < agent->conf->n_sites; i++) {
        const ecert_kept_t *kept = &agent->kept[i];

        if (kept->retry_at != 0) {
            wait = sooner(wait, kept->retry_at - agent->keeper.ms);
        }
        if (kept->next_change != 0
            && (next == 0 || kept->next_change < next)) {
            next = kept->next_change;
        }
    }
    if (next != 0) {
        wait = sooner(wait, next * 1000 - unix_ms + 1);
    }
    return wait < 0 ? 0 : (int)sooner(wait, RESCAN_MS);
}

/* ---- the loop ---------------------------------------------------------- */

enum { POLL_CONTROL, POLL_PAIR, POLL_DOOR, POLL_WATCH, POLL_N };

static void read_watch(agent_t *agent)
{
    ecert_err_t err;

    if (ecert_watch_read(agent->watch, touch, agent, &err) != 0) {
        ecert_log_err(ECERT_LOG_WARN, NULL, &err);
        touch_all(agent);
    }
}

static void heal(agent_t *agent)
{
    unsigned restarts = ecert_pair_restarts(agent->pair);
    ecert_err_t err;

    if (ecert_pair_heal(agent->pair, &err) != 0) {
        ecert_log_err(ECERT_LOG_ERROR, NULL, &err);
    } else if (ecert_pair_restarts(agent->pair) != restarts) {
        agent->reborn = 1;
    } else {
        ecert_log(ECERT_LOG_NOTICE, "agent: its guard was gone; there is a "
                                    "new one");
    }
}

/* 0 to go on, 1 when the server is gone or the agent is reborn. */
static int wait_once(agent_t *agent)
{
    struct pollfd fds[POLL_N] = {
        [POLL_CONTROL] = {.fd = agent->control, .events = POLLIN},
        [POLL_PAIR] = {.fd = agent->pair ? ecert_pair_fd(agent->pair) : -1,
                       .events = POLLIN},
        [POLL_DOOR] = {.fd = agent->door.fd, .events = POLLIN},
        [POLL_WATCH] = {.fd = agent->watch ? ecert_watch_fd(agent->watch) : -1,
                        .events = POLLIN},
    };

    if (poll(fds, POLL_N, patience(agent)) < 0) {
        return 0;
    }
    if (fds[POLL_CONTROL].revents) {
        return 1;
    }
    if (fds[POLL_PAIR].revents) {
        heal(agent);
        if (agent->reborn) {
            return 1;
        }
    }
    if (fds[POLL_WATCH].revents) {
        read_watch(agent);
    }
    if (fds[POLL_DOOR].revents) {
        ecert_door_answer(&agent->door, describe, agent);
    }
    return 0;
}

static void run_loop(agent_t *agent)
{
    while (wait_once(agent) == 0) {
        update_clocks(agent);
        if (agent->keeper.ms >= agent->rescan_at) {
            agent->rescan_at = agent->keeper.ms + RESCAN_MS;
            touch_all(agent);
        }
        look_at_touched(agent);
    }
}

/* ---- beginning --------------------------------------------------------- */

static void say(int fd, char byte)
{
    ssize_t n = fd >= 0 ? write(fd, &byte, 1) : 0;

    (void)n; /* a server that waits no longer needs no word */
}

/* Says that it is alive about ten times a second. */
static void load_all(agent_t *agent, int ready)
{
    int64_t last = 0;
    size_t i;

    for (i = 0; i < agent->conf->n_sites; i++) {
        update_clocks(agent);
        if (agent->keeper.ms - last > 100) {
            say(ready, '.');
            last = agent->keeper.ms;
        }
        load_site(agent, i);
    }
    update_clocks(agent);
    load_dcv(agent);
}

static int uses_store(const ecert_conf_t *conf)
{
    size_t i;

    for (i = 0; i < conf->n_sites; i++) {
        if (conf->sites[i].name != NULL) {
            return 1;
        }
    }
    return 0;
}

static void prepare_store(const agent_t *agent)
{
    ecert_err_t err;

    if (agent->conf->store != NULL
        && ecert_store_prepare(agent->conf->store, &err) != 0
        && uses_store(agent->conf)) {
        ecert_log_err(ECERT_LOG_WARN, NULL, &err);
    }
}

static int make_kept(agent_t *agent, ecert_err_t *err)
{
    size_t i, n = agent->conf->n_sites;

    agent->kept = calloc(n + 1, sizeof(*agent->kept));
    agent->touched = calloc(n + 1, 1);
    if (agent->kept == NULL || agent->touched == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    for (i = 0; i < n; i++) {
        ecert_kept_init(&agent->kept[i], &agent->conf->sites[i], (uint32_t)i);
        if (agent->keeper.snap != NULL) {
            ecert_snap_name(agent->keeper.snap, (uint32_t)i,
                            agent->conf->sites[i].id);
        }
    }
    ecert_dcv_kept_init(&agent->dcv);
    agent->keeper.store = agent->conf->store;
    agent->keeper.loader = ecert_loader_new(agent->conf->store, err);
    return agent->keeper.loader != NULL ? 0 : -1;
}

static void open_eyes(agent_t *agent)
{
    ecert_err_t err;

    agent->watch = ecert_watch_new(&err);
    if (agent->watch == NULL) {
        agent->watch_failed = 1;
        ecert_log_err(ECERT_LOG_WARN, NULL, &err);
    }
    if (agent->conf->store != NULL
        && ecert_door_open(&agent->door, agent->conf->store, &err) != 0
        && uses_store(agent->conf)) {
        ecert_log_err(ECERT_LOG_NOTICE, NULL, &err);
    }
}

/* The life of the working process, in whatever way it began. */
static int work(agent_t *agent, int ready, ecert_err_t *err)
{
    signal(SIGPIPE, SIG_IGN);
    agent->door.fd = -1;
    agent->started = time(NULL);
    if (make_kept(agent, err) != 0) {
        return -1;
    }
    open_eyes(agent);
    load_all(agent, ready);
    say(ready, 'R');
    if (ready >= 0) {
        close(ready);
    }
    update_clocks(agent);
    agent->rescan_at = agent->keeper.ms + RESCAN_MS;
    look_at_touched(agent);
    run_loop(agent);
    if (!agent->reborn) {
        ecert_door_close(&agent->door, 1);
    }
    return 0;
}

/*
 * The guard closed everything before this process came out of it: watch and
 * door have numbers that may belong to something else now, and are left.
 */
static void forget(agent_t *agent)
{
    size_t i;

    for (i = 0; i < agent->conf->n_sites; i++) {
        ecert_kept_free(&agent->kept[i]);
    }
    free(agent->kept);
    free(agent->touched);
    ecert_dcv_kept_free(&agent->dcv);
    ecert_loader_free(agent->keeper.loader);
    agent->watch = NULL;
    agent->watch_failed = 0;
    agent->reborn = 0;
}

static int fail(const ecert_err_t *err)
{
    ecert_log_err(ECERT_LOG_ERROR, NULL, err);
    return 1;
}

static int open_maps(agent_t *agent, ecert_err_t *err)
{
    agent->keeper.snap = ecert_snap_open_writer(ECERT_FD_SNAP, err);
    if (agent->keeper.snap == NULL || ecert_snap_seal(ECERT_FD_SNAP, err) != 0) {
        return -1;
    }
    agent->seen = ecert_seen_open(ECERT_FD_SEEN, err);
    if (agent->seen == NULL) {
        return -1;
    }
    close(ECERT_FD_SNAP);
    close(ECERT_FD_SEEN);
    return 0;
}

int ecert_agent_inherit(void)
{
    agent_t agent = {.control = ECERT_FD_CONTROL};
    ecert_err_t err;
    int ready, rc;

    agent.conf = ecert_conf_read(ECERT_FD_CONF, &err);
    if (agent.conf == NULL) {
        return fail(&err);
    }
    ecert_log_open(agent.conf);
    close(ECERT_FD_CONF);
    prepare_store(&agent);
    if (open_maps(&agent, &err) != 0 || ecert_priv_drop(&err) != 0) {
        return fail(&err);
    }
    agent.pair = ecert_pair_start(ECERT_FD_CONTROL, &err);
    if (agent.pair == NULL) {
        return fail(&err);
    }
    ready = ecert_pair_restarts(agent.pair) == 0 ? ECERT_FD_READY : -1;
    while ((rc = work(&agent, ready, &err)) == 0 && agent.reborn) {
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
    agent_t agent = {.control = -1};
    ecert_err_t err;
    int bad;
    size_t i;

    agent.conf = ecert_conf_read(ECERT_FD_CONF, &err);
    if (agent.conf == NULL) {
        return fail(&err);
    }
    ecert_log_open(agent.conf);
    if (ecert_priv_drop(&err) != 0 || make_kept(&agent, &err) != 0) {
        return fail(&err);
    }
    ecert_log_quiet(ECERT_LOG_NOTICE);
    for (i = 0; i < agent.conf->n_sites; i++) {
        update_clocks(&agent);
        ecert_kept_load(&agent.keeper, &agent.kept[i]);
        /* no patience here: it is looked at only once */
        if (agent.kept[i].torn_at != 0) {
            agent.kept[i].torn_at -= ECERT_PATIENCE_MS;
            ecert_kept_load(&agent.keeper, &agent.kept[i]);
        }
    }
    load_dcv(&agent);
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

int ecert_agent_foreground(const char *store)
{
    agent_t agent = {.control = -1};
    ecert_err_t err;
    int fd;

    agent.conf = ecert_conf_new();
    if (agent.conf == NULL
        || ecert_conf_set(&agent.conf->store, store, &err) != 0
        || ecert_conf_set(&agent.conf->server, "none", &err) != 0
        || add_store_sites(agent.conf, store, &err) != 0) {
        return fail(&err);
    }
    agent.conf->dcv = 1;
    agent.control = ending_signals();
    prepare_store(&agent);
    fd = ecert_snap_create((uint32_t)agent.conf->n_sites, &err);
    if (fd < 0 || ecert_priv_drop(&err) != 0) {
        return fail(&err);
    }
    agent.keeper.snap = ecert_snap_open_writer(fd, &err);
    close(fd);
    if (agent.keeper.snap == NULL || work(&agent, -1, &err) != 0) {
        return fail(&err);
    }
    return 0;
}
