/* Validation files: list and remove. */

#include <string.h>
#include <time.h>

#include "cli.h"
#include "dcv.h"
#include "ecert_dcv.h"
#include "ecert_journal.h"
#include "ecert_json.h"
#include "ecert_report.h"
#include "ecert_store.h"
#include "ecert_token_put.h"
#include "progress.h"
#include "servers.h"

typedef struct {
    const char *store;
    char **words;
    size_t n_words;
    int json;
} options_t;

static int parse(const ecert_cli_command_t *command, int argc, char **argv,
                 options_t *options, int *code)
{
    int first = ecert_cli_parse(command, argc, argv, options, code);

    if (first < 0) {
        return -1;
    }
    options->words = argv + first;
    options->n_words = (size_t)(argc - first);
    options->store = ecert_cli_store();
    return 0;
}

/* ---- list -------------------------------------------------------------- */

/* ctx: NULL, or where the first error goes by which a file may be hidden. */
static void complain(void *ctx, const ecert_err_t *err)
{
    ecert_err_t *hides = ctx;

    if (hides == NULL || !ecert_err_refused(err)) {
        ecert_cli_warn(NULL, err);
    } else if (hides->code == ECERT_OK) {
        *hides = *err;
    }
}

/* The table holds a Unicode spelling beside the A-label: shown once. */
static int is_shown(const ecert_token_t *token, const char *only)
{
    for (const char *p = token->host; *p; p++) {
        if ((unsigned char)*p > 0x7f) {
            return 0;
        }
    }
    return only == NULL || strcmp(only, token->host) == 0;
}

static json_t *report_token(const char *store, const char *host,
                            const char *file, size_t len, int64_t expires,
                            ecert_err_t *err)
{
    json_t *one = NULL;
    json_t *origin = ecert_token_origin(store, host, file, err);
    char url[700];

    if (origin == NULL) {
        return NULL;
    }
    one = json_object();
    snprintf(url, sizeof(url), "http://%s" ECERT_DCV_PREFIX "%s", host, file);
    ecert_json_set_text(one, "host", host);
    ecert_json_set_text(one, "file", file);
    json_object_set_new(one, "bytes", json_integer((json_int_t)len));
    ecert_json_set_date(one, "expires", expires);
    ecert_json_set_text(one, "site", ecert_json_text(origin, "site"));
    if (json_object_get(origin, "request") != NULL) {
        json_object_set(one, "request", json_object_get(origin, "request"));
    }
    ecert_json_set_text(one, "url", url);
    json_decref(origin);
    return one;
}

static void print_token(const json_t *one)
{
    const char *site = ecert_json_text(one, "site");
    const char *host = ecert_json_text(one, "host");
    const char *over = ecert_json_text(one, "over");

    printf("%s\n    %s %s, %lld bytes", ecert_json_text(one, "url"),
           over ? "not answered: its 30 days were over" : "until",
           ecert_json_text(one, "expires"),
           (long long)json_integer_value(json_object_get(one, "bytes")));
    if (site == NULL) {
        printf(", put by hand");
    } else if (strcmp(site, host) != 0) {
        printf(", of site %s", site);
    }
    printf("\n");
    if (over) {
        printf("    if the CA is to ask for it: touch %s\n", over);
    }
}

/* Hosts of a site, or one host. */
static int concerns(const json_t *one, const char *only)
{
    const char *site = ecert_json_text(one, "site");

    return only == NULL || strcmp(ecert_json_text(one, "host"), only) == 0
           || (site != NULL && strcmp(site, only) == 0);
}

static int add_concerned(json_t *list, json_t *one, const char *only)
{
    if (one == NULL) {
        return -1;
    }
    if (concerns(one, only)) {
        json_array_append(list, one);
    }
    json_decref(one);
    return 0;
}

