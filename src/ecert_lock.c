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

/* Only then others lock the same file: any other error is one to report. */
static int cannot(int sys)
{
    return sys == EBADF || sys == EINVAL || sys == EISDIR || sys == ENOLCK
           || sys == ENOSYS || sys == EOPNOTSUPP;
}

/*
 * NFS wants a file that is open for writing: there the journal stands in, which
 * every command that changes something appends to.
 */
static int open_lock(const ecert_walk_t *walk)
{
    int fd = openat(walk->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || take(fd, LOCK_SH | LOCK_NB) == 0 || !cannot(errno)) {
        return fd;
    }
    close(fd);
    return openat(walk->dir, "log",
                  O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
}

int ecert_lock(const char *store, void (*waiting)(void), ecert_err_t *err)
{
    ecert_walk_t walk;
    int fd, rc;

    if (ecert_walk(&walk, store, ECERT_WALK_FOLDER, NULL, err) != 0) {
        return -1;
    }
    fd = open_lock(&walk);
    ecert_walk_end(&walk);
    rc = fd >= 0 ? take(fd, LOCK_EX | LOCK_NB) : -1;
    if (fd >= 0 && rc != 0 && errno == EWOULDBLOCK) {
        if (waiting != NULL) {
            waiting();
        }
        rc = take(fd, LOCK_EX);
    }
    if (rc != 0) {
        ecert_err(err, ECERT_ERR_SYSTEM, store, "lock the store");
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}
