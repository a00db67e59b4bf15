#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/magic.h>
#include <sys/vfs.h>

#include "ecert_trail.h"
#include "ecert_walk.h"

#define GROUPS_MAX 1024 /* of a process; with more, none of them counts */

static int is_own_group(gid_t gid)
{
    gid_t groups[GROUPS_MAX];
    int n = getgroups(GROUPS_MAX, groups);

    for (int i = 0; i < n; i++) {
        if (groups[i] == gid) {
            return 1;
        }
    }
    return gid == 0 || gid == getegid();
}

/*
 * A server that does not run as root shares what it has with its groups, and
 * with root's: in a pod its user may be any number, and what it is given is
 * writable for group 0, or for the group of the volume (fsGroup).
 */
static int others_write(const ecert_walk_t *walk, const struct stat *st)
{
    return (st->st_mode & S_IWOTH)
           || ((st->st_mode & S_IWGRP)
               && (walk->uid == 0 || !is_own_group(st->st_gid)));
}

static int trusted(const ecert_walk_t *walk, const struct stat *st)
{
    return st->st_uid == 0 || st->st_uid == walk->uid;
}

static const char *folder_name(const ecert_walk_t *walk)
{
    return walk->real[0] ? walk->real : "/";
}

/* Where name is, or "" when that is just the path that was asked for. */
static const char *leads_to(const ecert_walk_t *walk, const char *name,
                            char *out, size_t size)
{
    snprintf(out, size, "%s/%s", walk->real, name);
    return strcmp(out, walk->path) == 0 ? "" : out;
}

static int fail_errno(ecert_walk_t *walk, const char *name, ecert_err_t *err)
{
    int sys = errno;
    ecert_code_t code = ECERT_ERR_SYSTEM;
    char to[PATH_MAX + NAME_MAX + 2];
    const char *where = leads_to(walk, name, to, sizeof(to));

    if (sys == ENOENT || sys == ENOTDIR) {
        code = ECERT_ERR_MISSING;
    } else if (sys == EACCES || sys == EPERM) {
        code = ECERT_ERR_UNREADABLE;
    }
    errno = sys;
    if (!where[0]) {
        return ecert_err(err, code, walk->path, NULL);
    }
    return ecert_err(err, code, walk->path, "the path leads to %s", where);
}

/* what is "the folder" or "the file"; path is where it is. */
static int unsafe(const ecert_walk_t *walk, const struct stat *st,
                  const char *what, const char *path, ecert_err_t *err)
{
    if (walk->uid == 0 && !trusted(walk, st)) {
        return ecert_err_hint(err, "give the %s to root: chown root %s", what,
                              path);
    }
    if (!trusted(walk, st) && is_own_group(st->st_gid)) {
        return ecert_err_hint(err,
                              "give the %s to root, and let the group write: "
                              "chown root %s (where an image is built; then "
                              "any user of gid %u can be the server's)",
                              what, path, (unsigned)st->st_gid);
    }
    if (!trusted(walk, st)) {
        return ecert_err_hint(err,
                              "give the %s to the user that the server runs "
                              "as: chown %u %s",
                              what, (unsigned)walk->uid, path);
    }
    if (walk->uid == 0 && !(st->st_mode & S_IWOTH)) {
        return ecert_err_hint(err,
                              "chmod go-w %s (a pod's fsGroup sets it again: "
                              "leave that out, or do not run the server as "
                              "root)",
                              path);
    }
    return ecert_err_hint(err, "chmod go-w %s", path);
}

static int unsafe_folder(ecert_walk_t *walk, const struct stat *st,
                         ecert_err_t *err)
{
    const char *folder = folder_name(walk);

    ecert_err(err, ECERT_ERR_UNSAFE, walk->path,
              "the folder %s belongs to uid %u and gid %u and has mode %04o",
              folder, (unsigned)st->st_uid, (unsigned)st->st_gid,
              (unsigned)(st->st_mode & 07777));
    return unsafe(walk, st, "folder", folder, err);
}

/*
 * Who may write in a folder may change what a name in it means.  In a sticky
 * folder only an entry's owner may, so there the next entry is looked at.
 */
