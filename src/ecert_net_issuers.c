/*
 * What a chain lacks: where it is asked for, once for all sites, and what comes
 * of the answers.
 */

#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#include "ecert_json.h"
#include "ecert_load.h"
#include "ecert_log.h"
#include "ecert_net_work.h"

#define REFUSED_MAX 64 /* sites that look at one and the same certificate */

/* ---- what is wanted ---------------------------------------------------- */

/* Whether the same addresses are to be tried as before. */
static int same_urls(const ecert_net_urls_t *urls, char **list, size_t n)
{
    if (n != urls->n) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i], urls->list[i]) != 0) {
            return 0;
        }
    }
    return 1;
}

void ecert_net_issuers_free(ecert_net_site_t *site)
{
    ecert_net_above_clear(site);
    ecert_names_free(site->urls.list, site->urls.n);
    site->urls = (ecert_net_urls_t){0};
}

void ecert_net_issuers_look(ecert_net_t *net, ecert_net_site_t *site)
{
    const ecert_kept_t *kept = site->kept;
    ecert_err_t ignored;
    char **list;
    size_t n;

    if (net->fetcher < 0 || net->keeper->store == NULL
        || ecert_load_urls(net->keeper->loader, kept->site, &kept->held, NULL,
                           net->keeper->now, &list, &n, &ignored)
               != 0) {
        return;
    }
    if (same_urls(&site->urls, list, n)) {
        ecert_names_free(list, n);
        return;
    }
    ecert_net_issuers_free(site);
    site->urls = (ecert_net_urls_t){list, n, 0};
    memset(site->told, 0, sizeof(site->told));
    ecert_net_came(&site->issuers);
    site->issuers.due = n > 0 ? net->keeper->ms : 0;
}

/* Of the path that is being followed, else of the chain. */
static ecert_net_urls_t *urls_of(ecert_net_site_t *site)
{
    return site->found != NULL ? &site->above : &site->urls;
}

const char *ecert_net_issuers_url(const ecert_net_site_t *site)
{
    const ecert_net_urls_t *urls =
        site->found != NULL ? &site->above : &site->urls;

    return urls->list[urls->next];
}

int ecert_net_issuers_ask(ecert_net_t *net, const char *url,
                          ecert_net_errand_t *errand, ecert_err_t *err)
{
    ecert_errand_ask_t ask = {.kind = ECERT_ERRAND_CERTIFICATES, .url = url};

    if (ecert_errand_begin(net->fetcher, &ask, net->keeper->ms, &errand->errand,
                           err)
        != 0) {
        return -1;
    }
    errand->kind = ECERT_ERRAND_CERTIFICATES;
    snprintf(errand->url, sizeof(errand->url), "%.2047s", url);
    return 0;
}

/* ---- failures ---------------------------------------------------------- */

/* Each failure is told once: a URL's next one when it is another one. */
static void tell(ecert_net_site_t *site, const ecert_err_t *err)
{
    char line[1700];
    uint32_t sum;

    ecert_err_line(err, NULL, line, sizeof(line));
    sum = ecert_net_hash(line);
    for (size_t i = 0; i < ECERT_NET_TOLD; i++) {
        if (site->told[i] == sum) {
            return;
        }
    }
    site->told[site->next_told] = sum;
    site->next_told = (site->next_told + 1) % ECERT_NET_TOLD;
    ecert_log_err(ECERT_LOG_WARN, ecert_net_label(site), err);
}

/* All were tried: again when the first of them is due, whoever asks then. */
static void end_round(ecert_net_t *net, ecert_net_site_t *site)
{
    int64_t due = 0;

    site->urls.next = 0;
    for (size_t i = 0; i < site->urls.n; i++) {
        const ecert_net_place_t *place =
            ecert_net_place(net, site->urls.list[i]);

        if (place != NULL && (due == 0 || place->due < due)) {
            due = place->due;
        }
    }
    if (due != 0) {
        site->issuers.due = due;
    }
}

void ecert_net_issuers_failed(ecert_net_t *net, ecert_net_site_t *site,
                              const ecert_err_t *err)
{
    ecert_net_urls_t *urls = urls_of(site);
    ecert_err_t told = *err;

    if (err->code != ECERT_ERR_FETCH) {
        ecert_err_hint(&told, "nothing of it is used; it is tried again by "
                              "itself");
    }
    tell(site, &told);
    ecert_net_note(net, &site->issuers, &told);
    urls->next++;
    if (urls == &site->above && urls->next == urls->n) {
        /* so the one below it is of no use either */
        ecert_net_above_clear(site);
        ecert_net_place_failed(net, ecert_net_issuers_url(site), &told);
        site->urls.next++;
    }
    urls = urls_of(site);
    if (urls->next < urls->n) { /* there is another place to look */
        site->issuers.failures--;
        site->issuers.due = net->keeper->ms;
    } else {
        end_round(net, site);
    }
}

