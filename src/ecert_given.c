#include "ecert_given.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ecert_walk.h"

#define READ_FLAGS (O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC)

/* The number of a descriptor that this process was started with; -1: none. */
static int own_descriptor(const char *path)
{
    static const char *const folders[] = {"/dev/fd/", "/proc/self/fd/"};
    char *end;

    if (strcmp(path, "/dev/stdin") == 0) {
        return STDIN_FILENO;
    }
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        size_t len = strlen(folders[i]);

        if (strncmp(path, folders[i], len) == 0 && path[len] >= '0'
            && path[len] <= '9') {
            unsigned long fd = strtoul(path + len, &end, 10);

            return *end == '\0' && fd <= INT_MAX ? (int)fd : -1;
        }
    }
    return -1;
}

/* Not by its path: that would open what it leads to once more. */
static int take_descriptor(int own, const char *path, struct stat *st,
                           ecert_err_t *err)
{
    int fd = fcntl(own, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

    if (fd < 0) {
        errno = errno == EBADF ? ENOENT : errno;
        return ecert_err_errno(err, path, "open");
    }
    if (fstat(fd, st) != 0) {
        ecert_err_errno(err, path, "look at the open file");
    } else if (S_ISDIR(st->st_mode)) {
        ecert_err(err, ECERT_ERR_NOT_FILE, path, "it is a folder");
    } else {
        return fd;
    }
    close(fd);
    return -1;
}

/*
 * Who may make entries in its folder can give one of somebody else's files a
 * name there, though he may not read it.
 */
static int check_names(const ecert_walk_t *walk, const struct stat *st,
                       ecert_err_t *err)
{
    struct stat folder;

    if (st->st_nlink < 2 || !walk->shared) {
        return 0;
    }
    if (fstat(walk->dir, &folder) == 0 && folder.st_uid == st->st_uid
        && !(folder.st_mode & (S_IWGRP | S_IWOTH))) {
        return 0;
    }
    ecert_err(err, ECERT_ERR_UNSAFE, walk->path,
              "the file has %lu names (hard links), and others may have made "
              "this one in %s",
              (unsigned long)st->st_nlink, walk->real[0] ? walk->real : "/");
    return ecert_err_hint(err, "name it in another folder, or copy it and name "
                               "the copy");
}

/* Only what was looked at is opened: a device would act when it is. */
static int open_entry(const ecert_walk_t *walk, struct stat *st,
                      ecert_err_t *err)
{
    int fd = openat(walk->dir, walk->name, READ_FLAGS);

    if (fd < 0 && (errno == ELOOP || errno == ENXIO)) {
        return ecert_err(err, ECERT_ERR_CHANGING, walk->path, NULL);
    }
    if (fd < 0) {
        return ecert_err_errno(err, walk->path, "open");
    }
    if (fstat(fd, st) != 0) {
        ecert_err_errno(err, walk->path, "look at the open file");
    } else if (st->st_dev != walk->st.st_dev || st->st_ino != walk->st.st_ino) {
        ecert_err(err, ECERT_ERR_CHANGING, walk->path, NULL);
    } else if (check_names(walk, st, err) == 0) {
        return fd;
    }
    close(fd);
    return -1;
}

int ecert_given_open(const char *path, struct stat *st, ecert_err_t *err)
{
    int fd = own_descriptor(path);
    ecert_walk_t walk;

    if (fd >= 0) {
        return take_descriptor(fd, path, st, err);
    }
    if (ecert_walk_given(&walk, path, ECERT_WALK_ENTRY, err) != 0) {
        return -1;
    }
    if (ecert_walk_regular(&walk, &walk.st, err) == 0) {
        fd = open_entry(&walk, st, err);
    }
    ecert_walk_end(&walk);
    return fd;
}

int ecert_given_folder(const char *path, ecert_err_t *err)
{
    ecert_walk_t walk;
    int fd;

    if (ecert_walk_given(&walk, path, ECERT_WALK_FOLDER, err) != 0) {
        return -1;
    }
    fd = walk.dir;
    walk.dir = -1;
    ecert_walk_end(&walk);
    return fd;
}
