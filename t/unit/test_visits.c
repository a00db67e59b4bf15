/*
 * The workers' pages of visits: written by many threads, read while they are
 * written, overrun, left half-written, filled with nonsense.
 */

#include "scratch.h"

#include <pthread.h>
#include <stdatomic.h>

#include <sys/mman.h>
#include <sys/wait.h>

#include "ecert_visits.h"

#define PAGE_BYTES 131072
#define SLOTS      ECERT_VISITS_SLOTS

static ecert_err_t err;

/* The memory as the agent has it, and all of its bytes. */
typedef struct {
    int fd;
    unsigned char *raw;
    size_t size;
    ecert_visits_t *agent, *worker;
    ecert_visits_place_t place;
} world_t;

static void open_world(world_t *world)
{
    struct stat st;

    memset(world, 0, sizeof(*world));
    world->fd = ecert_visits_create(&err);
    assert_true(world->fd >= 0);
    assert_int_equal(fstat(world->fd, &st), 0);
    world->size = (size_t)st.st_size;
    world->raw = mmap(NULL, world->size, PROT_READ | PROT_WRITE, MAP_SHARED,
                      world->fd, 0);
    assert_true(world->raw != MAP_FAILED);
    world->agent = ecert_visits_open(world->fd, &err);
    world->worker = ecert_visits_open(world->fd, &err);
    assert_non_null(world->agent);
    ecert_visits_claim(world->worker, getpid());
}

static void close_world(world_t *world)
{
    ecert_visits_close(world->agent);
    ecert_visits_close(world->worker);
    munmap(world->raw, world->size);
    close(world->fd);
}

/* Words of the first page's first ring: 0 is the next ticket, a slot has 16
 * from 16 on. */
static uint64_t *word(world_t *world, size_t i)
{
    return (uint64_t *)(void *)(world->raw + PAGE_BYTES) + i;
}

/* A visit whose every byte follows from its number. */
static ecert_visit_t make(uint64_t number)
{
    ecert_visit_t visit = {.token = number, .when = (int64_t)number * 3};

    memset(visit.agent, (int)(number & 0xff), sizeof(visit.agent));
    memcpy(visit.address, &number, sizeof(number));
    visit.bytes = (uint32_t)number ^ 0x5a5a;
    return visit;
}

typedef struct {
    uint64_t n, wrong, last, unordered;
} seen_t;

static void check(void *ctx, const ecert_visit_t *visit)
{
    ecert_visit_t want = make(visit->token);
    seen_t *seen = ctx;

    seen->n++;
    seen->wrong += memcmp(visit, &want, sizeof(want)) != 0;
    seen->unordered += visit->token < seen->last;
    seen->last = visit->token;
}

static void put_some(world_t *world, uint64_t from, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        ecert_visit_t visit = make(from + i);

        ecert_visits_put(world->worker, &visit);
    }
}

static void assert_taken(world_t *world, uint64_t n, uint64_t lost)
{
    seen_t seen = {0};

    assert_int_equal(
        ecert_visits_take(world->agent, 0, &world->place, check, &seen), lost);
    assert_int_equal(seen.n, n);
    assert_int_equal(seen.wrong, 0);
    assert_int_equal(seen.unordered, 0);
}

static void test_ring(void **state)
{
    world_t world;

    (void)state;
    open_world(&world);
    assert_taken(&world, 0, 0);
    put_some(&world, 0, 3);
    assert_taken(&world, 3, 0);
    assert_taken(&world, 0, 0);
    put_some(&world, 3, SLOTS); /* over the end of the page */
    assert_taken(&world, SLOTS, 0);
    put_some(&world, 600, SLOTS + 1);
    assert_taken(&world, SLOTS, 1);
    put_some(&world, 2000, 10000);
    assert_taken(&world, SLOTS, 10000 - SLOTS);
    assert_taken(&world, 0, 0);
    ecert_visits_put(NULL, NULL);
    close_world(&world);
}

