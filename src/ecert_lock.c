#include "ecert_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <sys/file.h>

#include "ecert_walk.h"

static int take(int fd, int how)
{
    int rc;

    do {
        rc = flock(fd, how);
    } while (rc != 0 && errno == EINTR);
    return rc;
}

/*
 * NFS wants a file that is open for writing: there the journal stands in, which
 * every command that changes something appends to.
 */
static int open_lock(const ecert_walk_t *walk)
{
    int fd = openat(walk->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || take(fd, LOCK_SH | LOCK_NB) == 0 || errno == EWOULDBLOCK) {
        return fd;
    }
    close(fd);
    return openat(walk->dir, "log",
                  O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static int failed(const char *store, int fd, ecert_err_t *err)
{
    ecert_err(err, ECERT_ERR_SYSTEM, store, "lock the store");
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

static int open_store(const char *store, ecert_err_t *err)
{
    ecert_walk_t walk;
    int fd;

    if (ecert_walk(&walk, store, ECERT_WALK_FOLDER, NULL, err) != 0) {
        return -1;
    }
    fd = open_lock(&walk);
    ecert_walk_end(&walk);
    return fd >= 0 ? fd : failed(store, fd, err);
}

int ecert_lock_try(const char *store, ecert_err_t *err)
{
    int fd = open_store(store, err);

    if (fd < 0) {
        return -1;
    }
    return take(fd, LOCK_EX | LOCK_NB) == 0 ? fd : failed(store, fd, err);
}

int ecert_lock(const char *store, void (*waiting)(void), ecert_err_t *err)
{
    int rc, fd = open_store(store, err);

    if (fd < 0) {
        return -1;
    }
    rc = take(fd, LOCK_EX | LOCK_NB);
    if (rc != 0 && errno == EWOULDBLOCK) {
        if (waiting != NULL) {
            waiting();
        }
        rc = take(fd, LOCK_EX);
    }
    return rc == 0 ? fd : failed(store, fd, err);
}
