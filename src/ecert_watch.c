#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/inotify.h>

#include "ecert_watch.h"

/* All that changes content, names or modes; nothing that mere reading does. */
#define MASK                                                                   \
    (IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE            \
     | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF             \
     | IN_EXCL_UNLINK | IN_ONLYDIR)

/* The path no longer leads to the folder that the kernel watches. */
#define GONE (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)

#define READ_ROUNDS 64 /* so that a storm of events cannot hold the caller */
#define BUCKETS_MIN 64

/*
 * One folder by its path, shared by its subjects.  It stands in two hash
 * tables: by path, and by the kernel's watch descriptor.  Two paths may lead to
 * one inode and have one descriptor.
 */
typedef struct folder_s folder_t;
struct folder_s {
    folder_t *next_path;
    folder_t *next_wd;
    uint64_t mark;
    uint32_t hash;
    int wd; /* -1: not watched now */
    uint32_t *subjects;
    uint32_t n, size;
    char path[];
};

typedef struct {
    folder_t **folders;
    size_t n;
    uint64_t mark; /* touched in this round */
    int set;
} subject_t;

struct ecert_watch_s {
    int anew; /* ecert_watch_set has found a folder not watched before */
    int fd;
    uint64_t mark;
    folder_t **by_path;
    folder_t **by_wd;
    size_t buckets; /* of both, a power of 2 */
    size_t n_folders;
    subject_t *subjects;
    size_t n_subjects;
    uint32_t *touched; /* as many as subjects */
    size_t n_touched;
};

ecert_watch_t *ecert_watch_new(ecert_err_t *err)
{
    ecert_watch_t *watch = calloc(1, sizeof(*watch));

    if (watch == NULL) {
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        return NULL;
    }
    watch->buckets = BUCKETS_MIN;
    watch->by_path = calloc(watch->buckets, sizeof(*watch->by_path));
    watch->by_wd = calloc(watch->buckets, sizeof(*watch->by_wd));
    if (watch->by_path == NULL || watch->by_wd == NULL) {
        watch->fd = -1;
        ecert_watch_free(watch);
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        return NULL;
    }
    watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return watch;
}

void ecert_watch_free(ecert_watch_t *watch)
{
    if (watch == NULL) {
        return;
    }
    for (size_t i = 0; i < watch->buckets && watch->by_path != NULL; i++) {
        folder_t *next, *folder = watch->by_path[i];

        for (; folder != NULL; folder = next) {
            next = folder->next_path;
            free(folder->subjects);
            free(folder);
        }
    }
    for (size_t i = 0; i < watch->n_subjects; i++) {
        free(watch->subjects[i].folders);
    }
    if (watch->fd >= 0) {
        close(watch->fd);
    }
    free(watch->by_path);
    free(watch->by_wd);
    free(watch->subjects);
    free(watch->touched);
    free(watch);
}

int ecert_watch_fd(const ecert_watch_t *watch)
{
    return watch->fd;
}

static uint32_t hash_path(const char *path)
{
    uint32_t hash = 2166136261u;

    for (; *path; path++) {
        hash = (hash ^ (unsigned char)*path) * 16777619u;
    }
    return hash;
}

static folder_t **path_bucket(const ecert_watch_t *watch, uint32_t hash)
{
    return &watch->by_path[hash & (watch->buckets - 1)];
}

static folder_t **wd_bucket(const ecert_watch_t *watch, int wd)
{
    return &watch->by_wd[(unsigned)wd & (watch->buckets - 1)];
}

/* More buckets when there are more folders than buckets; fewer will do, too. */
static void grow(ecert_watch_t *watch)
{
    size_t buckets = 2 * watch->buckets, old = watch->buckets;
    folder_t **by_path, **by_wd, **old_path = watch->by_path;

    if (watch->n_folders < old) {
        return;
    }
    by_path = calloc(buckets, sizeof(*by_path));
    by_wd = calloc(buckets, sizeof(*by_wd));
    if (by_path == NULL || by_wd == NULL) {
        free(by_path);
        free(by_wd);
        return;
    }
    free(watch->by_wd);
    watch->by_path = by_path;
    watch->by_wd = by_wd;
    watch->buckets = buckets;
    for (size_t i = 0; i < old; i++) {
        folder_t *next, *folder = old_path[i];

        for (; folder != NULL; folder = next) {
            folder_t **path = path_bucket(watch, folder->hash);

            next = folder->next_path;
            folder->next_path = *path;
            *path = folder;
            if (folder->wd >= 0) {
                folder_t **wd = wd_bucket(watch, folder->wd);

                folder->next_wd = *wd;
                *wd = folder;
            }
        }
    }
    free(old_path);
}

