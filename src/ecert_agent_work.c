#include "ecert_agent_work.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ecert_log.h"

#define RESCAN_MS 30000
#define FORGET_MS 600000
#define LATER_MS  1000 /* after what failed for lack of means: no busy loop */
#define PAUSE(ms) (1 + 3 * (ms)) /* after what others made take so long */
#define STEP_MS   2000           /* a clock that moves by more has been set */

/* What is to be done with a site. */
#define TOUCHED_LOOK 1
#define TOUCHED_LOAD 2 /* also when its files are as they were */

static int64_t clock_ms(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void ecert_agent_clocks(ecert_agent_t *agent)
{
    int64_t moved;

    agent->keeper.ms = clock_ms(CLOCK_MONOTONIC);
    agent->keeper.now = time(NULL);
    moved = clock_ms(CLOCK_REALTIME) - agent->keeper.ms - agent->offset;
    if (moved < -STEP_MS || moved > STEP_MS) {
        agent->offset += moved;
        agent->stepped = 1;
    }
}

/* ---- looking and watching ---------------------------------------------- */

/*
 * What changed in a folder between the look and its first watch would go
 * unseen: so it is looked at once more.
 */
static void watch_trail(ecert_agent_t *agent, uint32_t subject,
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
        agent->touched[subject] |= TOUCHED_LOOK;
        agent->again = 1;
    } else if (rc < 0 && !agent->watch_failed) {
        agent->watch_failed = 1;
        ecert_log_err(ECERT_LOG_WARN, NULL, &err);
    }
}

static void load_site(ecert_agent_t *agent, size_t i)
{
    ecert_kept_load(&agent->keeper, &agent->kept[i]);
    ecert_net_look(agent->net, &agent->kept[i]);
    watch_trail(agent, (uint32_t)i, &agent->kept[i].trail);
}

static void look_site(ecert_agent_t *agent, size_t i, int touched)
{
    if (ecert_kept_look(&agent->keeper, &agent->kept[i])) {
        ecert_net_look(agent->net, &agent->kept[i]);
    } else if (touched & TOUCHED_LOAD) {
        load_site(agent, i);
        return;
    }
    watch_trail(agent, (uint32_t)i, &agent->kept[i].trail);
}

void ecert_agent_load_dcv(ecert_agent_t *agent)
{
    if (agent->conf->dcv) {
        ecert_dcv_kept_load(&agent->keeper, &agent->dcv);
        watch_trail(agent, (uint32_t)agent->conf->n_sites, &agent->dcv.trail);
    }
}

void ecert_agent_look_at_visits(ecert_agent_t *agent)
{
    /* before the first good look at the store nothing is known to be gone */
    if (agent->evidence != NULL && agent->dcv.published) {
        ecert_evidence_look(agent->evidence, agent->keeper.snap,
                            &agent->dcv.held, agent->keeper.now);
    }
}

static void touch(void *ctx, uint32_t subject)
{
    ecert_agent_t *agent = ctx;

    if (subject <= agent->conf->n_sites) {
        agent->touched[subject] |= TOUCHED_LOOK;
    }
}

/* What a site waited for came, or not: its files need not have changed. */
static void touch_again(void *ctx, uint32_t site)
{
    ecert_agent_t *agent = ctx;

    touch(ctx, site);
    agent->touched[site] |= TOUCHED_LOAD;
}

static void look_at_touched(ecert_agent_t *agent)
{
    size_t i, n = agent->conf->n_sites;

    for (i = 0; i < n; i++) {
        ecert_agent_clocks(agent);
        if (agent->touched[i]) {
            int touched = agent->touched[i];

            agent->touched[i] = 0;
            look_site(agent, i, touched);
        } else if (ecert_kept_due(&agent->keeper, &agent->kept[i])) {
            load_site(agent, i);
        }
    }
    if (agent->touched[n] || ecert_dcv_kept_due(&agent->keeper, &agent->dcv)) {
        agent->touched[n] = 0;
        ecert_agent_load_dcv(agent);
    }
}

static void touch_all(ecert_agent_t *agent)
{
    memset(agent->touched, TOUCHED_LOOK, agent->conf->n_sites + 1);
}

/* Where all is well, unchanged files are not read again. */
static void touch_doubtful(ecert_agent_t *agent)
{
    for (size_t i = 0; i < agent->conf->n_sites; i++) {
        if (ecert_kept_is_doubtful(&agent->keeper, &agent->kept[i])) {
            agent->touched[i] |= TOUCHED_LOAD;
        }
    }
}

