#include "ecert_door.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ecert_entry.h"
#include "ecert_fd.h"
#include "ecert_file.h"
#include "ecert_walk.h"

#define SUFFIX      ".sock"
#define LOCK_SUFFIX ".lock"
#define BACKLOG     8
#define ANSWER_MAX  (64 * 1024 * 1024)

/*
 * An address for name in the folder, however long the folder's path is: through
 * the descriptor.
 */
static void address_of(int folder, const char *name,
                       struct sockaddr_un *address)
{
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    snprintf(address->sun_path, sizeof(address->sun_path),
             "/proc/self/fd/%d/%.64s", folder, name);
}

static int connect_to(int folder, const char *name)
{
    struct sockaddr_un address;
    int saved,
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    address_of(folder, name, &address);
    if (fd >= 0
        && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        saved = errno;
        close(fd);
        errno = saved;
        fd = -1;
    }
    return fd;
}

/* PID-RANDOM.sock, or PID.sock as versions before had it: the folder may have
 * sockets of others. */
int ecert_door_is(const char *name)
{
    size_t digits = strspn(name, "0123456789");
    const char *rest = name + digits;

    if (rest[0] == '-' && strspn(rest + 1, "0123456789abcdef") == 8) {
        rest += 9;
    }
    return digits > 0 && strcmp(rest, SUFFIX) == 0;
}

/* Of NAME.sock: .NAME.lock */
static void lock_of(const char *name, char out[NAME_MAX + 1])
{
    snprintf(out, NAME_MAX + 1, ".%.*s" LOCK_SUFFIX,
             (int)(strlen(name) - strlen(SUFFIX)), name);
}

/* Whether an agent that made this socket lives, perhaps elsewhere.  What cannot
 * be told is taken for yes. */
static int is_held(int folder, const char *name)
{
    char lock[NAME_MAX + 1];
    int fd, held;

    lock_of(name, lock);
    fd = openat(folder, lock,
                O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) {
        return errno != ENOENT;
    }
    held = flock(fd, LOCK_EX | LOCK_NB) != 0;
    close(fd);
    return held;
}

static void remove_pair(int folder, const char *name)
{
    char lock[NAME_MAX + 1];

    lock_of(name, lock);
    unlinkat(folder, name, 0);
    unlinkat(folder, lock, 0);
}

static void remove_dead(int folder, const char *run)
{
    ecert_err_t err;
    char **names;
    size_t n, i;
    int fd;

    if (ecert_file_list(run, 1000, NULL, &names, &n, &err) != 0) {
        return;
    }
    for (i = 0; i < n; i++) {
        if (!ecert_door_is(names[i])) {
            continue;
        }
        fd = connect_to(folder, names[i]);
        if (fd >= 0) {
            close(fd);
        } else if (errno == ECONNREFUSED && !is_held(folder, names[i])) {
            remove_pair(folder, names[i]);
        }
    }
    ecert_names_free(names, n);
}

static int failed(const char *path, ecert_err_t *err)
{
    return ecert_err(err, ECERT_ERR_SYSTEM, path,
                     "cannot make the status socket");
}

/* Before the socket is there: without it, it would look dead. */
static int lock_file(int folder, const char *name)
{
    char lock[NAME_MAX + 1];
    int fd;

    lock_of(name, lock);
    fd = openat(folder, lock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        flock(fd, LOCK_EX | LOCK_NB); /* where there are locks */
    }
    return fd;
}

/*
 * Bound under a hidden name first: between bind and listen it would look dead
 * to another agent that clears up.
 */
