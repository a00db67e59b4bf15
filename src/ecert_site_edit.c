#include "ecert_site_edit.h"

#include <limits.h>
#include <stdio.h>

#include "ecert_file.h"
#include "ecert_json.h"
#include "ecert_name.h"
#include "ecert_store.h"

static void path_of(const char *site_dir, char *path)
{
    snprintf(path, PATH_MAX, "%.4000s/site.json", site_dir);
}

json_t *ecert_site_read(const char *site_dir, ecert_err_t *err)
{
    char path[PATH_MAX];
    json_t *json;

    path_of(site_dir, path);
    json = ecert_json_read(path, err);
    return json == NULL && err->code == ECERT_ERR_MISSING ? json_object()
                                                          : json;
}

static json_t *change(const json_t *old, char *const *names, size_t n_names,
                      const json_t *more)
{
    json_t *new = json_deep_copy(old);

    if (n_names > 1 || json_object_get(old, "names") != NULL) {
        json_object_set_new(new, "names",
                            ecert_json_texts(names + 1, n_names - 1));
    }
    if (more != NULL) {
        json_object_update(new, (json_t *)(uintptr_t)more);
    }
    return new;
}

int ecert_site_changes(const json_t *old, char *const *names, size_t n_names,
                       const json_t *more)
{
    json_t *new = change(old, names, n_names, more);
    int same = json_equal(old, new);

    json_decref(new);
    return !same;
}

int ecert_site_write(const char *site_dir, char *const *names, size_t n_names,
                     const json_t *more, ecert_err_t *err)
{
    json_t *old = ecert_site_read(site_dir, err), *new;
    char path[PATH_MAX];
    int rc = 0;

    if (old == NULL) {
        return -1;
    }
    new = change(old, names, n_names, more);
    if (!json_equal(old, new)) {
        path_of(site_dir, path);
        rc = ecert_json_write(path, new, 0600, err);
    }
    json_decref(new);
    json_decref(old);
    return rc;
}

int ecert_site_folder(const char *store, const char *ascii, char *path,
                      ecert_err_t *err)
{
    char slug[ECERT_NAME_MAX];

    if (ecert_store_prepare(store, err) != 0) {
        return -1;
    }
    if (ecert_store_site(store, ascii, NULL, path, err) == 0) {
        return 0;
    }
    if (err->code != ECERT_ERR_NO_SITE
        || ecert_name_slug(ascii, slug, err) != 0) {
        return -1;
    }
    snprintf(path, PATH_MAX, "%.3800s/sites/%s", store, slug);
    return ecert_file_folder(path, 0700, err);
}
