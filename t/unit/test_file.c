#include "scratch.h"

#include <signal.h>
#include <time.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "ecert_file.h"
#include "reads.h"

#define STRANGER 65534

static ecert_err_t err;

static int read_code(const char *path, ecert_trail_t *trail)
{
    ecert_file_t file;
    int code;

    ecert_err_clear(&err);
    code = ecert_file_read(path, ECERT_FILE_MAX, trail, &file, &err) == 0
               ? 0
               : (int)err.code;
    ecert_file_free(&file);
    return code;
}

static int has_dir(const ecert_trail_t *trail, const char *dir)
{
    for (size_t i = 0; i < trail->n_dirs; i++) {
        if (strcmp(trail->dirs[i], dir) == 0) {
            return 1;
        }
    }
    return 0;
}

static int not_root(void)
{
    return skipped(geteuid() != 0, "only root can make files of others");
}

/* Runs check in a child as an ordinary user; what it returns is compared. */
static int as_stranger(int (*check)(void))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        if (setgid(STRANGER) != 0 || setuid(STRANGER) != 0) {
            _exit(255);
        }
        _exit(check());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_reads(void **state)
{
    (void)state;
    put("a.pem", "hello");
    assert_reads(at("a.pem"), "hello");
    folders("x/y");
    put("x/y/b", "deep");
    assert_reads(at("x/./y//../y/b"), "deep");
}

static void test_relative_path(void **state)
{
    (void)state;
    assert_int_equal(read_code("a.pem", NULL), ECERT_ERR_USAGE);
    assert_int_equal(read_code("", NULL), ECERT_ERR_USAGE);
}

static void test_missing(void **state)
{
    (void)state;
    put("f", "x");
    assert_int_equal(read_code(at("none"), NULL), ECERT_ERR_MISSING);
    assert_int_equal(err.sys, ENOENT);
    assert_string_equal(err.file, at("none"));
    assert_int_equal(read_code(at("f/below"), NULL), ECERT_ERR_MISSING);
    put_link("nowhere/b", "dangling");
    assert_int_equal(read_code(at("dangling"), NULL), ECERT_ERR_MISSING);
    assert_non_null(strstr(err.detail, at("nowhere/b")) == NULL
                        ? strstr(err.detail, at("nowhere"))
                        : err.detail);
}

static void test_empty_and_large(void **state)
{
    ecert_file_t file;
    int fd;

    (void)state;
    put("empty", "");
    assert_int_equal(read_code(at("empty"), NULL), ECERT_ERR_EMPTY);
    fd = open(at("sparse"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, INT64_C(2) << 30), 0);
    close(fd);
    assert_int_equal(read_code(at("sparse"), NULL), ECERT_ERR_TOO_LARGE);
    assert_non_null(strstr(err.detail, "2147483648"));
    put("five", "12345");
    assert_int_equal(ecert_file_read(at("five"), 4, NULL, &file, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_TOO_LARGE);
    assert_int_equal(ecert_file_read(at("five"), 5, NULL, &file, &err), 0);
    ecert_file_free(&file);
}

static void test_not_files(void **state)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    assert_int_equal(mkfifo(at("fifo"), 0600), 0);
    strcpy(addr.sun_path, at("sock"));
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    folders("dir");
    put_link("/dev/zero", "zero");
    assert_int_equal(read_code(at("fifo"), NULL), ECERT_ERR_NOT_FILE);
    assert_string_equal(err.detail, "it is a FIFO");
    assert_int_equal(read_code(at("sock"), NULL), ECERT_ERR_NOT_FILE);
    assert_int_equal(read_code(at("dir"), NULL), ECERT_ERR_NOT_FILE);
    assert_int_equal(read_code(at("dir/."), NULL), ECERT_ERR_NOT_FILE);
    assert_int_equal(read_code(at(""), NULL), ECERT_ERR_NOT_FILE);
    assert_int_equal(read_code("/", NULL), ECERT_ERR_NOT_FILE);
    assert_int_equal(read_code("/dev/zero", NULL), ECERT_ERR_NOT_FILE);
    assert_int_equal(read_code(at("zero"), NULL), ECERT_ERR_NOT_FILE);
    close(fd);
}

