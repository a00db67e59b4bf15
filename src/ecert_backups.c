#include "ecert_backups.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "ecert_json.h"

static json_t *read_all(const char *site_dir, char *path, ecert_err_t *err)
{
    json_t *all;

    snprintf(path, PATH_MAX, "%.4000s/backups.json", site_dir);
    all = ecert_json_read(path, err);
    return all == NULL && err->code == ECERT_ERR_MISSING ? json_object() : all;
}

int ecert_backups_add(const char *site_dir, const ecert_backup_t *backup,
                      int64_t now, ecert_err_t *err)
{
    char path[PATH_MAX];
    json_t *all = read_all(site_dir, path, err), *list, *one;
    int rc;

    if (all == NULL) {
        return -1;
    }
    one = json_object();
    ecert_json_set_date(one, "time", now);
    ecert_json_set_text(one, "file", backup->file);
    ecert_json_set_text(one, "profile", backup->profile);
    ecert_json_set_text(one, "key_sha256", backup->key_id);
    ecert_json_set_text(one, "certificate_sha256", backup->certificate);
    list = json_object_get(all, "backups");
    if (!json_is_array(list)) {
        list = json_array();
        json_object_set_new(all, "backups", list);
    }
    json_array_append_new(list, one);
    rc = ecert_json_write(path, all, 0600, err);
    json_decref(all);
    return rc;
}

static int is(const json_t *one, const char *member, const char *value)
{
    const char *text = ecert_json_text(one, member);

    return value == NULL || (text != NULL && strcmp(text, value) == 0);
}

int64_t ecert_backups_last(const char *site_dir, const char *key_id,
                           const char *certificate)
{
    char path[PATH_MAX];
    ecert_err_t ignored;
    json_t *all = read_all(site_dir, path, &ignored), *one;
    int64_t last = 0;
    size_t i;

    json_array_foreach(json_object_get(all, "backups"), i, one)
    {
        int64_t when = ecert_json_date(one, "time");

        if (when > last && is(one, "key_sha256", key_id)
            && is(one, "certificate_sha256", certificate)) {
            last = when;
        }
    }
    json_decref(all);
    return last;
}

int ecert_backups_has(const char *site_dir, const char *file)
{
    char path[PATH_MAX];
    ecert_err_t ignored;
    json_t *all = read_all(site_dir, path, &ignored), *one;
    int has = 0;
    size_t i;

    json_array_foreach(json_object_get(all, "backups"), i, one)
    {
        has |= is(one, "file", file);
    }
    json_decref(all);
    return has;
}
