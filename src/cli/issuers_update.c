/* ecert issuers update: what the agents download by themselves, by hand. */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>

#include "bar.h"
#include "cli.h"
#include "ecert_addr.h"
#include "ecert_chain.h"
#include "ecert_clock.h"
#include "ecert_conf.h"
#include "ecert_fetcher.h"
#include "ecert_journal.h"
#include "ecert_json.h"
#include "ecert_load.h"
#include "ecert_pool.h"
#include "ecert_store.h"
#include "ecert_x509.h"
#include "site.h"

#define PATIENCE_MS 400 /* before anything is shown */

typedef struct {
    const char *store;
    const char *catalogue;
    const char *allowed[32];
    size_t n_allowed;
} options_t;

typedef struct {
    const options_t *options;
    ecert_ca_t *ca;
    STACK_OF(X509) *roots; /* that this machine trusts */
    int fetcher;
    int64_t now;
} update_t;

/* ---- is it worth keeping? ---------------------------------------------- */

static int is_signed_by(const STACK_OF(X509) *roots, X509 *cert)
{
    int found = 0;

    for (int i = 0; i < sk_X509_num(roots) && !found; i++) {
        X509 *root = sk_X509_value(roots, i);

        found = ecert_x509_names_issuer(cert, root)
                && ecert_x509_signed_by(cert, X509_get0_pubkey(root));
    }
    ERR_clear_error();
    return found;
}

/*
 * What came over plain http is believed for its fingerprint, which the
 * catalogue knows, or for a known root's signature.
 */
static int check(const update_t *update, const ecert_ca_entry_t *entry,
                 X509 *cert, ecert_err_t *err)
{
    char name[256];

    if (ecert_ca_find(update->ca, cert) == entry) {
        return 0;
    }
    ecert_x509_label(cert, name, sizeof(name));
    if (strcmp(name, entry->name) != 0) {
        return ecert_err(err, ECERT_ERR_CHAIN, entry->url,
                         "it is a certificate of %s", name);
    }
    if (entry->role == ECERT_CA_SUB && !ecert_x509_server_auth(cert)) {
        return ecert_err(err, ECERT_ERR_PURPOSE, entry->url,
                         "it has no extended key usage for TLS servers");
    }
    return is_signed_by(update->roots, cert)
               ? 0
               : ecert_err(err, ECERT_ERR_CHAIN, entry->url,
                           "no root that is known here has signed it");
}

/* ---- getting it -------------------------------------------------------- */

/* Nothing for what comes at once. */
static void show_work(const ecert_errand_t *errand, int64_t begin)
{
    int64_t ms = ecert_clock_ms() - begin;

    if (ms < PATIENCE_MS) {
        return;
    }
    if (errand->got > 0) {
        ecert_bar_show("bytes", errand->got, errand->total);
    } else {
        ecert_bar_show("s, no answer yet", (size_t)(ms / 1000), 0);
    }
}

static int go(const update_t *update, const char *url, ecert_frames_t *frames,
              ecert_err_t *err)
{
    ecert_errand_ask_t ask = {
        .kind = ECERT_ERRAND_CERTIFICATES, .url = url, .progress = 1};
    int64_t begin = ecert_clock_ms();
    ecert_errand_t errand;
    int rc = 0;

    if (ecert_errand_begin(update->fetcher, &ask, begin, &errand, err) != 0) {
        return -1;
    }
    while (rc == 0) {
        struct pollfd wanted = {.fd = errand.fd, .events = POLLIN};

        poll(&wanted, 1, 500);
        rc = ecert_errand_read(&errand, url, ecert_clock_ms(), frames, err);
        if (rc == 0) {
            show_work(&errand, begin);
        }
    }
    ecert_bar_clear();
    return rc < 0 ? -1 : 0;
}

static X509 *the_one(const ecert_frames_t *frames, const char *url,
                     ecert_err_t *err)
{
    const unsigned char *p;
    X509 *cert;

    if (frames->n != 1) {
        ecert_err(err, ECERT_ERR_TOO_MANY, url,
                  "%zu certificates where one is expected", frames->n);
        return NULL;
    }
    p = frames->frames[0].bytes;
    cert = d2i_X509(NULL, &p, (long)frames->frames[0].len);
    if (cert == NULL) {
        ecert_err_openssl(err, ECERT_ERR_DAMAGED, url, NULL);
    }
    return cert;
}

static void note(const update_t *update, const char *url, X509 *cert)
{
    json_t *more = json_object();
    ecert_err_t err;
    char hex[65];

    ecert_json_set_text(more, "url", url);
    ecert_json_set_text(more, "certificate_sha256",
                        ecert_x509_fingerprint(cert, hex));
    if (ecert_journal_add(update->options->store, "issuers update", NULL, more,
                          update->now, &err)
        != 0) {
        ecert_cli_warn(NULL, &err);
    }
}

