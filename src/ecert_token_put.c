#include "ecert_token_put.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ecert_dcv.h"
#include "ecert_file.h"
#include "ecert_json.h"
#include "ecert_stage.h"
#include "ecert_walk.h"

static void path_of(const char *store, const char *host, const char *fmt,
                    const char *file, char *path)
{
    char name[NAME_MAX + 32];

    snprintf(name, sizeof(name), fmt, file);
    snprintf(path, PATH_MAX, "%.3500s/dcv/%.255s/%s", store, host, name);
}

json_t *ecert_token_origin(const char *store, const char *host,
                           const char *file)
{
    char path[PATH_MAX];
    ecert_err_t ignored;
    json_t *json;

    path_of(store, host, ".%s.json", file, path);
    json = ecert_json_read(path, &ignored);
    return json ? json : json_object();
}

static int is_ours(const char *store, const char *host, const char *file,
                   const char *site)
{
    json_t *origin = ecert_token_origin(store, host, file);
    const char *owner = ecert_json_text(origin, "site");
    int ours = owner != NULL && strcmp(owner, site) == 0;

    json_decref(origin);
    return ours;
}

static ecert_token_was_t compare(const ecert_file_t *old,
                                 const unsigned char *body, size_t len,
                                 int ours)
{
    if (old->len == len && memcmp(old->bytes, body, len) == 0) {
        return ECERT_TOKEN_SAME;
    }
    return ours ? ECERT_TOKEN_REPLACED : ECERT_TOKEN_FOREIGN;
}

/* What is there already; somebody else's is kept. */
static int look(const char *store, const char *host, const char *file,
                const unsigned char *body, size_t len, const char *site,
                ecert_token_was_t *was, ecert_err_t *err)
{
    char path[PATH_MAX], saved[PATH_MAX];
    ecert_file_t old;
    int rc = 0;

    path_of(store, host, "%s", file, path);
    *was = ECERT_TOKEN_NEW;
    if (ecert_file_read(path, ECERT_DCV_BODY_MAX, NULL, &old, err) != 0) {
        return err->code == ECERT_ERR_MISSING || err->code == ECERT_ERR_EMPTY
                   ? 0
                   : -1;
    }
    *was = compare(&old, body, len, is_ours(store, host, file, site));
    if (*was == ECERT_TOKEN_FOREIGN) {
        path_of(store, host, ".%s.saved", file, saved);
        rc = ecert_file_write(saved, old.bytes, old.len, 0644, err);
    }
    ecert_file_free(&old);
    return rc;
}

int ecert_token_put(const char *store, const char *host, const char *file,
                    const unsigned char *body, size_t len, const char *site,
                    int64_t now, ecert_token_was_t *was, ecert_err_t *err)
{
    char folder[PATH_MAX], path[PATH_MAX], origin[PATH_MAX];
    json_t *json;
    int rc;

    snprintf(folder, sizeof(folder), "%.3500s/dcv/%.255s", store, host);
    path_of(store, host, "%s", file, path);
    path_of(store, host, ".%s.json", file, origin);
    ecert_stage_sweep(folder);
    if (ecert_file_folder(folder, 0755, err) != 0
        || look(store, host, file, body, len, site, was, err) != 0) {
        return -1;
    }
    json = json_object();
    ecert_json_set_text(json, "site", site);
    ecert_json_set_date(json, "added", now);
    rc = ecert_file_write(path, body, len, 0644, err);
    if (rc == 0) {
        rc = ecert_json_write(origin, json, 0600, err);
    }
    json_decref(json);
    return rc;
}

int ecert_token_remove(const char *store, const char *host, const char *file,
                       ecert_err_t *err)
{
    char folder[PATH_MAX], side[NAME_MAX + 32];
    ecert_walk_t walk;
    int rc;

    snprintf(folder, sizeof(folder), "%.3500s/dcv/%.255s", store, host);
    if (ecert_walk(&walk, folder, ECERT_WALK_FOLDER, NULL, err) != 0) {
        return err->code == ECERT_ERR_MISSING ? 0 : -1;
    }
    rc = unlinkat(walk.dir, file, 0) == 0 ? 1 : errno == ENOENT ? 0 : -1;
    if (rc < 0) {
        ecert_err(err, ECERT_ERR_SYSTEM, folder, "remove %s", file);
    } else {
        snprintf(side, sizeof(side), ".%s.json", file);
        unlinkat(walk.dir, side, 0);
    }
    ecert_walk_end(&walk);
    return rc;
}
