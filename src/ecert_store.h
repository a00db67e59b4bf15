/*
 * The store: a plain directory (docs/design.md, "Store").  This file knows its
 * layout; ecert_file.c knows how to touch it.
 */

#ifndef ECERT_STORE_H
#define ECERT_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "ecert_conf.h"
#include "ecert_dcv.h"
#include "ecert_err.h"
#include "ecert_file.h"

/*
 * Makes the store (its last level), issuers/, sites/, dcv/, placeholder/
 * where they are not there: 0700, issuers/ and dcv/ 0755.  The agent makes run/
 * (ecert_door_open), for it may be elsewhere.
 */
int ecert_store_prepare(const char *store, ecert_err_t *err);

/*
 * The folder of site `ascii` (form of ecert_name_ascii), in whatever spelling
 * it stands on disk, into path (PATH_MAX bytes).  NO_SITE when there is none.
 */
int ecert_store_site(const char *store, const char *ascii, ecert_trail_t *trail,
                     char *path, ecert_err_t *err);

/* To an error about the store's own folder: that it is not there yet, and how
 * it is made.  Returns -1. */
int ecert_store_none(ecert_err_t *err);

/* Names of all sites (form of ecert_name_ascii), sorted; ecert_names_free. */
int ecert_store_sites(const char *store, char ***names, size_t *n,
                      ecert_err_t *err);

/* site.json, as far as serving needs it. */
typedef struct {
    char **names; /* ecert_name_ascii form: the site's own name first */
    size_t n_names;
    char *catalogue; /* absolute, or NULL */
    ecert_cross_t cross;
} ecert_site_json_t;

/* Without the file: the site's own name alone.  SITE, naming the member. */
int ecert_store_json(const char *site_dir, const char *ascii,
                     ecert_trail_t *trail, ecert_site_json_t *json,
                     ecert_err_t *err);
void ecert_site_json_free(ecert_site_json_t *json);

/*
 * Generations of a site, newest first (numbers); free() the result.
 * current: the number `current` points to, or -1 (none, or not a number).
 */
int ecert_store_generations(const char *site_dir, ecert_trail_t *trail,
                            uint64_t **numbers, size_t *n, int64_t *current,
                            ecert_err_t *err);

/* Entries of a folder that are numbers, newest first; free() the result.  No
 * folder: none. */
int ecert_store_numbers(const char *folder, size_t max, ecert_trail_t *trail,
                        uint64_t **numbers, size_t *n, ecert_err_t *err);

/* One more than any number that a generation or pending request has. */
int ecert_store_next(const char *site_dir, uint64_t *number, ecert_err_t *err);

/* A validation file whose 30 days are over. */
typedef struct {
    char *host; /* A-label */
    char *file, *path;
    size_t len;
    int64_t changed, expires;
    int64_t came; /* not before expires: no server here has answered it */
} ecert_token_over_t;

typedef struct {
    ecert_token_t *tokens;
    size_t n;
    int64_t next_change;      /* when the first of them ends; 0: never */
    ecert_token_over_t *over; /* whose 30 days are over */
    size_t n_over;
} ecert_tokens_t;

/*
 * All validation files of the store that are inside their 30 days, hosts in
 * A-label form and once more in Unicode where that differs; and, in over, those
 * that are outside.  What cannot be served is passed over and told through
 * complain, each with its file.  One that changes while it is read, or is
 * empty, as an upload may be under way, is CHANGING: it stays as it is in
 * before (NULL: nothing was).  What would not fit into the published table is
 * left out (TOO_MANY, told once). The tokens and all they point to:
 * ecert_tokens_free.
 */
int ecert_store_tokens(const char *store, int64_t now,
                       const ecert_tokens_t *before, ecert_trail_t *trail,
                       void (*complain)(void *ctx, const ecert_err_t *err),
                       void *ctx, ecert_tokens_t *tokens, ecert_err_t *err);
void ecert_tokens_free(ecert_tokens_t *tokens);

/* The end of a file's 30 days, Unix time. */
int64_t ecert_tokens_end(const struct stat *st);

/*
 * Of the files whose 30 days are over: the number of those that were never
 * answered, and err (TOKEN) about the last of them that came, else about the
 * last of all; -1: there are none.
 */
int ecert_tokens_over(const ecert_tokens_t *tokens, ecert_err_t *err);

#endif