static int put(const update_t *update, const ecert_ca_entry_t *entry,
               X509 *cert, ecert_err_t *err)
{
    char until[32];
    int lock, rc;

    if (check(update, entry, cert, err) != 0) {
        return -1;
    }
    lock = ecert_cli_lock(update->options->store, err);
    if (lock < 0) {
        return -1;
    }
    rc = ecert_pool_add(update->options->store, update->ca, cert, update->now,
                        err);
    if (rc >= 0) {
        printf("%-14s %s, until %s\n", rc == 1 ? "there already" : "added",
               entry->name,
               ecert_day_format(ecert_x509_not_after(cert), until));
    }
    if (rc == 0) {
        note(update, entry->url, cert);
    }
    close(lock);
    return rc < 0 ? -1 : 0;
}

static int update_one(const update_t *update, const ecert_ca_entry_t *entry)
{
    ecert_frames_t frames = {0};
    X509 *cert = NULL;
    ecert_err_t err;
    int rc = go(update, entry->url, &frames, &err);

    if (rc == 0) {
        cert = the_one(&frames, entry->url, &err);
        rc = cert ? put(update, entry, cert, &err) : -1;
    }
    if (rc != 0 && err.code == ECERT_ERR_FETCH) { /* no server is at work */
        ecert_err_hint(&err, "see the reason, and call it again; or download "
                             "it elsewhere: ecert issuers add FILE");
    }
    X509_free(cert);
    ecert_frames_free(&frames);
    return rc == 0 ? 0 : ecert_cli_fail(NULL, &err);
}

/* What is of no more use to anybody is not worth a download. */
static int is_wanted(const update_t *update, const ecert_ca_entry_t *entry)
{
    return !entry->denied && entry->url != NULL && entry->role != ECERT_CA_ROOT
           && (entry->useful_until == 0 || update->now < entry->useful_until);
}

static int update_all(const update_t *update)
{
    int bad = 0, n = 0;

    for (size_t i = 0; i < ecert_ca_count(update->ca); i++) {
        const ecert_ca_entry_t *entry = ecert_ca_entry(update->ca, i);

        if (is_wanted(update, entry)) {
            bad |= update_one(update, entry) != 0;
            n++;
        }
    }
    if (n == 0) {
        puts("The catalogue names nothing to download.");
    }
    return bad ? ECERT_EXIT_FAILED : ECERT_EXIT_DONE;
}

/* ---- the command ------------------------------------------------------- */

static int start(update_t *update, ecert_err_t *err)
{
    const options_t *options = update->options;
    ecert_conf_t *conf = ecert_conf_new();
    int rc = conf ? 0 : -1;

    for (size_t i = 0; i < options->n_allowed && rc == 0; i++) {
        char value[128];

        snprintf(value, sizeof(value), "allow=%.100s", options->allowed[i]);
        rc = ecert_conf_fetch(conf, value, err);
    }
    update->fetcher = rc == 0 ? ecert_fetcher_start(conf, err) : -1;
    ecert_conf_free(conf);
    if (update->fetcher < 0) {
        return -1;
    }
    update->ca = options->catalogue
                     ? ecert_catalogue_read(options->catalogue, NULL, err)
                     : ecert_ca_builtin(err);
    update->roots = access(ECERT_TRUST_FILE, R_OK) == 0
                        ? ecert_roots_read(ECERT_TRUST_FILE, err)
                        : sk_X509_new_null();
    return update->ca && update->roots
                   && ecert_store_prepare(options->store, err) == 0
               ? 0
               : -1;
}

static int allow(void *ctx, const char *value, ecert_err_t *err)
{
    options_t *options = ctx;
    ecert_network_t ignored;
    ecert_err_t fault;

    if (options->n_allowed == 32) {
        return ecert_err(err, ECERT_ERR_TOO_MANY, value, "--allow");
    }
    if (ecert_network_parse(value, &ignored, &fault) != 0) {
        ecert_err(err, ECERT_ERR_USAGE, value, "--allow: %s", fault.detail);
        return ecert_err_hint(err, "correct --allow");
    }
    options->allowed[options->n_allowed++] = value;
    return 0;
}

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    options_t options = {0};
    update_t update = {.options = &options, .now = time(NULL), .fetcher = -1};
    int code, first = ecert_cli_parse(command, argc, argv, &options, &code);
    ecert_err_t err;

    if (first < 0) {
        return code;
    }
    if (first < argc) {
        return ecert_cli_usage("issuers update", "no argument is wanted");
    }
    options.store = ecert_cli_store();
    code = start(&update, &err) == 0 ? update_all(&update)
                                     : ecert_cli_fail(NULL, &err);
    sk_X509_pop_free(update.roots, X509_free);
    ecert_ca_free(update.ca);
    if (update.fetcher >= 0) {
        close(update.fetcher);
    }
    return code;
}

static const ecert_cli_option_t options[] = {
    {"catalogue", "FILE", "another CA's catalogue", 0, ecert_cli_set_path,
     offsetof(options_t, catalogue)},
    {"allow", "CIDR",
     "also connect to these addresses, at any port; may be given again", 0,
     allow, 0},
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_issuers_update = {
    .name = "issuers update",
    .what = "download Sub CA and cross-certificates",
    .about = "Downloads the CA certificates that the catalogue names, checks "
             "them by fingerprint or signature, and adds them to the pool.  "
             "Servers do so by themselves where a chain lacks one.",
    .options = options,
    .example = "ecert issuers update",
    .run = run,
};
