#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "ecert_door.h"
#include "ecert_file.h"
#include "ecert_load.h"
#include "ecert_name.h"
#include "ecert_report.h"
#include "ecert_store.h"

#define SECONDS 3 /* that an agent has for its answer */

static const char usage[] =
    "Usage: ecert status [OPTION]... [NAME]\n"
    "Shows what the running servers serve: sites, chains, dates, workers,\n"
    "validation files, the last error of each.  Without a running server, "
    "what\n"
    "the store holds.\n\n"
    "  --json       the same as JSON (schema ecert-status, version 1)\n"
    "  --explain    each worker's generation; every certificate that was\n"
    "               considered, and why it was taken or left\n"
    "  --store DIR  the store (default: ECERT_STORE, else /var/lib/ecert)\n"
    "  --help       this text\n\n"
    "Exit code: 0 all sites serve a valid certificate without an error,\n"
    "1 not so, or an agent does not answer, 2 wrong usage.\n\n"
    "Example: ecert status --explain www.example.hk\n";

typedef struct {
    const char *store;
    const char *name; /* of the only site to show, or NULL */
    int json;
    int explain;
    int64_t now;
} options_t;

/* Its socket is still there: it did not leave, it was killed. */
static void complain_dead(const char *path)
{
    ecert_err_t err;

    ecert_err(&err, ECERT_ERR_AGENT, path, "it was killed and did not return");
    ecert_err_hint(&err, "reload the server, or start it: that brings a new "
                         "agent");
    ecert_cli_fail(NULL, &err);
}

