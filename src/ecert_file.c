#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "ecert_trail.h"
#include "ecert_walk.h"

#define READ_FLAGS (O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC)

/* Coarser than any tick by which a kernel stamps files. */
#define TICK_NS 100000000

static int same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino
           && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec
           && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec
           && a->st_ctim.tv_sec == b->st_ctim.tv_sec
           && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/*
 * A file changed within the present tick may change once more and keep its
 * times: what was seen of it proves nothing.
 */
static int just_changed(const struct stat *st)
{
    struct timespec now;
    int64_t age;

    if (clock_gettime(CLOCK_REALTIME, &now) != 0
        || st->st_ctim.tv_sec < now.tv_sec - 1
        || st->st_ctim.tv_sec > now.tv_sec + 1) {
        return 0;
    }
    age = (now.tv_sec - st->st_ctim.tv_sec) * INT64_C(1000000000) + now.tv_nsec
          - st->st_ctim.tv_nsec;
    return age < TICK_NS && age > -TICK_NS;
}

static int changing(const ecert_walk_t *walk, ecert_err_t *err)
{
    return ecert_err(err, ECERT_ERR_CHANGING, walk->path, NULL);
}

static int check_size(const ecert_walk_t *walk, const struct stat *st,
                      size_t max, ecert_err_t *err)
{
    if (st->st_size == 0) {
        return ecert_err(err, ECERT_ERR_EMPTY, walk->path, NULL);
    }
    if (st->st_size < 0 || (uint64_t)st->st_size > max) {
        return ecert_err(err, ECERT_ERR_TOO_LARGE, walk->path,
                         "it has %lld bytes, at most %zu are allowed",
                         (long long)st->st_size, max);
    }
    return 0;
}

/* Reads what fstat promised; fewer or more bytes are a file that changes. */
static int read_bytes(const ecert_walk_t *walk, int fd, ecert_file_t *file,
                      ecert_err_t *err)
{
    size_t size = (size_t)file->st.st_size;
    struct stat after;

    file->bytes = malloc(size + 1);
    if (file->bytes == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, walk->path, NULL);
    }
    while (file->len < size) {
        ssize_t n = read(fd, file->bytes + file->len, size - file->len);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return ecert_err_errno(err, walk->path, "read");
        }
        if (n == 0) {
            return changing(walk, err);
        }
        file->len += (size_t)n;
    }
    file->bytes[file->len] = '\0';
    if (fstat(fd, &after) != 0) {
        return ecert_err_errno(err, walk->path, "look at the open file");
    }
    return same_file(&file->st, &after) ? 0 : changing(walk, err);
}

/*
 * Between the walk and this the name may have got another file: all that was
 * checked is checked again on the descriptor that is read.
 */
static int open_file(const ecert_walk_t *walk, struct stat *st,
                     ecert_err_t *err)
{
    int fd = openat(walk->dir, walk->name, READ_FLAGS);

    if (fd < 0 && (errno == ELOOP || errno == ENXIO)) {
        return changing(walk, err);
    }
    if (fd < 0) {
        return ecert_err_errno(err, walk->path, "open");
    }
    if (fstat(fd, st) != 0) {
        ecert_err_errno(err, walk->path, "look at the open file");
    } else if (ecert_walk_file(walk, st, err) == 0) {
        return fd;
    }
    close(fd);
    return -1;
}

static int read_entry(ecert_walk_t *walk, size_t max, ecert_file_t *file,
                      ecert_err_t *err)
{
    int fd, rc;

    file->st = walk->st;
    if (ecert_walk_file(walk, &walk->st, err) != 0) {
        return -1;
    }
    fd = open_file(walk, &file->st, err);
    if (fd < 0) {
        return -1;
    }
    rc = check_size(walk, &file->st, max, err);
    if (rc == 0) {
        rc = read_bytes(walk, fd, file, err);
    }
    close(fd);
    return rc;
}

/* Failures that may end although the file stays as it is. */
static int passing(ecert_code_t code)
{
    return code == ECERT_ERR_CHANGING || code == ECERT_ERR_SYSTEM
           || code == ECERT_ERR_MISSING || code == ECERT_ERR_MEMORY;
}

