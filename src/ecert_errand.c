#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/socket.h>

#include "ecert_fetcher_work.h"
#include "ecert_jail_work.h"

#define CHUNK (16 * 1024)

static int send_with(int fetcher, const ecert_errand_wire_t *wire, int answer)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {(void *)(uintptr_t)wire, sizeof(*wire)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *header;

    memset(&control, 0, sizeof(control));
    header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &answer, sizeof(int));
    return sendmsg(fetcher, &message, MSG_NOSIGNAL | MSG_DONTWAIT)
                   == (ssize_t)sizeof(*wire)
               ? 0
               : -1;
}

static int fill(const ecert_errand_ask_t *ask, ecert_errand_wire_t *wire,
                ecert_err_t *err)
{
    memset(wire, 0, sizeof(*wire));
    if (strlen(ask->url) >= sizeof(wire->url)
        || ask->post_len > sizeof(wire->post)) {
        return ecert_err(err, ECERT_ERR_FETCH, ask->url,
                         "the URL or the request is too long");
    }
    wire->kind = ask->kind;
    wire->progress = ask->progress != 0;
    wire->target = ask->target;
    wire->post_len = (uint32_t)ask->post_len;
    snprintf(wire->url, sizeof(wire->url), "%s", ask->url);
    if (ask->post_len > 0) {
        memcpy(wire->post, ask->post, ask->post_len);
    }
    return 0;
}

int ecert_errand_begin(int fetcher, const ecert_errand_ask_t *ask, int64_t ms,
                       ecert_errand_t *errand, ecert_err_t *err)
{
    ecert_errand_wire_t wire;
    int ends[2], rc;

    memset(errand, 0, sizeof(*errand));
    errand->fd = -1;
    if (fill(ask, &wire, err) != 0) {
        return -1;
    }
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, ask->url, "make a pipe");
    }
    rc = send_with(fetcher, &wire, ends[1]);
    close(ends[1]);
    if (rc != 0) {
        rc = errno;
        close(ends[0]);
        ecert_err(err, ECERT_ERR_FETCH, ask->url, "the fetcher is %s",
                  rc == EAGAIN ? "busy" : "gone");
        return rc == EAGAIN ? -1
                            : ecert_err_hint(err, "reload the server: that "
                                                  "starts a new one");
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    errand->fd = ends[0];
    errand->seconds = ask->kind == ECERT_ERRAND_LOOK ? ECERT_LOOK_SECONDS + 2
                                                     : ECERT_ERRAND_SECONDS;
    errand->deadline = ms + errand->seconds * INT64_C(1000);
    return 0;
}

void ecert_errand_drop(ecert_errand_t *errand)
{
    if (errand->fd >= 0) {
        close(errand->fd);
    }
    free(errand->bytes);
    memset(errand, 0, sizeof(*errand));
    errand->fd = -1;
}

static int grow(ecert_errand_t *errand)
{
    size_t size = errand->size + CHUNK;
    unsigned char *bytes;

    if (errand->size - errand->len >= CHUNK / 2) {
        return 0;
    }
    bytes =
        size <= ECERT_ANSWER_MAX + CHUNK ? realloc(errand->bytes, size) : NULL;
    if (bytes == NULL) {
        return -1;
    }
    errand->bytes = bytes;
    errand->size = size;
    return 0;
}

/* 1 at its end, 0 when there is no more for now, -1 when it is too much. */
static int take(ecert_errand_t *errand)
{
    ssize_t n;

    for (;;) {
        if (grow(errand) != 0) {
            return -1;
        }
        n = read(errand->fd, errand->bytes + errand->len,
                 errand->size - errand->len);
        if (n == 0) {
            return 1;
        }
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN ? 0 : -1;
        }
        errand->len += (size_t)n;
    }
}

/* What it tells on the way is no part of its answer. */
static void take_progress(ecert_errand_t *errand)
{
    ecert_errand_progress_t progress;
    size_t size = 1 + sizeof(progress);

    while (errand->len >= size && errand->bytes[0] == ECERT_ERRAND_PROGRESS) {
        memcpy(&progress, errand->bytes + 1, sizeof(progress));
        errand->got = progress.got;
        errand->total = progress.total;
        errand->len -= size;
        memmove(errand->bytes, errand->bytes + size, errand->len);
    }
}

static int judge(const ecert_errand_t *errand, const char *url,
                 ecert_frames_t *out, ecert_err_t *err)
{
    switch (ecert_answer_read(errand->bytes, errand->len, out, err)) {
    case ECERT_ANSWER_FRAMES:
        return 1;
    case ECERT_ANSWER_REFUSED:
        break;
    default:
        ecert_err(err, ECERT_ERR_FETCH, url,
                  "the process that went for it gave no sensible answer");
    }
    ecert_frames_free(out);
    return -1;
}

int ecert_errand_read(ecert_errand_t *errand, const char *url, int64_t ms,
                      ecert_frames_t *out, ecert_err_t *err)
{
    int rc = take(errand);

    *out = (ecert_frames_t){0};
    take_progress(errand);
    if (rc == 0 && ms < errand->deadline) {
        return 0;
    }
    if (rc == 1) {
        rc = judge(errand, url, out, err);
    } else {
        rc = ecert_err(err, ECERT_ERR_FETCH, url,
                       rc == 0 ? "no answer within %d seconds"
                               : "more came than is allowed",
                       errand->seconds);
    }
    ecert_errand_drop(errand);
    return rc;
}
