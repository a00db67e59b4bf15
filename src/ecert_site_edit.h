/* site.json as commands write it; what they do not know of it stays. */

#ifndef ECERT_SITE_EDIT_H
#define ECERT_SITE_EDIT_H

#include <stddef.h>

#include <jansson.h>

#include "ecert_err.h"

/* The file's object, {} when there is none; a new reference.  NULL: errors of
 * ecert_json_read. */
json_t *ecert_site_read(const char *site_dir, ecert_err_t *err);

/*
 * Sets the names (A-labels, the site's own first, which is not written; n_names
 * of 0: they stay as they are), and the members of more (borrowed), which may
 * be NULL; "names" in it does not count.  Writes only what changes; a file that
 * is broken is left alone: SITE.
 */
int ecert_site_write(const char *site_dir, char *const *names, size_t n_names,
                     const json_t *more, ecert_err_t *err);

/* Whether that would write anything: old is what ecert_site_read gave. */
int ecert_site_changes(const json_t *old, char *const *names, size_t n_names,
                       const json_t *more);

/*
 * The site's folder, made where it is not there yet (0700), into path
 * (PATH_MAX bytes); ascii is in the form of ecert_name_ascii.  Makes the store
 * too.  One that is there in another spelling is that one.
 */
int ecert_site_folder(const char *store, const char *ascii, char *path,
                      ecert_err_t *err);

#endif
