/*
 * What the server itself sends, against what is published.  A few seconds after
 * each publication the fetcher goes to the server's own addresses; a difference
 * counts when it stands for more than a minute, a handshake that fails when the
 * next one fails, too.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ecert_json.h"
#include "ecert_log.h"
#include "ecert_net_work.h"

#define FIRST_MS    5000  /* after a publication */
#define SECOND_MS   30000 /* when that look found no match */
#define STANDING_MS 60000 /* then a difference is one */
#define FAILING_MS  2000  /* then a handshake that fails is */
#define SPREAD_MS   20    /* for each target */

int ecert_net_served_new(ecert_net_t *net, ecert_err_t *err)
{
    if (ecert_targets_make(net->conf, &net->targets, err) != 0) {
        return -1;
    }
    net->served = calloc(net->targets.n + 1, sizeof(*net->served));
    if (net->served == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    for (size_t i = net->targets.n; i-- > 0;) {
        ecert_net_site_t *site = &net->sites[net->targets.list[i].site];

        site->first = i;
        site->n_targets++;
    }
    return 0;
}

void ecert_net_served_free(ecert_net_t *net)
{
    ecert_targets_free(&net->targets);
    free(net->served);
}

/* ---- when -------------------------------------------------------------- */

/* What is published together is not looked at together. */
static int64_t spread(const ecert_net_t *net)
{
    return ecert_net_any_below(1000 + SPREAD_MS * (int64_t)net->targets.n);
}

void ecert_net_served_look(ecert_net_t *net, ecert_net_site_t *site)
{
    const ecert_kept_t *kept = site->kept;
    int is_nothing =
        !kept->published || kept->held.state == ECERT_STATE_PLACEHOLDER;

    if (memcmp(site->published, kept->digest, sizeof(site->published)) == 0) {
        return;
    }
    memcpy(site->published, kept->digest, sizeof(site->published));
    for (size_t i = site->first; i < site->first + site->n_targets; i++) {
        ecert_net_served_t *served = &net->served[i];
        int64_t due = served->looks == 0 ? served->due : 0;
        unsigned round = served->round + 1;
        int busy = served->busy;

        memset(served, 0, sizeof(*served));
        served->round = round;
        served->busy = busy;
        if (!is_nothing && net->targets.list[i].why == NULL) {
            served->due = due ? due : net->keeper->ms + FIRST_MS + spread(net);
        }
    }
}

/* How long what is wrong has to stand. */
static int64_t standing(const ecert_net_served_t *served)
{
    return served->sent.failed[0] != '\0' ? FAILING_MS : STANDING_MS;
}

/* After a look that found no match. */
static void look_again(const ecert_net_t *net, ecert_net_served_t *served)
{
    if (served->looks == 1 && served->sent.failed[0] == '\0') {
        served->due = net->keeper->ms + ecert_net_spread(SECOND_MS);
    } else if (served->since_ms != 0 && !served->is_told) {
        served->due = served->since_ms + standing(served) + 1000 + spread(net);
        if (served->due < net->keeper->ms) {
            served->due = net->keeper->ms + ecert_net_spread(SECOND_MS);
        }
    } else { /* some minutes, doubled up to an hour; sooner where all fails */
        unsigned looks = served->sent.failed[0] != '\0' ? served->looks - 1
                                                        : served->looks + 2;

        served->due = net->keeper->ms + ecert_net_backoff(looks);
    }
}

/* ---- asking ------------------------------------------------------------ */

static int is_due(const ecert_net_t *net, const ecert_net_served_t *served)
{
    return served->due != 0 && !served->busy && served->due <= net->keeper->ms;
}

static void fail(ecert_net_t *net, ecert_net_served_t *served,
                 const ecert_err_t *err)
{
    served->state = ECERT_SERVED_UNKNOWN;
    memset(&served->sent, 0, sizeof(served->sent));
    served->at = net->keeper->now;
    served->looks++;
    snprintf(served->said, sizeof(served->said), "%.255s",
             err->detail[0] ? err->detail : ecert_err_sentence(err->code));
    look_again(net, served);
}

static void ask(ecert_net_t *net, uint32_t target, ecert_net_errand_t *errand)
{
    const ecert_target_t *to = &net->targets.list[target];
    ecert_errand_ask_t question = {
        .kind = ECERT_ERRAND_LOOK, .target = target, .url = to->where};
    ecert_net_served_t *served = &net->served[target];
    ecert_err_t err;

    if (ecert_errand_begin(net->fetcher, &question, net->keeper->ms,
                           &errand->errand, &err)
        != 0) {
        fail(net, served, &err);
        return;
    }
    errand->kind = ECERT_ERRAND_LOOK;
    errand->site = to->site;
    errand->target = target;
    errand->round = served->round;
    snprintf(errand->url, sizeof(errand->url), "%s", to->where);
    served->busy = 1;
    served->due = 0;
}

void ecert_net_served_send(ecert_net_t *net)
{
    ecert_net_errand_t *errand;

    for (size_t i = 0; i < net->targets.n; i++) {
        if (!is_due(net, &net->served[i])) {
            continue;
        }
        errand = ecert_net_slot(net, ECERT_ERRANDS_MAX, ECERT_NET_ERRANDS);
        if (errand == NULL) {
            return;
        }
        ask(net, (uint32_t)i, errand);
    }
}

int64_t ecert_net_served_due(const ecert_net_t *net)
{
    int64_t when = 0;
    size_t i = ECERT_ERRANDS_MAX;

    while (i < ECERT_NET_ERRANDS && net->errands[i].errand.fd >= 0) {
        i++;
    }
    if (i == ECERT_NET_ERRANDS) {
        return 0; /* the next one that comes back makes room */
    }
    for (i = 0; i < net->targets.n; i++) {
        const ecert_net_served_t *served = &net->served[i];

        if (!served->busy && served->due != 0
            && (when == 0 || served->due < when)) {
            when = served->due;
        }
    }
    return when;
}

/* ---- judging ----------------------------------------------------------- */

/* "127.0.0.1:443, asked for www.example.hk" */
static const char *place(const ecert_target_t *target, char *out, size_t size)
{
    snprintf(out, size, "%s%s%s", target->where,
             target->host[0] ? ", asked for " : "", target->host);
    return out;
}

static void tell(const ecert_net_site_t *site, const ecert_target_t *target,
                 const ecert_net_served_t *served)
{
    char where[ECERT_LISTEN_ADDRESS + ECERT_NAME_MAX + 16];
    ecert_err_t err;

    ecert_err(&err, ECERT_ERR_DIFFERS, place(target, where, sizeof(where)),
              "%s", served->said);
    ecert_err_hint(&err, "see %s: ecert verify --connect %s %.150s",
                   served->sent.failed[0] != '\0'
                       ? "the server's error log, and whether it still fails"
                       : "which virtual host or process answers there",
                   target->where,
                   target->host[0] ? target->host : ecert_net_label(site));
    ecert_log_err(ECERT_LOG_ERROR, ecert_net_label(site), &err);
}

static void differ(ecert_net_t *net, const ecert_net_site_t *site,
                   const ecert_target_t *target, ecert_net_served_t *served)
{
    served->state = ECERT_SERVED_DIFFERS;
    if (served->since_ms == 0) {
        served->since_ms = net->keeper->ms;
        served->since = net->keeper->now;
    }
    if (!served->is_told
        && net->keeper->ms - served->since_ms > standing(served)) {
        served->is_told = 1;
        tell(site, target, served);
    }
    look_again(net, served);
}

static void match(const ecert_net_site_t *site, const ecert_target_t *target,
                  ecert_net_served_t *served)
{
    if (served->is_told) {
        ecert_log(ECERT_LOG_NOTICE,
                  "site %s: what is sent at %s is what is published again",
                  ecert_net_label(site), target->where);
    }
    served->state = ECERT_SERVED_SAME;
    served->said[0] = '\0';
    served->since_ms = served->since = 0;
    served->is_told = 0;
    served->due = 0;
}

static void compare(ecert_net_t *net, const ecert_net_site_t *site,
                    const ecert_target_t *target, ecert_net_served_t *served)
{
    const ecert_chain_t *chain = site->kept->held.chain;

    served->looks++;
    served->at = net->keeper->now;
    if (ecert_sent_differs(
            &served->sent, chain->considered[0].cert, chain->served,
            target->stapling && ecert_net_staple_usable(net, &site->served),
            served->said, sizeof(served->said))) {
        differ(net, site, target, served);
    } else {
        match(site, target, served);
    }
}

void ecert_net_served_take(ecert_net_t *net, const ecert_net_errand_t *errand,
                           const ecert_frames_t *frames, const ecert_err_t *err)
{
    const ecert_target_t *target = &net->targets.list[errand->target];
    const ecert_net_site_t *site = &net->sites[errand->site];
    ecert_net_served_t *served = &net->served[errand->target];
    ecert_err_t bad;

    served->busy = 0;
    if (errand->round != served->round || site->kept->held.chain == NULL
        || site->kept->held.chain->n_considered == 0) {
        return; /* something else was published meanwhile */
    }
    if (frames == NULL) {
        fail(net, served, err);
    } else if (ecert_sent_read(frames, target->where, &served->sent, &bad)
               != 0) {
        fail(net, served, &bad);
    } else {
        compare(net, site, target, served);
    }
}

/* ---- saying ------------------------------------------------------------ */

/* Until a difference has stood for its minute it is not said. */
static ecert_served_state_t state_of(const ecert_target_t *target,
                                     const ecert_net_served_t *served)
{
    if (target->why != NULL) {
        return ECERT_SERVED_UNKNOWN;
    }
    return served->state == ECERT_SERVED_DIFFERS && !served->is_told
               ? ECERT_SERVED_NOT_YET
               : served->state;
}

static const char *state_word(ecert_served_state_t state)
{
    static const char *const words[] = {"not-yet", "as-published", "differs",
                                        "not-compared"};

    return words[state];
}

static void report_sent(json_t *object, const ecert_sent_t *sent)
{
    char hex[65];

    for (size_t i = 0; i < 32 && sent->n > 0; i++) {
        snprintf(hex + 2 * i, 3, "%02X", sent->digests[0][i]);
    }
    if (sent->failed[0] != '\0') {
        return;
    }
    if (sent->n > 0) {
        ecert_json_set_text(object, "sha256", hex);
    }
    json_object_set_new(object, "elements", json_integer((json_int_t)sent->n));
    json_object_set_new(object, "stapled", json_boolean(sent->stapled));
}

static json_t *report_target(const ecert_target_t *target,
                             const ecert_net_served_t *served, const char *why)
{
    json_t *object = json_object();
    ecert_served_state_t state =
        why ? ECERT_SERVED_UNKNOWN : state_of(target, served);

    json_object_set_new(object, "asked", json_boolean(target->why == NULL));
    ecert_json_set_text(object, "address", target->where);
    ecert_json_set_text(object, "name", target->host[0] ? target->host : NULL);
    ecert_json_set_text(object, "state", state_word(state));
    ecert_json_set_date(object, "compared", served->at);
    if (state == ECERT_SERVED_UNKNOWN) {
        ecert_json_set_text(object, "reason",
                            target->why ? target->why
                            : why       ? why
                                        : served->said);
    }
    if (state == ECERT_SERVED_DIFFERS) {
        ecert_json_set_date(object, "since", served->since);
        ecert_json_set_text(object, "difference", served->said);
    }
    if (state == ECERT_SERVED_SAME || state == ECERT_SERVED_DIFFERS) {
        report_sent(object, &served->sent);
    }
    return object;
}

/* The worst of all: one that differs is not made up for by others. */
static ecert_served_state_t worse(ecert_served_state_t a,
                                  ecert_served_state_t b)
{
    static const int rank[] = {[ECERT_SERVED_DIFFERS] = 3,
                               [ECERT_SERVED_NOT_YET] = 2,
                               [ECERT_SERVED_SAME] = 1,
                               [ECERT_SERVED_UNKNOWN] = 0};

    return rank[a] > rank[b] ? a : b;
}

json_t *ecert_net_served_report(const ecert_net_t *net,
                                const ecert_net_site_t *site)
{
    ecert_served_state_t all = ECERT_SERVED_UNKNOWN;
    json_t *report, *list;

    if (site->n_targets == 0
        || site->kept->held.state == ECERT_STATE_PLACEHOLDER) {
        return json_null();
    }
    report = json_object();
    list = json_array();
    for (size_t i = site->first; i < site->first + site->n_targets; i++) {
        const ecert_net_served_t *served = &net->served[i];
        const char *why = net->fetcher >= 0 || served->at != 0 ? NULL
                          : net->conf->fetch
                              ? "there is no fetcher: reload the server"
                              : "ecert_fetch is off";

        json_array_append_new(
            list, report_target(&net->targets.list[i], served, why));
        all = worse(all, why ? ECERT_SERVED_UNKNOWN
                             : state_of(&net->targets.list[i], served));
    }
    ecert_json_set_text(report, "state", state_word(all));
    json_object_set_new(report, "addresses", list);
    return report;
}