/* ---- answers ----------------------------------------------------------- */

static X509 *decode(const ecert_frame_t *frame)
{
    const unsigned char *p = frame->bytes;
    X509 *cert = d2i_X509(NULL, &p, (long)frame->len);

    ERR_clear_error();
    if (cert != NULL && p != frame->bytes + frame->len) {
        X509_free(cert);
        cert = NULL;
    }
    return cert;
}

static X509 *the_one(const ecert_frames_t *frames, const char *url,
                     ecert_err_t *err)
{
    X509 *cert;

    if (frames->n != 1) {
        ecert_err(err, ECERT_ERR_TOO_MANY, url,
                  "%zu certificates where one is expected", frames->n);
        return NULL;
    }
    cert = decode(&frames->frames[0]);
    if (cert == NULL) {
        ecert_err(err, ECERT_ERR_DAMAGED, url, NULL);
    }
    return cert;
}

static int awaits(const ecert_net_site_t *site, const char *url)
{
    return site->issuers.busy && strcmp(ecert_net_issuers_url(site), url) == 0;
}

static void fail_all(ecert_net_t *net, const char *url, const ecert_err_t *err)
{
    ecert_net_place_failed(net, url, err);
    for (size_t i = 0; i < net->conf->n_sites; i++) {
        if (awaits(&net->sites[i], url)) {
            ecert_net_issuers_failed(net, &net->sites[i], err);
        }
    }
}

/* The chain is built anew; if it lacks the same then, go on slowly. */
static void go_on(ecert_net_t *net, ecert_net_site_t *site)
{
    ecert_net_above_clear(site);
    ecert_net_came(&site->issuers);
    site->issuers.due = net->keeper->ms + ecert_net_backoff(1);
}

/*
 * The first site that can use it puts it into the pool, for all.  Those that
 * cannot wait as for a URL that failed, where it was of use to nobody.  Each
 * such site costs a chain, and whoever sits on the way pays nothing: after a
 * few that refused it the others, another few each time, are told the same.
 */
static void offer(ecert_net_t *net, const char *url, X509 *cert,
                  void (*touch)(void *ctx, uint32_t site), void *ctx)
{
    size_t n = net->conf->n_sites, refused = 0;
    size_t first = (size_t)ecert_net_any_below((int64_t)n);
    ecert_err_t err, why;
    int is_pooled = 0;

    for (size_t k = 0; k < n; k++) {
        size_t i = (first + k) % n;
        ecert_net_site_t *site = &net->sites[i];
        int rc;

        if (!awaits(site, url)) {
            continue;
        }
        rc = is_pooled ? 0
             : refused >= REFUSED_MAX
                 ? -1
                 : ecert_net_above_take(net, site, url, cert, &err);
        if (rc < 0) {
            why = refused++ < REFUSED_MAX ? err : why;
            ecert_net_place_failed(net, url, &why);
            ecert_net_issuers_failed(net, site, &why);
        } else if (rc == 0) {
            is_pooled = 1;
            go_on(net, site);
            touch(ctx, (uint32_t)i);
        } else {
            ecert_net_came(&site->issuers);
            site->issuers.due = net->keeper->ms;
        }
    }
    if (is_pooled) {
        ecert_net_place_came(net, url);
    }
}

void ecert_net_issuers_take(ecert_net_t *net, const char *url,
                            const ecert_frames_t *frames,
                            const ecert_err_t *err,
                            void (*touch)(void *ctx, uint32_t site), void *ctx)
{
    ecert_err_t bad;
    X509 *cert;

    if (frames == NULL) {
        fail_all(net, url, err);
        return;
    }
    cert = the_one(frames, url, &bad);
    if (cert == NULL) {
        fail_all(net, url, &bad);
        return;
    }
    offer(net, url, cert, touch, ctx);
    X509_free(cert);
}

json_t *ecert_net_issuers_report(const ecert_net_site_t *site)
{
    json_t *report;
    char line[1700];

    if (site->urls.n == 0) {
        return json_null();
    }
    report = json_object();
    json_object_set_new(report, "urls",
                        ecert_json_texts(site->urls.list, site->urls.n));
    if (site->issuers.error.code != ECERT_OK) {
        ecert_json_set_text(
            report, "error",
            ecert_err_line(&site->issuers.error, NULL, line, sizeof(line)));
    }
    return report;
}
