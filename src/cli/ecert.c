#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cli.h"
#include "ecert.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} commands[] = {
    {"status", ecert_cmd_status, "what the running servers serve"},
    {"check", ecert_cmd_check, "what a server would say to a site or to files"},
    {"chain", ecert_cmd_chain, "the chain that would be served for a leaf"},
    {"agent", ecert_cmd_agent, "what the servers start by themselves"},
};

#define ABSOLUTE_MAX 256
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int help(FILE *out)
{
    size_t i;

    fputs("Usage: ecert COMMAND [OPTION]...\n"
          "Keeps the certificates of Hongkong Post CA in nginx and Apache "
          "alive.\n\n",
          out);
    for (i = 0; i < N_COMMANDS; i++) {
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].what);
    }
    fputs("\n`ecert COMMAND --help` explains each; ecert(1) is the manual.\n"
          "Exit code: 0 done, 1 refused or failed, 2 wrong usage.\n",
          out);
    return out == stdout ? ECERT_EXIT_DONE : ECERT_EXIT_USAGE;
}

const char *ecert_cli_store(const char *option)
{
    const char *value = option ? option : getenv("ECERT_STORE");

    return value != NULL && value[0] != '\0' ? ecert_cli_absolute(value)
                                             : ECERT_STORE_DEFAULT;
}

const char *ecert_cli_absolute(const char *path)
{
    static char *made[ABSOLUTE_MAX]; /* for as long as the command runs */
    static size_t n;
    char cwd[PATH_MAX];

    if (path[0] == '/' || n == ABSOLUTE_MAX || getcwd(cwd, sizeof(cwd)) == NULL
        || asprintf(&made[n], "%s/%s", cwd, path) < 0) {
        return path; /* whoever opens it says what is wrong */
    }
    return made[n++];
}

int ecert_cli_fail(const char *site, const ecert_err_t *err)
{
    char line[1700];

    fprintf(stderr, "ecert: %s\n",
            ecert_err_line(err, site, line, sizeof(line)));
    return ECERT_EXIT_FAILED;
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

int main(int argc, char **argv)
{
    static char whole[32];
    size_t i;

    prctl(PR_SET_DUMPABLE, 0); /* `check` reads keys: they leave no core dump */
    if (argc < 2) {
        return help(stderr);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        return help(stdout);
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("ecert " ECERT_VERSION);
        return ECERT_EXIT_DONE;
    }
    for (i = 0; i < N_COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            /* getopt's messages begin with this */
            snprintf(whole, sizeof(whole), "ecert %s", commands[i].name);
            argv[1] = whole;
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "ecert: there is no command \"%.100s\"\n", argv[1]);
    return help(stderr);
}