static void test_loops(void **state)
{
    char name[16], target[16];

    (void)state;
    put_link("b", "a");
    put_link("a", "b");
    assert_int_equal(read_code(at("a"), NULL), ECERT_ERR_SYSTEM);
    assert_int_equal(err.sys, ELOOP);
    put_link(".", "self");
    put("f", "there");
    assert_reads(at("self/self/self/f"), "there");
    strcpy(target, "f");
    for (int i = 1; i <= 41; i++) {
        snprintf(name, sizeof(name), "l%d", i);
        put_link(target, name);
        strcpy(target, name);
    }
    assert_reads(at("l40"), "there");
    assert_int_equal(read_code(at("l41"), NULL), ECERT_ERR_SYSTEM);
}

static void test_long_names(void **state)
{
    char name[NAME_MAX + 2], path[2 * PATH_MAX] = "/";

    (void)state;
    memset(name, 'n', sizeof(name));
    name[NAME_MAX + 1] = '\0';
    assert_int_equal(read_code(at(name), NULL), ECERT_ERR_SYSTEM);
    assert_int_equal(err.sys, ENAMETOOLONG);
    name[NAME_MAX] = '\0';
    put(name, "long");
    assert_reads(at(name), "long");
    assert_int_equal(ecert_file_write(at(name), "longer", 6, 0600, &err), 0);
    assert_reads(at(name), "longer");
    while (strlen(path) < PATH_MAX) {
        strcat(path, "tmp/../");
    }
    assert_int_equal(read_code(path, NULL), ECERT_ERR_SYSTEM);
    assert_int_equal(ecert_file_write(path, "", 0, 0600, &err), -1);
}

static void test_writable_folder(void **state)
{
    (void)state;
    folders("open/in");
    put("open/in/f", "x");
    put_link("open/in/f", "link");
    assert_reads(at("link"), "x");
    chmod(at("open"), 0777);
    assert_int_equal(read_code(at("open/in/f"), NULL), ECERT_ERR_UNSAFE);
    assert_non_null(strstr(err.detail, "0777"));
    assert_non_null(strstr(err.hint, "chmod go-w"));
    assert_non_null(strstr(err.hint, "/open"));
    assert_int_equal(read_code(at("link"), NULL), ECERT_ERR_UNSAFE);
    chmod(at("open"), 0775);
    assert_int_equal(read_code(at("open/in/f"), NULL), ECERT_ERR_UNSAFE);
    chmod(at("open"), 01777);
    assert_reads(at("open/in/f"), "x");
    chmod(at("open/in"), 0720);
    assert_int_equal(read_code(at("open/in/f"), NULL), ECERT_ERR_UNSAFE);
}

