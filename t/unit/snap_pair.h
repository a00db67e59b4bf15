/* A snapshot as the agent and a worker have it. */

#ifndef SNAP_PAIR_H
#define SNAP_PAIR_H

#include "scratch.h"

#include <sys/mman.h>

#include "ecert_snap.h"

/* The agent's and a worker's view; raw: a map that only a test can have. */
typedef struct {
    int fd;
    size_t size;
    unsigned char *raw;
    ecert_snap_t *writer, *reader;
} pair_t;

static void open_pair(pair_t *pair, uint32_t sites)
{
    ecert_err_t err;
    struct stat st;

    pair->fd = ecert_snap_create(sites, &err);
    assert_true(pair->fd >= 0);
    assert_int_equal(fstat(pair->fd, &st), 0);
    pair->size = (size_t)st.st_size;
    pair->raw =
        mmap(NULL, pair->size, PROT_READ | PROT_WRITE, MAP_SHARED, pair->fd, 0);
    assert_true(pair->raw != MAP_FAILED);
    pair->writer = ecert_snap_open_writer(pair->fd, &err);
    assert_non_null(pair->writer);
    assert_int_equal(ecert_snap_seal(pair->fd, &err), 0);
    pair->reader = ecert_snap_open(pair->fd, &err);
    assert_non_null(pair->reader);
}

static void close_pair(pair_t *pair)
{
    ecert_snap_close(pair->reader);
    ecert_snap_close(pair->writer);
    munmap(pair->raw, pair->size);
    close(pair->fd);
}

#endif
