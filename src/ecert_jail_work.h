/* Both ends of a jail's pipe; for ecert_jail*.c, ecert_frames.c, and the
 * fetcher, which is one, too (ecert_fetcher*.c, ecert_errand.c). */

#ifndef ECERT_JAIL_WORK_H
#define ECERT_JAIL_WORK_H

#include <sys/types.h>

#include "ecert_jail.h"

/* A sanitizer's shadow is larger than any bound on memory. */
#define ECERT_JAIL_BOUNDS_MEMORY 1
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#undef ECERT_JAIL_BOUNDS_MEMORY
#define ECERT_JAIL_BOUNDS_MEMORY 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)        \
    || __has_feature(memory_sanitizer)
#undef ECERT_JAIL_BOUNDS_MEMORY
#define ECERT_JAIL_BOUNDS_MEMORY 0
#endif
#endif

/* The child's only descriptor besides standard input, output and error. */
#define ECERT_JAIL_PIPE 3

typedef struct {
    int seconds;   /* of CPU; by the clock three times that */
    size_t memory; /* beyond what the process has at the fork */
    int network;   /* it keeps the network, and what resolving names needs */
} ecert_jail_limits_t;

/* ecert_jail_run with other limits. */
int ecert_jail_run_within(const ecert_jail_limits_t *limits,
                          int (*work)(void *ctx, ecert_frames_t *out,
                                      ecert_err_t *err),
                          void *ctx, const char *file, ecert_frames_t *out,
                          ecert_err_t *err);

typedef struct {
    ecert_jail_limits_t limits;
    const char *file;
    pid_t parent;
    int unlimited; /* no limits: it only forks those that have them */
    int change;    /* become this user */
    uid_t uid;
    gid_t gid;
} ecert_jail_t;

/*
 * In the child, whose ECERT_JAIL_PIPE is open: gives up everything else. SYSTEM
 * when something could not be given up.
 */
int ecert_jail_enter(const ecert_jail_t *jail, ecert_err_t *err);

/*
 * The answer as it goes through the pipe: per frame its kind, its length in
 * four bytes, its bytes; an error is a frame of kind 255; a frame of kind 0
 * without bytes ends it, so that a cut answer is noticed.
 */
#define ECERT_ANSWER_END    0
#define ECERT_ANSWER_ERROR  255
#define ECERT_ANSWER_HEADER 5
#define ECERT_ANSWER_MAX                                                       \
    (ECERT_JAIL_ANSWER + (ECERT_JAIL_FRAMES + 1) * ECERT_ANSWER_HEADER)

/* Writes the frames, or the error when frames is NULL. */
int ecert_answer_write(int fd, const ecert_frames_t *frames,
                       const ecert_err_t *err);

typedef enum {
    ECERT_ANSWER_FRAMES,
    ECERT_ANSWER_REFUSED, /* err is what the other side said */
    ECERT_ANSWER_BAD,     /* cut, malformed, too much */
    ECERT_ANSWER_FAILED   /* err: there is no memory on this side */
} ecert_answer_state_t;

/* Trusts nothing in bytes.  out is the caller's to free, whatever is returned.
 */
ecert_answer_state_t ecert_answer_read(const unsigned char *bytes, size_t len,
                                       ecert_frames_t *out, ecert_err_t *err);

#endif
