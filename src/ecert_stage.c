#include "ecert_stage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/random.h>
#include <sys/stat.h>

#include "ecert_file.h"
#include "ecert_walk.h"

#define PREFIX ".stage-"
#define TRIES  16

static int failed(const char *path, const char *doing, ecert_err_t *err)
{
    return ecert_err(err, ECERT_ERR_SYSTEM, path, "%s", doing);
}

static int random_name(char *out, size_t size)
{
    unsigned char bytes[4];

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
        return -1;
    }
    snprintf(out, size, PREFIX "%02x%02x%02x%02x", bytes[0], bytes[1], bytes[2],
             bytes[3]);
    return 0;
}

/* The folder to work in: checked as every path of the store is. */
static int enter(ecert_walk_t *walk, const char *folder, ecert_err_t *err)
{
    return ecert_walk(walk, folder, ECERT_WALK_FOLDER, NULL, err);
}

static int sync_folder(int dir)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL) ? 0 : -1;
    int sys = errno;

    if (fd >= 0) {
        close(fd);
    }
    errno = sys;
    return rc;
}

int ecert_stage_begin(ecert_stage_t *stage, const char *parent,
                      ecert_err_t *err)
{
    char name[32] = "";
    ecert_walk_t walk;
    int rc = -1;

    stage->path[0] = '\0';
    snprintf(stage->parent, sizeof(stage->parent), "%s", parent);
    if (enter(&walk, parent, err) != 0) {
        return -1;
    }
    for (int i = 0; i < TRIES && rc != 0; i++) {
        rc = random_name(name, sizeof(name)) == 0
                 ? mkdirat(walk.dir, name, 0700)
                 : -1;
        if (rc != 0 && errno != EEXIST) {
            break;
        }
    }
    if (rc != 0) {
        failed(parent, "make a new folder in it", err);
    } else {
        snprintf(stage->path, sizeof(stage->path), "%.4000s/%s", parent, name);
    }
    ecert_walk_end(&walk);
    return rc;
}

int ecert_stage_put(const ecert_stage_t *stage, const char *name,
                    const void *bytes, size_t len, mode_t mode,
                    ecert_err_t *err)
{
    char path[PATH_MAX + NAME_MAX + 2];

    snprintf(path, sizeof(path), "%s/%s", stage->path, name);
    return ecert_file_write(path, bytes, len, mode, err);
}

/* Some file systems know no RENAME_NOREPLACE: an empty folder made first is
 * replaced then, and one with something in it refuses. */
