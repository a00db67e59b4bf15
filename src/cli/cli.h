/* The command: a table of subcommands, one file each. */

#ifndef ECERT_CLI_H
#define ECERT_CLI_H

#include "ecert_err.h"

/* Exit codes, the same for all subcommands. */
enum {
    ECERT_EXIT_DONE = 0,
    ECERT_EXIT_FAILED = 1,
    ECERT_EXIT_USAGE = 2
};

/* argv[0] is the subcommand's name; each returns an exit code. */
int ecert_cmd_agent(int argc, char **argv);
int ecert_cmd_chain(int argc, char **argv);
int ecert_cmd_check(int argc, char **argv);
int ecert_cmd_status(int argc, char **argv);

/* The store: --store, else ECERT_STORE, else the default; absolute. */
const char *ecert_cli_store(const char *option);

/* An absolute path for what people write; lives as long as the command. */
const char *ecert_cli_absolute(const char *path);

/* "ecert: " and the error's line on standard error; returns FAILED. */
int ecert_cli_fail(const char *site, const ecert_err_t *err);

/* "ecert NAME: MESSAGE; see ecert NAME --help"; returns USAGE. */
int ecert_cli_usage(const char *name, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
