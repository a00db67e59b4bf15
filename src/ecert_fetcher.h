/*
 * The fetcher: an unprivileged process with a network and nothing else, forked
 * before the agent reads its first key.  For each errand it forks a child that
 * goes out, parses what it gets, and answers through the pipe that came with
 * the errand (frames, as out of a jail).  A look goes to an address of the
 * configuration that the fetcher began with, and to no other.
 */

#ifndef ECERT_FETCHER_H
#define ECERT_FETCHER_H

#include <stddef.h>
#include <stdint.h>

#include "ecert_conf.h"
#include "ecert_err.h"
#include "ecert_jail.h"

#define ECERT_ERRANDS_MAX     8  /* under way at once */
#define ECERT_LOOKS_MAX       4  /* and so many looks besides */
#define ECERT_ERRAND_SECONDS  30 /* for one of them */
#define ECERT_LOOK_SECONDS    5
#define ECERT_ERRAND_URL_MAX  2048
#define ECERT_ERRAND_POST_MAX 1024
#define ECERT_ISSUER_MAX                                                       \
    (64 * 1024) /* bytes of a file with CA certificates                        \
                 */

typedef enum {
    ECERT_ERRAND_CERTIFICATES = 1, /* frames: DER, one each; PEM, DER, PKCS#7 */
    ECERT_ERRAND_OCSP,             /* one frame: the response's DER */
    ECERT_ERRAND_LOOK              /* a handshake with a target of our own;
                                      frames: ecert_sent.h */
} ecert_errand_kind_t;

typedef struct {
    ecert_errand_kind_t kind;
    uint32_t target; /* of a look: index, see ecert_target.h */
    const char *url; /* of a look: for messages alone */
    const unsigned char *post;
    size_t post_len;
    int get;      /* OCSP by GET where that is short enough, and POST when the
                     responder refuses it; 0: POST */
    int progress; /* got and total of the errand are wanted */
} ecert_errand_ask_t;

/*
 * Forks it.  Returns the descriptor to send errands to; the fetcher ends when
 * nobody holds it any more.  -1 when it cannot be started.
 */
int ecert_fetcher_start(const ecert_conf_t *conf, ecert_err_t *err);

/* One errand under way. */
typedef struct {
    int fd; /* to poll for reading; -1: none */
    unsigned char *bytes;
    size_t len, size; /* size: what an honest answer has, and no more */
    int64_t deadline; /* monotonic ms */
    int64_t resume;   /* monotonic ms: not to be read before, 0: at once */
    int seconds;      /* that there were until the deadline */
    unsigned looks;   /* at it */
    unsigned told;    /* messages on the way, and how many it may send */
    unsigned tells;
    uint64_t got, total; /* bytes of the body; total 0: not known */
} ecert_errand_t;

/* Sends it out.  FETCH when the fetcher is gone or has no time; then nothing
 * is under way. */
int ecert_errand_begin(int fetcher, const ecert_errand_ask_t *ask, int64_t ms,
                       ecert_errand_t *errand, ecert_err_t *err);

/*
 * Reads what is there, in time that is linear in its length, which is bounded.
 * The fetcher may be somebody else's by then: who has other things to do leaves
 * it alone until `resume`.  0: not all yet; 1: done, frames are out's
 * (ecert_frames_free); -1: done, failed.  After the deadline it fails (FETCH).
 */
int ecert_errand_read(ecert_errand_t *errand, const char *url, int64_t ms,
                      ecert_frames_t *out, ecert_err_t *err);

/* Gives it up; the child ends by itself. */
void ecert_errand_drop(ecert_errand_t *errand);

#endif
