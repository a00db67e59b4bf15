#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "say.h"

#define OPTIONS_MAX 32
#define COLUMN      22 /* where the text of an option begins */

static void print_forms(const ecert_cli_command_t *command, FILE *out)
{
    const char *form = command->arguments ? command->arguments : "";
    const char *head = "Usage:";

    do {
        int len = (int)strcspn(form, "\n");

        fprintf(out, "%s ecert %s [OPTION]...%s%.*s\n", head, command->name,
                len > 0 ? " " : "", len, form);
        head = "      ";
        form += len;
    } while (*form++ == '\n');
}

static void print_option(const ecert_cli_option_t *option, FILE *out)
{
    char brief[8] = "", left[64];

    if (option->brief) {
        snprintf(brief, sizeof(brief), "-%c, ", option->brief);
    }
    snprintf(left, sizeof(left), "  %s--%s%s%s", brief, option->name,
             option->argument ? " " : "",
             option->argument ? option->argument : "");
    fprintf(out, "%-*s", COLUMN - 1, left);
    if (strlen(left) >= COLUMN - 1) {
        fprintf(out, "\n%*s", COLUMN - 1, "");
    }
    putc(' ', out);
    ecert_say_wrapped(out, option->help, COLUMN, COLUMN);
}

void ecert_cli_help(const ecert_cli_command_t *command, FILE *out)
{
    static const ecert_cli_option_t help = {"help", 'h', NULL, "this text",
                                            'h'};

    print_forms(command, out);
    ecert_say_wrapped(out, command->about, 0, 0);
    putc('\n', out);
    for (const ecert_cli_option_t *o = command->options; o->name; o++) {
        print_option(o, out);
    }
    print_option(&help, out);
    putc('\n', out);
    ecert_say_wrapped(out,
                      command->exits
                          ? command->exits
                          : "Exit code: 0 done, 1 refused or failed, 2 wrong "
                            "usage.",
                      0, 0);
    fprintf(out, "\nExample: %s\n", command->example);
}

/* getopt_long's own tables, made from ours. */
static void make_tables(const ecert_cli_command_t *command,
                        struct option *options, char *brief)
{
    size_t n = 0, b = 0;

    for (const ecert_cli_option_t *o = command->options;
         o->name && n < OPTIONS_MAX - 2; o++) {
        options[n++] = (struct option){
            o->name, o->argument ? required_argument : no_argument, NULL, o->c};
        if (o->brief) {
            brief[b++] = o->brief;
            if (o->argument) {
                brief[b++] = ':';
            }
        }
    }
    options[n++] = (struct option){"help", no_argument, NULL, 'h'};
    options[n] = (struct option){NULL, 0, NULL, 0};
    brief[b++] = 'h';
    brief[b] = '\0';
}

static const char *run; /* absolute; NULL: not said */

const char *ecert_cli_run(void)
{
    const char *value = getenv("ECERT_RUN");

    if (run == NULL && value != NULL && value[0] != '\0') {
        run = ecert_cli_absolute(value);
    }
    return run;
}

/* -o is set by what --output is set by. */
static int option_of(const ecert_cli_command_t *command, int c)
{
    for (const ecert_cli_option_t *o = command->options; o->name; o++) {
        if (o->brief && o->brief == c) {
            return o->c;
        }
    }
    return c;
}

int ecert_cli_parse(const ecert_cli_command_t *command, int argc, char **argv,
                    int (*set)(void *ctx, int c, const char *value,
                               ecert_err_t *err),
                    void *ctx, int *code)
{
    struct option options[OPTIONS_MAX];
    char brief[2 * OPTIONS_MAX];
    ecert_err_t err;
    int c;

    make_tables(command, options, brief);
    optind = 1;
    while ((c = getopt_long(argc, argv, brief, options, NULL)) != -1) {
        if (c == 'h') {
            ecert_cli_help(command, stdout);
            *code = ECERT_EXIT_DONE;
            return -1;
        }
        if (c == '?') { /* getopt has told what is wrong */
            fprintf(stderr, "See %s --help.\n", argv[0]);
            *code = ECERT_EXIT_USAGE;
            return -1;
        }
        if (c == ECERT_CLI_RUN) {
            run = optarg[0] ? ecert_cli_absolute(optarg) : NULL;
        } else if (set(ctx, option_of(command, c), optarg, &err) != 0) {
            ecert_cli_fail(NULL, &err);
            *code = ECERT_EXIT_USAGE;
            return -1;
        }
    }
    return optind;
}

int ecert_cli_number(const char *text, const char *what, uint64_t *number,
                     ecert_err_t *err)
{
    char *end;

    if (text[0] >= '1' && text[0] <= '9') {
        *number = strtoull(text, &end, 10);
        if (*end == '\0' && end - text < 19) {
            return 0;
        }
    }
    ecert_err(err, ECERT_ERR_USAGE, NULL, "\"%s\" is no number", text);
    return ecert_err_hint(err, "write %s as a number, 1 or higher", what);
}
