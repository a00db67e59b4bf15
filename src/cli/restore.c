#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>

#include "cli.h"
#include "ecert_backups.h"
#include "ecert_chain.h"
#include "ecert_csr.h"
#include "ecert_generation.h"
#include "ecert_install.h"
#include "ecert_journal.h"
#include "ecert_json.h"
#include "ecert_pem.h"
#include "ecert_pool.h"
#include "ecert_request.h"
#include "ecert_x509.h"
#include "handed.h"
#include "progress.h"
#include "restore_leaf.h"
#include "say.h"
#include "site.h"

typedef struct {
    const char *store;
    char *file;
    const char *name; /* --name; NULL: from the certificate */
    ecert_password_from_t password;
    int no_export;
} options_t;

typedef struct {
    const options_t *options;
    ecert_handed_t handed;
    X509 *own;  /* the key's certificate, whoever signed it; NULL: none */
    X509 *leaf; /* the same from a CA; NULL: a key without its certificate */
    char key_id[65];
    char name[ECERT_NAME_MAX]; /* of the site */
} restore_t;

/* ---- what is in the file ----------------------------------------------- */

/* The reader of files does not know that a key is wanted.  What it says of a
 * block holds for a key, too. */
static void expect_pfx(ecert_err_t *err)
{
    ecert_err_t was = *err;
    const char *found = strstr(was.detail, "found ");

    if (was.code != ECERT_ERR_FORMAT || found == NULL) {
        return;
    }
    ecert_err(err, ECERT_ERR_FORMAT, was.file,
              "expected a PFX file or PEM with a private key, %s", found);
    ecert_err_hint(err, "%s", was.hint[0] ? was.hint : "export it again");
}

static int need_key(restore_t *restore, ecert_err_t *err)
{
    if (restore->handed.key == NULL) {
        ecert_err(err, ECERT_ERR_NO_KEY, restore->options->file,
                  "there are only certificates in it");
        return ecert_err_hint(err, "CA certificates are added with ecert "
                                   "issuers add, a server's with ecert "
                                   "install");
    }
    return ecert_pem_key_check(restore->handed.key, restore->options->file, err)
                       == 0
                   && ecert_key_id(restore->handed.key, restore->key_id, err)
                          == 0
               ? 0
               : -1;
}

/*
 * The certificate of the key, the last of several; any other server's is of no
 * use here.  Windows keeps a self-signed one with the key of a request.
 */
static void find_leaf(restore_t *restore)
{
    STACK_OF(X509) *list = restore->handed.certificates;

    for (int i = 0; i < sk_X509_num(list); i++) {
        X509 *cert = sk_X509_value(list, i);

        if (EVP_PKEY_eq(restore->handed.key, X509_get0_pubkey(cert)) != 1) {
            continue;
        }
        if (ecert_x509_self_signed(cert)) {
            restore->own = restore->own ? restore->own : cert;
        } else if (restore->leaf == NULL
                   || ecert_x509_not_after(cert)
                          > ecert_x509_not_after(restore->leaf)) {
            restore->leaf = cert;
        }
    }
    restore->own = restore->leaf ? restore->leaf : restore->own;
    ERR_clear_error();
}

/* The nicknames of Java and others ("mykey", "1") have no dot. */
static int is_host(const char *text, char *out)
{
    ecert_err_t ignored;

    return ecert_name_ascii(text, out, &ignored) == 0
           && strchr(out, '.') != NULL;
}

/* The site's name: the common name where it is one, else the first. */
static int name_of(X509 *cert, char *out)
{
    char **names, cn[256];
    size_t n;
    int found = -1;

    ecert_x509_label(cert, cn, sizeof(cn));
    if (is_host(cn, out)
        && (ecert_name_covered(cert, out) || ecert_x509_self_signed(cert))) {
        return 0;
    }
    if (ecert_restore_names(cert, "", &names, &n) == 0 && n > 0) {
        snprintf(out, ECERT_NAME_MAX, "%s", names[0]);
        found = 0;
    }
    ecert_names_free(names, n);
    return found;
}