int ecert_file_read(const char *path, size_t max, ecert_trail_t *trail,
                    ecert_file_t *file, ecert_err_t *err)
{
    ecert_walk_t walk;
    int rc;

    memset(file, 0, sizeof(*file));
    if (ecert_walk(&walk, path, ECERT_WALK_ENTRY, trail, err) != 0) {
        return -1;
    }
    rc = read_entry(&walk, max, file, err);
    ecert_trail_stat(trail, path, &file->st);
    if ((rc != 0 && passing(err->code)) || just_changed(&file->st)) {
        ecert_trail_unlike(trail);
    }
    if (rc != 0) {
        ecert_file_free(file);
    }
    ecert_walk_end(&walk);
    return rc;
}

void ecert_file_free(ecert_file_t *file)
{
    if (file->bytes != NULL) {
        OPENSSL_cleanse(file->bytes, file->len);
        free(file->bytes);
    }
    file->bytes = NULL;
    file->len = 0;
}

int ecert_file_look(const char *path, ecert_trail_t *trail, ecert_err_t *err)
{
    ecert_walk_t walk;
    int rc;

    if (ecert_walk(&walk, path, ECERT_WALK_ENTRY, trail, err) != 0) {
        return -1;
    }
    rc = ecert_walk_file(&walk, &walk.st, err);
    ecert_trail_stat(trail, path, &walk.st);
    ecert_walk_end(&walk);
    return rc;
}

typedef struct {
    char **names;
    size_t n;
    size_t size;
} list_t;

static int list_add(list_t *list, const char *name)
{
    if (list->n == list->size) {
        size_t size = list->size ? 2 * list->size : 16;
        char **names = realloc(list->names, size * sizeof(*names));

        if (names == NULL) {
            return -1;
        }
        list->names = names;
        list->size = size;
    }
    list->names[list->n] = strdup(name);
    return list->names[list->n] != NULL ? (list->n++, 0) : -1;
}

static int list_read(DIR *dir, const char *path, size_t max, list_t *list,
                     ecert_err_t *err)
{
    struct dirent *entry;

    while ((errno = 0, entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        if (list->n == max) {
            return ecert_err(err, ECERT_ERR_TOO_MANY, path,
                             "the folder has more than %zu entries", max);
        }
        if (list_add(list, entry->d_name) != 0) {
            return ecert_err(err, ECERT_ERR_MEMORY, path, NULL);
        }
    }
    return errno == 0 ? 0 : ecert_err_errno(err, path, "list the folder");
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_folder(const ecert_walk_t *walk, size_t max, list_t *list,
                       ecert_err_t *err)
{
    int rc, fd = openat(walk->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir;

    if (fd < 0) {
        return ecert_err_errno(err, walk->path, "open the folder");
    }
    dir = fdopendir(fd);
    if (dir == NULL) {
        close(fd);
        return ecert_err(err, ECERT_ERR_MEMORY, walk->path, NULL);
    }
    rc = list_read(dir, walk->path, max, list, err);
    closedir(dir);
    if (rc == 0 && list->n > 1) {
        qsort(list->names, list->n, sizeof(*list->names), by_text);
    }
    return rc;
}

int ecert_file_list(const char *path, size_t max, ecert_trail_t *trail,
                    char ***names, size_t *n, ecert_err_t *err)
{
    list_t list = {0};
    ecert_walk_t walk;
    int rc;

    *names = NULL;
    *n = 0;
    if (ecert_walk(&walk, path, ECERT_WALK_FOLDER, trail, err) != 0) {
        return -1;
    }
    rc = list_folder(&walk, max, &list, err);
    ecert_walk_end(&walk);
    if (rc != 0) {
        ecert_trail_failure(trail, path, err->code);
        ecert_names_free(list.names, list.n);
        return -1;
    }
    ecert_trail_text(trail, path);
    for (size_t i = 0; i < list.n; i++) {
        ecert_trail_text(trail, list.names[i]);
    }
    *names = list.names;
    *n = list.n;
    return 0;
}

int ecert_file_path(char *out, ecert_err_t *err, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(out, PATH_MAX, fmt, args);
    va_end(args);
    if (n >= 0 && n < PATH_MAX) {
        return 0;
    }
    errno = ENAMETOOLONG;
    ecert_err(err, ECERT_ERR_SYSTEM, out, NULL);
    out[0] = '\0';
    return -1;
}
