/*
 * Entries of a folder that is held open: the steps of which changes that are
 * seen whole or not at all are made.  Failures are told by errno.
 */

#ifndef ECERT_ENTRY_H
#define ECERT_ENTRY_H

#include <limits.h>
#include <stddef.h>

#define ECERT_ENTRY_TRIES 16 /* names, before a folder is given up */

/* Eight random hex digits and a terminator: 0, or -1. */
int ecert_entry_random(char out[9]);

/*
 * Makes .NAME.ecert-XXXXXXXX, mode 0600, and puts its name into out: the
 * descriptor to close, or -1.  Readers of the store pass over it, and no other
 * program calls its own like this (rsync: .NAME.XXXXXX).
 */
int ecert_entry_temporary(int dir, const char *name, char out[NAME_MAX + 1]);

/* 1 when the name is one that ecert_entry_temporary makes. */
int ecert_entry_is_temporary(const char *name);

/* write(2) until all is written: 0, or -1. */
int ecert_entry_fill(int fd, const void *bytes, size_t len);

/* Renames a file or folder; never over something: EEXIST. */
int ecert_entry_move(int from, const char *old, int to, const char *new);

/* Removes a file, a link, or a folder with the files in it; -1 and ENOTEMPTY
 * when there are folders in that, which stay. */
int ecert_entry_remove(int dir, const char *name);

/* What was changed in the folder goes to the disk; dir may be O_PATH. */
int ecert_entry_sync(int dir);

#endif