/* What was judged, and planned, by the time before does not hold any more. */
static void follow_clock(ecert_agent_t *agent)
{
    agent->stepped = 0;
    memset(agent->touched, TOUCHED_LOOK | TOUCHED_LOAD,
           agent->conf->n_sites + 1);
    ecert_net_hasten(agent->net);
}

/* What is fetched can be fetched often, by anybody. */
static int may_fill(const ecert_agent_t *agent)
{
    return agent->evidence != NULL && agent->dcv.held.n > 0;
}

static int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int is_later(const ecert_agent_t *agent, int64_t when)
{
    return agent->keeper.ms < when;
}

/* ---- the door ---------------------------------------------------------- */

static int make_door(ecert_agent_t *agent, ecert_err_t *err)
{
    const ecert_conf_t *conf = agent->conf;
    char run[PATH_MAX];

    if ((conf->run ? ecert_file_path(run, err, "%s", conf->run)
                   : ecert_file_path(run, err, "%s/run", conf->store))
            == 0
        && ecert_door_open(&agent->door, run, err) == 0) {
        return 0;
    }
    if (err->code == ECERT_ERR_UNSAFE) {
        return -1; /* it has its own */
    }
    return ecert_err_hint(err, "ecert status does not see this server until "
                               "this is corrected; or name another folder with "
                               "ecert_run (ECertRun)");
}

/*
 * Whether people can find it: the folder may have been replaced, mounted, or
 * made writable.  Without any site in the store nobody may want it.
 */
static void look_at_door(ecert_agent_t *agent)
{
    ecert_err_t err = {0};

    if (agent->conf->store == NULL || ecert_door_is_there(&agent->door)) {
        return;
    }
    ecert_door_close(&agent->door);
    if (make_door(agent, &err) != 0 && err.code != agent->door_failed
        && (ecert_agent_uses_store(agent) || agent->conf->run != NULL)) {
        ecert_log_err(ECERT_LOG_NOTICE, NULL, &err);
    }
    agent->door_failed = err.code;
}

/* Milliseconds to the next thing to do by itself; the clocks are read. */
static int patience(ecert_agent_t *agent)
{
    int64_t unix_ms = clock_ms(CLOCK_REALTIME);
    int64_t wait, due, next = agent->dcv.next_change;
    size_t i;

    if (agent->again) {
        agent->again = 0;
        return 0;
    }
    wait = agent->rescan_at - agent->keeper.ms;
    if (is_later(agent, agent->heal_at)) {
        wait = lesser(wait, agent->heal_at - agent->keeper.ms);
    }
    if (is_later(agent, agent->answer_at)) {
        wait = lesser(wait, agent->answer_at - agent->keeper.ms);
    }
    if (may_fill(agent)) {
        wait = lesser(wait, agent->visits_at - agent->keeper.ms);
    }
    due = ecert_net_due(agent->net);
    if (due != 0) {
        wait = lesser(wait, due - agent->keeper.ms);
    }
    if (agent->dcv.retry_at != 0) {
        wait = lesser(wait, agent->dcv.retry_at - agent->keeper.ms);
    }
    for (i = 0; i < agent->conf->n_sites; i++) {
        const ecert_kept_t *kept = &agent->kept[i];

        if (kept->retry_at != 0) {
            wait = lesser(wait, kept->retry_at - agent->keeper.ms);
        }
        if (kept->next_change != 0 && (next == 0 || kept->next_change < next)) {
            next = kept->next_change;
        }
    }
    if (next != 0) {
        wait = lesser(wait, next * 1000 - unix_ms + 1);
    }
    return wait < 0 ? 0 : (int)lesser(wait, RESCAN_MS);
}

/* ---- the loop ---------------------------------------------------------- */

enum {
    POLL_CONTROL,
    POLL_PAIR,
    POLL_DOOR,
    POLL_WATCH,
    POLL_N
};

static void read_watch(ecert_agent_t *agent)
{
    ecert_err_t err;

    if (ecert_watch_read(agent->watch, touch, agent, &err) != 0) {
        ecert_log_err(ECERT_LOG_WARN, NULL, &err);
        touch_all(agent);
    }
    look_at_door(agent);
}

static void heal(ecert_agent_t *agent)
{
    unsigned restarts = ecert_pair_restarts(agent->pair);
    ecert_err_t err;

    if (ecert_pair_heal(agent->pair, &err) != 0) {
        if (agent->heal_at == 0) {
            ecert_log_err(ECERT_LOG_ERROR, NULL, &err);
        }
        agent->heal_at = agent->keeper.ms + LATER_MS;
    } else if (ecert_pair_restarts(agent->pair) != restarts) {
        agent->reborn = 1;
    } else {
        agent->heal_at = 0;
        ecert_log(ECERT_LOG_NOTICE, "agent: its guard was gone; there is a "
                                    "new one");
    }
}

