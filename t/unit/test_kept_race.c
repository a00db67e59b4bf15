/* The agent looks while a command installs: names of one generation and leaf of
 * another are no error.  As `ecert install` does it, at every moment. */

#include "scratch.h"

#include <time.h>
#include <unistd.h>

#include <sys/socket.h>
#include <sys/wait.h>

#include "ecert_kept.h"
#include "ecert_log.h"
#include "pki.h"

#define SITE   "store/sites/www.example.hk"
#define ROUNDS 1500
#define ENOUGH 3000000 /* us, where a round takes long */

static const char *const names[2] = {"a.example.hk", "b.example.hk"};

static void put_pem(const char *name, char *pem)
{
    put(name, pem);
    free(pem);
}

static void put_site(const char *name)
{
    char text[128];

    snprintf(text, sizeof(text), "{\"names\": [%s%s%s]}", name ? "\"" : "",
             name ? name : "", name ? "\"" : "");
    put(SITE "/new", text);
    assert_int_equal(rename(at(SITE "/new"), at(SITE "/site.json")), 0);
}

static void put_current(int n)
{
    put_link(n ? "generations/1" : "generations/0", SITE "/next");
    assert_int_equal(rename(at(SITE "/next"), at(SITE "/current")), 0);
}

static void put_generation(const pki_t *pki, int64_t now, int n)
{
    X509 *leaf = pki_leaf(pki,
                          n ? "DNS:www.example.hk,DNS:b.example.hk"
                            : "DNS:www.example.hk,DNS:a.example.hk",
                          NULL, now - PKI_DAY, now + 100 * PKI_DAY);

    folders(n ? SITE "/generations/1" : SITE "/generations/0");
    put_pem(n ? SITE "/generations/1/key.pem" : SITE "/generations/0/key.pem",
            pki_pem_key(pki->leaf_key));
    put_pem(n ? SITE "/generations/1/certificate.pem"
              : SITE "/generations/0/certificate.pem",
            pki_pem(leaf));
    X509_free(leaf);
}

/* In a process of its own: a renewal whenever it is told after how many
 * microseconds. */
static void renew_when_told(int with)
{
    useconds_t after;

    for (int i = 1; read(with, &after, sizeof(after)) == sizeof(after); i++) {
        usleep(after);
        put_site(NULL);
        put_current(i % 2);
        put_site(names[i % 2]);
        if (write(with, &after, sizeof(after)) != sizeof(after)) {
            break;
        }
    }
    _exit(0);
}

static int64_t now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* One renewal during each load, mostly at its beginning. */
static void load_many(ecert_keeper_t *keeper, ecert_kept_t *kept, int with)
{
    int64_t begin = now_us(), last = 1000;

    for (int i = 0; i < ROUNDS && now_us() - begin < ENOUGH; i++) {
        useconds_t after = (useconds_t)(random() % (last / 4 + 1));
        int64_t from = now_us();

        assert_int_equal(write(with, &after, sizeof(after)), sizeof(after));
        keeper->ms += 10;
        ecert_kept_load(keeper, kept);
        last = now_us() - from;
        assert_string_equal(kept->error.detail, "");
        assert_true(kept->published);
        assert_int_equal(read(with, &after, sizeof(after)), sizeof(after));
    }
}

static void test_renewed_while_read(void **state)
{
    int64_t now = time(NULL);
    pki_t *pki = pki_new(now);
    ecert_keeper_t keeper = {.now = now, .ms = 1000000};
    ecert_site_t site = {.name = "www.example.hk"};
    ecert_kept_t kept;
    ecert_err_t err;
    int fd, ends[2];
    pid_t pid;

    (void)state;
    ecert_log_quiet(ECERT_LOG_ERROR);
    folders("store/issuers");
    folders("store/dcv");
    put_pem("ca.json", pki_catalogue(pki, NULL));
    put_pem("store/issuers/sub.pem", pki_pem(pki->new_sub));
    put_generation(pki, now, 0);
    put_generation(pki, now, 1);
    put_site(names[0]);
    put_current(0);
    site.catalogue = strdup(at("ca.json"));
    assert_int_equal(ecert_site_identity(&site, site.id, &err), 0);
    keeper.store = strdup(at("store"));
    keeper.loader = ecert_loader_new(keeper.store, &err);
    fd = ecert_snap_create(1, &err);
    keeper.snap = ecert_snap_open_writer(fd, &err);
    ecert_kept_init(&kept, &site, 0);

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    pid = fork();
    if (pid == 0) {
        close(ends[0]);
        renew_when_told(ends[1]);
    }
    close(ends[1]);
    load_many(&keeper, &kept, ends[0]);
    close(ends[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);

    ecert_kept_free(&kept);
    ecert_loader_free(keeper.loader);
    ecert_snap_close(keeper.snap);
    close(fd);
    free((char *)(uintptr_t)site.catalogue);
    free((char *)(uintptr_t)keeper.store);
    pki_free(pki);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_renewed_while_read, scratch_setup,
                                        scratch_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
