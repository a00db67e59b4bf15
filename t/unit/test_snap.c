/* The snapshot: who may write, whole records whatever happens, hostile memory.
 */

#include "snap_pair.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include <sys/wait.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

#define SLOTS 4096 /* where they begin; the generation comes first in each */

static ecert_err_t err;

/* A record that says of itself what it must be: number, length, pattern. */
static size_t make_record(unsigned char *bytes, uint32_t number)
{
    uint32_t len = 12 + number * 7919 % (ECERT_SNAP_RECORD_MAX - 12);

    memcpy(bytes, &number, 4);
    memcpy(bytes + 4, &len, 4);
    memset(bytes + 8, (int)(number * 31 & 0xff), len - 8);
    return len;
}

static int is_whole(const unsigned char *bytes, size_t len, uint32_t *number)
{
    uint32_t said = 0;

    if (len < 12) {
        return 0;
    }
    memcpy(number, bytes, 4);
    memcpy(&said, bytes + 4, 4);
    if (said != len) {
        return 0;
    }
    for (size_t i = 8; i < len; i++) {
        if (bytes[i] != (unsigned char)(*number * 31)) {
            return 0;
        }
    }
    return 1;
}

static void assert_record(const ecert_snap_t *snap, uint32_t slot,
                          const char *text, uint64_t generation)
{
    unsigned char *bytes;
    uint64_t found;
    size_t len;

    assert_int_equal(ecert_snap_read(snap, slot, &bytes, &len, &found, &err),
                     0);
    assert_int_equal(len, strlen(text));
    assert_memory_equal(bytes, text, len);
    assert_int_equal(found, generation);
    ecert_snap_free(bytes, len);
}

static void publish(ecert_snap_t *snap, uint32_t slot, const char *text)
{
    assert_int_equal(
        ecert_snap_publish(snap, slot, (const void *)text, strlen(text), &err),
        0);
}

static void test_life(void **state)
{
    unsigned char *bytes;
    uint64_t generation;
    pair_t pair;
    size_t len;

    (void)state;
    open_pair(&pair, 3);
    assert_int_equal(ecert_snap_sites(pair.reader), 3);
    assert_int_equal(ecert_snap_dcv_slot(pair.reader), 3);
    for (uint32_t slot = 0; slot < 6; slot++) {
        assert_int_equal(ecert_snap_generation(pair.reader, slot), 0);
        assert_int_equal(
            ecert_snap_read(pair.reader, slot, &bytes, &len, &generation, &err),
            -1);
        assert_int_equal(err.code, ECERT_ERR_SNAPSHOT);
        assert_null(bytes);
    }
    publish(pair.writer, 0, "one");
    publish(pair.writer, 2, "other");
    publish(pair.writer, 3, "table");
    assert_record(pair.reader, 0, "one", 1);
    assert_record(pair.reader, 2, "other", 1);
    assert_record(pair.reader, 3, "table", 1);
    publish(pair.writer, 0, "second");
    publish(pair.writer, 0, "3");
    assert_record(pair.reader, 0, "3", 3);
    assert_record(pair.reader, 2, "other", 1);
    assert_int_equal(ecert_snap_generation(pair.reader, 1), 0);
    close_pair(&pair);
    ecert_snap_close(NULL);
}