static int listen_at(ecert_door_t *door, int folder, const char *name)
{
    struct sockaddr_un address;
    char hidden[NAME_MAX + 1];
    struct stat st;
    int ok;

    snprintf(hidden, sizeof(hidden), ".%s", name);
    address_of(folder, hidden, &address);
    door->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (door->fd < 0
        || bind(door->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        return -1;
    }
    ok = fchmodat(folder, hidden, 0600, 0) == 0
         && listen(door->fd, BACKLOG) == 0
         && fstatat(folder, hidden, &st, AT_SYMLINK_NOFOLLOW) == 0
         && ecert_entry_move(folder, hidden, folder, name) == 0;
    if (!ok) {
        int saved = errno;

        unlinkat(folder, hidden, 0);
        errno = saved;
        return -1;
    }
    door->dev = st.st_dev;
    door->ino = st.st_ino;
    return 0;
}

static int make(ecert_door_t *door, int folder, const char *name)
{
    int saved;

    door->lock = lock_file(folder, name);
    if (door->lock >= 0 && listen_at(door, folder, name) == 0) {
        return 0;
    }
    saved = errno;
    if (door->fd >= 0) {
        close(door->fd);
    }
    if (door->lock >= 0) {
        close(door->lock);
        remove_pair(folder, name);
    }
    door->fd = door->lock = -1;
    errno = saved;
    return -1;
}

int ecert_door_open(ecert_door_t *door, const char *run, ecert_err_t *err)
{
    char name[64], random[9];
    ecert_walk_t walk;
    int rc;

    door->fd = door->lock = -1;
    if (ecert_entry_random(random) != 0) {
        return failed(run, err);
    }
    snprintf(name, sizeof(name), "%ld-%s" SUFFIX, (long)getpid(), random);
    if (ecert_file_path(door->path, err, "%s/%s", run, name) != 0
        || ecert_file_folder(run, 0700, err) != 0
        || ecert_walk(&walk, run, ECERT_WALK_FOLDER, NULL, err) != 0) {
        return -1;
    }
    remove_dead(walk.dir, run);
    rc = make(door, walk.dir, name) == 0 ? 0 : failed(door->path, err);
    ecert_walk_end(&walk);
    return rc;
}

static int is_ours(const ecert_door_t *door, const ecert_walk_t *walk)
{
    struct stat st;

    return fstatat(walk->dir, walk->name, &st, AT_SYMLINK_NOFOLLOW) == 0
           && st.st_dev == door->dev && st.st_ino == door->ino;
}

int ecert_door_is_there(const ecert_door_t *door)
{
    ecert_walk_t walk;
    ecert_err_t err;
    int rc;

    if (door->fd < 0 || ecert_walk_parent(&walk, door->path, &err) != 0) {
        return 0;
    }
    rc = is_ours(door, &walk);
    ecert_walk_end(&walk);
    return rc;
}

void ecert_door_close(ecert_door_t *door)
{
    ecert_walk_t walk;
    ecert_err_t err;

    if (door->fd < 0) {
        return;
    }
    if (ecert_walk_parent(&walk, door->path, &err) == 0) {
        if (is_ours(door, &walk)) {
            remove_pair(walk.dir, walk.name);
        }
        ecert_walk_end(&walk);
    }
    close(door->fd);
    close(door->lock);
    door->fd = door->lock = -1;
}

static int may_ask(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0
           && (peer.uid == 0 || peer.uid == geteuid());
}

static int to_memory(const char *text)
{
    int fd = memfd_create("ecert-status", MFD_CLOEXEC);
    size_t len = strlen(text), done = 0;
    ssize_t n;

    while (fd >= 0 && done < len) {
        n = write(fd, text + done, len - done);
        if (n < 0 && errno != EINTR) {
            close(fd);
            return -1;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return fd;
}

int ecert_door_answer(const ecert_door_t *door, char *(*describe)(void *ctx),
                      void *ctx)
{
    int fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    char *text;
    int memory;

    if (fd < 0) {
        return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? 0
                                                                          : -1;
    }
    text = may_ask(fd) ? describe(ctx) : NULL;
    memory = text ? to_memory(text) : -1;
    if (memory >= 0) {
        ecert_fd_send(fd, "R", 1, memory); /* unless it has left meanwhile */
        close(memory);
    }
    free(text);
    close(fd);
    return 0;
}

static char *read_memory(int fd)
{
    struct stat st;
    char *text;

    if (fstat(fd, &st) != 0 || st.st_size > ANSWER_MAX) {
        return NULL;
    }
    text = calloc(1, (size_t)st.st_size + 1);
    if (text != NULL
        && pread(fd, text, (size_t)st.st_size, 0) != (ssize_t)st.st_size) {
        free(text);
        return NULL;
    }
    return text;
}

/* In a sticky folder anybody can make one, and say what he likes. */
static int is_foreign(const ecert_walk_t *walk)
{
    struct stat st;

    return walk->shared
           && fstatat(walk->dir, walk->name, &st, AT_SYMLINK_NOFOLLOW) == 0
           && st.st_uid != 0 && st.st_uid != walk->uid;
}

static int ask_at(const char *path, ecert_door_state_t *state, ecert_err_t *err)
{
    ecert_walk_t walk;
    int fd = -1;

    if (ecert_walk_parent(&walk, path, err) != 0) {
        *state =
            err->code == ECERT_ERR_MISSING ? ECERT_DOOR_DEAD : ECERT_DOOR_LIVES;
        return -1;
    }
    *state = ECERT_DOOR_LIVES;
    if (is_foreign(&walk)) {
        *state = ECERT_DOOR_FOREIGN;
        ecert_err(err, ECERT_ERR_UNSAFE, path, "somebody else made it");
    } else if ((fd = connect_to(walk.dir, walk.name)) < 0) {
        int sys = errno;

        ecert_err_errno(err, path, "cannot ask the agent");
        if (sys == ENOENT) {
            *state = ECERT_DOOR_DEAD;
        } else if (sys == ECONNREFUSED) {
            *state = is_held(walk.dir, walk.name) ? ECERT_DOOR_ELSEWHERE
                                                  : ECERT_DOOR_DEAD;
        }
    }
    ecert_walk_end(&walk);
    return fd;
}

char *ecert_door_ask(const char *path, int seconds, ecert_door_state_t *state,
                     ecert_err_t *err)
{
    int fd = ask_at(path, state, err), memory;
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    char *text = NULL, byte;

    if (fd < 0) {
        return NULL;
    }
    if (poll(&pfd, 1, seconds * 1000) > 0) {
        ecert_fd_receive(fd, &byte, 1, &memory);
        if (memory >= 0) {
            text = read_memory(memory);
            close(memory);
        }
    }
    close(fd);
    if (text == NULL) {
        ecert_err(err, ECERT_ERR_AGENT, path,
                  "it does not answer; is it stopped?");
        ecert_err_hint(err, "reload the server: it starts a new agent");
    }
    return text;
}