static folder_t *find_folder(ecert_watch_t *watch, const char *path)
{
    uint32_t hash = hash_path(path);
    size_t len = strlen(path);
    folder_t *folder = *path_bucket(watch, hash);

    while (folder != NULL
           && (folder->hash != hash || strcmp(folder->path, path) != 0)) {
        folder = folder->next_path;
    }
    if (folder != NULL) {
        return folder;
    }
    folder = calloc(1, sizeof(*folder) + len + 1);
    if (folder != NULL) {
        grow(watch);
        memcpy(folder->path, path, len + 1);
        folder->hash = hash;
        folder->wd = -1;
        folder->next_path = *path_bucket(watch, hash);
        *path_bucket(watch, hash) = folder;
        watch->n_folders++;
    }
    return folder;
}

/* The next folder in the bucket with this descriptor, from folder on. */
static folder_t *with_wd(folder_t *folder, int wd)
{
    while (folder != NULL && folder->wd != wd) {
        folder = folder->next_wd;
    }
    return folder;
}

/*
 * The kernel's watch goes when no other path needs it.  It tells of that by
 * IN_IGNORED, with a number that nobody has then.
 */
static void unwatch(ecert_watch_t *watch, folder_t *folder)
{
    folder_t **at;
    int wd = folder->wd;

    if (wd < 0) {
        return;
    }
    at = wd_bucket(watch, wd);
    while (*at != folder) {
        at = &(*at)->next_wd;
    }
    *at = folder->next_wd;
    folder->wd = -1;
    if (with_wd(*wd_bucket(watch, wd), wd) == NULL) {
        inotify_rm_watch(watch->fd, wd);
    }
}

/*
 * Asking the kernel again costs little, and gives another number when the path
 * has come to lead to another folder.  0, or -1 with errno.
 */
static int renew(ecert_watch_t *watch, folder_t *folder)
{
    int wd = inotify_add_watch(watch->fd, folder->path, MASK);
    int sys = errno;

    if (wd >= 0 && wd == folder->wd) {
        return 0;
    }
    unwatch(watch, folder);
    errno = sys;
    if (wd < 0) {
        return -1;
    }
    watch->anew = 1;
    folder->wd = wd;
    folder->next_wd = *wd_bucket(watch, wd);
    *wd_bucket(watch, wd) = folder;
    return 0;
}

static void drop_folder(ecert_watch_t *watch, folder_t *folder)
{
    folder_t **at = path_bucket(watch, folder->hash);

    while (*at != folder) {
        at = &(*at)->next_path;
    }
    *at = folder->next_path;
    watch->n_folders--;
    unwatch(watch, folder);
    free(folder->subjects);
    free(folder);
}

static int join(folder_t *folder, uint32_t subject)
{
    if (folder->n == folder->size) {
        uint32_t size = folder->size ? 2 * folder->size : 2;
        uint32_t *subjects =
            realloc(folder->subjects, size * sizeof(*subjects));

        if (subjects == NULL) {
            return -1;
        }
        folder->subjects = subjects;
        folder->size = size;
    }
    folder->subjects[folder->n++] = subject;
    return 0;
}

static void leave(ecert_watch_t *watch, folder_t *folder, uint32_t subject)
{
    for (uint32_t i = 0; i < folder->n; i++) {
        if (folder->subjects[i] == subject) {
            folder->subjects[i] = folder->subjects[--folder->n];
            break;
        }
    }
    if (folder->n == 0) {
        drop_folder(watch, folder);
    }
}

static int grow_subjects(ecert_watch_t *watch, uint32_t subject)
{
    size_t n = watch->n_subjects ? watch->n_subjects : 16;
    subject_t *subjects;
    uint32_t *touched;

    while (n <= subject) {
        n *= 2;
    }
    if (n == watch->n_subjects) {
        return 0;
    }
    touched = realloc(watch->touched, n * sizeof(*touched));
    if (touched == NULL) {
        return -1;
    }
    watch->touched = touched;
    subjects = realloc(watch->subjects, n * sizeof(*subjects));
    if (subjects == NULL) {
        return -1;
    }
    memset(subjects + watch->n_subjects, 0,
           (n - watch->n_subjects) * sizeof(*subjects));
    watch->subjects = subjects;
    watch->n_subjects = n;
    return 0;
}

/*
 * What one ecert_watch_set works on.  In a folder's mark, old says that the
 * subject had it before, old + 1 that it has it now.
 */
typedef struct {
    ecert_watch_t *watch;
    uint32_t subject;
    uint64_t old;
    folder_t **folders;
    size_t n, size;
    int sys; /* errno of what could not be watched */
} change_t;

static folder_t *take(change_t *change, const char *path)
{
    folder_t *folder = find_folder(change->watch, path);

    if (folder == NULL || folder->mark == change->old + 1) {
        return folder;
    }
    if (change->n == change->size) {
        size_t size = 2 * change->size + 8;
        folder_t **folders = realloc(change->folders, size * sizeof(*folders));

        if (folders != NULL) {
            change->folders = folders;
            change->size = size;
        }
    }
    if (change->n == change->size
        || (folder->mark != change->old
            && join(folder, change->subject) != 0)) {
        if (folder->n == 0) {
            drop_folder(change->watch, folder);
        }
        return NULL;
    }
    folder->mark = change->old + 1;
    change->folders[change->n++] = folder;
    return folder;
}

