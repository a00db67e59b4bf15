#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "ecert_install.h"
#include "ecert_journal.h"
#include "ecert_json.h"
#include "ecert_request.h"
#include "ecert_store.h"
#include "ecert_text.h"
#include "handed.h"
#include "install_key.h"
#include "password.h"
#include "progress.h"
#include "servers.h"
#include "site.h"
#include "wait.h"

typedef struct {
    const char *store;
    const char *name; /* NULL: found by the key */
    char **files;
    size_t n_files;
    ecert_password_from_t password;
    int wait;
    unsigned seconds;
} options_t;

/* ---- the work ---------------------------------------------------------- */

static void note(const ecert_cli_site_t *site, const ecert_owned_t *found,
                 const ecert_installed_t *done)
{
    json_t *more = json_object();
    ecert_err_t err;
    char hex[65];

    json_object_set_new(more, "generation",
                        json_integer((json_int_t)done->number));
    if (found->request) {
        json_object_set_new(more, "request",
                            json_integer((json_int_t)found->request));
    }
    ecert_json_set_text(more, "key_sha256", found->key_id);
    ecert_json_set_text(more, "certificate_sha256",
                        ecert_x509_fingerprint(found->leaf, hex));
    if (ecert_journal_add(site->store, "install", site->ascii, more, site->now,
                          &err)
        != 0) {
        ecert_cli_warn(site->ascii, &err);
    }
}

static int put(const ecert_cli_site_t *site, const options_t *options,
               const ecert_handed_t *handed, const ecert_owned_t *found,
               ecert_installed_t *done, ecert_err_t *err)
{
    ecert_install_t in = {
        .store = site->store,
        .site_dir = site->dir,
        .ascii = site->ascii,
        .file = options->files[0],
        .leaf = found->leaf,
        .key = found->key,
        .others = handed->certificates,
        .names = found->names,
        .n_names = found->n_names,
        .site = found->site,
        .exportable = found->exportable,
        .wanted = found->request,
        .mend_chain = found->again,
        .security_level = ecert_cli_security_now(site->store, site->ascii),
        .now = site->now,
    };

    if (ecert_install(&in, done, err) != 0) {
        return -1;
    }
    if (found->request
        && ecert_request_remove(site->dir, found->request, err) != 0) {
        ecert_cli_warn(site->ascii, err);
    }
    note(site, found, done);
    return 0;
}

static void say(const ecert_installed_t *done, const char *ascii)
{
    char when[32];

    if (done->same) {
        printf("It was there already, as generation %llu.\n",
               (unsigned long long)done->number);
    }
    if (done->waiting) {
        printf("It is not valid yet: it goes live by itself at %s.\n",
               ecert_date_format(done->not_before, when));
    }
    if (done->missing[0]) {
        ecert_err_t err;

        ecert_err(&err, ECERT_ERR_CHAIN, NULL, "%s", done->missing);
        ecert_err_hint(&err, "download it, and add it: ecert issuers add FILE");
        ecert_cli_warn(ascii, &err);
    }
}

static int install_at(ecert_cli_site_t *site, const options_t *options,
                      const ecert_handed_t *handed, ecert_owned_t *found,
                      ecert_installed_t *done, ecert_err_t *err)
{
    int rc = ecert_owned_key(found, site, options->files[0], handed, err);

    if (rc < 0) {
        return -1;
    }
    if (rc == 1) { /* it is the current one already */
        done->current = done->same = 1;
        done->number = found->generation;
        done->not_before = ecert_x509_not_before(found->leaf);
        done->waiting = done->not_before > site->now;
        return 0;
    }
    return put(site, options, handed, found, done, err);
}

static int finish(const ecert_cli_site_t *site, const options_t *options,
                  const ecert_owned_t *found, const ecert_installed_t *done)
{
    char hex[65];
    ecert_err_t err;
    int code = ECERT_EXIT_DONE;

    if (options->wait && done->waiting) {
        char when[32];

        ecert_err(&err, ECERT_ERR_NOT_YET, NULL, "valid from %s",
                  ecert_date_format(done->not_before, when));
        code = ecert_cli_fail(site->ascii, &err);
    } else if (options->wait
               && ecert_cli_wait(site->store, site->ascii,
                                 ecert_x509_fingerprint(found->leaf, hex),
                                 options->seconds, &err)
                      != 0) {
        code = ecert_cli_fail(site->ascii, &err);
    }
    say(done, site->ascii);
    if (done->staple.code != ECERT_OK
        && !(options->wait && code == ECERT_EXIT_DONE)) {
        ecert_cli_warn(site->ascii, &done->staple);
    }
    ecert_cli_progress_show(site->store, site->ascii, site->now, stdout);
    return code;
}

