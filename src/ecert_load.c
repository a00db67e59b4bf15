#include "ecert_load.h"

#include <stdio.h>
#include <string.h>

#include "ecert_leaf.h"
#include "ecert_load_work.h"
#include "ecert_loaded.h"
#include "ecert_x509.h"

/* ---- which files ------------------------------------------------------- */

int ecert_load_open(ecert_load_t *load, ecert_err_t *err)
{
    const char *store = load->loader->store;

    if (store != NULL
        && snprintf(load->issuers, sizeof(load->issuers), "%s/issuers", store)
               >= (int)sizeof(load->issuers)) {
        return ecert_err(err, ECERT_ERR_CONF, store, "the path is too long");
    }
    if (load->site->name == NULL) {
        return 0;
    }
    if (ecert_name_ascii(load->site->name, load->ascii, err) != 0) {
        if (load->site->where != NULL) {
            char what[sizeof(err->hint)];

            memcpy(what, err->hint, sizeof(what));
            ecert_err_hint(err, "%.160s in %s",
                           what[0] ? what : "correct the name",
                           load->site->where);
        }
        return -1;
    }
    if (store == NULL) {
        return ecert_err(err, ECERT_ERR_NO_SITE, load->ascii,
                         "there is no store");
    }
    if (ecert_store_site(store, load->ascii, &load->out->trail, load->dir, err)
        != 0) {
        return -1;
    }
    return ecert_store_json(load->dir, load->ascii, &load->out->trail,
                            &load->json, err);
}

void ecert_load_close(ecert_load_t *load)
{
    ecert_site_json_free(&load->json);
    ecert_ca_free(load->own_ca);
}

static void generation_paths(const ecert_load_t *load, const char *generation,
                             ecert_load_paths_t *paths)
{
    snprintf(paths->certificate, sizeof(paths->certificate),
             "%.4000s/%s/certificate.pem", load->dir, generation);
    snprintf(paths->key, sizeof(paths->key), "%.4000s/%s/key.pem", load->dir,
             generation);
    snprintf(paths->chain, sizeof(paths->chain), "%.4000s/%s/chain.pem",
             load->dir, generation);
}

ecert_bundle_files_t ecert_load_files(const ecert_load_t *load,
                                      const char *generation,
                                      ecert_load_paths_t *paths)
{
    ecert_bundle_files_t files = {
        .certificate = load->site->certificate,
        .key = load->site->key,
        .store_issuers = load->issuers[0] ? load->issuers : NULL,
        .issuers = load->site->issuers,
        .n_issuers = load->site->n_issuers,
        .n_server_issuers = load->site->n_server_issuers,
    };

    if (load->site->name != NULL) {
        generation_paths(load, generation, paths);
        files.certificate = paths->certificate;
        files.key = paths->key;
        files.chain = paths->chain;
    }
    return files;
}

/* ---- is it a certificate for this site? -------------------------------- */

static int check_names(const ecert_load_t *load, X509 *leaf, const char *file,
                       ecert_err_t *err)
{
    size_t i;

    for (i = 0; i < load->json.n_names; i++) {
        if (!ecert_name_covered(leaf, load->json.names[i])) {
            return ecert_err(err, ECERT_ERR_NAMES, file, "%s is not in it%s",
                             load->json.names[i],
                             ecert_name_uncovered(leaf, load->json.names[i]));
        }
    }
    return 0;
}

/*
 * A machine that has just started may not know the time yet.  Then a good
 * certificate must not give way to a placeholder.
 */
static int clock_is_wrong(ecert_load_t *load, const char *file)
{
    ecert_err_t err;
    char when[32];

    if (load->now >= ecert_ca_updated(load->loader->ca)) {
        return 0;
    }
    ecert_err(&err, ECERT_ERR_NOT_YET, file,
              "by this machine's clock, which is wrong: it shows %s",
              ecert_date_format(load->now, when));
    ecert_err_hint(&err, "set the clock; until then the certificate is served");
    ecert_loaded_complain(load->out, &err);
    return 1;
}

static int check_time(ecert_load_t *load, const char *file, ecert_err_t *err)
{
    char when[32];
    ecert_chain_t *chain = load->out->chain;

    if (chain->not_before > load->now && !clock_is_wrong(load, file)) {
        ecert_date_sooner(&load->out->next_change, chain->not_before,
                          load->now);
        return ecert_err(err, ECERT_ERR_NOT_YET, file, "valid from %s",
                         ecert_date_format(chain->not_before, when));
    }
    load->out->state =
        chain->not_after < load->now ? ECERT_STATE_EXPIRED : ECERT_STATE_VALID;
    return 0;
}

/* ---- the chain --------------------------------------------------------- */

static const char *catalogue_path(const ecert_load_t *load)
{
    return load->site->catalogue ? load->site->catalogue : load->json.catalogue;
}

/* A broken catalogue costs what it knows, not the certificate. */
void ecert_load_catalogue(ecert_load_t *load)
{
    const char *path = catalogue_path(load);
    ecert_err_t err;

    if (path == NULL) {
        return;
    }
    load->own_ca = ecert_catalogue_read(path, &load->out->trail, &err);
    if (load->own_ca == NULL) {
        ecert_loaded_complain(load->out, &err);
    }
}

