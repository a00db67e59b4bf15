/* Validation files: add, list, remove, and Sectigo's. */

#include <string.h>
#include <time.h>

#include <openssl/crypto.h>

#include "cli.h"
#include "dcv.h"
#include "ecert_conf.h"
#include "ecert_csr.h"
#include "ecert_dcv.h"
#include "ecert_dcv_mend.h"
#include "ecert_journal.h"
#include "ecert_json.h"
#include "ecert_parcel.h"
#include "ecert_report.h"
#include "ecert_store.h"
#include "ecert_token_put.h"
#include "progress.h"
#include "say.h"
#include "servers.h"

typedef struct {
    const char *store;
    char **words;
    size_t n_words;
    const char *as;
    const char *unique;
    uint64_t request;
    int json;
} options_t;

static int set_option(void *ctx, int c, const char *value, ecert_err_t *err)
{
    options_t *options = ctx;

    switch (c) {
    case 'a':
        options->as = value;
        return 0;
    case 'u':
        options->unique = value;
        return 0;
    case 'r':
        return ecert_cli_number(value, "the request", &options->request, err);
    case 'j':
        options->json = 1;
        return 0;
    default:
        options->store = value;
        return 0;
    }
}

static int parse(const ecert_cli_command_t *command, int argc, char **argv,
                 options_t *options, int *code)
{
    int first = ecert_cli_parse(command, argc, argv, set_option, options, code);

    if (first < 0) {
        return -1;
    }
    options->words = argv + first;
    options->n_words = (size_t)(argc - first);
    options->store = ecert_cli_store(options->store);
    return 0;
}

/* ---- add --------------------------------------------------------------- */

static int read_body(const char *path, unsigned char **body, size_t *len,
                     ecert_err_t *err)
{
    char words[200];
    ecert_file_t file;
    unsigned mended;
    int rc;

    if (ecert_parcel_read(path, &file, err) != 0) {
        return -1;
    }
    rc = ecert_dcv_mend(file.bytes, file.len, path, body, len, &mended, err);
    ecert_file_free(&file);
    if (rc == 0 && mended) {
        ecert_say_line(stdout, "mended, as validators stumble over it: %s",
                       ecert_dcv_mended(mended, words, sizeof(words)));
    }
    return rc;
}

/* A name that is misspelt is answered, but nobody asks for it. */
static void warn_name(const char *file, const char *asked)
{
    if (asked != NULL && strcmp(file, asked) != 0) {
        fprintf(stderr,
                "ecert: %swarning: %sthe CA asks for %s; this is answered as "
                "%s (--as %s)\n",
                ecert_say_style(stderr, ECERT_SAY_WARN),
                ecert_say_style(stderr, ECERT_SAY_PLAIN), asked, file, asked);
    }
}

static int put_file(const ecert_cli_site_t *site, const options_t *options,
                    const unsigned char *body, size_t len, ecert_err_t *err)
{
    char file[ECERT_DCV_FILE_MAX + 1];
    ecert_dcv_order_t order;
    const char *usual;
    int rc;

    if (ecert_dcv_order(site, options->request, &order, err) != 0) {
        return -1;
    }
    usual = ecert_ca_rules(order.ca)->token_file;
    rc = ecert_dcv_no_wildcard(&order, err);
    if (rc == 0) {
        rc = ecert_dcv_name(options->words[1], options->as,
                            usual ? usual : "fileauth.txt", file, err);
    }
    if (rc == 0) {
        rc = ecert_dcv_put(site, &order, file, body, len, err);
    }
    if (rc == 0) {
        fflush(stdout);
        warn_name(file, usual);
    }
    ecert_dcv_order_free(&order);
    return rc;
}

static int run_add(const ecert_cli_command_t *command, int argc, char **argv)
{
    options_t options = {0};
    ecert_cli_site_t site;
    unsigned char *body = NULL;
    ecert_err_t err;
    size_t len;
    int code, rc;

    if (parse(command, argc, argv, &options, &code) != 0) {
        return code;
    }
    if (options.n_words != 2) {
        return ecert_cli_usage("dcv add", "NAME and FILE are wanted");
    }
    if (ecert_cli_site_look(&site, options.store, options.words[0], &err) != 0
        || read_body(options.words[1], &body, &len, &err) != 0
        || ecert_cli_site_open(&site, options.store, options.words[0], &err)
               != 0) {
        OPENSSL_free(body);
        return ecert_cli_fail(NULL, &err);
    }
    rc = put_file(&site, &options, body, len, &err);
    OPENSSL_free(body);
    ecert_cli_site_close(&site);
    if (rc != 0) {
        return ecert_cli_fail(site.ascii, &err);
    }
    ecert_cli_progress_show(site.store, site.ascii, site.now, stdout);
    return ECERT_EXIT_DONE;
}

/* ---- Sectigo ----------------------------------------------------------- */

