#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


#include "ecert_fd.h"
#include "ecert_fetcher_work.h"
#include "ecert_jail_work.h"
#include "ecert_ocsp.h"
#include "ecert_sent.h"

#define PAUSE_MS      50 /* from look to look at one that comes in bits */
#define LOOKS_AT_ONCE 16 /* before that */

/* What a child may say of itself besides: its frames' headers, or an error. */
#define AROUND                                                                 \
    (sizeof(ecert_err_t) + 64 + (ECERT_JAIL_FRAMES + 2) * ECERT_ANSWER_HEADER)

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
    wire->get = ask->get != 0;
    wire->post_len = (uint32_t)ask->post_len;
    snprintf(wire->url, sizeof(wire->url), "%s", ask->url);
    if (ask->post_len > 0) {
        memcpy(wire->post, ask->post, ask->post_len);
    }
    return 0;
}

/* The most that an honest answer has. */
static size_t answer_max(ecert_errand_kind_t kind)
{
    switch (kind) {
    case ECERT_ERRAND_CERTIFICATES:
        return ECERT_ISSUER_MAX + AROUND;
    case ECERT_ERRAND_OCSP:
        return ECERT_OCSP_MAX + AROUND;
    default:
        return ECERT_SENT_BYTES + AROUND;
    }
}

static int make_room(const ecert_errand_ask_t *ask, ecert_errand_t *errand,
                     ecert_err_t *err)
{
    errand->seconds = ask->kind == ECERT_ERRAND_LOOK ? ECERT_LOOK_SECONDS + 2
                                                     : ECERT_ERRAND_SECONDS;
    errand->tells = ask->progress
                        ? (unsigned)errand->seconds * 1000 / ECERT_PROGRESS_MS
                        : 0;
    /* one byte more, to see that there are too many */
    errand->size = answer_max(ask->kind) + 1
                   + errand->tells * (1 + sizeof(ecert_errand_progress_t));
    errand->bytes = malloc(errand->size);
    return errand->bytes ? 0 : ecert_err(err, ECERT_ERR_MEMORY, ask->url, NULL);
}

int ecert_errand_begin(int fetcher, const ecert_errand_ask_t *ask, int64_t ms,
                       ecert_errand_t *errand, ecert_err_t *err)
{
    ecert_errand_wire_t wire;
    int ends[2], rc;

    memset(errand, 0, sizeof(*errand));
    errand->fd = -1;
    if (fill(ask, &wire, err) != 0 || make_room(ask, errand, err) != 0) {
        return -1;
    }
    if (pipe2(ends, O_CLOEXEC) != 0) {
        ecert_err(err, ECERT_ERR_SYSTEM, ask->url, "make a pipe");
        ecert_errand_drop(errand);
        return -1;
    }
    rc = ecert_fd_send(fetcher, &wire, sizeof(wire), ends[1]);
    close(ends[1]);
    if (rc != 0) {
        rc = errno;
        close(ends[0]);
        ecert_errand_drop(errand);
        ecert_err(err, ECERT_ERR_FETCH, ask->url, "the fetcher is %s",
                  rc == EAGAIN ? "busy" : "gone");
        return rc == EAGAIN ? -1
                            : ecert_err_hint(err, "reload the server: that "
                                                  "starts a new one");
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    errand->fd = ends[0];
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

/* 1 at its end, 0 when there is no more for now, -1 when it is too much. */
static int take(ecert_errand_t *errand)
{
    ssize_t n;

    for (;;) {
        n = read(errand->fd, errand->bytes + errand->len,
                 errand->size - errand->len);
        if (n == 0) {
            return errand->len < errand->size ? 1 : -1;
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

/*
 * What it tells on the way is no part of its answer.  One pass, whatever came:
 * -1 when it tells what it was not asked, or more than it may.
 */
static int take_progress(ecert_errand_t *errand)
{
    ecert_errand_progress_t progress;
    size_t size = 1 + sizeof(progress), at = 0;

    while (errand->len - at > 0 && errand->bytes[at] == ECERT_ERRAND_PROGRESS) {
        if (errand->told == errand->tells) {
            return -1;
        }
        if (errand->len - at < size) {
            break;
        }
        memcpy(&progress, errand->bytes + at + 1, sizeof(progress));
        errand->got = progress.got;
        errand->total = progress.total;
        errand->told++;
        at += size;
    }
    errand->len -= at;
    memmove(errand->bytes, errand->bytes + at, errand->len);
    return 0;
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
    if (take_progress(errand) != 0) {
        rc = -1;
    }
    if (rc == 0 && ms < errand->deadline) {
        errand->resume = ++errand->looks > LOOKS_AT_ONCE ? ms + PAUSE_MS : 0;
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
