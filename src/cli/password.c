#include "password.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "cli.h"
#include "ecert_given.h"
#include "ecert_text.h"
#include "say.h"

static volatile sig_atomic_t signalled;

static void on_signal(int number)
{
    signalled = number;
}

void ecert_password_wipe(char password[ECERT_PASSWORD_MAX])
{
    OPENSSL_cleanse(password, ECERT_PASSWORD_MAX);
}

/* ---- the terminal ------------------------------------------------------ */

typedef struct {
    int fd;
    struct termios before;
    struct sigaction actions[5];
    sigset_t mask;
    int ended; /* nobody types any more */
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

/* Nothing but Ctrl-D: whoever types it gives up. */
static int given_up(const char *what, ecert_err_t *err)
{
    ecert_err(err, ECERT_ERR_NO_PASSWORD, what, "none was typed");
    return ecert_err_hint(err, "call it again");
}

static int prompt(terminal_t *terminal, const char *text, const char *what,
                  ecert_password_line_t *line, ecert_err_t *err)
{
    int rc;

    do { /* again when it was suspended (Ctrl-Z) and is back */
        quiet(terminal);
        dprintf(terminal->fd, "%s %s: ", text, what);
        rc = ecert_password_line_read(terminal->fd, &terminal->mask, what, line,
                                      err);
        loud(terminal);
    } while (rc != 0 && err->sys == EINTR
             && (signalled == 0 || signalled == SIGTSTP));
    terminal->ended = rc == 0 && line->len == 0;
    return terminal->ended ? given_up(what, err) : rc;
}

/* ---- from wherever ----------------------------------------------------- */

/* Where the lines come from, in turn. */
typedef struct {
    const ecert_password_from_t *from;
    const char *what;
    terminal_t terminal; /* fd -1: they are not typed */
    int tries;
    mode_t shared; /* of a file that others may read; 0: it is none */
} source_t;

static int source_open(source_t *source, const ecert_password_from_t *from,
                       const char *what, ecert_err_t *err)
{
    memset(source, 0, sizeof(*source));
    source->from = from;
    source->what = what;
    source->terminal.fd = -1;
    if (from->file != NULL || from->fd >= 0) {
        return 0;
    }
    source->terminal.fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
    return source->terminal.fd >= 0
               ? 0
               : ecert_err(err, ECERT_ERR_NO_PASSWORD, what,
                           "there is no terminal to ask at");
}

static void source_close(const source_t *source)
{
    if (source->terminal.fd >= 0) {
        close(source->terminal.fd);
    }
}

/* Whether somebody is there who may type it again, told what was wrong. */
static int source_again(source_t *source, const ecert_err_t *err)
{
    int typed = err->code == ECERT_ERR_NO_PASSWORD
                || err->code == ECERT_ERR_PASSWORD_REFUSED
                || err->code == ECERT_ERR_PASSWORD
                || err->code == ECERT_ERR_TOO_LARGE;

    if (source->terminal.fd < 0 || source->terminal.ended || signalled || !typed
        || ++source->tries == ECERT_PASSWORD_TRIES) {
        return 0;
    }
    dprintf(source->terminal.fd, "Not taken: %s.\n",
            err->detail[0] ? err->detail : ecert_err_sentence(err->code));
    return 1;
}

static int from_descriptor(source_t *source, int fd, const char *what,
                           ecert_password_line_t *line, ecert_err_t *err)
{
    struct stat status;

    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)
        && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        source->shared = status.st_mode & 07777;
    }
    return ecert_password_line_read(fd, NULL, what, line, err);
}

static int from_file(source_t *source, ecert_password_line_t *line,
                     ecert_err_t *err)
{
    const char *path = source->from->file;
    struct stat status;
    int rc, fd = ecert_given_open(path, &status, err);

    if (fd < 0) {
        return -1;
    }
    rc = from_descriptor(source, fd, path, line, err);
    close(fd);
    return rc;
}

static int source_line(source_t *source, const char *text,
                       ecert_password_line_t *line, ecert_err_t *err)
{
    const ecert_password_from_t *from = source->from;

    line->len = 0;
    return from->file ? from_file(source, line, err)
           : from->fd >= 0
               ? from_descriptor(source, from->fd, "--password-fd", line, err)
               : prompt(&source->terminal, text, source->what, line, err);
}

/* What is to be mended when the password is: its file, or the typing. */
static const char *source_name(const source_t *source)
{
    return source->from->file      ? source->from->file
           : source->from->fd >= 0 ? "--password-fd"
                                   : source->what;
}

/* Of a password that is taken: others may read it. */
static void warn_shared(const source_t *source)
{
    const char *name = source_name(source);
    char text[512];

    if (source->shared == 0) {
        return;
    }
    fprintf(stderr,
            "ecert: %swarning: %s%s: others may read the password in it (mode "
            "%04o): chmod 600\n",
            ecert_say_style(stderr, ECERT_SAY_WARN),
            ecert_say_style(stderr, ECERT_SAY_PLAIN),
            ecert_escape(text, sizeof(text), name, strlen(name)),
            (unsigned)source->shared);
}

/* ---- of a new file ------------------------------------------------------ */

