/* Files that somebody hands over: which of them are read. */

#include "scratch.h"

#include <pthread.h>
#include <signal.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "ecert_parcel.h"

#define STRANGER 65534

static ecert_err_t err;
static ecert_file_t file;

static int teardown(void **state)
{
    ecert_file_free(&file);
    return scratch_teardown(state);
}

static int read_code(const char *path)
{
    ecert_file_free(&file);
    ecert_err_clear(&err);
    return ecert_parcel_read(path, &file, &err) == 0 ? 0 : (int)err.code;
}

static void assert_read(const char *path, const char *text)
{
    assert_int_equal(read_code(path), 0);
    assert_int_equal(file.len, strlen(text));
    assert_string_equal((char *)file.bytes, text);
    assert_int_equal(file.st.st_size, strlen(text));
}

static void test_read(void **state)
{
    char before[PATH_MAX];

    (void)state;
    put("f", "hello");
    put_link("f", "link");
    put_link("link", "again");
    put_link("again", "loop");
    assert_read(at("f"), "hello");
    assert_read(at("again"), "hello");
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(scratch), 0);
    assert_read("f", "hello");
    assert_read("./again", "hello");
    assert_int_equal(chdir(before), 0);
}

static void test_not_there(void **state)
{
    (void)state;
    put("f", "x");
    put_link("nowhere", "dangling");
    put_link("loop", "loop");
    assert_int_equal(read_code(at("none")), ECERT_ERR_MISSING);
    assert_string_equal(err.file, at("none"));
    assert_int_equal(err.sys, ENOENT);
    assert_int_equal(read_code(at("dangling")), ECERT_ERR_MISSING);
    assert_int_equal(read_code(at("f/x")), ECERT_ERR_MISSING);
    assert_int_equal(read_code(""), ECERT_ERR_MISSING);
    assert_int_equal(read_code(at("loop")), ECERT_ERR_SYSTEM);
    assert_int_equal(err.sys, ELOOP);
}

static void assert_not_file(const char *path, const char *detail)
{
    assert_int_equal(read_code(path), ECERT_ERR_NOT_FILE);
    assert_string_equal(err.detail, detail);
    assert_string_equal(err.file, path);
    assert_null(file.bytes);
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
    put_link("fifo", "to-fifo");
    alarm(20); /* whoever waits for the FIFO fails */
    assert_not_file(at("fifo"), "it is a FIFO");
    assert_not_file(at("to-fifo"), "it is a FIFO");
    alarm(0);
    assert_not_file(at("sock"), "it is a socket");
    assert_not_file(at("dir"), "it is a folder");
    assert_not_file("/", "it is a folder");
    assert_not_file("/dev/zero", "it is a device");
    assert_not_file(at("zero"), "it is a device");
    close(fd);
}

