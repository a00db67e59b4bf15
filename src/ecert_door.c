#include "ecert_door.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ecert_file.h"

#define SUFFIX     ".sock"
#define BACKLOG    8
#define ANSWER_MAX (64 * 1024 * 1024)

/*
 * An address for folder/name however long the folder's path is: through a
 * descriptor of the folder, which *folder keeps open for the call.
 */
static int address_of(const char *path, struct sockaddr_un *address,
                      int *folder)
{
    const char *slash = strrchr(path, '/');
    char dir[4096];

    if (slash == NULL || (size_t)(slash - path) >= sizeof(dir)) {
        errno = EINVAL;
        return -1;
    }
    memcpy(dir, path, (size_t)(slash - path));
    dir[slash - path] = '\0';
    *folder = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*folder < 0) {
        return -1;
    }
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    snprintf(address->sun_path, sizeof(address->sun_path),
             "/proc/self/fd/%d/%.64s", *folder, slash + 1);
    return 0;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address;
    int folder, fd, rc;

    if (address_of(path, &address, &folder) != 0) {
        return -1;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        rc = connect(fd, (struct sockaddr *)&address, sizeof(address));
        if (rc != 0) {
            int saved = errno;

            close(fd);
            errno = saved;
            fd = -1;
        }
    }
    rc = errno;
    close(folder);
    errno = rc;
    return fd;
}

static int is_socket_name(const char *name)
{
    size_t len = strlen(name), suffix = sizeof(SUFFIX) - 1;

    return len > suffix && strcmp(name + len - suffix, SUFFIX) == 0;
}

static void remove_dead(const char *run)
{
    char path[4096];
    ecert_err_t err;
    char **names;
    size_t n, i;
    int fd;

    if (ecert_file_list(run, 1000, NULL, &names, &n, &err) != 0) {
        return;
    }
    for (i = 0; i < n; i++) {
        if (!is_socket_name(names[i])
            || snprintf(path, sizeof(path), "%s/%s", run, names[i])
                   >= (int)sizeof(path)) {
            continue;
        }
        fd = connect_to(path);
        if (fd >= 0) {
            close(fd);
        } else if (errno == ECONNREFUSED) {
            unlink(path);
        }
    }
    ecert_names_free(names, n);
}

static int bind_at(const char *path, ecert_err_t *err)
{
    struct sockaddr_un address;
    int folder, fd;

    if (address_of(path, &address, &folder) != 0) {
        return ecert_err_errno(err, path, "cannot make the status socket");
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0
        || chmod(path, 0600) != 0 || listen(fd, BACKLOG) != 0) {
        ecert_err_errno(err, path, "cannot make the status socket");
        if (fd >= 0) {
            close(fd);
        }
        fd = -1;
    }
    close(folder);
    return fd;
}

/*
 * Bound under a hidden name first: between bind and listen it would look dead
 * to another agent that clears up.
 */
static int listen_at(const char *run, const char *path, ecert_err_t *err)
{
    char hidden[4096];
    int fd;

    snprintf(hidden, sizeof(hidden), "%s/.%ld" SUFFIX, run, (long)getpid());
    fd = bind_at(hidden, err);
    if (fd >= 0 && rename(hidden, path) != 0) {
        ecert_err_errno(err, path, "cannot make the status socket");
        close(fd);
        unlink(hidden);
        fd = -1;
    }
    return fd;
}

int ecert_door_open(ecert_door_t *door, const char *store, ecert_err_t *err)
{
    char run[3072];

    door->fd = -1;
    if (snprintf(run, sizeof(run), "%s/run", store) >= (int)sizeof(run)) {
        return ecert_err(err, ECERT_ERR_CONF, store, "the path is too long");
    }
    remove_dead(run);
    snprintf(door->path, sizeof(door->path), "%s/%ld" SUFFIX, run,
             (long)getpid());
    door->fd = listen_at(run, door->path, err);
    return door->fd >= 0 ? 0 : -1;
}

void ecert_door_close(ecert_door_t *door, int remove)
{
    if (door->fd < 0) {
        return;
    }
    close(door->fd);
    door->fd = -1;
    if (remove) {
        unlink(door->path);
    }
}

static int may_ask(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0
           && (peer.uid == 0 || peer.uid == geteuid());
}

static void hand_over(int to, int what)
{
    char byte = 'R';
    struct iovec iov = {&byte, 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *header;
    ssize_t sent;

    memset(&control, 0, sizeof(control));
    header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &what, sizeof(int));
    sent = sendmsg(to, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent; /* who has left meanwhile needs no answer */
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
        hand_over(fd, memory);
        close(memory);
    }
    free(text);
    close(fd);
    return 0;
}

static int receive(int from)
{
    char byte;
    struct iovec iov = {&byte, 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *header;
    int fd = -1;

    if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) <= 0) {
        return -1;
    }
    header = CMSG_FIRSTHDR(&message);
    if (header != NULL && header->cmsg_type == SCM_RIGHTS) {
        memcpy(&fd, CMSG_DATA(header), sizeof(int));
    }
    return fd;
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

char *ecert_door_ask(const char *path, int seconds, int *dead, ecert_err_t *err)
{
    int fd = connect_to(path), memory;
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    char *text = NULL;

    *dead = fd < 0 && (errno == ECONNREFUSED || errno == ENOENT);
    if (fd < 0) {
        ecert_err_errno(err, path, "cannot ask the agent");
        return NULL;
    }
    if (poll(&pfd, 1, seconds * 1000) > 0) {
        memory = receive(fd);
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
