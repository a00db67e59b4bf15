#include "password.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "cli.h"
#include "ecert_given.h"

static volatile sig_atomic_t signalled;

static void on_signal(int number)
{
    signalled = number;
}

void ecert_password_wipe(char password[ECERT_PASSWORD_MAX])
{
    OPENSSL_cleanse(password, ECERT_PASSWORD_MAX);
}

/*
 * One byte.  mask: the signals that are blocked meanwhile, but for those that
 * may end the waiting; one that comes just before it is not lost.
 */
static ssize_t read_byte(int fd, const sigset_t *mask, char *c)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};

    return mask != NULL && ppoll(&ready, 1, NULL, mask) < 0 ? -1
                                                            : read(fd, c, 1);
}

/*
 * The first line, byte by byte: what follows it in a pipe is not ours.
 * Returns its length; -1 with errno; -2 when it is too long.
 */
static ssize_t read_line(int fd, const sigset_t *mask, char *out, size_t size)
{
    size_t n = 0;

    for (;;) {
        char c;
        ssize_t got = read_byte(fd, mask, &c);

        if (got < 0 && errno == EINTR && !signalled) {
            continue;
        }
        if (got < 0) {
            return -1;
        }
        if (got == 0 || c == '\n') {
            break;
        }
        if (n + 1 == size) {
            return -2;
        }
        out[n++] = c;
    }
    if (n > 0 && out[n - 1] == '\r') { /* a file from Windows */
        n--;
    }
    out[n] = '\0';
    return (ssize_t)n;
}

static int from_descriptor(int fd, const sigset_t *mask, const char *what,
                           char *out, ecert_err_t *err)
{
    ssize_t n = read_line(fd, mask, out, ECERT_PASSWORD_MAX);

    if (n == -2) {
        return ecert_err(err, ECERT_ERR_TOO_LARGE, what,
                         "a password has at most %d bytes",
                         ECERT_PASSWORD_MAX - 1);
    }
    if (n < 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, what, "read the password");
    }
    return 0;
}

static int from_file(const char *path, char *out, ecert_err_t *err)
{
    struct stat st;
    int rc, fd = ecert_given_open(path, &st, err);

    if (fd < 0) {
        return -1;
    }
    rc = from_descriptor(fd, NULL, path, out, err);
    close(fd);
    return rc;
}

/* ---- the terminal ------------------------------------------------------ */

typedef struct {
    int fd;
    struct termios before;
    struct sigaction actions[5];
    sigset_t mask;
} terminal_t;

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};

static void quiet(terminal_t *terminal)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct termios silent;
    sigset_t ours;

    sigemptyset(&ours);
    for (size_t i = 0; i < 5; i++) {
        sigaddset(&ours, signals[i]);
    }
    sigprocmask(SIG_BLOCK, &ours, &terminal->mask);
    signalled = 0;
    for (size_t i = 0; i < 5; i++) {
        sigaction(signals[i], &action, &terminal->actions[i]);
    }
    tcgetattr(terminal->fd, &terminal->before);
    silent = terminal->before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    silent.c_lflag |= ECHONL;
    tcsetattr(terminal->fd, TCSAFLUSH, &silent);
}

/* Whatever ended the reading, the terminal shows again what is typed. */
static void loud(const terminal_t *terminal)
{
    tcsetattr(terminal->fd, TCSAFLUSH, &terminal->before);
    sigprocmask(SIG_SETMASK, &terminal->mask, NULL);
    for (size_t i = 0; i < 5; i++) {
        sigaction(signals[i], &terminal->actions[i], NULL);
    }
    if (signalled) {
        raise(signalled);
    }
}

static int prompt(terminal_t *terminal, const char *text, const char *what,
                  char *out, ecert_err_t *err)
{
    int rc;

    do { /* again when it was suspended (Ctrl-Z) and is back */
        quiet(terminal);
        dprintf(terminal->fd, "%s %s: ", text, what);
        rc = from_descriptor(terminal->fd, &terminal->mask, what, out, err);
        loud(terminal);
    } while (rc != 0 && signalled == SIGTSTP);
    return rc;
}

static int ask_twice(terminal_t *terminal, const char *what, char *out,
                     ecert_err_t *err)
{
    char again[ECERT_PASSWORD_MAX];
    int rc = prompt(terminal, "Password for", what, out, err);

    if (rc == 0) {
        rc = prompt(terminal, "The same again for", what, again, err);
    }
    if (rc == 0 && strcmp(out, again) != 0) {
        ecert_err(err, ECERT_ERR_NO_PASSWORD, what, "the two passwords differ");
        rc = ecert_err_hint(err, "try again");
    }
    ecert_password_wipe(again);
    return rc;
}

static int from_terminal(const char *what, int twice, char *out,
                         ecert_err_t *err)
{
    terminal_t terminal = {.fd = open("/dev/tty", O_RDWR | O_CLOEXEC)};
    int rc;

    if (terminal.fd < 0) {
        return ecert_err(err, ECERT_ERR_NO_PASSWORD, what,
                         "there is no terminal to ask at");
    }
    rc = twice ? ask_twice(&terminal, what, out, err)
               : prompt(&terminal, "Password of", what, out, err);
    close(terminal.fd);
    return rc;
}

int ecert_password_fd(const char *value, ecert_password_from_t *from,
                      ecert_err_t *err)
{
    uint64_t fd = 0;

    if (strcmp(value, "0") != 0
        && ecert_cli_number(value, "the descriptor", &fd, err) != 0) {
        return ecert_err_hint(err,
                              "write the descriptor as a number, 0 or higher");
    }
    if (fd > INT_MAX) {
        return ecert_err(err, ECERT_ERR_USAGE, NULL, "--password-fd %s", value);
    }
    from->fd = (int)fd;
    return 0;
}

int ecert_password_get(const ecert_password_from_t *from, const char *what,
                       int twice, char out[ECERT_PASSWORD_MAX],
                       ecert_err_t *err)
{
    int rc = from->file ? from_file(from->file, out, err)
             : from->fd >= 0
                 ? from_descriptor(from->fd, NULL, "--password-fd", out, err)
                 : from_terminal(what, twice, out, err);

    if (rc == 0 && twice && out[0] == '\0') {
        ecert_err(err, ECERT_ERR_NO_PASSWORD, what, "it may not be empty");
        rc = ecert_err_hint(err, "a private key leaves this machine under a "
                                 "password only");
    }
    if (rc != 0) {
        ecert_password_wipe(out);
    }
    return rc;
}
