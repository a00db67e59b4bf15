#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/pem.h>

#include "cli.h"
#include "client.h"
#include "ecert_bundle.h"
#include "ecert_chain.h"
#include "ecert_conf.h"
#include "ecert_load.h"
#include "ecert_x509.h"

#define PATHS_MAX 64

typedef struct {
    const char *file;
    const char *store;
    const char *client;
    const char *catalogue;
    const char *trust;
    const char *issuers[PATHS_MAX];
    size_t n_issuers;
    ecert_cross_t cross;
    int64_t at;
    int explain;
} options_t;

/* What was read; all of it lives as long as run(). */
typedef struct {
    ecert_ca_t *ca;
    STACK_OF(X509) *anchors;
    ecert_bundle_t bundle;
    X509 *leaf;
    ecert_security_t *security;
    ecert_chain_t *chain;
} work_t;

static void complain(void *ctx, const ecert_err_t *err)
{
    (void)ctx;
    ecert_cli_fail(NULL, err);
}

static int read_catalogue(work_t *work, const char *path, ecert_err_t *err)
{
    work->ca = path ? ecert_catalogue_read(ecert_cli_absolute(path), NULL, err)
                    : ecert_ca_builtin(err);
    return work->ca ? 0 : -1;
}

static int read_anchors(work_t *work, const char *path, ecert_err_t *err)
{
    if (path == NULL && access(ECERT_TRUST_FILE, R_OK) != 0) {
        work->anchors = sk_X509_new_null();
    } else {
        work->anchors = ecert_roots_read(path ? path : ECERT_TRUST_FILE, err);
    }
    return work->anchors ? 0 : -1;
}

static int read_bundle(work_t *work, const options_t *options, ecert_err_t *err)
{
    char store_issuers[PATH_MAX];
    const char *issuers[PATHS_MAX];
    ecert_shelf_t *shelf = ecert_shelf_new();
    ecert_trail_t trail;

    for (size_t i = 0; i < options->n_issuers; i++) {
        issuers[i] = ecert_cli_absolute(options->issuers[i]);
    }
    if (snprintf(store_issuers, sizeof(store_issuers), "%s/issuers",
                 options->store)
        >= (int)sizeof(store_issuers)) {
        return ecert_err(err, ECERT_ERR_USAGE, options->store,
                         "the path is too long");
    }
    ecert_bundle_files_t files = {
        .certificate = ecert_cli_absolute(options->file),
        .store_issuers = options->n_issuers ? NULL : store_issuers,
        .issuers = issuers,
        .n_issuers = options->n_issuers,
    };
    if (shelf == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    ecert_trail_init(&trail);
    int rc = ecert_bundle_read(&files, shelf, &trail, complain, NULL,
                               &work->bundle, err);
    ecert_trail_free(&trail);
    ecert_shelf_free(shelf);
    return rc;
}

/* The leaf is the first that is no CA; all the others join the pool. */
static int take_leaf(work_t *work, const char *file, ecert_err_t *err)
{
    STACK_OF(X509) *list = work->bundle.certificates;
    for (int i = 0; i < sk_X509_num(list); i++) {
        if (ecert_x509_is_leaf(sk_X509_value(list, i), list)) {
            work->leaf = sk_X509_delete(list, i);
            break;
        }
    }
    while (sk_X509_num(list) > 0) {
        sk_X509_push(work->bundle.pool, sk_X509_shift(list));
    }
    return work->leaf ? 0
                      : ecert_err(err, ECERT_ERR_PURPOSE, file,
                                  "all that is in it are CA certificates");
}

static int build(work_t *work, const options_t *options, ecert_err_t *err)
{
    if (read_catalogue(work, options->catalogue, err) != 0
        || read_anchors(work, options->trust, err) != 0
        || read_bundle(work, options, err) != 0
        || take_leaf(work, options->file, err) != 0) {
        return -1;
    }
    work->security = ecert_security_new(err);
    if (work->security == NULL) {
        return -1;
    }
    ecert_chain_in_t in = {
        .leaf = work->leaf,
        .pool = work->bundle.pool,
        .anchors = work->anchors,
        .ca = work->ca,
        .cross = options->cross,
        .now = options->at,
        .security = work->security,
    };
    work->chain = ecert_chain_build(&in, err);
    return work->chain ? 0 : -1;
}

static void explain(const ecert_chain_t *chain)
{
    char name[128], hex[65], date[32];
    for (size_t i = 0; i < chain->n_considered; i++) {
        const ecert_considered_t *c = &chain->considered[i];
        ecert_x509_fingerprint(c->cert, hex);
        ecert_x509_label(c->cert, name, sizeof(name));
        fprintf(stderr, "%-14s  %.16s  %-36s  %s%s%s%s\n",
                ecert_why_word(c->why), hex, name, ecert_why_sentence(c->why),
                c->note[0] ? " (" : "", c->note, c->note[0] ? ")" : "");
    }
    if (chain->next_change) {
        fprintf(stderr, "the next change may come at %s\n",
                ecert_date_format(chain->next_change, date));
    }
}

/* The cross-certificate that was considered, served or not. */
static const X509 *known_cross(const ecert_chain_t *chain)
{
    for (size_t i = 0; i < chain->n_considered; i++) {
        if (chain->considered[i].role == ECERT_CA_CROSS) {
            return chain->considered[i].cert;
        }
    }
    return NULL;
}

/* 1 when the client takes the chain. */
static int ask_client(const work_t *work, const options_t *options)
{
    char date[32];
    ecert_err_t err;
    ecert_client_t client = {work->ca, work->anchors, work->bundle.pool,
                             known_cross(work->chain)};
    STACK_OF(X509) *roots = ecert_client_roots(&client, options->client, &err);
    if (roots == NULL) {
        ecert_cli_fail(NULL, &err);
        return 0;
    }
    int rc = ecert_chain_verify(work->leaf, work->chain->served, roots, NULL,
                                options->at, &err);
    fprintf(stderr, "client %s at %s: %s%s\n", options->client,
            ecert_date_format(options->at, date),
            rc == 0 ? "accepts it" : "refuses it: ", rc == 0 ? "" : err.detail);
    sk_X509_pop_free(roots, X509_free);
    return rc == 0;
}

static int print(const work_t *work, const options_t *options)
{
    const ecert_chain_t *chain = work->chain;
    /* a root that is not known here may be known to clients */
    int good = chain->complete || sk_X509_num(chain->served) > 0;

    PEM_write_X509(stdout, work->leaf);
    for (int i = 0; i < sk_X509_num(chain->served); i++) {
        PEM_write_X509(stdout, sk_X509_value(chain->served, i));
    }
    if (chain->invalid[0] != '\0') {
        fprintf(stderr, "ecert: no client accepts the certificate: %s\n",
                chain->invalid);
    } else if (!chain->complete) {
        fprintf(stderr, "ecert: no path leads to a known root; missing: %s\n",
                chain->missing);
    }
    if (options->at < chain->not_before || options->at > chain->not_after) {
        fprintf(stderr, "ecert: the certificate itself %s\n",
                options->at < chain->not_before ? "is not valid yet"
                                                : "has expired");
    }
    if (options->explain) {
        explain(chain);
    }
    if (options->client != NULL) {
        good = ask_client(work, options);
    }
    return good ? ECERT_EXIT_DONE : ECERT_EXIT_FAILED;
}

static int build_and_print(const options_t *options)
{
    work_t work = {0};
    ecert_err_t err;
    int rc = build(&work, options, &err) == 0 ? print(&work, options)
                                              : ecert_cli_fail(NULL, &err);
    ecert_chain_free(work.chain);
    ecert_security_free(work.security);
    ecert_bundle_free(&work.bundle);
    X509_free(work.leaf);
    sk_X509_pop_free(work.anchors, X509_free);
    ecert_ca_free(work.ca);
    return rc;
}

static int add_issuer(void *ctx, const char *value, ecert_err_t *err)
{
    options_t *options = ctx;

    if (options->n_issuers == PATHS_MAX) {
        return ecert_err(err, ECERT_ERR_TOO_MANY, value, "--issuers");
    }
    options->issuers[options->n_issuers++] = value;
    return 0;
}

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    options_t options = {.at = time(NULL), .cross = {ECERT_CROSS_AUTO, 0}};
    int code, first = ecert_cli_parse(command, argc, argv, &options, &code);

    if (first < 0) {
        return code;
    }
    if (argc - first != 1) {
        return ecert_cli_usage("chain", "one FILE is wanted, found %d",
                               argc - first);
    }
    options.file = argv[first];
    options.store = ecert_cli_store();
    return build_and_print(&options);
}

