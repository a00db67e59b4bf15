/*
 * Folders and links that are put into the store whole or not at all: filled
 * under a name that every reader passes over, then renamed.  Whoever is killed
 * half-way leaves what was there before, and something to sweep.
 */

#ifndef ECERT_STAGE_H
#define ECERT_STAGE_H

#include <limits.h>
#include <sys/types.h>

#include "ecert_err.h"

typedef struct {
    char parent[PATH_MAX];
    char path[PATH_MAX]; /* the folder being filled; "": none */
} ecert_stage_t;

/* Makes PARENT/.stage-XXXXXX, mode 0700.  parent is absolute and there. */
int ecert_stage_begin(ecert_stage_t *stage, const char *parent,
                      ecert_err_t *err);

/* Writes a file in it, on the disk when this returns. */
int ecert_stage_put(const ecert_stage_t *stage, const char *name,
                    const void *bytes, size_t len, mode_t mode,
                    ecert_err_t *err);

/* Renames it to PARENT/name; EXISTS when that is there. */
int ecert_stage_commit(ecert_stage_t *stage, const char *name,
                       ecert_err_t *err);

/* Removes what was not committed; after a commit it does nothing. */
void ecert_stage_drop(ecert_stage_t *stage);

/* The link folder/name, to target, swapped by rename. */
int ecert_stage_link(const char *folder, const char *name, const char *target,
                     ecert_err_t *err);

/*
 * Removes the folder parent/name with the files in it: renamed away first, so
 * that nobody sees half of it.  Not there: fine.
 */
int ecert_stage_remove(const char *parent, const char *name, ecert_err_t *err);

/* Removes what commands that were killed left in this folder; call it under
 * the store's lock only.  Not there: fine. */
void ecert_stage_sweep(const char *folder);

#endif
