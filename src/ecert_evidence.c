#include "ecert_evidence.h"

#include <stdlib.h>
#include <string.h>

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
    /* ecert_visits_place_t */
    uint64_t next[ECERT_VISITS_WORKERS][ECERT_VISITS_RINGS];
} record_t;

/* A file that is held, and what is known of it (NULL: nothing). */
typedef struct {
    uint64_t token;
    ecert_fetched_t *file;
} known_t;

struct ecert_evidence_s {
    const ecert_visits_t *visits;
    ecert_visits_place_t places[ECERT_VISITS_WORKERS];
    uint64_t lost;
    size_t n;
    ecert_fetched_t *files; /* room for ECERT_EVIDENCE_FILES */
    /* of the last look: in the order of the tokens, for workers can write as
     * many visits as there is room for, and each is looked up */
    known_t *known;
    size_t n_known;
    /* of the look that is under way */
    int changed;
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

static int is_new_network(const ecert_fetched_t *file,
                          const ecert_visit_t *visit)
{
    uint64_t network = ecert_visit_network(visit);

    for (uint32_t i = 0; i < file->n_kept; i++) {
        if (ecert_visit_network(&file->kept[i]) == network) {
            return 0;
        }
    }
    return 1;
}

static void add_first(ecert_fetched_t *file, const ecert_visit_t *visit)
{
    uint32_t besides = file->n_kept - file->n_networks;
    int is_new = is_new_network(file, visit);

    if (file->n_kept == ECERT_EVIDENCE_KEPT
        || (is_new ? file->n_networks == ECERT_EVIDENCE_NETWORKS
                   : besides >= ECERT_EVIDENCE_FIRST - 1)) {
        return;
    }
    file->n_networks += is_new ? 1 : 0;
    file->kept[file->n_kept++] = *visit;
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
    add_first(file, visit);
}

/* ---- all files --------------------------------------------------------- */

static int by_token(const void *a, const void *b)
{
    uint64_t x = ((const known_t *)a)->token, y = ((const known_t *)b)->token;

    return x < y ? -1 : x > y;
}

static known_t *find(const ecert_evidence_t *evidence, uint64_t token)
{
    const known_t key = {.token = token};

    return evidence->n_known > 0 ? bsearch(
               &key, evidence->known, evidence->n_known, sizeof(key), by_token)
                                 : NULL;
}

/* Each token once: a host may have two spellings. */
static int know(ecert_evidence_t *evidence, const ecert_tokens_t *held)
{
    known_t *known = calloc(held->n + 1, sizeof(*known));
    size_t n = 0;

    if (known == NULL) {
        return -1;
    }
    for (size_t i = 0; i < held->n; i++) {
        known[i].token = held->tokens[i].id;
    }
    qsort(known, held->n, sizeof(*known), by_token);
    for (size_t i = 0; i < held->n; i++) {
        if (known[i].token != (n > 0 ? known[n - 1].token : 0)) {
            known[n++] = known[i];
        }
    }
    free(evidence->known);
    evidence->known = known;
    evidence->n_known = n;
    return 0;
}

/* Addresses are not kept longer than the file. */
static void forget(ecert_evidence_t *evidence)
{
    size_t i, kept = 0;

    for (i = 0; i < evidence->n; i++) {
        known_t *known = find(evidence, evidence->files[i].token);

        if (known == NULL || known->file != NULL) {
            continue;
        }
        if (kept != i) {
            evidence->files[kept] = evidence->files[i];
        }
        known->file = &evidence->files[kept++];
    }
    if (kept != evidence->n) {
        memset(&evidence->files[kept], 0,
               (evidence->n - kept) * sizeof(evidence->files[0]));
        evidence->n = kept;
        evidence->changed = 1;
    }
}

static void take(void *ctx, const ecert_visit_t *from)
{
    ecert_evidence_t *evidence = ctx;
    ecert_visit_t visit = *from;
    known_t *known;

    evidence->changed = 1;
    if (check_visit(&visit, evidence->now) != 0) {
        return;
    }
    known = find(evidence, visit.token);
    if (known == NULL) {
        return;
    }
    if (known->file == NULL && evidence->n == ECERT_EVIDENCE_FILES) {
        evidence->lost++;
        return;
    }
    if (known->file == NULL) {
        known->file = &evidence->files[evidence->n++];
        memset(known->file, 0, sizeof(*known->file));
        known->file->token = visit.token;
    }
    add_visit(known->file, &visit);
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
        memcpy(record->next[i], evidence->places[i].next,
               sizeof(record->next[i]));
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

static int are_sound(const ecert_visit_t *visits, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        ecert_visit_t visit = visits[i];

        if (check_visit(&visit, 0) != 0) {
            return 0;
        }
    }
    return 1;
}

static int is_sound(const ecert_fetched_t *file)
{
    return file->n_kept <= ECERT_EVIDENCE_KEPT
           && file->n_networks <= ECERT_EVIDENCE_NETWORKS
           && file->n_networks <= file->n_kept
           && file->n_last <= ECERT_EVIDENCE_LAST
           && are_sound(file->kept, file->n_kept)
           && are_sound(file->last, file->n_last);
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
        memcpy(evidence->places[i].next, record.next[i],
               sizeof(record.next[i]));
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
        free(evidence->known);
        free(evidence);
    }
}

void ecert_evidence_look(ecert_evidence_t *evidence, ecert_snap_t *snap,
                         const ecert_tokens_t *held, int64_t now)
{
    uint64_t lost = 0;

    evidence->now = now;
    evidence->changed = 0;
    if (know(evidence, held) != 0) {
        return; /* the next time, then */
    }
    forget(evidence);
    for (int i = 0; i < ECERT_VISITS_WORKERS; i++) {
        lost += ecert_visits_take(evidence->visits, i, &evidence->places[i],
                                  take, evidence);
    }
    evidence->lost += lost;
    if (evidence->changed || lost > 0) {
        publish(evidence, snap);
    }
}

int ecert_evidence_filling(const ecert_evidence_t *evidence)
{
    for (int i = 0; i < ECERT_VISITS_WORKERS; i++) {
        if (ecert_visits_filling(evidence->visits, i, &evidence->places[i])) {
            return 1;
        }
    }
    return 0;
}

/* Before its first look an agent knows what the one before knew. */
const ecert_fetched_t *ecert_evidence_find(const ecert_evidence_t *evidence,
                                           uint64_t token)
{
    const known_t *known = find(evidence, token);

    if (evidence->known != NULL) {
        return known ? known->file : NULL;
    }
    for (size_t i = 0; i < evidence->n; i++) {
        if (evidence->files[i].token == token) {
            return &evidence->files[i];
        }
    }
    return NULL;
}

int64_t ecert_evidence_since(const ecert_evidence_t *evidence)
{
    return ecert_visits_born(evidence->visits) / 1000000000;
}

uint64_t ecert_evidence_lost(const ecert_evidence_t *evidence)
{
    return evidence->lost;
}
