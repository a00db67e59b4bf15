/* Errands through the fetcher: what comes back, what is refused, its end. */

#include "scratch.h"

#include <poll.h>
#include <time.h>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "ecert_conf.h"
#include "ecert_fetcher.h"
#include "ecert_fetcher_work.h"
#include "ecert_file.h"
#include "ecert_sent.h"
#include "hostile.h"

static ecert_err_t err;
static hostile_t server;
static int fetcher;

static int64_t ms_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const char *url_of(const char *path)
{
    static char url[4096];

    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", server.port, path);
    return url;
}

/* As ecert_errand_read at its end. */
static int run(const ecert_errand_ask_t *ask, ecert_frames_t *frames)
{
    ecert_errand_t errand;
    int rc = 0;

    assert_int_equal(ecert_errand_begin(fetcher, ask, ms_now(), &errand, &err),
                     0);
    while (rc == 0) {
        struct pollfd fd = {.fd = errand.fd, .events = POLLIN};

        poll(&fd, 1, 1000);
        rc = ecert_errand_read(&errand, ask->url, ms_now(), frames, &err);
    }
    assert_int_equal(errand.fd, -1);
    return rc;
}

static void refused(ecert_errand_kind_t kind, const char *url, const char *why)
{
    ecert_errand_ask_t ask = {.kind = kind, .url = url};
    ecert_frames_t frames;

    assert_int_equal(run(&ask, &frames), -1);
    if (strstr(err.detail, why) == NULL) {
        fail_msg("%s: %s", url, err.detail);
    }
    ecert_frames_free(&frames);
}

static void test_refused(void **state)
{
    (void)state;
    refused(ECERT_ERRAND_CERTIFICATES, url_of("/404"), "status 404");
    refused(ECERT_ERRAND_CERTIFICATES, url_of("/page"), "web page");
    refused(ECERT_ERRAND_CERTIFICATES, url_of("/body"), "more than 65536");
    refused(ECERT_ERRAND_CERTIFICATES, "file:///etc/passwd", "only http");
    refused(ECERT_ERRAND_CERTIFICATES, "http://127.0.0.2/", "not allowed");
    refused(ECERT_ERRAND_OCSP, url_of("/body"), "more than 16384");
    refused(ECERT_ERRAND_OCSP, url_of("/good"), "no OCSP response");
    refused(ECERT_ERRAND_OCSP, url_of("/empty"), "empty");
}

static void test_too_long(void **state)
{
    static char url[ECERT_ERRAND_URL_MAX + 1];
    unsigned char post[ECERT_ERRAND_POST_MAX + 1] = {0};
    ecert_errand_ask_t ask = {.kind = ECERT_ERRAND_OCSP, .url = url};
    ecert_errand_t errand;

    (void)state;
    memset(url, 'a', sizeof(url) - 1);
    assert_int_equal(ecert_errand_begin(fetcher, &ask, 0, &errand, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_FETCH);
    assert_int_equal(errand.fd, -1);
    ask.url = "http://127.0.0.1/";
    ask.post = post;
    ask.post_len = sizeof(post);
    assert_int_equal(ecert_errand_begin(fetcher, &ask, 0, &errand, &err), -1);
}

static void test_deadline(void **state)
{
    ecert_errand_ask_t ask = {.kind = ECERT_ERRAND_CERTIFICATES,
                              .url = url_of("/drip")};
    ecert_frames_t frames;
    ecert_errand_t errand;

    (void)state;
    assert_int_equal(ecert_errand_begin(fetcher, &ask, 1000, &errand, &err), 0);
    assert_int_equal(ecert_errand_read(&errand, ask.url, 1000, &frames, &err),
                     0);
    assert_int_equal(
        ecert_errand_read(&errand, ask.url, errand.deadline, &frames, &err),
        -1);
    assert_non_null(strstr(err.detail, "no answer within 30 seconds"));
    assert_int_equal(errand.fd, -1);
}

/* Sends bytes as an errand; whether its pipe is closed without an answer. */
static int is_dropped(const void *bytes, size_t len)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)(uintptr_t)bytes, len};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    int ends[2];
    char byte;
    ssize_t n;

    assert_int_equal(pipe(ends), 0);
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &ends[1], sizeof(int));
    assert_int_equal(sendmsg(fetcher, &message, 0), (ssize_t)len);
    close(ends[1]);
    n = read(ends[0], &byte, 1);
    close(ends[0]);
    return n == 0;
}

static void test_hostile_wire(void **state)
{
    ecert_errand_wire_t wire = {.kind = ECERT_ERRAND_OCSP};

    (void)state;
    snprintf(wire.url, sizeof(wire.url), "file:///");
    assert_false(is_dropped(&wire, sizeof(wire))); /* answered: refused */
    assert_true(is_dropped(&wire, 1));
    assert_true(is_dropped(&wire, sizeof(wire) - 1));
    wire.kind = 4;
    assert_true(is_dropped(&wire, sizeof(wire)));
    wire.kind = ECERT_ERRAND_OCSP;
    wire.post_len = sizeof(wire.post) + 1;
    assert_true(is_dropped(&wire, sizeof(wire)));
    wire.post_len = 0;
    memset(wire.url, 'a', sizeof(wire.url));
    assert_true(is_dropped(&wire, sizeof(wire)));
    refused(ECERT_ERRAND_OCSP, url_of("/404"), "status 404"); /* it lives */
}

