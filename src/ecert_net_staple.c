#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "ecert_file.h"
#include "ecert_chain.h"
#include "ecert_json.h"
#include "ecert_log.h"
#include "ecert_net_work.h"
#include "ecert_staple.h"
#include "ecert_store_staple.h"

#define HOUR 3600
#define DAY  (24 * HOUR)

/* No client looks at a response for a certificate that has expired. */
int ecert_net_wants_staple(const ecert_net_t *net, const ecert_net_site_t *site,
                           const X509 *leaf)
{
    return site->kept->site->stapling && net->keeper->snap != NULL
           && ecert_x509_not_after(leaf) >= net->keeper->now;
}

void ecert_net_staple_clear(ecert_net_staple_t *staple)
{
    X509_free(staple->leaf);
    X509_free(staple->issuer);
    OPENSSL_free(staple->url);
    OPENSSL_free(staple->der);
    memset(staple, 0, sizeof(*staple));
}

/* ---- the store keeps it over restarts ---------------------------------- */

static void keep(const ecert_net_t *net, const ecert_net_site_t *site,
                 const ecert_net_staple_t *staple)
{
    char path[PATH_MAX], folder[PATH_MAX];
    ecert_err_t err;

    if (ecert_store_staple_path(net->keeper->store, staple->leaf, path) != 0) {
        return;
    }
    snprintf(folder, sizeof(folder), "%.3900s/ocsp", net->keeper->store);
    if (ecert_file_folder(folder, 0755, &err) != 0
        || ecert_file_write(path, staple->der, staple->len, 0644, &err) != 0) {
        ecert_log_err(ECERT_LOG_NOTICE, ecert_net_label(site), &err);
    }
}

/* ---- judging ----------------------------------------------------------- */

/*
 * Half-way to its end.  When that is over, and the responder still gives the
 * same, an eighth of what is left, between a minute and an hour.
 */
static int64_t refresh_ms(const ecert_net_t *net,
                          const ecert_net_staple_t *staple)
{
    const ecert_ocsp_t *facts = &staple->facts;
    int64_t life = facts->next_update - facts->this_update;
    int64_t wait = facts->this_update + life / 2 - net->keeper->now;

    if (wait <= 0) {
        wait = (facts->next_update - net->keeper->now) / 8;
        wait = wait < 60 ? 60 : wait > HOUR ? HOUR : wait;
    }
    if (wait > DAY) {
        wait = DAY; /* a revocation should be known in a day */
    }
    return ecert_net_spread(wait * 1000);
}

