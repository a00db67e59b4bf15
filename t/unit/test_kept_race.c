/*
 * The agent looks while a command installs, at every moment: its own calls are
 * counted, and at each of them the command does its steps, all at once or some
 * calls apart.  Names of one generation and leaf of another are no error, and
 * what came after the agent had looked is found by the next look.
 */

#include "kept_make.h"

#include <dlfcn.h>

#define SITE    "store/sites/www.example.hk/"
#define STEPS   3
#define NEVER   (-1)
#define APART   8 /* calls between two steps */

static const char *const names[2] = {"a.example.hk", "b.example.hk"};
static X509 *leaves[2];
static EVP_PKEY *keys[2];
static agent_t agent;

/* ---- ecert install ----------------------------------------------------- */

static void put_site(const char *name)
{
    char text[128];

    snprintf(text, sizeof(text), "{\"names\": [%s%s%s]}", name ? "\"" : "",
             name ? name : "", name ? "\"" : "");
    put(SITE "new", text);
    assert_int_equal(rename(at(SITE "new"), at(SITE "site.json")), 0);
}

static void put_current(int n)
{
    put_link(n ? "generations/1" : "generations/0", "link");
    assert_int_equal(rename(at("link"), at(SITE "current")), 0);
}

/* From the first generation to the second. */
static void step(int n)
{
    switch (n) {
    case 0:
        put_site(NULL);
        break;
    case 1:
        put_current(1);
        break;
    case 2:
        put_site(names[1]);
        break;
    }
}

/* ---- when -------------------------------------------------------------- */

static int calls;           /* of the agent */
static int first = NEVER;   /* the call before which the first step is done */
static int apart;           /* calls from one step to the next */
static int steps;           /* that are done */

static void a_call(void)
{
    static int in_step; /* whose own calls do not count */
    int now;

    if (in_step) {
        return;
    }
    in_step = 1;
    now = calls++;
    while (first != NEVER && steps < STEPS && now >= first + steps * apart) {
        step(steps++);
    }
    in_step = 0;
}

int openat(int dir, const char *name, int flags, ...)
{
    static int (*next)(int, const char *, int, ...);
    mode_t mode = 0;
    va_list args;

    if (next == NULL) {
        *(void **)&next = dlsym(RTLD_NEXT, "openat");
    }
    va_start(args, flags);
    if ((flags & O_CREAT) != 0) {
        mode = va_arg(args, mode_t);
    }
    va_end(args);
    a_call();
    return next(dir, name, flags, mode);
}

ssize_t readlink(const char *path, char *out, size_t size)
{
    static ssize_t (*next)(const char *, char *, size_t);

    if (next == NULL) {
        *(void **)&next = dlsym(RTLD_NEXT, "readlink");
    }
    a_call();
    return next(path, out, size);
}

/* ---- the sweep --------------------------------------------------------- */

/* A load of the first generation, which is renewed meanwhile. */
static void renew_at(int call, int calls_apart)
{
    first = NEVER;
    put_site(names[0]);
    put_current(0);
    look(&agent, 10000);
    assert_serves(&agent, leaves[0]);

    calls = steps = 0;
    first = call;
    apart = calls_apart;
    agent.keeper.ms += 10000;
    ecert_kept_load(&agent.keeper, &agent.kept);
    first = NEVER;
    assert_string_equal(agent.kept.error.detail, "");
    assert_int_equal(agent.kept.torn_at, 0); /* one or the other, and whole */
    while (steps < STEPS) {
        step(steps++);
    }
    look(&agent, 10000);
    assert_string_equal(agent.kept.error.detail, "");
    assert_serves(&agent, leaves[1]);
}

static void test_renewed_while_read(void **state)
{
    int all;

    (void)state;
    ecert_log_quiet(ECERT_LOG_ERROR);
    for (int i = 0; i < 2; i++) {
        keys[i] = pki_key("P-256");
        leaves[i] = pki_leaf(pki,
                             i ? "DNS:www.example.hk,DNS:b.example.hk"
                               : "DNS:www.example.hk,DNS:a.example.hk",
                             keys[i], NOW - PKI_DAY, NOW + 100 * PKI_DAY);
        put_generation(i, leaves[i], keys[i], 0);
    }
    put_site(names[0]);
    put_current(0);
    start(&agent, &store_site);
    ecert_kept_load(&agent.keeper, &agent.kept);
    renew_at(NEVER, 0);
    all = calls;
    assert_uint_in_range(all, 20, 2000);
    for (int call = 0; call < all; call++) {
        renew_at(call, 0);
        renew_at(call, APART);
    }
    end(&agent);
    for (int i = 0; i < 2; i++) {
        X509_free(leaves[i]);
        EVP_PKEY_free(keys[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_renewed_while_read, setup,
                                        scratch_teardown),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
