/* A descriptor that goes with a message over a local socket (unix(7)). */

#ifndef ECERT_FD_H
#define ECERT_FD_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <sys/socket.h>
#include <sys/types.h>

typedef union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
} ecert_fd_control_t;

static inline struct msghdr ecert_fd_message(struct iovec *part,
                                             ecert_fd_control_t *control)
{
    memset(control, 0, sizeof(*control));
    return (struct msghdr){.msg_iov = part,
                           .msg_iovlen = 1,
                           .msg_control = control,
                           .msg_controllen = sizeof(*control)};
}

/* Without waiting.  0, or -1 with errno. */
static inline int ecert_fd_send(int socket, const void *bytes, size_t len,
                                int fd)
{
    struct iovec part = {(void *)(uintptr_t)bytes, len};
    ecert_fd_control_t control;
    struct msghdr message = ecert_fd_message(&part, &control);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof(int));
    return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT)
                   == (ssize_t)len
               ? 0
               : -1;
}

/* As recv(2) has it; *fd is the caller's, close-on-exec, -1: none came. */
static inline ssize_t ecert_fd_receive(int socket, void *bytes, size_t len,
                                       int *fd)
{
    struct iovec part = {bytes, len};
    ecert_fd_control_t control;
    struct msghdr message = ecert_fd_message(&part, &control);
    const struct cmsghdr *header;
    ssize_t n;

    *fd = -1;
    do {
        n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header != NULL && header->cmsg_level == SOL_SOCKET
        && header->cmsg_type == SCM_RIGHTS
        && header->cmsg_len == CMSG_LEN(sizeof(int))) {
        memcpy(fd, CMSG_DATA(header), sizeof(int));
    }
    return n;
}

#endif
