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

static int open_store(const char *store, ecert_err_t *err)
{
    ecert_walk_t walk;
    int fd;

    if (ecert_walk(&walk, store, ECERT_WALK_FOLDER, NULL, err) != 0) {
        return -1;
    }
    fd = openat(walk.dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ecert_walk_end(&walk);
    return fd >= 0 ? fd
                   : ecert_err(err, ECERT_ERR_SYSTEM, store, "open the store");
}

/* fd when the lock was taken; else it is closed. */
static int keep(int fd, int rc, const char *store, ecert_err_t *err)
{
    if (rc == 0) {
        return fd;
    }
    ecert_err(err, ECERT_ERR_SYSTEM, store, "lock the store");
    close(fd);
    return -1;
}

int ecert_lock_try(const char *store, ecert_err_t *err)
{
    int fd = open_store(store, err);

    return fd < 0 ? -1 : keep(fd, take(fd, LOCK_EX | LOCK_NB), store, err);
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
    return keep(fd, rc, store, err);
}