static int take_der(const ecert_net_t *net, ecert_net_staple_t *staple,
                    const unsigned char *der, size_t len, ecert_err_t *err)
{
    ecert_ocsp_t facts;
    unsigned char *copy;

    if (ecert_ocsp_check(
            der, len, staple->leaf, staple->issuer, net->keeper->now,
            staple->der ? staple->facts.this_update : 0, &facts, err)
        != 0) {
        return -1;
    }
    copy = OPENSSL_memdup(der, len);
    if (copy == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    OPENSSL_free(staple->der);
    staple->der = copy;
    staple->len = len;
    staple->facts = facts;
    ecert_net_came(&staple->want);
    staple->want.due = net->keeper->ms + refresh_ms(net, staple);
    return 0;
}

/* Loud, for clients will refuse it. */
static void tell_status(const ecert_net_site_t *site,
                        const ecert_net_staple_t *staple)
{
    const ecert_ocsp_t *facts = &staple->facts;
    char when[32];
    ecert_err_t err;

    if (facts->status == ECERT_OCSP_GOOD) {
        return;
    }
    if (facts->status == ECERT_OCSP_REVOKED) {
        ecert_err(&err, ECERT_ERR_REVOKED, site->kept->held.source, "at %s%s%s",
                  ecert_date_format(facts->revoked_at, when),
                  facts->reason ? ": " : "",
                  facts->reason ? facts->reason : "");
    } else {
        ecert_err(&err, ECERT_ERR_OCSP, staple->url,
                  "the responder does not know the certificate");
    }
    ecert_log_err(ECERT_LOG_ERROR, ecert_net_label(site), &err);
}

static ecert_staple_t record_of(const ecert_net_staple_t *staple)
{
    ecert_staple_t record = {.next_update = staple->facts.next_update,
                             .der = staple->der,
                             .len = staple->len};

    if (staple->facts.status != ECERT_OCSP_GOOD) {
        record.len = 0; /* the good one from before is no more true */
    }
    memcpy(record.leaf, staple->digest, sizeof(record.leaf));
    return record;
}

void ecert_net_staple_publish(ecert_net_t *net, ecert_net_site_t *site,
                              const ecert_net_staple_t *staple)
{
    ecert_staple_t records[ECERT_STAPLES];
    size_t n = 0;
    uint32_t slot = ecert_snap_staple_slot(net->keeper->snap, site->kept->slot);
    ecert_snap_t *snap = net->keeper->snap;
    unsigned char *bytes;
    ecert_err_t err;
    size_t len;

    if (staple->der == NULL) {
        return;
    }
    records[n++] = record_of(staple);
    if (staple == &site->coming && site->served.der != NULL) {
        records[n++] = record_of(&site->served); /* it is sent until then */
    }
    if (ecert_staple_encode(records, n, &bytes, &len, &err) != 0) {
        ecert_log_err(ECERT_LOG_WARN, ecert_net_label(site), &err);
        return;
    }
    if (ecert_snap_publish(snap, slot, bytes, len, &err) != 0) {
        ecert_log_err(ECERT_LOG_WARN, ecert_net_label(site), &err);
    }
    ecert_snap_free(bytes, len);
}

/* ---- asking ------------------------------------------------------------ */

/* What is published already: by an agent before, for the same leaf. */
static int read_published(ecert_net_t *net, const ecert_net_site_t *site,
                          ecert_net_staple_t *staple)
{
    ecert_snap_t *snap = net->keeper->snap;
    ecert_staple_t records[ECERT_STAPLES];
    unsigned char *bytes;
    uint64_t generation;
    ecert_err_t ignored;
    size_t len, n = 0;
    int rc = -1;

    if (snap == NULL) {
        return -1;
    }
    if (ecert_snap_read(snap, ecert_snap_staple_slot(snap, site->kept->slot),
                        &bytes, &len, &generation, &ignored)
        != 0) {
        return -1;
    }
    if (ecert_staple_decode(bytes, len, records, &n, &ignored) != 0) {
        n = 0;
    }
    for (size_t i = 0; i < n && rc != 0; i++) {
        if (memcmp(records[i].leaf, staple->digest, 32) == 0) {
            rc =
                take_der(net, staple, records[i].der, records[i].len, &ignored);
        }
    }
    ecert_snap_free(bytes, len);
    return rc;
}

static int read_kept(ecert_net_t *net, ecert_net_staple_t *staple)
{
    char path[PATH_MAX];
    ecert_file_t file;
    ecert_err_t ignored;
    int rc;

    if (ecert_store_staple_path(net->keeper->store, staple->leaf, path) != 0
        || ecert_file_read(path, ECERT_OCSP_MAX, NULL, &file, &ignored) != 0) {
        return -1;
    }
    rc = take_der(net, staple, file.bytes, file.len, &ignored);
    ecert_file_free(&file);
    return rc;
}

void ecert_net_staple_begin(ecert_net_t *net, ecert_net_site_t *site,
                            ecert_net_staple_t *staple, X509 *leaf,
                            X509 *issuer)
{
    ecert_net_staple_clear(staple);
    staple->url = ecert_ocsp_url(leaf);
    if (X509_digest(leaf, EVP_sha256(), staple->digest, NULL) != 1
        || !X509_up_ref(leaf)) {
        return;
    }
    staple->leaf = leaf;
    if (issuer != NULL && X509_up_ref(issuer)) {
        staple->issuer = issuer;
    }
    if (staple->url == NULL || staple->issuer == NULL) {
        return; /* silent: not every CA has a responder */
    }
    staple->since = net->keeper->ms;
    if (read_kept(net, staple) == 0 || read_published(net, site, staple) == 0) {
        tell_status(site, staple);
        if (staple == &site->served) {
            ecert_net_staple_publish(net, site, staple);
        }
        return;
    }
    if (!ecert_net_failures_take(net, staple)) {
        staple->want.due = net->keeper->ms;
    }
}

void ecert_net_staple_hasten(const ecert_net_t *net, ecert_net_staple_t *staple)
{
    int64_t due = net->keeper->ms;

    if (staple->want.due == 0) {
        return; /* nothing is wanted */
    }
    if (staple->der != NULL) {
        due += refresh_ms(net, staple);
    }
    if (due < staple->want.due) {
        staple->want.due = due;
    }
}

int ecert_net_staple_ask(ecert_net_t *net, ecert_net_staple_t *staple,
                         ecert_net_errand_t *errand, ecert_err_t *err)
{
    ecert_errand_ask_t ask = {.kind = ECERT_ERRAND_OCSP, .url = staple->url};
    unsigned char *der = NULL;
    int rc;

    if (ecert_ocsp_request(staple->leaf, staple->issuer, &der, &ask.post_len,
                           err)
        != 0) {
        return -1;
    }
    ask.post = der;
    ask.get = staple->want.failures == 0; /* a cache may be what is wrong */
    rc = ecert_errand_begin(net->fetcher, &ask, net->keeper->ms,
                            &errand->errand, err);
    OPENSSL_free(der);
    if (rc == 0) {
        errand->kind = ECERT_ERRAND_OCSP;
        memcpy(errand->digest, staple->digest, sizeof(errand->digest));
        snprintf(errand->url, sizeof(errand->url), "%.2047s", staple->url);
    }
    return rc;
}

static ecert_net_staple_t *staple_of(ecert_net_site_t *site,
                                     const unsigned char *digest)
{
    ecert_net_staple_t *both[] = {&site->served, &site->coming};

    for (size_t i = 0; i < 2; i++) {
        if (both[i]->leaf != NULL && memcmp(both[i]->digest, digest, 32) == 0) {
            return both[i];
        }
    }
    return NULL;
}

void ecert_net_staple_take(ecert_net_t *net, ecert_net_site_t *site,
                           const unsigned char *digest,
                           const ecert_frames_t *frames, const ecert_err_t *err)
{
    ecert_net_staple_t *staple = staple_of(site, digest);
    ecert_ocsp_status_t before;
    ecert_err_t bad;

    if (staple == NULL) {
        return; /* another certificate took its place meanwhile */
    }
    before = staple->der ? staple->facts.status : ECERT_OCSP_GOOD;
    if (frames == NULL) {
        ecert_net_failed(net, site, &staple->want, err);
        return;
    }
    if (frames->n != 1
        || take_der(net, staple, frames->frames[0].bytes, frames->frames[0].len,
                    &bad)
               != 0) {
        if (frames->n != 1) {
            ecert_err(&bad, ECERT_ERR_OCSP, staple->url, "there is no answer");
        }
        ecert_net_failed(net, site, &staple->want, &bad);
        return;
    }
    keep(net, site, staple);
    if (staple->facts.status != before) {
        tell_status(site, staple);
    }
    if (staple == &site->served) {
        ecert_net_staple_publish(net, site, staple);
    }
}

/* ---- who demands one --------------------------------------------------- */

int ecert_net_staple_usable(const ecert_net_t *net,
                            const ecert_net_staple_t *staple)
{
    return staple->der != NULL && staple->facts.status == ECERT_OCSP_GOOD
           && staple->facts.next_update > net->keeper->now;
}

/* A virtual host of the site sends none. */
static int is_unstapled(const ecert_site_t *site)
{
    int unstapled = !site->stapling;

    for (size_t i = 0; i < site->n_listens; i++) {
        unstapled |= !site->listens[i].stapling;
    }
    return unstapled;
}

/* Why there will be none, or NULL. */
static const char *obstacle(const ecert_net_t *net,
                            const ecert_net_staple_t *staple)
{
    if (staple->der != NULL && staple->facts.status == ECERT_OCSP_REVOKED) {
        return "the responder says that it is revoked";
    }
    if (staple->der != NULL && staple->facts.status == ECERT_OCSP_UNKNOWN) {
        return "the responder does not know it";
    }
    if (staple->url == NULL) {
        return ECERT_STAPLE_NO_RESPONDER;
    }
    if (staple->issuer == NULL) {
        return "its issuer is missing, without which nobody can be asked";
    }
    if (!net->conf->fetch) {
        return "ecert_fetch is off";
    }
    return net->fetcher < 0 && net->keeper->snap != NULL
               ? "there is no fetcher: reload the server"
               : NULL;
}

/* On its way, for which nobody waits long; a test asks nobody. */
static int is_coming(const ecert_net_t *net, const ecert_net_staple_t *staple)
{
    return net->keeper->snap == NULL
           || (staple->want.failures == 0
               && net->keeper->ms - staple->since < ECERT_NET_PATIENCE_MS);
}

static ecert_net_staple_t *staple_for(ecert_net_t *net, ecert_net_site_t *site,
                                      const ecert_chain_t *chain)
{
    X509 *leaf = chain->considered[0].cert;

    if (ecert_net_is_of(&site->served, leaf)) {
        return &site->served;
    }
    if (!ecert_net_is_of(&site->coming, leaf)) {
        ecert_net_staple_begin(net, site, &site->coming, leaf,
                               ecert_net_issuer_of(chain));
    }
    site->is_waiting = 1;
    return &site->coming;
}

ecert_staple_state_t ecert_net_demand(void *ctx, const ecert_kept_t *kept,
                                      const ecert_loaded_t *next,
                                      int64_t *until, ecert_err_t *err)
{
    ecert_net_t *net = ctx;
    ecert_net_site_t *site = &net->sites[kept->slot];
    const ecert_net_staple_t *staple;
    const char *why;

    site->kept = kept;
    if (is_unstapled(kept->site)) {
        ecert_err(err, ECERT_ERR_STAPLE, next->source,
                  "a virtual host of the site does not staple: ecert_stapling "
                  "is off");
        return ECERT_STAPLE_LACKING;
    }
    staple = staple_for(net, site, next->chain);
    if (ecert_net_staple_usable(net, staple)) {
        *until = staple->facts.next_update;
        return ECERT_STAPLE_HERE;
    }
    why = obstacle(net, staple);
    if (why == NULL && is_coming(net, staple)) {
        return ECERT_STAPLE_COMING;
    }
    if (why == NULL) {
        why = staple->want.error.detail[0] != '\0'
                  ? staple->want.error.detail
                  : "its responder has not answered yet";
    }
    ecert_err(err, ECERT_ERR_STAPLE, next->source, "%s", why);
    return ECERT_STAPLE_LACKING;
}

json_t *ecert_net_staple_report(const ecert_net_t *net,
                                const ecert_net_site_t *site)
{
    static const char *const words[] = {"good", "revoked", "unknown"};
    const ecert_net_staple_t *staple = &site->served;
    json_t *report;
    char line[1700];

    if (staple->url == NULL) {
        return json_null();
    }
    report = json_object();
    ecert_json_set_text(report, "responder", staple->url);
    ecert_json_set_text(report, "state",
                        staple->der == NULL ? "none"
                        : staple->facts.next_update <= net->keeper->now
                            ? "expired"
                            : words[staple->facts.status]);
    if (staple->der != NULL) {
        ecert_json_set_date(report, "this_update", staple->facts.this_update);
        ecert_json_set_date(report, "next_update", staple->facts.next_update);
        ecert_json_set_date(report, "revoked_at", staple->facts.revoked_at);
    }
    if (staple->want.error.code != ECERT_OK) {
        ecert_json_set_text(
            report, "error",
            ecert_err_line(&staple->want.error, NULL, line, sizeof(line)));
    }
    return report;
}
