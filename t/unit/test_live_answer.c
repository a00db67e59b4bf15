/* Validation files: what is answered, and what is noted of who asked. */

#include "live_make.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "ecert_dcv.h"

static void open_world(world_t *world)
{
    open_sites(world, NULL, 0);
    become_worker(world);
}

static void *from_pool(void *pool, size_t size)
{
    ++*(int *)pool;
    return malloc(size);
}

static void *from_nowhere(void *pool, size_t size)
{
    (void)pool;
    (void)size;
    return NULL;
}

static void publish_tokens(world_t *world, const char *body)
{
    const ecert_token_t tokens[] = {
        {"www.example.hk", "file.txt", (const void *)body, strlen(body), 1000,
         77},
        {"www.example.hk", "empty", NULL, 0, 1000, 78},
        {"other.hk", "file.txt", (const void *)"other", 5, 2000, 79}};
    unsigned char *table;
    size_t len;

    assert_int_equal(ecert_dcv_encode(tokens, 3, &table, &len, &err), 0);
    assert_int_equal(ecert_snap_publish(world->agent,
                                        ecert_snap_dcv_slot(world->agent),
                                        table, len, &err),
                     0);
    ecert_snap_free(table, len);
}

static ecert_ask_t ask_of(const char *method, const char *host,
                          const char *path, int64_t now)
{
    return (ecert_ask_t){.method = method,
                         .method_len = strlen(method),
                         .host = host,
                         .host_len = strlen(host),
                         .path = path,
                         .path_len = strlen(path),
                         .now = now};
}

/* body NULL: no body at all. */
static void assert_answer(world_t *world, const char *method, const char *host,
                          const char *file, int64_t now, int status,
                          const char *body)
{
    char path[300];
    ecert_answer_t answer;
    ecert_ask_t ask;
    int pool = 0;

    snprintf(path, sizeof(path), ECERT_DCV_PREFIX "%s", file);
    ask = ask_of(method, host, path, now);
    ecert_live_answer(world->live, &ask, from_pool, &pool, &answer);
    if (answer.status != status) {
        fail_msg("%s %s %s: %d", method, host, file, answer.status);
    }
    if (body != NULL) {
        assert_int_equal(answer.len, strlen(body));
        assert_memory_equal(answer.body, body, answer.len);
        assert_null(answer.allow);
    } else {
        assert_null(answer.body);
        assert_int_equal(pool, 0);
    }
    if (status == 405) {
        assert_string_equal(answer.allow, "GET, HEAD");
    }
    free(answer.body);
}

static void test_answers(void **state)
{
    static const char *const methods[] = {"POST", "PUT", "OPTIONS", "get",
                                          "GETX", "GE",  "",        "DELETE"};
    const char *host = "www.example.hk", *file = "file.txt";
    ecert_answer_t answer;
    ecert_ask_t ask = ask_of("GET", host, ECERT_DCV_PREFIX "file.txt", 5);
    world_t world;

    (void)state;
    open_world(&world);
    assert_answer(&world, "GET", host, file, 5, 0, NULL); /* no table yet */
    publish_tokens(&world, "token");
    assert_answer(&world, "GET", host, file, 999, 200, "token");
    assert_answer(&world, "HEAD", host, file, 999, 200, "token");
    assert_answer(&world, "GET", "WWW.Example.HK.:8443", file, 5, 200, "token");
    assert_answer(&world, "GET", host, "empty", 5, 200, NULL);
    assert_answer(&world, "GET", "other.hk", file, 5, 200, "other");
    assert_answer(&world, "GET", host, file, 1000, 0, NULL); /* its end */
    assert_answer(&world, "POST", host, file, 1000, 0, NULL);
    assert_answer(&world, "GET", host, "File.txt", 5, 0, NULL);
    assert_answer(&world, "GET", host, "", 5, 0, NULL);
    assert_answer(&world, "POST", host, "unknown", 5, 0, NULL);
    assert_answer(&world, "GET", "example.hk", file, 5, 0, NULL);
    assert_answer(&world, "GET", "a b", file, 5, 0, NULL);
    assert_answer(&world, "GET", "", file, 5, 0, NULL);
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        assert_answer(&world, methods[i], host, file, 5, 405, NULL);
    }
    publish_tokens(&world, "a new one");
    assert_answer(&world, "GET", host, file, 5, 200, "a new one");
    /* damaged: the last good one goes on */
    assert_int_equal(
        ecert_snap_publish(world.agent, 0, (const void *)"x", 1, &err), 0);
    assert_answer(&world, "GET", host, file, 5, 200, "a new one");
    ecert_live_answer(world.live, &ask, from_nowhere, NULL, &answer);
    assert_int_equal(answer.status, 0);
    assert_null(answer.body);
    ecert_live_answer(NULL, &ask, from_nowhere, NULL, &answer);
    assert_int_equal(answer.status, 0);
    close_world(&world);
}

