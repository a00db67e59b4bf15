#include "ecert_visits.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ecert_addr.h"
#include "ecert_seen.h"

#define MAGIC   "ecertvis"
#define VERSION 2
#define SIZE    131072 /* of a page: a multiple of what any machine maps */
#define WORDS   (sizeof(ecert_visit_t) / sizeof(uint64_t))

/* More than any worker has written: nonsense. */
#define ABSURD (UINT64_C(1) << 40)

/*
 * A visit gets a ticket, which counts up for ever, and the slot of that number.
 * The slot's mark is even when the visit of a ticket is whole, odd while it is
 * being written.
 */
#define BUSY(ticket) (2 * (ticket) + 1)
#define DONE(ticket) (2 * (ticket) + 2)

typedef struct {
    _Atomic uint64_t mark;
    _Atomic uint64_t word[WORDS];
} slot_t;

typedef struct {
    _Atomic uint64_t next; /* ticket */
    unsigned char unused[sizeof(slot_t) - sizeof(uint64_t)];
    slot_t slot[ECERT_VISITS_SLOTS];
} ring_t;

typedef struct {
    ring_t ring[ECERT_VISITS_RINGS];
} page_t;

/*
 * What a worker remembers of a PERIOD: the fetches that went to the ring of the
 * first ones.  Between two looks of the agent are two periods at most, and all
 * of both have room in that ring: FIRSTS is less than half of it.
 */
#define PERIOD   30 /* seconds, as long as the agent is away */
#define FIRSTS   (ECERT_VISITS_SLOTS / 2 - 32) /* 32: threads that met */
#define ANY      7 /* first ones of a file besides, whatever their network */
#define REMEMBER (2 * (ECERT_VISITS_SLOTS + 1))
#define PROBES   16
#define OTHERS   0 /* rings */
#define FIRST    1

typedef struct {
    char magic[8];
    uint64_t version;
    int64_t born;
    _Atomic uint64_t pid[ECERT_VISITS_WORKERS]; /* 0: never taken */
} head_t;

_Static_assert(sizeof(ecert_visit_t) == WORDS * sizeof(uint64_t),
               "a visit is whole words");
_Static_assert(sizeof(page_t) == SIZE && sizeof(head_t) <= SIZE,
               "pages can be unmapped one by one");

/* SIZE bytes of head, then the pages.  Those that nobody wrote take none. */
struct ecert_visits_s {
    unsigned char *map;
    size_t size; /* mapped at map */
    page_t *own; /* in a worker: all that is left of the map */
    uint64_t secret;
    _Atomic int64_t period;
    _Atomic unsigned firsts; /* of this period */
    _Atomic uint64_t known[REMEMBER];
};

static size_t full_size(void)
{
    return (size_t)SIZE * (1 + ECERT_VISITS_WORKERS);
}

static int write_head(int fd)
{
    struct timespec ts;
    head_t head;

    memset(&head, 0, sizeof(head));
    clock_gettime(CLOCK_REALTIME, &ts);
    memcpy(head.magic, MAGIC, sizeof(head.magic));
    head.version = VERSION;
    head.born = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
    return pwrite(fd, &head, sizeof(head), 0) == sizeof(head) ? 0 : -1;
}

int ecert_visits_create(ecert_err_t *err)
{
    int fd = memfd_create("ecert-visits", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, NULL, "memfd_create");
    }
    /* sealed in size: a worker that shrinks it would kill the agent */
    if (fchmod(fd, 0600) != 0 || ftruncate(fd, (off_t)full_size()) != 0
        || write_head(fd) != 0
        || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
               != 0) {
        ecert_err(err, ECERT_ERR_SYSTEM, NULL,
                  "cannot make the shared memory for visits");
        close(fd);
        return -1;
    }
    return fd;
}

static int is_ours(int fd)
{
    struct stat st;
    head_t head;

    return fstat(fd, &st) == 0 && st.st_size == (off_t)full_size()
           && pread(fd, &head, sizeof(head), 0) == sizeof(head)
           && memcmp(head.magic, MAGIC, sizeof(head.magic)) == 0
           && head.version == VERSION;
}

