#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "ecert.h"
#include "memory.h"
#include "say.h"

/* In the order of the CA's guide. */
const ecert_cli_command_t *const ecert_cli_commands[] = {
    &ecert_cmd_new,
    &ecert_cmd_csr,
    &ecert_cmd_dcv_add,
    &ecert_cmd_dcv_list,
    &ecert_cmd_dcv_remove,
    &ecert_cmd_dcv_sectigo,
    &ecert_cmd_dcv_dns,
    &ecert_cmd_dcv_mail,
    &ecert_cmd_dcv_check,
    &ecert_cmd_install,
    &ecert_cmd_issuers_add,
    &ecert_cmd_issuers_list,
    &ecert_cmd_issuers_remove,
    &ecert_cmd_issuers_update,
    &ecert_cmd_backup,
    &ecert_cmd_restore,
    &ecert_cmd_rollback,
    &ecert_cmd_status,
    &ecert_cmd_verify,
    &ecert_cmd_check,
    &ecert_cmd_chain,
    &ecert_cmd_log,
    &ecert_cmd_calendar,
    &ecert_cmd_agent,
    NULL,
};

#define ABSOLUTE_MAX 256

static char called[64] = "ecert"; /* "ecert dcv add" */

static int help(FILE *out)
{
    fputs("Usage: ecert COMMAND [OPTION]...\n"
          "Keeps the certificates of Hongkong Post CA in nginx and Apache "
          "alive.\n\n",
          out);
    for (const ecert_cli_command_t *const *c = ecert_cli_commands; *c; c++) {
        fprintf(out, "  %-16s %s\n", (*c)->name, (*c)->what);
    }
    fputs("\n`ecert COMMAND --help` explains each; ecert(1) is the manual.\n"
          "Exit code: 0 done, 1 refused or failed, 2 wrong usage.\n",
          out);
    return out == stdout ? ECERT_EXIT_DONE : ECERT_EXIT_USAGE;
}

static const char *store = ECERT_STORE_DEFAULT;
static const char *said_store, *run; /* NULL: not said */

int ecert_cli_set_store(void *to, const char *value, ecert_err_t *err)
{
    (void)to;
    (void)err;
    said_store = value;
    return 0;
}

int ecert_cli_set_run(void *to, const char *value, ecert_err_t *err)
{
    (void)to;
    (void)err;
    run = value[0] ? ecert_cli_absolute(value) : NULL;
    return 0;
}

const char *ecert_cli_run(void)
{
    const char *value = getenv("ECERT_RUN");

    if (run == NULL && value != NULL && value[0] != '\0') {
        run = ecert_cli_absolute(value);
    }
    return run;
}

const char *ecert_cli_store(void)
{
    const char *value = said_store ? said_store : getenv("ECERT_STORE");

    if (value != NULL && value[0] != '\0') {
        store = ecert_cli_absolute(value);
    }
    return store;
}

const char *ecert_cli_absolute(const char *path)
{
    static char *made[ABSOLUTE_MAX]; /* for as long as the command runs */
    static size_t n;
    char cwd[PATH_MAX] = "";

    if (n == ABSOLUTE_MAX || (path[0] != '/' && !getcwd(cwd, sizeof(cwd)))
        || asprintf(&made[n], "%s/%s", cwd, path) < 0) {
        return path; /* whoever opens it says what is wrong */
    }
    return ecert_conf_path(made[n++]);
}

static int is_denied(const ecert_err_t *err)
{
    return ecert_err_refused(err) && (err->sys == EACCES || err->sys == EPERM);
}

/* About the store itself, or what is in it. */
static int is_stores(const ecert_err_t *err)
{
    char start[sizeof(err->file)];
    size_t len;

    ecert_escape(start, sizeof(start), store, strlen(store));
    len = strlen(start);
    return strncmp(err->file, start, len) == 0
           && (err->file[len] == '\0' || err->file[len] == '/');
}

/* sudo(8) does not hand ECERT_STORE on; --store is among the words that are
 * typed again. */
static const char *store_again(void)
{
    static char words[120];
    int n;

    if (said_store != NULL || strcmp(store, ECERT_STORE_DEFAULT) == 0) {
        return "";
    }
    n = snprintf(words, sizeof(words), " --store %s", store);
    return n < (int)sizeof(words) ? words : "";
}

/* Its server runs as its owner, and could do nothing with root's files. */
static void call_as(uid_t owner, ecert_err_t *err)
{
    const struct passwd *user = getpwuid(owner);
    char name[40], number[24];

    if (user) {
        snprintf(name, sizeof(name), "%s", user->pw_name);
    } else {
        snprintf(name, sizeof(name), "uid %u", (unsigned)owner);
    }
    snprintf(number, sizeof(number), "'#%u'", (unsigned)owner);
    ecert_err_hint(err,
                   "call it as %s, whom the store belongs to: sudo -u %s "
                   "%s%s ...%s",
                   name, user ? name : number, called, store_again(),
                   geteuid() == 0 ? "; or, where root starts the server, give "
                                    "the store back to root"
                                  : "");
}

void ecert_cli_remedy(ecert_err_t *err)
{
    struct stat st;

    if (!is_denied(err) && err->code != ECERT_ERR_UNSAFE) {
        return;
    }
    if (is_stores(err) && stat(store, &st) == 0 && st.st_uid != geteuid()
        && (geteuid() == 0 || st.st_uid != 0)) {
        call_as(st.st_uid, err);
    } else if (geteuid() != 0 && err->code != ECERT_ERR_UNSAFE) {
        ecert_err_hint(err,
                       "call it as root: sudo %s%s ..., or as the owner of the "
                       "store",
                       called, store_again());
    }
}