static int install_handed(const options_t *options,
                          const ecert_handed_t *handed)
{
    ecert_owned_t found = {.exportable = 1};
    ecert_installed_t done = {0};
    ecert_cli_site_t site;
    char ascii[ECERT_NAME_MAX];
    const char *name = options->name;
    ecert_err_t err;
    int rc, code;

    found.leaf = ecert_handed_leaf(handed, options->files[0], &err);
    if (found.leaf == NULL
        || ecert_key_id(X509_get0_pubkey(found.leaf), found.key_id, &err)
               != 0) {
        return ecert_cli_fail(NULL, &err);
    }
    if (name == NULL) {
        rc = ecert_owned_site(options->store, found.key_id, ascii, &err);
        if (rc == 0) {
            ecert_owned_none(&found, options->store, options->files[0], NULL,
                             &err);
        }
        if (rc != 1) {
            return ecert_cli_fail(NULL, &err);
        }
        name = ascii;
    }
    if (ecert_cli_site_open(&site, options->store, name, &err) != 0) {
        return ecert_cli_fail(NULL, &err);
    }
    rc = install_at(&site, options, handed, &found, &done, &err);
    ecert_cli_site_close(&site);
    code = rc == 0 ? finish(&site, options, &found, &done)
                   : ecert_cli_fail(site.ascii, &err);
    ecert_owned_free(&found);
    return code;
}

static int install(const options_t *options)
{
    ecert_handed_t handed = {0};
    ecert_err_t err;
    int code;

    if (ecert_handed_open(&handed, options->files, options->n_files,
                          &options->password, &err)
        != 0) {
        code = ecert_cli_fail(NULL, &err);
    } else {
        code = install_handed(options, &handed);
    }
    ecert_handed_free(&handed);
    return code;
}

/* ---- the command ------------------------------------------------------- */

/* The first operand is a site's name where the store has such a site; -1 when
 * that cannot be told. */
static int is_site(const char *store, const char *word, ecert_err_t *err)
{
    char ascii[ECERT_NAME_MAX], dir[PATH_MAX];

    if (ecert_name_ascii(word, ascii, err) == 0
        && ecert_store_site(store, ascii, NULL, dir, err) == 0) {
        return 1;
    }
    return ecert_err_refused(err) ? -1 : 0;
}

/* Neither a site nor a file: a URL around a name is told as such. */
static int no_site(const options_t *options, const char *word, ecert_err_t *err)
{
    char ascii[ECERT_NAME_MAX], host[ECERT_NAME_MAX * 4];

    snprintf(host, sizeof(host), "%.*s", (int)strcspn(word, "/"), word);
    if (ecert_name_ascii(word, ascii, err) != 0
        && (strchr(word, ':') != NULL
            || is_site(options->store, host, &(ecert_err_t){0}) == 1)) {
        return -1;
    }
    ecert_err(err, ECERT_ERR_NO_SITE, word, "nor is there a file of this name");
    return ecert_err_hint(err, "see which sites there are: ecert status");
}

static int set_timeout(void *ctx, const char *value, ecert_err_t *err)
{
    options_t *options = ctx;
    uint64_t seconds;

    if (ecert_cli_number(value, "the seconds", &seconds, err) != 0) {
        return -1;
    }
    options->wait = 1;
    options->seconds = seconds > 86400 ? 86400 : (unsigned)seconds;
    return 0;
}

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    options_t options = {.password.fd = -1, .seconds = 60};
    char word[ECERT_NAME_MAX * 4];
    const char *name;
    int code, named;
    int first = ecert_cli_parse(command, argc, argv, &options, &code);
    ecert_err_t err;

    if (first < 0) {
        return code;
    }
    options.store = ecert_cli_store();
    snprintf(word, sizeof(word), "%s", first < argc ? argv[first] : "");
    name = ecert_text_pasted(word);
    named = first < argc ? is_site(options.store, name, &err) : 0;
    if (named < 0) {
        return ecert_cli_fail(NULL, &err);
    }
    if (named) {
        options.name = name;
        first++;
    } else if (argc - first > 1 && strcmp(argv[first], "-") != 0
               && access(argv[first], F_OK) != 0) {
        no_site(&options, name, &err);
        return ecert_cli_fail(NULL, &err);
    }
    if (first == argc) {
        return ecert_cli_usage("install", "a FILE is wanted");
    }
    options.files = argv + first;
    options.n_files = (size_t)(argc - first);
    return install(&options);
}

static const ecert_cli_option_t options[] = {
    {"wait", NULL, "wait until every running server serves it", 0,
     ecert_cli_set_flag, offsetof(options_t, wait)},
    {"timeout", "SECONDS", "how long to wait (default 60); implies --wait", 0,
     set_timeout, 0},
    ECERT_CLI_PASSWORD_FILE(options_t),
    ECERT_CLI_PASSWORD_FD(options_t),
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_install = {
    .name = "install",
    .what = "the certificate that the CA issued (guide, C.7 and E)",
    .arguments = "[NAME] FILE...",
    .about = "Takes the certificate in FILE (PEM, DER, PKCS#7 or PFX, alone or "
             "with its chain; - is standard input), finds the private key of "
             "its request, checks names, dates, purpose and chain, and has it "
             "served, without a reload.  Without NAME the site is found by the "
             "key.  A first word that is a site of the store is taken as NAME: "
             "write ./WORD for a file of such a name.",
    .options = options,
    .example = "ecert install www.example.hk cert.crt --wait",
    .run = run,
};
