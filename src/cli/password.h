/*
 * Passwords: from the terminal without echo, a file or a descriptor.  Never
 * from an argument or the environment, where others could read them.
 */

#ifndef ECERT_CLI_PASSWORD_H
#define ECERT_CLI_PASSWORD_H

#include <stddef.h>

#include "ecert_err.h"

#define ECERT_PASSWORD_MAX 1024

typedef struct {
    const char *file; /* --password-file; NULL: not given */
    int fd;           /* --password-fd; -1: not given */
} ecert_password_from_t;

/* The two options, for a command's table, with these letters. */
#define ECERT_CLI_PASSWORD_FILE(c)                                             \
    {                                                                          \
        "password-file", c, "FILE",                                            \
            "take the password from this file's first line", 0                 \
    }
#define ECERT_CLI_PASSWORD_FD(c)                                               \
    {                                                                          \
        "password-fd", c, "N",                                                 \
            "take the password from this descriptor's first line", 0           \
    }

/* Takes the value of --password-fd. */
int ecert_password_fd(const char *value, ecert_password_from_t *from,
                      ecert_err_t *err);

/*
 * Gets it: what names the file in the prompt; twice: asked for again and
 * compared, and an empty one is refused.  NO_PASSWORD for these, and when there
 * is no terminal.  To be wiped with ecert_password_wipe.
 */
int ecert_password_get(const ecert_password_from_t *from, const char *what,
                       int twice, char out[ECERT_PASSWORD_MAX],
                       ecert_err_t *err);
void ecert_password_wipe(char password[ECERT_PASSWORD_MAX]);

#endif
