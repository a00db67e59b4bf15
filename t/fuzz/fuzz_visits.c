/*
 * What workers say of who fetched a validation file (ecert_visits), and what
 * the agent makes of it and publishes (ecert_evidence): any bytes in a page,
 * and any in the record that another agent left.
 */

#include "fuzz.h"

#include <unistd.h>

#include <sys/mman.h>

#include "ecert_evidence.h"
#include "ecert_report.h"

#define PAGE  131072 /* bytes of the head, and of each worker's page */
#define SLOT  (1 + sizeof(ecert_visit_t) / 8) /* words: a mark, a visit */
#define FILES 3
#define FIRST 11 /* id of the first file */

static int fd = -1;
static ecert_visits_t *visits;
static uint64_t *page; /* the first worker's */

static void open_once(void)
{
    ecert_visits_t *worker;
    unsigned char *raw;
    ecert_err_t err;

    if (fd >= 0) {
        return;
    }
    fd = ecert_visits_create(&err);
    FUZZ_CHECK(fd >= 0);
    visits = ecert_visits_open(fd, &err);
    worker = ecert_visits_open(fd, &err);
    raw =
        mmap(NULL, (size_t)2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    FUZZ_CHECK(visits != NULL && worker != NULL && raw != MAP_FAILED);
    ecert_visits_claim(worker, getpid());
    ecert_visits_close(worker);
    page = (uint64_t *)(void *)(raw + PAGE);
}

/* A good visit, and the input's bytes upon it. */
static void write_visit(uint64_t *slot, fuzz_in_t *in)
{
    ecert_visit_t visit = {.token = FIRST,
                           .when = FUZZ_NOW - 60,
                           .bytes = 25,
                           .status = 200,
                           .method = ECERT_METHOD_GET,
                           .agent_len = 3,
                           .agent = "DCV"};
    unsigned char *bytes = (unsigned char *)&visit;
    size_t n = sizeof(visit);
    const uint8_t *p = fuzz_take(in, &n);

    for (size_t i = 0; i < n; i++) {
        bytes[i] ^= p[i];
    }
    memcpy(slot, &visit, sizeof(visit));
}

/* Slots before the next ticket: whole, being written, or of any mark. */
static void write_page(fuzz_in_t *in)
{
    uint64_t next = (uint64_t)fuzz_eight(in);

    memset(page, 0, PAGE);
    page[0] = next;
    for (uint64_t ticket = next - 1; in->len > 0 && next - ticket < 9;
         ticket--) {
        uint64_t *slot = page + SLOT * (1 + ticket % ECERT_VISITS_SLOTS);
        uint8_t mark = fuzz_byte(in);

        slot[0] = mark < 240   ? 2 * ticket + 2
                  : mark < 250 ? 2 * ticket + 1
                               : (uint64_t)fuzz_eight(in);
        write_visit(slot + 1, in);
    }
}

static void check_file(const ecert_fetched_t *file)
{
    FUZZ_CHECK(file->n_last <= ECERT_EVIDENCE_LAST);
    FUZZ_CHECK(file->n_networks <= ECERT_EVIDENCE_NETWORKS);
    for (uint32_t i = 0; i < file->n_last; i++) {
        FUZZ_CHECK(file->last[i].agent_len <= ECERT_VISIT_AGENT);
        FUZZ_CHECK(file->last[i].method < ECERT_METHOD_END);
    }
}

static void check_report(const ecert_evidence_t *evidence, uint64_t token)
{
    json_t *json = ecert_report_fetched(evidence, token);
    char *text = NULL, *rest, *line;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    FUZZ_CHECK(json != NULL && out != NULL);
    ecert_report_print_fetched(json, out, "", 1);
    fclose(out);
    json_decref(json);
    FUZZ_CHECK(strlen(text) == len);
    for (line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        fuzz_check_text(line);
    }
    free(text);
}

static void check_all(const ecert_evidence_t *evidence)
{
    for (uint64_t token = 0; token < FIRST + FILES + 1; token++) {
        const ecert_fetched_t *file = ecert_evidence_find(evidence, token);

        if (file != NULL) {
            FUZZ_CHECK(token >= FIRST && token < FIRST + FILES);
            check_file(file);
        }
        check_report(evidence, token);
    }
}

/* The next agent knows what this one knew, and takes nothing twice. */
static void check_next_agent(const ecert_evidence_t *old, ecert_snap_t *snap,
                             const ecert_tokens_t *held)
{
    ecert_err_t err;
    ecert_evidence_t *evidence = ecert_evidence_new(visits, snap, &err);

    FUZZ_CHECK(evidence != NULL);
    ecert_evidence_look(evidence, snap, held, FUZZ_NOW);
    for (uint64_t token = FIRST; token < FIRST + FILES; token++) {
        const ecert_fetched_t *was = ecert_evidence_find(old, token);
        const ecert_fetched_t *is = ecert_evidence_find(evidence, token);

        FUZZ_CHECK((was == NULL) == (is == NULL));
        FUZZ_CHECK(is == NULL || memcmp(was, is, sizeof(*is)) == 0);
    }
    ecert_evidence_free(evidence);
}

/* Some bytes of the record are others. */
static void spoil(ecert_snap_t *snap, fuzz_in_t *in)
{
    uint32_t slot = ecert_snap_evidence_slot(snap);
    unsigned char *bytes;
    uint64_t generation;
    ecert_err_t err;
    size_t len;

    if (ecert_snap_read(snap, slot, &bytes, &len, &generation, &err) != 0) {
        return;
    }
    while (in->len > 0) {
        size_t at = fuzz_two(in) % len;

        bytes[at] ^= fuzz_byte(in);
    }
    FUZZ_CHECK(ecert_snap_publish(snap, slot, bytes, len, &err) == 0);
    ecert_snap_free(bytes, len);
}

static void run(const uint8_t *bytes, size_t len)
{
    fuzz_in_t in = {bytes, len};
    ecert_token_t token[FILES];
    ecert_tokens_t held = {.tokens = token, .n = FILES};
    ecert_evidence_t *evidence;
    ecert_snap_t *snap;
    ecert_err_t err;
    int snap_fd;

    open_once();
    memset(token, 0, sizeof(token));
    for (uint64_t i = 0; i < FILES; i++) {
        token[i].id = FIRST + i;
    }
    snap_fd = ecert_snap_create(1, &err);
    snap = ecert_snap_open_writer(snap_fd, &err);
    evidence = ecert_evidence_new(visits, snap, &err);
    FUZZ_CHECK(snap != NULL && evidence != NULL);

    write_page(&in);
    /* what is being written is awaited once */
    for (int i = 0; i < 2 * 9; i++) {
        ecert_evidence_look(evidence, snap, &held, FUZZ_NOW);
    }
    check_all(evidence);
    check_next_agent(evidence, snap, &held);
    ecert_evidence_free(evidence);

    spoil(snap, &in);
    evidence = ecert_evidence_new(visits, snap, &err);
    FUZZ_CHECK(evidence != NULL);
    ecert_evidence_look(evidence, snap, &held, FUZZ_NOW);
    check_all(evidence);

    ecert_evidence_free(evidence);
    ecert_snap_close(snap);
    close(snap_fd);
}

static void seed(uint64_t next, const ecert_visit_t *upon, size_t n)
{
    unsigned char bytes[8 + 9 * (1 + sizeof(*upon))];
    size_t len = 0;

    memcpy(bytes, &next, sizeof(next));
    len += sizeof(next);
    for (size_t i = 0; i < n; i++) {
        bytes[len++] = i % 2 ? 0 : 240;
        memcpy(bytes + len, upon, sizeof(*upon));
        len += sizeof(*upon);
    }
    fuzz_seed(bytes, len);
}

static void seeds(void)
{
    ecert_visit_t upon = {.token = 0};

    seed(1, &upon, 1);
    upon.token = 1;
    upon.tls = 1;
    upon.address[0] = 0x20;
    memcpy(upon.agent, "\x1b[2J\xc3", 5);
    seed(9, &upon, 9);
    upon.status = 200 ^ 405;
    seed(600, &upon, 8);
    upon.agent_len = 255;
    seed(UINT64_MAX, &upon, 3);
    fuzz_seed_text("12345678");
}

FUZZ_TARGET(visits, .run = run, .seeds = seeds, .max = 2048);
