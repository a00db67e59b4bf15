#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "facts.h"
#include "progress.h"
#include "servers.h"
#include "ecert_file.h"
#include "ecert_json.h"
#include "ecert_load.h"
#include "ecert_name.h"
#include "ecert_report.h"
#include "ecert_store_staple.h"
#include "ecert_store.h"
#include "ecert_token_put.h"

typedef struct {
    const char *store;
    const char *name; /* of the only site to show, or NULL */
    int json;
    int explain;
    int64_t now;
} options_t;

static void ignore(void *ctx, const ecert_err_t *err)
{
    (void)ctx;
    (void)err;
}

static void report_store_tokens(json_t *report, const options_t *options)
{
    ecert_tokens_t tokens;
    ecert_err_t err;

    if (ecert_store_tokens(options->store, options->now, NULL, NULL, ignore,
                           NULL, &tokens, &err)
        == 0) {
        ecert_report_files(report, &tokens, NULL);
        ecert_tokens_free(&tokens);
    }
}

static json_t *report_store_site(ecert_loader_t *loader, const char *name,
                                 const options_t *options)
{
    ecert_site_t site = {.name = name};
    ecert_loaded_t loaded;
    ecert_err_t err;
    json_t *report;
    int rc;

    ecert_err_clear(&err);
    rc = ecert_load(loader, &site, options->now, &loaded, &err);
    if (rc == 0) {
        rc = ecert_store_staple_demand(options->store, &loaded, options->now,
                                       NULL, &err);
    }
    report =
        ecert_report_site(&site, &loaded, rc == 0 ? NULL : &err, options->now);
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
        json_array_append_new(sites,
                              report_store_site(loader, names[i], options));
    }
    ecert_names_free(names, n);
    ecert_loader_free(loader);
    report_store_tokens(report, options);
    return report;
}

/* A certificate that waits for its first day is no fault. */
static int is_faulty(const json_t *site)
{
    const json_t *error = json_object_get(site, "error");
    const char *reason = ecert_json_text(error, "reason");

    return json_is_object(error)
           && (reason == NULL
               || strcmp(reason, ecert_err_word(ECERT_ERR_NOT_YET)) != 0);
}

static int in_order(const json_t *site)
{
    const char *state = ecert_json_text(site, "state");
    const char *served =
        ecert_json_text(json_object_get(site, "served"), "state");

    if ((served != NULL && strcmp(served, "differs") == 0)
        || ecert_cli_refusing(site) > 0) {
        return 0;
    }
    return state != NULL && strcmp(state, "valid") == 0 && !is_faulty(site)
           && (json_is_true(json_object_get(site, "complete"))
               || json_array_size(json_object_get(site, "chain")) > 0);
}

/* A validation file of that name or of one of these sites, or put for it. */
static int is_file_of(const json_t *file, const json_t *sites,
                      const options_t *options)
{
    char host[ECERT_NAME_MAX], ascii[ECERT_NAME_MAX];
    const char *owner;
    json_t *origin;
    ecert_err_t err;
    int found;
    size_t i;

    if (ecert_name_ascii(ecert_json_text(file, "host"), host, &err) != 0
        || ecert_name_ascii(options->name, ascii, &err) != 0) {
        return 0;
    }
    for (i = 0; i < json_array_size(sites); i++) {
        if (ecert_cli_concerns(json_array_get(sites, i), host)) {
            return 1;
        }
    }
    origin = ecert_token_origin(options->store, host,
                                ecert_json_text(file, "file"), &err);
    owner = ecert_json_text(origin, "site");
    found = strcmp(host, ascii) == 0 || (owner && strcmp(owner, ascii) == 0);
    json_decref(origin);
    return found;
}

static void sift_files(json_t *report, const options_t *options)
{
    json_t *files = json_object_get(report, "validation_files");
    size_t i = json_array_size(files);

    while (i-- > 0) {
        if (!is_file_of(json_array_get(files, i),
                        json_object_get(report, "sites"), options)) {
            json_array_remove(files, i);
        }
    }
}

/* Leaves only the sites that were asked for; counts all and the bad ones. */
static void sift(json_t *report, const options_t *options, size_t *n,
                 size_t *bad)
{
    json_t *sites = json_object_get(report, "sites");
    size_t i = json_array_size(sites);

    while (i-- > 0) {
        const json_t *site = json_array_get(sites, i);

        if (options->name != NULL && !ecert_cli_concerns(site, options->name)) {
            json_array_remove(sites, i);
            continue;
        }
        (*n)++;
        *bad += !in_order(site);
    }
    if (options->name != NULL) {
        sift_files(report, options);
    }
}

/* ---- how far the sites of the store are --------------------------------- */

static void add_progress(json_t *list, const options_t *options,
                         const json_t *servers, ecert_loader_t *loader,
                         const char *name)
{
    char ascii[ECERT_NAME_MAX];
    ecert_err_t ignored;

    if (ecert_name_ascii(name, ascii, &ignored) == 0) {
        json_array_append_new(list, ecert_cli_progress(options->store, ascii,
                                                       servers, loader,
                                                       options->now, &ignored));
    }
}

static int is_listed(const json_t *list, const json_t *site)
{
    const json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        if (ecert_cli_is_site(site, ecert_json_text(one, "site"))) {
            return 1;
        }
    }
    return 0;
}

/* Those that a server waits for, and that the store does not know yet. */
static void add_awaited(json_t *list, const options_t *options,
                        const json_t *servers)
{
    const json_t *report, *site;
    size_t i, k;

    json_array_foreach(servers, i, report)
    {
        json_array_foreach(json_object_get(report, "sites"), k, site)
        {
            if (ecert_json_flag(site, "store_site", 0)
                && !is_listed(list, site)) {
                add_progress(list, options, servers, NULL,
                             ecert_json_text(site, "site"));
            }
        }
    }
}