static int rename_new(int dir, const char *from, const char *to)
{
    struct stat st;

    if (renameat2(dir, from, dir, to, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return -1;
    }
    if (fstatat(dir, to, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EEXIST;
        return -1;
    }
    return renameat(dir, from, dir, to);
}

int ecert_stage_commit(ecert_stage_t *stage, const char *name, ecert_err_t *err)
{
    const char *own = strrchr(stage->path, '/') + 1;
    ecert_walk_t walk;
    int rc;

    if (enter(&walk, stage->parent, err) != 0) {
        return -1;
    }
    rc = rename_new(walk.dir, own, name);
    if (rc != 0 && errno == EEXIST) {
        char path[PATH_MAX + NAME_MAX + 2];

        snprintf(path, sizeof(path), "%s/%s", stage->parent, name);
        ecert_err(err, ECERT_ERR_EXISTS, path, NULL);
    } else if (rc != 0) {
        failed(stage->parent, "put the new folder in its place", err);
    } else {
        stage->path[0] = '\0';
        if (sync_folder(walk.dir) != 0) {
            rc = failed(stage->parent, "write the folder to the disk", err);
        }
    }
    ecert_walk_end(&walk);
    return rc;
}

/* Files and links of a folder of ours, then itself; folders in it stay. */
static int remove_folder(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;

    if (list == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    while ((entry = readdir(list)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0
            && strcmp(entry->d_name, "..") != 0) {
            unlinkat(fd, entry->d_name, 0);
        }
    }
    closedir(list);
    return unlinkat(dir, name, AT_REMOVEDIR);
}

void ecert_stage_drop(ecert_stage_t *stage)
{
    ecert_walk_t walk;
    ecert_err_t ignored;

    if (stage->path[0] == '\0' || enter(&walk, stage->parent, &ignored) != 0) {
        return;
    }
    remove_folder(walk.dir, strrchr(stage->path, '/') + 1);
    stage->path[0] = '\0';
    ecert_walk_end(&walk);
}

static int swap_link(const ecert_walk_t *walk, const char *name,
                     const char *target)
{
    char new[32];

    for (int i = 0; i < TRIES; i++) {
        if (random_name(new, sizeof(new)) != 0) {
            return -1;
        }
        if (symlinkat(target, walk->dir, new) == 0) {
            int sys, rc = renameat(walk->dir, new, walk->dir, name);

            sys = errno;
            if (rc != 0) {
                unlinkat(walk->dir, new, 0);
            }
            errno = sys;
            return rc;
        }
        if (errno != EEXIST) {
            return -1;
        }
    }
    return -1;
}

int ecert_stage_link(const char *folder, const char *name, const char *target,
                     ecert_err_t *err)
{
    char path[PATH_MAX + NAME_MAX + 2];
    ecert_walk_t walk;
    int rc;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (enter(&walk, folder, err) != 0) {
        return -1;
    }
    rc = swap_link(&walk, name, target);
    if (rc != 0) {
        failed(path, "make the link", err);
    } else if (sync_folder(walk.dir) != 0) {
        rc = failed(path, "write the folder to the disk", err);
    }
    ecert_walk_end(&walk);
    return rc;
}

int ecert_stage_remove(const char *parent, const char *name, ecert_err_t *err)
{
    char old[32];
    ecert_walk_t walk;
    int rc;

    if (enter(&walk, parent, err) != 0) {
        return err->code == ECERT_ERR_MISSING ? 0 : -1;
    }
    rc = random_name(old, sizeof(old)) == 0
             ? renameat(walk.dir, name, walk.dir, old)
             : -1;
    if (rc != 0 && errno == ENOENT) {
        rc = 0;
    } else if (rc == 0) {
        rc = remove_folder(walk.dir, old);
    }
    if (rc != 0 || sync_folder(walk.dir) != 0) {
        char path[PATH_MAX + NAME_MAX + 2];

        snprintf(path, sizeof(path), "%s/%s", parent, name);
        rc = failed(path, "remove it", err);
    }
    ecert_walk_end(&walk);
    return rc;
}

/* What ecert_file_write leaves: .NAME.XXXXXX, six signs of its own. */
static int is_temporary(const char *name)
{
    size_t len = strlen(name);

    return len > 8 && name[0] == '.' && name[len - 7] == '.'
           && strspn(name + len - 6, "abcdefghijklmnopqrstuvwxyz012345") == 6;
}

void ecert_stage_sweep(const char *folder)
{
    ecert_walk_t walk;
    ecert_err_t ignored;
    struct dirent *entry;
    DIR *list;
    int fd;

    if (enter(&walk, folder, &ignored) != 0) {
        return;
    }
    fd = openat(walk.dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    list = fd >= 0 ? fdopendir(fd) : NULL;
    while (list != NULL && (entry = readdir(list)) != NULL) {
        const char *name = entry->d_name;

        if (strncmp(name, PREFIX, sizeof(PREFIX) - 1) == 0) {
            if (unlinkat(walk.dir, name, 0) != 0) {
                remove_folder(walk.dir, name);
            }
        } else if (is_temporary(name)) {
            unlinkat(walk.dir, name, 0);
        }
    }
    if (list != NULL) {
        closedir(list);
    }
    ecert_walk_end(&walk);
}
