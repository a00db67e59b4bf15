/*
 * Passwords: from the terminal without echo, a file or a descriptor.  Never
 * from an argument or the environment, where others could read them.
 */

#ifndef ECERT_CLI_PASSWORD_H
#define ECERT_CLI_PASSWORD_H

#include <stddef.h>

#include "ecert_err.h"
#include "password_line.h"

#define ECERT_PASSWORD_LEAST 8 /* characters of a new one */
#define ECERT_PASSWORD_TRIES 3 /* at a terminal */

typedef struct {
    const char *file; /* --password-file; NULL: not given */
    int fd;           /* --password-fd; -1: not given */
    int weak;         /* --weak-password */
} ecert_password_from_t;

/* The two options, for a command's table; its options have a member password.
 */
#define ECERT_CLI_PASSWORD_FILE(options_t)                                     \
    {                                                                          \
        "password-file", "FILE",                                               \
            "take the password from this file's first line", 0,                \
            ecert_cli_set_text, offsetof(options_t, password.file)             \
    }
#define ECERT_CLI_PASSWORD_FD(options_t)                                       \
    {                                                                          \
        "password-fd", "N",                                                    \
            "take the password from this descriptor's first line", 0,          \
            ecert_password_set_fd, offsetof(options_t, password.fd)            \
    }
int ecert_password_set_fd(void *to, const char *value, ecert_err_t *err);

/*
 * Gets the password of a new file: asked for twice at a terminal, and again,
 * three times in all, when the two differ or it is refused.  what names the
 * file in the prompt.  NO_PASSWORD: there is no terminal, it is empty, or the
 * two differ; PASSWORD_REFUSED: shorter than ECERT_PASSWORD_LEAST, but for
 * weak, or not as ecert_password_line_text wants it.  To be wiped with
 * ecert_password_wipe.
 */
int ecert_password_new(const ecert_password_from_t *from, const char *what,
                       char out[ECERT_PASSWORD_MAX], ecert_err_t *err);
void ecert_password_wipe(char password[ECERT_PASSWORD_MAX]);

/*
 * Gets the password of a file and opens it with attempt (PASSWORD: it is a
 * wrong one); at a terminal three times.  Where the text of the password does
 * not, the bytes that it came in are tried: earlier versions took them as they
 * were, and other programs do.
 */
int ecert_password_open(const ecert_password_from_t *from, const char *what,
                        int (*attempt)(void *ctx, const char *password,
                                       ecert_err_t *err),
                        void *ctx, ecert_err_t *err);

#endif
