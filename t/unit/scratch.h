/* A folder of its own for each test, and short ways to fill it. */

#ifndef SCRATCH_H
#define SCRATCH_H

#include "asserts.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/stat.h>

static char scratch[64];
static char scratch_path[8][PATH_MAX];

static inline int scratch_setup(void **state)
{
    (void)state;
    umask(022);
    strcpy(scratch, "/tmp/ecert-unit-XXXXXX");
    return mkdtemp(scratch) != NULL ? 0 : -1;
}

static inline int scratch_remove(const char *path, const struct stat *st,
                                 int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline int scratch_teardown(void **state)
{
    (void)state;
    return nftw(scratch, scratch_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* Absolute path of name in the scratch folder; eight are good at a time. */
static inline const char *at(const char *name)
{
    static int next;
    char *out = scratch_path[next++ % 8];

    snprintf(out, PATH_MAX, "%s%s%s", scratch, name[0] ? "/" : "", name);
    return out;
}

/* Makes all folders of a path below the scratch folder. */
static inline void folders(const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", scratch, name);
    for (char *p = path + strlen(scratch) + 1; *p; p++) {
        if (*p == '/') {
            *p = '\0';
            assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
            *p = '/';
        }
    }
    assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
}

/* Writes in place. */
static inline void put_bytes(const char *name, const void *bytes, size_t len)
{
    int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    close(fd);
}

static inline void put(const char *name, const char *text)
{
    put_bytes(name, text, strlen(text));
}

static inline void put_link(const char *target, const char *name)
{
    assert_int_equal(symlink(target, at(name)), 0);
}

/* cmocka's skip() says "not ok" in TAP, which prove counts as a failure. */
static inline int skipped(int yes, const char *why)
{
    if (yes) {
        print_message("# skipped: %s\n", why);
    }
    return yes;
}

#endif