typedef struct {
    ecert_visit_t visits[32];
    size_t n;
} noted_t;

static void note(void *ctx, const ecert_visit_t *visit)
{
    noted_t *noted = ctx;

    assert_true(noted->n < 32);
    noted->visits[noted->n++] = *visit;
}

/* One request, as a client of this address makes it. */
static void visit(world_t *world, const char *method, const char *file,
                  const struct sockaddr *peer, int tls, const char *agent)
{
    char path[300];
    ecert_answer_t answer;
    ecert_ask_t ask;
    int pool = 0;

    snprintf(path, sizeof(path), ECERT_DCV_PREFIX "%s", file);
    ask = ask_of(method, "www.example.hk", path, 5);
    ask.peer = peer;
    ask.tls = tls;
    ask.agent = agent;
    ask.agent_len = agent ? strlen(agent) : 0;
    ecert_live_answer(world->live, &ask, from_pool, &pool, &answer);
    if (answer.status != 0) {
        ecert_live_note(world->live, &ask, &answer);
    }
    free(answer.body);
}

/* What is answered is noted, with who asked; what is not, is not. */
static void test_visits(void **state)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    struct sockaddr local = {.sa_family = AF_UNIX};
    static const unsigned char none[16];
    ecert_visits_place_t place = {0};
    ecert_visits_t *visits;
    char longest[200];
    noted_t noted = {.n = 0};
    const ecert_visit_t *v = noted.visits;
    world_t world;

    (void)state;
    open_world(&world);
    visits = ecert_visits_open(world.launch.visits, &err);
    publish_tokens(&world, "token");
    memset(longest, 'x', sizeof(longest));
    longest[199] = '\0';
    inet_pton(AF_INET, "203.0.113.7", &in.sin_addr);
    inet_pton(AF_INET6, "2001:db8::7", &in6.sin6_addr);
    visit(&world, "GET", "file.txt", (struct sockaddr *)&in, 0, "DCV \x1b/1");
    visit(&world, "HEAD", "file.txt", (struct sockaddr *)&in6, 1, longest);
    visit(&world, "POST", "file.txt", &local, 1, "");
    visit(&world, "GET", "empty", NULL, 7, NULL);
    visit(&world, "GET", "other.txt", NULL, 0, NULL);
    assert_int_equal(ecert_visits_take(visits, 0, &place, note, &noted), 0);
    assert_int_equal(noted.n, 4);
    assert_true(v[0].token == 77 && v[0].when == 5 && v[0].bytes == 5);
    assert_true(v[0].status == 200 && v[0].method == ECERT_METHOD_GET);
    assert_memory_equal(v[0].address + 12, &in.sin_addr, 4);
    assert_int_equal(v[0].address[11], 0xff);
    assert_int_equal(v[0].tls, 0);
    assert_int_equal(v[0].agent_len, 7);
    assert_memory_equal(v[0].agent, "DCV \x1b/1", 7);
    assert_true(v[1].method == ECERT_METHOD_HEAD && v[1].bytes == 0);
    assert_memory_equal(v[1].address, &in6.sin6_addr, 16);
    assert_int_equal(v[1].agent_len, ECERT_VISIT_AGENT);
    assert_int_equal(v[1].tls, 1);
    assert_true(v[2].token == 78 && v[2].tls == 1 && v[2].agent_len == 0);
    assert_true(v[3].status == 405 && v[3].method == ECERT_METHOD_OTHER);
    assert_memory_equal(v[3].address, none, 16);
    ecert_visits_close(visits);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_visits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
