#include "ecert_entry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/random.h>

#define DIGITS "0123456789abcdef"
#define MARK   ".ecert-"
#define TAIL   (sizeof(MARK) - 1 + 8)

int ecert_entry_random(char out[9])
{
    unsigned char bytes[4];

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
        return -1;
    }
    snprintf(out, 9, "%02x%02x%02x%02x", bytes[0], bytes[1], bytes[2],
             bytes[3]);
    return 0;
}

int ecert_entry_temporary(int dir, const char *name, char out[NAME_MAX + 1])
{
    char random[9];

    for (int i = 0; i < ECERT_ENTRY_TRIES; i++) {
        int fd;

        if (ecert_entry_random(random) != 0) {
            return -1;
        }
        snprintf(out, NAME_MAX + 1, ".%.*s" MARK "%s",
                 (int)(NAME_MAX - TAIL - 1), name, random);
        fd = openat(dir, out,
                    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0 || errno != EEXIST) {
            return fd;
        }
    }
    return -1;
}

int ecert_entry_is_temporary(const char *name)
{
    size_t len = strlen(name);
    const char *tail = name + len - TAIL;

    return len > TAIL + 1 && name[0] == '.'
           && memcmp(tail, MARK, sizeof(MARK) - 1) == 0
           && strspn(tail + sizeof(MARK) - 1, DIGITS) == 8;
}

int ecert_entry_fill(int fd, const void *bytes, size_t len)
{
    const char *rest = bytes;

    while (len > 0) {
        ssize_t n = write(fd, rest, len);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        rest += n;
        len -= (size_t)n;
    }
    return 0;
}

/*
 * Some file systems know no RENAME_NOREPLACE.  A second link never replaces,
 * either; a folder cannot have one, but that is told only where the new name is
 * free.
 */
int ecert_entry_move(int from, const char *old, int to, const char *new)
{
    if (renameat2(from, old, to, new, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return -1;
    }
    if (linkat(from, old, to, new, 0) == 0) {
        return unlinkat(from, old, 0);
    }
    return errno == EEXIST ? -1 : renameat(from, old, to, new);
}

static void empty(DIR *list)
{
    struct dirent *entry;

    while ((entry = readdir(list)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0
            && strcmp(entry->d_name, "..") != 0) {
            unlinkat(dirfd(list), entry->d_name, 0);
        }
    }
}

int ecert_entry_remove(int dir, const char *name)
{
    DIR *list;
    int fd;

    /* Linux says EISDIR of a folder, POSIX EPERM. */
    if (unlinkat(dir, name, 0) == 0) {
        return 0;
    }
    if (errno != EISDIR && errno != EPERM) {
        return -1;
    }
    fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    list = fdopendir(fd);
    if (list == NULL) {
        close(fd);
        return -1;
    }
    empty(list);
    closedir(list);
    return unlinkat(dir, name, AT_REMOVEDIR);
}

/* Some file systems cannot sync a folder and say EINVAL: then they need not. */
int ecert_entry_sync(int dir)
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
