/*
 * What the agent makes of visits: counts and networks, the last ones, from
 * agent to agent, and of whatever a worker may write.
 */

#include "scratch.h"

#include <time.h>

#include <arpa/inet.h>
#include <sys/mman.h>

#include "ecert_evidence.h"
#include "ecert_report.h"

#define NOW ((int64_t)1795392000)

static ecert_err_t err;

/* One worker, one agent, three files of which the first two are one host's. */
typedef struct {
    int fd, snap_fd;
    ecert_visits_t *worker, *agent;
    ecert_snap_t *snap;
    ecert_evidence_t *evidence;
    ecert_token_t token[3];
    ecert_tokens_t held;
} world_t;

static void open_world(world_t *world)
{
    world->fd = ecert_visits_create(&err);
    world->snap_fd = ecert_snap_create(1, &err);
    world->worker = ecert_visits_open(world->fd, &err);
    world->agent = ecert_visits_open(world->fd, &err);
    world->snap = ecert_snap_open_writer(world->snap_fd, &err);
    ecert_visits_claim(world->worker, getpid());
    world->evidence = ecert_evidence_new(world->agent, world->snap, &err);
    assert_non_null(world->evidence);
    memset(world->token, 0, sizeof(world->token));
    for (uint64_t i = 0; i < 3; i++) {
        world->token[i].host = "www.example.hk";
        world->token[i].file = "fileauth.txt";
        world->token[i].id = 11 + i;
    }
    world->held = (ecert_tokens_t){.tokens = world->token, .n = 3};
}

static void close_world(world_t *world)
{
    ecert_evidence_free(world->evidence);
    ecert_visits_close(world->worker);
    ecert_visits_close(world->agent);
    ecert_snap_close(world->snap);
    close(world->fd);
    close(world->snap_fd);
}

static void put_visit(world_t *world, uint64_t token, int64_t when, int tls,
                      const char *address)
{
    ecert_visit_t visit = {.token = token,
                           .when = when,
                           .status = 200,
                           .method = ECERT_METHOD_GET,
                           .bytes = 40,
                           .tls = (uint8_t)tls};

    if (inet_pton(AF_INET6, address, visit.address) != 1) {
        char mapped[80];

        snprintf(mapped, sizeof(mapped), "::ffff:%s", address);
        assert_int_equal(inet_pton(AF_INET6, mapped, visit.address), 1);
    }
    visit.agent_len = 3;
    memcpy(visit.agent, "DCV", 3);
    ecert_visits_put(world->worker, &visit);
}

static void look(world_t *world)
{
    ecert_evidence_look(world->evidence, world->snap, &world->held, NOW);
}

static void renew(world_t *world)
{
    ecert_evidence_free(world->evidence);
    world->evidence = ecert_evidence_new(world->agent, world->snap, &err);
    assert_non_null(world->evidence);
}

static uint64_t times(const world_t *world, uint64_t token)
{
    const ecert_fetched_t *file = ecert_evidence_find(world->evidence, token);

    return file ? file->times : 0;
}

/* The line for people. */
static char *line_of(const world_t *world, uint64_t token, int each)
{
    json_t *json = ecert_report_fetched(world->evidence, token);
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    ecert_report_print_fetched(json, out, "", each);
    fclose(out);
    json_decref(json);
    return text;
}

static void assert_line(const world_t *world, uint64_t token, const char *part)
{
    char *text = line_of(world, token, 0);

    if (strstr(text, part) == NULL) {
        fail_msg("%s: %s", part, text);
    }
    free(text);
}