static int no_name(restore_t *restore, ecert_err_t *err)
{
    restore->name[0] = '\0';
    if (restore->leaf != NULL) {
        return ecert_err(err, ECERT_ERR_PURPOSE, restore->options->file,
                         "it names no server");
    }
    ecert_err(err, ECERT_ERR_NAME, restore->options->file,
              "the file does not tell which site the key is for");
    return ecert_err_hint(err, "say it: --name www.example.hk");
}

static int choose_name(restore_t *restore, ecert_err_t *err)
{
    const options_t *options = restore->options;

    if (options->name != NULL) {
        return ecert_name_ascii(options->name, restore->name, err);
    }
    if (restore->own != NULL && name_of(restore->own, restore->name) == 0) {
        return 0;
    }
    if (restore->leaf == NULL
        && is_host(restore->handed.friendly_name, restore->name)) {
        return 0;
    }
    return no_name(restore, err);
}

/* ---- a key without its certificate ------------------------------------- */

/* The requests of the site with this key: how many; with --no-export they are
 * marked. */
static int know_requests(const restore_t *restore, const ecert_cli_site_t *site,
                         ecert_err_t *err)
{
    ecert_request_t *list;
    size_t n;
    int known = 0;

    if (ecert_requests(site->dir, site->ascii, &list, &n, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n && known >= 0; i++) {
        if (strcmp(list[i].key_id, restore->key_id) != 0) {
            continue;
        }
        known++;
        if (restore->options->no_export
            && ecert_request_no_export(&list[i], err) != 0) {
            known = -1;
        }
    }
    ecert_requests_free(list, n);
    return known;
}

static int know_generations(const restore_t *restore,
                            const ecert_cli_site_t *site, ecert_err_t *err)
{
    ecert_generation_t *list;
    size_t n;
    int known = 0;

    if (ecert_generations(site->dir, &list, &n, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n && known >= 0; i++) {
        if (strcmp(list[i].key_id, restore->key_id) != 0) {
            continue;
        }
        known++;
        if (restore->options->no_export
            && ecert_generation_no_export(&list[i], err) != 0) {
            known = -1;
        }
    }
    ecert_generations_free(list, n);
    return known;
}

/* Whether the site has this key: 1, 0, -1; all places of it are marked. */
static int know(const restore_t *restore, const ecert_cli_site_t *site,
                ecert_err_t *err)
{
    int requests = know_requests(restore, site, err);
    int generations = requests < 0 ? -1 : know_generations(restore, site, err);

    return generations < 0 ? -1 : requests + generations > 0;
}

/* The file that it came from is a backup of the key; with leaf, its
 * fingerprint, of key and certificate. */
static int note_backup(const restore_t *restore, const ecert_cli_site_t *site,
                       const char *leaf, ecert_err_t *err)
{
    ecert_backup_t backup = {
        .key_id = restore->key_id,
        .certificate = leaf,
        .file = ecert_cli_absolute(restore->options->file),
    };
    int64_t last;

    if (ecert_backups_last(site->dir, backup.key_id, leaf, &last, err) != 0) {
        return -1;
    }
    return last != 0 || restore->options->no_export
               ? 0
               : ecert_backups_add(site->dir, &backup, site->now, err);
}

static int restore_key(const restore_t *restore, const ecert_cli_site_t *site,
                       json_t *more, ecert_err_t *err)
{
    json_t *json;
    uint64_t number;
    int rc = know(restore, site, err);

    if (rc > 0) {
        puts("This private key is there already.");
    }
    if (rc != 0) {
        return rc < 0 ? -1 : note_backup(restore, site, NULL, err);
    }
    json = json_object();
    if (restore->options->no_export) {
        json_object_set_new(json, "export", json_false());
    }
    rc = ecert_request_add(site->dir, restore->handed.key, NULL, json,
                           site->now, &number, err);
    json_decref(json);
    if (rc == 0) {
        json_object_set_new(more, "request", json_integer((json_int_t)number));
        puts(restore->own
                 ? "The certificate is self-signed, and of no use.  Its key "
                   "waits as a request."
                 : "A key without its certificate: it waits as a request.");
        rc = note_backup(restore, site, NULL, err);
    }
    return rc;
}

/* ---- a certificate with its key ---------------------------------------- */

/* What is of no use is told and left out; -1 when the system refuses. */
static int add_issuer(const ecert_cli_site_t *site, const ecert_ca_t *ca,
                      X509 *cert, ecert_err_t *err)
{
    char name[256];
    int rc = ecert_pool_add(site->store, ca, cert, site->now, err);

    if (rc < 0 && ecert_err_refused(err)) {
        return -1;
    }
    if (rc < 0) {
        ecert_cli_warn(NULL, err);
    } else if (rc == 0) {
        printf("added to the pool: %s\n",
               ecert_x509_label(cert, name, sizeof(name)));
    }
    return 0;
}

static int add_issuers(const restore_t *restore, const ecert_cli_site_t *site,
                       ecert_err_t *err)
{
    STACK_OF(X509) *list = restore->handed.certificates;
    ecert_ca_t *ca = ecert_cli_catalogue(site->dir, site->ascii, err);
    int rc = ca ? 0 : -1;

    for (int i = 0; rc == 0 && i < sk_X509_num(list); i++) {
        X509 *cert = sk_X509_value(list, i);

        if (cert == restore->leaf || ecert_x509_self_signed(cert)
            || !ecert_x509_ca(cert)) {
            continue;
        }
        rc = add_issuer(site, ca, cert, err);
    }
    ecert_ca_free(ca);
    return rc;
}

/* What is served now goes on, unless what comes back lives longer. */
static int keeps_current(const restore_t *restore, const ecert_cli_site_t *site,
                         ecert_err_t *err)
{
    const ecert_generation_t *current;
    ecert_generation_t *list;
    size_t n;
    int keep = 0;

    if (ecert_generations(site->dir, &list, &n, err) != 0) {
        return -1;
    }
    current = ecert_generation_current(list, n);
    if (current != NULL) {
        keep = ecert_x509_not_after(restore->leaf)
               <= ecert_x509_not_after(current->leaf);
    }
    ecert_generations_free(list, n);
    return keep;
}

static int install_pair(const restore_t *restore, const ecert_cli_site_t *site,
                        ecert_installed_t *done, ecert_err_t *err)
{
    ecert_install_t in = {
        .store = site->store,
        .site_dir = site->dir,
        .ascii = site->ascii,
        .file = restore->options->file,
        .leaf = restore->leaf,
        .key = restore->handed.key,
        .others = restore->handed.certificates,
        .exportable = !restore->options->no_export,
        .keep_current = keeps_current(restore, site, err),
        .keep_expired = 1,
        .now = site->now,
    };
    json_t *subject;
    char **names;
    size_t n;
    int rc;

    if (in.keep_current < 0) {
        return -1;
    }
    if (ecert_restore_names(restore->leaf, site->ascii, &names, &n) != 0) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    subject = ecert_restore_subject(restore->leaf);
    in.site = subject;
    in.names = names;
    in.n_names = n;
    rc = ecert_install(&in, done, err);
    json_decref(subject);
    ecert_names_free(names, n);
    return rc;
}

/* The certificate that they wait for is there. */
static void end_requests(const restore_t *restore, const ecert_cli_site_t *site)
{
    ecert_request_t *list;
    ecert_err_t err;
    size_t n;

    if (ecert_requests(site->dir, site->ascii, &list, &n, &err) != 0) {
        ecert_cli_warn(site->ascii, &err);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].key_id, restore->key_id) == 0
            && ecert_request_remove(site->dir, list[i].number, &err) != 0) {
            ecert_cli_warn(site->ascii, &err);
        }
    }
    ecert_requests_free(list, n);
}