static const ecert_cli_option_t options[] = {
    {"issuers", "PATH",
     "CA certificates to build from: a file or a folder; may be given again "
     "(default: STORE/issuers)",
     0, add_issuer, 0},
    {"at", "DATE", "as if it were then (YYYY-MM-DD[THH:MM:SSZ])", 0,
     ecert_cli_set_date, offsetof(options_t, at)},
    {"client", "WHO",
     "what a client makes of it that trusts one root only: root-ca-3 (the CA's "
     "own), cross (the cross-certificate's), or the roots in this file",
     0, ecert_cli_set_text, offsetof(options_t, client)},
    {"cross-certificate", "POLICY", "auto|on|off|until=YYYY-MM-DD", 0,
     ecert_cli_set_cross, offsetof(options_t, cross)},
    {"catalogue", "FILE", "another CA's catalogue", 0, ecert_cli_set_text,
     offsetof(options_t, catalogue)},
    {"trust", "FILE", "the roots known here (default: " ECERT_TRUST_FILE ")", 0,
     ecert_cli_set_text, offsetof(options_t, trust)},
    {"explain", NULL, "every certificate that was considered, and why", 0,
     ecert_cli_set_flag, offsetof(options_t, explain)},
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_chain = {
    .name = "chain",
    .what = "the chain that would be served for a leaf",
    .arguments = "FILE",
    .about = "Prints the chain that would be served for the leaf in FILE (PEM, "
             "DER or PKCS#7; other certificates in it are built from, too) as "
             "PEM, leaf first.  Everything else is said on standard error.",
    .options = options,
    .exits = "Exit code: 0 there is a chain (with --client: the client accepts "
             "it), 1 not, 2 wrong usage.",
    .example = "ecert chain --issuers sub.crt --client root-ca-3 --explain "
               "leaf.pem",
    .run = run,
};
