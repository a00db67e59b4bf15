#include "ecert_fd.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <sys/socket.h>

typedef union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
} control_t;

static struct msghdr message_of(struct iovec *part, control_t *control)
{
    memset(control, 0, sizeof(*control));
    return (struct msghdr){.msg_iov = part,
                           .msg_iovlen = 1,
                           .msg_control = control,
                           .msg_controllen = sizeof(*control)};
}

int ecert_fd_send(int socket, const void *bytes, size_t len, int fd)
{
    struct iovec part = {(void *)(uintptr_t)bytes, len};
    control_t control;
    struct msghdr message = message_of(&part, &control);
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

ssize_t ecert_fd_receive(int socket, void *bytes, size_t len, int *fd)
{
    struct iovec part = {bytes, len};
    control_t control;
    struct msghdr message = message_of(&part, &control);
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
