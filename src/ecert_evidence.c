#include "ecert_evidence.h"

#include <stdlib.h>
#include <string.h>

#include "ecert_addr.h"
#include "ecert_dcv.h"
#include "ecert_log.h"

#define DAY INT64_C(86400)

/*
 * The record in the snapshot: this, files[n].  An agent of another version may
 * have written it: sizes are compared, and each file is checked.
 */
typedef struct {
    uint32_t size; /* of this, and of a file */
    uint32_t file_size;
    int64_t born; /* of the memory that the places are in */
    uint64_t lost;
    uint64_t n;
    uint64_t next[ECERT_VISITS_WORKERS]; /* ecert_visits_place_t */
} record_t;

struct ecert_evidence_s {
    const ecert_visits_t *visits;
    ecert_visits_place_t places[ECERT_VISITS_WORKERS];
    uint64_t lost;
    size_t n;
    ecert_fetched_t *files; /* room for ECERT_EVIDENCE_FILES */
    int changed;
    /* of the look that is under way */
    const ecert_tokens_t *held;
    int64_t now;
};

/* ---- one visit --------------------------------------------------------- */

/*
 * What no honest worker writes is refused.  A clock that was set back may leave
 * a time in the future; it is now then.
 */
static int check_visit(ecert_visit_t *visit, int64_t now)
{
    if ((visit->status != 200 && visit->status != 405)
        || visit->method >= ECERT_METHOD_END || visit->tls > 1
        || visit->bytes > ECERT_DCV_BODY_MAX
        || visit->agent_len > ECERT_VISIT_AGENT
        || visit->when < now - (ECERT_DCV_DAYS + 1) * DAY) {
        return -1;
    }
    if (visit->when > now) {
        visit->when = now;
    }
    return 0;
}

/* /24 of IPv4, /48 of IPv6, and one for all that have neither. */
static uint64_t network_of(const ecert_visit_t *visit)
{
    int ipv4 = ecert_addr_is_ipv4(visit->address);
    const unsigned char *bytes = visit->address + (ipv4 ? 12 : 0);
    uint64_t network = ipv4 ? 4 : 6;

    for (int i = 0; i < (ipv4 ? 3 : 6); i++) {
        network = network << 8 | bytes[i];
    }
    return network;
}

static void add_network(ecert_fetched_t *file, uint64_t network)
{
    for (uint32_t i = 0; i < file->n_networks; i++) {
        if (file->networks[i] == network) {
            return;
        }
    }
    if (file->n_networks < ECERT_EVIDENCE_NETWORKS) {
        file->networks[file->n_networks++] = network;
    }
}

/* They come worker by worker, each in its own order. */
static void add_last(ecert_fetched_t *file, const ecert_visit_t *visit)
{
    uint32_t i = 0, n = file->n_last;

    while (i < n && file->last[i].when > visit->when) {
        i++;
    }
    if (i == ECERT_EVIDENCE_LAST) {
        return;
    }
    if (n < ECERT_EVIDENCE_LAST) {
        file->n_last = ++n;
    }
    memmove(&file->last[i + 1], &file->last[i],
            (n - 1 - i) * sizeof(file->last[0]));
    file->last[i] = *visit;
}

static void add_visit(ecert_fetched_t *file, const ecert_visit_t *visit)
{
    add_last(file, visit);
    if (visit->status != 200) {
        file->refused++;
        return;
    }
    if (file->times == 0 || visit->when < file->first) {
        file->first = visit->when;
    }
    file->times++;
    file->https += visit->tls;
    add_network(file, network_of(visit));
}

/* ---- all files --------------------------------------------------------- */

static int is_held(const ecert_tokens_t *held, uint64_t token)
{
    for (size_t i = 0; i < held->n; i++) {
        if (held->tokens[i].id == token && token != 0) {
            return 1;
        }
    }
    return 0;
}

static ecert_fetched_t *find(const ecert_evidence_t *evidence, uint64_t token)
{
    for (size_t i = 0; i < evidence->n; i++) {
        if (evidence->files[i].token == token) {
            return &evidence->files[i];
        }
    }
    return NULL;
}

static void take(void *ctx, const ecert_visit_t *from)
{
    ecert_evidence_t *evidence = ctx;
    ecert_visit_t visit = *from;
    ecert_fetched_t *file;

    evidence->changed = 1;
    if (check_visit(&visit, evidence->now) != 0) {
        return;
    }
    file = find(evidence, visit.token);
    if (file == NULL && is_held(evidence->held, visit.token)) {
        if (evidence->n == ECERT_EVIDENCE_FILES) {
            evidence->lost++;
            return;
        }
        file = &evidence->files[evidence->n++];
        memset(file, 0, sizeof(*file));
        file->token = visit.token;
    }
    if (file != NULL) {
        add_visit(file, &visit);
    }
}

