#include "ecert_snap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

#define MAGIC      "ecertsnp"
#define VERSION    5
#define PAGE       4096
#define READ_TRIES 100

/*
 *  0        head_t
 *  4096     slot_t[2 * sites + 3]  sites, validation files, OCSP responses,
 *                                 evidence, failures
 *  data     for each slot two buffers of its capacity, page-aligned
 */
typedef struct {
    char magic[8];
    uint32_t version;
    uint32_t sites;
    uint64_t size;
} head_t;

typedef struct {
    uint32_t len;
    unsigned char sha256[32];
} record_t;

typedef struct {
    _Atomic uint64_t generation; /* the record is in record[generation & 1] */
    unsigned char id[32];
    record_t record[2];
} slot_t;

/* The numbers that lead to a buffer are computed here, never read there. */
struct ecert_snap_s {
    unsigned char *map;
    size_t size;
    uint32_t sites;
};

static size_t page_up(size_t n)
{
    return (n + PAGE - 1) / PAGE * PAGE;
}

static size_t data_offset(uint32_t sites)
{
    return PAGE + page_up((2 * (size_t)sites + 3) * sizeof(slot_t));
}

static size_t capacity(uint32_t sites, uint32_t slot)
{
    if (slot == sites) {
        return ECERT_SNAP_DCV_MAX;
    }
    if (slot == 2 * sites + 1) {
        return ECERT_SNAP_EVIDENCE_MAX;
    }
    if (slot == 2 * sites + 2) {
        return ECERT_SNAP_FAILURES_MAX;
    }
    return slot < sites ? ECERT_SNAP_RECORD_MAX : ECERT_SNAP_STAPLE_MAX;
}

static size_t map_size(uint32_t sites)
{
    return data_offset(sites)
           + (size_t)sites * 2
                 * (ECERT_SNAP_RECORD_MAX + (size_t)ECERT_SNAP_STAPLE_MAX)
           + 2
                 * ((size_t)ECERT_SNAP_DCV_MAX + ECERT_SNAP_EVIDENCE_MAX
                    + ECERT_SNAP_FAILURES_MAX);
}

/* Where a slot's two buffers begin, behind data_offset. */
static size_t buffers_offset(uint32_t sites, uint32_t slot)
{
    if (slot == 2 * sites + 2) {
        return buffers_offset(sites, slot - 1)
               + 2 * (size_t)ECERT_SNAP_EVIDENCE_MAX;
    }
    if (slot <= sites) {
        return (size_t)slot * 2 * ECERT_SNAP_RECORD_MAX;
    }
    return (size_t)sites * 2 * ECERT_SNAP_RECORD_MAX
           + 2 * (size_t)ECERT_SNAP_DCV_MAX
           + ((size_t)slot - sites - 1) * 2 * ECERT_SNAP_STAPLE_MAX;
}

static slot_t *slot_at(const ecert_snap_t *snap, uint32_t slot)
{
    return (slot_t *)(void *)(snap->map + PAGE) + slot;
}

static unsigned char *buffer_at(const ecert_snap_t *snap, uint32_t slot,
                                unsigned which)
{
    return snap->map + data_offset(snap->sites)
           + buffers_offset(snap->sites, slot)
           + which * capacity(snap->sites, slot);
}

static int write_head(int fd, uint32_t sites)
{
    head_t head = {.version = VERSION, .sites = sites, .size = map_size(sites)};

    memcpy(head.magic, MAGIC, sizeof(head.magic));
    return pwrite(fd, &head, sizeof(head), 0) == sizeof(head) ? 0 : -1;
}

int ecert_snap_create(uint32_t sites, ecert_err_t *err)
{
    int fd = memfd_create("ecert-snapshot", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, NULL, "memfd_create");
    }
    /* without this a worker can open it again through /proc */
    if (fchmod(fd, 0600) != 0 || ftruncate(fd, (off_t)map_size(sites)) != 0
        || write_head(fd, sites) != 0
        || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
        ecert_err(err, ECERT_ERR_SYSTEM, NULL,
                  "cannot make shared memory for %u sites", sites);
        close(fd);
        return -1;
    }
    return fd;
}

static int check_head(int fd, uint32_t *sites, ecert_err_t *err)
{
    struct stat st;
    head_t head;

    if (fstat(fd, &st) != 0
        || pread(fd, &head, sizeof(head), 0) != sizeof(head)) {
        return ecert_err(err, ECERT_ERR_SNAPSHOT, NULL, "it cannot be read");
    }
    if (memcmp(head.magic, MAGIC, sizeof(head.magic)) != 0
        || head.version != VERSION || head.sites > ECERT_SNAP_SITES_MAX
        || head.size != map_size(head.sites)
        || (uint64_t)st.st_size < head.size) {
        return ecert_err(err, ECERT_ERR_SNAPSHOT, NULL,
                         "it is damaged or of another version");
    }
    *sites = head.sites;
    return 0;
}

