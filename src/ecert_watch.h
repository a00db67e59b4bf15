/*
 * Watching folders.  Events are hints: whoever is told looks for himself, and
 * everything is looked at every 30 seconds anyway.
 */

#ifndef ECERT_WATCH_H
#define ECERT_WATCH_H

#include <stddef.h>
#include <stdint.h>

#include "ecert_err.h"

typedef struct ecert_watch_s ecert_watch_t;

ecert_watch_t *ecert_watch_new(ecert_err_t *err);
void ecert_watch_free(ecert_watch_t *watch);

/*
 * Descriptor to poll for reading; -1 when this system can only be polled: then
 * the two below do nothing and succeed.
 */
int ecert_watch_fd(const ecert_watch_t *watch);

/*
 * From now on subject (a small number: a site's slot, the validation files)
 * depends on exactly these folders.  Unchanged ones cost one system call, which
 * finds out whether the path leads to another folder now.  For one that is not
 * there the nearest one above it is watched.  1 when a folder was not watched
 * before: what happened in it since the subject was looked at may have gone
 * unseen, so it is to be looked at once more.  WATCH when the kernel has no
 * watches left; what could be watched is.
 */
int ecert_watch_set(ecert_watch_t *watch, uint32_t subject, char *const *dirs,
                    size_t n, ecert_err_t *err);

/*
 * Reads all events that are there and calls touched once for each subject that
 * depends on a folder with an event; for all subjects after a queue overflow.
 */
int ecert_watch_read(ecert_watch_t *watch,
                     void (*touched)(void *ctx, uint32_t subject), void *ctx,
                     ecert_err_t *err);

#endif