/* The one that was asked for, or all; an array. */
static json_t *progress_of(const options_t *options, const json_t *servers)
{
    json_t *list = json_array();
    char **names = NULL;
    ecert_loader_t *loader;
    ecert_err_t err;
    size_t n = 0;

    if (options->name != NULL) {
        add_progress(list, options, servers, NULL, options->name);
        return list;
    }
    ecert_store_sites(options->store, &names, &n, &err);
    loader = n > 0 ? ecert_loader_new(options->store, &err) : NULL;
    for (size_t i = 0; loader != NULL && i < n; i++) {
        add_progress(list, options, servers, loader, names[i]);
    }
    ecert_loader_free(loader);
    ecert_names_free(names, n);
    add_awaited(list, options, servers);
    return list;
}

static void print_json(json_t *reports, json_t *progress,
                       const options_t *options)
{
    json_t *top = ecert_report_head(options->store, options->now);

    json_object_set(top, "servers", reports);
    json_object_set(top, "progress", progress);
    json_dumpf(top, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(top);
}

static void print_text(json_t *reports, json_t *progress,
                       const options_t *options, size_t n)
{
    json_t *one;
    size_t i;

    json_array_foreach(reports, i, one)
    {
        if (n > 0 || json_array_size(reports) == 0) {
            ecert_report_print(one, stdout, options->explain, options->now);
        }
    }
    if (json_array_size(progress) == 0) {
        return;
    }
    puts("progress");
    json_array_foreach(progress, i, one)
    {
        if (options->name != NULL || options->explain) {
            ecert_cli_progress_print(one, stdout);
        } else {
            ecert_cli_progress_line(one, stdout);
        }
    }
}

static int is_installed(const json_t *progress)
{
    const json_t *step;
    size_t i;

    json_array_foreach(json_object_get(progress, "steps"), i, step)
    {
        if (strcmp(ecert_json_text(step, "step"), "installed") == 0) {
            return 1;
        }
    }
    return 0;
}

/* How many sites have a certificate that no running server knows of. */
static size_t count_unserved(const json_t *servers, const json_t *progress)
{
    const json_t *one;
    size_t i, n = 0;

    json_array_foreach(progress, i, one)
    {
        n += is_installed(one)
             && !ecert_facts_known(servers, ecert_json_text(one, "site"));
    }
    return n;
}

static int show(json_t *reports, json_t *progress, const options_t *options,
                size_t silent)
{
    size_t i, n = 0, bad = 0;
    json_t *report;

    json_array_foreach(reports, i, report)
    {
        sift(report, options, &n, &bad);
    }
    if (options->name != NULL && n == 0 && json_array_size(progress) == 0) {
        char ascii[ECERT_NAME_MAX];
        ecert_err_t err;

        if (ecert_name_ascii(options->name, ascii, &err) == 0) {
            ecert_err(&err, ECERT_ERR_NO_SITE, options->name, NULL);
        }
        return ecert_cli_fail(NULL, &err);
    }
    if (options->json) {
        print_json(reports, progress, options);
    } else {
        print_text(reports, progress, options, n);
    }
    /* a site that no running server has is not served */
    return bad > 0 || silent > 0 || (options->name != NULL && n == 0)
               ? ECERT_EXIT_FAILED
               : ECERT_EXIT_DONE;
}

static int show_all(const options_t *options)
{
    int silent = 0, code;
    json_t *reports = ecert_cli_servers(options->store, &silent), *report;
    json_t *progress = progress_of(options, reports);
    size_t unserved = count_unserved(reports, progress);
    ecert_err_t err;

    if (json_array_size(reports) == 0) {
        report = report_store(options, &err);
        if (report == NULL) {
            json_decref(progress);
            json_decref(reports);
            return ecert_cli_fail(NULL, &err);
        }
        json_array_append_new(reports, report);
    }
    code = show(reports, progress, options, (size_t)silent + unserved);
    json_decref(progress);
    json_decref(reports);
    return code;
}

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    options_t options = {.now = time(NULL)};
    int code, first = ecert_cli_parse(command, argc, argv, &options, &code);

    if (first < 0) {
        return code;
    }
    if (argc - first > 1) {
        return ecert_cli_usage("status", "one NAME at most");
    }
    options.name = argv[first];
    options.store = ecert_cli_store();
    return show_all(&options);
}

static const ecert_cli_option_t options[] = {
    {"json", NULL, "the same as JSON (schema ecert-status, version 1)", 0,
     ecert_cli_set_flag, offsetof(options_t, json)},
    {"explain", NULL,
     "each worker's generation; every certificate that was considered, and why "
     "it was taken or left; the last fetches of each validation file",
     0, ecert_cli_set_flag, offsetof(options_t, explain)},
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_status = {
    .name = "status",
    .what = "what the running servers serve, and the next step",
    .arguments = "[NAME]",
    .about = "Shows what the running servers serve: sites, chains, dates, "
             "workers, validation files, the last error of each; and how far "
             "each site of the store is, with its next step.  Without a "
             "running server, what the store holds.",
    .options = options,
    .exits = "Exit code: 0 all sites serve a valid certificate without an "
             "error, and nothing else is sent at their addresses, 1 not so, or "
             "a worker cannot use it, or an agent does not "
             "answer, or a certificate of the store is served by no running "
             "server, 2 wrong usage.",
    .example = "ecert status --explain www.example.hk",
    .run = run,
};