static void test_counts(void **state)
{
    const ecert_fetched_t *file;
    world_t world;

    (void)state;
    open_world(&world);
    look(&world);
    assert_null(ecert_evidence_find(world.evidence, 11));
    assert_line(&world, 11, "    not fetched yet; fetches are seen since 20");
    put_visit(&world, 11, NOW - 50, 0, "203.0.113.7");
    look(&world);
    assert_line(&world, 11,
                "    fetched 1 time from 1 network, last 2026-11-22 "
                "23:59 UTC from 203.0.113.7 (http, 200, 40 bytes, "
                "agent \"DCV\")\n");
    put_visit(&world, 11, NOW - 40, 0, "203.0.113.99");
    put_visit(&world, 11, NOW - 60, 0, "198.51.100.1");
    put_visit(&world, 11, NOW - 30, 0, "2001:db8:1:2::1");
    put_visit(&world, 11, NOW - 20, 0, "2001:db8:1:3::1");
    put_visit(&world, 12, NOW, 1, "2001:db8:2::1");
    put_visit(&world, 99, NOW, 1, "2001:db8:2::1"); /* no file of ours */
    put_visit(&world, 0, NOW, 1, "2001:db8:2::1");
    look(&world);
    file = ecert_evidence_find(world.evidence, 11);
    assert_true(file->times == 5 && file->https == 0 && file->refused == 0);
    assert_int_equal(file->n_networks, 3);
    assert_true(file->first == NOW - 60 && file->n_last == 5);
    assert_true(file->last[0].when == NOW - 20);
    assert_true(file->last[4].when == NOW - 60);
    assert_line(&world, 11,
                "fetched 5 times from 3 networks, never over https,");
    assert_line(&world, 11, "from 2001:db8:1:3::1 (");
    put_visit(&world, 12, NOW, 1, "2001:db8:2::1");
    look(&world);
    assert_line(&world, 12, "fetched 2 times from 1 network, never over http,");
    assert_null(ecert_evidence_find(world.evidence, 99));
    assert_null(ecert_evidence_find(world.evidence, 0));
    assert_int_equal(times(&world, 13), 0);
    assert_int_equal(ecert_evidence_lost(world.evidence), 0);
    close_world(&world);
}

/* More than is kept of each. */
static void test_bounds(void **state)
{
    const ecert_fetched_t *file;
    char address[32];
    world_t world;

    (void)state;
    open_world(&world);
    for (int i = 0; i < 200; i++) {
        snprintf(address, sizeof(address), "10.0.%d.1", i);
        put_visit(&world, 11, NOW - 1000 + (i * 37) % 200, i % 2, address);
    }
    look(&world);
    file = ecert_evidence_find(world.evidence, 11);
    assert_true(file->times == 200 && file->https == 100);
    assert_int_equal(file->n_networks, ECERT_EVIDENCE_NETWORKS);
    assert_int_equal(file->n_last, ECERT_EVIDENCE_LAST);
    for (int i = 0; i < ECERT_EVIDENCE_LAST; i++) {
        assert_true(file->last[i].when == NOW - 801 - i);
    }
    assert_line(&world, 11, "fetched 200 times from 64 or more networks, last");
    for (int i = 0; i < 1000; i++) {
        put_visit(&world, 11, NOW, 0, "10.0.0.1");
    }
    look(&world);
    /* those eight are not overwritten */
    assert_int_equal(times(&world, 11), 200 + 8 + ECERT_VISITS_SLOTS);
    assert_int_equal(ecert_evidence_lost(world.evidence),
                     1000 - 8 - ECERT_VISITS_SLOTS);
    close_world(&world);
}

static int is_kept(const world_t *world, uint64_t token, const char *address)
{
    json_t *json = ecert_report_fetched(world->evidence, token), *visit;
    int is = 0;
    size_t i;

    json_array_foreach(json_object_get(json, "earlier"), i, visit)
    {
        is |= strcmp(json_string_value(json_object_get(visit, "address")),
                     address)
              == 0;
    }
    json_decref(json);
    return is;
}

