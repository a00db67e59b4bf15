#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "ecert_chain.h"
#include "ecert_conf.h"
#include "ecert_journal.h"
#include "ecert_json.h"
#include "ecert_load.h"
#include "ecert_pool.h"
#include "ecert_report.h"
#include "ecert_store.h"
#include "ecert_x509.h"
#include "handed.h"
#include "say.h"
#include "site.h"

typedef struct {
    const char *store;
    const char *catalogue;
    char **words;
    size_t n_words;
    ecert_password_from_t password;
    int json;
    int force;
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

static ecert_ca_t *catalogue(const options_t *options, ecert_err_t *err)
{
    return options->catalogue
               ? ecert_catalogue_read(options->catalogue, NULL, err)
               : ecert_ca_builtin(err);
}

static void note(const char *store, const char *command, const char *file,
                 X509 *cert)
{
    json_t *more = json_object();
    ecert_err_t err;
    char hex[65];

    ecert_json_set_text(more, "file", file);
    ecert_json_set_text(more, "certificate_sha256",
                        ecert_x509_fingerprint(cert, hex));
    if (ecert_journal_add(store, command, NULL, more, time(NULL), &err) != 0) {
        ecert_cli_warn(NULL, &err);
    }
}

/* ---- list -------------------------------------------------------------- */

static const char *state_of(const ecert_pooled_t *one, int64_t now)
{
    if (one->aside) {
        return "set aside";
    }
    if (one->entry != NULL && one->entry->denied) {
        return "old";
    }
    if (ecert_x509_not_after(one->cert) < now) {
        return "expired";
    }
    if (ecert_x509_not_before(one->cert) > now) {
        return "not yet valid";
    }
    return ecert_x509_self_signed(one->cert) ? "root" : "in use";
}

/* A cross-certificate has the name of a root. */
static const char *role_of(X509 *cert, const ecert_ca_entry_t *entry)
{
    if (ecert_x509_self_signed(cert)) {
        return "root";
    }
    if (entry == NULL) {
        return "CA";
    }
    return entry->role == ECERT_CA_CROSS ? "cross-certificate" : "Sub CA";
}

/* The catalogue's name, as some roots tell themselves apart in the OU alone. */
static const char *name_of(X509 *cert, const ecert_ca_entry_t *entry,
                           char out[256])
{
    return entry ? entry->name : ecert_x509_label(cert, out, 256);
}

static void print_one(const ecert_pooled_t *one, int64_t now)
{
    const char *state = state_of(one, now);
    char name[256], hex[65], from[32], until[32], useful[32];
    ecert_style_t style = strcmp(state, "in use") == 0 ? ECERT_SAY_GOOD
                          : strcmp(state, "root") == 0 ? ECERT_SAY_DIM
                                                       : ECERT_SAY_WARN;

    printf("%s", ecert_say_style(stdout, style));
    ecert_say_padded(stdout, state, 14);
    printf("%s%s\n", ecert_say_style(stdout, ECERT_SAY_PLAIN),
           name_of(one->cert, one->entry, name));
    printf("%14s%s, %s to %s\n", "", role_of(one->cert, one->entry),
           ecert_day_format(ecert_x509_not_before(one->cert), from),
           ecert_day_format(ecert_x509_not_after(one->cert), until));
    if (one->entry != NULL && one->entry->useful_until > 0
        && !one->entry->denied) {
        printf("%14suseful to old clients until %s\n", "",
               ecert_day_format(one->entry->useful_until - 1, useful));
    }
    if (one->entry != NULL && one->entry->reason != NULL) {
        printf("%14s", "");
        ecert_say_wrapped(stdout, one->entry->reason, 14, 14);
    }
    printf("%14s%.16s  %s%s\n", "", ecert_x509_fingerprint(one->cert, hex),
           one->aside ? ".aside/" : "", one->file);
}

static json_t *report_one(const ecert_pooled_t *one, int64_t now)
{
    json_t *json = json_object();
    char name[256], hex[65];

    ecert_json_set_text(json, "subject", name_of(one->cert, one->entry, name));
    ecert_json_set_text(json, "sha256", ecert_x509_fingerprint(one->cert, hex));
    ecert_json_set_date(json, "not_before", ecert_x509_not_before(one->cert));
    ecert_json_set_date(json, "not_after", ecert_x509_not_after(one->cert));
    ecert_json_set_text(json, "role", role_of(one->cert, one->entry));
    ecert_json_set_text(json, "state", state_of(one, now));
    ecert_json_set_text(json, "file", one->file);
    if (one->entry != NULL) {
        ecert_json_set_text(json, "id", one->entry->id);
        ecert_json_set_date(json, "useful_until", one->entry->useful_until);
        ecert_json_set_text(json, "reason", one->entry->reason);
    }
    return json;
}

static void print_all(const options_t *options, const ecert_pooled_t *list,
                      size_t n)
{
    int64_t now = time(NULL);
    json_t *top = ecert_report_head(options->store, now), *all = json_array();

    json_object_set_new(top, "issuers", all);
    for (size_t i = 0; i < n; i++) {
        if (options->json) {
            json_array_append_new(all, report_one(&list[i], now));
        } else {
            print_one(&list[i], now);
        }
    }
    if (options->json) {
        json_dumpf(top, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (n == 0) {
        ecert_say_line(stdout, "The pool is empty.  Download Sub CA and "
                               "cross-certificate from the CA, and add them: "
                               "ecert issuers add FILE...");
    }
    json_decref(top);
}

static int open_list(const options_t *options, ecert_ca_t **ca,
                     ecert_pooled_t **list, size_t *n, ecert_err_t *err)
{
    *ca = catalogue(options, err);
    if (*ca == NULL) {
        return -1;
    }
    if (ecert_pool_list(options->store, *ca, list, n, err) != 0) {
        ecert_ca_free(*ca);
        return -1;
    }
    return 0;
}

static int run_list(const ecert_cli_command_t *command, int argc, char **argv)
{
    options_t options = {.password.fd = -1};
    ecert_pooled_t *list;
    ecert_ca_t *ca;
    ecert_err_t err;
    size_t n;
    int code;

    if (parse(command, argc, argv, &options, &code) != 0) {
        return code;
    }
    if (options.n_words > 0) {
        return ecert_cli_usage("issuers list", "no argument is wanted");
    }
    if (open_list(&options, &ca, &list, &n, &err) != 0) {
        return ecert_cli_fail(NULL, &err);
    }
    print_all(&options, list, n);
    ecert_pool_free(list, n);
    ecert_ca_free(ca);
    return ECERT_EXIT_DONE;
}

/* ---- add --------------------------------------------------------------- */

/* The guide, D: the old Sub CA goes when the new one comes. */
static int set_old_aside(const options_t *options, const ecert_ca_t *ca)
{
    ecert_pooled_t *list;
    ecert_err_t err;
    size_t n;

    if (ecert_pool_list(options->store, ca, &list, &n, &err) != 0) {
        ecert_cli_fail(NULL, &err);
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        const ecert_pooled_t *one = &list[i];

        if (one->aside || one->entry == NULL || !one->entry->denied) {
            continue;
        }
        if (!one->alone) {
            printf("old, never served: %s in %s, among others\n",
                   one->entry->name, one->file);
        } else if (ecert_pool_aside(options->store, one->file, &err) != 0) {
            ecert_cli_warn(NULL, &err);
        } else {
            printf("set aside: %s, the old one (%s)\n", one->entry->name,
                   one->file);
            note(options->store, "issuers aside", one->file, one->cert);
        }
    }
    ecert_pool_free(list, n);
    return 0;
}

static int add_one(const options_t *options, const ecert_ca_t *ca, X509 *cert,
                   const char *file)
{
    const ecert_ca_entry_t *entry;
    char name[256], until[32];
    ecert_err_t err;
    int rc = ecert_pool_add(options->store, ca, cert, time(NULL), &err);

    if (rc < 0) {
        ecert_cli_fail(NULL, &err);
        return -1;
    }
    entry = ecert_ca_find(ca, cert);
    printf("%s: %s %s, until %s\n", rc == 1 ? "there already" : "added",
           role_of(cert, entry), name_of(cert, entry, name),
           ecert_day_format(ecert_x509_not_after(cert), until));
    if (rc == 0) {
        note(options->store, "issuers add", file, cert);
    }
    return 0;
}

static int add_all(const options_t *options, const ecert_handed_t *handed,
                   const ecert_ca_t *ca)
{
    int bad = 0;

    /* of several files nobody knows any more which certificate was in which */
    const char *file =
        options->n_words == 1 ? ecert_cli_absolute(options->words[0]) : NULL;

    for (int i = 0; i < sk_X509_num(handed->certificates); i++) {
        bad |=
            add_one(options, ca, sk_X509_value(handed->certificates, i), file)
            != 0;
    }
    if (!bad) {
        bad = set_old_aside(options, ca) != 0;
    }
    return bad ? ECERT_EXIT_FAILED : ECERT_EXIT_DONE;
}

static int add(const options_t *options, const ecert_handed_t *handed)
{
    ecert_err_t err;
    ecert_ca_t *ca = catalogue(options, &err);
    int lock, code;

    if (ca == NULL || ecert_store_prepare(options->store, &err) != 0
        || (lock = ecert_cli_lock(options->store, &err)) < 0) {
        ecert_ca_free(ca);
        return ecert_cli_fail(NULL, &err);
    }
    code = add_all(options, handed, ca);
    close(lock);
    ecert_ca_free(ca);
    return code;
}

static int run_add(const ecert_cli_command_t *command, int argc, char **argv)
{
    options_t options = {.password.fd = -1};
    ecert_handed_t handed = {0};
    ecert_err_t err;
    int code;

    if (parse(command, argc, argv, &options, &code) != 0) {
        return code;
    }
    if (options.n_words == 0) {
        return ecert_cli_usage("issuers add", "a FILE is wanted");
    }
    code = ecert_handed_open(&handed, options.words, options.n_words,
                             &options.password, &err)
                   == 0
               ? add(&options, &handed)
               : ecert_cli_fail(NULL, &err);
    ecert_handed_free(&handed);
    return code;
}

/* ---- remove ------------------------------------------------------------ */

/* Eight digits or more, with colons or blanks between them as others show
 * them. */
static int begins(const char *hex, const char *word)
{
    size_t n = 0;

    for (; *word != '\0'; word++) {
        if (*word != ':' && *word != ' ' && strncasecmp(hex + n++, word, 1)) {
            return 0;
        }
    }
    return n >= 8;
}

/* A file's name, or the beginning of a fingerprint. */
static int is_meant(const ecert_pooled_t *one, const char *word)
{
    char hex[65];

    if (one->aside) {
        return 0;
    }
    ecert_x509_fingerprint(one->cert, hex);
    return strcmp(one->file, word) == 0 || begins(hex, word);
}

/* 1 when this site's chain has the certificate; -1 when that cannot be told. */
static int needs(ecert_loader_t *loader, const char *name, X509 *cert,
                 ecert_err_t *err)
{
    ecert_site_t site = {.name = name};
    ecert_loaded_t loaded;
    int needed = 0;

    if (ecert_load(loader, &site, time(NULL), &loaded, err) < 0) {
        needed = -ecert_err_refused(err);
    } else if (loaded.chain != NULL) {
        needed = ecert_x509_is_in(loaded.chain->served, cert);
    }
    if (needed == 0 && loaded.refused) {
        ecert_err(err, ECERT_ERR_CHAIN, name, "%s", loaded.warnings[0]);
        needed = ecert_err_hint(err, "try again when it can be read");
    }
    ecert_loaded_free(&loaded);
    return needed;
}

/* A site whose chain has this certificate; its name into out. */
static int needed_by(const options_t *options, X509 *cert, char *out,
                     ecert_err_t *err)
{
    ecert_loader_t *loader;
    char **names;
    size_t n;
    int needed = 0;

    if (ecert_store_sites(options->store, &names, &n, err) != 0) {
        return -1;
    }
    loader = ecert_loader_new(options->store, err);
    for (size_t i = 0; loader != NULL && i < n && needed == 0; i++) {
        needed = needs(loader, names[i], cert, err);
        snprintf(out, ECERT_NAME_MAX, "%s", names[i]);
    }
    ecert_names_free(names, n);
    if (loader == NULL) {
        return -1;
    }
    ecert_loader_free(loader);
    return needed;
}

static int remove_one(const options_t *options, const ecert_pooled_t *one,
                      ecert_err_t *err)
{
    char site[ECERT_NAME_MAX], name[256];
    int needed = options->force ? 0 : needed_by(options, one->cert, site, err);

    name_of(one->cert, one->entry, name);
    if (needed < 0) {
        return -1;
    }
    if (needed) {
        return ecert_err(err, ECERT_ERR_IN_USE, one->file, "%s, for site %s",
                         name_of(one->cert, one->entry, name), site);
    }
    if (ecert_pool_aside(options->store, one->file, err) != 0) {
        return -1;
    }
    printf("set aside: %s %s (%s, now in issuers/.aside)\n",
           role_of(one->cert, one->entry), name_of(one->cert, one->entry, name),
           one->file);
    note(options->store, "issuers remove", one->file, one->cert);
    return 0;
}

static int remove_word(const options_t *options, const ecert_pooled_t *list,
                       size_t n, const char *word, ecert_err_t *err)
{
    const ecert_pooled_t *found = NULL;

    for (size_t i = 0; i < n; i++) {
        if (!is_meant(&list[i], word)) {
            continue;
        }
        if (found != NULL && strcmp(found->file, list[i].file) != 0) {
            return ecert_err(err, ECERT_ERR_TOO_MANY, word,
                             "several certificates begin like this");
        }
        found = &list[i];
    }
    if (found == NULL) {
        ecert_err(err, ECERT_ERR_MISSING, word, "it is not in the pool");
        return ecert_err_hint(err, "see ecert issuers list: the file's name, "
                                   "or 8 or more digits of the fingerprint");
    }
    return remove_one(options, found, err);
}

static int remove_all(const options_t *options)
{
    ecert_pooled_t *list;
    ecert_ca_t *ca;
    ecert_err_t err;
    int lock, code = ECERT_EXIT_DONE;
    size_t n;

    lock = ecert_cli_lock(options->store, &err);
    if (lock < 0) {
        return ecert_cli_fail(NULL, &err);
    }
    if (open_list(options, &ca, &list, &n, &err) != 0) {
        close(lock);
        return ecert_cli_fail(NULL, &err);
    }
    for (size_t i = 0; i < options->n_words; i++) {
        if (remove_word(options, list, n, options->words[i], &err) != 0) {
            code = ecert_cli_fail(NULL, &err);
        }
    }
    ecert_pool_free(list, n);
    ecert_ca_free(ca);
    close(lock);
    return code;
}

static int run_remove(const ecert_cli_command_t *command, int argc, char **argv)
{
    options_t options = {.password.fd = -1};
    int code;

    if (parse(command, argc, argv, &options, &code) != 0) {
        return code;
    }
    if (options.n_words == 0) {
        return ecert_cli_usage("issuers remove", "a FILE of the pool or a "
                                                 "fingerprint is wanted");
    }
    return remove_all(&options);
}

/* ---- the commands ------------------------------------------------------ */

#define CATALOGUE                                                              \
    {                                                                          \
        "catalogue", "FILE", "another CA's catalogue", 0, ecert_cli_set_path,  \
            offsetof(options_t, catalogue)                                     \
    }

static const ecert_cli_option_t list_options[] = {
    CATALOGUE,
    {"json", NULL, "as JSON", 0, ecert_cli_set_flag, offsetof(options_t, json)},
    ECERT_CLI_STORE,
    {0},
};

static const ecert_cli_option_t add_options[] = {
    CATALOGUE,
    ECERT_CLI_PASSWORD_FILE(options_t),
    ECERT_CLI_PASSWORD_FD(options_t),
    ECERT_CLI_STORE,
    {0},
};

static const ecert_cli_option_t remove_options[] = {
    {"force", NULL, "even if a site needs it for its chain", 0,
     ecert_cli_set_flag, offsetof(options_t, force)},
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_issuers_list = {
    .name = "issuers list",
    .what = "which CA certificates are there, and until when",
    .about = "Lists Sub CA and cross-certificates of the pool with their dates "
             "and fingerprints, and what was set aside.",
    .options = list_options,
    .example = "ecert issuers list",
    .run = run_list,
};

const ecert_cli_command_t ecert_cmd_issuers_add = {
    .name = "issuers add",
    .what = "Sub CA and cross-certificates (guide, D)",
    .arguments = "FILE...",
    .about = "Adds the CA certificates in these files (PEM, DER, PKCS#7, PFX) "
             "to the pool that all sites' chains are built from.  Old Sub CA "
             "certificates are known by their fingerprints: they are refused, "
             "and set aside where they are in the pool already, as the CA's "
             "guide demands.",
    .options = add_options,
    .example = "ecert issuers add ecert_ssl_ca_3-17_pem.crt",
    .run = run_add,
};

const ecert_cli_command_t ecert_cmd_issuers_remove = {
    .name = "issuers remove",
    .what = "set CA certificates aside, so that no chain has them",
    .arguments = "FILE|FINGERPRINT...",
    .about = "Moves files of the pool to issuers/.aside, where no chain is "
             "built from them.  Nothing is deleted.",
    .options = remove_options,
    .example = "ecert issuers remove 69ECDBC3147F581D",
    .run = run_remove,
};
