#include "outfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/file.h>
#include <sys/stat.h>

#include <openssl/crypto.h>

#include "ecert_entry.h"
#include "ecert_given.h"

/* The folder is the person's own choice: no rules but that it is there, and
 * that nobody else's link leads to it. */
static int open_folder(ecert_outfile_t *out, const char *path, ecert_err_t *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char folder[PATH_MAX];
    int len = slash ? (int)(slash - path) : 0;

    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0
        || strlen(name) > NAME_MAX - 16 || len >= PATH_MAX) {
        return ecert_err(err, ECERT_ERR_USAGE, path, "no name of a file");
    }
    snprintf(folder, sizeof(folder), "%.*s", len, path);
    out->dir = ecert_given_folder(len ? folder : slash ? "/" : ".", err);
    if (out->dir < 0) {
        return -1;
    }
    snprintf(out->name, sizeof(out->name), "%s", name);
    return 0;
}

/* .NAME.ecert-XXXXXXXX of this very name. */
static int is_own(const ecert_outfile_t *out, const char *name)
{
    size_t len = strlen(out->name);

    return ecert_entry_is_temporary(name)
           && strncmp(name + 1, out->name, len) == 0
           && strlen(name) == len + sizeof("..ecert-XXXXXXXX") - 1;
}

/* A writer holds a lock on its file, so that what nobody holds is of one that
 * was killed: there is a private key in it. */
static void remove_abandoned(const ecert_outfile_t *out, const char *name)
{
    int fd =
        openat(out->dir, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        unlinkat(out->dir, name, 0);
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void sweep(const ecert_outfile_t *out)
{
    int fd = openat(out->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;

    while (list != NULL && (entry = readdir(list)) != NULL) {
        if (is_own(out, entry->d_name)) {
            remove_abandoned(out, entry->d_name);
        }
    }
    if (list != NULL) {
        closedir(list);
    } else if (fd >= 0) {
        close(fd);
    }
}

static int exists(const char *path, ecert_err_t *err)
{
    ecert_err(err, ECERT_ERR_EXISTS, path, NULL);
    return ecert_err_hint(err, "a backup is never written over: choose another "
                               "name");
}

int ecert_outfile_write(ecert_outfile_t *out, const char *path,
                        const void *bytes, size_t len, ecert_err_t *err)
{
    struct stat st;

    memset(out, 0, sizeof(*out));
    out->dir = out->file = -1;
    out->path = path;
    if (open_folder(out, path, err) != 0) {
        return -1;
    }
    sweep(out);
    if (fstatat(out->dir, out->name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        return exists(path, err);
    }
    out->file = ecert_entry_temporary(out->dir, out->name, out->temporary);
    if (out->file < 0) {
        out->temporary[0] = '\0';
        return ecert_err(err, ECERT_ERR_SYSTEM, path, "make the file");
    }
    flock(out->file, LOCK_EX | LOCK_NB); /* where there are locks */
    return fchmod(out->file, 0600) == 0
                   && ecert_entry_fill(out->file, bytes, len) == 0
                   && fsync(out->file) == 0
               ? 0
               : ecert_err(err, ECERT_ERR_SYSTEM, path, "write the file");
}

/* Through the descriptor that wrote it: the name may be another file's by now,
 * even a FIFO's, where the folder is somebody else's. */
int ecert_outfile_read(const ecert_outfile_t *out, unsigned char **bytes,
                       size_t *len, ecert_err_t *err)
{
    struct stat st;
    ssize_t n = -1;

    *bytes = NULL;
    if (fstat(out->file, &st) == 0 && st.st_size > 0) {
        *len = (size_t)st.st_size;
        *bytes = OPENSSL_malloc(*len);
        n = *bytes ? pread(out->file, *bytes, *len, 0) : -1;
    }
    if (n < 0 || (size_t)n != *len) {
        OPENSSL_clear_free(*bytes, *bytes ? *len : 0);
        *bytes = NULL;
        return ecert_err(err, ECERT_ERR_SYSTEM, out->path, "read it again");
    }
    return 0;
}

/* Whether this name is that of the file that was written; -1 when the system
 * does not tell. */
static int is_there(const ecert_outfile_t *out, const char *name)
{
    struct stat written, named;

    if (fstat(out->file, &written) != 0
        || fstatat(out->dir, name, &named, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? 0 : -1;
    }
    return named.st_dev == written.st_dev && named.st_ino == written.st_ino;
}

int ecert_outfile_commit(ecert_outfile_t *out, ecert_err_t *err)
{
    int there = is_there(out, out->temporary);

    if (there < 0
        || (there > 0
            && ecert_entry_move(out->dir, out->temporary, out->dir, out->name)
                   != 0)) {
        return errno == EEXIST ? exists(out->path, err)
                               : ecert_err(err, ECERT_ERR_SYSTEM, out->path,
                                           "put the file in its place");
    }
    there = is_there(out, out->name);
    if (there == 0) {
        ecert_err(err, ECERT_ERR_UNSAFE, out->path,
                  "somebody else put another file in its place");
        return ecert_err_hint(err, "choose a folder that nobody else may write "
                                   "in");
    }
    out->temporary[0] = '\0';
    if (there < 0 || ecert_entry_sync(out->dir) != 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, out->path,
                         "write the folder to the disk");
    }
    return 0;
}

void ecert_outfile_end(ecert_outfile_t *out)
{
    if (out->dir >= 0 && out->temporary[0]) {
        unlinkat(out->dir, out->temporary, 0);
    }
    if (out->file >= 0) {
        close(out->file);
    }
    if (out->dir >= 0) {
        close(out->dir);
    }
    out->dir = out->file = -1;
}
