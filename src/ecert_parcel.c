#include "ecert_parcel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
#define INPUT      "standard input"

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
    default:
        return "something else";
    }
}

static int not_file(const char *name, mode_t mode, ecert_err_t *err)
{
    return ecert_err(err, ECERT_ERR_NOT_FILE, name, "it is %s", kind(mode));
}

/* A socket or a device without a driver cannot even be opened. */
static int cannot_open(const char *path, ecert_err_t *err)
{
    int saved = errno;
    struct stat st;

    if ((saved == ENXIO || saved == ENODEV) && stat(path, &st) == 0
        && !S_ISREG(st.st_mode)) {
        return not_file(path, st.st_mode, err);
    }
    errno = saved;
    return ecert_err_errno(err, path, "open");
}

/* Whoever started this may have made standard input non-blocking. */
static void wait_for(int fd)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};

    poll(&wanted, 1, -1);
}

/* To the end, or one byte more than is allowed. */
static int read_all(int fd, const char *name, ecert_file_t *file,
                    ecert_err_t *err)
{
    ssize_t n;

    file->bytes = malloc(ECERT_FILE_MAX + 2);
    if (file->bytes == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, name, NULL);
    }
    while (file->len <= ECERT_FILE_MAX) {
        n = read(fd, file->bytes + file->len, ECERT_FILE_MAX + 1 - file->len);
        if (n == 0) {
            break;
        }
        if (n < 0 && errno == EAGAIN) {
            wait_for(fd);
        } else if (n < 0 && errno != EINTR) {
            return ecert_err_errno(err, name, "read");
        }
        file->len += n > 0 ? (size_t)n : 0;
    }
    file->bytes[file->len] = '\0';
    return 0;
}

static int read_open(int fd, const char *name, ecert_file_t *file,
                     ecert_err_t *err)
{
    if (read_all(fd, name, file, err) != 0) {
        return -1;
    }
    if (file->len == 0) {
        return ecert_err(err, ECERT_ERR_EMPTY, name, NULL);
    }
    if (file->len > ECERT_FILE_MAX) {
        return ecert_err(err, ECERT_ERR_TOO_LARGE, name,
                         "at most %d bytes are allowed", ECERT_FILE_MAX);
    }
    return 0;
}

static int read_input(ecert_file_t *file, ecert_err_t *err)
{
    if (fstat(STDIN_FILENO, &file->st) != 0) {
        return ecert_err_errno(err, INPUT, "look at it");
    }
    if (S_ISDIR(file->st.st_mode)) {
        return not_file(INPUT, file->st.st_mode, err);
    }
    return read_open(STDIN_FILENO, INPUT, file, err);
}

static int read_regular(int fd, const char *path, ecert_file_t *file,
                        ecert_err_t *err)
{
    if (fstat(fd, &file->st) != 0) {
        return ecert_err_errno(err, path, "look at the open file");
    }
    if (!S_ISREG(file->st.st_mode)) {
        return not_file(path, file->st.st_mode, err);
    }
    if (file->st.st_size > ECERT_FILE_MAX) {
        return ecert_err(err, ECERT_ERR_TOO_LARGE, path,
                         "it has %lld bytes, at most %d are allowed",
                         (long long)file->st.st_size, ECERT_FILE_MAX);
    }
    return read_open(fd, path, file, err);
}

int ecert_parcel_read(const char *path, ecert_file_t *file, ecert_err_t *err)
{
    int fd, rc;

    memset(file, 0, sizeof(*file));
    if (strcmp(path, "-") == 0) {
        rc = read_input(file, err);
    } else {
        fd = open(path, READ_FLAGS);
        if (fd < 0) {
            return cannot_open(path, err);
        }
        rc = read_regular(fd, path, file, err);
        close(fd);
    }
    if (rc != 0) {
        ecert_file_free(file);
    }
    return rc;
}
