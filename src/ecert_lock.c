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

int ecert_lock(const char *store, void (*waiting)(void), ecert_err_t *err)
{
    ecert_walk_t walk;
    int fd, rc;

    if (ecert_walk(&walk, store, ECERT_WALK_FOLDER, NULL, err) != 0) {
        return -1;
    }
    fd = openat(walk.dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ecert_walk_end(&walk);
    if (fd < 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, store, "open the store");
    }
    rc = take(fd, LOCK_EX | LOCK_NB);
    if (rc != 0 && errno == EWOULDBLOCK) {
        if (waiting != NULL) {
            waiting();
        }
        rc = take(fd, LOCK_EX);
    }
    if (rc != 0) {
        ecert_err(err, ECERT_ERR_SYSTEM, store, "lock the store");
        close(fd);
        return -1;
    }
    return fd;
}