/* To the configured address, and no other: here something that speaks no TLS.
 */
static void test_look(void **state)
{
    ecert_errand_wire_t wire = {.kind = ECERT_ERRAND_LOOK, .target = 0};
    ecert_errand_ask_t ask = {.kind = ECERT_ERRAND_LOOK, .url = "there"};
    ecert_frames_t frames;
    ecert_sent_t sent;

    (void)state;
    assert_int_equal(run(&ask, &frames), 1);
    assert_int_equal(ecert_sent_read(&frames, ask.url, &sent, &err), 0);
    ecert_frames_free(&frames);
    assert_non_null(strstr(sent.failed, "handshake"));
    ask.target = 1; /* where nobody listens */
    assert_int_equal(run(&ask, &frames), -1);
    assert_int_equal(err.code, ECERT_ERR_SYSTEM);
    assert_non_null(strstr(err.detail, "connect"));
    snprintf(wire.url, sizeof(wire.url), "http://127.0.0.1:%u/", server.port);
    assert_false(is_dropped(&wire, sizeof(wire)));
    wire.target = 2; /* the PROXY protocol is expected there */
    assert_true(is_dropped(&wire, sizeof(wire)));
    wire.target = 3;
    assert_true(is_dropped(&wire, sizeof(wire)));
    wire.target = UINT32_MAX;
    assert_true(is_dropped(&wire, sizeof(wire)));
}

static void test_gone(void **state)
{
    ecert_errand_ask_t ask = {.kind = ECERT_ERRAND_OCSP, .url = "http://a/"};
    ecert_errand_t errand;
    int ends[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    close(ends[1]);
    assert_int_equal(ecert_errand_begin(ends[0], &ask, 0, &errand, &err), -1);
    assert_non_null(strstr(err.detail, "gone"));
    assert_non_null(strstr(err.hint, "reload"));
    close(ends[0]);
}

/* ---- a fetcher that is somebody else's ---------------------------------- */

/* An errand that this test answers itself, into *answer; 1 MiB at once. */
static void hijack(const ecert_errand_ask_t *ask, ecert_errand_t *errand,
                   int *answer)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    ecert_errand_wire_t wire;
    struct iovec part = {&wire, sizeof(wire)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    assert_int_equal(ecert_errand_begin(ends[0], ask, 0, errand, &err), 0);
    assert_true(recvmsg(ends[1], &message, 0) > 0);
    memcpy(answer, CMSG_DATA(&control.header), sizeof(int));
    close(ends[0]);
    close(ends[1]);
    assert_true(fcntl(*answer, F_SETPIPE_SZ, 1 << 20) >= 1 << 20);
}

static void tell(int answer, size_t times)
{
    unsigned char message[1 + sizeof(ecert_errand_progress_t)] = {
        ECERT_ERRAND_PROGRESS, 1};

    for (size_t i = 0; i < times; i++) {
        assert_int_equal(write(answer, message, sizeof(message)),
                         sizeof(message));
    }
}

/* Before it is at its end, and before its time is up. */
static void refused_at_once(ecert_errand_t *errand, int answer)
{
    ecert_frames_t frames;

    assert_int_equal(ecert_errand_read(errand, "there", 1, &frames, &err), -1);
    assert_non_null(strstr(err.detail, "more came than is allowed"));
    assert_int_equal(errand->fd, -1);
    close(answer);
}

static void test_progress_unasked(void **state)
{
    ecert_errand_ask_t ask = {.kind = ECERT_ERRAND_OCSP, .url = "there"};
    ecert_errand_t errand;
    int answer;

    (void)state;
    hijack(&ask, &errand, &answer);
    tell(answer, 1);
    refused_at_once(&errand, answer);
}

static void test_progress_flood(void **state)
{
    ecert_errand_ask_t ask = {
        .kind = ECERT_ERRAND_CERTIFICATES, .url = "there", .progress = 1};
    ecert_errand_t errand;
    ecert_frames_t frames;
    int answer;

    (void)state;
    hijack(&ask, &errand, &answer);
    tell(answer, errand.tells); /* ten a second, for all of its time */
    assert_int_equal(ecert_errand_read(&errand, "there", 1, &frames, &err), 0);
    assert_int_equal(errand.got, 1);
    assert_int_equal(errand.len, 0);
    tell(answer, 1);
    refused_at_once(&errand, answer);
}

static void test_flood(void **state)
{
    static unsigned char bytes[80 * 1024];
    const ecert_errand_kind_t kinds[] = {ECERT_ERRAND_CERTIFICATES,
                                         ECERT_ERRAND_OCSP, ECERT_ERRAND_LOOK};
    const size_t too_many[] = {80 * 1024, 32 * 1024, 16 * 1024};
    ecert_errand_ask_t ask = {.url = "there"};
    ecert_errand_t errand;
    int answer;

    (void)state;
    memset(bytes, 1, sizeof(bytes));
    for (size_t i = 0; i < 3; i++) {
        ask.kind = kinds[i];
        hijack(&ask, &errand, &answer);
        assert_int_equal(write(answer, bytes, too_many[i]), too_many[i]);
        refused_at_once(&errand, answer);
    }
}

/* Each byte by itself: from some look on it has to wait for the next one. */
static void test_drops(void **state)
{
    ecert_errand_ask_t ask = {.kind = ECERT_ERRAND_OCSP, .url = "there"};
    ecert_errand_t errand;
    ecert_frames_t frames;
    int64_t ms = 1000;
    int answer, looks = 0;

    (void)state;
    hijack(&ask, &errand, &answer);
    while (ms < 2000) {
        assert_int_equal(write(answer, "\1", 1), 1);
        assert_int_equal(ecert_errand_read(&errand, "there", ms, &frames, &err),
                         0);
        ms = errand.resume > ms ? errand.resume : ms;
        assert_true(++looks < 100);
    }
    ecert_errand_drop(&errand);
    close(answer);
}

static void listen_at(ecert_conf_t *conf, uint16_t port, int proxied)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    ecert_vhost_t vhost = {.proxied = proxied};

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(
        ecert_conf_listen(conf, 0, &vhost, (struct sockaddr *)&to, &err), 0);
}