static void say_restored(const ecert_cli_site_t *site,
                         const ecert_installed_t *done)
{
    unsigned long long number = (unsigned long long)done->number;
    char when[32];

    if (done->same) {
        printf("It was there already, as generation %llu.\n", number);
    } else if (done->expired) {
        ecert_say_line(
            stdout,
            "Restored as generation %llu, for its key: the certificate "
            "has expired on %s, so it does not become the current one.",
            number, ecert_day_format(done->not_after, when));
    } else if (done->invalid) {
        ecert_say_line(stdout,
                       "Restored as generation %llu, for its key: no client "
                       "accepts the certificate, so it does not become the "
                       "current one.  To see why: ecert chain --explain FILE",
                       number);
    } else if (!done->current) {
        ecert_say_line(stdout,
                       "Restored as generation %llu; a certificate that lives "
                       "longer goes on being served.  To have this one: ecert "
                       "rollback %s %llu",
                       number, ecert_cli_word(site->ascii), number);
    } else {
        printf("Restored as generation %llu.\n", number);
    }
    if (done->current && done->staple.code != ECERT_OK) {
        ecert_cli_warn(site->ascii, &done->staple);
    }
}

static int restore_pair(const restore_t *restore, const ecert_cli_site_t *site,
                        json_t *more, ecert_err_t *err)
{
    ecert_installed_t done;
    char hex[65];

    if (install_pair(restore, site, &done, err) != 0
        || know(restore, site, err) < 0) {
        return -1;
    }
    if (done.current) {
        end_requests(restore, site);
    }
    json_object_set_new(more, "generation",
                        json_integer((json_int_t)done.number));
    ecert_json_set_text(more, "certificate_sha256",
                        ecert_x509_fingerprint(restore->leaf, hex));
    if (add_issuers(restore, site, err) != 0
        || note_backup(restore, site, hex, err) != 0) {
        return -1;
    }
    say_restored(site, &done);
    return 0;
}

