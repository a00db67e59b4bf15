#include "ecert_fetcher.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509.h>

#include "ecert_clock.h"
#include "ecert_fd.h"
#include "ecert_fetch_work.h"
#include "ecert_fetcher_work.h"
#include "ecert_handshake.h"
#include "ecert_jail_work.h"
#include "ecert_ocsp.h"
#include "ecert_pem.h"
#include "ecert_sent.h"
#include "ecert_target.h"

#define NOBODY      65534
#define CERTIFICATE 1 /* kinds of frames */
#define RESPONSE    2
#define SOCKET      3

/* ---- one errand, in a child -------------------------------------------- */

static int add_der(ecert_frames_t *out, unsigned char kind, unsigned char *der,
                   int len, ecert_err_t *err)
{
    int rc = len > 0 ? ecert_frames_add(out, kind, der, (size_t)len, err)
                     : ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL,
                                         "encode what was downloaded");

    OPENSSL_free(der);
    return rc;
}

static int parse_certificates(const ecert_fetch_got_t *got, const char *url,
                              ecert_frames_t *out, ecert_err_t *err)
{
    STACK_OF(X509) *list = sk_X509_new_null();
    int rc = list ? ecert_pem_certificates(got->bytes, got->len, url, list, err)
                  : -1;

    for (int i = 0; i < sk_X509_num(list) && rc == 0; i++) {
        unsigned char *der = NULL;
        int len = i2d_X509(sk_X509_value(list, i), &der);

        rc = add_der(out, CERTIFICATE, der, len, err);
    }
    sk_X509_pop_free(list, X509_free);
    return rc;
}

/* success: a responder's refusal is not enough. */
static int parse_response(const ecert_fetch_got_t *got, const char *url,
                          int success, ecert_frames_t *out, ecert_err_t *err)
{
    const unsigned char *p = got->bytes;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &p, (long)got->len);
    unsigned char *der = NULL;
    int len;

    ERR_clear_error();
    if (response == NULL || p != got->bytes + got->len
        || (success
            && OCSP_response_status(response)
                   != OCSP_RESPONSE_STATUS_SUCCESSFUL)) {
        OCSP_RESPONSE_free(response);
        return ecert_err(err, ECERT_ERR_OCSP, url, "it is no OCSP response");
    }
    len = i2d_OCSP_RESPONSE(response, &der);
    OCSP_RESPONSE_free(response);
    return add_der(out, RESPONSE, der, len, err);
}

/* A few times a second: whoever watches sees no more. */
static void tell_progress(void *ctx, size_t got, size_t total)
{
    unsigned char message[1 + sizeof(ecert_errand_progress_t)];
    ecert_errand_progress_t progress = {got, total};
    int64_t *next = ctx, now = ecert_clock_ms();
    ssize_t written;

    if (now < *next) {
        return;
    }
    *next = now + ECERT_PROGRESS_MS;
    message[0] = ECERT_ERRAND_PROGRESS;
    memcpy(message + 1, &progress, sizeof(progress));
    written = write(ECERT_JAIL_PIPE, message, sizeof(message));
    (void)written; /* nobody watches any more */
}

/* The machine has no such address at all. */
static int is_nowhere(const ecert_err_t *err)
{
    return err->sys == EADDRNOTAVAIL || err->sys == ENETUNREACH
           || err->sys == EAFNOSUPPORT;
}

static int look(const ecert_target_t *target, ecert_frames_t *out,
                ecert_err_t *err)
{
    ecert_handshake_t to = {
        .address = &target->address.any,
        .len = ecert_sockaddr_len(&target->address),
        .host = target->host[0] ? target->host : NULL,
        .where = target->where,
        .seconds = ECERT_LOOK_SECONDS,
        .here = 1,
    };
    ecert_shaken_t got;
    int rc = ecert_handshake(&to, &got, err);

    if (rc != 0 && is_nowhere(err)
        && target->other.any.sa_family != AF_UNSPEC) {
        to.address = &target->other.any;
        to.len = ecert_sockaddr_len(&target->other);
        rc = ecert_handshake(&to, &got, err);
    }
    return rc == 0 ? ecert_sent_write(&got, out, err) : -1;
}

static ecert_fetch_t describe(const ecert_fetcher_t *fetcher,
                              const ecert_errand_wire_t *wire, size_t max)
{
    return (ecert_fetch_t){
        .url = wire->url,
        .max = max,
        .seconds = ECERT_ERRAND_SECONDS - 2,
        .allowed = fetcher->allowed,
        .n_allowed = fetcher->n_allowed,
    };
}

