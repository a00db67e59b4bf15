/*
 * Files that a person names at the command line.  They may lie anywhere and be
 * anybody's, but root opens what was named, and nothing that somebody else lets
 * the name lead to.
 */

#ifndef ECERT_GIVEN_H
#define ECERT_GIVEN_H

#include <sys/stat.h>

#include "ecert_err.h"

/*
 * Opens a regular file for reading, along a path as ecert_walk_given has it;
 * *st is of what was opened.  /dev/stdin, /dev/fd/N and /proc/self/fd/N are
 * what the command was started with (a pipe, say), as it stands.  Returns the
 * descriptor; -1: MISSING, UNREADABLE, UNSAFE (also a file with several names
 * where somebody else can have made this one), NOT_FILE without waiting,
 * CHANGING, SYSTEM.
 */
int ecert_given_open(const char *path, struct stat *st, ecert_err_t *err);

/* The folder of this path, O_PATH; -1 as above. */
int ecert_given_folder(const char *path, ecert_err_t *err);

#endif
