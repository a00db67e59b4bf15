/*
 * The walk along a path, component by component, so that no step of it can be
 * bent by somebody else.  The ground under ecert_file.c.
 */

#ifndef ECERT_WALK_H
#define ECERT_WALK_H

#include <limits.h>
#include <sys/stat.h>

#include "ecert_err.h"
#include "ecert_file.h"

#define ECERT_WALK_LINKS 40

typedef enum {
    ECERT_WALK_ENTRY,  /* whatever the path leads to */
    ECERT_WALK_FOLDER, /* that must be a folder, checked like those before it */
    ECERT_WALK_LINK    /* as ENTRY, but a link in the end is not followed */
} ecert_walk_want_t;

typedef struct {
    const char *path;     /* as asked for; stays the caller's */
    ecert_trail_t *trail; /* may be NULL */
    ecert_walk_want_t want;
    int dir;                 /* the folder reached: opened with O_PATH */
    int entry;               /* what is in it, O_PATH; -1: the folder itself */
    struct stat st;          /* of the entry, or of the folder itself */
    char name[NAME_MAX + 1]; /* the entry's name in dir */
    char real[PATH_MAX];     /* where dir is, without links; "" for "/" */
    char rest[PATH_MAX];     /* what is still to be walked */
    uid_t uid;
    int links;
    int shared; /* others may make entries in dir (sticky) */
    int parent_shared;
    int given; /* see ecert_walk_given */
} ecert_walk_t;

/*
 * Walks an absolute path; the rules are those of ecert_file_read.  After 0 the
 * caller ends the walk; after -1 there is nothing to end.  The folders on the
 * way go to the trail, and after a failure its code does, too; what is said
 * about the entry is for the caller to add.
 */
int ecert_walk(ecert_walk_t *walk, const char *path, ecert_walk_want_t want,
               ecert_trail_t *trail, ecert_err_t *err);
void ecert_walk_end(ecert_walk_t *walk);

/*
 * The walk along a path that a person gave at the command line, also a relative
 * one.  It may lead through anybody's folders, but a link is followed only when
 * it is root's or this user's, and a link of /proc that stands for an open file
 * (/proc/N/fd/N, /proc/N/root) never: UNSAFE.
 */
int ecert_walk_given(ecert_walk_t *walk, const char *path,
                     ecert_walk_want_t want, ecert_err_t *err);

/* 0 when st is a regular file that nobody but those of ecert_file_read can
 * change. */
int ecert_walk_file(const ecert_walk_t *walk, const struct stat *st,
                    ecert_err_t *err);

/* 0 when st is a regular file; else NOT_FILE, which names what it is. */
int ecert_walk_regular(const ecert_walk_t *walk, const struct stat *st,
                       ecert_err_t *err);

/*
 * The folder that holds path's last component, and that component in
 * walk->name, which need not be there.  USAGE when it has none.
 */
int ecert_walk_parent(ecert_walk_t *walk, const char *path, ecert_err_t *err);

#endif