static void take_and_watch(change_t *change, const char *path, int depth);

/*
 * A folder that went away after it was looked at, or that may not be read: the
 * one above it tells when it is there again, or has another mode.  It may be so
 * already, so it is tried once more.
 */
static void watch_above(change_t *change, folder_t *folder, int depth)
{
    char above[PATH_MAX];
    const char *slash = strrchr(folder->path, '/');
    size_t len = slash != NULL ? (size_t)(slash - folder->path) : 0;

    if (len == 0 || len >= sizeof(above) || depth > 64) {
        return;
    }
    memcpy(above, folder->path, len);
    above[len] = '\0';
    take_and_watch(change, above, depth + 1);
    renew(change->watch, folder);
}

static void take_and_watch(change_t *change, const char *path, int depth)
{
    folder_t *folder = take(change, path);

    if (folder == NULL) {
        change->sys = ENOMEM;
        return;
    }
    if (renew(change->watch, folder) == 0) {
        return;
    }
    if (errno == ENOENT || errno == ENOTDIR || errno == EACCES) {
        watch_above(change, folder, depth);
    } else {
        change->sys = errno;
    }
}

int ecert_watch_set(ecert_watch_t *watch, uint32_t subject, char *const *dirs,
                    size_t n, ecert_err_t *err)
{
    change_t change = {.watch = watch, .subject = subject};
    subject_t *mine;

    if (watch->fd < 0) {
        return 0;
    }
    if (grow_subjects(watch, subject) != 0) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    mine = &watch->subjects[subject];
    watch->anew = 0;
    watch->mark += 2;
    change.old = watch->mark;
    for (size_t i = 0; i < mine->n; i++) {
        mine->folders[i]->mark = change.old;
    }
    for (size_t i = 0; i < n; i++) {
        take_and_watch(&change, dirs[i], 0);
    }
    for (size_t i = 0; i < mine->n; i++) {
        if (mine->folders[i]->mark == change.old) {
            leave(watch, mine->folders[i], subject);
        }
    }
    free(mine->folders);
    mine->folders = change.folders;
    mine->n = change.n;
    mine->set = n > 0;
    if (change.sys == 0) {
        return watch->anew;
    }
    return ecert_err(err, ECERT_ERR_WATCH, NULL, "%s", strerror(change.sys));
}

static void touch(ecert_watch_t *watch, uint32_t subject)
{
    if (watch->subjects[subject].mark != watch->mark) {
        watch->subjects[subject].mark = watch->mark;
        watch->touched[watch->n_touched++] = subject;
    }
}

static void take_event(ecert_watch_t *watch, const struct inotify_event *event)
{
    folder_t *next, *folder;

    if (event->mask & IN_Q_OVERFLOW) {
        for (size_t i = 0; i < watch->n_subjects; i++) {
            if (watch->subjects[i].set) {
                touch(watch, (uint32_t)i);
            }
        }
        return;
    }
    if (event->wd < 0) {
        return;
    }
    folder = with_wd(*wd_bucket(watch, event->wd), event->wd);
    for (; folder != NULL; folder = next) {
        next = with_wd(folder->next_wd, event->wd);
        for (uint32_t i = 0; i < folder->n; i++) {
            touch(watch, folder->subjects[i]);
        }
        if (event->mask & GONE) {
            unwatch(watch, folder);
        }
    }
}

static int read_events(ecert_watch_t *watch, ecert_err_t *err)
{
    _Alignas(struct inotify_event) char buf[32768];
    ssize_t n;

    for (int round = 0; round < READ_ROUNDS; round++) {
        do {
            n = read(watch->fd, buf, sizeof(buf));
        } while (n < 0 && errno == EINTR);
        if (n <= 0) {
            return n == 0 || errno == EAGAIN
                       ? 0
                       : ecert_err(err, ECERT_ERR_SYSTEM, NULL,
                                   "read events of changed files");
        }
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *event = (const void *)(buf + at);

            take_event(watch, event);
            at += (ssize_t)(sizeof(*event) + event->len);
        }
    }
    return 0;
}

/* Told only when all is read: who is told may well set new folders at once. */
int ecert_watch_read(ecert_watch_t *watch,
                     void (*touched)(void *ctx, uint32_t subject), void *ctx,
                     ecert_err_t *err)
{
    int rc;

    if (watch->fd < 0) {
        return 0;
    }
    watch->mark += 2;
    watch->n_touched = 0;
    rc = read_events(watch, err);
    for (size_t i = 0; i < watch->n_touched; i++) {
        touched(ctx, watch->touched[i]);
    }
    return rc;
}
