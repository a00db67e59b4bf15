/*
 * A file for a person, written anywhere: whole or not at all, 0600, never over
 * something that is there.
 */

#ifndef ECERT_CLI_OUTFILE_H
#define ECERT_CLI_OUTFILE_H

#include <limits.h>
#include <stddef.h>

#include "ecert_err.h"

typedef struct {
    int dir, file;
    char temporary[NAME_MAX + 1]; /* in dir; "": none */
    char name[NAME_MAX + 1];
    const char *path;
} ecert_outfile_t;

/* Writes and syncs the bytes beside path, where what killed commands left is
 * removed.  EXISTS when path is there. */
int ecert_outfile_write(ecert_outfile_t *out, const char *path,
                        const void *bytes, size_t len, ecert_err_t *err);

/* What stands on the disk now: *bytes is to be wiped and freed by the caller
 * (OPENSSL_clear_free). */
int ecert_outfile_read(const ecert_outfile_t *out, unsigned char **bytes,
                       size_t *len, ecert_err_t *err);

/* Puts it in its place; EXISTS when something came there meanwhile. */
int ecert_outfile_commit(ecert_outfile_t *out, ecert_err_t *err);

/* Removes what was not committed, closes. */
void ecert_outfile_end(ecert_outfile_t *out);

#endif
