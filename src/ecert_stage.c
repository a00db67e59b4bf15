#include "ecert_stage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "ecert_csr.h"
#include "ecert_entry.h"
#include "ecert_file.h"
#include "ecert_json.h"
#include "ecert_walk.h"

#define PREFIX ".stage-"
#define DIGITS "0123456789abcdef"
#define NAME   (sizeof(PREFIX) + 8) /* bytes of a name, with its terminator */

static int failed(const char *path, const char *doing, ecert_err_t *err)
{
    return ecert_err(err, ECERT_ERR_SYSTEM, path, "%s", doing);
}

/* The folder to work in: checked as every path of the store is. */
static int enter(ecert_walk_t *walk, const char *folder, ecert_err_t *err)
{
    return ecert_walk(walk, folder, ECERT_WALK_FOLDER, NULL, err);
}

static int stage_name(char out[NAME])
{
    char random[9];

    if (ecert_entry_random(random) != 0) {
        return -1;
    }
    snprintf(out, NAME, PREFIX "%s", random);
    return 0;
}

static int is_stage_name(const char *name)
{
    return strlen(name) == NAME - 1
           && strncmp(name, PREFIX, sizeof(PREFIX) - 1) == 0
           && strspn(name + sizeof(PREFIX) - 1, DIGITS) == 8;
}

static const char *own_name(const ecert_stage_t *stage)
{
    return strrchr(stage->path, '/') + 1;
}

/* ---- a folder ---------------------------------------------------------- */

static int make_folder(int dir, char name[NAME])
{
    for (int i = 0; i < ECERT_ENTRY_TRIES; i++) {
        if (stage_name(name) != 0) {
            return -1;
        }
        if (mkdirat(dir, name, 0700) == 0) {
            return 0;
        }
        if (errno != EEXIST) {
            return -1;
        }
    }
    return -1;
}

int ecert_stage_begin(ecert_stage_t *stage, const char *parent,
                      ecert_err_t *err)
{
    char name[NAME];
    ecert_walk_t walk;
    int rc;

    stage->path[0] = '\0';
    if (ecert_file_path(stage->parent, err, "%s", parent) != 0
        || enter(&walk, parent, err) != 0) {
        return -1;
    }
    rc = make_folder(walk.dir, name);
    if (rc != 0) {
        failed(parent, "make a new folder in it", err);
    } else {
        rc = ecert_file_path(stage->path, err, "%s/%s", parent, name);
        if (rc != 0) {
            ecert_entry_remove(walk.dir, name);
        }
    }
    ecert_walk_end(&walk);
    return rc;
}

int ecert_stage_put(const ecert_stage_t *stage, const char *name,
                    const void *bytes, size_t len, mode_t mode,
                    ecert_err_t *err)
{
    char path[PATH_MAX];

    return ecert_file_path(path, err, "%s/%s", stage->path, name) == 0
               ? ecert_file_write(path, bytes, len, mode, err)
               : -1;
}

int ecert_stage_put_key(const ecert_stage_t *stage, EVP_PKEY *key,
                        ecert_err_t *err)
{
    char *pem;
    size_t len;
    int rc;

    if (ecert_key_pem(key, &pem, &len, err) != 0) {
        return -1;
    }
    rc = ecert_stage_put(stage, "key.pem", pem, len, 0600, err);
    OPENSSL_clear_free(pem, len + 1);
    return rc;
}

int ecert_stage_put_json(const ecert_stage_t *stage, const char *name,
                         const json_t *json, ecert_err_t *err)
{
    char path[PATH_MAX];

    return ecert_file_path(path, err, "%s/%s", stage->path, name) == 0
               ? ecert_json_write(path, json, 0600, err)
               : -1;
}

static int not_moved(const ecert_stage_t *stage, const char *name,
                     ecert_err_t *err)
{
    char path[PATH_MAX];

    if (errno != EEXIST && errno != ENOTEMPTY) {
        return failed(stage->parent, "put the new folder in its place", err);
    }
    return ecert_file_path(path, err, "%s/%s", stage->parent, name) == 0
               ? ecert_err(err, ECERT_ERR_EXISTS, path, NULL)
               : -1;
}

int ecert_stage_commit(ecert_stage_t *stage, const char *name, ecert_err_t *err)
{
    ecert_walk_t walk;
    int rc;

    if (enter(&walk, stage->parent, err) != 0) {
        return -1;
    }
    rc = ecert_entry_move(walk.dir, own_name(stage), walk.dir, name);
    if (rc != 0) {
        not_moved(stage, name, err);
    } else {
        stage->path[0] = '\0';
        if (ecert_entry_sync(walk.dir) != 0) {
            rc = failed(stage->parent, "write the folder to the disk", err);
        }
    }
    ecert_walk_end(&walk);
    return rc;
}

void ecert_stage_drop(ecert_stage_t *stage)
{
    ecert_walk_t walk;
    ecert_err_t ignored;

    if (stage->path[0] == '\0' || enter(&walk, stage->parent, &ignored) != 0) {
        return;
    }
    ecert_entry_remove(walk.dir, own_name(stage));
    stage->path[0] = '\0';
    ecert_walk_end(&walk);
}

/* ---- a link ------------------------------------------------------------ */

static int swap_link(int dir, const char *name, const char *target)
{
    char new[NAME];

    for (int i = 0; i < ECERT_ENTRY_TRIES; i++) {
        if (stage_name(new) != 0) {
            return -1;
        }
        if (symlinkat(target, dir, new) == 0) {
            int sys, rc = renameat(dir, new, dir, name);

            sys = errno;
            if (rc != 0) {
                unlinkat(dir, new, 0);
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
    char path[PATH_MAX];
    ecert_walk_t walk;
    int rc;

    if (ecert_file_path(path, err, "%s/%s", folder, name) != 0
        || enter(&walk, folder, err) != 0) {
        return -1;
    }
    rc = swap_link(walk.dir, name, target);
    if (rc != 0) {
        failed(path, "make the link", err);
    } else if (ecert_entry_sync(walk.dir) != 0) {
        rc = failed(path, "write the folder to the disk", err);
    }
    ecert_walk_end(&walk);
    return rc;
}

/* ---- away with it ------------------------------------------------------ */

static int take_away(int dir, const char *name)
{
    char old[NAME];

    if (stage_name(old) != 0) {
        return -1;
    }
    if (renameat(dir, name, dir, old) != 0) {
        return errno == ENOENT ? 0 : -1;
    }
    return ecert_entry_remove(dir, old) == 0 ? ecert_entry_sync(dir) : -1;
}

int ecert_stage_remove(const char *parent, const char *name, ecert_err_t *err)
{
    char path[PATH_MAX];
    ecert_walk_t walk;
    int rc;

    if (ecert_file_path(path, err, "%s/%s", parent, name) != 0) {
        return -1;
    }
    if (enter(&walk, parent, err) != 0) {
        return err->code == ECERT_ERR_MISSING ? 0 : -1;
    }
    rc = take_away(walk.dir, name);
    if (rc != 0) {
        failed(path, "remove it", err);
    }
    ecert_walk_end(&walk);
    return rc;
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
    if (fd >= 0 && list == NULL) {
        close(fd);
    }
    while (list != NULL && (entry = readdir(list)) != NULL) {
        const char *name = entry->d_name;

        if (is_stage_name(name)) {
            ecert_entry_remove(walk.dir, name);
        } else if (ecert_entry_is_temporary(name)) {
            unlinkat(walk.dir, name, 0);
        }
    }
    if (list != NULL) {
        closedir(list);
    }
    ecert_walk_end(&walk);
}