/* Look after look somebody fetches it: those before are not pushed out. */
static void test_flood(void **state)
{
    const ecert_fetched_t *file;
    char address[32];
    world_t world;

    (void)state;
    open_world(&world);
    put_visit(&world, 11, NOW - 600, 0, "203.0.113.7");
    for (int i = 0; i < 100; i++) {
        for (int k = 0; k < 100; k++) {
            snprintf(address, sizeof(address), "10.0.0.%d", k);
            put_visit(&world, 11, NOW - 500 + i, 0, address);
        }
        if (i == 50) {
            put_visit(&world, 11, NOW - 450, 1, "2001:db8::7");
        }
        look(&world);
    }
    file = ecert_evidence_find(world.evidence, 11);
    assert_int_equal(file->times, 10002);
    assert_int_equal(ecert_evidence_lost(world.evidence), 0);
    assert_true(is_kept(&world, 11, "203.0.113.7"));
    assert_true(is_kept(&world, 11, "2001:db8::7"));
    assert_true(is_kept(&world, 11, "10.0.0.3")); /* of the first eight */
    assert_false(is_kept(&world, 11, "10.0.0.50"));
    assert_int_equal(file->n_networks, 3);
    assert_int_equal(file->n_kept, 3 + ECERT_EVIDENCE_FIRST - 1);
    renew(&world);
    assert_true(is_kept(&world, 11, "203.0.113.7"));
    close_world(&world);
}

static int64_t cpu_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* What a look costs that finds so many pages full, with so many files. */
static int64_t cost(world_t *world, int pages, size_t files)
{
    enum {
        PAGE = 131072
    };
    static ecert_token_t many[10000];
    unsigned char *raw = mmap(NULL, (size_t)PAGE * (size_t)(pages + 1),
                              PROT_READ | PROT_WRITE, MAP_SHARED, world->fd, 0);
    int64_t begun;

    assert_true(raw != MAP_FAILED);
    for (size_t i = 0; i < files; i++) {
        many[i].id = 1000 + i;
    }
    world->held = (ecert_tokens_t){.tokens = many, .n = files};
    for (int i = 1; i < pages; i++) { /* as by workers that write any page */
        memcpy(raw + (size_t)PAGE * (size_t)(i + 1), raw + PAGE, PAGE);
        ((uint64_t *)(void *)raw)[3 + i] = 1;
    }
    munmap(raw, (size_t)PAGE * (size_t)(pages + 1));
    begun = cpu_us();
    look(world);
    return cpu_us() - begun;
}

/* It does not grow with the files for each visit that a worker makes up. */
static void test_cost(void **state)
{
    int64_t few = 0, many = 0;
    world_t world;

    (void)state;
    for (int i = 0; i < 2; i++) {
        open_world(&world);
        for (uint64_t k = 0; k < 2 * ECERT_VISITS_SLOTS; k++) {
            put_visit(&world, 500 + k, NOW, 0, "10.0.0.1"); /* not held */
        }
        *(i == 0 ? &few : &many) = cost(&world, 200, i == 0 ? 10 : 10000);
        close_world(&world);
    }
    if (many > 10 * few + 50000) {
        fail_msg("10 files: %ld us, 10,000 files: %ld us", (long)few,
                 (long)many);
    }
}

/* More files than anything is known of at a time; those that go make room. */
static void test_many_files(void **state)
{
    enum {
        N = ECERT_EVIDENCE_FILES + 20
    };
    static ecert_token_t many[N];
    world_t world;

    (void)state;
    open_world(&world);
    for (uint64_t i = 0; i < N; i++) {
        many[i].id = 1000 + i;
    }
    world.held = (ecert_tokens_t){.tokens = many, .n = N};
    for (uint64_t i = 0; i < N; i++) {
        put_visit(&world, 1000 + i, NOW, 0, "10.0.0.1");
        if (i % 300 == 0) {
            look(&world);
        }
    }
    look(&world);
    assert_int_equal(times(&world, 1000 + ECERT_EVIDENCE_FILES - 1), 1);
    assert_int_equal(times(&world, 1000 + ECERT_EVIDENCE_FILES), 0);
    assert_int_equal(ecert_evidence_lost(world.evidence), 20);
    renew(&world);
    assert_int_equal(times(&world, 1000 + ECERT_EVIDENCE_FILES - 1), 1);
    world.held.tokens += 30; /* those are removed */
    world.held.n -= 30;
    look(&world);
    assert_null(ecert_evidence_find(world.evidence, 1000));
    assert_int_equal(times(&world, 1030), 1);
    put_visit(&world, 1000 + N - 1, NOW, 0, "10.0.0.1");
    look(&world);
    assert_int_equal(times(&world, 1000 + N - 1), 1);
    close_world(&world);
}

