/*
 * A running agent, and those who may take its time: workers, of whom it looks
 * at the memory when that fills, and whoever asks for its status.
 */

#include "scratch.h"

#include <dirent.h>
#include <time.h>

#include "ecert_door.h"
#include "ecert_launch.h"
#include "ecert_snap.h"
#include "ecert_visits.h"

static ecert_err_t err;

/* The executable beside the folder of this test. */
static const char *executable(void)
{
    static char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

    assert_true(n > 0);
    path[n] = '\0';
    for (int i = 0; i < 3; i++) {
        *strrchr(path, '/') = '\0';
    }
    strcat(path, "/ecert");
    return path;
}

static ecert_conf_t *configure(void)
{
    ecert_site_t site = {.name = "www.example.hk"};
    ecert_conf_t *conf = ecert_conf_new();

    chmod(scratch, 0755);
    folders("store/dcv/www.example.hk");
    put("store/dcv/www.example.hk/fileauth.txt", "20261124-0a1b2c3d4e5f");
    ecert_conf_set(&conf->store, at("store"), &err);
    ecert_conf_set(&conf->agent, executable(), &err);
    conf->fetch = 0;
    conf->dcv = 1;
    assert_int_equal(ecert_conf_add(conf, &site, &err), 0);
    return conf;
}

static void put_visits(ecert_visits_t *worker, int n)
{
    ecert_visit_t visit = {.token = 1, .status = 405, .when = time(NULL)};

    while (n-- > 0) {
        ecert_visits_put(worker, &visit);
    }
}

/* Well before the rescan, which comes every 30 seconds. */
static void await(const ecert_snap_t *snap, uint64_t before)
{
    struct timespec pause = {.tv_nsec = 10000000};
    uint32_t slot = ecert_snap_evidence_slot(snap);
    time_t end = time(NULL) + 15;

    while (ecert_snap_generation(snap, slot) == before) {
        assert_true(time(NULL) < end);
        nanosleep(&pause, NULL);
    }
}

static int entries(const char *folder)
{
    DIR *list = opendir(folder);
    int n = -2; /* "." and ".." */

    while (list != NULL && readdir(list) != NULL) {
        n++;
    }
    closedir(list);
    return n;
}

/* It takes its socket along. */
static void await_end(void)
{
    struct timespec pause = {.tv_nsec = 10000000};
    time_t end = time(NULL) + 15;

    while (entries(at("store/run")) > 0) {
        assert_true(time(NULL) < end);
        nanosleep(&pause, NULL);
    }
}

static ecert_conf_t *conf;
static ecert_launch_t launch;

static int setup(void **state)
{
    int log = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (scratch_setup(state) != 0) {
        return -1;
    }
    conf = configure();
    ecert_launch_init(&launch);
    if (ecert_launch(&launch, conf, log, NULL, &err) != 0) {
        fail_msg("%s %s", err.file, err.detail);
    }
    close(log);
    return 0;
}

static int teardown(void **state)
{
    ecert_launch_close(&launch);
    await_end();
    ecert_conf_free(conf);
    return scratch_teardown(state);
}

static void test_filling(void **state)
{
    ecert_visits_t *worker = ecert_visits_open(launch.visits, &err);
    ecert_snap_t *snap = ecert_snap_open(launch.snap, &err);

    (void)state;
    assert_true(worker != NULL && snap != NULL);
    ecert_visits_claim(worker, getpid());
    for (int i = 0; i < 2; i++) {
        uint64_t before =
            ecert_snap_generation(snap, ecert_snap_evidence_slot(snap));

        put_visits(worker, ECERT_VISITS_SLOTS);
        await(snap, before);
    }
    ecert_snap_close(snap);
    ecert_visits_close(worker);
}

static const char *socket_path(void)
{
    static char path[PATH_MAX];
    DIR *list = opendir(at("store/run"));
    struct dirent *entry;

    path[0] = '\0';
    assert_non_null(list);
    while ((entry = readdir(list)) != NULL) {
        size_t len = strlen(entry->d_name);

        if (len > 5 && strcmp(entry->d_name + len - 5, ".sock") == 0) {
            snprintf(path, sizeof(path), "%s/%s", at("store/run"),
                     entry->d_name);
        }
    }
    closedir(list);
    return path;
}

static int64_t ms_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Each is answered, but never one right after the other. */
static void test_asked_again(void **state)
{
    int64_t end = ms_now() + 1000;
    ecert_door_state_t door;
    int n = 0;
    char *text;

    (void)state;
    while (ms_now() < end) {
        text = ecert_door_ask(socket_path(), 10, &door, &err);
        assert_non_null(text);
        free(text);
        n++;
    }
    assert_uint_in_range(n, 1, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_filling, setup, teardown),
        cmocka_unit_test_setup_teardown(test_asked_again, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
