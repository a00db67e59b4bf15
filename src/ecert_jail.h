/*
 * Work on bytes that a stranger may have made, in a process of its own: another
 * user where this one is root, no network, no files, little time and memory.
 * What comes back is framed and bounded, and the caller checks it again.
 */

#ifndef ECERT_JAIL_H
#define ECERT_JAIL_H

#include <stddef.h>

#include "ecert_err.h"

#define ECERT_JAIL_SECONDS 10 /* of CPU; by the clock three times that */
#define ECERT_JAIL_MEMORY  (256 * 1024 * 1024)
#define ECERT_JAIL_ANSWER  (2 * 1024 * 1024) /* bytes that may come back */
#define ECERT_JAIL_FRAMES  128

/* Exit status with which a child says that it got no memory: LIMITS. */
#define ECERT_JAIL_NO_MEMORY 4

typedef struct {
    unsigned char kind; /* the work's own; 1 to 254 */
    unsigned char *bytes;
    size_t len;
} ecert_frame_t;

typedef struct {
    ecert_frame_t *frames;
    size_t n;
} ecert_frames_t;

/* Adds a copy; TOO_LARGE or TOO_MANY beyond the bounds above. */
int ecert_frames_add(ecert_frames_t *frames, unsigned char kind,
                     const void *bytes, size_t len, ecert_err_t *err);
void ecert_frames_free(ecert_frames_t *frames); /* wipes */

/*
 * Text out of a frame: as ecert_escape, but what is escaped already stays as it
 * is.  Returns out.
 */
char *ecert_frame_text(char *out, size_t size, const char *bytes, size_t len);

/*
 * Forks; the child gives up everything and calls work(ctx, out, err).  After 0
 * its frames are in out (ecert_frames_free); after -1 err is what the child
 * said, or LIMITS when it was ended for time or memory or by a crash, DAMAGED
 * when its answer makes no sense, or SYSTEM.  file is named in the errors made
 * here.  The child inherits memory, so that ctx may point to whatever the work
 * needs (bytes, a password).
 */
int ecert_jail_run(int (*work)(void *ctx, ecert_frames_t *out,
                               ecert_err_t *err),
                   void *ctx, const char *file, ecert_frames_t *out,
                   ecert_err_t *err);

/* One of several pieces of the same work. */
typedef struct {
    void *ctx;
    const char *file;
    int rc; /* from here on as ecert_jail_run leaves it */
    ecert_frames_t frames;
    ecert_err_t err;
} ecert_jail_job_t;

#define ECERT_JAIL_AT_ONCE 8

/*
 * For work that needs the network, each in a jail of its own, a few at a time.
 * done (may be NULL) is called after each; the frames are the caller's then.
 */
void ecert_jail_run_each(int (*work)(void *ctx, ecert_frames_t *out,
                                     ecert_err_t *err),
                         ecert_jail_job_t *jobs, size_t n,
                         void (*done)(void *ctx, size_t i), void *ctx);

/* One that needs the network: it alone is left. */
int ecert_jail_run_outside(int (*work)(void *ctx, ecert_frames_t *out,
                                       ecert_err_t *err),
                           void *ctx, const char *file, ecert_frames_t *out,
                           ecert_err_t *err);

#endif
