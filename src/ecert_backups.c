#include "ecert_backups.h"

#include <limits.h>
#include <string.h>

#include "ecert_json.h"

static json_t *read_all(const char *site_dir, char *path, ecert_err_t *err)
{
    return ecert_file_path(path, err, "%s/backups.json", site_dir) == 0
               ? ecert_json_read_or_new(path, err)
               : NULL;
}

static json_t *describe(const ecert_backup_t *backup, int64_t now)
{
    json_t *one = json_object();

    ecert_json_set_date(one, "time", now);
    ecert_json_set_text(one, "file", backup->file);
    ecert_json_set_text(one, "profile", backup->profile);
    ecert_json_set_text(one, "key_sha256", backup->key_id);
    ecert_json_set_text(one, "certificate_sha256", backup->certificate);
    return one;
}

static int append(json_t *all, json_t *one, const char *path, ecert_err_t *err)
{
    json_t *list = json_object_get(all, "backups");

    if (list == NULL) {
        list = json_array();
        json_object_set_new(all, "backups", list);
    }
    if (list != NULL && !json_is_array(list)) {
        json_decref(one);
        return ecert_err(err, ECERT_ERR_SITE, path,
                         "member \"backups\" is not an array");
    }
    return json_array_append_new(list, one) == 0
               ? 0
               : ecert_err(err, ECERT_ERR_MEMORY, path, NULL);
}

int ecert_backups_add(const char *site_dir, const ecert_backup_t *backup,
                      int64_t now, ecert_err_t *err)
{
    char path[PATH_MAX];
    json_t *all = read_all(site_dir, path, err);
    int rc;

    if (all == NULL) {
        return -1;
    }
    rc = append(all, describe(backup, now), path, err);
    if (rc == 0) {
        rc = ecert_json_write(path, all, 0600, err);
    }
    json_decref(all);
    return rc;
}

static int is(const json_t *one, const char *member, const char *value)
{
    const char *text = ecert_json_text(one, member);

    return value == NULL || (text != NULL && strcmp(text, value) == 0);
}

/* A broken one tells nothing, so that a backup is asked for once more. */
static int read_list(const char *site_dir, json_t **all, ecert_err_t *err)
{
    char path[PATH_MAX];

    *all = read_all(site_dir, path, err);
    return *all == NULL ? -ecert_err_refused(err) : 0;
}

int ecert_backups_last(const char *site_dir, const char *key_id,
                       const char *certificate, int64_t *last, ecert_err_t *err)
{
    json_t *all, *one;
    size_t i;

    *last = 0;
    if (read_list(site_dir, &all, err) != 0) {
        return -1;
    }

    json_array_foreach(json_object_get(all, "backups"), i, one)
    {
        int64_t when = ecert_json_date(one, "time");

        if (when > *last && is(one, "key_sha256", key_id)
            && is(one, "certificate_sha256", certificate)) {
            *last = when;
        }
    }
    json_decref(all);
    return 0;
}

int ecert_backups_has(const char *site_dir, const char *file, ecert_err_t *err)
{
    json_t *all, *one;
    int has = 0;
    size_t i;

    if (read_list(site_dir, &all, err) != 0) {
        return -1;
    }

    json_array_foreach(json_object_get(all, "backups"), i, one)
    {
        has |= is(one, "file", file);
    }
    json_decref(all);
    return has;
}
