#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/random.h>


#include "ecert_log.h"
#include "ecert_net_work.h"
#include "ecert_x509.h"

#define FLOOR_MS 30000
#define ROOF_MS  3600000

/* ---- wants ------------------------------------------------------------- */

int64_t ecert_net_any_below(int64_t n)
{
    uint32_t random = 0;

    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random)) {
        random = UINT32_MAX / 2;
    }
    return (int64_t)((double)n * random / ((double)UINT32_MAX + 1));
}

int64_t ecert_net_spread(int64_t ms)
{
    return ms - ecert_net_any_below(ms / 10 + 1);
}

int64_t ecert_net_backoff(unsigned failures)
{
    int64_t ms = FLOOR_MS;

    while (failures > 1 && ms < ROOF_MS) {
        ms *= 2;
        failures--;
    }
    ms = ms < ROOF_MS ? ms : ROOF_MS;
    if (ms == FLOOR_MS) {
        return ms + ecert_net_any_below(ms / 5); /* never sooner */
    }
    return ms - ms / 5 + ecert_net_any_below(ms * 2 / 5);
}

char *ecert_net_hex(const unsigned char digest[32], char hex[65])
{
    for (size_t i = 0; i < 32; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
    return hex;
}

const char *ecert_net_label(const ecert_net_site_t *site)
{
    return ecert_site_label(site->kept->site);
}

void ecert_net_failed(ecert_net_t *net, const ecert_net_site_t *site,
                      ecert_want_t *want, const ecert_err_t *err)
{
    if (want->error.code != err->code
        || strcmp(want->error.detail, err->detail) != 0) {
        ecert_log_err(ECERT_LOG_WARN, ecert_net_label(site), err);
    }
    ecert_net_note(net, want, err);
}

void ecert_net_note(ecert_net_t *net, ecert_want_t *want,
                    const ecert_err_t *err)
{
    if (want->error.code == ECERT_OK) {
        want->error_at = net->keeper->now;
    }
    net->is_changed = 1;
    want->error = *err;
    want->busy = 0;
    if (want->failures < 1000) {
        want->failures++;
    }
    want->due = net->keeper->ms + ecert_net_backoff(want->failures);
}

void ecert_net_came(ecert_want_t *want)
{
    ecert_err_clear(&want->error);
    want->error_at = 0;
    want->failures = 0;
    want->busy = 0;
    want->due = 0;
}

/* ---- life -------------------------------------------------------------- */

ecert_net_t *ecert_net_new(ecert_keeper_t *keeper, const ecert_conf_t *conf,
                           int fetcher, ecert_err_t *err)
{
    ecert_net_t *net = calloc(1, sizeof(*net));

    if (net != NULL) {
        net->sites = calloc(conf->n_sites + 1, sizeof(*net->sites));
    }
    if (net == NULL || net->sites == NULL) {
        free(net);
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        return NULL;
    }
    net->keeper = keeper;
    net->conf = conf;
    net->fetcher = conf->fetch ? fetcher : -1;
    ecert_net_abandon(net); /* 0 is a descriptor, too */
    ecert_net_failures_read(net);
    if (ecert_net_served_new(net, err) != 0) {
        ecert_net_free(net);
        return NULL;
    }
    return net;
}

void ecert_net_free(ecert_net_t *net)
{
    if (net == NULL) {
        return;
    }
    for (size_t i = 0; i < ECERT_NET_ERRANDS; i++) {
        ecert_errand_drop(&net->errands[i].errand);
    }
    ecert_net_served_free(net);
    for (size_t i = 0; i < net->conf->n_sites; i++) {
        ecert_net_staple_clear(&net->sites[i].served);
        ecert_net_staple_clear(&net->sites[i].coming);
        ecert_net_issuers_free(&net->sites[i]);
    }
    ecert_net_places_free(net);
    ecert_net_failures_free(net);
    free(net->sites);
    free(net);
}

void ecert_net_abandon(ecert_net_t *net)
{
    for (size_t i = 0; i < ECERT_NET_ERRANDS; i++) {
        net->errands[i].errand.fd = -1;
    }
}

/* ---- what sites need --------------------------------------------------- */

int ecert_net_is_of(const ecert_net_staple_t *staple, const X509 *leaf)
{
    return staple->leaf != NULL && X509_cmp(staple->leaf, leaf) == 0;
}

/* The leaf that waited is the one that is served now. */
static void come(ecert_net_t *net, ecert_net_site_t *site)
{
    ecert_net_staple_clear(&site->served);
    site->served = site->coming;
    memset(&site->coming, 0, sizeof(site->coming));
    if (!site->is_ahead) { /* at a start, or nobody waited for it */
        ecert_net_staple_publish(net, site, &site->served);
    }
    site->is_ahead = 0;
}

/* The leaf that waited will not come: its files went, or were refused. */
static void give_up_coming(ecert_net_t *net, ecert_net_site_t *site)
{
    ecert_net_staple_clear(&site->coming);
    if (site->is_ahead && site->served.leaf != NULL) {
        ecert_net_staple_publish(net, site, &site->served);
    }
    site->is_ahead = 0;
}

static void look_at_coming(ecert_net_t *net, ecert_net_site_t *site)
{
    const ecert_chain_t *chain = site->kept->held.chain;

    if (site->coming.leaf == NULL) {
        return;
    }
    if (chain != NULL && chain->n_considered > 0
        && ecert_net_is_of(&site->coming, chain->considered[0].cert)) {
        come(net, site);
    } else if (!site->is_waiting) {
        give_up_coming(net, site);
    }
    site->is_waiting = 0;
}

X509 *ecert_net_issuer_of(const ecert_chain_t *chain)
{
    return sk_X509_num(chain->served) > 0 ? sk_X509_value(chain->served, 0)
                                          : NULL;
}

static void look_at_staple(ecert_net_t *net, ecert_net_site_t *site)
{
    const ecert_chain_t *chain = site->kept->held.chain;
    X509 *leaf = chain->considered[0].cert,
         *issuer = ecert_net_issuer_of(chain);

    if (issuer == NULL || !ecert_net_wants_staple(net, site, leaf)) {
        ecert_net_staple_clear(&site->served);
        return;
    }
    if (!ecert_net_is_of(&site->served, leaf)
        || X509_cmp(site->served.issuer, issuer) != 0) {
        ecert_net_staple_begin(net, site, &site->served, leaf, issuer);
    }
}

void ecert_net_look(ecert_net_t *net, const ecert_kept_t *kept)
{
    ecert_net_site_t *site = &net->sites[kept->slot];

    site->kept = kept;
    ecert_net_served_look(net, site);
    look_at_coming(net, site);
    if (kept->held.state == ECERT_STATE_PLACEHOLDER || kept->held.chain == NULL
        || kept->held.chain->n_considered == 0) {
        ecert_net_staple_clear(&site->served);
        return;
    }
    look_at_staple(net, site);
    ecert_net_issuers_look(net, site);
}

int ecert_net_hold_off(void *ctx, const ecert_kept_t *kept,
                       const ecert_loaded_t *next)
{
    ecert_net_t *net = ctx;
    ecert_net_site_t *site = &net->sites[kept->slot];
    X509 *leaf = next->chain->considered[0].cert;
    X509 *issuer = ecert_net_issuer_of(next->chain);
    ecert_net_staple_t *coming = &site->coming;

    site->kept = kept;
    if (issuer == NULL || ecert_net_is_of(&site->served, leaf)
        || !ecert_net_wants_staple(net, site, leaf)) {
        return 0;
    }
    if (!ecert_net_is_of(coming, leaf)) {
        ecert_net_staple_begin(net, site, coming, leaf, issuer);
    }
    if (coming->der != NULL) {
        ecert_net_staple_publish(net, site, coming);
        site->is_ahead = 1;
        return 0;
    }
    site->is_waiting =
        net->fetcher >= 0 && coming->url != NULL && coming->want.failures == 0
        && net->keeper->ms - coming->since < ECERT_NET_PATIENCE_MS;
    return site->is_waiting;
}

int ecert_net_is_awaited(const ecert_net_t *net)
{
    for (size_t i = 0; i < net->conf->n_sites && net->fetcher >= 0; i++) {
        const ecert_net_staple_t *staple = &net->sites[i].served;

        if (staple->url != NULL && staple->der == NULL
            && staple->want.failures == 0) {
            return 1;
        }
    }
    return 0;
}

/* ---- errands ----------------------------------------------------------- */

size_t ecert_net_fds(const ecert_net_t *net, struct pollfd *fds)
{
    size_t n = 0;

    for (size_t i = 0; i < ECERT_NET_ERRANDS; i++) {
        const ecert_errand_t *errand = &net->errands[i].errand;

        if (errand->fd >= 0 && errand->resume <= net->keeper->ms) {
            fds[n++] = (struct pollfd){.fd = errand->fd, .events = POLLIN};
        }
    }
    if (net->fetcher >= 0) {
        fds[n++] = (struct pollfd){.fd = net->fetcher}; /* POLLHUP */
    }
    return n;
}

/* Told once, for all sites; from now on nothing is asked for. */
static void see_fetcher(ecert_net_t *net)
{
    struct pollfd fd = {.fd = net->fetcher};
    ecert_err_t err;

    if (net->fetcher < 0 || poll(&fd, 1, 0) <= 0) {
        return;
    }
    net->fetcher = -1;
    ecert_err(&err, ECERT_ERR_FETCH, NULL,
              "the fetcher has ended; nothing is downloaded, and staples are "
              "sent until they end");
    ecert_err_hint(&err, "reload the server: that starts a new one");
    ecert_log_err(ECERT_LOG_ERROR, NULL, &err);
}

ecert_net_errand_t *ecert_net_slot(ecert_net_t *net, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (net->errands[i].errand.fd < 0) {
            return &net->errands[i];
        }
    }
    return NULL;
}