int ecert_load_chain(ecert_load_t *load, X509 *leaf, const STACK_OF(X509) *pool,
                     ecert_err_t *err)
{
    ecert_chain_in_t in = {
        .leaf = leaf,
        .pool = pool,
        .anchors = load->loader->anchors,
        .ca = load->own_ca ? load->own_ca : load->loader->ca,
        .cross = load->site->cross.kind != ECERT_CROSS_UNSET ? load->site->cross
                                                             : load->json.cross,
        .now = load->now,
        .security = load->loader->security,
    };

    ecert_security_set(in.security, load->site->security_level);
    load->out->cross = in.cross;
    load->out->chain = ecert_chain_build(&in, err);
    return load->out->chain != NULL ? 0 : -1;
}

static int has_twin(const ecert_chain_t *chain, X509 *cert)
{
    for (int i = 0; i < sk_X509_num(chain->served); i++) {
        if (ecert_x509_same_identity(sk_X509_value(chain->served, i), cert)) {
            return 1;
        }
    }
    return 0;
}

/* Elements that no handshake would survive, where nothing stands in. */
static void note_weak(ecert_load_t *load)
{
    const ecert_chain_t *chain = load->out->chain;
    char name[128];
    ecert_err_t err;

    for (size_t i = 1; i < chain->n_considered; i++) {
        const ecert_considered_t *one = &chain->considered[i];

        if (one->why != ECERT_WHY_TOO_WEAK || has_twin(chain, one->cert)) {
            continue;
        }
        ecert_err(&err, ECERT_ERR_SIGNATURE, load->out->source,
                  "%s is left out: the TLS library refuses it: %s",
                  ecert_x509_label(one->cert, name, sizeof(name)), one->note);
        ecert_err_hint(&err, "get a certificate of this CA with a stronger "
                             "signature and key");
        ecert_loaded_complain(load->out, &err);
    }
}

/* What no client takes must not take the place of something good. */
static int check_valid(const ecert_load_t *load, X509 *leaf, const char *file,
                       ecert_err_t *err)
{
    const char *why = load->out->chain->invalid;

    if (why[0] == '\0') {
        return 0;
    }
    ecert_err(err, ECERT_ERR_INVALID, file, "%s", why);
    if (X509_get_ext_by_NID(leaf, NID_ct_precert_poison, -1) >= 0) {
        ecert_err_hint(err, "it is the precertificate, made for the logs of "
                            "Certificate Transparency alone: install the "
                            "certificate itself");
    }
    return -1;
}

/* Loud, but served: half a chain is better than none. */
static void note_incomplete(ecert_load_t *load)
{
    const ecert_chain_t *chain = load->out->chain;
    ecert_err_t err;

    note_weak(load);
    if (chain->invalid[0] != '\0') {
        ecert_err(&err, ECERT_ERR_INVALID, load->out->source, "%s",
                  chain->invalid);
        ecert_loaded_complain(load->out, &err);
    } else if (!chain->complete) {
        ecert_err(&err, ECERT_ERR_CHAIN, load->out->source, "%s",
                  chain->missing);
        ecert_loaded_complain(load->out, &err);
    }
}

/* The chain is built; what it is served with, and what there is to say. */
static int finish(ecert_load_t *load, X509 *leaf, const ecert_bundle_t *bundle,
                  ecert_err_t *err)
{
    if (ecert_security_check(load->loader->security, leaf,
                             load->out->chain->served, load->out->source, err)
        != 0) {
        return -1;
    }
    load->out->cred =
        ecert_cred_new(leaf, bundle->key, load->out->chain->served, err);
    if (load->out->cred == NULL) {
        return -1;
    }
    ecert_date_sooner(&load->out->next_change, load->out->chain->next_change,
                      load->now);
    ecert_loaded_uncovered(load->site, leaf, load->out);
    note_incomplete(load);
    return 0;
}

static int use_leaf(ecert_load_t *load, X509 *leaf,
                    const ecert_bundle_t *bundle, ecert_err_t *err)
{
    const char *file = load->out->source;

    if (ecert_leaf_check(leaf, file, err) != 0
        || check_names(load, leaf, file, err) != 0
        || ecert_load_chain(load, leaf, bundle->pool, err) != 0
        || check_valid(load, leaf, file, err) != 0
        || check_time(load, file, err) != 0) {
        return -1;
    }
    return finish(load, leaf, bundle, err);
}

/* ---- one set of files -------------------------------------------------- */

