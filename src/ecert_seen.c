#include "ecert_seen.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 *  row_t[ECERT_SEEN_WORKERS], each: pid, then two generations per site: served
 *  and refused.
 * Rows that no worker takes take no memory; a look at a row costs one page.
 */
struct ecert_seen_s {
    unsigned char *map;
    size_t size;
    uint32_t sites;
};

static size_t row_size(uint32_t sites)
{
    return (2 * (size_t)sites + 1) * sizeof(uint64_t);
}

int ecert_seen_create(uint32_t sites, ecert_err_t *err)
{
    int fd = memfd_create("ecert-seen", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    off_t size = (off_t)(row_size(sites) * ECERT_SEEN_WORKERS);

    if (fd < 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, NULL, "memfd_create");
    }
    /* sealed in size: a worker that shrinks it would kill the agent */
    if (fchmod(fd, 0600) != 0 || ftruncate(fd, size) != 0
        || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
               != 0) {
        ecert_err(err, ECERT_ERR_SYSTEM, NULL,
                  "cannot make the workers' shared memory");
        close(fd);
        return -1;
    }
    return fd;
}

ecert_seen_t *ecert_seen_open(int fd, ecert_err_t *err)
{
    ecert_seen_t *seen = calloc(1, sizeof(*seen));
    struct stat st;

    if (seen == NULL) {
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        return NULL;
    }
    if (fstat(fd, &st) != 0
        || st.st_size < (off_t)(row_size(0) * ECERT_SEEN_WORKERS)) {
        ecert_err(err, ECERT_ERR_SYSTEM, NULL,
                  "cannot use the workers' shared memory");
        free(seen);
        return NULL;
    }
    seen->size = (size_t)st.st_size;
    seen->sites = (uint32_t)((seen->size / ECERT_SEEN_WORKERS / 8 - 1) / 2);
    seen->map =
        mmap(NULL, seen->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (seen->map == MAP_FAILED) {
        ecert_err(err, ECERT_ERR_SYSTEM, NULL,
                  "cannot map the workers' shared memory");
        free(seen);
        return NULL;
    }
    return seen;
}

void ecert_seen_close(ecert_seen_t *seen)
{
    if (seen != NULL) {
        munmap(seen->map, seen->size);
        free(seen);
    }
}

static _Atomic uint64_t *cell(const ecert_seen_t *seen, int row,
                              uint32_t column)
{
    return (_Atomic uint64_t *)(void *)(seen->map
                                        + (size_t)row * row_size(seen->sites))
           + column;
}

static _Atomic uint64_t *served(const ecert_seen_t *seen, int row,
                                uint32_t site)
{
    return cell(seen, row, 2 * site + 1);
}

static _Atomic uint64_t *refused(const ecert_seen_t *seen, int row,
                                 uint32_t site)
{
    return cell(seen, row, 2 * site + 2);
}

static int is_cell(const ecert_seen_t *seen, int row, uint32_t site)
{
    return row >= 0 && row < ECERT_SEEN_WORKERS && site < seen->sites;
}

static uint64_t get(const _Atomic uint64_t *from)
{
    return atomic_load_explicit(from, memory_order_relaxed);
}

/* Mostly it is so already: then the line of memory stays everybody's. */
static void put(_Atomic uint64_t *to, uint64_t generation)
{
    if (get(to) != generation) {
        atomic_store_explicit(to, generation, memory_order_relaxed);
    }
}

int ecert_seen_alive(uint64_t pid)
{
    return pid != 0 && pid <= INT32_MAX
           && (kill((pid_t)pid, 0) == 0 || errno == EPERM);
}

int ecert_seen_claim(ecert_seen_t *seen, pid_t pid)
{
    uint64_t old;
    uint32_t site;
    int row;

    for (row = 0; row < ECERT_SEEN_WORKERS; row++) {
        old = atomic_load(cell(seen, row, 0));
        if (ecert_seen_alive(old) && old != (uint64_t)pid) {
            continue;
        }
        if (!atomic_compare_exchange_strong(cell(seen, row, 0), &old,
                                            (uint64_t)pid)) {
            continue;
        }
        for (site = 0; site < seen->sites && old != 0; site++) {
            put(served(seen, row, site), 0);
            put(refused(seen, row, site), 0);
        }
        return row;
    }
    return -1;
}

void ecert_seen_set(ecert_seen_t *seen, int row, uint32_t site,
                    uint64_t generation)
{
    if (!is_cell(seen, row, site)) {
        return;
    }
    put(served(seen, row, site), generation);
    if (get(refused(seen, row, site)) <= generation) {
        put(refused(seen, row, site), 0);
    }
}

void ecert_seen_refuse(ecert_seen_t *seen, int row, uint32_t site,
                       uint64_t generation)
{
    if (is_cell(seen, row, site)) {
        put(refused(seen, row, site), generation);
    }
}

void ecert_seen_forget(ecert_seen_t *seen)
{
    for (int row = 0; row < ECERT_SEEN_WORKERS; row++) {
        for (uint32_t i = 0; i < seen->sites && get(cell(seen, row, 0)); i++) {
            put(refused(seen, row, i), 0);
        }
    }
}

pid_t ecert_seen_pid(const ecert_seen_t *seen, int row)
{
    uint64_t pid;

    if (row < 0 || row >= ECERT_SEEN_WORKERS) {
        return 0;
    }
    pid = atomic_load_explicit(cell(seen, row, 0), memory_order_relaxed);
    return ecert_seen_alive(pid) ? (pid_t)pid : 0;
}

uint64_t ecert_seen_get(const ecert_seen_t *seen, int row, uint32_t site)
{
    return is_cell(seen, row, site) ? get(served(seen, row, site)) : 0;
}

uint64_t ecert_seen_refused(const ecert_seen_t *seen, int row, uint32_t site)
{
    return is_cell(seen, row, site) ? get(refused(seen, row, site)) : 0;
}