static ecert_snap_t *map_it(int fd, int protection, ecert_err_t *err)
{
    ecert_snap_t *snap;
    uint32_t sites = 0;

    if (check_head(fd, &sites, err) != 0) {
        return NULL;
    }
    snap = calloc(1, sizeof(*snap));
    if (snap == NULL) {
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        return NULL;
    }
    snap->sites = sites;
    snap->size = map_size(sites);
    snap->map = mmap(NULL, snap->size, protection, MAP_SHARED, fd, 0);
    if (snap->map == MAP_FAILED
        || madvise(snap->map, snap->size, MADV_DONTDUMP) != 0) {
        ecert_err(err, ECERT_ERR_SYSTEM, NULL, "cannot map the snapshot");
        ecert_snap_close(snap);
        return NULL;
    }
    return snap;
}

ecert_snap_t *ecert_snap_open(int fd, ecert_err_t *err)
{
    ecert_snap_t *snap;
    char path[64];
    int own;

    /* a map of a read-only descriptor can never be made writable */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    own = open(path, O_RDONLY | O_CLOEXEC);
    if (own < 0) {
        ecert_err(err, ECERT_ERR_SYSTEM, path,
                  "cannot open the snapshot for reading");
        return NULL;
    }
    snap = map_it(own, PROT_READ, err);
    close(own);
    return snap;
}

ecert_snap_t *ecert_snap_open_writer(int fd, ecert_err_t *err)
{
    return map_it(fd, PROT_READ | PROT_WRITE, err);
}

int ecert_snap_seal(int fd, ecert_err_t *err)
{
    /* Linux before 5.1 does not know the seal; there the mode has to do. */
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) != 0 && errno != EINVAL) {
        return ecert_err(err, ECERT_ERR_SYSTEM, NULL,
                         "cannot seal the snapshot");
    }
    return 0;
}

void ecert_snap_close(ecert_snap_t *snap)
{
    if (snap == NULL) {
        return;
    }
    if (snap->map != NULL && snap->map != MAP_FAILED) {
        munmap(snap->map, snap->size);
    }
    free(snap);
}

uint32_t ecert_snap_sites(const ecert_snap_t *snap)
{
    return snap->sites;
}

uint32_t ecert_snap_dcv_slot(const ecert_snap_t *snap)
{
    return snap->sites;
}

uint32_t ecert_snap_staple_slot(const ecert_snap_t *snap, uint32_t site)
{
    return snap->sites + 1 + site;
}

uint32_t ecert_snap_evidence_slot(const ecert_snap_t *snap)
{
    return 2 * snap->sites + 1;
}

uint32_t ecert_snap_failures_slot(const ecert_snap_t *snap)
{
    return 2 * snap->sites + 2;
}

static int is_slot(const ecert_snap_t *snap, uint32_t slot)
{
    return slot <= 2 * snap->sites + 2;
}

uint64_t ecert_snap_generation(const ecert_snap_t *snap, uint32_t slot)
{
    if (!is_slot(snap, slot)) {
        return 0;
    }
    return atomic_load_explicit(&slot_at(snap, slot)->generation,
                                memory_order_acquire);
}

static int digest(const unsigned char *bytes, size_t len,
                  unsigned char sha256[32], ecert_err_t *err)
{
    if (EVP_Digest(bytes, len, sha256, NULL, EVP_sha256(), NULL) != 1) {
        return ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL, "SHA-256");
    }
    return 0;
}

/*
 * One try.  The copy is whole when the generation did not move: the writer
 * begins with this buffer only after it has published the other one.
 * Returns 1 for a copy, 0 to try again, -1 for an error.
 */
static int copy_once(const ecert_snap_t *snap, uint32_t slot,
                     uint64_t generation, unsigned char **bytes, size_t *len,
                     record_t *record, ecert_err_t *err)
{
    *record = slot_at(snap, slot)->record[generation & 1];
    *len = record->len;
    if (*len > 0 && *len <= capacity(snap->sites, slot)) {
        *bytes = OPENSSL_malloc(*len);
        if (*bytes == NULL) {
            return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        }
        memcpy(*bytes, buffer_at(snap, slot, generation & 1), *len);
    }
    atomic_thread_fence(memory_order_acquire);
    if (ecert_snap_generation(snap, slot) == generation) {
        return 1;
    }
    ecert_snap_free(*bytes, *len);
    *bytes = NULL;
    return 0;
}

