/* What the agent has given up, seen from a process that did so. */

#include "scratch.h"

#include <net/if.h>
#include <sched.h>

#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <netinet/in.h>

#include "ecert_priv.h"

enum {
    FINE,
    FAILED,
    CORE,
    DUMPABLE,
    NO_NEW,
    UMASK,
    CAPS,
    EXEC,
    NETWORK,
    WRITE,
    READ,
    LOG
};

static int check_process(void)
{
    ecert_err_t err;
    struct rlimit core;

    if (ecert_priv_drop(&err) != 0) {
        return FAILED;
    }
    if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_cur || core.rlim_max) {
        return CORE;
    }
    if (prctl(PR_GET_DUMPABLE) != 0) {
        return DUMPABLE;
    }
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) {
        return NO_NEW;
    }
    return umask(0) == 077 ? FINE : UMASK;
}

static int has_other_caps(void)
{
    cap_t caps = cap_get_proc();
    int other = caps == NULL;

    for (cap_value_t cap = 0; cap <= CAP_LAST_CAP; cap++) {
        for (cap_flag_t flag = CAP_EFFECTIVE; flag <= CAP_INHERITABLE; flag++) {
            cap_flag_value_t value = CAP_CLEAR;

            if (cap_get_flag(caps, cap, flag, &value) == 0 && value == CAP_SET
                && cap != CAP_DAC_READ_SEARCH
                && (cap != CAP_DAC_OVERRIDE || flag != CAP_PERMITTED)) {
                other = 1;
            }
        }
    }
    cap_free(caps);
    return other;
}

/* Not even what a program of root's would get anew. */
static int exec_regains(void)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        execl("/bin/sh", "sh", "-c",
              "case 0x$(sed -n 's/CapEff:.0*//p' /proc/self/status) in"
              " 0x[0246]|0x) ;; *) exit 1 ;; esac",
              (char *)NULL);
        _exit(9);
    }
    return waitpid(pid, &status, 0) != pid || status != 0;
}

/* Only a loopback interface, and that is down. */
static int has_network(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(9),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct if_nameindex *all = if_nameindex();
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), found = 0;

    for (int i = 0; all != NULL && all[i].if_index != 0; i++) {
        found |= strcmp(all[i].if_name, "lo") != 0
                 && strncmp(all[i].if_name, "tunl", 4) != 0
                 && strncmp(all[i].if_name, "sit", 3) != 0
                 && strncmp(all[i].if_name, "ip", 2) != 0
                 && strncmp(all[i].if_name, "gre", 3) != 0
                 && strncmp(all[i].if_name, "erspan", 6) != 0;
    }
    if_freenameindex(all);
    found |= fd >= 0
             && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return found;
}

static int check_root(const char *foreign_dir, const char *foreign_file)
{
    char path[PATH_MAX];
    int fd, rc = check_process();

    if (rc != FINE) {
        return rc;
    }
    if (has_other_caps()) {
        return CAPS;
    }
    if (exec_regains()) {
        return EXEC;
    }
    if (has_network()) {
        return NETWORK;
    }
    snprintf(path, sizeof(path), "%s/new", foreign_dir);
    if (open(path, O_WRONLY | O_CREAT, 0600) >= 0
        || open(foreign_file, O_WRONLY) >= 0
        || chown(foreign_file, 0, 0) == 0) {
        return WRITE;
    }
    fd = open(foreign_file, O_RDONLY);
    if (fd < 0) {
        return READ;
    }
    /* a log that was rotated may belong to the workers' user */
    return ecert_priv_log(AT_FDCWD, foreign_file) >= 0 && !has_other_caps()
                   && open(foreign_file, O_WRONLY) < 0
               ? FINE
               : LOG;
}

static int run(int (*check)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        _exit(check());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_any_user(void **state)
{
    (void)state;
    assert_int_equal(run(check_process), FINE);
}

/* A link that came after the file was looked at. */
static void test_log_link(void **state)
{
    int dir = open(scratch, O_PATH | O_DIRECTORY | O_CLOEXEC);

    (void)state;
    put("target", "");
    put_link("target", "link");
    assert_int_equal(ecert_priv_log(dir, "link"), -1);
    assert_int_equal(errno, ELOOP);
    close(dir);
}

static int unshare_is_possible(void)
{
    return unshare(CLONE_NEWNET) == 0 ? 0 : 1;
}

static int foreign_check(void)
{
    return check_root(at("theirs"), at("theirs/secret"));
}

static void test_root(void **state)
{
    (void)state;
    if (skipped(geteuid() != 0, "needs root")
        || skipped(run(unshare_is_possible) != 0, "no right to namespaces")) {
        return;
    }
    folders("theirs");
    put("theirs/secret", "s");
    assert_int_equal(chmod(at("theirs/secret"), 0600), 0);
    assert_int_equal(chown(at("theirs/secret"), 65534, 65534), 0);
    assert_int_equal(chmod(at("theirs"), 0700), 0);
    assert_int_equal(chown(at("theirs"), 65534, 65534), 0);
    assert_int_equal(run(foreign_check), FINE);
}

/* An ordinary user has nothing to drop, and it is no error. */
static int ordinary(void)
{
    if (setgid(65534) != 0 || setuid(65534) != 0) {
        return FAILED;
    }
    return check_process();
}

static void test_ordinary(void **state)
{
    (void)state;
    if (skipped(geteuid() != 0, "needs root")) {
        return;
    }
    assert_int_equal(run(ordinary), FINE);
}

/* A container may have taken the one capability that would be kept. */
static int poor_root(void)
{
    cap_t caps = cap_init();
    int rc;

    cap_set_proc(caps);
    cap_free(caps);
    rc = check_process();
    return rc == FINE && has_other_caps() ? CAPS : rc;
}

static void test_poor_root(void **state)
{
    (void)state;
    if (skipped(geteuid() != 0, "needs root")) {
        return;
    }
    assert_int_equal(run(poor_root), FINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_user),
        cmocka_unit_test_setup_teardown(test_log_link, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(test_root, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test(test_ordinary),
        cmocka_unit_test(test_poor_root),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
