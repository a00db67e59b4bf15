#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "ecert_load.h"
#include "ecert_report.h"
#include "ecert_store_staple.h"
#include "ecert_store.h"
#include "servers.h"

#define PATHS_MAX 64

typedef struct {
    const char *store;
    const char *certificate;
    const char *key;
    const char *catalogue;
    const char *issuers[PATHS_MAX];
    size_t n_issuers;
    ecert_cross_t cross;
    int64_t now;
    int explain;
    int json;
    char **names;
    size_t n_names;
    json_t *servers; /* reports of those that run */
} options_t;

/*
 * A root that this machine does not know is worth a warning, but not a
 * failure: the CA may be a private one.  A leaf alone is a failure.
 */
static int in_order(int rc, const ecert_loaded_t *loaded)
{
    size_t harmless = 0;

    if (rc != 0 || loaded->state != ECERT_STATE_VALID) {
        return 0;
    }
    if (!loaded->chain->complete && sk_X509_num(loaded->chain->served) > 0) {
        harmless = 1;
    }
    return loaded->n_uncovered == 0 && loaded->n_warnings == harmless;
}

/* 1 when something is wrong with it. */
static int check_site(ecert_loader_t *loader, const ecert_site_t *site,
                      const options_t *options, json_t *sites)
{
    ecert_loaded_t loaded;
    ecert_err_t err;
    json_t *report;
    int rc, bad;

    ecert_err_clear(&err);
    rc = ecert_load(loader, site, options->now, &loaded, &err);
    if (rc == 0
        && ecert_store_staple_demand(options->store, &loaded, options->now,
                                     NULL, &err)
               != 0) {
        rc = 1;
    }
    if (rc != 0) {
        ecert_cli_remedy(&err);
    }
    bad = !in_order(rc, &loaded);
    report =
        ecert_report_site(site, &loaded, rc == 0 ? NULL : &err, options->now);
    if (!options->json) {
        ecert_report_print_site(report, stdout, options->explain, options->now);
    }
    json_array_append_new(sites, report);
    ecert_loaded_free(&loaded);
    return bad;
}

static ecert_site_t describe_site(const options_t *options, const char *name)
{
    ecert_site_t site = {
        .name = name,
        .catalogue = options->catalogue,
        .issuers = options->issuers,
        .n_issuers = options->n_issuers,
        .cross = options->cross,
    };

    if (name == NULL) {
        site.certificate = options->certificate;
        site.key = options->key;
        site.names = (const char *const *)options->names;
        site.n_names = options->n_names;
    } else {
        site.security_level = ecert_cli_security(options->servers, name);
    }
    return site;
}

static int check_sites(ecert_loader_t *loader, const options_t *options,
                       char **names, size_t n, json_t *sites)
{
    int bad = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        ecert_site_t site = describe_site(options, names[i]);

        bad |= check_site(loader, &site, options, sites);
    }
    return bad;
}

/* What a server says besides of validation files that it never answers. */
static void check_files(const options_t *options)
{
    ecert_tokens_t tokens;
    ecert_err_t err;

    if (ecert_store_tokens(options->store, time(NULL), NULL, NULL, NULL, NULL,
                           &tokens, &err)
        != 0) {
        ecert_cli_warn(NULL, &err);
        return;
    }
    if (ecert_tokens_over(&tokens, &err) > 0) {
        ecert_cli_warn(NULL, &err);
    }
    ecert_tokens_free(&tokens);
}

static int check_store(ecert_loader_t *loader, const options_t *options,
                       json_t *sites, ecert_err_t *err)
{
    char **names;
    size_t n;
    int bad;

    if (options->n_names > 0) {
        return check_sites(loader, options, options->names, options->n_names,
                           sites);
    }
    if (ecert_store_sites(options->store, &names, &n, err) != 0) {
        return -1;
    }
    bad = check_sites(loader, options, names, n, sites);
    if (n == 0 && !options->json) {
        printf("the store %s has no sites\n", options->store);
    }
    ecert_names_free(names, n);
    check_files(options);
    return bad;
}

static int check_all(const options_t *options)
{
    json_t *report = ecert_report_head(options->store, options->now);
    json_t *sites = json_array();
    ecert_loader_t *loader;
    ecert_err_t err;
    int bad = -1;

    json_object_set_new(report, "sites", sites);
    loader = ecert_loader_new(options->store, &err);
    if (loader != NULL && options->certificate != NULL) {
        ecert_site_t site = describe_site(options, NULL);

        bad = check_site(loader, &site, options, sites);
    } else if (loader != NULL) {
        bad = check_store(loader, options, sites, &err);
    }
    if (bad >= 0 && options->json) {
        json_dumpf(report, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    ecert_loader_free(loader);
    json_decref(report);
    if (bad < 0) {
        return ecert_cli_fail(NULL, &err);
    }
    return bad ? ECERT_EXIT_FAILED : ECERT_EXIT_DONE;
}

static int add_issuer(void *ctx, const char *value, ecert_err_t *err)
{
    options_t *options = ctx;

    if (options->n_issuers == PATHS_MAX) {
        return ecert_err(err, ECERT_ERR_TOO_MANY, value, "--issuers");
    }
    options->issuers[options->n_issuers++] = ecert_cli_absolute(value);
    return 0;
}

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    options_t options = {.now = time(NULL)};
    int code, first = ecert_cli_parse(command, argc, argv, &options, &code);

    if (first < 0) {
        return code;
    }
    if ((options.certificate == NULL) != (options.key == NULL)) {
        return ecert_cli_usage("check", "--certificate and --key go together");
    }
    options.names = argv + first;
    options.n_names = (size_t)(argc - first);
    options.store = ecert_cli_store();
    if (options.certificate == NULL) {
        options.servers = ecert_cli_servers(options.store, NULL);
    }
    code = check_all(&options);
    json_decref(options.servers);
    return code;
}

static const ecert_cli_option_t options[] = {
    {"certificate", "FILE", "leaf, or leaf and chain: PEM, DER or PKCS#7", 0,
     ecert_cli_set_path, offsetof(options_t, certificate)},
    {"key", "FILE", "its private key", 0, ecert_cli_set_path,
     offsetof(options_t, key)},
    {"issuers", "PATH",
     "more CA certificates: a file or a folder; may be given again", 0,
     add_issuer, 0},
    {"catalogue", "FILE", "another CA's catalogue", 0, ecert_cli_set_path,
     offsetof(options_t, catalogue)},
    {"cross-certificate", "POLICY", "auto|on|off|until=YYYY-MM-DD", 0,
     ecert_cli_set_cross, offsetof(options_t, cross)},
    {"at", "DATE", "as if it were then (YYYY-MM-DD[THH:MM:SSZ])", 0,
     ecert_cli_set_date, offsetof(options_t, now)},
    {"explain", NULL, "every certificate that was considered, and why", 0,
     ecert_cli_set_flag, offsetof(options_t, explain)},
    {"json", NULL, "as JSON (schema ecert-status, version 1)", 0,
     ecert_cli_set_flag, offsetof(options_t, json)},
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_check = {
    .name = "check",
    .what = "what a server would say to a site or to files",
    .arguments = "[NAME]...\n--certificate FILE --key FILE [NAME]...",
    .about = "Says what a server would say to these sites of the store (all of "
             "them without NAME), or to these files for a server with these "
             "names.",
    .options = options,
    .exits = "Exit code: 0 all in order, 1 something is not, 2 wrong usage.",
    .example = "ecert check --certificate new.pem --key new.key "
               "www.example.hk",
    .run = run,
};