/*
 * Whoever asks all the time, or makes an answer long, gets no more than a part
 * of the agent's time: the others wait in the queue.
 */
static void answer(ecert_agent_t *agent)
{
    int64_t begun = clock_ms(CLOCK_MONOTONIC);
    int rc = ecert_door_answer(&agent->door, ecert_agent_describe, agent);
    int64_t now = clock_ms(CLOCK_MONOTONIC);

    agent->answer_at = now + (rc != 0 ? LATER_MS : PAUSE(now - begun));
}

/* Workers say nothing, and wait for nobody: their memory is asked. */
static void look_at_filling(ecert_agent_t *agent)
{
    int64_t begun = agent->keeper.ms;

    if (!may_fill(agent) || is_later(agent, agent->visits_at)) {
        return;
    }
    if (ecert_evidence_filling(agent->evidence)) {
        ecert_agent_look_at_visits(agent);
    }
    agent->visits_at = clock_ms(CLOCK_MONOTONIC) + LATER_MS;
    agent->visits_at += PAUSE(agent->visits_at - LATER_MS - begun);
}

/* What to poll for; what is to be left alone for now is -1. */
static void set_fds(const ecert_agent_t *agent, struct pollfd *fds)
{
    int pair = agent->pair ? ecert_pair_fd(agent->pair) : -1;
    int watch = agent->watch ? ecert_watch_fd(agent->watch) : -1;
    size_t i;

    fds[POLL_CONTROL].fd = agent->control;
    fds[POLL_PAIR].fd = is_later(agent, agent->heal_at) ? -1 : pair;
    fds[POLL_DOOR].fd = is_later(agent, agent->answer_at) ? -1 : agent->door.fd;
    fds[POLL_WATCH].fd = watch;
    for (i = 0; i < POLL_N; i++) {
        fds[i].events = POLLIN;
        fds[i].revents = 0;
    }
}

/* 0 to go on, 1 when the server is gone or the agent is reborn. */
static int wait_once(ecert_agent_t *agent)
{
    struct pollfd fds[POLL_N + ECERT_NET_FDS];
    size_t n;

    ecert_agent_clocks(agent);
    set_fds(agent, fds);
    n = POLL_N + ecert_net_fds(agent->net, fds + POLL_N);
    if (poll(fds, n, patience(agent)) < 0) {
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
        answer(agent);
    }
    return 0;
}

/* With each rescan. */
static void forget_refusals(ecert_agent_t *agent)
{
    if (agent->seen != NULL && agent->keeper.ms >= agent->forget_at) {
        agent->forget_at = agent->keeper.ms + FORGET_MS;
        ecert_seen_forget(agent->seen);
    }
}

static void run_loop(ecert_agent_t *agent)
{
    while (wait_once(agent) == 0) {
        ecert_agent_clocks(agent);
        if (agent->keeper.ms >= agent->rescan_at) {
            agent->rescan_at = agent->keeper.ms + RESCAN_MS;
            touch_all(agent);
            touch_doubtful(agent);
            ecert_log_follow();
            ecert_agent_look_at_visits(agent);
            look_at_door(agent);
            forget_refusals(agent);
        }
        look_at_filling(agent);
        if (agent->stepped) {
            follow_clock(agent);
        }
        ecert_net_work(agent->net, touch_again, agent);
        look_at_touched(agent);
    }
}

/* ---- beginning --------------------------------------------------------- */

static void say(int fd, char byte)
{
    ssize_t n = fd >= 0 ? write(fd, &byte, 1) : 0;

    (void)n; /* a server that waits no longer needs no word */
}

/* The server has gone, or has another configuration by now. */
static int is_over(const ecert_agent_t *agent)
{
    struct pollfd fd = {.fd = agent->control, .events = POLLIN};

    return poll(&fd, 1, 0) > 0;
}

/*
 * Of all sites those of which a record of the process before is served
 * (inherited), or the others.  Says that it is alive about ten times a second.
 */
