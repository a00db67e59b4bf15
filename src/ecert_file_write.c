#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "ecert_entry.h"
#include "ecert_walk.h"

/* Says what failed, or NULL; errno tells why. */
static const char *fill(int fd, const void *bytes, size_t len, mode_t mode)
{
    if (fchmod(fd, mode) != 0) {
        return "set the mode of a new file";
    }
    if (ecert_entry_fill(fd, bytes, len) != 0) {
        return "write a new file";
    }
    return fsync(fd) == 0 ? NULL : "write a new file to the disk";
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
    int sys, fd = ecert_entry_temporary(walk->dir, walk->name, name);
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
    if (ecert_entry_sync(walk->dir) != 0) {
        return failed(path, "write the folder to the disk", err);
    }
    return 0;
}

int ecert_file_write(const char *path, const void *bytes, size_t len,
                     mode_t mode, ecert_err_t *err)
{
    ecert_walk_t walk;
    int rc;

    if (ecert_walk_parent(&walk, path, err) != 0) {
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
    if (rc == 0 && ecert_entry_sync(walk->dir) != 0) {
        rc = failed(path, "write the folder above it to the disk", err);
    }
    return rc;
}

int ecert_file_folder(const char *path, mode_t mode, ecert_err_t *err)
{
    ecert_walk_t walk;
    int rc;

    if (ecert_walk_parent(&walk, path, err) != 0) {
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
