#include "ecert_token_put.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ecert_dcv.h"
#include "ecert_entry.h"
#include "ecert_json.h"
#include "ecert_stage.h"
#include "ecert_walk.h"

/* The file itself, or one beside it: ".", FILE, what it is. */
static int path_of(const char *store, const char *host, const char *file,
                   const char *what, char *path, ecert_err_t *err)
{
    return ecert_file_path(path, err, "%s/dcv/%s/%s%s%s", store, host,
                           what[0] ? "." : "", file, what);
}

static int folder_of(const char *store, const char *host, char *path,
                     ecert_err_t *err)
{
    return ecert_file_path(path, err, "%s/dcv/%s", store, host);
}

json_t *ecert_token_origin(const char *store, const char *host,
                           const char *file, ecert_err_t *err)
{
    char path[PATH_MAX];
    json_t *json = NULL;

    if (path_of(store, host, file, ".json", path, err) == 0) {
        json = ecert_json_read(path, err);
    }
    return json == NULL && !ecert_err_refused(err) ? json_object() : json;
}

static int is_other_order(const ecert_token_owner_t *owner, json_int_t request)
{
    for (size_t i = 0; i < owner->n_waiting; i++) {
        if ((json_int_t)owner->waiting[i] == request) {
            return (json_int_t)owner->request != request;
        }
    }
    return 0;
}

/* -1 when that cannot be told. */
static int is_ours(const char *store, const char *host, const char *file,
                   const ecert_token_owner_t *owner, ecert_err_t *err)
{
    json_t *origin = ecert_token_origin(store, host, file, err);
    const char *site = ecert_json_text(origin, "site");
    json_int_t request = json_integer_value(json_object_get(origin, "request"));
    int ours = site != NULL && strcmp(site, owner->site) == 0
               && !is_other_order(owner, request);

    if (origin == NULL) {
        return -1;
    }
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
                const unsigned char *body, size_t len,
                const ecert_token_owner_t *owner, ecert_token_was_t *was,
                ecert_err_t *err)
{
    char path[PATH_MAX], saved[PATH_MAX];
    ecert_file_t old;
    int ours, rc = 0;

    *was = ECERT_TOKEN_NEW;
    if (path_of(store, host, file, "", path, err) != 0) {
        return -1;
    }
    if (ecert_file_read(path, ECERT_DCV_BODY_MAX, NULL, &old, err) != 0) {
        return err->code == ECERT_ERR_MISSING || err->code == ECERT_ERR_EMPTY
                   ? 0
                   : -1;
    }
    ours = is_ours(store, host, file, owner, err);
    if (ours < 0) {
        ecert_file_free(&old);
        return -1;
    }
    *was = compare(&old, body, len, ours);
    if (*was == ECERT_TOKEN_FOREIGN) {
        rc = path_of(store, host, file, ".saved", saved, err) == 0
                 ? ecert_file_write(saved, old.bytes, old.len, 0644, err)
                 : -1;
    }
    ecert_file_free(&old);
    return rc;
}

int ecert_token_put(const char *store, const char *host, const char *file,
                    const unsigned char *body, size_t len,
                    const ecert_token_owner_t *owner, int64_t now,
                    ecert_token_was_t *was, ecert_err_t *err)
{
    char folder[PATH_MAX], path[PATH_MAX], origin[PATH_MAX];
    json_t *json;
    int rc;

    if (folder_of(store, host, folder, err) != 0
        || path_of(store, host, file, "", path, err) != 0
        || path_of(store, host, file, ".json", origin, err) != 0
        || ecert_file_folder(folder, 0755, err) != 0
        || look(store, host, file, body, len, owner, was, err) != 0) {
        return -1;
    }
    ecert_stage_sweep(folder); /* after a command that was killed */
    json = json_object();
    ecert_json_set_text(json, "site", owner->site);
    if (owner->request) {
        json_object_set_new(json, "request",
                            json_integer((json_int_t)owner->request));
    }
    ecert_json_set_date(json, "added", now);
    rc = ecert_file_write(path, body, len, 0644, err);
    if (rc == 0) {
        rc = ecert_json_write(origin, json, 0600, err);
    }
    json_decref(json);
    return rc;
}

static int unlink_both(int dir, const char *file)
{
    char side[NAME_MAX + 32];

    if (unlinkat(dir, file, 0) != 0) {
        return errno == ENOENT ? 0 : -1;
    }
    snprintf(side, sizeof(side), ".%s.json", file);
    unlinkat(dir, side, 0);
    return ecert_entry_sync(dir) == 0 ? 1 : -1;
}

int ecert_token_remove(const char *store, const char *host, const char *file,
                       ecert_err_t *err)
{
    char folder[PATH_MAX];
    ecert_walk_t walk;
    int rc;

    if (folder_of(store, host, folder, err) != 0) {
        return -1;
    }
    if (ecert_walk(&walk, folder, ECERT_WALK_FOLDER, NULL, err) != 0) {
        return err->code == ECERT_ERR_MISSING ? 0 : -1;
    }
    rc = unlink_both(walk.dir, file);
    if (rc < 0) {
        ecert_err(err, ECERT_ERR_SYSTEM, folder, "remove %s", file);
    }
    ecert_walk_end(&walk);
    return rc;
}