/* Also those that are not answered any more. */
static int add_tokens(json_t *list, const char *store, const char *only,
                      const ecert_tokens_t *tokens, ecert_err_t *err)
{
    int rc = 0;

    for (size_t i = 0; i < tokens->n && rc == 0; i++) {
        const ecert_token_t *token = &tokens->tokens[i];

        if (is_shown(token, NULL)) {
            rc = add_concerned(list,
                               report_token(store, token->host, token->file,
                                            token->body_len, token->expires,
                                            err),
                               only);
        }
    }
    for (size_t i = 0; i < tokens->n_over && rc == 0; i++) {
        const ecert_token_over_t *over = &tokens->over[i];
        json_t *one = report_token(store, over->host, over->file, over->len,
                                   over->expires, err);

        ecert_json_set_text(one, "over", over->path);
        rc = add_concerned(list, one, only);
    }
    return rc;
}

static json_t *list_tokens(const char *store, const char *only,
                           ecert_err_t *hides, ecert_err_t *err)
{
    json_t *list = json_array();
    ecert_tokens_t tokens;

    if (ecert_store_tokens(store, time(NULL), NULL, NULL, complain, hides,
                           &tokens, err)
        != 0) {
        json_decref(list);
        return NULL;
    }
    if (add_tokens(list, store, only, &tokens, err) != 0) {
        json_decref(list);
        list = NULL;
    }
    ecert_tokens_free(&tokens);
    return list;
}

static void print_none(const char *only)
{
    char name[ECERT_NAME_MAX * 4];

    if (only == NULL) {
        puts("There are no validation files.");
        return;
    }
    ecert_name_unicode(only, name, sizeof(name));
    printf("There are no validation files of %s.\n", name);
}

/* only: the site or host that is meant, and all of its fetches; NULL: all. */
static void print_list(const json_t *list, const json_t *servers,
                       const char *only)
{
    const json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        print_token(one);
        ecert_dcv_print_fetched(one, only != NULL);
    }
    if (json_array_size(list) == 0) {
        print_none(only);
        return;
    }
    json_array_foreach(servers, i, one)
    {
        ecert_report_print_lost(one, stdout);
    }
}

