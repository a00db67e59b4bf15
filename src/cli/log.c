#include <string.h>
#include <time.h>

#include "cli.h"
#include "ecert_journal.h"
#include "ecert_json.h"
#include "ecert_name.h"
#include "ecert_report.h"

typedef struct {
    const char *store;
    int json;
} options_t;

static int set_option(void *ctx, int c, const char *value, ecert_err_t *err)
{
    options_t *options = ctx;

    (void)err;
    if (c == 'j') {
        options->json = 1;
    } else {
        options->store = value;
    }
    return 0;
}

/* What an entry has besides time, user, command and site. */
static void print_rest(const json_t *entry)
{
    static const char *const shown[] = {"time", "user", "as", "command",
                                        "site"};
    const char *key, *comma = "";
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)entry, key, value)
    {
        const char *text = ecert_json_text(entry, key);
        size_t i = 0, len = strlen(key);

        while (i < 5 && strcmp(shown[i], key) != 0) {
            i++;
        }
        if (i < 5) {
            continue;
        }
        if (json_is_integer(value)) {
            printf("%s%s %lld", comma, key,
                   (long long)json_integer_value(value));
        } else if (json_is_array(value)) {
            printf("%s%zu %s", comma, json_array_size(value), key);
        } else if (text != NULL && len > 7
                   && strcmp(key + len - 7, "_sha256") == 0) {
            printf("%s%.*s %.16s", comma, (int)len - 7, key, text);
        } else if (text != NULL) {
            char escaped[1024];

            printf("%s%s %s", comma, key,
                   ecert_escape(escaped, sizeof(escaped), text, strlen(text)));
        } else {
            printf("%s%s", comma, key);
        }
        comma = ", ";
    }
    putchar('\n');
}

static void print_entry(const json_t *entry, int with_site)
{
    const char *time = ecert_json_text(entry, "time");
    const char *user = ecert_json_text(entry, "user");
    const char *as = ecert_json_text(entry, "as");
    const char *command = ecert_json_text(entry, "command");
    const char *site = ecert_json_text(entry, "site");
    char who[140], escaped[300];

    snprintf(who, sizeof(who), "%.64s%s%.64s", user ? user : "?",
             as ? " as " : "", as ? as : "");
    printf("%-20.20s  %-14s  %-14.40s  ", time ? time : "?",
           ecert_escape(escaped, sizeof(escaped), who, strlen(who)),
           command ? command : "?");
    if (with_site && site != NULL) {
        printf("%s  ",
               ecert_escape(escaped, sizeof(escaped), site, strlen(site)));
    }
    print_rest(entry);
}

static void show(const options_t *options, json_t *entries, int with_site)
{
    json_t *top, *entry;
    size_t i;

    if (options->json) {
        top = ecert_report_head(options->store, time(NULL));
        json_object_set(top, "log", entries);
        json_dumpf(top, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(top);
        return;
    }
    json_array_foreach(entries, i, entry)
    {
        print_entry(entry, with_site);
    }
    if (json_array_size(entries) == 0) {
        puts("Nothing was done yet.");
    }
}

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    char ascii[ECERT_NAME_MAX];
    options_t options = {0};
    int code, first = ecert_cli_parse(command, argc, argv, set_option, &options,
                                      &code);
    json_t *entries;
    ecert_err_t err;

    if (first < 0) {
        return code;
    }
    if (argc - first > 1) {
        return ecert_cli_usage("log", "one NAME at most");
    }
    if (first < argc && ecert_name_ascii(argv[first], ascii, &err) != 0) {
        return ecert_cli_fail(NULL, &err);
    }
    options.store = ecert_cli_store(options.store);
    entries =
        ecert_journal_read(options.store, first < argc ? ascii : NULL, &err);
    if (entries == NULL) {
        return ecert_cli_fail(NULL, &err);
    }
    show(&options, entries, first == argc);
    json_decref(entries);
    return ECERT_EXIT_DONE;
}

static const ecert_cli_option_t options[] = {
    {"json", 'j', NULL, "as JSON", 0},
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_log = {
    .name = "log",
    .what = "who did what, when",
    .arguments = "[NAME]",
    .about = "Shows what commands changed in the store, for all sites or one: "
             "when (UTC), who, what, with the first digits of the fingerprints "
             "of keys and certificates.",
    .options = options,
    .example = "ecert log www.example.hk",
    .run = run,
};
