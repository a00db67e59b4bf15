/* What workers write about themselves (ecert_seen): any bytes, and the agent
 * reads numbers out of them and takes rows that are free. */

#include "fuzz.h"

#include <unistd.h>

#include <sys/mman.h>

#include "ecert_seen.h"

#define SITES 3
#define ROW   ((SITES + 1) * 8)

static void run(const uint8_t *bytes, size_t len)
{
    static ecert_seen_t *seen;
    static unsigned char *raw;
    ecert_err_t err;
    int row;

    if (seen == NULL) {
        int fd = ecert_seen_create(SITES, &err);

        FUZZ_CHECK(fd >= 0);
        seen = ecert_seen_open(fd, &err);
        raw = mmap(NULL, ROW * ECERT_SEEN_WORKERS, PROT_READ | PROT_WRITE,
                   MAP_SHARED, fd, 0);
        FUZZ_CHECK(seen != NULL && raw != MAP_FAILED);
        close(fd);
    }
    memset(raw, 0, ROW * 64);
    memcpy(raw, bytes, len < ROW * 64 ? len : ROW * 64);
    for (row = -1; row < 64; row++) {
        FUZZ_CHECK(ecert_seen_pid(seen, row) >= 0);
        ecert_seen_get(seen, row, 0);
        FUZZ_CHECK(ecert_seen_get(seen, row, SITES) == 0);
        FUZZ_CHECK(ecert_seen_get(seen, row, UINT32_MAX) == 0);
    }
    FUZZ_CHECK(ecert_seen_pid(seen, ECERT_SEEN_WORKERS) == 0);
    row = ecert_seen_claim(seen, getpid());
    FUZZ_CHECK(row >= 0 && row < ECERT_SEEN_WORKERS);
    FUZZ_CHECK(ecert_seen_pid(seen, row) == getpid());
    ecert_seen_set(seen, row, 1, 7);
    FUZZ_CHECK(ecert_seen_get(seen, row, 1) == 7);
    ecert_seen_set(seen, row, 1, 0);
    memset(raw + (size_t)row * ROW, 0, ROW);
}

static void seeds(void)
{
    static const uint64_t rows[] = {1,          5, 6, 7, 0,           5, 6, 7,
                                    UINT64_MAX, 1, 2, 3, 0x100000001, 1, 1, 1};

    fuzz_seed(rows, sizeof(rows));
}

FUZZ_TARGET(seen, .run = run, .seeds = seeds, .max = 2048);