static void print_json(const options_t *options, json_t *list,
                       const json_t *servers)
{
    json_t *top = ecert_report_head(options->store, time(NULL));
    json_t *answered = json_array(), *over = json_array(), *one;
    const json_t *report;
    json_int_t lost = 0;
    size_t i;

    json_array_foreach(list, i, one)
    {
        json_array_append(json_object_get(one, "over") ? over : answered, one);
    }

    json_array_foreach(servers, i, report)
    {
        lost += json_integer_value(json_object_get(report, "fetches_lost"));
    }
    json_object_set_new(top, "validation_files", answered);
    json_object_set_new(top, "over", over);
    json_object_set_new(top, "fetches_lost", json_integer(lost));
    json_dumpf(top, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(top);
}

static void show_list(const options_t *options, json_t *list, const char *only)
{
    int silent = 0;
    json_t *servers = ecert_cli_servers(options->store, &silent);

    ecert_dcv_add_fetched(list, servers);
    if (options->json) {
        print_json(options, list, servers);
    } else {
        print_list(list, servers, only);
    }
    json_decref(servers);
}

static int run_list(const ecert_cli_command_t *command, int argc, char **argv)
{
    char ascii[ECERT_NAME_MAX];
    const char *only = NULL;
    options_t options = {0};
    ecert_err_t err;
    json_t *list;
    int code;

    if (parse(command, argc, argv, &options, &code) != 0) {
        return code;
    }
    if (options.n_words > 1) {
        return ecert_cli_usage("dcv list", "one NAME at most");
    }
    if (options.n_words == 1) {
        if (ecert_name_ascii(options.words[0], ascii, &err) != 0) {
            return ecert_cli_fail(NULL, &err);
        }
        only = ascii;
    }
    list = list_tokens(options.store, only, NULL, &err);
    if (list == NULL) {
        return ecert_cli_fail(NULL, &err);
    }
    show_list(&options, list, only);
    json_decref(list);
    return ECERT_EXIT_DONE;
}

/* ---- remove ------------------------------------------------------------ */

static int remove_all(const ecert_cli_site_t *site, const options_t *options,
                      ecert_err_t *err)
{
    ecert_err_t hides = {0};
    json_t *list = list_tokens(site->store, site->ascii, &hides, err);
    const char *only = options->n_words > 1 ? options->words[1] : NULL;
    json_t *one, *more;
    size_t i, n = 0;

    if (list == NULL) {
        return -1;
    }
    if (hides.code != ECERT_OK) {
        *err = hides;
        json_decref(list);
        return -1;
    }
    json_array_foreach(list, i, one)
    {
        const char *host = ecert_json_text(one, "host");
        const char *file = ecert_json_text(one, "file");

        if (only != NULL && strcmp(only, file) != 0) {
            continue;
        }
        if (ecert_token_remove(site->store, host, file, err) < 0) {
            json_decref(list);
            return -1;
        }
        printf("removed %s of %s\n", file, host);
        more = json_object();
        ecert_json_set_text(more, "file", file);
        ecert_json_set_text(more, "host", host);
        if (ecert_journal_add(site->store, "dcv remove", site->ascii, more,
                              site->now, err)
            != 0) {
            ecert_cli_warn(site->ascii, err);
        }
        n++;
    }
    json_decref(list);
    if (n > 0) {
        return 0;
    }
    ecert_err(err, ECERT_ERR_MISSING, only ? only : site->ascii,
              "there is no such validation file");
    return ecert_err_hint(err, "see ecert dcv list");
}

/* A host need be no site: files may have been put by hand. */
static int run_remove(const ecert_cli_command_t *command, int argc, char **argv)
{
    ecert_cli_site_t site = {.lock = -1, .now = time(NULL)};
    options_t options = {0};
    ecert_err_t err;
    int code, rc;

    if (parse(command, argc, argv, &options, &code) != 0) {
        return code;
    }
    if (options.n_words < 1 || options.n_words > 2) {
        return ecert_cli_usage("dcv remove",
                               "NAME is wanted, and FILE at most");
    }
    site.store = options.store;
    if (ecert_name_ascii(options.words[0], site.ascii, &err) != 0
        || (site.lock = ecert_cli_lock(site.store, &err)) < 0) {
        return ecert_cli_fail(NULL, &err);
    }
    rc = remove_all(&site, &options, &err);
    ecert_cli_site_close(&site);
    if (rc != 0) {
        return ecert_cli_fail(NULL, &err);
    }
    if (ecert_cli_site_look(&site, site.store, options.words[0], &err) == 0) {
        ecert_cli_progress_show(site.store, site.ascii, site.now, stdout);
    }
    return ECERT_EXIT_DONE;
}

/* ---- the commands ------------------------------------------------------ */

static const ecert_cli_option_t list_options[] = {
    {"json", NULL, "as JSON", 0, ecert_cli_set_flag, offsetof(options_t, json)},
    ECERT_CLI_STORE,
    {0},
};

static const ecert_cli_option_t remove_options[] = {
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_dcv_list = {
    .name = "dcv list",
    .what = "validation files, where and until when",
    .arguments = "[NAME]",
    .about = "Lists the validation files, of all hosts or of one site or host, "
             "with the URLs at which the servers answer with them, and who "
             "fetched them: how often, from how many networks, when last.  "
             "With NAME each of the last fetches.",
    .options = list_options,
    .example = "ecert dcv list www.example.hk",
    .run = run_list,
};

const ecert_cli_command_t ecert_cmd_dcv_remove = {
    .name = "dcv remove",
    .what = "remove validation files before their 30 days",
    .arguments = "NAME [FILE]",
    .about =
        "Removes the validation files of a site or host, or the one FILE.  "
        "They end by themselves after 30 days.",
    .options = remove_options,
    .example = "ecert dcv remove www.example.hk fileauth.txt",
    .run = run_remove,
};
