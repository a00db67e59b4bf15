#include "ecert_swap.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ecert_entry.h"
#include "ecert_file.h"
#include "ecert_generation.h"
#include "ecert_json.h"
#include "ecert_name.h"
#include "ecert_site_edit.h"
#include "ecert_store.h"
#include "ecert_walk.h"

#define RECORD ".swap.json"

static int record_path(const char *site_dir, char *path, ecert_err_t *err)
{
    return ecert_file_path(path, err, "%s/" RECORD, site_dir);
}

/* The names of site.json as it is, the own one first; NULL: it says none. */
static json_t *names_before(const json_t *site, const char *ascii)
{
    json_t *names = json_object_get(site, "names"), *all;

    if (!json_is_array(names)) {
        return NULL;
    }
    all = json_pack("[s]", ascii);
    json_array_extend(all, names);
    return all;
}

static json_t *describe(const json_t *before, uint64_t number,
                        char *const *names, size_t n_names, const json_t *site)
{
    json_t *record = json_object();
    json_t *old = names_before(before, names[0]);

    json_object_set_new(record, "generation", json_integer((json_int_t)number));
    json_object_set_new(record, "names", ecert_json_texts(names, n_names));
    if (site != NULL) {
        json_object_set_new(record, "site", json_deep_copy(site));
    }
    if (old != NULL) {
        json_object_set_new(record, "names_before", old);
    }
    return record;
}

/* 1 when a record is there now, 0 when site.json stays as it is. */
static int put_record(const char *site_dir, uint64_t number, char *const *names,
                      size_t n_names, const json_t *site, ecert_err_t *err)
{
    json_t *before = ecert_site_read(site_dir, err), *record;
    char path[PATH_MAX];
    int rc;

    if (before == NULL) {
        return -1;
    }
    if (!ecert_site_changes(before, names, n_names, site)) {
        json_decref(before);
        return 0;
    }
    record = describe(before, number, names, n_names, site);
    rc = record_path(site_dir, path, err) == 0
             ? ecert_json_write(path, record, 0600, err)
             : -1;
    json_decref(record);
    json_decref(before);
    return rc == 0 ? 1 : -1;
}

/*
 * Names that the new leaf lacks go first, the leaf comes, and then the names
 * that the old one lacked: in between all is in order for the agents.
 */
static int drop_names(const char *site_dir, X509 *leaf, const char *ascii,
                      ecert_err_t *err)
{
    ecert_site_json_t json;
    size_t kept = 0;
    int rc = 0;

    if (ecert_store_json(site_dir, ascii, NULL, &json, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < json.n_names; i++) {
        char *name = json.names[i];

        if (i == 0 || ecert_name_covered(leaf, name)) {
            json.names[kept++] = name;
        } else {
            free(name);
        }
    }
    if (kept < json.n_names) {
        json.n_names = kept;
        rc = ecert_site_write(site_dir, json.names, kept, NULL, err);
    }
    ecert_site_json_free(&json);
    return rc;
}

/* ---- to its end, one way or the other ---------------------------------- */

static int is_current(const char *site_dir, const json_t *record, int *is,
                      ecert_err_t *err)
{
    json_int_t number =
        json_integer_value(json_object_get(record, "generation"));
    uint64_t *numbers;
    int64_t current;
    size_t n;

    if (ecert_store_generations(site_dir, NULL, &numbers, &n, &current, err)
        != 0) {
        return -1;
    }
    free(numbers);
    *is = current == number;
    return 0;
}

static int write_names(const char *site_dir, const json_t *record,
                       const char *member, const json_t *site, ecert_err_t *err)
{
    char **names;
    size_t n;
    int rc = 0;

    if (ecert_json_names(record, member, site_dir, &names, &n, err) != 0) {
        return -1;
    }
    if (n > 0) {
        rc = ecert_site_write(site_dir, names, n, site, err);
    }
    ecert_names_free(names, n);
    return rc;
}

static int drop_record(const char *site_dir, ecert_err_t *err)
{
    ecert_walk_t walk;
    int rc;

    if (ecert_walk(&walk, site_dir, ECERT_WALK_FOLDER, NULL, err) != 0) {
        return -1;
    }
    rc = unlinkat(walk.dir, RECORD, 0);
    if (rc != 0) {
        ecert_err(err, ECERT_ERR_SYSTEM, site_dir, "remove " RECORD);
    } else if (ecert_entry_sync(walk.dir) != 0) { /* it would be carried on */
        rc = ecert_err(err, ECERT_ERR_SYSTEM, site_dir,
                       "write the folder to the disk");
    }
    ecert_walk_end(&walk);
    return rc;
}

static int settle(const char *site_dir, const json_t *record, ecert_err_t *err)
{
    int is;

    if (is_current(site_dir, record, &is, err) != 0
        || write_names(site_dir, record, is ? "names" : "names_before",
                       is ? json_object_get(record, "site") : NULL, err)
               != 0) {
        return -1;
    }
    return drop_record(site_dir, err);
}

int ecert_swap_finish(const char *site_dir, ecert_err_t *err)
{
    char path[PATH_MAX];
    json_t *record;
    int rc;

    if (record_path(site_dir, path, err) != 0) {
        return -1;
    }
    record = ecert_json_read(path, err);
    if (record == NULL) {
        return err->code == ECERT_ERR_MISSING ? 0 : -1;
    }
    rc = settle(site_dir, record, err);
    json_decref(record);
    return rc;
}

int ecert_swap(const char *site_dir, uint64_t number, X509 *leaf,
               char *const *names, size_t n_names, const json_t *site,
               ecert_err_t *err)
{
    int recorded = put_record(site_dir, number, names, n_names, site, err);
    ecert_err_t ignored;

    if (recorded < 0) {
        return -1;
    }
    if ((recorded && drop_names(site_dir, leaf, names[0], err) != 0)
        || ecert_generation_use(site_dir, number, err) != 0) {
        ecert_swap_finish(site_dir, &ignored);
        return -1;
    }
    return recorded ? ecert_swap_finish(site_dir, err) : 0;
}
