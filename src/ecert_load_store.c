/* A site of the store: its current generation, else the best other one. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ecert_load_work.h"
#include "ecert_loaded.h"
#include "ecert_trail.h"

static void forget_warnings(ecert_loaded_t *out, size_t n)
{
    while (out->n_warnings > n) {
        free(out->warnings[--out->n_warnings]);
    }
}

/* What else a generation has to be. */
typedef struct {
    int (*accept)(void *ctx, const ecert_loaded_t *one);
    void *ctx;
} wish_t;

/*
 * `current` cannot be served: the newest generation that can, so that a
 * restart does not lose the last good one.
 */
static int fall_back(ecert_load_t *load, ecert_state_t least,
                     const wish_t *wish)
{
    ecert_loaded_t *out = load->out;
    ecert_bundle_files_t files;
    char generation[64];
    uint64_t *numbers;
    ecert_err_t other;
    int64_t current;
    ecert_load_paths_t paths;
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
        files = ecert_load_files(load, generation, &paths);
        rc = ecert_load_try(load, &files, &other);
        if (rc != 0 || out->state < least
            || (wish != NULL && !wish->accept(wish->ctx, out))) {
            forget_warnings(out, n_warnings);
            rc = -1;
        }
        out->store_generation = rc == 0 ? (int64_t)numbers[i] : -1;
    }
    free(numbers);
    return rc;
}

static void note_generation(ecert_load_t *load)
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

static void read_current(const ecert_load_t *load, char *target, size_t size)
{
    char path[PATH_MAX + 32];
    ssize_t n;

    snprintf(path, sizeof(path), "%s/current", load->dir);
    n = readlink(path, target, size - 1);
    target[n > 0 ? n : 0] = '\0';
}

int ecert_load_has_current(const ecert_load_t *load, ecert_err_t *err)
{
    char path[PATH_MAX + 32], target[256];

    snprintf(path, sizeof(path), "%s/current/certificate.pem", load->dir);
    if (ecert_file_look(path, NULL, err) == 0
        || err->code != ECERT_ERR_MISSING) {
        return 1;
    }
    /* a link may come before its generation: that is no reason to give up */
    read_current(load, target, sizeof(target));
    if (target[0] != '\0') {
        return 1;
    }
    ecert_err(err, ECERT_ERR_NO_CERTIFICATE, load->dir, NULL);
    return 0;
}

/*
 * site.json was read before `current`, with which other names may have come.
 * Reads them again, and returns whether they differ.
 */
static int has_other_names(ecert_load_t *load)
{
    ecert_site_json_t was = load->json;
    ecert_err_t ignored;
    int differs;

    if (ecert_store_json(load->dir, load->ascii, NULL, &load->json, &ignored)
        != 0) {
        load->json = was;
        return 0;
    }
    differs = was.n_names != load->json.n_names;
    for (size_t i = 0; !differs && i < was.n_names; i++) {
        differs = strcmp(was.names[i], load->json.names[i]) != 0;
    }
    ecert_site_json_free(&was);
    return differs;
}

/*
 * Each file is opened through `current` by itself.  When that moved meanwhile,
 * they are not all of one generation: once more, then.
 */
static int try_current(ecert_load_t *load, const ecert_bundle_files_t *files,
                       ecert_err_t *err)
{
    size_t n_warnings = load->out->n_warnings;
    char before[256], after[256];
    int rc, torn, tries = 3;

    for (;;) {
        read_current(load, before, sizeof(before));
        rc = ecert_load_try(load, files, err);
        read_current(load, after, sizeof(after));
        torn = strcmp(before, after) != 0
               || (rc != 0 && err->code == ECERT_ERR_NAMES
                   && has_other_names(load));
        if (!torn || --tries == 0) {
            return rc;
        }
        ecert_trail_unlike(&load->out->trail);
        forget_warnings(load->out, n_warnings);
    }
}

/* `current` has expired: an older generation that is valid is better. */
static int prefer_valid(ecert_load_t *load, const ecert_bundle_files_t *current,
                        ecert_err_t *err)
{
    ecert_loaded_t *out = load->out;
    char when[32];
    int rc;

    ecert_date_format(out->chain->not_after, when);
    if (fall_back(load, ECERT_STATE_VALID, NULL) == 0) {
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

int ecert_load_current(ecert_load_t *load, const ecert_bundle_files_t *current,
                       ecert_err_t *err)
{
    ecert_loaded_t *out = load->out;
    int rc = try_current(load, current, err);

    out->look = out->trail.digest;
    if (rc == 0) {
        note_generation(load);
        return out->state == ECERT_STATE_EXPIRED
                   ? prefer_valid(load, current, err)
                   : 0;
    }
    out->waiting = ecert_loaded_may_mend(err->code);
    if (fall_back(load, ECERT_STATE_VALID, NULL) != 0
        && fall_back(load, ECERT_STATE_EXPIRED, NULL) != 0) {
        return -1;
    }
    out->fallback = 1;
    return 1;
}

int ecert_load_other(ecert_loader_t *loader, const ecert_site_t *site,
                     int64_t now,
                     int (*accept)(void *ctx, const ecert_loaded_t *one),
                     void *ctx, ecert_loaded_t *out, ecert_err_t *err)
{
    ecert_load_t load = {
        .loader = loader, .site = site, .now = now, .out = out};
    const wish_t wish = {accept, ctx};
    int rc = -1;

    memset(out, 0, sizeof(*out));
    out->store_generation = -1;
    ecert_trail_init(&out->trail);
    if (site->name == NULL) {
        ecert_err(err, ECERT_ERR_NO_GENERATION, site->certificate, NULL);
    } else if (ecert_load_open(&load, err) == 0) {
        ecert_load_catalogue(&load);
        rc = fall_back(&load, ECERT_STATE_VALID, &wish);
    }
    ecert_load_close(&load);
    out->fallback = rc == 0;
    if (rc != 0) {
        ecert_loaded_free(out);
    }
    return rc;
}
