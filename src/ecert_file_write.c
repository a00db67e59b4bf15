#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/random.h>

#include "ecert_walk.h"

#define SUFFIX 6
#define TRIES  16

/* .NAME.XXXXXX, which every reader of the store passes over. */
static int temporary_name(const char *name, char *out)
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz012345";
    unsigned char random[SUFFIX];
    int n;

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        return -1;
    }
    n = snprintf(out, NAME_MAX + 1, ".%.*s.", NAME_MAX - SUFFIX - 2, name);
    for (int i = 0; i < SUFFIX; i++) {
        out[n++] = digits[random[i] % 32];
    }
    out[n] = '\0';
    return 0;
}

static int make_temporary(const ecert_walk_t *walk, char *name)
{
    for (int i = 0; i < TRIES; i++) {
        int fd;

        if (temporary_name(walk->name, name) != 0) {
            return -1;
        }
        fd = openat(walk->dir, name,
                    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0 || errno != EEXIST) {
            return fd;
        }
    }
    return -1;
}

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Says what failed, or NULL; errno tells why. */
static const char *fill(int fd, const void *bytes, size_t len, mode_t mode)
{
    if (fchmod(fd, mode) != 0) {
        return "set the mode of a new file";
    }
    if (write_all(fd, bytes, len) != 0) {
        return "write a new file";
    }
    return fsync(fd) == 0 ? NULL : "write a new file to the disk";
}

/* Some file systems cannot sync a folder and say EINVAL: then they need not. */
static int sync_folder(int dir)
{
    int rc, sys, fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return -1;
    }
    rc = fsync(fd) == 0 || errno == EINVAL ? 0 : -1;
    sys = errno;
    close(fd);
    errno = sys;
    return rc;
}

/* A refused write is the system's no: whatever errno, nothing is unreadable. */
static int failed(const char *path, const char *doing, ecert_err_t *err)
{
    return ecert_err(err, ECERT_ERR_SYSTEM, path, "%s", doing);
}

static int write_entry(const ecert_walk_t *walk, const char *path,
                       const void *bytes, size_t len, mode_t mode,
                       ecert_err_t *err)
{
    char name[NAME_MAX + 1];
    int sys, fd = make_temporary(walk, name);
    const char *doing;

    if (fd < 0) {
        return failed(path, "make a new file beside it", err);
    }
    doing = fill(fd, bytes, len, mode);
    sys = errno;
    close(fd);
    errno = sys;
    if (doing == NULL
        && renameat(walk->dir, name, walk->dir, walk->name) != 0) {
        doing = "put the new file in its place";
    }
    if (doing != NULL) {
        failed(path, doing, err);
        unlinkat(walk->dir, name, 0);
        return -1;
    }
    if (sync_folder(walk->dir) != 0) {
        return failed(path, "write the folder to the disk", err);
    }
    return 0;
}

int ecert_file_write(const char *path, const void *bytes, size_t len,
                     mode_t mode, ecert_err_t *err)
{
    char folder[PATH_MAX];
    ecert_walk_t walk;
    int rc;

    if (ecert_walk_parent(&walk, path, folder, err) != 0) {
        return -1;
    }
    rc = write_entry(&walk, path, bytes, len, mode, err);
    ecert_walk_end(&walk);
    return rc;
}

/* The umask took its part of the mode away: a folder just made gets it all. */
static int make_folder(const ecert_walk_t *walk, const char *path, mode_t mode,
                       ecert_err_t *err)
{
    int rc, fd;

    if (mkdirat(walk->dir, walk->name, 0700) != 0) {
        return errno == EEXIST ? 1 : failed(path, "make the folder", err);
    }
    fd = openat(walk->dir, walk->name,
                O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return failed(path, "open the new folder", err);
    }
    rc = fchmod(fd, mode);
    if (rc != 0) {
        failed(path, "set the mode of the new folder", err);
    }
    close(fd);
    if (rc == 0 && sync_folder(walk->dir) != 0) {
        rc = failed(path, "write the folder around it to the disk", err);
    }
    return rc;
}

int ecert_file_folder(const char *path, mode_t mode, ecert_err_t *err)
{
    char folder[PATH_MAX];
    ecert_walk_t walk;
    int rc;

    if (ecert_walk_parent(&walk, path, folder, err) != 0) {
        return -1;
    }
    rc = make_folder(&walk, path, mode, err);
    ecert_walk_end(&walk);
    if (rc <= 0) {
        return rc;
    }
    if (ecert_walk(&walk, path, ECERT_WALK_FOLDER, NULL, err) != 0) {
        if (err->code == ECERT_ERR_MISSING) { /* but something is there */
            errno = ENOTDIR;
            return ecert_err(err, ECERT_ERR_SYSTEM, path, "make the folder");
        }
        return -1;
    }
    ecert_walk_end(&walk);
    return 0;
}