static int put_sectigo(const ecert_cli_site_t *site, const options_t *options,
                       ecert_err_t *err)
{
    char file[64], body[256];
    ecert_dcv_order_t order;
    int rc;

    if (ecert_dcv_order(site, options->request, &order, err) != 0) {
        return -1;
    }
    rc = ecert_dcv_no_wildcard(&order, err);
    if (rc == 0 && order.csr == NULL) {
        ecert_err(err, ECERT_ERR_NO_REQUEST, site->ascii,
                  "its file is computed from the request");
        rc = ecert_err_hint(err, "make one: ecert new %.150s",
                            ecert_cli_word(site->ascii));
    }
    if (rc == 0) {
        rc = ecert_csr_sectigo(order.csr, options->unique, file, body, err);
    }
    if (rc == 0) {
        rc = ecert_dcv_put(site, &order, file, (unsigned char *)body,
                           strlen(body), err);
    }
    ecert_dcv_order_free(&order);
    return rc;
}

static int run_sectigo(const ecert_cli_command_t *command, int argc,
                       char **argv)
{
    options_t options = {0};
    ecert_cli_site_t site;
    ecert_err_t err;
    int code, rc;

    if (parse(command, argc, argv, &options, &code) != 0) {
        return code;
    }
    if (options.n_words != 1) {
        return ecert_cli_usage("dcv sectigo", "one NAME is wanted");
    }
    if (ecert_cli_site_open(&site, options.store, options.words[0], &err)
        != 0) {
        return ecert_cli_fail(NULL, &err);
    }
    rc = put_sectigo(&site, &options, &err);
    ecert_cli_site_close(&site);
    if (rc != 0) {
        return ecert_cli_fail(site.ascii, &err);
    }
    ecert_cli_progress_show(site.store, site.ascii, site.now, stdout);
    return ECERT_EXIT_DONE;
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

static json_t *report_token(const char *store, const ecert_token_t *token,
                            ecert_err_t *err)
{
    json_t *one = NULL;
    json_t *origin = ecert_token_origin(store, token->host, token->file, err);
    char url[700];

    if (origin == NULL) {
        return NULL;
    }
    one = json_object();
    snprintf(url, sizeof(url), "http://%s" ECERT_DCV_PREFIX "%s", token->host,
             token->file);
    ecert_json_set_text(one, "host", token->host);
    ecert_json_set_text(one, "file", token->file);
    json_object_set_new(one, "bytes",
                        json_integer((json_int_t)token->body_len));
    ecert_json_set_date(one, "expires", token->expires);
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

    printf("%s\n    until %s, %lld bytes", ecert_json_text(one, "url"),
           ecert_json_text(one, "expires"),
           (long long)json_integer_value(json_object_get(one, "bytes")));
    if (site == NULL) {
        printf(", put by hand");
    } else if (strcmp(site, host) != 0) {
        printf(", of site %s", site);
    }
    printf("\n");
}

/* Hosts of a site, or one host. */
static int concerns(const json_t *one, const char *only)
{
    const char *site = ecert_json_text(one, "site");

    return only == NULL || strcmp(ecert_json_text(one, "host"), only) == 0
           || (site != NULL && strcmp(site, only) == 0);
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
    for (size_t i = 0; i < tokens.n; i++) {
        json_t *one;

        if (!is_shown(&tokens.tokens[i], NULL)) {
            continue;
        }
        one = report_token(store, &tokens.tokens[i], err);
        if (one == NULL) {
            json_decref(list);
            list = NULL;
            break;
        }
        if (concerns(one, only)) {
            json_array_append(list, one);
        }
        json_decref(one);
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
    const json_t *report;
    json_int_t lost = 0;
    size_t i;

    json_array_foreach(servers, i, report)
    {
        lost += json_integer_value(json_object_get(report, "fetches_lost"));
    }
    json_object_set(top, "validation_files", list);
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

#define REQUEST                                                                \
    {                                                                          \
        "request", 'r', "N",                                                   \
            "for the names of request N (default: the newest)", 0              \
    }

static const ecert_cli_option_t add_options[] = {
    {"as", 'a', "FILE",
     "serve it under this name (default: the file's own, as the portal gave "
     "it)",
     0},
    REQUEST,
    ECERT_CLI_STORE,
    {0},
};

static const ecert_cli_option_t sectigo_options[] = {
    {"unique", 'u', "VALUE", "the unique value, where Sectigo gives one", 0},
    REQUEST,
    ECERT_CLI_STORE,
    {0},
};

static const ecert_cli_option_t list_options[] = {
    {"json", 'j', NULL, "as JSON", 0},
    ECERT_CLI_STORE,
    {0},
};

static const ecert_cli_option_t remove_options[] = {
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_dcv_add = {
    .name = "dcv add",
    .what = "the portal's validation file (guide, C.4.A)",
    .arguments = "NAME FILE",
    .about = "Has the running servers answer with the validation file that the "
             "CA's portal offers, for every name of the pending request (else "
             "of the site), whatever the virtual hosts redirect or protect.  "
             "What breaks validators (a byte order mark, line ends of Windows, "
             "a blank line in front) is mended; a web page saved in place of "
             "the file is refused.  FILE may be -, standard input.",
    .options = add_options,
    .example = "ecert dcv add www.example.hk fileauth.txt",
    .run = run_add,
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

const ecert_cli_command_t ecert_cmd_dcv_sectigo = {
    .name = "dcv sectigo",
    .what = "Sectigo's validation file, from the request",
    .arguments = "NAME",
    .about = "Computes the validation file that Sectigo asks for from the "
             "pending request (MD5 in its name, SHA-256 in it), and has the "
             "running servers answer with it, for every name of the request.",
    .options = sectigo_options,
    .example = "ecert dcv sectigo www.example.hk",
    .run = run_sectigo,
};