static int setup(void **state)
{
    ecert_conf_t *conf = ecert_conf_new();
    ecert_site_t site = {.name = "www.example.hk"};

    (void)state;
    hostile_start(&server, NULL);
    assert_int_equal(ecert_conf_fetch(conf, "allow=127.0.0.1", &err), 0);
    assert_int_equal(ecert_conf_add(conf, &site, &err), 0);
    listen_at(conf, (uint16_t)server.port, 0);
    listen_at(conf, 1, 0);
    listen_at(conf, 2, 1);
    fetcher = ecert_fetcher_start(conf, &err);
    ecert_conf_free(conf);
    return fetcher >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    close(fetcher);
    hostile_stop(&server);
    return 0;
}

/* ---- a filter of system calls ------------------------------------------- */

/* This call is answered so from now on (SECCOMP_RET_), for the internet alone
 * where it is socket. */
static void forbid(unsigned call, unsigned answer)
{
    unsigned past = call == __NR_socket ? 0 : 3;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 5),
        BPF_STMT(BPF_JMP | BPF_JA, past),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
        || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        _exit(77);
    }
}

/* A process under the filter, whose log is fd 2: 0 when the fetcher gave up. */
static int under_filter(unsigned call, unsigned answer, const char *log)
{
    ecert_errand_ask_t ask = {.kind = ECERT_ERRAND_CERTIFICATES,
                              .url = url_of("/404")};
    char *allowed[] = {"127.0.0.1/32"};
    ecert_conf_t conf = {.allowed = allowed, .n_allowed = 1};
    struct pollfd fd = {.fd = -1};
    ecert_errand_t errand;
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        dup2(open(log, O_WRONLY | O_CREAT | O_APPEND, 0600), 2);
        forbid(call, answer);
        fd.fd = ecert_fetcher_start(&conf, &err);
        ecert_errand_begin(fd.fd, &ask, ms_now(), &errand, &err);
        poll(&fd, 1, 10000);
        _exit(fd.revents & POLLHUP ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WEXITSTATUS(status);
}

static void test_filter(void **state)
{
    static const struct {
        unsigned call, answer;
        const char *why;
    } cases[] = {
        {__NR_socket, SECCOMP_RET_ERRNO | EPERM, "(Operation not permitted)"},
        {__NR_socket, SECCOMP_RET_KILL_PROCESS, "killed for a system call"},
        {__NR_connect, SECCOMP_RET_KILL_PROCESS, "killed for a system call"},
    };
    ecert_file_t log;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *line;

        unlink(at("log"));
        assert_int_equal(
            under_filter(cases[i].call, cases[i].answer, at("log")), 0);
        assert_int_equal(
            ecert_file_read(at("log"), 10000, NULL, &log, &err), 0);
        line = strstr((char *)log.bytes, "fetcher: process");
        assert_non_null(line);
        assert_non_null(strstr(line, cases[i].why));
        assert_non_null(strstr(line, "it is not started again"));
        assert_null(strstr(line + 1, "fetcher: "));
        ecert_file_free(&log);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_hostile_wire),
        cmocka_unit_test(test_look),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_progress_unasked),
        cmocka_unit_test(test_progress_flood),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_drops),
        cmocka_unit_test_setup_teardown(test_filter, scratch_setup,
                                        scratch_teardown),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
