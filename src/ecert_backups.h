/*
 * Which keys were backed up: sites/NAME/backups.json.  The CA's guide wants a
 * backup of the key before the request is submitted, and one with the
 * certificate (section F).
 */

#ifndef ECERT_BACKUPS_H
#define ECERT_BACKUPS_H

#include <stdint.h>

#include "ecert_err.h"

/* One backup; what is NULL is not known. */
typedef struct {
    const char *key_id;      /* ecert_key_id of the key in it */
    const char *certificate; /* fingerprint of the leaf in it; NULL: none */
    const char *file;        /* absolute */
    const char *profile;
} ecert_backup_t;

/*
 * Adds one; what else is in the file stays.  Under the store's lock.  Errors of
 * ecert_json_read and ecert_json_write; a file that is broken is left alone:
 * SITE.
 */
int ecert_backups_add(const char *site_dir, const ecert_backup_t *backup,
                      int64_t now, ecert_err_t *err);

/*
 * When the key was backed up last: Unix time; 0: never, or the file is broken.
 * With certificate only backups that hold that certificate count.  -1 when the
 * system refused to read it.
 */
int ecert_backups_last(const char *site_dir, const char *key_id,
                       const char *certificate, int64_t *last,
                       ecert_err_t *err);

/* Whether a backup into this file was recorded; -1 as above. */
int ecert_backups_has(const char *site_dir, const char *file, ecert_err_t *err);

#endif