ecert_visits_t *ecert_visits_open(int fd, ecert_err_t *err)
{
    ecert_visits_t *visits = calloc(1, sizeof(*visits));

    if (visits == NULL) {
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        return NULL;
    }
    if (!is_ours(fd)) {
        ecert_err(err, ECERT_ERR_SNAPSHOT, NULL,
                  "the memory for visits is of another version");
        free(visits);
        return NULL;
    }
    visits->size = full_size();
    visits->map =
        mmap(NULL, visits->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (visits->map == MAP_FAILED
        || madvise(visits->map, visits->size, MADV_DONTDUMP) != 0) {
        ecert_err(err, ECERT_ERR_SYSTEM, NULL,
                  "cannot map the shared memory for visits");
        ecert_visits_close(visits);
        return NULL;
    }
    return visits;
}

void ecert_visits_close(ecert_visits_t *visits)
{
    if (visits == NULL) {
        return;
    }
    if (visits->map != MAP_FAILED && visits->size > 0) {
        munmap(visits->map, visits->size);
    }
    free(visits);
}

static head_t *head_of(const ecert_visits_t *visits)
{
    return (head_t *)(void *)visits->map;
}

static page_t *page_at(const ecert_visits_t *visits, int page)
{
    return (page_t *)(void *)(visits->map + (size_t)SIZE * (size_t)(page + 1));
}

/* The index of a page that is this process's from now on, or -1. */
static int take_page(const ecert_visits_t *visits, pid_t pid)
{
    for (int i = 0; i < ECERT_VISITS_WORKERS; i++) {
        _Atomic uint64_t *cell = &head_of(visits)->pid[i];
        uint64_t old = atomic_load(cell);

        if (ecert_seen_alive(old) && old != (uint64_t)pid) {
            continue;
        }
        if (atomic_compare_exchange_strong(cell, &old, (uint64_t)pid)) {
            return i;
        }
    }
    return -1;
}

/* The one before may have been killed half-way, or have been an attacker. */
static void heal(ring_t *ring)
{
    if (atomic_load(&ring->next) > ABSURD) {
        atomic_store(&ring->next, 0);
    }
    for (int i = 0; i < ECERT_VISITS_SLOTS; i++) {
        uint64_t mark = atomic_load(&ring->slot[i].mark);

        if (mark & 1 || mark > 2 * atomic_load(&ring->next)) {
            atomic_store(&ring->slot[i].mark, 0);
        }
    }
}

/* Unmaps all but this page; -1: all of it. */
static void keep_only(ecert_visits_t *visits, int page)
{
    unsigned char *end = visits->map + visits->size;

    if (page < 0) {
        munmap(visits->map, visits->size);
        visits->size = 0;
        return;
    }
    visits->own = page_at(visits, page);
    munmap(visits->map, (size_t)((unsigned char *)visits->own - visits->map));
    visits->map = (unsigned char *)visits->own;
    visits->size = SIZE;
    if (visits->map + SIZE < end) {
        munmap(visits->map + SIZE, (size_t)(end - visits->map - SIZE));
    }
}

void ecert_visits_claim(ecert_visits_t *visits, pid_t pid)
{
    int page;

    if (visits->own != NULL || visits->size == 0) {
        return;
    }
    page = take_page(visits, pid);
    for (int i = 0; page >= 0 && i < ECERT_VISITS_RINGS; i++) {
        heal(&page_at(visits, page)->ring[i]);
    }
    if (getrandom(&visits->secret, sizeof(visits->secret), GRND_NONBLOCK) < 0) {
        visits->secret = (uint64_t)pid;
    }
    keep_only(visits, page);
}

/* ---- which ones are first ---------------------------------------------- */

uint64_t ecert_visit_network(const ecert_visit_t *visit)
{
    int ipv4 = ecert_addr_is_ipv4(visit->address);
    const unsigned char *bytes = visit->address + (ipv4 ? 12 : 0);
    uint64_t network = ipv4 ? 4 : 6;

    for (int i = 0; i < (ipv4 ? 3 : 6); i++) {
        network = network << 8 | bytes[i];
    }
    return network;
}

/* Nobody who asks can know which two are the same; never 0. */
static uint64_t mix(uint64_t secret, uint64_t a, uint64_t b)
{
    uint64_t hash = secret;
    const uint64_t parts[] = {a, b, secret};

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        hash = (hash ^ parts[i]) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    return hash != 0 ? hash : 1;
}

/* 1: it was not known, and is now; 0: it was, or there is no room. */
static int remember(ecert_visits_t *visits, uint64_t hash, unsigned max)
{
    for (uint64_t i = 0; i < PROBES; i++) {
        _Atomic uint64_t *cell = &visits->known[(hash + i) % REMEMBER];
        uint64_t was = 0;

        if (atomic_load(&visits->firsts) >= max) {
            return 0;
        }
        if (atomic_compare_exchange_strong(cell, &was, hash)) {
            atomic_fetch_add(&visits->firsts, 1);
            return 1;
        }
        if (was == hash) {
            return 0;
        }
    }
    return 0;
}

/*
 * Threads that come from the period before are of this one, or each turn would
 * make room for as many again; a clock may have been set back, though.
 */
static void turn_to(ecert_visits_t *visits, int64_t period)
{
    int64_t was = atomic_load(&visits->period);

    if (was == period || was == period + 1
        || !atomic_compare_exchange_strong(&visits->period, &was, period)) {
        return;
    }
    for (size_t i = 0; i < REMEMBER; i++) {
        atomic_store(&visits->known[i], 0);
    }
    atomic_store(&visits->firsts, 0);
}

static int is_first(ecert_visits_t *visits, const ecert_visit_t *visit)
{
    if (visit->status != 200) {
        return 0;
    }
    turn_to(visits, 1 + visit->when / PERIOD);
    if (remember(visits,
                 mix(visits->secret, visit->token, ecert_visit_network(visit)),
                 FIRSTS)) {
        return 1;
    }
    for (uint64_t i = 0; i < ANY; i++) {
        if (remember(visits, mix(visits->secret, visit->token, ~i),
                     FIRSTS / 2)) {
            return 1;
        }
    }
    return 0;
}

static void put(ring_t *ring, const ecert_visit_t *visit)
{
    uint64_t ticket, mark, words[WORDS];
    slot_t *slot;

    ticket = atomic_fetch_add_explicit(&ring->next, 1, memory_order_relaxed);
    slot = &ring->slot[ticket % ECERT_VISITS_SLOTS];
    mark = atomic_load_explicit(&slot->mark, memory_order_relaxed);
    /* a thread a whole round behind or ahead has this slot: one is lost */
    if (mark & 1 || mark > DONE(ticket)
        || !atomic_compare_exchange_strong(&slot->mark, &mark, BUSY(ticket))) {
        return;
    }
    atomic_thread_fence(memory_order_release);
    memcpy(words, visit, sizeof(words));
    for (size_t i = 0; i < WORDS; i++) {
        atomic_store_explicit(&slot->word[i], words[i], memory_order_relaxed);
    }
    atomic_store_explicit(&slot->mark, DONE(ticket), memory_order_release);
}

void ecert_visits_put(ecert_visits_t *visits, const ecert_visit_t *visit)
{
    if (visits != NULL && visits->own != NULL) {
        put(&visits->own->ring[is_first(visits, visit) ? FIRST : OTHERS],
            visit);
    }
}

/* ---- the agent's side -------------------------------------------------- */

int64_t ecert_visits_born(const ecert_visits_t *visits)
{
    return head_of(visits)->born;
}

/* 1: read; 0: it is not there yet; -1: another one has taken its place. */
static int read_slot(ring_t *ring, uint64_t ticket, ecert_visit_t *visit)
{
    slot_t *slot = &ring->slot[ticket % ECERT_VISITS_SLOTS];
    uint64_t words[WORDS];
    uint64_t mark = atomic_load_explicit(&slot->mark, memory_order_acquire);

    if (mark != DONE(ticket)) {
        return mark > DONE(ticket) ? -1 : 0;
    }
    for (size_t i = 0; i < WORDS; i++) {
        words[i] = atomic_load_explicit(&slot->word[i], memory_order_relaxed);
    }
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&slot->mark, memory_order_relaxed) != mark) {
        return -1;
    }
    memcpy(visit, words, sizeof(*visit));
    return 1;
}