static void sparse(const char *name, off_t size)
{
    int fd = open(at(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
}

static void test_sizes(void **state)
{
    (void)state;
    put("empty", "");
    assert_int_equal(read_code(at("empty")), ECERT_ERR_EMPTY);
    assert_string_equal(err.file, at("empty"));
    sparse("huge", (off_t)2 << 30);
    assert_int_equal(read_code(at("huge")), ECERT_ERR_TOO_LARGE);
    assert_string_equal(err.detail, "it has 2147483648 bytes, at most 1048576 "
                                    "are allowed");
    sparse("more", ECERT_FILE_MAX + 1);
    assert_int_equal(read_code(at("more")), ECERT_ERR_TOO_LARGE);
    sparse("most", ECERT_FILE_MAX);
    assert_int_equal(read_code(at("most")), 0);
    assert_int_equal(file.len, ECERT_FILE_MAX);
}

/* Unlike the store's files, these may be anybody's and open to all. */
static void test_foreign(void **state)
{
    (void)state;
    put("f", "theirs");
    assert_int_equal(chmod(at("f"), 0666), 0);
    assert_int_equal(chmod(scratch, 0777), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(at("f"), STRANGER, STRANGER), 0);
        assert_int_equal(chown(scratch, STRANGER, STRANGER), 0);
    }
    assert_read(at("f"), "theirs");
}

static int stranger_reads(void)
{
    if (setgid(STRANGER) != 0 || setuid(STRANGER) != 0) {
        return 1;
    }
    return read_code(at("closed")) == ECERT_ERR_UNREADABLE && err.sys == EACCES
                   && read_code(at("shut/f")) == ECERT_ERR_UNREADABLE
                   && read_code(at("open")) == 0
               ? 0
               : 2;
}

static void test_unreadable(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    if (skipped(geteuid() != 0, "needs root")) {
        return;
    }
    chmod(scratch, 0755);
    put("closed", "x");
    put("open", "x");
    folders("shut");
    put("shut/f", "x");
    chmod(at("closed"), 0600);
    chmod(at("shut"), 0700);
    pid = fork();
    if (pid == 0) {
        _exit(stranger_reads());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Standard input. */

static int read_from(int fd)
{
    int kept = dup(0), code;

    assert_int_equal(dup2(fd, 0), 0);
    alarm(20);
    code = read_code("-");
    alarm(0);
    assert_int_equal(dup2(kept, 0), 0);
    close(kept);
    return code;
}

static int slow_pipe;

/* In two parts, with a pause that a reader has to wait through. */
static void *write_slowly(void *text)
{
    struct timespec pause = {.tv_nsec = 100000000};
    size_t half = strlen(text) / 2;

    nanosleep(&pause, NULL);
    assert_true(write(slow_pipe, text, half) > 0);
    nanosleep(&pause, NULL);
    assert_true(write(slow_pipe, (char *)text + half, strlen(text) - half) > 0);
    close(slow_pipe);
    return NULL;
}

static void assert_pipe(int flags)
{
    char text[] = "through a pipe";
    pthread_t writer;
    int ends[2];

    assert_int_equal(pipe2(ends, flags), 0);
    slow_pipe = ends[1];
    assert_int_equal(pthread_create(&writer, NULL, write_slowly, text), 0);
    assert_int_equal(read_from(ends[0]), 0);
    pthread_join(writer, NULL);
    assert_int_equal(file.len, strlen(text));
    assert_string_equal((char *)file.bytes, text);
    close(ends[0]);
}

static void test_input(void **state)
{
    int fd, ends[2];

    (void)state;
    put("f", "redirected");
    fd = open(at("f"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(read_from(fd), 0);
    assert_string_equal((char *)file.bytes, "redirected");
    assert_int_equal(read_from(fd), ECERT_ERR_EMPTY);
    assert_string_equal(err.file, "standard input");
    close(fd);
    assert_pipe(O_CLOEXEC);
    assert_pipe(O_CLOEXEC | O_NONBLOCK);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    close(ends[1]);
    assert_int_equal(read_from(ends[0]), ECERT_ERR_EMPTY);
    close(ends[0]);
}

static void test_odd_input(void **state)
{
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

    (void)state;
    assert_int_equal(read_from(fd), ECERT_ERR_TOO_LARGE);
    assert_null(file.bytes);
    close(fd);
    sparse("huge", (off_t)2 << 30);
    fd = open(at("huge"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(read_from(fd), ECERT_ERR_TOO_LARGE);
    assert_string_equal(err.detail, "at most 1048576 bytes are allowed");
    close(fd);
    fd = open(scratch, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read_from(fd), ECERT_ERR_NOT_FILE);
    close(fd);
    fd = open(at("huge"), O_WRONLY | O_CLOEXEC);
    assert_int_equal(read_from(fd), ECERT_ERR_SYSTEM);
    assert_int_equal(err.sys, EBADF);
    close(fd);
}

static void test_terminal(void **state)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;

    (void)state;
    if (skipped(master < 0 || grantpt(master) || unlockpt(master),
                "no terminals here")) {
        return;
    }
    slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(slave >= 0);
    assert_int_equal(write(master, "typed\n\004", 7), 7);
    assert_int_equal(read_from(slave), 0);
    assert_string_equal((char *)file.bytes, "typed\n");
    close(slave);
    close(master);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, scratch_setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_read),  TEST(test_not_there), TEST(test_not_files),
        TEST(test_sizes), TEST(test_foreign),   TEST(test_unreadable),
        TEST(test_input), TEST(test_odd_input), TEST(test_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
