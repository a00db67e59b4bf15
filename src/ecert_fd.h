/* A descriptor that goes with a message over a local socket (unix(7)). */

#ifndef ECERT_FD_H
#define ECERT_FD_H

#include <stddef.h>

#include <sys/types.h>

/* Without waiting.  0, or -1 with errno. */
int ecert_fd_send(int socket, const void *bytes, size_t len, int fd);

/* As recv(2) has it; *fd is the caller's, close-on-exec, -1: none came. */
ssize_t ecert_fd_receive(int socket, void *bytes, size_t len, int *fd);

#endif
