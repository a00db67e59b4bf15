#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "ecert_json.h"
#include "ecert_name.h"
#include "ecert_store.h"

#define NAMES_MAX 10000

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Leaves the site's own name first, the others sorted and once each. */
static void tidy(ecert_site_json_t *json)
{
    size_t kept = 1;

    qsort(json->names + 1, json->n_names - 1, sizeof(*json->names), by_text);
    for (size_t i = 1; i < json->n_names; i++) {
        if (strcmp(json->names[i], json->names[0]) == 0
            || strcmp(json->names[i], json->names[kept - 1]) == 0) {
            free(json->names[i]);
        } else {
            json->names[kept++] = json->names[i];
        }
    }
    json->n_names = kept;
}

static int add_name(ecert_site_json_t *json, const char *name, const char *file,
                    ecert_err_t *err)
{
    json->names[json->n_names] = strdup(name);
    if (json->names[json->n_names] == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, file, NULL);
    }
    json->n_names++;
    return 0;
}

static int wrong(const char *file, const char *member, const char *expected,
                 ecert_err_t *err)
{
    return ecert_err(err, ECERT_ERR_SITE, file, "member \"%s\" is not %s",
                     member, expected);
}

static int take_name(const json_t *value, size_t i, const char *file,
                     ecert_site_json_t *json, ecert_err_t *err)
{
    const char *text = ecert_json_string(value);
    char name[ECERT_NAME_MAX];
    ecert_err_t why;

    if (text == NULL) {
        return ecert_err(err, ECERT_ERR_SITE, file,
                         "member \"names\": element %zu is not a string",
                         i + 1);
    }
    if (ecert_name_ascii(text, name, &why) != 0) {
        if (ecert_err_refused(&why)) {
            return ecert_err(err, ECERT_ERR_MEMORY, file, NULL);
        }
        return ecert_err(err, ECERT_ERR_SITE, file,
                         "member \"names\": \"%s\" is not a host name%s%s",
                         text, why.detail[0] ? ": " : "", why.detail);
    }
    return add_name(json, name, file, err);
}

/* Also without the member: the site's own name stands first, always. */
static int take_names(const json_t *names, const char *ascii, const char *file,
                      ecert_site_json_t *json, ecert_err_t *err)
{
    size_t n = json_array_size(names);

    if (names != NULL && !json_is_array(names)) {
        return wrong(file, "names", "an array of strings", err);
    }
    if (n > NAMES_MAX) {
        return ecert_err(err, ECERT_ERR_SITE, file,
                         "member \"names\" has %zu elements, at most %d are "
                         "allowed",
                         n, NAMES_MAX);
    }
    json->names = calloc(n + 1, sizeof(*json->names));
    if (json->names == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, file, NULL);
    }
    if (add_name(json, ascii, file, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (take_name(json_array_get(names, i), i, file, json, err) != 0) {
            return -1;
        }
    }
    tidy(json);
    return 0;
}

static int take_catalogue(const json_t *value, const char *file,
                          ecert_site_json_t *json, ecert_err_t *err)
{
    const char *text = ecert_json_string(value);

    if (value == NULL) {
        return 0;
    }
    if (text == NULL || text[0] != '/' || strlen(text) >= PATH_MAX) {
        return wrong(file, "catalogue", "an absolute path", err);
    }
    json->catalogue = strdup(text);
    return json->catalogue != NULL
               ? 0
               : ecert_err(err, ECERT_ERR_MEMORY, file, NULL);
}

static int take_policy(const json_t *policy, const char *file,
                       ecert_site_json_t *json, ecert_err_t *err)
{
    const json_t *cross = json_object_get(policy, "cross_certificate");
    const char *text = ecert_json_string(cross);
    ecert_err_t why;

    if (policy != NULL && !json_is_object(policy)) {
        return wrong(file, "policy", "an object", err);
    }
    if (cross == NULL) {
        return 0;
    }
    if (text == NULL) {
        return wrong(file, "policy.cross_certificate", "a string", err);
    }
    if (ecert_cross_parse(text, &json->cross, &why) != 0) {
        return ecert_err(err, ECERT_ERR_SITE, file,
                         "member \"policy.cross_certificate\": %s", why.detail);
    }
    return 0;
}

static int take_members(const json_t *root, const char *ascii, const char *file,
                        ecert_site_json_t *json, ecert_err_t *err)
{
    const json_t *subject = json_object_get(root, "subject");

    if (!json_is_object(root)) {
        return ecert_err(err, ECERT_ERR_SITE, file, "it is not a JSON object");
    }
    if (subject != NULL && !json_is_object(subject)) {
        return wrong(file, "subject", "an object", err);
    }
    if (take_names(json_object_get(root, "names"), ascii, file, json, err) != 0
        || take_catalogue(json_object_get(root, "catalogue"), file, json, err)
               != 0) {
        return -1;
    }
    return take_policy(json_object_get(root, "policy"), file, json, err);
}

static int parse(const ecert_file_t *in, const char *ascii, const char *file,
                 ecert_site_json_t *json, ecert_err_t *err)
{
    json_t *root = ecert_json_parse(in->bytes, in->len, file, err);
    int rc = root ? take_members(root, ascii, file, json, err) : -1;

    json_decref(root);
    return rc;
}

/*
 * The folder above is sites/: if each site depended on it, one new site would
 * have all of them looked at.
 */
static int read_file(const char *path, ecert_trail_t *trail, ecert_file_t *file,
                     ecert_err_t *err)
{
    int rc, narrow;

    if (trail == NULL) {
        return ecert_file_read(path, ECERT_FILE_MAX, NULL, file, err);
    }
    narrow = trail->narrow;
    trail->narrow = 1;
    rc = ecert_file_read(path, ECERT_FILE_MAX, trail, file, err);
    trail->narrow = narrow;
    return rc;
}

int ecert_store_json(const char *site_dir, const char *ascii,
                     ecert_trail_t *trail, ecert_site_json_t *json,
                     ecert_err_t *err)
{
    char path[PATH_MAX];
    ecert_file_t file;
    int rc;

    memset(json, 0, sizeof(*json));
    rc = snprintf(path, sizeof(path), "%s/site.json", site_dir);
    if (rc < 0 || (size_t)rc >= sizeof(path)) {
        return ecert_err(err, ECERT_ERR_SITE, site_dir, "the path is too long");
    }
    rc = read_file(path, trail, &file, err);
    if (rc == 0) {
        rc = parse(&file, ascii, path, json, err);
        ecert_file_free(&file);
    } else if (err->code == ECERT_ERR_MISSING) {
        rc = take_names(NULL, ascii, path, json, err);
    }
    if (rc != 0) {
        ecert_site_json_free(json);
    }
    return rc;
}

void ecert_site_json_free(ecert_site_json_t *json)
{
    ecert_names_free(json->names, json->n_names);
    free(json->catalogue);
    memset(json, 0, sizeof(*json));
}
