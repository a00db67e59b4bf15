#include "ecert_load.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ecert_bundle.h"
#include "ecert_leaf.h"
#include "ecert_loaded.h"
#include "ecert_loader.h"
#include "ecert_name.h"
#include "ecert_store.h"
#include "ecert_trail.h"

/* One load on its way: where to read, what the site demands. */
typedef struct {
    ecert_loader_t *loader;
    const ecert_site_t *site;
    int64_t now;
    ecert_loaded_t *out;
    char ascii[ECERT_NAME_MAX];
    char dir[PATH_MAX]; /* the site's folder in the store */
    char issuers[PATH_MAX];
    ecert_site_json_t json;
    ecert_ca_t *own_ca; /* when the site has another catalogue */
} load_t;

/* The three files of one generation; kept together for their memory. */
typedef struct {
    char certificate[PATH_MAX + 32];
    char key[PATH_MAX + 32];
    char chain[PATH_MAX + 32];
} paths_t;

static void sooner(int64_t *when, int64_t other, int64_t now)
{
    if (other > now && (*when == 0 || other < *when)) {
        *when = other;
    }
}

/* ---- which files ------------------------------------------------------- */

static int open_site(load_t *load, ecert_err_t *err)
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
            ecert_err_hint(err, "correct the name in %s", load->site->where);
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

static void close_site(load_t *load)
{
    ecert_site_json_free(&load->json);
    ecert_ca_free(load->own_ca);
}

static void generation_paths(const load_t *load, const char *generation,
                             paths_t *paths)
{
    snprintf(paths->certificate, sizeof(paths->certificate),
             "%.4000s/%s/certificate.pem", load->dir, generation);
    snprintf(paths->key, sizeof(paths->key), "%.4000s/%s/key.pem", load->dir,
             generation);
    snprintf(paths->chain, sizeof(paths->chain), "%.4000s/%s/chain.pem",
             load->dir, generation);
}