/* The next agent goes on where this one was, each visit counted once. */
static void test_next_agent(void **state)
{
    world_t world;
    int fd;

    (void)state;
    open_world(&world);
    put_visit(&world, 11, NOW, 0, "10.0.0.1");
    put_visit(&world, 11, NOW, 0, "10.0.1.1");
    look(&world);
    put_visit(&world, 11, NOW, 1, "10.0.2.1");
    renew(&world);
    assert_int_equal(times(&world, 11), 2);
    look(&world);
    assert_int_equal(times(&world, 11), 3);
    look(&world);
    renew(&world);
    look(&world);
    assert_int_equal(times(&world, 11), 3);
    assert_int_equal(ecert_evidence_find(world.evidence, 11)->n_networks, 3);
    /* another server's memory, with places of its own */
    ecert_visits_close(world.agent);
    ecert_visits_close(world.worker);
    fd = ecert_visits_create(&err);
    world.agent = ecert_visits_open(fd, &err);
    world.worker = ecert_visits_open(fd, &err);
    ecert_visits_claim(world.worker, getpid());
    renew(&world);
    assert_int_equal(times(&world, 11), 0);
    put_visit(&world, 11, NOW, 1, "10.0.2.1");
    look(&world);
    assert_int_equal(times(&world, 11), 1);
    close(fd);
    close_world(&world);
}

static void publish_raw(world_t *world, const unsigned char *bytes, size_t len)
{
    assert_int_equal(ecert_snap_publish(world->snap,
                                        ecert_snap_evidence_slot(world->snap),
                                        bytes, len, &err),
                     0);
}

/* A record of another version, or a damaged one. */
static void test_bad_record(void **state)
{
    unsigned char *bytes, *bad;
    uint64_t generation;
    unsigned seed = 4;
    world_t world;
    size_t len;

    (void)state;
    open_world(&world);
    for (int i = 0; i < 20; i++) {
        put_visit(&world, 11 + (uint64_t)i % 3, NOW, 0, "10.0.0.1");
    }
    look(&world);
    assert_int_equal(ecert_snap_read(world.snap,
                                     ecert_snap_evidence_slot(world.snap),
                                     &bytes, &len, &generation, &err),
                     0);
    bad = malloc(len);
    for (int i = 0; i < 3000; i++) {
        size_t shorter = i % 2 ? len : (size_t)rand_r(&seed) % len + 1;

        memcpy(bad, bytes, len);
        for (int k = 0; k < 8; k++) {
            size_t where = (size_t)rand_r(&seed) % len;

            /* half of them where the numbers are */
            bad[k % 2 ? where : where % 64] = (unsigned char)rand_r(&seed);
        }
        publish_raw(&world, bad, shorter);
        renew(&world);
        for (uint64_t k = 11; k < 14; k++) {
            free(line_of(&world, k, 1));
        }
    }
    publish_raw(&world, bytes, len);
    renew(&world);
    assert_int_equal(times(&world, 11), 7);
    free(bad);
    ecert_snap_free(bytes, len);
    close_world(&world);
}

/* Nothing in it but printed ASCII and sound UTF-8 beyond Latin-1. */
static void assert_clean(const char *text)
{
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;

        assert_true((c >= 0x20 && c != 0x7f) || c == '\n');
        assert_false(c == 0xc2 && (unsigned char)p[1] < 0xa0); /* C1 */
    }
}