static int check_folder(ecert_walk_t *walk, ecert_err_t *err)
{
    const struct stat *st = &walk->st;

    walk->shared = others_write(walk, st);
    if (trusted(walk, st) && (!walk->shared || (st->st_mode & S_ISVTX))) {
        return 0;
    }
    if (walk->given) {
        walk->shared = 1; /* which does not matter but for what is in it */
        return 0;
    }
    return unsafe_folder(walk, st, err);
}

static int too_long(ecert_walk_t *walk, const char *name, ecert_err_t *err)
{
    errno = ENAMETOOLONG;
    return fail_errno(walk, name, err);
}

static int add_real(ecert_walk_t *walk, const char *name)
{
    size_t len = strlen(walk->real);
    int n;

    if (strcmp(name, ".") == 0) {
        return 0;
    }
    if (strcmp(name, "..") == 0) {
        char *slash = strrchr(walk->real, '/');
        if (slash) {
            *slash = '\0';
        }
        return 0;
    }
    n = snprintf(walk->real + len, sizeof(walk->real) - len, "/%s", name);
    if (n < 0 || (size_t)n >= sizeof(walk->real) - len) {
        walk->real[len] = '\0';
        return -1;
    }
    return 0;
}

/* Takes fd, the folder `name` of the present one. */
static int enter(ecert_walk_t *walk, int fd, const char *name, ecert_err_t *err)
{
    if (fstat(fd, &walk->st) != 0) {
        fail_errno(walk, name, err);
        close(fd);
        return -1;
    }
    if (add_real(walk, name) != 0) {
        close(fd);
        return too_long(walk, name, err);
    }
    if (walk->dir >= 0) {
        close(walk->dir);
    }
    walk->dir = fd;
    walk->parent_shared = walk->shared;
    return check_folder(walk, err);
}

static int enter_root(ecert_walk_t *walk, ecert_err_t *err)
{
    int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return fail_errno(walk, "", err);
    }
    walk->real[0] = '\0';
    return enter(walk, fd, "..", err);
}

/* Puts a link's target in front of what is still to be walked. */
static int push(ecert_walk_t *walk, const char *target)
{
    char rest[PATH_MAX];
    int n = snprintf(rest, sizeof(rest), "%s%s%s", target,
                     walk->rest[0] ? "/" : "", walk->rest);

    if (n < 0 || (size_t)n >= sizeof(rest)) {
        return -1;
    }
    memcpy(walk->rest, rest, (size_t)n + 1);
    return 0;
}

/* Made by somebody else, or put here by him under another name of it. */
static int is_foreign(const ecert_walk_t *walk, const struct stat *st)
{
    if (!walk->given) {
        return walk->shared && !trusted(walk, st);
    }
    return !trusted(walk, st) || (walk->shared && st->st_nlink > 1);
}

static int refuse_link(const ecert_walk_t *walk, const char *name,
                       const struct stat *st, const char *target,
                       ecert_err_t *err)
{
    ecert_err(err, ECERT_ERR_UNSAFE, walk->path,
              "the link %s/%s belongs to uid %u%s%s", walk->real, name,
              (unsigned)st->st_uid, walk->given ? " and leads to " : "",
              walk->given ? target : "");
    return walk->given ? ecert_err_hint(err, "name the file that is meant, or "
                                             "copy it and name the copy")
                       : -1;
}

/* Those in /proc that stand for something open have no path that leads there;
 * what they read as is text. */