int ecert_snap_read(const ecert_snap_t *snap, uint32_t slot,
                    unsigned char **bytes, size_t *len, uint64_t *generation,
                    ecert_err_t *err)
{
    unsigned char sha256[32];
    record_t record;
    int tries, rc = 0;

    *bytes = NULL;
    for (tries = 0; rc == 0 && tries < READ_TRIES; tries++) {
        *generation = ecert_snap_generation(snap, slot);
        if (*generation == 0) {
            return ecert_err(err, ECERT_ERR_SNAPSHOT, NULL,
                             "nothing is published in slot %u", slot);
        }
        rc = copy_once(snap, slot, *generation, bytes, len, &record, err);
    }
    if (rc < 0) {
        return -1;
    }
    if (*bytes != NULL) {
        rc = digest(*bytes, *len, sha256, err);
        if (rc == 0 && memcmp(sha256, record.sha256, sizeof(sha256)) == 0) {
            return 0;
        }
        ecert_snap_free(*bytes, *len);
        *bytes = NULL;
    }
    return rc < 0 ? -1
                  : ecert_err(err, ECERT_ERR_SNAPSHOT, NULL,
                              "the record in slot %u is damaged", slot);
}

void ecert_snap_free(unsigned char *bytes, size_t len)
{
    OPENSSL_clear_free(bytes, len);
}

static int too_large(const ecert_snap_t *snap, uint32_t slot, size_t len,
                     size_t room, ecert_err_t *err)
{
    if (slot == snap->sites) {
        ecert_err(err, ECERT_ERR_TOO_LARGE, NULL,
                  "all validation files take %zu bytes together; there is "
                  "room for %zu",
                  len, room);
        return ecert_err_hint(err, "remove those that are done with");
    }
    if (slot > 2 * snap->sites + 1) {
        return ecert_err(err, ECERT_ERR_TOO_LARGE, NULL,
                         "what is known of failures takes %zu bytes; there is "
                         "room for %zu",
                         len, room);
    }
    if (slot > 2 * snap->sites) {
        return ecert_err(err, ECERT_ERR_TOO_LARGE, NULL,
                         "what is known of fetches takes %zu bytes; there is "
                         "room for %zu",
                         len, room);
    }
    if (slot > snap->sites) {
        return ecert_err(err, ECERT_ERR_TOO_LARGE, NULL,
                         "the OCSP response takes %zu bytes; there is room "
                         "for %zu",
                         len, room);
    }
    ecert_err(err, ECERT_ERR_TOO_LARGE, NULL,
              "key, certificate and chain take %zu bytes together; there is "
              "room for %zu",
              len, room);
    return ecert_err_hint(err, "use a certificate with fewer names or a "
                               "shorter chain");
}

int ecert_snap_publish(ecert_snap_t *snap, uint32_t slot,
                       const unsigned char *bytes, size_t len, ecert_err_t *err)
{
    uint64_t next = ecert_snap_generation(snap, slot) + 1;
    size_t room = is_slot(snap, slot) ? capacity(snap->sites, slot) : 0;
    unsigned char *buffer, sha256[32];
    record_t *record;

    if (len == 0 || len > room) {
        return too_large(snap, slot, len, room, err);
    }
    if (digest(bytes, len, sha256, err) != 0) {
        return -1; /* the idle buffer may still be under a reader's eyes */
    }
    if (next == 0) { /* 0 means that nothing was ever published */
        next = 2;    /* even, as 0: the idle buffer */
    }
    buffer = buffer_at(snap, slot, next & 1);
    record = &slot_at(snap, slot)->record[next & 1];
    atomic_thread_fence(memory_order_release);
    OPENSSL_cleanse(buffer, record->len <= room ? record->len : room);
    memcpy(buffer, bytes, len);
    record->len = (uint32_t)len;
    memcpy(record->sha256, sha256, sizeof(sha256));
    atomic_store_explicit(&slot_at(snap, slot)->generation, next,
                          memory_order_release);
    return 0;
}

void ecert_snap_name(ecert_snap_t *snap, uint32_t slot,
                     const unsigned char id[32])
{
    if (slot <= snap->sites) {
        memcpy(slot_at(snap, slot)->id, id, 32);
    }
}

int64_t ecert_snap_find(const ecert_snap_t *snap, const unsigned char id[32],
                        uint32_t hint)
{
    uint32_t i, slot;

    for (i = 0; i < snap->sites; i++) {
        slot = (hint % snap->sites + i) % snap->sites;
        if (memcmp(slot_at(snap, slot)->id, id, 32) == 0) {
            return slot;
        }
    }
    return -1;
}
