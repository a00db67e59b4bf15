/*
 * Folders and links that are put into the store whole or not at all: filled
 * under a name that every reader passes over, then renamed.  Whoever is killed
 * half-way leaves what was there before, and something to sweep.
 *
 * Folders are given by absolute paths, which are walked as ecert_file_read
 * walks them: MISSING, UNSAFE and the other errors of it.  What the system
 * refuses is SYSTEM.
 */

#ifndef ECERT_STAGE_H
#define ECERT_STAGE_H

#include <limits.h>
#include <stddef.h>

#include <sys/types.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "ecert_err.h"

typedef struct {
    char parent[PATH_MAX];
    char path[PATH_MAX]; /* the folder being filled; "": none */
} ecert_stage_t;

/* Makes PARENT/.stage-XXXXXXXX, mode 0700; to be dropped, after a commit too.
 * After -1 there is nothing to drop. */
int ecert_stage_begin(ecert_stage_t *stage, const char *parent,
                      ecert_err_t *err);

/* Writes a file in it, on the disk when this returns; the mode is set on the
 * open file, whatever the umask. */
int ecert_stage_put(const ecert_stage_t *stage, const char *name,
                    const void *bytes, size_t len, mode_t mode,
                    ecert_err_t *err);

/* The same for key.pem (PKCS#8, not encrypted, 0600; what was in memory is
 * wiped), and for an object as JSON (0600). */
int ecert_stage_put_key(const ecert_stage_t *stage, EVP_PKEY *key,
                        ecert_err_t *err);
int ecert_stage_put_json(const ecert_stage_t *stage, const char *name,
                         const json_t *json, ecert_err_t *err);

/* Renames it to PARENT/name, on the disk when this returns.  EXISTS when
 * something is there: then the stage is as before. */
int ecert_stage_commit(ecert_stage_t *stage, const char *name,
                       ecert_err_t *err);

/* Removes what was not committed; after a commit it does nothing. */
void ecert_stage_drop(ecert_stage_t *stage);

/*
 * The link folder/name, to target, swapped by rename: readers find the old one
 * or the new one.  A file or link of this name is replaced; where a folder is,
 * SYSTEM with EISDIR.
 */
int ecert_stage_link(const char *folder, const char *name, const char *target,
                     ecert_err_t *err);

/*
 * Removes the folder parent/name with the files in it: renamed away first, so
 * that nobody sees half of it.  Not there: fine.  SYSTEM with ENOTEMPTY when
 * folders are in it: they stay, under the name that sweep knows.
 */
int ecert_stage_remove(const char *parent, const char *name, ecert_err_t *err);

/*
 * Removes what commands that were killed left in this folder: stages, links,
 * and the temporary files of ecert_file_write; nothing else.  Call it under the
 * store's lock only: what another command is just making looks the same.  No
 * folder: fine.
 */
void ecert_stage_sweep(const char *folder);

#endif
