#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ecert_name.h"
#include "ecert_store.h"
#include "ecert_trail.h"
#include "ecert_walk.h"

#define GENERATIONS_MAX 10000

static int join(char *out, const char *folder, const char *name,
                ecert_err_t *err)
{
    return ecert_file_path(out, err, "%s/%s", folder, name);
}

int ecert_store_prepare(const char *store, ecert_err_t *err)
{
    static const struct {
        const char *name;
        mode_t mode;
    } folders[] = {
        {"issuers", 0755},
        {"sites", 0700},
        {"dcv", 0755},
        {"placeholder", 0700},
    };
    char path[PATH_MAX];

    if (ecert_file_folder(store, 0700, err) != 0) {
        return err->code == ECERT_ERR_UNSAFE
                   ? -1
                   : ecert_err_hint(err, "correct ecert_store (ECertStore), "
                                         "or make the folder above it");
    }
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        if (join(path, store, folders[i].name, err) != 0
            || ecert_file_folder(path, folders[i].mode, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int is_folder(const char *path, ecert_trail_t *trail, ecert_err_t *err)
{
    ecert_walk_t walk;

    if (ecert_walk(&walk, path, ECERT_WALK_FOLDER, trail, err) != 0) {
        return -1;
    }
    ecert_walk_end(&walk);
    return 0;
}

/*
 * 1 when the folder is there under this name.  What it depended on is noted
 * only then: a spelling that is not there is no reason to look again, the
 * list of all sites is.
 */
static int try_folder(const char *sites, const char *name, ecert_trail_t *trail,
                      char *path, ecert_err_t *err)
{
    ecert_err_t ignored;

    if (join(path, sites, name, err) != 0) {
        return -1;
    }
    if (is_folder(path, NULL, err) == 0) {
        return is_folder(path, trail, err) == 0 ? 1 : -1;
    }
    if (err->code == ECERT_ERR_MISSING) {
        return 0;
    }
    is_folder(path, trail, &ignored);
    return -1;
}

static int no_site(const char *sites, const char *ascii, ecert_err_t *err)
{
    char path[PATH_MAX], slug[ECERT_NAME_MAX];

    if (ecert_name_slug(ascii, slug, err) != 0
        || join(path, sites, slug, err) != 0) {
        return -1;
    }
    if (is_folder(sites, NULL, err) == 0) {
        return ecert_err(err, ECERT_ERR_NO_SITE, path, NULL);
    }
    return err->code == ECERT_ERR_MISSING ? ecert_err(
               err, ECERT_ERR_NO_SITE, path, "nor is there a folder %s", sites)
                                          : -1;
}

/* Every other spelling: "*." on disk, Unicode, upper case. */
static int search_site(const char *sites, const char *ascii,
                       ecert_trail_t *trail, char *path, ecert_err_t *err)
{
    char **names, name[ECERT_NAME_MAX];
    size_t n;
    int rc = 0;

    if (ecert_file_list(sites, ECERT_SITES_MAX, trail, &names, &n, err) != 0) {
        return err->code == ECERT_ERR_MISSING ? no_site(sites, ascii, err) : -1;
    }
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (ecert_name_unslug(names[i], name, err) != 0) {
            rc = -ecert_err_refused(err);
        } else if (strcmp(name, ascii) == 0) {
            rc = try_folder(sites, names[i], trail, path, err);
        }
    }
    ecert_names_free(names, n);
    if (rc != 0) {
        return rc < 0 ? -1 : 0;
    }
    return no_site(sites, ascii, err);
}

int ecert_store_site(const char *store, const char *ascii, ecert_trail_t *trail,
                     char *path, ecert_err_t *err)
{
    char sites[PATH_MAX], slug[ECERT_NAME_MAX];
    int rc;

    if (join(sites, store, "sites", err) != 0
        || ecert_name_slug(ascii, slug, err) != 0) {
        return -1;
    }
    rc = try_folder(sites, slug, trail, path, err);
    if (rc != 0) {
        return rc < 0 ? -1 : 0;
    }
    return search_site(sites, ascii, trail, path, err);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorts, and frees doubles; returns how many are left. */
static size_t unique(char **names, size_t n)
{
    size_t kept = 0;

    if (n > 1) {
        qsort(names, n, sizeof(*names), by_text);
    }
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && strcmp(names[kept - 1], names[i]) == 0) {
            free(names[i]);
        } else {
            names[kept++] = names[i];
        }
    }
    return kept;
}

/* The site's name in this folder of sites/, or NULL when it is none: rc is 0
 * then, and -1 when that cannot be told. */
static char *site_name(const char *sites, const char *folder, int *rc,
                       ecert_err_t *err)
{
    char path[PATH_MAX], name[ECERT_NAME_MAX], *copy;

    *rc = 0;
    if (ecert_name_unslug(folder, name, err) != 0
        || join(path, sites, folder, err) != 0
        || (is_folder(path, NULL, err) != 0
            && err->code != ECERT_ERR_UNSAFE)) { /* it is there, and is told */
        *rc = -ecert_err_refused(err);
        return NULL;
    }
    copy = strdup(name);
    *rc = copy ? 0 : ecert_err(err, ECERT_ERR_MEMORY, path, NULL);
    return copy;
}

int ecert_store_none(ecert_err_t *err)
{
    return err->code == ECERT_ERR_MISSING
               ? ecert_err_hint(err, "there is no store yet: ecert new NAME "
                                     "makes it, or say --store DIR")
               : -1;
}

int ecert_store_sites(const char *store, char ***names, size_t *n,
                      ecert_err_t *err)
{
    char sites[PATH_MAX], **folders;
    size_t n_folders, kept = 0;
    int rc = 0, failed = 0;

    *names = NULL;
    *n = 0;
    if (is_folder(store, NULL, err) != 0) {
        return ecert_store_none(err);
    }
    if (join(sites, store, "sites", err) != 0) {
        return -1;
    }
    if (ecert_file_list(sites, ECERT_SITES_MAX, NULL, &folders, &n_folders, err)
        != 0) {
        return err->code == ECERT_ERR_MISSING ? 0 : -1;
    }
    for (size_t i = 0; i < n_folders; i++) {
        char *name = failed ? NULL : site_name(sites, folders[i], &rc, err);

        free(folders[i]);
        failed |= rc != 0;
        if (name != NULL) {
            folders[kept++] = name;
        }
    }
    if (failed) {
        ecert_names_free(folders, kept);
        return -1;
    }
    *names = folders;
    *n = unique(folders, kept);
    return 0;
}

/* A number as it names a generation: digits alone, none too many in front. */
static int generation(const char *name, size_t len, int64_t *number)
{
    int64_t value = 0;

    if (len == 0 || len > 18 || (name[0] == '0' && len > 1)) {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        if (name[i] < '0' || name[i] > '9') {
            return 0;
        }
        value = 10 * value + (name[i] - '0');
    }
    *number = value;
    return 1;
}

/* The last component of generations/N, however it is written, or -1. */
static int64_t target_number(const char *target)
{
    static const char folder[] = "generations";
    size_t end = strlen(target), start, len = sizeof(folder) - 1;
    int64_t number;

    while (end > 0 && target[end - 1] == '/') {
        end--;
    }
    start = end;
    while (start > 0 && target[start - 1] != '/') {
        start--;
    }
    if (!generation(target + start, end - start, &number)) {
        return -1;
    }
    while (start > 0 && target[start - 1] == '/') {
        start--;
    }
    if (start < len || memcmp(target + start - len, folder, len) != 0
        || (start > len && target[start - len - 1] != '/')) {
        return -1;
    }
    return number;
}

static int read_current(const char *site_dir, ecert_trail_t *trail,
                        int64_t *current, ecert_err_t *err)
{
    char path[PATH_MAX], target[PATH_MAX] = "";
    ecert_walk_t walk;
    ssize_t n = 0;

    *current = -1;
    if (join(path, site_dir, "current", err) != 0) {
        return -1;
    }
    if (ecert_walk(&walk, path, ECERT_WALK_LINK, trail, err) != 0) {
        return err->code == ECERT_ERR_MISSING ? 0 : -1;
    }
    if (S_ISLNK(walk.st.st_mode)) {
        n = readlinkat(walk.entry, "", target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        *current = target_number(target);
    }
    if (n < 0) {
        ecert_err_errno(err, path, "read the link");
    }
    ecert_trail_text(trail, path);
    ecert_trail_text(trail, target);
    ecert_walk_end(&walk);
    return n < 0 ? -1 : 0;
}

static int newest_first(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x < y) - (x > y);
}

int ecert_store_numbers(const char *folder, size_t max, ecert_trail_t *trail,
                        uint64_t **numbers, size_t *n, ecert_err_t *err)
{
    char **names;
    size_t n_names;
    int64_t number;

    *numbers = NULL;
    *n = 0;
    if (ecert_file_list(folder, max, trail, &names, &n_names, err) != 0) {
        return err->code == ECERT_ERR_MISSING ? 0 : -1;
    }
    *numbers = calloc(n_names + 1, sizeof(**numbers));
    for (size_t i = 0; i < n_names && *numbers != NULL; i++) {
        if (generation(names[i], strlen(names[i]), &number)) {
            (*numbers)[(*n)++] = (uint64_t)number;
        }
    }
    ecert_names_free(names, n_names);
    if (*numbers == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, folder, NULL);
    }
    qsort(*numbers, *n, sizeof(**numbers), newest_first);
    return 0;
}

int ecert_store_generations(const char *site_dir, ecert_trail_t *trail,
                            uint64_t **numbers, size_t *n, int64_t *current,
                            ecert_err_t *err)
{
    char path[PATH_MAX];

    *numbers = NULL;
    *n = 0;
    if (read_current(site_dir, trail, current, err) != 0
        || join(path, site_dir, "generations", err) != 0) {
        return -1;
    }
    return ecert_store_numbers(path, GENERATIONS_MAX, trail, numbers, n, err);
}

int ecert_store_next(const char *site_dir, uint64_t *number, ecert_err_t *err)
{
    static const char *const folders[] = {"generations", "pending"};
    char path[PATH_MAX];

    *number = 1;
    for (size_t i = 0; i < 2; i++) {
        uint64_t *numbers;
        size_t n;

        if (join(path, site_dir, folders[i], err) != 0
            || ecert_store_numbers(path, GENERATIONS_MAX, NULL, &numbers, &n,
                                   err)
                   != 0) {
            return -1;
        }
        if (n > 0 && numbers[0] >= *number) {
            *number = numbers[0] + 1;
        }
        free(numbers);
    }
    return 0;
}