/* All agents that answer; *silent counts those that do not. */
static json_t *ask_agents(const char *store, int *silent)
{
    json_t *answers = json_array();
    char run[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
    ecert_err_t err;
    char **names;
    size_t n, i;

    snprintf(run, sizeof(run), "%.3800s/run", store);
    if (ecert_file_list(run, 1000, NULL, &names, &n, &err) != 0) {
        return answers;
    }
    for (i = 0; i < n; i++) {
        int dead;
        char *text;
        json_t *answer;

        snprintf(path, sizeof(path), "%s/%.255s", run, names[i]);
        text = ecert_door_ask(path, SECONDS, &dead, &err);
        if (text == NULL && !dead) {
            ecert_cli_fail(NULL, &err);
            (*silent)++;
        } else if (text == NULL && access(path, F_OK) == 0) {
            complain_dead(path);
            (*silent)++;
        }
        answer = text ? json_loads(text, 0, NULL) : NULL;
        if (answer != NULL) {
            json_array_append_new(answers, answer);
        }
        free(text);
    }
    ecert_names_free(names, n);
    return answers;
}

static void ignore(void *ctx, const ecert_err_t *err)
{
    (void)ctx;
    (void)err;
}

static void report_store_tokens(json_t *report, const options_t *options)
{
    ecert_tokens_t tokens;
    ecert_err_t err;

    if (ecert_store_tokens(options->store, options->now, NULL, ignore, NULL,
                           &tokens, &err)
        == 0) {
        json_object_set_new(report, "validation_files",
                            ecert_report_tokens(&tokens));
        ecert_tokens_free(&tokens);
    }
}

static json_t *report_store_site(ecert_loader_t *loader, const char *name,
                                 int64_t now)
{
    ecert_site_t site = {.name = name};
    ecert_loaded_t loaded;
    ecert_err_t err;
    json_t *report;
    int rc;

    ecert_err_clear(&err);
    rc = ecert_load(loader, &site, now, &loaded, &err);
    report = ecert_report_site(&site, &loaded, rc == 0 ? NULL : &err, now);
    ecert_loaded_free(&loaded);
    return report;
}

/* What the store holds, when no server says what it serves. */
static json_t *report_store(const options_t *options, ecert_err_t *err)
{
    json_t *report = ecert_report_head(options->store, options->now);
    json_t *sites = json_array();
    ecert_loader_t *loader = NULL;
    char **names;
    size_t n, i;

    json_object_set_new(report, "sites", sites);
    if (ecert_store_sites(options->store, &names, &n, err) != 0) {
        json_decref(report);
        return NULL;
    }
    if (n > 0) {
        loader = ecert_loader_new(options->store, err);
    }
    for (i = 0; loader != NULL && i < n; i++) {
        json_array_append_new(
            sites, report_store_site(loader, names[i], options->now));
    }
    ecert_names_free(names, n);
    ecert_loader_free(loader);
    report_store_tokens(report, options);
    return report;
}

static int same_name(const char *a, const char *b)
{
    char x[ECERT_NAME_MAX], y[ECERT_NAME_MAX];
    ecert_err_t ignored;

    if (ecert_name_ascii(a, x, &ignored) != 0
        || ecert_name_ascii(b, y, &ignored) != 0) {
        return strcasecmp(a, b) == 0;
    }
    return strcmp(x, y) == 0;
}

static int concerns(const json_t *site, const char *name)
{
    const json_t *vhost;
    size_t i;

    if (same_name(json_string_value(json_object_get(site, "site")), name)) {
        return 1;
    }
    json_array_foreach(json_object_get(site, "vhosts"), i, vhost)
    {
        if (same_name(json_string_value(vhost), name)) {
            return 1;
        }
    }
    return 0;
}

static int in_order(const json_t *site)
{
    const char *state = json_string_value(json_object_get(site, "state"));

    return state != NULL && strcmp(state, "valid") == 0
           && !json_is_object(json_object_get(site, "error"))
           && (json_is_true(json_object_get(site, "complete"))
               || json_array_size(json_object_get(site, "chain")) > 0);
}

/* Leaves only the sites that were asked for; counts all and the bad ones. */
static void sift(json_t *report, const char *name, size_t *n, size_t *bad)
{
    json_t *sites = json_object_get(report, "sites");
    size_t i = json_array_size(sites);

    while (i-- > 0) {
        const json_t *site = json_array_get(sites, i);

        if (name != NULL && !concerns(site, name)) {
            json_array_remove(sites, i);
            continue;
        }
        (*n)++;
        *bad += !in_order(site);
    }
}

static void print_json(json_t *reports, const options_t *options)
{
    json_t *top = ecert_report_head(options->store, options->now);

    json_object_set_new(top, "servers", json_incref(reports));
    json_dumpf(top, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(top);
}

static int show(json_t *reports, const options_t *options, int silent)
{
    size_t i, n = 0, bad = 0;
    json_t *report;

    json_array_foreach(reports, i, report)
    {
        sift(report, options->name, &n, &bad);
    }
    if (options->name != NULL && n == 0) {
        ecert_err_t err;

        ecert_err(&err, ECERT_ERR_NO_SITE, options->name, NULL);
        return ecert_cli_fail(NULL, &err);
    }
    if (options->json) {
        print_json(reports, options);
    } else {
        json_array_foreach(reports, i, report)
        {
            ecert_report_print(report, stdout, options->explain, options->now);
        }
    }
    return bad > 0 || silent > 0 ? ECERT_EXIT_FAILED : ECERT_EXIT_DONE;
}

static int run(const options_t *options)
{
    int silent = 0, code;
    json_t *reports = ask_agents(options->store, &silent), *report;
    ecert_err_t err;

    if (json_array_size(reports) == 0) {
        report = report_store(options, &err);
        if (report == NULL) {
            json_decref(reports);
            return ecert_cli_fail(NULL, &err);
        }
        json_array_append_new(reports, report);
    }
    code = show(reports, options, silent);
    json_decref(reports);
    return code;
}

int ecert_cmd_status(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"json", no_argument, NULL, 'j'},
        {"explain", no_argument, NULL, 'e'},
        {"store", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    options_t options = {.now = time(NULL)};
    int c;

    optind = 1;
    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (c) {
        case 'j':
            options.json = 1;
            break;
        case 'e':
            options.explain = 1;
            break;
        case 's':
            options.store = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            return ECERT_EXIT_DONE;
        default:
            return ECERT_EXIT_USAGE;
        }
    }
    if (argc - optind > 1) {
        return ecert_cli_usage("status", "one NAME at most");
    }
    options.name = argv[optind];
    options.store = ecert_cli_store(options.store);
    return run(&options);
}
