/* One load on its way; for ecert_load*.c alone. */

#ifndef ECERT_LOAD_WORK_H
#define ECERT_LOAD_WORK_H

#include <limits.h>

#include "ecert_bundle.h"
#include "ecert_load.h"
#include "ecert_loader.h"
#include "ecert_name.h"
#include "ecert_store.h"

/* Where to read, what the site demands. */
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
} ecert_load_t;

/* Finds the site and reads its site.json; ecert_load_close in any case. */
int ecert_load_open(ecert_load_t *load, ecert_err_t *err);
void ecert_load_close(ecert_load_t *load);

/* The site's own catalogue into own_ca, where it has one. */
void ecert_load_catalogue(ecert_load_t *load);

/* Builds out->chain for the leaf from this pool, under the site's policy. */
int ecert_load_chain(ecert_load_t *load, X509 *leaf, const STACK_OF(X509) *pool,
                     ecert_err_t *err);

/* The three files of one generation; kept together for their memory. */
typedef struct {
    char certificate[PATH_MAX + 32];
    char key[PATH_MAX + 32];
    char chain[PATH_MAX + 32];
} ecert_load_paths_t;

/*
 * The files to read: the configured ones, or those of this generation of a
 * site of the store ("current", "generations/3"); then paths must outlive it.
 */
ecert_bundle_files_t ecert_load_files(const ecert_load_t *load,
                                      const char *generation,
                                      ecert_load_paths_t *paths);

/* Reads, checks and assembles these into load->out: 0, or -1 with err. */
int ecert_load_try(ecert_load_t *load, const ecert_bundle_files_t *files,
                   ecert_err_t *err);

/* 1 when the site's `current` is there, else 0 with NO_CERTIFICATE. */
int ecert_load_has_current(const ecert_load_t *load, ecert_err_t *err);

/* As ecert_load, for a site of the store whose `current` is there. */
int ecert_load_current(ecert_load_t *load, const ecert_bundle_files_t *current,
                       ecert_err_t *err);

#endif