static int fetch_certificates(const ecert_fetcher_t *fetcher,
                              const ecert_errand_wire_t *wire,
                              ecert_frames_t *out, ecert_err_t *err)
{
    ecert_fetch_t what = describe(fetcher, wire, ECERT_ISSUER_MAX);
    ecert_fetch_got_t got = {0};
    int64_t next = 0;
    int rc;

    if (wire->progress) {
        what.progress = tell_progress;
        what.ctx = &next;
    }
    rc = ecert_fetch(&what, &got, err);
    if (rc == 0) {
        rc = parse_certificates(&got, wire->url, out, err);
    }
    free(got.bytes);
    return rc;
}

/* 1: the responder has answered to GET, but not as is wanted. */
static int get_response(const ecert_fetch_t *what, ecert_frames_t *out,
                        ecert_err_t *err)
{
    int by_get = what->post == NULL;
    ecert_fetch_got_t got = {0};
    int rc = ecert_fetch(what, &got, err);

    if (rc == 0) {
        rc = parse_response(&got, what->url, by_get, out, err);
    }
    free(got.bytes);
    return rc != 0 && by_get && got.status != 0 ? 1 : rc;
}

static int fetch_response(const ecert_fetcher_t *fetcher,
                          const ecert_errand_wire_t *wire, ecert_frames_t *out,
                          ecert_err_t *err)
{
    ecert_fetch_t what = describe(fetcher, wire, ECERT_OCSP_MAX);
    int64_t begin = ecert_clock_ms();
    char url[ECERT_OCSP_GET];
    unsigned gone;
    int rc = 1;

    if (wire->get
        && ecert_ocsp_get(wire->url, wire->post, wire->post_len, url)) {
        what.url = url;
        rc = get_response(&what, out, err);
    }
    what.url = wire->url;
    what.post = wire->post;
    what.post_len = wire->post_len;
    what.post_type = "application/ocsp-request";
    gone = (unsigned)((ecert_clock_ms() - begin) / 1000);
    if (rc == 1 && gone < what.seconds) {
        what.seconds -= gone;
        rc = get_response(&what, out, err);
    }
    return rc == 0 ? 0 : ecert_err_file(err, wire->url);
}

static int run_errand(const ecert_fetcher_t *fetcher,
                      const ecert_errand_wire_t *wire, ecert_frames_t *out,
                      ecert_err_t *err)
{
    switch (wire->kind) {
    case ECERT_ERRAND_LOOK:
        return look(&fetcher->targets.list[wire->target], out, err);
    case ECERT_ERRAND_OCSP:
        return fetch_response(fetcher, wire, out, err);
    default:
        return fetch_certificates(fetcher, wire, out, err);
    }
}

static _Noreturn void child(const ecert_fetcher_t *fetcher,
                            const ecert_errand_wire_t *wire, int answer,
                            pid_t parent)
{
    ecert_jail_t jail = {
        .limits = {ECERT_JAIL_SECONDS, ECERT_JAIL_MEMORY, 1},
        .file = wire->url,
        .parent = parent,
    };
    ecert_frames_t frames = {0};
    ecert_err_t err;
    int rc = -1;

    if (answer != ECERT_JAIL_PIPE && dup2(answer, ECERT_JAIL_PIPE) < 0) {
        _exit(1);
    }
    if (ecert_jail_enter(&jail, &err) == 0) {
        alarm(wire->kind == ECERT_ERRAND_LOOK
                  ? ECERT_LOOK_SECONDS + 1
                  : ECERT_ERRAND_SECONDS); /* whatever holds it up */
        rc = run_errand(fetcher, wire, &frames, &err);
    }
    ecert_answer_write(ECERT_JAIL_PIPE, rc == 0 ? &frames : NULL, &err);
    _exit(0);
}

/* ---- the fetcher ------------------------------------------------------- */

static int is_sound(const ecert_fetcher_t *fetcher,
                    const ecert_errand_wire_t *wire)
{
    return (wire->kind == ECERT_ERRAND_CERTIFICATES
            || wire->kind == ECERT_ERRAND_OCSP
            || (wire->kind == ECERT_ERRAND_LOOK
                && wire->target < fetcher->targets.n
                && fetcher->targets.list[wire->target].why == NULL))
           && wire->post_len <= sizeof(wire->post)
           && memchr(wire->url, '\0', sizeof(wire->url)) != NULL;
}

