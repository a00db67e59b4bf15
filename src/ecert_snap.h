/*
 * The snapshot: what the agent has published, in sealed shared memory that
 * workers can only read.  docs/snapshot.md draws the layout.
 *
 * One slot per site, one for validation files, one per site for its OCSP
 * response, one for what the agent knows of fetches and one for what it failed
 * to get.  A slot has two buffers; the writer fills the idle one, then raises
 * the generation by one.  A reader copies the buffer of the generation it saw
 * and looks again: the copy is whole if the generation has not moved.  A writer
 * that is killed half way has touched only the idle buffer.  The reader trusts
 * no length in here, and a SHA-256 stands over each record.
 */

#ifndef ECERT_SNAP_H
#define ECERT_SNAP_H

#include <stddef.h>
#include <stdint.h>

#include "ecert_err.h"

#define ECERT_SNAP_SITES_MAX  16384
#define ECERT_SNAP_RECORD_MAX (64 * 1024) /* bytes of one site's record */
#define ECERT_SNAP_STAPLE_MAX (36 * 1024) /* of two OCSP responses */
#define ECERT_SNAP_DCV_MAX                                                     \
    (4 * 1024 * 1024) /* bytes of all validation files                         \
                       */
#define ECERT_SNAP_EVIDENCE_MAX (10 * 1024 * 1024) /* bytes of the fetches */
#define ECERT_SNAP_FAILURES_MAX (2 * 1024 * 1024)  /* bytes of what failed */

typedef struct ecert_snap_s ecert_snap_t;

/*
 * Makes the memory for n sites: a memfd of mode 0600, sized, with
 * F_SEAL_SHRINK and F_SEAL_GROW, close-on-exec.  Returns it, or -1.
 */
int ecert_snap_create(uint32_t sites, ecert_err_t *err);

/*
 * Maps it read-only through a descriptor of its own that was opened read-only,
 * so that the mapping can never be made writable; not in core dumps.
 * The caller keeps fd.
 */
ecert_snap_t *ecert_snap_open(int fd, ecert_err_t *err);

/* Maps it writable: for the agent, and once before it for the master. */
ecert_snap_t *ecert_snap_open_writer(int fd, ecert_err_t *err);

/* From now on nobody else can map it writable. */
int ecert_snap_seal(int fd, ecert_err_t *err);

void ecert_snap_close(ecert_snap_t *snap);

uint32_t ecert_snap_sites(const ecert_snap_t *snap);
uint32_t ecert_snap_dcv_slot(const ecert_snap_t *snap);
uint32_t ecert_snap_staple_slot(const ecert_snap_t *snap, uint32_t site);

/* No worker reads these: they are there for the agent that comes next. */
uint32_t ecert_snap_evidence_slot(const ecert_snap_t *snap);
uint32_t ecert_snap_failures_slot(const ecert_snap_t *snap);

/* 0: nothing published yet.  One atomic load; out of range: 0. */
uint64_t ecert_snap_generation(const ecert_snap_t *snap, uint32_t slot);

/*
 * Copies the slot's record: *bytes (owned by the caller, free with
 * ecert_snap_free, which wipes), *len and the generation it belongs to.
 * SNAPSHOT when nothing is published or the record is damaged.
 */
int ecert_snap_read(const ecert_snap_t *snap, uint32_t slot,
                    unsigned char **bytes, size_t *len, uint64_t *generation,
                    ecert_err_t *err);
void ecert_snap_free(unsigned char *bytes, size_t len);

/* Writer only.  TOO_LARGE, naming both sizes, when it does not fit. */
int ecert_snap_publish(ecert_snap_t *snap, uint32_t slot,
                       const unsigned char *bytes, size_t len,
                       ecert_err_t *err);

/*
 * Whose slot it is (ecert_site_identity), so that a new agent can take over
 * the records of the old one.  find returns the slot or -1; it begins at hint,
 * where the slot is when few sites have come or gone.
 */
void ecert_snap_name(ecert_snap_t *snap, uint32_t slot,
                     const unsigned char id[32]);
int64_t ecert_snap_find(const ecert_snap_t *snap, const unsigned char id[32],
                        uint32_t hint);

#endif
