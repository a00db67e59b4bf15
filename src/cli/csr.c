#include <string.h>

#include <openssl/crypto.h>

#include "cli.h"
#include "ecert_backups.h"
#include "ecert_journal.h"
#include "ecert_json.h"
#include "ecert_request.h"
#include "progress.h"
#include "site.h"

typedef struct {
    const char *store;
    const char *name;
    uint64_t request; /* 0: the newest */
    int no_backup;
} options_t;

static int check_backup(const ecert_cli_site_t *site,
                        const ecert_request_t *request, int no_backup,
                        ecert_err_t *err)
{
    int64_t last;

    if (no_backup || !request->exportable) {
        return 0;
    }
    if (ecert_backups_last(site->dir, request->key_id, NULL, &last, err) != 0) {
        return -1;
    }
    if (last != 0) {
        return 0;
    }
    ecert_err(err, ECERT_ERR_NO_BACKUP, site->ascii, "request %llu",
              (unsigned long long)request->number);
    return ecert_err_hint(err,
                          "make one: ecert backup %.100s --pending -o "
                          "FILE.pfx; or go without: --no-backup",
                          ecert_cli_word(site->ascii));
}

/* The first time is kept: from then on the certificate is awaited. */
static void note(const ecert_cli_site_t *site, const ecert_request_t *request,
                 int no_backup)
{
    json_t *more;
    ecert_err_t err;

    if (request->printed == 0
        && ecert_request_printed(request, site->now, &err) != 0) {
        ecert_cli_warn(site->ascii, &err);
    }
    more = json_object();
    json_object_set_new(more, "request",
                        json_integer((json_int_t)request->number));
    ecert_json_set_text(more, "key_sha256", request->key_id);
    if (no_backup) {
        json_object_set_new(more, "no_backup", json_true());
    }
    if (ecert_journal_add(site->store, "csr", site->ascii, more, site->now,
                          &err)
        != 0) {
        ecert_cli_warn(site->ascii, &err);
    }
}

static int print(const ecert_cli_site_t *site, const options_t *options,
                 const ecert_request_t *request, ecert_err_t *err)
{
    X509_REQ *csr;
    char *pem;

    if (check_backup(site, request, options->no_backup, err) != 0) {
        return -1;
    }
    csr = ecert_request_csr(request, err);
    if (csr == NULL) {
        return err->code != ECERT_ERR_MISSING
                   ? -1
                   : ecert_err_hint(err, "the key was restored without its "
                                         "request: make a new one with ecert "
                                         "new");
    }
    pem = ecert_csr_pem(csr, err);
    X509_REQ_free(csr);
    if (pem == NULL) {
        return -1;
    }
    fputs(pem, stdout);
    OPENSSL_free(pem);
    if (fflush(stdout) != 0) {
        return ecert_err(err, ECERT_ERR_SYSTEM, NULL, "write the request");
    }
    note(site, request, options->no_backup);
    return 0;
}

static int csr(const options_t *options)
{
    ecert_cli_site_t site;
    ecert_request_t *requests = NULL;
    const ecert_request_t *request = NULL;
    ecert_err_t err;
    size_t n = 0;
    int rc;

    if (ecert_cli_site_open(&site, options->store, options->name, &err) != 0) {
        return ecert_cli_fail(NULL, &err);
    }
    rc = ecert_requests(site.dir, site.ascii, &requests, &n, &err);
    if (rc == 0) {
        request =
            ecert_request_find(requests, n, options->request, site.ascii, &err);
        rc = request ? print(&site, options, request, &err) : -1;
    }
    ecert_requests_free(requests, n);
    ecert_cli_site_close(&site);
    if (rc != 0) {
        return ecert_cli_fail(NULL, &err);
    }
    ecert_cli_progress_show(site.store, site.ascii, site.now, stderr);
    return ECERT_EXIT_DONE;
}

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    options_t options = {0};
    int code, first = ecert_cli_parse(command, argc, argv, &options, &code);

    if (first < 0) {
        return code;
    }
    if (argc - first != 1) {
        return ecert_cli_usage("csr", "one NAME is wanted");
    }
    options.name = argv[first];
    options.store = ecert_cli_store();
    return csr(&options);
}

static const ecert_cli_option_t options[] = {
    {"request", "N", "the pending request N (default: the newest)", 0,
     ecert_cli_set_request, offsetof(options_t, request)},
    {"no-backup", NULL, "although the private key has no backup", 0,
     ecert_cli_set_flag, offsetof(options_t, no_backup)},
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_csr = {
    .name = "csr",
    .what = "the request, for pasting into the portal (guide, C.5)",
    .arguments = "NAME",
    .about = "Prints the certificate signing request of a site on standard "
             "output, to be pasted into the CA's portal from its BEGIN line to "
             "its END line; the next step is said on standard error.  Refuses "
             "while the private key has no backup: the CA's guide wants one "
             "before the request is submitted.",
    .options = options,
    .example = "ecert csr www.example.hk",
    .run = run,
};