/* The next errand and the pipe to answer through; 0 when nobody is there. */
static int receive(const ecert_fetcher_t *fetcher, ecert_errand_wire_t *wire,
                   int *answer)
{
    ssize_t n = ecert_fd_receive(SOCKET, wire, sizeof(*wire), answer);

    if (*answer >= 0
        && (n != (ssize_t)sizeof(*wire) || !is_sound(fetcher, wire))) {
        close(*answer); /* which is the answer */
        *answer = -1;
    }
    return n > 0;
}

/*
 * What a filter of system calls (seccomp) forbids one errand, it forbids them
 * all: the fetcher dies of the same signal, by which its keeper knows.
 */
static void reap(int number)
{
    int status, saved = errno;

    (void)number;
    while (waitpid(-1, &status, WNOHANG) > 0) {
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
            signal(SIGSYS, SIG_DFL);
            raise(SIGSYS);
        }
    }
    errno = saved;
}

static _Noreturn void serve(const ecert_fetcher_t *fetcher)
{
    ecert_errand_wire_t wire;
    pid_t self = getpid();
    int answer;

    signal(SIGCHLD, reap);
    while (receive(fetcher, &wire, &answer)) {
        if (answer >= 0 && fork() == 0) {
            child(fetcher, &wire, answer, self);
        }
        if (answer >= 0) {
            close(answer);
        }
    }
    _exit(0);
}

/* Whether there is any network for it, else errno. */
static int has_network(void)
{
    static const int families[] = {AF_INET, AF_INET6};

    for (size_t i = 0; i < 2; i++) {
        int fd = socket(families[i], SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd >= 0) {
            close(fd);
            return 1;
        }
    }
    return 0;
}

/* Only the socket; another user; no way back.  The network stays.  0, or why
 * not, an errno. */
static int enter(int socket, pid_t parent)
{
    const struct passwd *nobody = getpwnam("nobody");
    ecert_jail_t jail = {.file = NULL,
                         .parent = parent,
                         .limits.network = 1,
                         .unlimited = 1,
                         .change = geteuid() == 0 || getuid() == 0,
                         .uid = nobody ? nobody->pw_uid : NOBODY,
                         .gid = nobody ? nobody->pw_gid : NOBODY};
    ecert_err_t err;

    if (socket != SOCKET && dup2(socket, SOCKET) < 0) {
        return errno;
    }
    prctl(PR_SET_NAME, "ecert-fetcher");
    if (ecert_jail_enter(&jail, &err) != 0) {
        return err.sys > 0 ? err.sys : EPERM;
    }
    return has_network() ? 0 : errno;
}

_Noreturn void ecert_fetcher_serve(const ecert_fetcher_t *fetcher, int socket,
                                   pid_t parent)
{
    int why = enter(socket, parent);

    if (why != 0) {
        _exit(why & 0xff);
    }
    serve(fetcher);
}

static int read_networks(const ecert_conf_t *conf, ecert_fetcher_t *fetcher,
                         ecert_err_t *err)
{
    fetcher->allowed = calloc(conf->n_allowed + 1, sizeof(*fetcher->allowed));
    if (fetcher->allowed == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    for (size_t i = 0; i < conf->n_allowed; i++) {
        if (ecert_network_parse(conf->allowed[i], &fetcher->allowed[i], err)
            != 0) {
            free(fetcher->allowed);
            return -1;
        }
    }
    fetcher->n_allowed = conf->n_allowed;
    return 0;
}

int ecert_fetcher_start(const ecert_conf_t *conf, ecert_err_t *err)
{
    ecert_fetcher_t fetcher = {0};
    int ends[2];
    pid_t pid;

    if (read_networks(conf, &fetcher, err) != 0) {
        return -1;
    }
    if (ecert_targets_make(conf, &fetcher.targets, err) != 0) {
        free(fetcher.allowed);
        return -1;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        ecert_targets_free(&fetcher.targets);
        free(fetcher.allowed);
        return ecert_err(err, ECERT_ERR_SYSTEM, NULL, "start the fetcher");
    }
    pid = fork();
    if (pid == 0) {
        ecert_fetcher_keep(&fetcher, ends[1]);
    }
    ecert_targets_free(&fetcher.targets);
    free(fetcher.allowed);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return ecert_err(err, ECERT_ERR_SYSTEM, NULL, "start the fetcher");
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return ends[0];
}