/* A record of this size fits, and one byte more does not. */
static void assert_limit(pair_t *pair, uint32_t slot, const unsigned char *big,
                         size_t most, const char *word)
{
    char size[32];

    assert_int_equal(ecert_snap_publish(pair->writer, slot, big, most, &err),
                     0);
    assert_int_equal(
        ecert_snap_publish(pair->writer, slot, big, most + 1, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_TOO_LARGE);
    assert_non_null(strstr(err.detail, word));
    snprintf(size, sizeof(size), "%zu", most);
    assert_non_null(strstr(err.detail, size));
    snprintf(size, sizeof(size), "%zu", most + 1);
    assert_non_null(strstr(err.detail, size));
}

static void test_sizes(void **state)
{
    unsigned char *big = calloc(1, ECERT_SNAP_EVIDENCE_MAX + 1), *bytes;
    uint64_t generation;
    pair_t pair;
    size_t len;

    (void)state;
    memset(big, 'x', ECERT_SNAP_EVIDENCE_MAX);
    open_pair(&pair, 2);
    publish(pair.writer, 1, "neighbour");
    assert_int_equal(ecert_snap_staple_slot(pair.writer, 1), 4);
    assert_int_equal(ecert_snap_evidence_slot(pair.writer), 5);
    assert_int_equal(ecert_snap_failures_slot(pair.writer), 6);
    for (int i = 0; i < 3; i++) {
        assert_limit(&pair, 0, big, ECERT_SNAP_RECORD_MAX, "key");
        assert_limit(&pair, 2, big, ECERT_SNAP_DCV_MAX, "validation files");
        assert_limit(&pair, 4, big, ECERT_SNAP_STAPLE_MAX, "OCSP response");
        assert_limit(&pair, 5, big, ECERT_SNAP_EVIDENCE_MAX, "fetches");
        assert_limit(&pair, 6, big, ECERT_SNAP_FAILURES_MAX, "failures");
    }
    assert_record(pair.reader, 1, "neighbour", 1);
    assert_int_equal(ecert_snap_publish(pair.writer, 0, big, 0, &err), -1);
    assert_int_equal(ecert_snap_publish(pair.writer, 7, big, 1, &err), -1);
    assert_int_equal(ecert_snap_publish(pair.writer, UINT32_MAX, big, 1, &err),
                     -1);
    /* what was refused has changed nothing */
    assert_int_equal(
        ecert_snap_read(pair.reader, 0, &bytes, &len, &generation, &err), 0);
    assert_int_equal(len, ECERT_SNAP_RECORD_MAX);
    assert_int_equal(generation, 3);
    ecert_snap_free(bytes, len);
    close_pair(&pair);
    free(big);
}

static void test_ids(void **state)
{
    unsigned char a[32], b[32], zero[32] = {0};
    pair_t pair;

    (void)state;
    memset(a, 'a', 32);
    memset(b, 'b', 32);
    open_pair(&pair, 2);
    assert_int_equal(ecert_snap_find(pair.reader, a, 0), -1);
    ecert_snap_name(pair.writer, 0, a);
    ecert_snap_name(pair.writer, 1, b);
    ecert_snap_name(pair.writer, 99, b);
    assert_int_equal(ecert_snap_find(pair.reader, a, 1), 0);
    assert_int_equal(ecert_snap_find(pair.reader, b, 7), 1);
    assert_int_equal(ecert_snap_find(pair.reader, zero, 0), -1);
    close_pair(&pair);
}

/* After the last possible number comes one that uses the idle buffer. */
static void test_wrap(void **state)
{
    uint64_t last = UINT64_MAX - 1;
    pair_t pair;

    (void)state;
    open_pair(&pair, 1);
    memcpy(pair.raw + SLOTS, &last, 8);
    publish(pair.writer, 0, "last");
    assert_record(pair.reader, 0, "last", UINT64_MAX);
    publish(pair.writer, 0, "first");
    assert_record(pair.reader, 0, "first", 2);
    memset(pair.raw + SLOTS, 0xff, 8);
    assert_record(pair.reader, 0, "last", UINT64_MAX); /* untouched */
    close_pair(&pair);
}

/* What a worker has in its hands cannot be made writable in any way. */
static void test_sealed(void **state)
{
    char path[64];
    pair_t pair;
    struct stat st;
    void *map;
    FILE *maps;
    char line[512];
    int fd, seen = 0;

    (void)state;
    open_pair(&pair, 1);
    publish(pair.writer, 0, "good");
    assert_int_equal(fcntl(pair.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(fstat(pair.fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(fcntl(pair.fd, F_GET_SEALS)
                         & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE),
                     F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE);
    assert_int_equal(ftruncate(pair.fd, 0), -1);
    assert_int_equal(ftruncate(pair.fd, (off_t)pair.size + 4096), -1);
    assert_int_equal(pwrite(pair.fd, "x", 1, 0), -1);
    map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, pair.fd, 0);
    assert_ptr_equal(map, MAP_FAILED);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", pair.fd);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) { /* as its owner one may open it, but still not write */
        map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        assert_ptr_equal(map, MAP_FAILED);
        assert_int_equal(pwrite(fd, "x", 1, 0), -1);
        close(fd);
    }
    assert_null(ecert_snap_open_writer(pair.fd, &err));
    assert_int_equal(err.code, ECERT_ERR_SYSTEM);
    assert_int_equal(ecert_snap_seal(pair.fd, &err), 0); /* once more */
    fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    ecert_snap_seal(fd, &err); /* EINVAL is what an old kernel says, too */
    close(fd);
    assert_int_equal(ecert_snap_seal(-1, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_SYSTEM);
    /* the reader's map: found by what it is, as the type is opaque */
    maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        unsigned long from, to;
        char flags[8];

        if (strstr(line, "memfd:ecert-snapshot") == NULL
            || sscanf(line, "%lx-%lx %7s", &from, &to, flags) != 3
            || strcmp(flags, "r--s") != 0) {
            continue;
        }
        seen++;
        assert_int_equal(
            mprotect((void *)from, to - from, PROT_READ | PROT_WRITE), -1);
        assert_int_equal(errno, EACCES);
    }
    fclose(maps);
    assert_int_equal(seen, 1);
    assert_record(pair.reader, 0, "good", 1);
    close_pair(&pair);
}

/* Nor where the kernel knows no such seal: what was opened for reading alone
 * cannot be mapped otherwise. */
static void test_not_sealed(void **state)
{
    int fd = ecert_snap_create(1, &err), tried = 0;
    ecert_snap_t *snap = ecert_snap_open(fd, &err);
    FILE *maps = fopen("/proc/self/maps", "re");
    unsigned long from, to;
    char line[512];

    (void)state;
    assert_non_null(snap);
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        if (strstr(line, "memfd:ecert-snapshot") != NULL
            && sscanf(line, "%lx-%lx ", &from, &to) == 2) {
            tried++;
            assert_int_equal(
                mprotect((void *)from, to - from, PROT_READ | PROT_WRITE), -1);
        }
    }
    fclose(maps);
    assert_int_equal(tried, 1);
    ecert_snap_close(snap);
    close(fd);
}

/* More sites than a configuration can have. */
static void test_too_many(void **state)
{
    int fd = ecert_snap_create(ECERT_SNAP_SITES_MAX + 1, &err);

    (void)state;
    assert_true(fd >= 0);
    assert_null(ecert_snap_open(fd, &err));
    assert_int_equal(err.code, ECERT_ERR_SNAPSHOT);
    close(fd);
}

/* A head that is not what it must be: never opened. */
static void test_bad_head(void **state)
{
    static const struct {
        size_t at;
        uint32_t value;
    } cases[] = {
        {0, 0},
        {4, 0},
        {8, 0},
        {8, 1},
        {12, 0},
        {12, 3},
        {12, ECERT_SNAP_SITES_MAX + 1},
        {12, UINT32_MAX},
        {16, 0},
        {16, UINT32_MAX},
        {20, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int fd = ecert_snap_create(2, &err);

        assert_int_equal(pwrite(fd, &cases[i].value, 4, (off_t)cases[i].at), 4);
        assert_null(ecert_snap_open(fd, &err));
        assert_int_equal(err.code, ECERT_ERR_SNAPSHOT);
        assert_null(ecert_snap_open_writer(fd, &err));
        assert_int_equal(err.code, ECERT_ERR_SNAPSHOT);
        close(fd);
    }
}

static void test_bad_file(void **state)
{
    unsigned char head[24];
    int good = ecert_snap_create(2, &err), fd;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    (void)state;
    assert_int_equal(pread(good, head, sizeof(head), 0), sizeof(head));
    assert_null(ecert_snap_open(null, &err));
    assert_null(ecert_snap_open(-1, &err));
    assert_null(ecert_snap_open(999, &err));
    /* all right but for its length: the rest would be a SIGBUS */
    for (off_t size = 0; size < 5 * 4096; size += 4095) {
        fd = memfd_create("short", MFD_CLOEXEC);
        assert_int_equal(pwrite(fd, head, sizeof(head), 0), sizeof(head));
        assert_int_equal(ftruncate(fd, size), 0);
        assert_null(ecert_snap_open(fd, &err));
        assert_int_equal(err.code, ECERT_ERR_SNAPSHOT);
        close(fd);
    }
    close(good);
    close(null);
}

/*
 * Somebody writes all over the memory: what a reader returns is the record as
 * it was published, or an error.
 */
static void test_corruption(void **state)
{
    unsigned char record[4000], *bytes, *good;
    uint64_t generation;
    unsigned seed = 3;
    int survived = 0;
    pair_t pair;
    size_t len;

    (void)state;
    open_pair(&pair, 2);
    memset(record, 'r', sizeof(record));
    for (uint32_t slot = 0; slot < 3; slot++) {
        assert_int_equal(
            ecert_snap_publish(pair.writer, slot, record, sizeof(record), &err),
            0);
    }
    good = malloc(pair.size);
    memcpy(good, pair.raw, pair.size);
    for (int i = 0; i < 3000; i++) {
        size_t span = i % 3 == 0 ? 4096 + 3 * 120 : 5 * 4096 + 5 * 65536;
        int hits = 1 + i % 40;

        for (int hit = 0; hit < hits; hit++) {
            size_t at_byte = (size_t)rand_r(&seed) % span;

            if (i % 3 == 1) {
                at_byte = SLOTS + at_byte % 360; /* generations, lengths */
            }
            pair.raw[at_byte] = (unsigned char)(rand_r(&seed) >> 5);
        }
        for (uint32_t slot = 0; slot < 5; slot++) {
            ecert_snap_generation(pair.reader, slot);
            if (ecert_snap_read(pair.reader, slot, &bytes, &len, &generation,
                                &err)
                != 0) {
                assert_int_equal(err.code, ECERT_ERR_SNAPSHOT);
                assert_null(bytes);
                continue;
            }
            survived++;
            assert_int_equal(len, sizeof(record));
            assert_memory_equal(bytes, record, len);
            ecert_snap_free(bytes, len);
        }
        ecert_snap_find(pair.reader, record, 1);
        memcpy(pair.raw, good, 6 * 4096 + 5 * 65536);
    }
    assert_true(survived > 0);
    for (uint32_t number = 1; number < 40; number++) { /* lengths alone */
        uint32_t lengths[] = {0, 1, 65536, 65537, UINT32_MAX, number << 20};
        size_t n = sizeof(lengths) / sizeof(lengths[0]);

        for (size_t at_byte = SLOTS; at_byte < SLOTS + 360; at_byte += 4) {
            memcpy(pair.raw + at_byte, &lengths[number % n], 4);
            if (ecert_snap_read(pair.reader, 1, &bytes, &len, &generation, &err)
                == 0) {
                assert_memory_equal(bytes, record, sizeof(record));
                ecert_snap_free(bytes, len);
            }
        }
        memcpy(pair.raw, good, 2 * 4096);
    }
    free(good);
    close_pair(&pair);
}

/* A writer that finds nonsense in the memory stays inside its buffers. */
static void test_writer_corruption(void **state)
{
    unsigned seed = 5;
    pair_t pair;

    (void)state;
    open_pair(&pair, 2);
    for (int i = 0; i < 300; i++) {
        for (size_t at_byte = SLOTS; at_byte < SLOTS + 128; at_byte++) {
            pair.raw[at_byte] = (unsigned char)(rand_r(&seed) >> 5);
        }
        publish(pair.writer, 1, "neighbour");
        publish(pair.writer, 0, "healed");
        assert_record(pair.reader, 0, "healed",
                      ecert_snap_generation(pair.reader, 0));
        assert_record(pair.reader, 1, "neighbour",
                      ecert_snap_generation(pair.reader, 1));
    }
    close_pair(&pair);
}

/* Publishes without end; only a signal ends it. */
static void publish_for_ever(ecert_snap_t *snap, uint32_t number)
{
    static unsigned char record[ECERT_SNAP_RECORD_MAX];

    for (;; number++) {
        ecert_snap_publish(snap, 0, record, make_record(record, number), &err);
    }
}

static void test_killed_writer(void **state)
{
    uint32_t number = 0, last = 0;
    unsigned char *bytes;
    uint64_t generation, before = 0;
    unsigned seed = 11;
    pair_t pair;
    size_t len;

    (void)state;
    open_pair(&pair, 1);
    for (int i = 0; i < 150; i++) {
        struct timespec nap = {0, rand_r(&seed) % 3000000};
        pid_t pid = fork();

        if (pid == 0) {
            publish_for_ever(pair.writer, last + 1);
        }
        while (ecert_snap_generation(pair.reader, 0) == before) {
            sched_yield();
        }
        nanosleep(&nap, NULL);
        assert_int_equal(
            ecert_snap_read(pair.reader, 0, &bytes, &len, &generation, &err),
            0);
        assert_true(is_whole(bytes, len, &number));
        ecert_snap_free(bytes, len);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_int_equal(
            ecert_snap_read(pair.reader, 0, &bytes, &len, &generation, &err),
            0);
        assert_true(is_whole(bytes, len, &last));
        assert_true(last >= number);
        assert_true(generation > before);
        before = generation;
        ecert_snap_free(bytes, len);
    }
    close_pair(&pair);
}

static atomic_int stop;

static void *write_all_the_time(void *ctx)
{
    static unsigned char record[ECERT_SNAP_RECORD_MAX];
    ecert_err_t own;

    for (uint32_t number = 1; !atomic_load(&stop); number++) {
        ecert_snap_publish(ctx, 0, record, make_record(record, number), &own);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct timespec begin, now;
    uint32_t number, last = 0;
    unsigned char *bytes;
    uint64_t generation;
    pthread_t thread;
    pair_t pair;
    size_t len;
    long reads = 0;

    (void)state;
    open_pair(&pair, 1);
    atomic_store(&stop, 0);
    assert_int_equal(
        pthread_create(&thread, NULL, write_all_the_time, pair.writer), 0);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        uint64_t seen = ecert_snap_generation(pair.reader, 0);

        clock_gettime(CLOCK_MONOTONIC, &now);
        if (seen == 0) {
            continue;
        }
        assert_int_equal(
            ecert_snap_read(pair.reader, 0, &bytes, &len, &generation, &err),
            0);
        assert_true(is_whole(bytes, len, &number));
        assert_true(generation >= seen);
        assert_int_equal(number, generation);
        assert_true(number >= last);
        last = number;
        reads++;
        ecert_snap_free(bytes, len);
    } while (now.tv_sec - begin.tv_sec < 2);
    atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    assert_true(reads > 100);
    close_pair(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_sealed),
        cmocka_unit_test(test_not_sealed),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_bad_head),
        cmocka_unit_test(test_bad_file),
        cmocka_unit_test(test_corruption),
        cmocka_unit_test(test_writer_corruption),
        cmocka_unit_test(test_killed_writer),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
