#include <string.h>
#include <time.h>

#include "cli.h"
#include "ecert_journal.h"
#include "ecert_json.h"
#include "ecert_name.h"
#include "ecert_report.h"
#include "say.h"

#define INDENT 22

typedef struct {
    const char *store;
    int json;
} options_t;

static int is_rest(const char *key)
{
    static const char *const shown[] = {"time", "user", "as", "command",
                                        "site"};

    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        if (strcmp(shown[i], key) == 0) {
            return 0;
        }
    }
    return 1;
}

/* One member for people; the beginning of a fingerprint is enough. */
static void describe(const char *key, const json_t *value, char *out,
                     size_t size)
{
    const char *text = json_string_value(value);
    size_t len = strlen(key);

    if (json_is_integer(value)) {
        snprintf(out, size, "%.64s %lld", key,
                 (long long)json_integer_value(value));
    } else if (json_is_array(value)) {
        size_t n = json_array_size(value);

        snprintf(out, size, "%zu %.*s", n, (int)len - (n == 1 && len > 0), key);
    } else if (text != NULL && len > 7
               && strcmp(key + len - 7, "_sha256") == 0) {
        snprintf(out, size, "%.*s %.16s", (int)len - 7, key, text);
    } else if (text != NULL) {
        snprintf(out, size, "%.64s %.400s", key, text);
    } else {
        snprintf(out, size, "%.64s",
                 strcmp(key, "no_backup") == 0 ? "without a backup" : key);
    }
}

/* What an entry has besides time, user, command and site. */
static void print_rest(const json_t *entry)
{
    char line[4096] = "", one[500], escaped[2048];
    const char *key;
    json_t *value;
    size_t used = 0;

    json_object_foreach((json_t *)(uintptr_t)entry, key, value)
    {
        if (is_rest(key) && used < sizeof(line)) {
            describe(key, value, one, sizeof(one));
            ecert_escape(escaped, sizeof(escaped), one, strlen(one));
            used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%s",
                                     used ? ", " : "", escaped);
        }
    }
    if (used > 0) {
        printf("%*s", INDENT, "");
        ecert_say_wrapped(stdout, line, INDENT, INDENT);
    }
}

static const char *safe(const char *text, char out[300])
{
    text = text ? text : "?";
    return ecert_escape(out, 300, text, strlen(text));
}

static void print_entry(const json_t *entry, int with_site)
{
    const char *as = ecert_json_text(entry, "as");
    const char *site = ecert_json_text(entry, "site");
    char when[300], user[300], became[300], who[640], command[300], of[300];

    snprintf(who, sizeof(who), "%s%s%s",
             safe(ecert_json_text(entry, "user"), user), as ? " as " : "",
             as ? safe(as, became) : "");
    printf("%-20.20s  ", safe(ecert_json_text(entry, "time"), when));
    ecert_say_padded(stdout, who, 12);
    safe(ecert_json_text(entry, "command"), command);
    if (with_site && site != NULL) {
        printf("  %-14s  %s\n", command, safe(site, of));
    } else {
        printf("  %s\n", command);
    }
    print_rest(entry);
}

static void print_none(const char *site)
{
    char name[ECERT_NAME_MAX * 4];

    if (site == NULL) {
        puts("Nothing was done yet.");
        return;
    }
    ecert_name_unicode(site, name, sizeof(name));
    printf("Nothing was done for %s.\n", name);
}

/* only: the site that is meant; NULL: all. */
static void show(const options_t *options, json_t *entries, const char *only)
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
        print_entry(entry, only == NULL);
    }
    if (json_array_size(entries) == 0) {
        print_none(only);
    }
}

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    char ascii[ECERT_NAME_MAX];
    const char *only = NULL;
    options_t options = {0};
    int code, first = ecert_cli_parse(command, argc, argv, &options, &code);
    json_t *entries;
    ecert_err_t err;

    if (first < 0) {
        return code;
    }
    if (argc - first > 1) {
        return ecert_cli_usage("log", "one NAME at most");
    }
    if (first < argc) {
        if (ecert_name_ascii(argv[first], ascii, &err) != 0) {
            return ecert_cli_fail(NULL, &err);
        }
        only = ascii;
    }
    options.store = ecert_cli_store();
    entries = ecert_journal_read(options.store, only, &err);
    if (entries == NULL) {
        return ecert_cli_fail(NULL, &err);
    }
    show(&options, entries, only);
    json_decref(entries);
    return ECERT_EXIT_DONE;
}

static const ecert_cli_option_t options[] = {
    {"json", NULL, "as JSON", 0, ecert_cli_set_flag, offsetof(options_t, json)},
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