/* paths must outlive the result. */
static ecert_bundle_files_t site_files(const load_t *load,
                                       const char *generation, paths_t *paths)
{
    ecert_bundle_files_t files = {
        .certificate = load->site->certificate,
        .key = load->site->key,
        .store_issuers = load->issuers[0] ? load->issuers : NULL,
        .issuers = load->site->issuers,
        .n_issuers = load->site->n_issuers,
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

static int check_names(const load_t *load, X509 *leaf, const char *file,
                       ecert_err_t *err)
{
    size_t i;

    for (i = 0; i < load->json.n_names; i++) {
        if (!ecert_name_covered(leaf, load->json.names[i])) {
            return ecert_err(err, ECERT_ERR_NAMES, file, "%s is not in it",
                             load->json.names[i]);
        }
    }
    return 0;
}

/*
 * A machine that has just started may not know the time yet.  Then a good
 * certificate must not give way to a placeholder.
 */
static int clock_is_wrong(load_t *load, const char *file)
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

static int check_time(load_t *load, const char *file, ecert_err_t *err)
{
    char when[32];
    ecert_chain_t *chain = load->out->chain;

    if (chain->not_before > load->now && !clock_is_wrong(load, file)) {
        sooner(&load->out->next_change, chain->not_before, load->now);
        return ecert_err(err, ECERT_ERR_NOT_YET, file, "valid from %s",
                         ecert_date_format(chain->not_before, when));
    }
    load->out->state =
        chain->not_after < load->now ? ECERT_STATE_EXPIRED : ECERT_STATE_VALID;
    return 0;
}

/* ---- the chain --------------------------------------------------------- */

static ecert_ca_t *read_catalogue(const char *path, ecert_trail_t *trail,
                                  ecert_err_t *err)
{
    ecert_file_t file;
    ecert_ca_t *ca;

    if (ecert_file_read(path, ECERT_FILE_MAX, trail, &file, err) != 0) {
        return NULL;
    }
    ca = ecert_ca_parse((char *)file.bytes, file.len, path, err);
    ecert_file_free(&file);
    return ca;
}

static const char *catalogue_path(const load_t *load)
{
    return load->site->catalogue ? load->site->catalogue : load->json.catalogue;
}

/* A broken catalogue costs what it knows, not the certificate. */
static void open_catalogue(load_t *load)
{
    const char *path = catalogue_path(load);
    ecert_err_t err;

    if (path == NULL) {
        return;
    }
    load->own_ca = read_catalogue(path, &load->out->trail, &err);
    if (load->own_ca == NULL) {
        ecert_loaded_complain(load->out, &err);
    }
}

static int build_chain(load_t *load, X509 *leaf, const STACK_OF(X509) * pool,
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
    };

    load->out->chain = ecert_chain_build(&in, err);
    return load->out->chain != NULL ? 0 : -1;
}

/* Loud, but served: half a chain is better than none. */
static void note_incomplete(load_t *load)
{
    const ecert_chain_t *chain = load->out->chain;
    ecert_err_t err;

    if (!chain->complete) {
        ecert_err(&err, ECERT_ERR_CHAIN, load->out->source, "%s",
                  chain->missing);
        ecert_loaded_complain(load->out, &err);
    }
}

static int use_leaf(load_t *load, X509 *leaf, const ecert_bundle_t *bundle,
                    ecert_err_t *err)
{
    const char *file = load->out->source;

    if (ecert_leaf_check(leaf, file, err) != 0
        || check_names(load, leaf, file, err) != 0
        || build_chain(load, leaf, bundle->pool, err) != 0
        || check_time(load, file, err) != 0) {
        return -1;
    }
    load->out->cred =
        ecert_cred_new(leaf, bundle->key, load->out->chain->served, err);
    if (load->out->cred == NULL) {
        return -1;
    }
    sooner(&load->out->next_change, load->out->chain->next_change, load->now);
    ecert_loaded_uncovered(load->site, leaf, load->out);
    note_incomplete(load);
    return 0;
}

/* ---- one generation, the best generation ------------------------------- */

static int try_files(load_t *load, const ecert_bundle_files_t *files,
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

static void forget_warnings(ecert_loaded_t *out, size_t n)
{
    while (out->n_warnings > n) {
        free(out->warnings[--out->n_warnings]);
    }
}

/*
 * `current` cannot be served: the newest generation that can, so that a
 * restart does not lose the last good one.
 */
static int fall_back(load_t *load, ecert_state_t least)
{
    ecert_loaded_t *out = load->out;
    ecert_bundle_files_t files;
    char generation[64];
    uint64_t *numbers;
    ecert_err_t other;
    int64_t current;
    paths_t paths;
    size_t n, i;
    int rc = -1;

    if (ecert_store_generations(load->dir, &out->trail, &numbers, &n, &current,
                                &other)
        != 0) {
        return -1;
    }
    for (i = 0; rc != 0 && i < n; i++) {
        size_t n_warnings = out->n_warnings;

        if ((int64_t)numbers[i] == current) {
            continue;
        }
        snprintf(generation, sizeof(generation), "generations/%llu",
                 (unsigned long long)numbers[i]);
        files = site_files(load, generation, &paths);
        rc = try_files(load, &files, &other);
        if (rc != 0 || out->state < least) {
            forget_warnings(out, n_warnings);
            rc = -1;
        }
        out->store_generation = rc == 0 ? (int64_t)numbers[i] : -1;
    }
    free(numbers);
    return rc;
}

static void note_generation(load_t *load)
{
    ecert_err_t ignored;
    uint64_t *numbers;
    int64_t current;
    size_t n;

    if (ecert_store_generations(load->dir, NULL, &numbers, &n, &current,
                                &ignored)
        == 0) {
        load->out->store_generation = current;
        free(numbers);
    }
}

static int has_current(load_t *load, ecert_err_t *err)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof(path), "%s/current/certificate.pem", load->dir);
    if (ecert_file_look(path, NULL, err) == 0
        || err->code != ECERT_ERR_MISSING) {
        return 1;
    }
    snprintf(path, sizeof(path), "%s/current", load->dir);
    if (ecert_file_look(path, NULL, err) == 0
        || err->code != ECERT_ERR_MISSING) {
        return 1;
    }
    ecert_err(err, ECERT_ERR_NO_CERTIFICATE, load->dir, NULL);
    return 0;
}

