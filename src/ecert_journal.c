#include "ecert_journal.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/stat.h>

#include "ecert_entry.h"
#include "ecert_file.h"
#include "ecert_json.h"
#include "ecert_walk.h"

#define NAME  "log"
#define MAX   (64 * 1024 * 1024) /* bytes that are read of it */
#define LOOKS 5                  /* at a log that others append to meanwhile */

static const char *name_of(uid_t uid, char *out, size_t size)
{
    const struct passwd *user = getpwuid(uid);

    snprintf(out, size, "%s", user ? user->pw_name : "");
    if (user == NULL) {
        snprintf(out, size, "uid %u", (unsigned)uid);
    }
    return out;
}

/* The one who logged in, whatever he became with su or sudo since. */
static int login_uid(uid_t *uid)
{
    char text[16] = "";
    int fd = open("/proc/self/loginuid", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

    if (fd >= 0) {
        close(fd);
    }
    *uid = n > 0 ? (uid_t)strtoul(text, NULL, 10) : (uid_t)-1;
    return *uid != (uid_t)-1 ? 0 : -1;
}

static void set_user(json_t *entry)
{
    const char *sudo = getenv("SUDO_USER");
    char real[64], effective[64];
    uid_t uid;

    name_of(geteuid(), effective, sizeof(effective));
    if (login_uid(&uid) == 0) {
        name_of(uid, real, sizeof(real));
    } else if (sudo != NULL && sudo[0] != '\0' && geteuid() == 0) {
        snprintf(real, sizeof(real), "%.63s", sudo);
    } else {
        name_of(getuid(), real, sizeof(real));
    }
    ecert_json_set_text(entry, "user", real);
    if (strcmp(real, effective) != 0) {
        ecert_json_set_text(entry, "as", effective);
    }
}

/* A line that was cut off by a full disk must not swallow the next one. */
static int ends_cleanly(int fd, off_t size)
{
    char last = '\n';

    return size == 0 || (pread(fd, &last, 1, size - 1) == 1 && last == '\n');
}

static int append(int fd, const char *line, size_t len, const char *path,
                  ecert_err_t *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return ecert_err(err, ECERT_ERR_NOT_FILE, path, NULL);
    }
    if ((!ends_cleanly(fd, st.st_size) && ecert_entry_fill(fd, "\n", 1) != 0)
        || ecert_entry_fill(fd, line, len) != 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, path, "write to it");
    }
    return fsync(fd) == 0
               ? 0
               : ecert_err(err, ECERT_ERR_SYSTEM, path, "write it to the disk");
}

static int append_line(const char *store, const char *line, size_t len,
                       ecert_err_t *err)
{
    char path[PATH_MAX];
    ecert_walk_t walk;
    int rc = -1, fd;

    if (ecert_file_path(path, err, "%s/" NAME, store) != 0
        || ecert_walk(&walk, store, ECERT_WALK_FOLDER, NULL, err) != 0) {
        return -1;
    }
    fd = openat(walk.dir, NAME,
                O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK
                    | O_CLOEXEC,
                0600);
    if (fd < 0) {
        ecert_err(err, ECERT_ERR_SYSTEM, path, "open it");
    } else {
        rc = append(fd, line, len, path, err);
        close(fd);
    }
    if (rc == 0 && ecert_entry_sync(walk.dir) != 0) { /* it may be new */
        rc = ecert_err(err, ECERT_ERR_SYSTEM, path, "write it to the disk");
    }
    ecert_walk_end(&walk);
    return rc;
}

int ecert_journal_add(const char *store, const char *command, const char *site,
                      json_t *more, int64_t now, ecert_err_t *err)
{
    json_t *entry = json_object();
    char *text;
    size_t len;
    int rc;

    ecert_json_set_date(entry, "time", now);
    set_user(entry);
    ecert_json_set_text(entry, "command", command);
    ecert_json_set_text(entry, "site", site);
    json_object_update_missing(entry, more);
    json_decref(more);
    text = json_dumps(entry, JSON_COMPACT);
    json_decref(entry);
    if (text == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    len = strlen(text);
    text[len] = '\n'; /* in place of the terminator */
    rc = append_line(store, text, len + 1, err);
    free(text);
    return rc;
}

static int concerns(const json_t *entry, const char *site)
{
    const char *own = ecert_json_text(entry, "site");

    return json_is_object(entry)
           && (site == NULL || (own != NULL && strcmp(own, site) == 0));
}

static void take_lines(json_t *list, const char *text, size_t len,
                       const char *site)
{
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t n = end ? (size_t)(end - text) : len;
        json_t *entry = json_loadb(text, n, 0, NULL);

        if (concerns(entry, site)) {
            json_array_append(list, entry);
        }
        json_decref(entry);
        n += end != NULL;
        text += n;
        len -= n;
    }
}

/* Who only looks takes no lock, so that a line may come while it is read. */
static int read_log(const char *store, ecert_file_t *file, ecert_err_t *err)
{
    char path[PATH_MAX];
    int rc = ecert_file_path(path, err, "%s/" NAME, store);

    for (int i = 0; rc == 0 && i < LOOKS; i++) {
        if (ecert_file_read(path, MAX, NULL, file, err) == 0) {
            return 0;
        }
        if (err->code != ECERT_ERR_CHANGING) {
            return -1;
        }
    }
    return -1;
}

json_t *ecert_journal_read(const char *store, const char *site,
                           ecert_err_t *err)
{
    json_t *list = json_array();
    ecert_file_t file;

    if (list == NULL) {
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    } else if (read_log(store, &file, err) == 0) {
        take_lines(list, (const char *)file.bytes, file.len, site);
        ecert_file_free(&file);
    } else if (err->code != ECERT_ERR_MISSING && err->code != ECERT_ERR_EMPTY) {
        json_decref(list);
        return NULL;
    }
    return list;
}
