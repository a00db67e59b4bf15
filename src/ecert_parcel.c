#include "ecert_parcel.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ecert_given.h"

#define INPUT "standard input"

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
        return ecert_err(err, ECERT_ERR_NOT_FILE, INPUT, "it is a folder");
    }
    return read_open(STDIN_FILENO, INPUT, file, err);
}

static int check_size(const char *path, const ecert_file_t *file,
                      ecert_err_t *err)
{
    return file->st.st_size <= ECERT_FILE_MAX
               ? 0
               : ecert_err(err, ECERT_ERR_TOO_LARGE, path,
                           "it has %lld bytes, at most %d are allowed",
                           (long long)file->st.st_size, ECERT_FILE_MAX);
}

int ecert_parcel_read(const char *path, ecert_file_t *file, ecert_err_t *err)
{
    int fd, rc;

    memset(file, 0, sizeof(*file));
    if (strcmp(path, "-") == 0) {
        rc = read_input(file, err);
    } else {
        fd = ecert_given_open(path, &file->st, err);
        if (fd < 0) {
            return -1;
        }
        rc = check_size(path, file, err);
        if (rc == 0) {
            rc = read_open(fd, path, file, err);
        }
        close(fd);
    }
    if (rc != 0) {
        ecert_file_free(file);
    }
    return rc;
}
