/*
 * Who did what, when, and with which fingerprints: STORE/log, appended to by
 * every command that changes something, one JSON object a line.
 */

#ifndef ECERT_JOURNAL_H
#define ECERT_JOURNAL_H

#include <stdint.h>

#include <jansson.h>

#include "ecert_err.h"

/*
 * One entry: time, user (who logged in; as: the effective one, where it
 * differs), command, site (NULL: none) and the members of more (taken over,
 * after a failure too; may be NULL), which replace none of these.  Under the
 * store's lock.  On the disk when this returns.  Errors of the walk to the
 * store; NOT_FILE when the log is none, SYSTEM, MEMORY.
 */
int ecert_journal_add(const char *store, const char *command, const char *site,
                      json_t *more, int64_t now, ecert_err_t *err);

/*
 * Entries about this site (NULL: all), oldest first, as a new array.  Lines
 * that are no JSON object are passed over.  No log: an empty array.  Needs no
 * lock.  NULL: errors of ecert_file_read, TOO_LARGE over 64 MB.
 */
json_t *ecert_journal_read(const char *store, const char *site,
                           ecert_err_t *err);

#endif