static void read_current(const load_t *load, char *target, size_t size)
{
    char path[PATH_MAX + 32];
    ssize_t n;

    snprintf(path, sizeof(path), "%s/current", load->dir);
    n = readlink(path, target, size - 1);
    target[n > 0 ? n : 0] = '\0';
}

/*
 * Each file is opened through `current` by itself.  When that moved meanwhile,
 * they are not all of one generation: once more, then.
 */
static int try_current(load_t *load, const ecert_bundle_files_t *files,
                       ecert_err_t *err)
{
    size_t n_warnings = load->out->n_warnings;
    char before[256], after[256];
    int rc, tries = 3;

    read_current(load, before, sizeof(before));
    rc = try_files(load, files, err);
    read_current(load, after, sizeof(after));
    while (strcmp(before, after) != 0 && --tries > 0) {
        ecert_trail_unlike(&load->out->trail);
        forget_warnings(load->out, n_warnings);
        memcpy(before, after, sizeof(before));
        rc = try_files(load, files, err);
        read_current(load, after, sizeof(after));
    }
    return rc;
}

/* `current` has expired: an older generation that is valid is better. */
static int prefer_valid(load_t *load, const ecert_bundle_files_t *current,
                        ecert_err_t *err)
{
    ecert_loaded_t *out = load->out;
    char when[32];
    int rc;

    ecert_date_format(out->chain->not_after, when);
    if (fall_back(load, ECERT_STATE_VALID) == 0) {
        out->fallback = 1;
        ecert_err(err, ECERT_ERR_EXPIRED, current->certificate,
                  "since %s; an older one is valid and is served", when);
        return 1;
    }
    rc = try_current(load, current, err);
    if (rc == 0) {
        note_generation(load);
    }
    return rc;
}

static int load_site(load_t *load, ecert_err_t *err)
{
    ecert_loaded_t *out = load->out;
    ecert_bundle_files_t files;
    paths_t paths;
    int rc;

    files = site_files(load, "current", &paths);
    if (load->site->name != NULL && !has_current(load, err)) {
        ecert_bundle_look(&files, &out->trail);
        out->look = out->trail.digest;
        return -1;
    }
    open_catalogue(load);
    rc = load->site->name != NULL ? try_current(load, &files, err)
                                  : try_files(load, &files, err);
    out->look = out->trail.digest;
    if (load->site->name == NULL) {
        out->waiting = rc != 0 && ecert_loaded_may_mend(err->code);
        return rc;
    }
    if (rc == 0) {
        note_generation(load);
        return out->state == ECERT_STATE_EXPIRED
                   ? prefer_valid(load, &files, err)
                   : 0;
    }
    out->waiting = ecert_loaded_may_mend(err->code);
    if (fall_back(load, ECERT_STATE_VALID) != 0
        && fall_back(load, ECERT_STATE_EXPIRED) != 0) {
        return -1;
    }
    out->fallback = 1;
    return 1;
}

int ecert_load(ecert_loader_t *loader, const ecert_site_t *site, int64_t now,
               ecert_loaded_t *out, ecert_err_t *err)
{
    load_t load = {.loader = loader, .site = site, .now = now, .out = out};
    int rc;

    memset(out, 0, sizeof(*out));
    out->store_generation = -1;
    ecert_trail_init(&out->trail);
    rc = open_site(&load, err);
    if (rc != 0) {
        out->look = out->trail.digest;
    } else {
        rc = load_site(&load, err);
    }
    close_site(&load);
    return rc;
}

int ecert_load_unchanged(ecert_loader_t *loader, const ecert_site_t *site,
                         uint64_t look)
{
    ecert_loaded_t out = {.store_generation = -1};
    load_t load = {.loader = loader, .site = site, .out = &out};
    ecert_bundle_files_t files;
    ecert_err_t err;
    paths_t paths;
    int same;

    ecert_trail_init(&out.trail);
    if (open_site(&load, &err) == 0) {
        files = site_files(&load, "current", &paths);
        if (catalogue_path(&load) != NULL
            && (site->name == NULL || has_current(&load, &err))) {
            ecert_file_look(catalogue_path(&load), &out.trail, &err);
        }
        ecert_bundle_look(&files, &out.trail);
    }
    same = out.trail.digest == look;
    close_site(&load);
    ecert_trail_free(&out.trail);
    return same;
}