static uint64_t take_ring(ring_t *ring, uint64_t *next, uint64_t *awaited,
                          void (*take)(void *ctx, const ecert_visit_t *visit),
                          void *ctx)
{
    uint64_t end = atomic_load(&ring->next), lost = 0;
    ecert_visit_t visit;

    if (end - *next > ABSURD) {
        *next = end;
        return 0;
    }
    if (end - *next > ECERT_VISITS_SLOTS) {
        lost = end - *next - ECERT_VISITS_SLOTS;
        *next = end - ECERT_VISITS_SLOTS;
    }
    for (; *next != end; ++*next) {
        int rc = read_slot(ring, *next, &visit);

        /* who writes it now has until the next look */
        if (rc == 0 && *awaited != *next + 1) {
            *awaited = *next + 1;
            break;
        }
        if (rc > 0) {
            take(ctx, &visit);
        } else {
            lost++;
        }
    }
    return lost;
}

/* So that the memory of one that nobody had stays untouched. */
static int is_used(const ecert_visits_t *visits, int page)
{
    return atomic_load(&head_of(visits)->pid[page]) != 0;
}

uint64_t ecert_visits_take(const ecert_visits_t *visits, int page,
                           ecert_visits_place_t *place,
                           void (*take)(void *ctx, const ecert_visit_t *visit),
                           void *ctx)
{
    uint64_t lost = 0;

    for (int i = ECERT_VISITS_RINGS - 1; i >= 0 && is_used(visits, page); i--) {
        lost += take_ring(&page_at(visits, page)->ring[i], &place->next[i],
                          &place->awaited[i], take, ctx);
    }
    return lost;
}

int ecert_visits_filling(const ecert_visits_t *visits, int page,
                         const ecert_visits_place_t *place)
{
    for (int i = 0; i < ECERT_VISITS_RINGS && is_used(visits, page); i++) {
        const ring_t *ring = &page_at(visits, page)->ring[i];

        if (atomic_load(&ring->next) - place->next[i]
            > ECERT_VISITS_SLOTS / 2) {
            return 1;
        }
    }
    return 0;
}