/* Every byte of a visit may be anything. */
static void test_hostile(void **state)
{
    unsigned seed = 7;
    unsigned kept = 0;
    world_t world;

    (void)state;
    open_world(&world);
    for (int round = 0; round < 3000; round++) {
        ecert_visit_t visit = {.token = 11,
                               .when = NOW,
                               .status = round % 3 ? 200 : 405,
                               .method = ECERT_METHOD_GET};
        unsigned char *bytes = (unsigned char *)&visit;
        const ecert_fetched_t *file;

        visit.agent_len = ECERT_VISIT_AGENT;
        for (size_t i = 0; i < sizeof(visit.agent); i++) {
            visit.agent[i] = (char)(rand_r(&seed) >> 4);
        }
        for (int i = 0; i < round % 4; i++) {
            size_t where = 8 + (size_t)rand_r(&seed) % (sizeof(visit) - 8);

            bytes[where] = (unsigned char)(rand_r(&seed) >> 4);
        }
        ecert_visits_put(world.worker, &visit);
        look(&world);
        file = ecert_evidence_find(world.evidence, 11);
        if (file == NULL) {
            continue;
        }
        for (uint32_t i = 0; i < file->n_last; i++) {
            assert_true(file->last[i].when <= NOW);
            assert_true(file->last[i].when >= NOW - 31 * 86400);
            assert_true(file->last[i].agent_len <= ECERT_VISIT_AGENT);
            assert_true(file->last[i].tls <= 1);
        }
        if (round % 10 == 0) {
            json_t *json = ecert_report_fetched(world.evidence, 11);
            char *dump = json_dumps(json, 0), *text = line_of(&world, 11, 1);

            assert_non_null(dump);
            assert_clean(dump);
            assert_clean(text);
            assert_true(strlen(text)
                        < (ECERT_EVIDENCE_LAST + ECERT_EVIDENCE_KEPT) * 600);
            free(dump);
            free(text);
            json_decref(json);
        }
        kept = (unsigned)(file->times + file->refused);
    }
    assert_true(kept > 1000 && kept < 3000);
    close_world(&world);
}

/* Each field at the edge of what is believed. */
static void test_edges(void **state)
{
    static const struct {
        size_t offset, size;
        int64_t value;
        int kept;
    } cases[] = {
#define F(field)                                                               \
    offsetof(ecert_visit_t, field), sizeof(((ecert_visit_t *)0)->field)
        {F(status), 201, 0},
        {F(status), 404, 0},
        {F(status), 0, 0},
        {F(method), ECERT_METHOD_HEAD, 1},
        {F(method), ECERT_METHOD_END, 0},
        {F(tls), 1, 1},
        {F(tls), 2, 0},
        {F(bytes), ECERT_DCV_BODY_MAX, 1},
        {F(bytes), ECERT_DCV_BODY_MAX + 1, 0},
        {F(agent_len), ECERT_VISIT_AGENT, 1},
        {F(agent_len), ECERT_VISIT_AGENT + 1, 0},
        {F(when), NOW + 1, 1},
        {F(when), INT64_MAX, 1}, /* shown as now */
        {F(when), INT64_MIN, 0},
        {F(when), NOW - 32 * INT64_C(86400), 0},
        {F(when), 0, 0},
#undef F
    };
    uint64_t kept = 0;
    world_t world;

    (void)state;
    open_world(&world);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ecert_visit_t visit = {.token = 11, .when = NOW, .status = 200};

        /* all machines that this is for are little-endian */
        memcpy((char *)&visit + cases[i].offset, &cases[i].value,
               cases[i].size);
        ecert_visits_put(world.worker, &visit);
        look(&world);
        kept += (uint64_t)cases[i].kept;
        if (times(&world, 11) != kept) {
            fail_msg("case %zu", i);
        }
    }
    assert_true(ecert_evidence_find(world.evidence, 11)->last[0].when <= NOW);
    assert_line(&world, 11, "from a local socket (http,");
    assert_line(&world, 11, "no agent");
    close_world(&world);
}

static void test_quotes(void **state)
{
    ecert_visit_t visit = {.token = 11, .when = NOW, .status = 200};
    static const char agent[] = "a\", 200) \\ \x1b[1m";
    world_t world;

    (void)state;
    open_world(&world);
    visit.agent_len = sizeof(agent) - 1;
    memcpy(visit.agent, agent, sizeof(agent) - 1);
    ecert_visits_put(world.worker, &visit);
    look(&world);
    assert_line(&world, 11, "agent \"a\\x22, 200) \\x5c \\x1b[1m\")\n");
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),     cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_many_files), cmocka_unit_test(test_next_agent),
        cmocka_unit_test(test_bad_record), cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_edges),      cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_flood),      cmocka_unit_test(test_cost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