/* ---- a flood ----------------------------------------------------------- */

static ecert_visit_t from(uint64_t token, unsigned network, int64_t when)
{
    ecert_visit_t visit = {.token = token, .status = 200, .when = when};

    visit.address[10] = visit.address[11] = 0xff;
    visit.address[12] = (unsigned char)(network >> 16);
    visit.address[13] = (unsigned char)(network >> 8);
    visit.address[14] = (unsigned char)network;
    return visit;
}

static void fetch(world_t *world, uint64_t token, unsigned network,
                  int64_t when)
{
    ecert_visit_t visit = from(token, network, when);

    ecert_visits_put(world->worker, &visit);
}

typedef struct {
    ecert_visit_t visits[2 * ECERT_VISITS_SLOTS];
    size_t n;
} taken_t;

static void keep(void *ctx, const ecert_visit_t *visit)
{
    taken_t *taken = ctx;

    assert_true(taken->n < 2 * SLOTS);
    taken->visits[taken->n++] = *visit;
}

static int has(const taken_t *taken, uint64_t token, unsigned network)
{
    ecert_visit_t visit = from(token, network, 0);

    for (size_t i = 0; i < taken->n; i++) {
        if (taken->visits[i].token == token
            && memcmp(taken->visits[i].address, visit.address, 16) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Whatever one stranger asks for, over the end of a period, the first fetches
 * of each file and of each other network stand. */
static void test_flood(void **state)
{
    static taken_t taken;
    world_t world;
    uint64_t lost;

    (void)state;
    open_world(&world);
    taken.n = 0;
    fetch(&world, 1, 7, 1000);
    for (unsigned i = 0; i < 40000; i++) {
        fetch(&world, 1 + i % 10, 5, 1000 + i / 1000);
        if (i % 10000 == 5000) {
            fetch(&world, 1 + i / 10000, 8, 1000 + i / 1000);
        }
    }
    lost = ecert_visits_take(world.agent, 0, &world.place, keep, &taken);
    assert_int_equal(taken.n + lost, 40005);
    assert_true(has(&taken, 1, 7));
    for (uint64_t token = 1; token <= 10; token++) {
        assert_true(has(&taken, token, 5));
        assert_true(token > 4 || has(&taken, token, 8));
    }
    assert_true(taken.n < 2 * SLOTS); /* the ring of the first is not full */
    close_world(&world);
}

/* And many strangers cannot fill it, in two periods. */
static void test_flood_of_networks(void **state)
{
    static taken_t taken;
    world_t world;

    (void)state;
    open_world(&world);
    taken.n = 0;
    fetch(&world, 1, 7, 1000);
    for (unsigned i = 0; i < 40000; i++) {
        fetch(&world, 1 + i % 10, 100 + i, 1000 + i / 1000);
    }
    ecert_visits_take(world.agent, 0, &world.place, keep, &taken);
    assert_true(has(&taken, 1, 7));
    assert_true(taken.n < 2 * SLOTS);
    close_world(&world);
}

/* Both rings fill; the clock may be set back. */
static void test_filling(void **state)
{
    static taken_t taken;
    world_t world;

    (void)state;
    open_world(&world);
    for (unsigned i = 0; i < 200; i++) {
        fetch(&world, 1, 100 + i, 1000);
    }
    assert_false(ecert_visits_filling(world.agent, 0, &world.place));
    for (unsigned i = 0; i < 200; i++) {
        fetch(&world, 1, 100 + i, 10);
    }
    assert_true(ecert_visits_filling(world.agent, 0, &world.place));
    ecert_visits_take(world.agent, 0, &world.place, keep, &taken);
    assert_false(ecert_visits_filling(world.agent, 0, &world.place));
    assert_int_equal(taken.n, 400);
    for (unsigned i = 0; i < 300; i++) {
        fetch(&world, 1, 100, 10);
    }
    assert_true(ecert_visits_filling(world.agent, 0, &world.place));
    assert_false(ecert_visits_filling(world.agent, 1, &world.place));
    close_world(&world);
}

/* All but the page of its own is out of a worker's reach. */
static void test_own_page(void **state)
{
    char line[512], *end;
    world_t world;
    FILE *maps;
    int n = 0;

    (void)state;
    open_world(&world);
    munmap(world.raw, world.size);
    ecert_visits_close(world.agent);
    ecert_visits_claim(world.worker, getpid()); /* twice is once */
    maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof(line), maps) != NULL) {
        if (strstr(line, "memfd:ecert-visits") != NULL) {
            unsigned long from = strtoul(line, &end, 16);

            assert_int_equal(strtoul(end + 1, NULL, 16) - from, PAGE_BYTES);
            n++;
        }
    }
    fclose(maps);
    assert_int_equal(n, 1);
    ecert_visits_close(world.worker);
    close(world.fd);
}

/* The dead one's visits are still read, and the page goes to the next. */
static void test_pages(void **state)
{
    world_t world;
    pid_t pids[3];
    int go[2];

    (void)state;
    open_world(&world);
    for (int i = 0; i < 3; i++) {
        ecert_visits_t *own = ecert_visits_open(world.fd, &err);
        ecert_visit_t visit = make(100 + (uint64_t)i);
        char byte;

        assert_int_equal(pipe(go), 0);
        pids[i] = fork();
        if (pids[i] == 0) {
            ecert_visits_claim(own, getpid());
            ecert_visits_put(own, &visit);
            close(go[0]);
            close(go[1]);
            pause();
            _exit(0);
        }
        ecert_visits_close(own);
        close(go[1]);
        assert_int_equal(read(go[0], &byte, 1), 0);
        close(go[0]);
    }
    for (int i = 0; i < 3; i++) {
        ecert_visits_place_t place = {0};
        seen_t seen = {0};

        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
        assert_int_equal(
            ecert_visits_take(world.agent, i + 1, &place, check, &seen), 0);
        assert_int_equal(seen.n, 1);
        assert_int_equal(seen.last, 100 + i);
    }
    ecert_visits_close(world.worker);
    world.worker = ecert_visits_open(world.fd, &err);
    ecert_visits_claim(world.worker, getppid()); /* the first dead one's */
    put_some(&world, 7, 1);
    {
        ecert_visits_place_t place = {.next = {1}};
        seen_t seen = {0};

        ecert_visits_take(world.agent, 1, &place, check, &seen);
        assert_int_equal(seen.last, 7);
    }
    close_world(&world);
}

static void test_all_taken(void **state)
{
    world_t world;

    (void)state;
    open_world(&world);
    ecert_visits_close(world.worker);
    for (int i = 0; i < ECERT_VISITS_WORKERS; i++) {
        ((uint64_t *)(void *)world.raw)[3 + i] = (uint64_t)getppid();
    }
    world.worker = ecert_visits_open(world.fd, &err);
    ecert_visits_claim(world.worker, getpid());
    put_some(&world, 1, 10); /* nowhere, and no harm */
    ecert_visits_claim(world.worker, getpid());
    assert_taken(&world, 0, 0);
    close_world(&world);
}

/* Killed between its ticket and the end of its visit. */
static void test_half_written(void **state)
{
    world_t world;

    (void)state;
    open_world(&world);
    put_some(&world, 0, 2);
    *word(&world, 16 + 16) = 3; /* the mark of ticket 1, being written */
    put_some(&world, 2, 2);
    assert_taken(&world, 1, 0); /* waits for it once */
    assert_taken(&world, 2, 1); /* and goes on without it */
    put_some(&world, 4, SLOTS + 2);
    assert_taken(&world, SLOTS - 5, 2); /* its slot is lost to all */
    assert_taken(&world, 4, 1);
    ecert_visits_close(world.worker);
    world.worker = ecert_visits_open(world.fd, &err);
    ecert_visits_claim(world.worker, getpid()); /* but not to the next owner */
    put_some(&world, 2000, SLOTS);
    assert_taken(&world, SLOTS, 0);
    close_world(&world);
}

#define THREADS 8
#define EACH    20000

static _Atomic int running;

static void *write_many(void *ctx)
{
    for (uint64_t i = 0; i < EACH; i++) {
        ecert_visit_t visit = make(i);

        ecert_visits_put(ctx, &visit);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

/* Each is read whole or counted, never both, never torn. */
static void test_threads(void **state)
{
    pthread_t threads[THREADS];
    uint64_t lost = 0;
    seen_t seen = {0};
    world_t world;

    (void)state;
    open_world(&world);
    atomic_store(&running, THREADS);
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, write_many, world.worker);
    }
    while (atomic_load(&running) > 0) {
        lost += ecert_visits_take(world.agent, 0, &world.place, check, &seen);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < 2 * SLOTS; i++) {
        lost += ecert_visits_take(world.agent, 0, &world.place, check, &seen);
    }
    assert_int_equal(seen.wrong, 0);
    assert_true(seen.n > 0);
    assert_int_equal(seen.n + lost, THREADS * EACH);
    close_world(&world);
}

static void count(void *ctx, const ecert_visit_t *visit)
{
    (void)visit;
    ++*(uint64_t *)ctx;
}

/* Whatever stands in a page: it ends, and the page can be used after it. */
static void test_hostile(void **state)
{
    static const uint64_t odd[] = {UINT64_MAX,
                                   UINT64_MAX - 1,
                                   UINT64_C(1) << 63,
                                   UINT64_C(1) << 40,
                                   UINT32_MAX,
                                   0,
                                   (UINT64_C(1) << 40) + 5};
    unsigned seed = 3;
    world_t world;

    (void)state;
    open_world(&world);
    for (int round = 0; round < 2000; round++) {
        uint64_t n = 0;

        for (int i = 0; i < 64; i++) {
            *word(&world, (size_t)rand_r(&seed) % (PAGE_BYTES / 8)) =
                odd[(size_t)rand_r(&seed) % 7] + (uint64_t)(rand_r(&seed) % 3);
        }
        *word(&world, 0) = odd[round % 7] + (uint64_t)(rand_r(&seed) % 3000);
        ecert_visits_take(world.agent, 0, &world.place, count, &n);
        assert_true(n <= 2 * SLOTS);
    }
    *word(&world, 0) = UINT64_MAX - 3;
    put_some(&world, 0, 10); /* by one who goes on in such a page */
    ecert_visits_close(world.worker);
    world.worker = ecert_visits_open(world.fd, &err);
    ecert_visits_claim(world.worker, getpid());
    {
        uint64_t n = 0;

        ecert_visits_take(world.agent, 0, &world.place, count, &n);
        ecert_visits_take(world.agent, 0, &world.place, count, &n);
    }
    put_some(&world, 50, 20);
    assert_taken(&world, 20, 0);
    close_world(&world);
}

static void test_memory(void **state)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    world_t world;
    struct stat st;

    (void)state;
    open_world(&world);
    assert_int_equal(fstat(world.fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(ftruncate(world.fd, 0), -1);
    assert_int_equal(ftruncate(world.fd, 1 << 30), -1);
    assert_int_equal(fcntl(world.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_true(ecert_visits_born(world.agent) > 0);
    world.raw[8] ^= 1; /* another version */
    assert_null(ecert_visits_open(world.fd, &err));
    assert_int_equal(err.code, ECERT_ERR_SNAPSHOT);
    assert_null(ecert_visits_open(null, &err));
    assert_null(ecert_visits_open(-1, &err));
    ecert_visits_close(NULL);
    close(null);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_own_page),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_all_taken),
        cmocka_unit_test(test_half_written),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_filling),
        cmocka_unit_test(test_flood_of_networks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