static ecert_net_errand_t *free_errand(ecert_net_t *net)
{
    return ecert_net_slot(net, 0, ECERT_ERRANDS_MAX);
}

static int is_due(const ecert_net_t *net, const ecert_want_t *want)
{
    return want->due != 0 && !want->busy && want->due <= net->keeper->ms;
}

static void send_staple(ecert_net_t *net, ecert_net_site_t *site,
                        ecert_net_staple_t *staple)
{
    ecert_net_errand_t *errand = free_errand(net);
    ecert_err_t err;

    if (errand == NULL || !is_due(net, &staple->want)) {
        return;
    }
    errand->site = (uint32_t)(site - net->sites);
    if (ecert_net_staple_ask(net, staple, errand, &err) == 0) {
        staple->want.busy = 1;
    } else {
        ecert_net_failed(net, site, &staple->want, &err);
    }
}

/* Somebody asks for the same already. */
static int is_under_way(const ecert_net_t *net, const char *url)
{
    for (size_t i = 0; i < ECERT_ERRANDS_MAX; i++) {
        const ecert_net_errand_t *errand = &net->errands[i];

        if (errand->errand.fd >= 0 && errand->kind == ECERT_ERRAND_CERTIFICATES
            && strcmp(errand->url, url) == 0) {
            return 1;
        }
    }
    return 0;
}

