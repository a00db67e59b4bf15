#include "ecert_kept_work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "ecert_log.h"
#include "ecert_placeholder.h"

void ecert_kept_init(ecert_kept_t *kept, const ecert_site_t *site,
                     uint32_t slot)
{
    memset(kept, 0, sizeof(*kept));
    kept->site = site;
    kept->slot = slot;
    kept->held.store_generation = -1;
    ecert_trail_init(&kept->trail);
}

void ecert_kept_free(ecert_kept_t *kept)
{
    ecert_loaded_free(&kept->held);
    ecert_trail_free(&kept->trail);
}

static const char *label(const ecert_kept_t *kept)
{
    return ecert_site_label(kept->site);
}

/* ---- saying ------------------------------------------------------------ */

static int says(const ecert_loaded_t *loaded, const char *line)
{
    size_t i;

    for (i = 0; i < loaded->n_warnings; i++) {
        if (strcmp(loaded->warnings[i], line) == 0) {
            return 1;
        }
    }
    return 0;
}

static int lacks(const ecert_loaded_t *loaded, const char *name)
{
    size_t i;

    for (i = 0; i < loaded->n_uncovered; i++) {
        if (strcmp(loaded->uncovered[i], name) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Warnings that the last load did not have. */
static void tell_warnings(const ecert_kept_t *kept, const ecert_loaded_t *next)
{
    size_t i;

    if (next->state == ECERT_STATE_EXPIRED
        && kept->held.state != ECERT_STATE_EXPIRED) {
        ecert_log(ECERT_LOG_ERROR,
                  "site %s: expired: %s: the certificate has expired, and "
                  "there is no better one; request and install a new one",
                  label(kept), next->source);
    }
    for (i = 0; i < next->n_warnings; i++) {
        if (!says(&kept->held, next->warnings[i])) {
            ecert_log(ECERT_LOG_WARN, "site %s: %s", label(kept),
                      next->warnings[i]);
        }
    }
    for (i = 0; i < next->n_uncovered; i++) {
        if (!lacks(&kept->held, next->uncovered[i])) {
            ecert_log(ECERT_LOG_WARN,
                      "site %s: names: %s: the virtual host's name %s is not "
                      "covered by the certificate; take the name away or "
                      "request a certificate with it",
                      label(kept), next->source, next->uncovered[i]);
        }
    }
}

/* What every site goes through before its certificate is there. */
static int is_awaited(ecert_code_t code)
{
    return code == ECERT_ERR_NO_SITE || code == ECERT_ERR_NO_CERTIFICATE
           || code == ECERT_ERR_NOT_YET;
}

static int is_same(const ecert_err_t *a, const ecert_err_t *b)
{
    char one[1700], other[1700];

    ecert_err_line(a, NULL, one, sizeof(one));
    ecert_err_line(b, NULL, other, sizeof(other));
    return strcmp(one, other) == 0;
}

/* An error is told once, not each time that it is met again. */
static void tell_error(ecert_keeper_t *keeper, ecert_kept_t *kept,
                       const ecert_err_t *err)
{
    if (!is_same(&kept->error, err)) {
        ecert_log_err(is_awaited(err->code) ? ECERT_LOG_WARN : ECERT_LOG_ERROR,
                      label(kept), err);
        kept->error_at = keeper->now;
    }
    kept->error = *err;
}

/* The files are in order: they do not change when there is memory again. */
static void tell_unpublished(ecert_keeper_t *keeper, ecert_kept_t *kept,
                             const ecert_err_t *err)
{
    if (!is_same(&kept->unpublished, err)) {
        ecert_log_err(ECERT_LOG_ERROR, label(kept), err);
    }
    kept->unpublished = *err;
    if (err->code != ECERT_ERR_TOO_LARGE) {
        kept->retry_at = keeper->ms + ECERT_STARVED_MS;
    }
}

static void tell_published(const ecert_kept_t *kept)
{
    const ecert_chain_t *chain = kept->held.chain;
    char name[128], fingerprint[65], until[32], elements[512] = "no chain";
    size_t used = 0;
    int i;

    for (i = 0; i < sk_X509_num(chain->served) && used < sizeof(elements);
         i++) {
        used +=
            (size_t)snprintf(elements + used, sizeof(elements) - used, "%s%s",
                             i ? ", " : "chain ",
                             ecert_x509_label(sk_X509_value(chain->served, i),
                                              name, sizeof(name)));
    }
    ecert_log(ECERT_LOG_NOTICE,
              "site %s: live: %s, %s, SHA-256 %.16s, until %s", label(kept),
              kept->held.source, elements,
              ecert_x509_fingerprint(chain->considered[0].cert, fingerprint),
              ecert_date_format(chain->not_after, until));
}

/* ---- publishing -------------------------------------------------------- */

static int publish_record(ecert_keeper_t *keeper, ecert_kept_t *kept,
                          const ecert_cred_t *cred, ecert_err_t *err)
{
    unsigned char *bytes, digest[32];
    size_t len;
    int rc = 0;

    if (ecert_cred_encode(cred, &bytes, &len, err) != 0) {
        return -1;
    }
    if (EVP_Digest(bytes, len, digest, NULL, EVP_sha256(), NULL) != 1) {
        rc = ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL, "SHA-256");
    } else if (kept->published
               && memcmp(digest, kept->digest, sizeof(digest)) == 0) {
        rc = 1; /* nothing new: no new generation for the workers */
    } else if (keeper->snap != NULL) {
        rc = ecert_snap_publish(keeper->snap, kept->slot, bytes, len, err);
    }
    ecert_snap_free(bytes, len);
    if (rc == 0) {
        memcpy(kept->digest, digest, sizeof(digest));
        kept->published = 1;
    }
    return rc;
}

/* Publishes what was loaded and takes it over; the key goes. */
static int hold(ecert_keeper_t *keeper, ecert_kept_t *kept,
                ecert_loaded_t *next, ecert_err_t *err)
{
    int rc = publish_record(keeper, kept, next->cred, err);

    if (rc < 0) {
        return -1;
    }
    ecert_cred_free(next->cred);
    next->cred = NULL;
    tell_warnings(kept, next);
    ecert_err_clear(&kept->unpublished);
    ecert_loaded_free(&kept->held);
    kept->held = *next;
    memset(next, 0, sizeof(*next));
    return rc;
}

/* The credential in a slot, unless it is none or a placeholder. */
static ecert_cred_t *read_record(const ecert_snap_t *snap, uint32_t slot)
{
    ecert_cred_t *cred = NULL;
    unsigned char *bytes;
    uint64_t generation;
    ecert_err_t err;
    size_t len;

    if (ecert_snap_generation(snap, slot) == 0
        || ecert_snap_read(snap, slot, &bytes, &len, &generation, &err) != 0) {
        return NULL;
    }
    cred = ecert_cred_decode(bytes, len, &err);
    ecert_snap_free(bytes, len);
    if (cred != NULL && cred->placeholder) {
        ecert_cred_free(cred);
        return NULL;
    }
    return cred;
}

/*
 * What is in the slot already, with its chain as it has to be now.
 * held: what it was loaded as, or NULL.
 */
static int adopt_served(ecert_keeper_t *keeper, ecert_kept_t *kept,
                        const ecert_loaded_t *held, ecert_loaded_t *again,
                        ecert_err_t *err)
{
    ecert_cred_t *cred = NULL;
    int rc = -1;

    if (keeper->snap != NULL) {
        cred = read_record(keeper->snap, kept->slot);
    }
    if (cred != NULL) {
        rc = ecert_load_adopt(keeper->loader, kept->site, cred, held,
                              keeper->now, again, err);
    }
    ecert_cred_free(cred);
    return rc;
}

/*
 * What is served already: published by the process that this one follows, or
 * copied from the configuration before (ecert_launch).
 */
static void take_over(ecert_keeper_t *keeper, ecert_kept_t *kept)
{
    ecert_loaded_t old;
    ecert_err_t err;

    if (adopt_served(keeper, kept, NULL, &old, &err) != 0) {
        return;
    }
    snprintf(old.source, sizeof(old.source), "(as served before)");
    if (hold(keeper, kept, &old, &err) < 0) {
        ecert_loaded_free(&old);
    }
}

/* The store's own file, else one for this run. */
static ecert_cred_t *read_placeholder(ecert_keeper_t *keeper,
                                      const ecert_kept_t *kept,
                                      ecert_err_t *err)
{
    char path[4096];

    if (keeper->store == NULL || keeper->snap == NULL
        || ecert_placeholder_file(keeper->store, kept->site, path, sizeof(path),
                                  err)
               != 0) {
        return ecert_placeholder_new(kept->site, err);
    }
    return ecert_placeholder_read(path, kept->site, err);
}

static void hold_placeholder(ecert_keeper_t *keeper, ecert_kept_t *kept)
{
    ecert_loaded_t loaded;
    ecert_err_t err;
    ecert_cred_t *cred = read_placeholder(keeper, kept, &err);

    if (cred == NULL || ecert_load_placeholder(cred, &loaded, &err) != 0) {
        tell_unpublished(keeper, kept, &err);
        return;
    }
    if (hold(keeper, kept, &loaded, &err) < 0) {
        tell_unpublished(keeper, kept, &err);
        ecert_loaded_free(&loaded);
    }
}

/* ---- looking ----------------------------------------------------------- */

/* A torn pair is "not yet" for a while; then it is an error. */
static int wait_for_rest(const ecert_keeper_t *keeper, ecert_kept_t *kept)
{
    if (kept->torn_at == 0) {
        kept->torn_at = keeper->ms;
    }
    if (keeper->ms - kept->torn_at >= ECERT_PATIENCE_MS) {
        return 0;
    }
    kept->retry_at = keeper->ms + ECERT_SETTLE_MS;
    return 1;
}

/* in_order: there is nothing better that is broken. */
static void bring_live(ecert_keeper_t *keeper, ecert_kept_t *kept,
                       ecert_loaded_t *next, int in_order)
{
    int had_error = in_order && kept->error.code != ECERT_OK;
    int revives = in_order && next->state == ECERT_STATE_VALID
                  && kept->held.state == ECERT_STATE_EXPIRED; /* the clock */
    ecert_err_t err;
    int rc = hold(keeper, kept, next, &err);

    if (rc < 0) {
        tell_unpublished(keeper, kept, &err);
        if (in_order) {
            kept->error_at = had_error ? kept->error_at : keeper->now;
            kept->error = err;
        }
        return;
    }
    if (in_order) {
        ecert_err_clear(&kept->error);
    }
    if (rc == 0) {
        tell_published(kept);
    } else if (had_error || revives) {
        ecert_log(ECERT_LOG_NOTICE, "site %s: in order again", label(kept));
    }
}

/*
 * A CA certificate or a catalogue that is being written, or that the system
 * refuses for a moment, must not cost the chain: what is served stays until the
 * file is whole, or its time is over.
 */
static int around_is_torn(const ecert_keeper_t *keeper, ecert_kept_t *kept,
                          const ecert_loaded_t *next)
{
    size_t i, news = 0;

    if (!(next->torn || next->refused) || !kept->published
        || kept->held.state == ECERT_STATE_PLACEHOLDER) {
        return 0;
    }
    for (i = 0; i < next->n_warnings; i++) {
        news += !says(&kept->held, next->warnings[i]);
    }
    return news > 0 && wait_for_rest(keeper, kept);
}

/*
 * An older generation stands in only where nothing as good is served; where
 * it is the one that is served, its chain goes on following the dates.
 */
static int stands_in(const ecert_keeper_t *keeper, const ecert_kept_t *kept,
                     const ecert_loaded_t *next, int torn)
{
    const ecert_chain_t *held = kept->held.chain;

    if (!kept->published) {
        return 1;
    }
    if (kept->held.state == ECERT_STATE_PLACEHOLDER) {
        return !torn;
    }
    return (held->not_after < keeper->now && next->state == ECERT_STATE_VALID)
           || ecert_kept_is_leaf_of(&kept->held, next);
}

int ecert_kept_is_inherited(const ecert_keeper_t *keeper,
                            const ecert_kept_t *kept)
{
    return !kept->published && keeper->snap != NULL
           && ecert_snap_generation(keeper->snap, kept->slot) > 0;
}

/* Whether clients get another leaf until this one is published. */
static int replaces(const ecert_keeper_t *keeper, const ecert_kept_t *kept,
                    const ecert_loaded_t *next)
{
    ecert_cred_t *cred = NULL;
    int rc;

    if (kept->published) {
        return !ecert_kept_is_leaf_of(&kept->held, next);
    }
    if (ecert_kept_is_inherited(keeper, kept)) {
        cred = read_record(keeper->snap, kept->slot);
    }
    rc = cred != NULL
         && X509_cmp(cred->leaf, next->chain->considered[0].cert) != 0;
    ecert_cred_free(cred);
    return rc;
}

/*
 * Another leaf is to come, and something that belongs to it is on its way.
 * Until then the one before goes on, also when it is another process's.
 */
static int is_held_off(ecert_keeper_t *keeper, ecert_kept_t *kept,
                       const ecert_loaded_t *next)
{
    if (keeper->hold_off == NULL || !replaces(keeper, kept, next)) {
        return 0;
    }
    if (!kept->published) {
        take_over(keeper, kept);
    }
    if (!kept->published || !keeper->hold_off(keeper->ctx, kept, next)) {
        return 0;
    }
    kept->retry_at = keeper->ms + ECERT_SETTLE_MS;
    return 1;
}

/*
 * No descriptors, no memory: nothing changes in the files when there are some
 * again, so that nobody tells.
 */
static void try_again(const ecert_keeper_t *keeper, ecert_kept_t *kept,
                      int starved)
{
    if (starved && kept->retry_at == 0) {
        kept->retry_at = keeper->ms + ECERT_STARVED_MS;
    }
}

/* rc, next and err as ecert_load gave them. */
static void judge(ecert_keeper_t *keeper, ecert_kept_t *kept, int rc,
                  ecert_loaded_t *next, ecert_err_t *err)
{
    ecert_staple_state_t staple =
        rc == 0 ? ecert_kept_ask_for_staple(keeper, kept, next, err)
                : ECERT_STAPLE_HERE;
    int perfect = rc == 0 && staple == ECERT_STAPLE_HERE
                  && next->state == ECERT_STATE_VALID && next->n_uncovered == 0
                  && next->chain->complete;
    int torn = (rc != 0 && next->waiting && wait_for_rest(keeper, kept))
               || staple == ECERT_STAPLE_COMING;
    int ousts = 0;

    try_again(keeper, kept,
              next->starved || (rc != 0 && !torn && ecert_err_starved(err)));
    if (!kept->published && !perfect) {
        take_over(keeper, kept);
    }
    if (staple != ECERT_STAPLE_HERE) {
        ousts = ecert_kept_replace_unstapled(keeper, kept, next);
        rc = 1;
    }
    if (rc == 0 && around_is_torn(keeper, kept, next)) {
        return;
    }
    if (rc >= 0 && kept->published) {
        ecert_err_t worse;

        if (ecert_load_better(&kept->held, next, keeper->now, &worse) != 0) {
            if (!torn) {
                tell_error(keeper, kept, rc == 0 ? &worse : err);
            }
            return;
        }
    }
    if (rc != 0 && !torn) {
        tell_error(keeper, kept, err);
    }
    if (rc == 0 && is_held_off(keeper, kept, next)) {
        return;
    }
    if (rc == 0) {
        kept->torn_at = 0;
    }
    if (rc == 0 || ousts || (rc > 0 && stands_in(keeper, kept, next, torn))) {
        bring_live(keeper, kept, next, rc == 0);
    }
    if (!kept->published) {
        hold_placeholder(keeper, kept);
    }
}

/*
 * What is served may not be what the files hold, because they are broken or
 * not yet valid.  Its chain follows the dates all the same: a cross-certificate
 * goes at its moment, and the end of the leaf is told.
 */
static void follow_dates(ecert_keeper_t *keeper, ecert_kept_t *kept)
{
    ecert_loaded_t again;
    ecert_err_t err;

    if (kept->held.state == ECERT_STATE_PLACEHOLDER) {
        return;
    }
    if (kept->held.next_change != 0 && kept->held.next_change <= keeper->now
        && adopt_served(keeper, kept, &kept->held, &again, &err) == 0) {
        snprintf(again.source, sizeof(again.source), "%s", kept->held.source);
        again.store_generation = kept->held.store_generation;
        again.fallback = kept->held.fallback;
        bring_live(keeper, kept, &again, 0);
        ecert_loaded_free(&again);
    }
    ecert_date_sooner(&kept->next_change, kept->held.next_change, keeper->now);
}

void ecert_kept_load(ecert_keeper_t *keeper, ecert_kept_t *kept)
{
    ecert_loaded_t next;
    ecert_err_t err;
    int rc;

    kept->retry_at = 0;
    kept->busy_until = keeper->ms + ECERT_SETTLE_MS / 10;
    rc = ecert_load(keeper->loader, kept->site, keeper->now, &next, &err);
    kept->look = next.look;
    kept->next_change = next.next_change;
    ecert_trail_free(&kept->trail);
    kept->trail = next.trail;
    ecert_trail_init(&next.trail);
    judge(keeper, kept, rc, &next, &err);
    ecert_loaded_free(&next);
    follow_dates(keeper, kept);
}

int ecert_kept_look(ecert_keeper_t *keeper, ecert_kept_t *kept)
{
    if (keeper->ms < kept->busy_until) {
        kept->retry_at = kept->busy_until;
        kept->torn_at = 0; /* as below */
        return 0;
    }
    if (ecert_load_unchanged(keeper->loader, kept->site, kept->look)) {
        return 0;
    }
    kept->torn_at = 0; /* something moved: a new patience */
    ecert_kept_load(keeper, kept);
    return 1;
}

int ecert_kept_is_doubtful(const ecert_keeper_t *keeper,
                           const ecert_kept_t *kept)
{
    const ecert_loaded_t *held = &kept->held;

    return kept->error.code != ECERT_OK || kept->unpublished.code != ECERT_OK
           || held->state != ECERT_STATE_VALID || held->fallback
           || held->n_warnings > 0 || !held->chain->complete
           || (held->next_change != 0 && held->next_change <= keeper->now);
}

int ecert_kept_due(const ecert_keeper_t *keeper, const ecert_kept_t *kept)
{
    return (kept->retry_at != 0 && keeper->ms >= kept->retry_at)
           || (kept->next_change != 0 && keeper->now >= kept->next_change);
}
