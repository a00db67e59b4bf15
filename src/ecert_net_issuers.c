#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>

#include "ecert_json.h"
#include "ecert_load.h"
#include "ecert_lock.h"
#include "ecert_log.h"
#include "ecert_net_work.h"
#include "ecert_pool.h"

/* FNV-1a. */
static uint32_t hash(const char *text)
{
    uint32_t sum = 2166136261U;

    for (; *text; text++) {
        sum = (sum ^ (unsigned char)*text) * 16777619U;
    }
    return sum;
}

/* Whether the same addresses are to be tried as before. */
static int same_urls(const ecert_net_site_t *site, char **urls, size_t n)
{
    if (n != site->n_urls) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(urls[i], site->urls[i]) != 0) {
            return 0;
        }
    }
    return 1;
}

void ecert_net_issuers_look(ecert_net_t *net, ecert_net_site_t *site)
{
    const ecert_kept_t *kept = site->kept;
    ecert_err_t ignored;
    char **urls;
    size_t n;

    if (net->fetcher < 0 || net->keeper->store == NULL
        || ecert_load_urls(net->keeper->loader, kept->site, &kept->held,
                           net->keeper->now, &urls, &n, &ignored)
               != 0) {
        return;
    }
    if (same_urls(site, urls, n)) {
        ecert_names_free(urls, n);
        return;
    }
    ecert_names_free(site->urls, site->n_urls);
    site->urls = urls;
    site->n_urls = n;
    site->next_url = 0;
    memset(site->told, 0, sizeof(site->told));
    ecert_net_came(&site->issuers);
    site->issuers.due = n > 0 ? net->keeper->ms : 0;
}

int ecert_net_issuers_ask(ecert_net_t *net, ecert_net_site_t *site,
                          ecert_net_errand_t *errand, ecert_err_t *err)
{
    ecert_errand_ask_t ask = {.kind = ECERT_ERRAND_CERTIFICATES,
                              .url = site->urls[site->next_url]};

    site->next_url = (site->next_url + 1) % site->n_urls;
    if (ecert_errand_begin(net->fetcher, &ask, net->keeper->ms, &errand->errand,
                           err)
        != 0) {
        return -1;
    }
    errand->kind = ECERT_ERRAND_CERTIFICATES;
    snprintf(errand->url, sizeof(errand->url), "%.2047s", ask.url);
    return 0;
}

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

/* The store's lock is not waited for: commands may hold it for a while. */
static int put(const ecert_net_t *net, X509 *cert, ecert_err_t *err)
{
    ecert_ca_t *ca;
    int rc, lock = ecert_lock_try(net->keeper->store, err);

    if (lock < 0) {
        return -1;
    }
    ca = ecert_ca_builtin(err);
    rc =
        ca ? ecert_pool_add(net->keeper->store, ca, cert, net->keeper->now, err)
           : -1;
    ecert_ca_free(ca);
    close(lock);
    return rc < 0 ? -1 : 0;
}

/* From where it came matters more than what it calls itself. */
static void refuse(const char *url, ecert_err_t *err)
{
    ecert_err_t why = *err;

    ecert_err(err, why.code, url, "%s: %s", why.file, why.detail);
}

/* Verified to a root that is known, through the chain that it is for. */
static int take_one(const ecert_net_t *net, const ecert_net_site_t *site,
                    const char *url, const ecert_frame_t *frame,
                    ecert_err_t *err)
{
    X509 *cert = decode(frame);
    char name[128], hex[65];
    int rc;

    if (cert == NULL) {
        return ecert_err(err, ECERT_ERR_DAMAGED, url, NULL);
    }
    rc = ecert_load_wants(net->keeper->loader, site->kept->site,
                          &site->kept->held, cert, net->keeper->now, err);
    if (rc != 0) {
        refuse(url, err);
    }
    if (rc == 0) {
        rc = put(net, cert, err);
    }
    if (rc == 0) {
        ecert_log(
            ECERT_LOG_NOTICE, "site %s: downloaded %s, SHA-256 %.16s, from %s",
            ecert_net_label(site), ecert_x509_label(cert, name, sizeof(name)),
            ecert_x509_fingerprint(cert, hex), url);
    }
    X509_free(cert);
    return rc;
}

/* Each URL's failure is told once, until it is another one. */
static void tell(ecert_net_site_t *site, const char *url,
                 const ecert_err_t *err)
{
    char line[1700];
    uint32_t sum;

    ecert_err_line(err, NULL, line, sizeof(line));
    sum = hash(line);
    for (size_t i = 0; i < site->n_urls && i < ECERT_NET_URLS; i++) {
        if (strcmp(site->urls[i], url) == 0 && site->told[i] != sum) {
            site->told[i] = sum;
            ecert_log_err(ECERT_LOG_WARN, ecert_net_label(site), err);
        }
    }
}

void ecert_net_issuers_failed(ecert_net_t *net, ecert_net_site_t *site,
                              const char *url, const ecert_err_t *err)
{
    ecert_err_t told = *err;

    if (err->code != ECERT_ERR_FETCH) {
        ecert_err_hint(&told, "nothing of it is used; it is tried again by "
                              "itself");
    }
    tell(site, url, &told);
    ecert_net_note(net, &site->issuers, &told);
    if (site->next_url != 0) { /* there is another place to look */
        site->issuers.failures--;
        site->issuers.due = net->keeper->ms;
    }
}

int ecert_net_issuers_take(ecert_net_t *net, ecert_net_site_t *site,
                           const char *url, const ecert_frames_t *frames,
                           const ecert_err_t *err)
{
    ecert_err_t bad;
    int rc = 0;

    if (frames != NULL && frames->n != 1) {
        rc = ecert_err(&bad, ECERT_ERR_TOO_MANY, url,
                       "%zu certificates where one is expected", frames->n);
    } else if (frames != NULL) {
        rc = take_one(net, site, url, &frames->frames[0], &bad);
    }
    if (frames != NULL && rc == 0) {
        /* the chain is built anew; if it lacks the same then, go on slowly */
        ecert_net_came(&site->issuers);
        site->issuers.due = net->keeper->ms + ecert_net_backoff(1);
        return 1;
    }
    ecert_net_issuers_failed(net, site, url, frames ? &bad : err);
    return 0;
}

json_t *ecert_net_issuers_report(const ecert_net_site_t *site)
{
    json_t *report;
    char line[1700];

    if (site->n_urls == 0) {
        return json_null();
    }
    report = json_object();
    json_object_set_new(report, "urls",
                        ecert_json_texts(site->urls, site->n_urls));
    if (site->issuers.error.code != ECERT_OK) {
        ecert_json_set_text(
            report, "error",
            ecert_err_line(&site->issuers.error, NULL, line, sizeof(line)));
    }
    return report;
}
