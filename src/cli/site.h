/* The site that a command is about, and the store's lock around its change. */

#ifndef ECERT_CLI_SITE_H
#define ECERT_CLI_SITE_H

#include <limits.h>
#include <stdint.h>

#include "ecert_ca.h"
#include "ecert_err.h"
#include "ecert_name.h"

typedef struct {
    const char *store;
    char ascii[ECERT_NAME_MAX];
    char dir[PATH_MAX]; /* of the site, in the store */
    int64_t now;
    int lock; /* -1: not taken */
} ecert_cli_site_t;

/* Finds it (NO_SITE with the names that come near) and takes the lock, under
 * which what a killed command left is put in order.  To be closed. */
int ecert_cli_site_open(ecert_cli_site_t *site, const char *store,
                        const char *name, ecert_err_t *err);

/* The same, but without the lock. */
int ecert_cli_site_look(ecert_cli_site_t *site, const char *store,
                        const char *name, ecert_err_t *err);

/* The same as open, but makes the site (and the store) where it is not. */
int ecert_cli_site_make(ecert_cli_site_t *site, const char *store,
                        const char *name, ecert_err_t *err);

/* Removes a site again in which nothing is: what was to come was refused. */
void ecert_cli_site_unmake(const ecert_cli_site_t *site);

/* Lets the lock go; what follows (waiting, printing) needs none. */
void ecert_cli_site_close(ecert_cli_site_t *site);

/* The lock of the store alone: the descriptor to close, or -1. */
int ecert_cli_lock(const char *store, ecert_err_t *err);

/* The names that the site demands: ecert_names_free, also on failure. */
int ecert_cli_site_names(const ecert_cli_site_t *site, char ***names, size_t *n,
                         ecert_err_t *err);

/* The name as it is typed: a star in quotes, or the shell takes it for files.
 * Good until the next call. */
const char *ecert_cli_word(const char *name);

/* The same, of ecert_cli_word, for the name of a file: no star, no quotes. */
void ecert_cli_stem(const char *word, char *out, size_t size);

/* The catalogue of a site (site_dir may be NULL): its own, else the built-in
 * one; the caller's. */
ecert_ca_t *ecert_cli_catalogue(const char *site_dir, const char *ascii,
                                ecert_err_t *err);

#endif
