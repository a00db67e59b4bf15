#include "ecert_site_edit.h"

#include <limits.h>
#include <string.h>

#include "ecert_file.h"
#include "ecert_json.h"
#include "ecert_name.h"
#include "ecert_store.h"

static int path_of(const char *site_dir, char *path, ecert_err_t *err)
{
    return ecert_file_path(path, err, "%s/site.json", site_dir);
}

json_t *ecert_site_read(const char *site_dir, ecert_err_t *err)
{
    char path[PATH_MAX];

    return path_of(site_dir, path, err) == 0 ? ecert_json_read_or_new(path, err)
                                             : NULL;
}

/* The names count for more than what else is to be written. */
static int change(json_t *json, char *const *names, size_t n_names,
                  const json_t *more)
{
    const char *member;
    json_t *value;

    json_object_foreach((json_t *)more, member, value)
    {
        if (strcmp(member, "names") != 0
            && json_object_set(json, member, value) != 0) {
            return -1;
        }
    }
    if (n_names > 1
        || (n_names == 1 && json_object_get(json, "names") != NULL)) {
        return json_object_set_new(json, "names",
                                   ecert_json_texts(names + 1, n_names - 1));
    }
    return 0;
}

int ecert_site_changes(const json_t *old, char *const *names, size_t n_names,
                       const json_t *more)
{
    json_t *new = json_deep_copy(old);
    int changes = new == NULL || change(new, names, n_names, more) != 0
                  || !json_equal(old, new);

    json_decref(new);
    return changes;
}

int ecert_site_write(const char *site_dir, char *const *names, size_t n_names,
                     const json_t *more, ecert_err_t *err)
{
    json_t *old = ecert_site_read(site_dir, err), *new;
    char path[PATH_MAX];
    int rc;

    if (old == NULL || path_of(site_dir, path, err) != 0) {
        json_decref(old);
        return -1;
    }
    new = json_deep_copy(old);
    if (new == NULL || change(new, names, n_names, more) != 0) {
        rc = ecert_err(err, ECERT_ERR_MEMORY, path, NULL);
    } else {
        rc = json_equal(old, new) ? 0 : ecert_json_write(path, new, 0600, err);
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
    return ecert_file_path(path, err, "%s/sites/%s", store, slug) == 0
               ? ecert_file_folder(path, 0700, err)
               : -1;
}
