#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "ecert_conf.h"
#include "ecert_text.h"
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

static void print_help(const ecert_cli_command_t *command, FILE *out)
{
    static const ecert_cli_option_t help = {"help", NULL, "this text",
                                            'h',    NULL, 0};

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

#define LONG 256 /* what getopt_long calls the first row of a table */

/* getopt_long's own tables, made from ours. */
static void make_tables(const ecert_cli_command_t *command,
                        struct option *options, char *brief)
{
    size_t n = 0, b = 0;

    for (const ecert_cli_option_t *o = command->options;
         o->name && n < OPTIONS_MAX - 2; o++, n++) {
        options[n] = (struct option){
            o->name, o->argument ? required_argument : no_argument, NULL,
            LONG + (int)n};
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

static const ecert_cli_option_t *find_option(const ecert_cli_command_t *command,
                                             int c)
{
    const ecert_cli_option_t *o = command->options;

    if (c >= LONG) {
        return o + (c - LONG);
    }
    while (o->brief != c) {
        o++;
    }
    return o;
}

/* A word of a command's form, or an option's argument, that is a path and
 * nothing else: it is taken as it is. */
static int is_path(const char *word)
{
    static const char *const paths[] = {"FILE", "DIR", "PATH"};
    size_t len = strcspn(word, " \n");

    if (memchr(word, '|', len) != NULL) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (memmem(word, len, paths[i], strlen(paths[i])) != NULL) {
            return 1;
        }
    }
    return 0;
}

/* Nothing but blanks and quotes stays a blank: "" may mean something else. */
static char *bare(char *value)
{
    char *start = value[0] != '\0' ? ecert_text_pasted(value) : value;

    if (start[0] != '\0' || start == value) {
        return start;
    }
    memcpy(value, " ", 2);
    return value;
}

/*
 * Operands by their place in the first form, whose last word may stand for
 * several.  What follows a word that may be missing cannot be told.
 */
static void take_operands(const ecert_cli_command_t *command, int argc,
                          char **argv)
{
    const char *word = command->arguments;

    for (int i = optind; word != NULL && i < argc; i++) {
        size_t len = strcspn(word, " \n");

        if (word[0] == '[' && word[len] == ' ') {
            return;
        }
        if (!is_path(word)) {
            argv[i] = bare(argv[i]);
        }
        if (word[len] == ' ') {
            word += len + 1;
        }
    }
}

/* A value as it was meant: without what was pasted along with it. */
static char *take_value(const ecert_cli_option_t *option, char *value)
{
    return value == NULL || option->argument == NULL
                   || is_path(option->argument)
               ? value
               : bare(value);
}

int ecert_cli_parse(const ecert_cli_command_t *command, int argc, char **argv,
                    void *options, int *code)
{
    struct option table[OPTIONS_MAX];
    char brief[2 * OPTIONS_MAX];
    const ecert_cli_option_t *option;
    ecert_err_t err;
    int c;

    make_tables(command, table, brief);
    optind = 1;
    while ((c = getopt_long(argc, argv, brief, table, NULL)) != -1) {
        if (c == 'h') {
            print_help(command, stdout);
            *code = ECERT_EXIT_DONE;
            return -1;
        }
        if (c == '?') { /* getopt has told what is wrong */
            fprintf(stderr, "See %s --help.\n", argv[0]);
            *code = ECERT_EXIT_USAGE;
            return -1;
        }
        option = find_option(command, c);
        if (option->set((char *)options + option->at,
                        take_value(option, optarg), &err)
            != 0) {
            ecert_cli_fail(NULL, &err);
            *code = ECERT_EXIT_USAGE;
            return -1;
        }
    }
    take_operands(command, argc, argv);
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

int ecert_cli_set_flag(void *to, const char *value, ecert_err_t *err)
{
    (void)value;
    (void)err;
    *(int *)to = 1;
    return 0;
}

int ecert_cli_set_text(void *to, const char *value, ecert_err_t *err)
{
    (void)err;
    *(const char **)to = value;
    return 0;
}

int ecert_cli_set_path(void *to, const char *value, ecert_err_t *err)
{
    return ecert_cli_set_text(to, ecert_cli_absolute(value), err);
}

int ecert_cli_set_date(void *to, const char *value, ecert_err_t *err)
{
    return ecert_date_parse(value, to, err);
}

int ecert_cli_set_cross(void *to, const char *value, ecert_err_t *err)
{
    return ecert_cross_parse(value, to, err);
}

int ecert_cli_set_request(void *to, const char *value, ecert_err_t *err)
{
    return ecert_cli_number(value, "the request", to, err);
}