static int is_magic(int fd, const char *target)
{
    struct statfs fs;

    return (target[0] == '/' || strchr(target, ':') != NULL)
           && fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

static int refuse_magic(const ecert_walk_t *walk, const char *name,
                        ecert_err_t *err)
{
    ecert_err(err, ECERT_ERR_UNSAFE, walk->path,
              "%s/%s stands for what a process has open", walk->real, name);
    return ecert_err_hint(err, "name the file itself; what this command was "
                               "started with is - or /dev/fd/N");
}

static int follow(ecert_walk_t *walk, int fd, const struct stat *st,
                  const char *name, ecert_err_t *err)
{
    char target[PATH_MAX];
    ssize_t n;

    ecert_trail_dir(walk->trail, walk->real);
    if (++walk->links > ECERT_WALK_LINKS) {
        errno = ELOOP;
        fail_errno(walk, name, err);
        return ecert_err_hint(err, "correct the links: they lead in a circle");
    }
    n = readlinkat(fd, "", target, sizeof(target) - 1);
    if (n < 0) {
        return fail_errno(walk, name, err);
    }
    target[n] = '\0';
    if (is_foreign(walk, st)) {
        return refuse_link(walk, name, st, target, err);
    }
    if (is_magic(fd, target)) {
        return refuse_magic(walk, name, err);
    }
    if (push(walk, target) != 0) {
        return too_long(walk, name, err);
    }
    return target[0] == '/' ? enter_root(walk, err) : 0;
}

/* A folder that must be one, if it is no link; 1 when it turns out as such. */
static int step_folder(ecert_walk_t *walk, const char *name, ecert_err_t *err)
{
    int fd =
        openat(walk->dir, name, O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0) {
        return enter(walk, fd, name, err);
    }
    if (errno != ENOTDIR && errno != ELOOP) {
        return fail_errno(walk, name, err);
    }
    return 1;
}

static int step_entry(ecert_walk_t *walk, const char *name, int last,
                      ecert_err_t *err)
{
    int rc, fd = openat(walk->dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd < 0) {
        return fail_errno(walk, name, err);
    }
    if (fstat(fd, &st) != 0) {
        rc = fail_errno(walk, name, err);
    } else if (S_ISLNK(st.st_mode)
               && !(last && walk->want == ECERT_WALK_LINK)) {
        rc = follow(walk, fd, &st, name, err);
    } else if (last && walk->want != ECERT_WALK_FOLDER) {
        walk->entry = fd;
        walk->st = st;
        snprintf(walk->name, sizeof(walk->name), "%s", name);
        return 0;
    } else {
        errno = ENOTDIR;
        rc = fail_errno(walk, name, err);
    }
    close(fd);
    return rc;
}

static int step(ecert_walk_t *walk, const char *name, ecert_err_t *err)
{
    int rc, last = walk->rest[0] == '\0';

    if (strcmp(name, ".") == 0) {
        return 0;
    }
    if (!last || walk->want == ECERT_WALK_FOLDER || strcmp(name, "..") == 0) {
        rc = step_folder(walk, name, err);
        if (rc <= 0) {
            return rc;
        }
    }
    return step_entry(walk, name, last, err);
}

/* Takes the next component out of rest; 0 at the end, -1 when too long. */
static int next_name(ecert_walk_t *walk, char *name)
{
    const char *rest = walk->rest;
    size_t len;

    rest += strspn(rest, "/");
    len = strcspn(rest, "/");
    if (len > NAME_MAX) {
        return -1;
    }
    memcpy(name, rest, len);
    name[len] = '\0';
    rest += len;
    rest += strspn(rest, "/");
    memmove(walk->rest, rest, strlen(rest) + 1);
    return len > 0;
}

/* Where a relative path begins. */
static int enter_here(ecert_walk_t *walk, ecert_err_t *err)
{
    int fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return fail_errno(walk, "", err);
    }
    if (getcwd(walk->real, sizeof(walk->real)) == NULL) {
        walk->real[0] = '\0'; /* it was removed, or is too deep: for words */
    }
    return enter(walk, fd, ".", err);
}

static int walk_on(ecert_walk_t *walk, ecert_err_t *err)
{
    char name[NAME_MAX + 1];
    int more;

    if ((walk->path[0] == '/' ? enter_root(walk, err) : enter_here(walk, err))
        != 0) {
        return -1;
    }
    while ((more = next_name(walk, name)) > 0) {
        if (step(walk, name, err) != 0) {
            return -1;
        }
    }
    return more == 0 ? 0 : too_long(walk, "...", err);
}

/*
 * The folder itself tells of its own removal; the one above it tells when it
 * is made again.  One in which everybody writes would tell far too much.
 */
static void note_folders(const ecert_walk_t *walk)
{
    char parent[PATH_MAX];
    char *slash;

    ecert_trail_dir(walk->trail, walk->real);
    if (walk->trail == NULL || walk->trail->narrow || walk->entry < 0
        || walk->want == ECERT_WALK_LINK || walk->parent_shared) {
        return;
    }
    memcpy(parent, walk->real, sizeof(parent));
    slash = strrchr(parent, '/');
    if (slash) {
        *slash = '\0';
        ecert_trail_dir(walk->trail, parent);
    }
}

