#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "ecert_file.h"
#include "ecert_store.h"

/* The rest of a command's name behind these words; NULL: another command. */
static const char *rest_of(const char *name, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        size_t len = strlen(argv[i]);

        if (strncmp(name, argv[i], len) != 0
            || (name[len] != ' ' && name[len] != '\0')) {
            return NULL;
        }
        name += len;
        if (*name == '\0') {
            return i + 1 == argc ? name : NULL;
        }
        name++;
    }
    return name;
}

static const ecert_cli_command_t *command_of(int argc, char **argv, int *used)
{
    const ecert_cli_command_t *const *c;

    for (*used = argc > 2 ? 2 : argc; *used > 0; (*used)--) {
        for (c = ecert_cli_commands; *c; c++) {
            const char *rest = rest_of((*c)->name, *used, argv);

            if (rest != NULL && *rest == '\0') {
                return *c;
            }
        }
    }
    return NULL;
}

static void print_commands(int argc, char **argv)
{
    char last[64] = "";

    for (const ecert_cli_command_t *const *c = ecert_cli_commands; *c; c++) {
        const char *rest = rest_of((*c)->name, argc, argv);
        char word[64];

        if (rest == NULL || *rest == '\0') {
            continue;
        }
        snprintf(word, sizeof(word), "%.*s", (int)strcspn(rest, " "), rest);
        if (strcmp(word, last) != 0) {
            puts(word);
        }
        memcpy(last, word, sizeof(last));
    }
}

static void print_sites(void)
{
    ecert_err_t ignored;
    char **names;
    size_t n;

    if (ecert_store_sites(ecert_cli_store(), &names, &n, &ignored) == 0) {
        for (size_t i = 0; i < n; i++) {
            puts(names[i]);
        }
        ecert_names_free(names, n);
    }
}

/* The word is an option that wants a value: which one, else NULL. */
static const ecert_cli_option_t *wants_value(const ecert_cli_command_t *command,
                                             const char *word)
{
    for (const ecert_cli_option_t *o = command->options; o->name; o++) {
        if (o->argument != NULL
            && ((strncmp(word, "--", 2) == 0 && strcmp(word + 2, o->name) == 0)
                || (o->brief && word[0] == '-' && word[1] == o->brief
                    && word[2] == '\0'))) {
            return o;
        }
    }
    return NULL;
}

/* What stands behind the command's name. */
typedef struct {
    size_t operands;
    int value; /* an option's value comes next */
} behind_t;

/* A shell makes three words of --store=DIR. */
static void look_behind(const ecert_cli_command_t *command, int argc,
                        char **argv, behind_t *behind)
{
    memset(behind, 0, sizeof(*behind));
    for (int i = 0; i < argc; i++) {
        const ecert_cli_option_t *option = wants_value(command, argv[i]);

        if (option == NULL) {
            behind->operands += argv[i][0] != '-' || argv[i][1] == '\0';
            continue;
        }
        i += i + 1 < argc && strcmp(argv[i + 1], "=") == 0 ? 2 : 1;
        behind->value = i >= argc;
        if (i < argc && strcmp(option->name, "store") == 0) {
            ecert_cli_set_store(NULL, argv[i], NULL);
        }
    }
}

/* "[NAME]...", or "NAME FILE" while there is no NAME yet. */
static int wants_site(const ecert_cli_command_t *command,
                      const behind_t *behind)
{
    const char *name =
        command->arguments ? strstr(command->arguments, "NAME") : NULL;

    return name != NULL
           && (behind->operands == 0 || strncmp(name, "NAME]...", 8) == 0);
}

int ecert_cli_complete(int argc, char **argv)
{
    int used;
    const ecert_cli_command_t *command = command_of(argc, argv, &used);
    behind_t behind;

    if (command == NULL) {
        print_commands(argc, argv);
        return ECERT_EXIT_DONE;
    }
    look_behind(command, argc - used, argv + used, &behind);
    if (behind.value) {
        return ECERT_EXIT_DONE; /* the shell offers files */
    }
    for (const ecert_cli_option_t *o = command->options; o->name; o++) {
        printf("--%s\n", o->name);
    }
    puts("--help");
    if (wants_site(command, &behind)) {
        print_sites();
    }
    return ECERT_EXIT_DONE;
}