int ecert_load_try(ecert_load_t *load, const ecert_bundle_files_t *files,
                   ecert_err_t *err)
{
    ecert_loaded_t *out = load->out;
    ecert_bundle_t bundle;
    X509 *leaf;
    int rc = -1;

    ecert_loaded_reset(out);
    snprintf(out->source, sizeof(out->source), "%s", files->certificate);
    if (ecert_bundle_read(files, load->loader->shelf, &out->trail,
                          ecert_loaded_complain, out, &bundle, err)
        != 0) {
        return -1;
    }
    leaf = ecert_leaf_take(&bundle, files->certificate, files->key, err);
    if (leaf != NULL) {
        rc = use_leaf(load, leaf, &bundle, err);
    }
    X509_free(leaf);
    ecert_bundle_free(&bundle);
    if (rc != 0) {
        ecert_loaded_reset(out);
    }
    return rc;
}

static int load_files(ecert_load_t *load, ecert_err_t *err)
{
    ecert_bundle_files_t files = ecert_load_files(load, NULL, NULL);
    int rc;

    ecert_load_catalogue(load);
    rc = ecert_load_try(load, &files, err);
    load->out->look = load->out->trail.digest;
    load->out->waiting = rc != 0 && ecert_loaded_may_mend(err->code);
    return rc;
}

static int load_store(ecert_load_t *load, ecert_err_t *err)
{
    ecert_load_paths_t paths;
    ecert_bundle_files_t files = ecert_load_files(load, "current", &paths);

    if (!ecert_load_has_current(load, err)) {
        ecert_bundle_look(&files, &load->out->trail);
        load->out->look = load->out->trail.digest;
        return -1;
    }
    ecert_load_catalogue(load);
    return ecert_load_current(load, &files, err);
}

int ecert_load(ecert_loader_t *loader, const ecert_site_t *site, int64_t now,
               ecert_loaded_t *out, ecert_err_t *err)
{
    ecert_load_t load = {
        .loader = loader, .site = site, .now = now, .out = out};
    int rc;

    memset(out, 0, sizeof(*out));
    out->store_generation = -1;
    ecert_trail_init(&out->trail);
    rc = ecert_load_open(&load, err);
    if (rc != 0) {
        out->look = out->trail.digest;
        out->waiting = ecert_loaded_may_mend(err->code);
    } else {
        rc = site->name != NULL ? load_store(&load, err)
                                : load_files(&load, err);
    }
    ecert_load_close(&load);
    return rc;
}

int ecert_load_unchanged(ecert_loader_t *loader, const ecert_site_t *site,
                         uint64_t look)
{
    ecert_loaded_t out = {.store_generation = -1};
    ecert_load_t load = {.loader = loader, .site = site, .out = &out};
    ecert_bundle_files_t files;
    ecert_err_t err;
    ecert_load_paths_t paths;
    int same;

    ecert_trail_init(&out.trail);
    if (ecert_load_open(&load, &err) == 0) {
        files = ecert_load_files(&load, "current", &paths);
        if (catalogue_path(&load) != NULL
            && (site->name == NULL || ecert_load_has_current(&load, &err))) {
            ecert_file_look(catalogue_path(&load), &out.trail, &err);
        }
        ecert_bundle_look(&files, &out.trail);
    }
    same = out.trail.digest == look;
    ecert_load_close(&load);
    ecert_trail_free(&out.trail);
    return same;
}

/* Everything that the chain was, or could have been, built from. */
static STACK_OF(X509) *old_pool(const ecert_cred_t *cred,
                                const ecert_chain_t *known)
{
    STACK_OF(X509) *pool = X509_chain_up_ref(cred->chain);
    size_t i;

    for (i = 1; pool != NULL && known != NULL && i < known->n_considered; i++) {
        X509 *cert = known->considered[i].cert;

        if (sk_X509_push(pool, cert) > 0) {
            X509_up_ref(cert);
        }
    }
    return pool;
}

static int rebuild(ecert_load_t *load, const ecert_cred_t *cred,
                   const ecert_chain_t *known, ecert_err_t *err)
{
    ecert_bundle_t bundle = {.key = cred->key, .pool = old_pool(cred, known)};
    int rc;

    if (bundle.pool == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    ecert_load_catalogue(load);
    rc = ecert_load_chain(load, cred->leaf, bundle.pool, err);
    if (rc == 0) {
        rc = finish(load, cred->leaf, &bundle, err);
    }
    sk_X509_pop_free(bundle.pool, X509_free);
    return rc;
}

int ecert_load_adopt(ecert_loader_t *loader, const ecert_site_t *site,
                     const ecert_cred_t *cred, const ecert_loaded_t *held,
                     int64_t now, ecert_loaded_t *out, ecert_err_t *err)
{
    ecert_load_t load = {
        .loader = loader, .site = site, .now = now, .out = out};
    ecert_err_t ignored;
    int rc;

    memset(out, 0, sizeof(*out));
    out->store_generation = -1;
    ecert_trail_init(&out->trail);
    if (ecert_load_open(&load, &ignored) != 0 && held != NULL) {
        load.json.cross = held->cross; /* site.json may be what is broken */
    }
    rc = rebuild(&load, cred, held ? held->chain : NULL, err);
    ecert_load_close(&load);
    if (rc != 0) {
        ecert_loaded_free(out);
        return -1;
    }
    out->state =
        out->chain->not_after < now ? ECERT_STATE_EXPIRED : ECERT_STATE_VALID;
    return 0;
}