/* What failed for others a moment ago has failed for this site, too. */
static void send_issuers(ecert_net_t *net, ecert_net_site_t *site)
{
    while (is_due(net, &site->issuers)) {
        const char *url = ecert_net_issuers_url(site);
        ecert_net_errand_t *errand = free_errand(net);
        const ecert_net_place_t *place;
        ecert_err_t err;

        if (is_under_way(net, url)) {
            site->issuers.busy = 1;
            return;
        }
        if (errand == NULL) {
            return;
        }
        place = ecert_net_place(net, url);
        if (place == NULL
            && ecert_net_issuers_ask(net, url, errand, &err) == 0) {
            site->issuers.busy = 1;
            return;
        }
        if (place != NULL) {
            err = place->error;
        }
        ecert_net_issuers_failed(net, site, &err);
    }
}

static void send_due(ecert_net_t *net)
{
    for (size_t i = 0; i < net->conf->n_sites; i++) {
        send_staple(net, &net->sites[i], &net->sites[i].coming);
        send_staple(net, &net->sites[i], &net->sites[i].served);
        send_issuers(net, &net->sites[i]);
    }
}

/* A swap waits for it, or a leaf that is served demands it. */
static int is_awaited(const ecert_net_site_t *site)
{
    return site->coming.leaf != NULL
           || (site->served.leaf != NULL
               && ecert_x509_demands_staple(site->served.leaf));
}