/* Addresses are not kept longer than the file. */
static void forget(ecert_evidence_t *evidence)
{
    size_t i, kept = 0;

    for (i = 0; i < evidence->n; i++) {
        if (is_held(evidence->held, evidence->files[i].token)) {
            if (kept != i) {
                evidence->files[kept] = evidence->files[i];
            }
            kept++;
        }
    }
    if (kept != evidence->n) {
        memset(&evidence->files[kept], 0,
               (evidence->n - kept) * sizeof(evidence->files[0]));
        evidence->n = kept;
        evidence->changed = 1;
    }
}

/* ---- from agent to agent ----------------------------------------------- */

static void publish(const ecert_evidence_t *evidence, ecert_snap_t *snap)
{
    size_t bytes = evidence->n * sizeof(evidence->files[0]);
    record_t *record = calloc(1, sizeof(*record) + bytes);
    ecert_err_t err;

    if (record == NULL) {
        return; /* at the next change, then */
    }
    record->size = sizeof(*record);
    record->file_size = sizeof(evidence->files[0]);
    record->born = ecert_visits_born(evidence->visits);
    record->lost = evidence->lost;
    record->n = evidence->n;
    for (int i = 0; i < ECERT_VISITS_WORKERS; i++) {
        record->next[i] = evidence->places[i].next;
    }
    if (bytes > 0) {
        memcpy(record + 1, evidence->files, bytes);
    }
    if (ecert_snap_publish(snap, ecert_snap_evidence_slot(snap),
                           (const unsigned char *)record,
                           sizeof(*record) + bytes, &err)
        != 0) {
        ecert_log_err(ECERT_LOG_WARN, NULL, &err);
    }
    free(record);
}

static int is_sound(const ecert_fetched_t *file)
{
    if (file->n_networks > ECERT_EVIDENCE_NETWORKS
        || file->n_last > ECERT_EVIDENCE_LAST) {
        return 0;
    }
    for (uint32_t i = 0; i < file->n_last; i++) {
        ecert_visit_t visit = file->last[i];

        if (check_visit(&visit, 0) != 0) {
            return 0;
        }
    }
    return 1;
}

static void take_over(ecert_evidence_t *evidence, const unsigned char *bytes,
                      size_t len)
{
    record_t record;

    if (len < sizeof(record)) {
        return;
    }
    memcpy(&record, bytes, sizeof(record));
    if (record.size != sizeof(record)
        || record.file_size != sizeof(evidence->files[0])
        || record.born != ecert_visits_born(evidence->visits)
        || record.n > ECERT_EVIDENCE_FILES
        || len != sizeof(record) + record.n * sizeof(evidence->files[0])) {
        return;
    }
    evidence->lost = record.lost;
    for (int i = 0; i < ECERT_VISITS_WORKERS; i++) {
        evidence->places[i].next = record.next[i];
    }
    for (uint64_t i = 0; i < record.n; i++) {
        ecert_fetched_t *file = &evidence->files[evidence->n];

        memcpy(file, bytes + sizeof(record) + i * sizeof(*file), sizeof(*file));
        evidence->n += is_sound(file);
    }
}

ecert_evidence_t *ecert_evidence_new(const ecert_visits_t *visits,
                                     const ecert_snap_t *snap, ecert_err_t *err)
{
    ecert_evidence_t *evidence = calloc(1, sizeof(*evidence));
    unsigned char *bytes;
    uint64_t generation;
    ecert_err_t none;
    size_t len;

    if (evidence != NULL) {
        evidence->visits = visits;
        /* pages of it that are never used take no memory */
        evidence->files = calloc(ECERT_EVIDENCE_FILES, sizeof(ecert_fetched_t));
    }
    if (evidence == NULL || evidence->files == NULL) {
        ecert_evidence_free(evidence);
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        return NULL;
    }
    if (ecert_snap_read(snap, ecert_snap_evidence_slot(snap), &bytes, &len,
                        &generation, &none)
        == 0) {
        take_over(evidence, bytes, len);
        ecert_snap_free(bytes, len);
    }
    return evidence;
}

void ecert_evidence_free(ecert_evidence_t *evidence)
{
    if (evidence != NULL) {
        free(evidence->files);
        free(evidence);
    }
}

void ecert_evidence_look(ecert_evidence_t *evidence, ecert_snap_t *snap,
                         const ecert_tokens_t *held, int64_t now)
{
    uint64_t lost = 0;

    evidence->held = held;
    evidence->now = now;
    evidence->changed = 0;
    for (int i = 0; i < ECERT_VISITS_WORKERS; i++) {
        lost += ecert_visits_take(evidence->visits, i, &evidence->places[i],
                                  take, evidence);
    }
    evidence->lost += lost;
    forget(evidence);
    if (evidence->changed || lost > 0) {
        publish(evidence, snap);
    }
    evidence->held = NULL;
}

const ecert_fetched_t *ecert_evidence_find(const ecert_evidence_t *evidence,
                                           uint64_t token)
{
    return find(evidence, token);
}

int64_t ecert_evidence_since(const ecert_evidence_t *evidence)
{
    return ecert_visits_born(evidence->visits) / 1000000000;
}

uint64_t ecert_evidence_lost(const ecert_evidence_t *evidence)
{
    return evidence->lost;
}
