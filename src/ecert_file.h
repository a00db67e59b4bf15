/*
 * Files that a privileged process may touch: read once through one descriptor,
 * along a path that nobody else can bend; written whole or not at all.
 */

#ifndef ECERT_FILE_H
#define ECERT_FILE_H

#include <stddef.h>
#include <stdint.h>

#include <sys/stat.h>
#include <sys/types.h>

#include "ecert_err.h"

#define ECERT_FILE_MAX (1024 * 1024) /* bytes of one file */

/*
 * Everything that a look at some files depended on: the folders on the way
 * (watch these), and a digest of what was seen (device, inode, size, times of
 * each file; "not there" and other failures count, too).  Two looks with equal
 * digests saw the same files.  A read of a file that was changed in the last
 * 100 ms, or while it was read, gives a digest that equals no other.
 */
typedef struct {
    char **dirs; /* absolute, each once */
    size_t n_dirs;
    uint64_t *hashes; /* of dirs, to find doubles quickly */
    int narrow;       /* leave out the folder above a file's own */
    uint64_t digest;
} ecert_trail_t;

void ecert_trail_init(ecert_trail_t *trail);
void ecert_trail_free(ecert_trail_t *trail);

typedef struct {
    unsigned char *bytes; /* len bytes and a terminator */
    size_t len;
    struct stat st;
} ecert_file_t;

/*
 * Reads an absolute path.  Each component is opened by itself: a symbolic link
 * is followed (40 at most) and every folder on the way must belong to root or
 * to this user and be writable by nobody else (a sticky folder such as /tmp
 * passes when the entry in it is root's or ours; for another user than root,
 * its own groups and root's may write); UNSAFE names the folder.
 * FIFOs, devices and folders: NOT_FILE, without waiting.  MISSING, UNREADABLE,
 * TOO_LARGE (over max), EMPTY, CHANGING (changed while it was read).
 * trail may be NULL; it is added to on failure, too.
 */
int ecert_file_read(const char *path, size_t max, ecert_trail_t *trail,
                    ecert_file_t *file, ecert_err_t *err);
void ecert_file_free(ecert_file_t *file); /* wipes */

/* The same walk and digest without reading: 0, or -1 as above. */
int ecert_file_look(const char *path, ecert_trail_t *trail, ecert_err_t *err);

/*
 * The names in a folder, sorted, without "." and ".." and dot files; n at most
 * max (TOO_MANY).  The folder's walk is as above.  *names: ecert_names_free.
 */
int ecert_file_list(const char *path, size_t max, ecert_trail_t *trail,
                    char ***names, size_t *n, ecert_err_t *err);
void ecert_names_free(char **names, size_t n);

/* A copy of names that are somebody else's, the caller's also on failure: 0, or
 * -1 and MEMORY.  *copies is NULL before. */
int ecert_names_copy(char *const *names, size_t n, char ***copies,
                     size_t *n_copies, ecert_err_t *err);

/*
 * Writes a temporary file beside it, sets mode on the open file, fsync, rename,
 * fsync of the folder.  The old content or the new, never a mixture.  A link of
 * this name is replaced, not followed.  Errors of the walk to the folder, and
 * SYSTEM.
 */
int ecert_file_write(const char *path, const void *bytes, size_t len,
                     mode_t mode, ecert_err_t *err);

/* mkdir, one level, with this mode, on the disk when this returns; already
 * there is fine. */
int ecert_file_folder(const char *path, mode_t mode, ecert_err_t *err);

/* Writes a path into out (PATH_MAX bytes).  One that is cut off would be that
 * of another file: SYSTEM, and out is "". */
int ecert_file_path(char *out, ecert_err_t *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
