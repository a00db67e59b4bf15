#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ecert_trail.h"

#define FNV_BASIS UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x00000100000001b3)

static uint64_t fnv(uint64_t hash, const void *bytes, size_t len)
{
    const unsigned char *p = bytes;

    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ p[i]) * FNV_PRIME;
    }
    return hash;
}

void ecert_trail_init(ecert_trail_t *trail)
{
    memset(trail, 0, sizeof(*trail));
    trail->digest = FNV_BASIS;
}

void ecert_trail_free(ecert_trail_t *trail)
{
    ecert_names_free(trail->dirs, trail->n_dirs);
    free(trail->hashes);
    ecert_trail_init(trail);
}

void ecert_names_free(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(names[i]);
    }
    free(names);
}

int ecert_names_copy(char *const *names, size_t n, char ***copies,
                     size_t *n_copies, ecert_err_t *err)
{
    *copies = calloc(n + 1, sizeof(**copies));
    *n_copies = 0;
    while (*copies != NULL && *n_copies < n
           && ((*copies)[*n_copies] = strdup(names[*n_copies])) != NULL) {
        ++*n_copies;
    }
    return *copies != NULL && *n_copies == n
               ? 0
               : ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
}

static int has_dir(const ecert_trail_t *trail, const char *dir, uint64_t hash)
{
    for (size_t i = trail->n_dirs; i > 0; i--) {
        if (trail->hashes[i - 1] == hash
            && strcmp(trail->dirs[i - 1], dir) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Room for one more: both arrays double when their length is a power of 2. */
static int grow(ecert_trail_t *trail)
{
    size_t n = trail->n_dirs, size = n ? 2 * n : 4;
    char **dirs;
    uint64_t *hashes;

    if (n & (n - 1) || n == 1 || n == 2) {
        return 0;
    }
    dirs = realloc(trail->dirs, size * sizeof(*dirs));
    if (!dirs) {
        return -1;
    }
    trail->dirs = dirs;
    hashes = realloc(trail->hashes, size * sizeof(*hashes));
    if (!hashes) {
        return -1;
    }
    trail->hashes = hashes;
    return 0;
}

void ecert_trail_dir(ecert_trail_t *trail, const char *dir)
{
    uint64_t hash;
    char *copy;

    if (trail == NULL || !dir[0] || strcmp(dir, "/") == 0) {
        return;
    }
    hash = fnv(FNV_BASIS, dir, strlen(dir));
    if (has_dir(trail, dir, hash)) {
        return;
    }
    copy = grow(trail) == 0 ? strdup(dir) : NULL;
    if (!copy) {
        /* A folder that is not watched is at least looked at again. */
        ecert_trail_unlike(trail);
        return;
    }
    trail->dirs[trail->n_dirs] = copy;
    trail->hashes[trail->n_dirs++] = hash;
}

static void mix(ecert_trail_t *trail, uint64_t value)
{
    trail->digest = fnv(trail->digest, &value, sizeof(value));
}

void ecert_trail_text(ecert_trail_t *trail, const char *text)
{
    if (trail) {
        trail->digest = fnv(trail->digest, text, strlen(text) + 1);
    }
}

static void mix_time(ecert_trail_t *trail, const struct timespec *time)
{
    mix(trail, (uint64_t)time->tv_sec);
    mix(trail, (uint64_t)time->tv_nsec);
}

void ecert_trail_stat(ecert_trail_t *trail, const char *path,
                      const struct stat *st)
{
    if (trail == NULL) {
        return;
    }
    ecert_trail_text(trail, path);
    mix(trail, (uint64_t)st->st_dev);
    mix(trail, (uint64_t)st->st_ino);
    mix(trail, (uint64_t)st->st_size);
    mix_time(trail, &st->st_mtim);
    mix_time(trail, &st->st_ctim);
}

void ecert_trail_failure(ecert_trail_t *trail, const char *path,
                         ecert_code_t code)
{
    if (trail == NULL) {
        return;
    }
    ecert_trail_text(trail, path);
    mix(trail, (uint64_t)code);
}

void ecert_trail_unlike(ecert_trail_t *trail)
{
    struct timespec now;

    if (trail && clock_gettime(CLOCK_MONOTONIC, &now) == 0) {
        mix_time(trail, &now);
    }
}
