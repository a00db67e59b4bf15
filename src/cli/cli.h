/*
 * The command: a table of subcommands, one file each.  What a subcommand is
 * called with is a table, too: its help, its parsing, the completion of a shell
 * and the check of the manual come from it.
 */

#ifndef ECERT_CLI_H
#define ECERT_CLI_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "ecert_err.h"

/* Exit codes, the same for all subcommands. */
enum {
    ECERT_EXIT_DONE = 0,
    ECERT_EXIT_FAILED = 1,
    ECERT_EXIT_USAGE = 2
};

/* Takes an option's value (NULL: it has none) to its place; -1: a wrong usage.
 */
typedef int ecert_cli_set_t(void *to, const char *value, ecert_err_t *err);

typedef struct {
    const char *name;     /* without its dashes; NULL ends a table */
    const char *argument; /* "FILE"; NULL: it has none */
    const char *help;
    char brief; /* 'o' for -o; 0: none */
    ecert_cli_set_t *set;
    size_t at; /* of its place, in what ecert_cli_parse is to fill */
} ecert_cli_option_t;

typedef struct ecert_cli_command_s ecert_cli_command_t;

struct ecert_cli_command_s {
    const char *name;      /* "check", "dcv add" */
    const char *what;      /* one line of `ecert --help` */
    const char *arguments; /* behind the options; NULL: none; each line is a
                              form of its own */
    const char *about;     /* what it does, for --help */
    const ecert_cli_option_t *options;
    const char *exits; /* NULL: the usual */
    const char *example;
    int (*run)(const ecert_cli_command_t *command, int argc, char **argv);
};

/* All subcommands; ends with an entry without a name. */
extern const ecert_cli_command_t *const ecert_cli_commands[];

extern const ecert_cli_command_t ecert_cmd_agent, ecert_cmd_backup,
    ecert_cmd_calendar, ecert_cmd_chain, ecert_cmd_check, ecert_cmd_csr,
    ecert_cmd_dcv_add, ecert_cmd_dcv_check, ecert_cmd_dcv_dns,
    ecert_cmd_dcv_list, ecert_cmd_dcv_mail, ecert_cmd_dcv_remove,
    ecert_cmd_dcv_sectigo, ecert_cmd_install, ecert_cmd_issuers_add,
    ecert_cmd_issuers_list, ecert_cmd_issuers_remove, ecert_cmd_issuers_update,
    ecert_cmd_log, ecert_cmd_new, ecert_cmd_restore, ecert_cmd_rollback,
    ecert_cmd_status, ecert_cmd_verify;

/* The options --store and --run, which all of them have. */
#define ECERT_CLI_STORE                                                        \
    {"store",                                                                  \
     "DIR",                                                                    \
     "the store (default: ECERT_STORE, else /var/lib/ecert)",                  \
     0,                                                                        \
     ecert_cli_set_store,                                                      \
     0},                                                                       \
    {                                                                          \
        "run", "DIR",                                                          \
            "the folder of ecert_run (ECertRun), where the servers are asked " \
            "(default: ECERT_RUN, else run in the store)",                     \
            0, ecert_cli_set_run, 0                                            \
    }

/* Of those that look at a site's chain. */
#define ECERT_CLI_CATALOGUE(options_t)                                         \
    {                                                                          \
        "catalogue", "FILE", "another CA's catalogue (default: the site's)",   \
            0, ecert_cli_set_path, offsetof(options_t, catalogue)              \
    }

/* What a place may be: an int that becomes 1, */
ecert_cli_set_t ecert_cli_set_flag;
/* a const char *, as it is or made absolute, */
ecert_cli_set_t ecert_cli_set_text, ecert_cli_set_path;
/* an int64_t (ecert_date_parse), an ecert_cross_t, */
ecert_cli_set_t ecert_cli_set_date, ecert_cli_set_cross;
/* a uint64_t: the number of a request; */
ecert_cli_set_t ecert_cli_set_request;
/* none: what ecert_cli_store and ecert_cli_run return. */
ecert_cli_set_t ecert_cli_set_store, ecert_cli_set_run;

/*
 * Parses argv (argv[0] is the subcommand) by the command's table into options;
 * --help is answered.  Values and operands that are no paths (FILE, DIR, PATH)
 * lose what was pasted along with them (ecert_text_pasted), but operands behind
 * one that may be missing.  Returns the index of the first operand in argv, or
 * -1 with *code to end with.
 */
int ecert_cli_parse(const ecert_cli_command_t *command, int argc, char **argv,
                    void *options, int *code);

/* The words that may follow these, one a line: for shells. */
int ecert_cli_complete(int argc, char **argv);

/* The store: --store, else ECERT_STORE, else the default; absolute. */
const char *ecert_cli_store(void);

/* What --run says, else ECERT_RUN; NULL: the store's.  Absolute. */
const char *ecert_cli_run(void);

/* An absolute path for what people write; lives as long as the command. */
const char *ecert_cli_absolute(const char *path);

/* A number from 1 on; USAGE, naming what it was for. */
int ecert_cli_number(const char *text, const char *what, uint64_t *number,
                     ecert_err_t *err);

/* "ecert: " and the error's line on standard error; returns FAILED. */
int ecert_cli_fail(const char *site, const ecert_err_t *err);

/* The same for something that does not stop the command. */
void ecert_cli_warn(const char *site, const ecert_err_t *err);

/* Where this user may not do it: who may, in place of the hint, which is the
 * store's owner before root.  Rights are not to be given away, as a server may
 * need them, for a store has keys. */
void ecert_cli_remedy(ecert_err_t *err);

/* "ecert NAME: MESSAGE; see ecert NAME --help"; returns USAGE. */
int ecert_cli_usage(const char *name, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