static void tell(const char *word, ecert_style_t style, const char *site,
                 const ecert_err_t *told)
{
    ecert_err_t mine = *told, *err = &mine;
    char line[1700];

    ecert_cli_remedy(err);
    fflush(stdout);
    fprintf(stderr, "%secert: %s%s%s\n", ecert_say_style(stderr, style), word,
            ecert_say_style(stderr, ECERT_SAY_PLAIN),
            ecert_err_line(err, site, line, sizeof(line)));
}

int ecert_cli_fail(const char *site, const ecert_err_t *err)
{
    tell("", ECERT_SAY_BAD, site, err);
    return ECERT_EXIT_FAILED;
}

void ecert_cli_warn(const char *site, const ecert_err_t *err)
{
    tell("warning: ", ECERT_SAY_WARN, site, err);
}

int ecert_cli_usage(const char *name, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "ecert %s: ", name);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "; see ecert %s --help\n", name);
    return ECERT_EXIT_USAGE;
}

/* How many words of argv are this command's name; 0: it is another one. */
static int words_of(const char *name, int argc, char **argv)
{
    int n = 0;

    while (n < argc) {
        size_t len = strlen(argv[n]);

        if (strncmp(name, argv[n], len) != 0) {
            return 0;
        }
        n++;
        if (name[len] != ' ') {
            return name[len] == '\0' ? n : 0;
        }
        name += len + 1;
    }
    return 0;
}

/* The second word of a command whose first one this is; NULL: it is not. */
static const char *second_of(const char *name, const char *first)
{
    size_t len = strlen(first);

    return strncmp(name, first, len) == 0 && name[len] == ' ' ? name + len + 1
                                                              : NULL;
}

static int has_seconds(const char *first)
{
    for (const ecert_cli_command_t *const *c = ecert_cli_commands; *c; c++) {
        if (second_of((*c)->name, first) != NULL) {
            return 1;
        }
    }
    return 0;
}

/* "ecert dcv": the commands that begin so. */
static void list_seconds(const char *first, FILE *out)
{
    for (const ecert_cli_command_t *const *c = ecert_cli_commands; *c; c++) {
        if (second_of((*c)->name, first) != NULL) {
            fprintf(out, "  ecert %-16s %s\n", (*c)->name, (*c)->what);
        }
    }
}

/* "ecert dcv chekc" */
static void no_second(const char *first, const char *word)
{
    char escaped[100];
    const char *between = "; there are: ";

    fprintf(stderr, "ecert %s: there is no command \"%s\"", first,
            ecert_escape(escaped, sizeof(escaped), word, strlen(word)));
    for (const ecert_cli_command_t *const *c = ecert_cli_commands; *c; c++) {
        const char *second = second_of((*c)->name, first);

        if (second != NULL) {
            fprintf(stderr, "%s%s", between, second);
            between = ", ";
        }
    }
    fputc('\n', stderr);
}

static int unknown(int argc, char **argv)
{
    char word[100];

    if (!has_seconds(argv[0])) {
        fprintf(stderr,
                "ecert: there is no command \"%s\"\nSee ecert --help.\n",
                ecert_escape(word, sizeof(word), argv[0], strlen(argv[0])));
        return ECERT_EXIT_USAGE;
    }
    if (argc == 1) {
        fprintf(stderr, "ecert %s: which of these?\n", argv[0]);
        list_seconds(argv[0], stderr);
        return ECERT_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") != 0) {
        no_second(argv[0], argv[1]);
        return ECERT_EXIT_USAGE;
    }
    list_seconds(argv[0], stdout);
    return ECERT_EXIT_DONE;
}

/* Whoever reads the output from a file has to know that it is not all of it. */
static int flushed(int code)
{
    ecert_err_t err;

    if ((fflush(stdout) == 0 && !ferror(stdout)) || code != ECERT_EXIT_DONE) {
        return code; /* a failure was told already */
    }
    ecert_err(&err, ECERT_ERR_SYSTEM, "standard output", "write to it");
    ecert_err_hint(&err, "what the command changes is changed: see ecert "
                         "status");
    return ecert_cli_fail(NULL, &err);
}

int main(int argc, char **argv)
{
    prctl(PR_SET_DUMPABLE, 0); /* it handles keys: they leave no core dump */
    umask(077);
    if (argc < 2) {
        return help(stderr);
    }
    if (strcmp(argv[1], "agent") != 0) {
        ecert_cli_memory();
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        return help(stdout);
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("ecert " ECERT_VERSION);
        return ECERT_EXIT_DONE;
    }
    if (strcmp(argv[1], "--complete") == 0) {
        return ecert_cli_complete(argc - 2, argv + 2);
    }
    for (const ecert_cli_command_t *const *c = ecert_cli_commands; *c; c++) {
        int n = words_of((*c)->name, argc - 1, argv + 1);

        if (n > 0) {
            /* getopt's messages begin with this */
            snprintf(called, sizeof(called), "ecert %s", (*c)->name);
            argv[n] = called;
            return flushed((*c)->run(*c, argc - n, argv + n));
        }
    }
    return unknown(argc - 1, argv + 1);
}