static int check_new(const source_t *source, const char *text, ecert_err_t *err)
{
    unsigned long sign;
    size_t n = 0;

    if (text[0] == '\0') {
        ecert_err(err, ECERT_ERR_NO_PASSWORD, source->what,
                  "it may not be empty");
        return ecert_err_hint(err, "a private key leaves this machine under a "
                                   "password only");
    }
    for (const char *p = text; *p != '\0'; n++) {
        p += ecert_text_sign(p, strlen(p), &sign);
    }
    if (n >= ECERT_PASSWORD_LEAST || source->from->weak) {
        return 0;
    }
    ecert_err(err, ECERT_ERR_PASSWORD_REFUSED, source->what,
              "it has %zu characters, %d are the least", n,
              ECERT_PASSWORD_LEAST);
    return ecert_err_hint(err, "take a longer one, or add --weak-password");
}

static int confirm(source_t *source, const char *text, ecert_err_t *err)
{
    char again[ECERT_PASSWORD_MAX];
    ecert_password_line_t line;
    int rc = source_line(source, "The same again for", &line, err);

    if (rc == 0
        && (ecert_password_line_text(&line, source->what, again, err) != 0
            || strcmp(text, again) != 0)) {
        ecert_err(err, ECERT_ERR_NO_PASSWORD, source->what,
                  "the two passwords differ");
        rc = ecert_err_hint(err, "try again");
    }
    OPENSSL_cleanse(&line, sizeof(line));
    ecert_password_wipe(again);
    return rc;
}

static int get_new(source_t *source, char *out, ecert_err_t *err)
{
    ecert_password_line_t line;
    int rc = source_line(source, "Password for", &line, err);

    if (rc == 0) {
        rc = ecert_password_line_text(&line, source_name(source), out, err);
    }
    OPENSSL_cleanse(&line, sizeof(line));
    if (rc == 0) {
        rc = check_new(source, out, err);
    }
    return rc == 0 && source->terminal.fd >= 0 ? confirm(source, out, err) : rc;
}

int ecert_password_new(const ecert_password_from_t *from, const char *what,
                       char out[ECERT_PASSWORD_MAX], ecert_err_t *err)
{
    source_t source;
    int rc = source_open(&source, from, what, err);

    if (rc == 0) {
        do {
            rc = get_new(&source, out, err);
        } while (rc != 0 && source_again(&source, err));
        source_close(&source);
    }
    if (rc != 0) {
        ecert_password_wipe(out);
        return rc;
    }
    warn_shared(&source);
    return 0;
}

/* ---- of one that is there ------------------------------------------------ */

static void warn_bytes(const char *what)
{
    char name[512];

    fprintf(stderr,
            "ecert: %swarning: %s%s is opened, but not by the text of this "
            "password: by the bytes that it came in (a byte order mark, UTF-16 "
            "or another encoding); typed, it may not open it: make a new "
            "backup\n",
            ecert_say_style(stderr, ECERT_SAY_WARN),
            ecert_say_style(stderr, ECERT_SAY_PLAIN),
            ecert_escape(name, sizeof(name), what, strlen(what)));
}

static int wrong(const ecert_err_t *err)
{
    return err->code == ECERT_ERR_PASSWORD
           || err->code == ECERT_ERR_PASSWORD_REFUSED;
}

/* err stays that of the text, where the bytes do not open it, either. */
static int try_line(const source_t *source, const ecert_password_line_t *line,
                    int (*attempt)(void *, const char *, ecert_err_t *),
                    void *ctx, ecert_err_t *err)
{
    char text[ECERT_PASSWORD_MAX] = "", bytes[ECERT_PASSWORD_MAX];
    ecert_err_t second;
    int rc = ecert_password_line_text(line, source_name(source), text, err);

    if (rc == 0) {
        rc = attempt(ctx, text, err);
    }
    ecert_password_line_bytes(line, bytes);
    if (rc != 0 && wrong(err) && bytes[0] != '\0' && strcmp(text, bytes) != 0
        && attempt(ctx, bytes, &second) == 0) {
        warn_bytes(source->what);
        rc = 0;
    }
    ecert_password_wipe(text);
    ecert_password_wipe(bytes);
    return rc;
}

int ecert_password_open(const ecert_password_from_t *from, const char *what,
                        int (*attempt)(void *ctx, const char *password,
                                       ecert_err_t *err),
                        void *ctx, ecert_err_t *err)
{
    ecert_password_line_t line;
    source_t source;
    int rc = source_open(&source, from, what, err);

    if (rc != 0) {
        return rc;
    }
    do {
        rc = source_line(&source, "Password of", &line, err);
        if (rc == 0) {
            rc = try_line(&source, &line, attempt, ctx, err);
        }
    } while (rc != 0 && source_again(&source, err));
    OPENSSL_cleanse(&line, sizeof(line));
    source_close(&source);
    if (rc == 0) {
        warn_shared(&source);
    }
    return rc;
}

/* ---- the option -----------------------------------------------------------
 */

int ecert_password_set_fd(void *to, const char *value, ecert_err_t *err)
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
    *(int *)to = (int)fd;
    return 0;
}