static void take_errand(ecert_net_t *net, ecert_net_errand_t *errand,
                        void (*touch)(void *ctx, uint32_t site), void *ctx)
{
    ecert_net_site_t *site = &net->sites[errand->site];
    ecert_frames_t frames;
    ecert_err_t err;
    int rc = ecert_errand_read(&errand->errand, errand->url, net->keeper->ms,
                               &frames, &err);

    if (rc == 0) {
        return;
    }
    if (errand->kind == ECERT_ERRAND_LOOK) {
        ecert_net_served_take(net, errand, rc > 0 ? &frames : NULL, &err);
    } else if (errand->kind == ECERT_ERRAND_OCSP) {
        ecert_net_staple_take(net, site, errand->digest,
                              rc > 0 ? &frames : NULL, &err);
        if (is_awaited(site)) {
            touch(ctx, errand->site); /* nothing need wait any more */
        }
    } else {
        ecert_net_issuers_take(net, errand->url, rc > 0 ? &frames : NULL, &err,
                               touch, ctx);
    }
    ecert_frames_free(&frames);
}

void ecert_net_work(ecert_net_t *net, void (*touch)(void *ctx, uint32_t site),
                    void *ctx)
{
    for (size_t i = 0; i < ECERT_NET_ERRANDS; i++) {
        const ecert_errand_t *errand = &net->errands[i].errand;

        if (errand->fd >= 0 && errand->resume <= net->keeper->ms) {
            take_errand(net, &net->errands[i], touch, ctx);
        }
    }
    see_fetcher(net);
    if (net->fetcher >= 0) {
        send_due(net);
        ecert_net_served_send(net);
    }
    ecert_net_failures_save(net);
}

void ecert_net_hasten(ecert_net_t *net)
{
    for (size_t i = 0; i < net->conf->n_sites; i++) {
        ecert_net_staple_hasten(net, &net->sites[i].coming);
        ecert_net_staple_hasten(net, &net->sites[i].served);
    }
}

static void sooner(int64_t *when, int64_t other)
{
    if (other != 0 && (*when == 0 || other < *when)) {
        *when = other;
    }
}

static void sooner_want(int64_t *when, const ecert_want_t *want)
{
    if (!want->busy) {
        sooner(when, want->due);
    }
}

int64_t ecert_net_due(const ecert_net_t *net)
{
    int64_t when = 0;
    int has_free = 0;

    for (size_t i = 0; i < ECERT_NET_ERRANDS; i++) {
        const ecert_errand_t *errand = &net->errands[i].errand;

        if (errand->fd >= 0) {
            sooner(&when, errand->resume);
            sooner(&when, errand->deadline);
        } else {
            has_free |= i < ECERT_ERRANDS_MAX;
        }
    }
    if (net->is_changed && net->keeper->snap != NULL) {
        sooner(&when, net->save_at);
    }
    if (net->fetcher < 0) {
        return when;
    }
    sooner(&when, ecert_net_served_due(net));
    if (!has_free) {
        return when; /* the next end of an errand makes room */
    }
    for (size_t i = 0; i < net->conf->n_sites; i++) {
        sooner_want(&when, &net->sites[i].coming.want);
        sooner_want(&when, &net->sites[i].served.want);
        sooner_want(&when, &net->sites[i].issuers);
    }
    return when;
}

void ecert_net_report(const ecert_net_t *net, uint32_t site, json_t *report)
{
    if (net->sites[site].kept == NULL) {
        return;
    }
    json_object_set_new(report, "staple",
                        ecert_net_staple_report(net, &net->sites[site]));
    json_object_set_new(report, "download",
                        ecert_net_issuers_report(&net->sites[site]));
    json_object_set_new(report, "served",
                        ecert_net_served_report(net, &net->sites[site]));
}