static void test_writable_file(void **state)
{
    (void)state;
    put("f", "x");
    chmod(at("f"), 0664);
    assert_int_equal(read_code(at("f"), NULL), ECERT_ERR_UNSAFE);
    assert_non_null(strstr(err.detail, "0664"));
    assert_non_null(strstr(err.hint, "chmod go-w"));
    assert_int_equal(ecert_file_look(at("f"), NULL, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_UNSAFE);
    chmod(at("f"), 0600);
    assert_int_equal(ecert_file_look(at("f"), NULL, &err), 0);
}

static void test_foreign(void **state)
{
    (void)state;
    if (not_root()) {
        return;
    }
    put("f", "x");
    assert_int_equal(link(at("f"), at("hard")), 0);
    put_link("f", "soft");
    assert_int_equal(chown(at("f"), STRANGER, 0), 0);
    assert_int_equal(read_code(at("f"), NULL), ECERT_ERR_UNSAFE);
    assert_non_null(strstr(err.detail, "uid 65534"));
    assert_int_equal(read_code(at("hard"), NULL), ECERT_ERR_UNSAFE);
    assert_int_equal(read_code(at("soft"), NULL), ECERT_ERR_UNSAFE);

    folders("d");
    put("d/f", "x");
    assert_int_equal(chown(at("d"), STRANGER, 0), 0);
    assert_int_equal(read_code(at("d/f"), NULL), ECERT_ERR_UNSAFE);
    assert_non_null(strstr(err.hint, "chown root"));
    chmod(at("d"), 01777);
    assert_int_equal(read_code(at("d/f"), NULL), ECERT_ERR_UNSAFE);
}

/* In a sticky folder anybody may put a link; its owner may bend it later. */
static void test_foreign_link(void **state)
{
    (void)state;
    if (not_root()) {
        return;
    }
    folders("sticky");
    folders("plain");
    put("f", "x");
    put_link("../f", "sticky/l");
    put_link("../f", "plain/l");
    assert_int_equal(lchown(at("sticky/l"), STRANGER, 0), 0);
    assert_int_equal(lchown(at("plain/l"), STRANGER, 0), 0);
    chmod(at("sticky"), 01777);
    assert_int_equal(read_code(at("sticky/l"), NULL), ECERT_ERR_UNSAFE);
    assert_reads(at("plain/l"), "x");
}

static int stranger_reads(void)
{
    return read_code(at("mine/f"), NULL) == 0
           && read_code(at("closed"), NULL) == ECERT_ERR_UNREADABLE
           && read_code(at("shut/f"), NULL) == ECERT_ERR_UNREADABLE
           && read_code(at("roots"), NULL) == 0
           && ecert_file_write(at("mine/g"), "g", 1, 0640, &err) == 0
           && read_code(at("mine/g"), NULL) == 0
           && ecert_file_write(at("roots"), "g", 1, 0640, &err) == -1
           && err.code == ECERT_ERR_SYSTEM && err.sys == EACCES;
}

static void test_ordinary_user(void **state)
{
    (void)state;
    if (not_root()) {
        return;
    }
    chmod(scratch, 0755);
    folders("mine");
    put("mine/f", "x");
    put("closed", "x");
    put("roots", "x");
    folders("shut");
    put("shut/f", "x");
    chmod(at("shut"), 0700);
    chmod(at("closed"), 0);
    assert_int_equal(chown(at("mine"), STRANGER, STRANGER), 0);
    assert_int_equal(chown(at("mine/f"), STRANGER, STRANGER), 0);
    assert_int_equal(as_stranger(stranger_reads), 1);
}

static void test_mode_zero(void **state)
{
    (void)state;
    put("f", "x");
    chmod(at("f"), 0);
    assert_int_equal(read_code(at("f"), NULL),
                     geteuid() == 0 ? 0 : ECERT_ERR_UNREADABLE);
}

static void test_trail(void **state)
{
    ecert_trail_t trail;

    (void)state;
    folders("archive/a");
    folders("live/a");
    put("archive/a/cert1.pem", "1");
    put_link("../../archive/a/cert1.pem", "live/a/cert.pem");
    ecert_trail_init(&trail);
    assert_int_equal(read_code(at("live/a/cert.pem"), &trail), 0);
    assert_true(has_dir(&trail, at("live/a")));
    assert_true(has_dir(&trail, at("archive/a")));
    assert_true(has_dir(&trail, at("archive")));
    assert_int_equal(trail.n_dirs, 3);
    assert_int_equal(read_code(at("live/a/cert.pem"), &trail), 0);
    assert_int_equal(trail.n_dirs, 3);
    ecert_trail_free(&trail);
    assert_int_equal(read_code(at("live/b/c/d.pem"), &trail),
                     ECERT_ERR_MISSING);
    assert_int_equal(trail.n_dirs, 1);
    assert_true(has_dir(&trail, at("live")));
    ecert_trail_free(&trail);
    assert_int_equal(read_code("/no-such-file", &trail), ECERT_ERR_MISSING);
    assert_int_equal(trail.n_dirs, 0);
    ecert_trail_free(&trail);
    chmod(at("live"), 0777);
    assert_int_equal(read_code(at("live/a/cert.pem"), &trail),
                     ECERT_ERR_UNSAFE);
    assert_true(has_dir(&trail, at("live")));
    ecert_trail_free(&trail);
}

static uint64_t look_digest(const char *path)
{
    ecert_trail_t trail;
    uint64_t digest;

    ecert_trail_init(&trail);
    ecert_file_look(path, &trail, &err);
    digest = trail.digest;
    ecert_trail_free(&trail);
    return digest;
}

static uint64_t read_digest(const char *path)
{
    ecert_trail_t trail;
    uint64_t digest;

    ecert_trail_init(&trail);
    read_code(path, &trail);
    digest = trail.digest;
    ecert_trail_free(&trail);
    return digest;
}

/* A look agrees with a read as soon as the file has been still for a tick. */
static void await_agreement(const char *path)
{
    struct timespec pause = {.tv_nsec = 10000000};

    for (int i = 0; i < 300 && read_digest(path) != look_digest(path); i++) {
        nanosleep(&pause, NULL);
    }
    assert_true(read_digest(path) == look_digest(path));
}

static void test_digest(void **state)
{
    uint64_t first, absent;

    (void)state;
    absent = look_digest(at("f"));
    assert_true(absent == read_digest(at("f")));
    put("f", "one");
    assert_true(read_digest(at("f")) != look_digest(at("f")));
    await_agreement(at("f"));
    first = look_digest(at("f"));
    assert_true(first != absent);
    put("f", "two");
    assert_true(look_digest(at("f")) != first);
    await_agreement(at("f"));
    first = look_digest(at("f"));
    chmod(at("f"), 0600);
    assert_true(look_digest(at("f")) != first);
    first = look_digest(at("f"));
    put("g", "two");
    assert_int_equal(rename(at("g"), at("f")), 0);
    assert_true(look_digest(at("f")) != first);
    put("empty", "");
    await_agreement(at("empty"));
}

static void test_kubernetes(void **state)
{
    ecert_trail_t trail;
    char target[32];

    (void)state;
    folders("v/..2026_01");
    chmod(at("v"), 01777); /* as Kubernetes mounts secrets */
    put("v/..2026_01/tls.crt", "c1");
    put_link("..2026_01", "v/..data");
    put_link("..data/tls.crt", "v/tls.crt");
    assert_reads(at("v/tls.crt"), "c1");
    ecert_trail_init(&trail);
    assert_int_equal(read_code(at("v/tls.crt"), &trail), 0);
    assert_int_equal(trail.n_dirs, 2);
    assert_true(has_dir(&trail, at("v")));
    assert_true(has_dir(&trail, at("v/..2026_01")));
    ecert_trail_free(&trail);
    for (int i = 2; i < 30; i++) {
        char name[64], file[96], text[16];
        uint64_t before = look_digest(at("v/tls.crt"));

        snprintf(target, sizeof(target), "..2026_%02d", i);
        snprintf(name, sizeof(name), "v/%s", target);
        snprintf(file, sizeof(file), "%s/tls.crt", name);
        snprintf(text, sizeof(text), "c%d", i);
        folders(name);
        put(file, text);
        put_link(target, "v/..data_tmp");
        assert_int_equal(rename(at("v/..data_tmp"), at("v/..data")), 0);
        assert_reads(at("v/tls.crt"), text);
        assert_true(look_digest(at("v/tls.crt")) != before);
    }
}

static void test_absolute_link(void **state)
{
    (void)state;
    folders("a/b");
    put("a/f", "x");
    put_link(at("a/b"), "abs");
    assert_reads(at("abs/../f"), "x");
}

static void test_list(void **state)
{
    static const char *const expected[] = {"a", "b", "c"};
    char **names;
    size_t n;
    ecert_trail_t one, two;

    (void)state;
    folders("l");
    put("l/b", "");
    put("l/a", "");
    put("l/.hidden", "");
    folders("l/c");
    ecert_trail_init(&one);
    ecert_trail_init(&two);
    assert_int_equal(ecert_file_list(at("l"), 3, &one, &names, &n, &err), 0);
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(names[i], expected[i]);
    }
    ecert_names_free(names, n);
    assert_true(has_dir(&one, at("l")));
    assert_int_equal(ecert_file_list(at("l"), 2, NULL, &names, &n, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_TOO_MANY);
    put("l/a", "changed");
    put("l/.more", "");
    assert_int_equal(ecert_file_list(at("l"), 9, &two, &names, &n, &err), 0);
    ecert_names_free(names, n);
    assert_true(one.digest == two.digest);
    ecert_trail_free(&two);
    put("l/d", "");
    assert_int_equal(ecert_file_list(at("l"), 9, &two, &names, &n, &err), 0);
    ecert_names_free(names, n);
    assert_true(one.digest != two.digest);
    ecert_trail_free(&one);
    ecert_trail_free(&two);
    assert_int_equal(ecert_file_list(at("l/a"), 9, NULL, &names, &n, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_MISSING);
    chmod(at("l"), 0777);
    assert_int_equal(ecert_file_list(at("l"), 9, NULL, &names, &n, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_UNSAFE);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_reads),         TEST(test_relative_path),
        TEST(test_missing),       TEST(test_empty_and_large),
        TEST(test_not_files),     TEST(test_loops),
        TEST(test_long_names),    TEST(test_writable_folder),
        TEST(test_writable_file), TEST(test_foreign),
        TEST(test_foreign_link),  TEST(test_ordinary_user),
        TEST(test_mode_zero),     TEST(test_trail),
        TEST(test_digest),        TEST(test_kubernetes),
        TEST(test_absolute_link), TEST(test_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
