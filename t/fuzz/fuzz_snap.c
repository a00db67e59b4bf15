/*
 * The reader of the snapshot against hostile memory: a map between two pages
 * that nobody may touch, in which everything can be changed.  One bit of the
 * input corrects the checksums, so that what stands behind them is reached.
 */

#include <sys/mman.h>

#include "fuzz.h"

#define GUARD 4096

static void *guarded_mmap(void *at, size_t size, int protection, int flags,
                          int fd, off_t offset)
{
    unsigned char *room = mmap(at, size + 2 * GUARD, PROT_NONE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    FUZZ_CHECK(room != MAP_FAILED);
    return mmap(room + GUARD, size, protection, flags | MAP_FIXED, fd, offset);
}

static int guarded_munmap(unsigned char *map, size_t size)
{
    return munmap(map - GUARD, size + 2 * GUARD);
}

#define mmap   guarded_mmap
#define munmap guarded_munmap
#include "ecert_snap.c" /* with these, in place of the library's */
#undef mmap
#undef munmap

#include <openssl/err.h>

#include "ecert_cred.h"
#include "ecert_dcv.h"
#include "ecert_staple.h"

#define SITES 2
#define SLOTS (2 * SITES + 3)

static int fd = -1;
static ecert_snap_t *writer;
static unsigned char good[PAGE + SLOTS * sizeof(slot_t)];
static unsigned char record[ECERT_SNAP_RECORD_MAX];
static size_t record_len;

static void publish(uint32_t slot, unsigned char *bytes, size_t len)
{
    ecert_err_t err;

    FUZZ_CHECK(ecert_snap_publish(writer, slot, bytes, len, &err) == 0);
    ecert_snap_free(bytes, len);
}

static void publish_all(void)
{
    const pki_t *pki = fuzz_pki();
    STACK_OF(X509) *chain = pki_stack(pki->new_sub, pki->cross, NULL);
    ecert_token_t token = {"www.example.hk", "fileauth.txt",
                           (const unsigned char *)"code", 4, FUZZ_NOW,
                           7};
    ecert_staple_t staple = {
        .next_update = FUZZ_NOW, .der = token.body, .len = 4};
    unsigned char *bytes;
    ecert_err_t err;
    ecert_cred_t *cred = ecert_cred_new(pki->leaf, pki->leaf_key, chain, &err);
    size_t len;

    FUZZ_CHECK(cred != NULL);
    FUZZ_CHECK(ecert_cred_encode(cred, &bytes, &len, &err) == 0);
    memcpy(record, bytes, len);
    record_len = len;
    publish(0, bytes, len);
    FUZZ_CHECK(ecert_dcv_encode(&token, 1, &bytes, &len, &err) == 0);
    publish(SITES, bytes, len);
    FUZZ_CHECK(ecert_staple_encode(&staple, 1, &bytes, &len, &err) == 0);
    publish(SITES + 1, bytes, len);
    ecert_cred_free(cred);
    pki_stack_free(chain);
}

static void prepare(void)
{
    ecert_err_t err;

    if (fd >= 0) {
        return;
    }
    fd = ecert_snap_create(SITES, &err);
    FUZZ_CHECK(fd >= 0);
    writer = ecert_snap_open_writer(fd, &err);
    FUZZ_CHECK(writer != NULL);
    publish_all();
    memcpy(good, writer->map, sizeof(good));
}

/* The good bytes, and the input's upon them. */
static void mix(unsigned char *to, const unsigned char *from, size_t len,
                fuzz_in_t *in)
{
    size_t n = len;
    const uint8_t *p = fuzz_take(in, &n);

    memcpy(to, from, len);
    for (size_t i = 0; i < n; i++) {
        to[i] ^= p[i];
    }
}

static void correct_checksums(void)
{
    ecert_err_t err;

    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        for (unsigned which = 0; which < 2; which++) {
            record_t *r = &slot_at(writer, slot)->record[which];

            if (r->len <= capacity(SITES, slot) && r->len <= sizeof(record)) {
                digest(buffer_at(writer, slot, which), r->len, r->sha256, &err);
            }
        }
    }
}

static void decode(const ecert_snap_t *snap, uint32_t slot,
                   const unsigned char *bytes, size_t len)
{
    uint32_t sites = ecert_snap_sites(snap);
    ecert_staple_t staples[ECERT_STAPLES];
    ecert_token_t token;
    ecert_cred_t *cred;
    ecert_err_t err;
    size_t n;

    if (slot < sites) {
        cred = ecert_cred_decode(bytes, len, &err);
        FUZZ_CHECK(cred == NULL || (cred->leaf != NULL && cred->key != NULL));
        ecert_cred_free(cred);
    } else if (slot == sites) {
        if (ecert_dcv_check(bytes, len, &err) == 0
            && ecert_dcv_find(bytes, len, "www.example.hk", "fileauth.txt", 12,
                              &token)) {
            FUZZ_CHECK(token.body >= bytes
                       && token.body + token.body_len <= bytes + len);
        }
    } else if (slot < ecert_snap_evidence_slot(snap)
               && ecert_staple_decode(bytes, len, staples, &n, &err) == 0) {
        FUZZ_CHECK(staples[n - 1].der + staples[n - 1].len == bytes + len);
        ecert_staple_fits(&staples[0], fuzz_pki()->leaf, FUZZ_NOW);
    }
}

static void read_slot(const ecert_snap_t *snap, uint32_t slot, int must)
{
    unsigned char *bytes;
    uint64_t generation;
    ecert_err_t err;
    size_t len;

    if (ecert_snap_read(snap, slot, &bytes, &len, &generation, &err) != 0) {
        FUZZ_CHECK(!must && bytes == NULL);
        fuzz_check_err(&err);
        return;
    }
    FUZZ_CHECK(len > 0 && len <= capacity(ecert_snap_sites(snap), slot));
    FUZZ_CHECK(generation != 0);
    decode(snap, slot, bytes, len);
    ecert_snap_free(bytes, len);
}

static void run(const uint8_t *bytes, size_t len)
{
    fuzz_in_t in = {bytes, len};
    uint8_t flags = fuzz_byte(&in);
    ecert_snap_t *snap;
    ecert_err_t err;

    prepare();
    mix(writer->map, good, sizeof(head_t), &in);
    mix(writer->map + PAGE, good + PAGE, SLOTS * sizeof(slot_t), &in);
    mix(buffer_at(writer, 0, 1), record, record_len, &in);
    if (flags & 1) {
        correct_checksums();
    }
    snap = ecert_snap_open(fd, &err);
    if (snap == NULL) {
        FUZZ_CHECK(len > 1);
        fuzz_check_err(&err);
        return;
    }
    for (uint32_t slot = 0; slot <= 2 * ecert_snap_sites(snap) + 2; slot++) {
        read_slot(snap, slot, len <= 1 && slot == 0);
    }
    read_slot(snap, UINT32_MAX, 0);
    ecert_snap_find(snap, good, flags);
    ecert_snap_close(snap);
}

static void seeds(void)
{
    static unsigned char
        bytes[1 + sizeof(head_t) + SLOTS * sizeof(slot_t) + 2000];

    fuzz_seed(bytes, 1);
    fuzz_seed(bytes, sizeof(bytes) - 2000);
    fuzz_seed(bytes, sizeof(bytes));
    bytes[0] = 1;
    fuzz_seed(bytes, sizeof(bytes));
    bytes[1 + offsetof(head_t, sites)] = 3; /* 1 site instead of 2 */
    fuzz_seed(bytes, sizeof(bytes));
}

FUZZ_TARGET(snap, .run = run, .seeds = seeds, .max = 3000);