/* ---- the work ---------------------------------------------------------- */

static int put(const restore_t *restore, ecert_err_t *err)
{
    const options_t *options = restore->options;
    ecert_cli_site_t site;
    json_t *more;
    int rc;

    if (ecert_cli_site_make(&site, options->store, restore->name, err) != 0) {
        return -1;
    }
    more = json_object();
    ecert_json_set_text(more, "key_sha256", restore->key_id);
    ecert_json_set_text(more, "file", ecert_cli_absolute(options->file));
    rc = restore->leaf ? restore_pair(restore, &site, more, err)
                       : restore_key(restore, &site, more, err);
    if (rc == 0
        && ecert_journal_add(site.store, "restore", site.ascii,
                             json_incref(more), site.now, err)
               != 0) {
        ecert_cli_warn(site.ascii, err);
    }
    json_decref(more);
    if (rc != 0) {
        ecert_cli_site_unmake(&site);
    }
    ecert_cli_site_close(&site);
    return rc;
}

static int restore(const options_t *options)
{
    restore_t work = {.options = options};
    char *files[] = {options->file};
    ecert_err_t err;
    int rc =
        ecert_handed_open(&work.handed, files, 1, &options->password, &err);

    if (rc == 0) {
        rc = need_key(&work, &err);
    } else {
        expect_pfx(&err);
    }
    if (rc == 0) {
        find_leaf(&work);
        rc = choose_name(&work, &err) == 0 ? put(&work, &err) : -1;
    }
    if (rc == 0) {
        ecert_cli_progress_show(options->store, work.name, time(NULL), stdout);
    }
    ecert_handed_free(&work.handed);
    return rc == 0 ? ECERT_EXIT_DONE
                   : ecert_cli_fail(work.name[0] ? work.name : NULL, &err);
}

/* ---- the command ------------------------------------------------------- */

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    options_t options = {.password.fd = -1};
    int code, first = ecert_cli_parse(command, argc, argv, &options, &code);

    if (first < 0) {
        return code;
    }
    if (argc - first != 1) {
        return ecert_cli_usage("restore", "one FILE is wanted");
    }
    options.file = argv[first];
    options.store = ecert_cli_store();
    return restore(&options);
}

static const ecert_cli_option_t options[] = {
    {"name", "NAME", "the site (default: the certificate's common name)", 0,
     ecert_cli_set_text, offsetof(options_t, name)},
    {"no-export", NULL,
     "refuse to back this key up again (in Windows: \"Allow this certificate "
     "to be exported\" unchecked)",
     0, ecert_cli_set_flag, offsetof(options_t, no_export)},
    ECERT_CLI_PASSWORD_FILE(options_t),
    ECERT_CLI_PASSWORD_FD(options_t),
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_restore = {
    .name = "restore",
    .what = "a PFX file, back into the store (guide, G)",
    .arguments = "FILE",
    .about = "Takes a private key, its certificate and the certificates of the "
             "path out of a PKCS#12 file, as Windows, OpenSSL, Java and others "
             "write it.  A key without its certificate becomes a pending "
             "request.  A certificate in use is replaced only by one that "
             "lives longer.",
    .options = options,
    .example = "ecert restore www.example.hk.pfx",
    .run = run,
};