static void load_sites(ecert_agent_t *agent, int inherited, int ready)
{
    int64_t last = 0;
    size_t i;

    for (i = 0; i < agent->conf->n_sites && !is_over(agent); i++) {
        ecert_kept_t *kept = &agent->kept[i];

        if (ecert_kept_is_inherited(&agent->keeper, kept) != inherited) {
            continue;
        }
        ecert_agent_clocks(agent);
        if (agent->keeper.ms - last > 100) {
            say(ready, '.');
            last = agent->keeper.ms;
        }
        load_site(agent, i);
    }
    ecert_agent_clocks(agent);
}

static int has_inherited_dcv(const ecert_agent_t *agent)
{
    const ecert_snap_t *snap = agent->keeper.snap;

    return ecert_snap_generation(snap, ecert_snap_dcv_slot(snap)) > 0;
}

/*
 * The first handshake is to have its staple: the server waits a moment for
 * those that the store does not keep, of the sites that were loaded by now.
 */
static void await_staples(ecert_agent_t *agent, int ready)
{
    int64_t end = agent->keeper.ms + ECERT_NET_PATIENCE_MS;
    struct pollfd fds[ECERT_NET_FDS];

    ecert_net_work(agent->net, touch_again, agent);
    while (ready >= 0 && ecert_net_is_awaited(agent->net)
           && agent->keeper.ms < end) {
        say(ready, '.');
        poll(fds, ecert_net_fds(agent->net, fds), 100);
        ecert_agent_clocks(agent);
        ecert_net_work(agent->net, touch_again, agent);
    }
}

/*
 * A server that is reloaded takes no connections until the agent is ready: it
 * does not wait for what the configuration before had, which is served from
 * its records until its files have been looked at.
 */
static void load_new(ecert_agent_t *agent, int ready)
{
    load_sites(agent, 0, ready);
    if (!has_inherited_dcv(agent)) {
        ecert_agent_load_dcv(agent);
    }
    await_staples(agent, ready);
}

static void load_inherited(ecert_agent_t *agent)
{
    load_sites(agent, 1, -1);
    if (!agent->dcv.published) {
        ecert_agent_load_dcv(agent);
    }
}

int ecert_agent_uses_store(const ecert_agent_t *agent)
{
    size_t i;

    for (i = 0; i < agent->conf->n_sites; i++) {
        if (agent->conf->sites[i].name != NULL) {
            return 1;
        }
    }
    return 0;
}

int ecert_agent_prepare(ecert_agent_t *agent, ecert_err_t *err)
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
    if (agent->visits != NULL && agent->conf->dcv) {
        agent->evidence =
            ecert_evidence_new(agent->visits, agent->keeper.snap, err);
        if (agent->evidence == NULL) {
            return -1;
        }
    }
    agent->keeper.store = agent->conf->store;
    agent->keeper.loader = ecert_loader_new(agent->conf->store, err);
    if (agent->keeper.loader == NULL) {
        return -1;
    }
    agent->net =
        ecert_net_new(&agent->keeper, agent->conf, agent->fetcher, err);
    agent->keeper.hold_off = ecert_net_hold_off;
    agent->keeper.demand = ecert_net_demand;
    agent->keeper.ctx = agent->net;
    return agent->net != NULL ? 0 : -1;
}

static void open_eyes(ecert_agent_t *agent)
{
    ecert_err_t err;

    agent->watch = ecert_watch_new(&err);
    if (agent->watch != NULL && ecert_watch_fd(agent->watch) < 0) {
        ecert_err(&err, ECERT_ERR_WATCH, NULL, "there is no inotify instance");
        ecert_err_hint(&err, "raise fs.inotify.max_user_instances; until then "
                             "files are looked at every 30 seconds");
    }
    if (agent->watch == NULL || ecert_watch_fd(agent->watch) < 0) {
        agent->watch_failed = 1;
        ecert_log_err(ECERT_LOG_WARN, NULL, &err);
    }
    look_at_door(agent);
}

/* The life of the working process, in whatever way it began. */
int ecert_agent_work(ecert_agent_t *agent, int ready, ecert_err_t *err)
{
    signal(SIGPIPE, SIG_IGN);
    agent->door.fd = -1;
    if (ecert_agent_prepare(agent, err) != 0) {
        return -1;
    }
    open_eyes(agent);
    ecert_agent_clocks(agent);
    agent->stepped = 0;
    load_new(agent, ready);
    say(ready, 'R');
    if (ready >= 0) {
        close(ready);
    }
    load_inherited(agent);
    agent->rescan_at = agent->keeper.ms + RESCAN_MS;
    agent->forget_at = agent->keeper.ms + FORGET_MS;
    look_at_touched(agent);
    run_loop(agent);
    if (!agent->reborn) {
        ecert_door_close(&agent->door);
    }
    return 0;
}
