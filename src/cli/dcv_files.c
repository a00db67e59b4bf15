/* Validation files: add, and Sectigo's. */

#include <string.h>

#include <openssl/crypto.h>

#include "cli.h"
#include "dcv.h"
#include "ecert_csr.h"
#include "ecert_dcv.h"
#include "ecert_dcv_mend.h"
#include "ecert_parcel.h"
#include "progress.h"
#include "say.h"

typedef struct {
    const char *store;
    char **words;
    size_t n_words;
    const char *as;
    const char *unique;
    uint64_t request;
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

/* ---- the commands ------------------------------------------------------ */

#define REQUEST                                                                \
    {                                                                          \
        "request", "N", "for the names of request N (default: the newest)", 0, \
            ecert_cli_set_request, offsetof(options_t, request)                \
    }

static const ecert_cli_option_t add_options[] = {
    {"as", "FILE",
     "serve it under this name (default: the file's own, as the portal gave "
     "it)",
     0, ecert_cli_set_text, offsetof(options_t, as)},
    REQUEST,
    ECERT_CLI_STORE,
    {0},
};

static const ecert_cli_option_t sectigo_options[] = {
    {"unique", "VALUE", "the unique value, where Sectigo gives one", 0,
     ecert_cli_set_text, offsetof(options_t, unique)},
    REQUEST,
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