static int begin(ecert_walk_t *walk, const char *path, ecert_walk_want_t want,
                 ecert_trail_t *trail, ecert_err_t *err)
{
    walk->path = path;
    walk->trail = trail;
    walk->want = want;
    walk->dir = walk->entry = -1;
    walk->name[0] = walk->real[0] = walk->rest[0] = '\0';
    walk->uid = geteuid();
    walk->links = walk->shared = walk->parent_shared = 0;

    if (push(walk, path) != 0) {
        errno = ENAMETOOLONG;
        return ecert_err(err, ECERT_ERR_SYSTEM, path, NULL);
    }
    if (walk_on(walk, err) == 0) {
        note_folders(walk);
        return 0;
    }
    ecert_trail_dir(trail, walk->real);
    ecert_trail_failure(trail, path, err->code);
    ecert_walk_end(walk);
    return -1;
}

int ecert_walk(ecert_walk_t *walk, const char *path, ecert_walk_want_t want,
               ecert_trail_t *trail, ecert_err_t *err)
{
    walk->given = 0;
    if (path[0] != '/') {
        return ecert_err(err, ECERT_ERR_USAGE, path,
                         "the path does not begin with /");
    }
    return begin(walk, path, want, trail, err);
}

int ecert_walk_given(ecert_walk_t *walk, const char *path,
                     ecert_walk_want_t want, ecert_err_t *err)
{
    walk->given = 1;
    if (path[0] == '\0') {
        errno = ENOENT;
        return ecert_err(err, ECERT_ERR_MISSING, path, NULL);
    }
    return begin(walk, path, want, NULL, err);
}

void ecert_walk_end(ecert_walk_t *walk)
{
    if (walk->entry >= 0) {
        close(walk->entry);
    }
    if (walk->dir >= 0) {
        close(walk->dir);
    }
    walk->entry = walk->dir = -1;
}

static const char *kind(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return "a folder";
    case S_IFIFO:
        return "a FIFO";
    case S_IFSOCK:
        return "a socket";
    case S_IFCHR:
    case S_IFBLK:
        return "a device";
    case S_IFLNK:
        return "a symbolic link";
    default:
        return "something else";
    }
}

int ecert_walk_regular(const ecert_walk_t *walk, const struct stat *st,
                       ecert_err_t *err)
{
    return S_ISREG(st->st_mode) ? 0
                                : ecert_err(err, ECERT_ERR_NOT_FILE, walk->path,
                                            "it is %s", kind(st->st_mode));
}

int ecert_walk_file(const ecert_walk_t *walk, const struct stat *st,
                    ecert_err_t *err)
{
    char path[PATH_MAX + NAME_MAX + 2];

    if (ecert_walk_regular(walk, st, err) != 0) {
        return -1;
    }
    if (trusted(walk, st) && !others_write(walk, st)) {
        return 0;
    }
    ecert_err(err, ECERT_ERR_UNSAFE, walk->path,
              "the file belongs to uid %u and gid %u and has mode %04o",
              (unsigned)st->st_uid, (unsigned)st->st_gid,
              (unsigned)(st->st_mode & 07777));
    snprintf(path, sizeof(path), "%s/%s", walk->real, walk->name);
    return unsafe(walk, st, "file", path, err);
}

int ecert_walk_parent(ecert_walk_t *walk, const char *path, ecert_err_t *err)
{
    size_t len = strlen(path);
    char folder[PATH_MAX];
    const char *name;

    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    if (len >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return ecert_err(err, ECERT_ERR_SYSTEM, path, NULL);
    }
    memcpy(folder, path, len);
    folder[len] = '\0';
    name = strrchr(folder, '/');
    if (!name || !name[1] || strcmp(name, "/.") == 0 || strcmp(name, "/..") == 0
        || strlen(name + 1) > NAME_MAX) {
        return ecert_err(err, ECERT_ERR_USAGE, path,
                         "this is no absolute path of a file");
    }
    len = (size_t)(name - folder);
    folder[len ? len : 1] = '\0';
    name = path + len + 1;
    if (ecert_walk(walk, folder, ECERT_WALK_FOLDER, NULL, err) != 0) {
        return -1;
    }
    walk->path = path;
    len = strcspn(name, "/");
    memcpy(walk->name, name, len);
    walk->name[len] = '\0';
    return 0;
}
