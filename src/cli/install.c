#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "ecert_chain.h"
#include "ecert_csr.h"
#include "ecert_generation.h"
#include "ecert_install.h"
#include "ecert_journal.h"
#include "ecert_json.h"
#include "ecert_parcel.h"
#include "ecert_request.h"
#include "ecert_store.h"
#include "ecert_x509.h"
#include "facts.h"
#include "handed.h"
#include "password.h"
#include "progress.h"
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

/* The certificate to install, with the key that belongs to it. */
typedef struct {
    X509 *leaf; /* belongs to the parcel */
    EVP_PKEY *key;
    char key_id[65];
    uint64_t request;    /* 0: the key came with the certificate */
    uint64_t generation; /* that it is already; 0: none */
    int again;           /* it is, but what came with it may be of use */
    char **names;
    size_t n_names;
    json_t *site;
    int exportable;
} found_t;

static void free_found(found_t *found)
{
    EVP_PKEY_free(found->key);
    ecert_names_free(found->names, found->n_names);
    json_decref(found->site);
}

/* ---- whose certificate is it? ------------------------------------------ */

static int take_names(found_t *found, char *const *names, size_t n,
                      ecert_err_t *err)
{
    found->names = calloc(n, sizeof(*found->names));
    for (size_t i = 0; found->names != NULL && i < n; i++) {
        found->names[i] = strdup(names[i]);
        found->n_names += found->names[i] != NULL;
    }
    return found->n_names == n ? 0
                               : ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
}

/* The request of this site whose key is the leaf's: 1, 0 when none is. */
static int find_request(const char *dir, const char *ascii, found_t *found,
                        ecert_err_t *err)
{
    ecert_request_t *requests;
    size_t n;
    int rc = 0;

    if (ecert_requests(dir, ascii, &requests, &n, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (strcmp(requests[i].key_id, found->key_id) != 0) {
            continue;
        }
        found->request = requests[i].number;
        found->exportable = requests[i].exportable;
        found->site = json_incref(json_object_get(requests[i].json, "site"));
        found->key = ecert_request_key(&requests[i], err);
        rc = found->key != NULL
                     && take_names(found, requests[i].names,
                                   requests[i].n_names, err)
                            == 0
                 ? 1
                 : -1;
    }
    ecert_requests_free(requests, n);
    return rc;
}

/* A site that has the key: among its requests, or in a generation. */
static int has_key(const char *dir, const char *ascii, const char *key_id,
                   ecert_err_t *err)
{
    ecert_request_t *requests;
    ecert_generation_t *list;
    size_t n, m;
    int found = 0;

    if (ecert_requests(dir, ascii, &requests, &n, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        found |= strcmp(requests[i].key_id, key_id) == 0;
    }
    ecert_requests_free(requests, n);
    if (found) {
        return 1;
    }
    if (ecert_generations(dir, &list, &m, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < m; i++) {
        found |= strcmp(list[i].key_id, key_id) == 0;
    }
    ecert_generations_free(list, m);
    return found;
}

/* Which site of the store has this key: its name into ascii; 1 when one has,
 * -1 when that cannot be told. */
static int find_site(const char *store, const char *key_id, char *ascii,
                     ecert_err_t *err)
{
    char **names, dir[PATH_MAX];
    int found = 0;
    size_t n;

    if (ecert_store_sites(store, &names, &n, err) != 0) {
        return ecert_err_refused(err) ? -1 : 0;
    }
    for (size_t i = 0; i < n && found == 0; i++) {
        if (ecert_store_site(store, names[i], NULL, dir, err) != 0) {
            found = ecert_err_refused(err) ? -1 : 0;
            continue;
        }
        found = has_key(dir, names[i], key_id, err);
        if (found == 1) {
            snprintf(ascii, ECERT_NAME_MAX, "%s", names[i]);
        }
    }
    ecert_names_free(names, n);
    return found;
}

static int unknown_key(const options_t *options, const found_t *found,
                       const char *ascii, ecert_err_t *err)
{
    char other[ECERT_NAME_MAX], name[256];
    ecert_err_t ignored;

    ecert_x509_label(found->leaf, name, sizeof(name));
    ecert_err(err, ECERT_ERR_UNKNOWN_KEY, options->files[0],
              "the certificate of %s%s%s", name, ascii ? ", for site " : "",
              ascii ? ascii : "");
    if (ascii != NULL
        && find_site(options->store, found->key_id, other, &ignored) == 1) {
        return ecert_err_hint(err,
                              "its key is that of site %.100s: ecert "
                              "install %.100s FILE",
                              other, ecert_cli_word(other));
    }
    return -1;
}

static int lacks_issuers(const ecert_cli_site_t *site)
{
    ecert_facts_t facts;
    ecert_err_t ignored;
    int lacks;

    if (ecert_facts(site->store, site->ascii, NULL, NULL, site->now, &facts,
                    &ignored)
        != 0) {
        return 0;
    }
    lacks = facts.missing[0] != '\0';
    ecert_facts_free(&facts);
    return lacks;
}

static int take_site_names(const ecert_cli_site_t *site, found_t *found,
                           ecert_err_t *err)
{
    ecert_site_json_t json;
    int rc;

    if (ecert_store_json(site->dir, site->ascii, NULL, &json, err) != 0) {
        return -1;
    }
    rc = take_names(found, json.names, json.n_names, err);
    ecert_site_json_free(&json);
    return rc;
}

/* It is the current one: 1; 0 when what came with it may mend its chain. */
static int take_current(const ecert_cli_site_t *site,
                        const ecert_generation_t *generation, int n_handed,
                        found_t *found, ecert_err_t *err)
{
    if (n_handed < 2 || !lacks_issuers(site)) {
        found->generation = generation->number;
        return 1;
    }
    found->again = 1;
    found->exportable = generation->exportable;
    found->key = ecert_generation_key(generation, err);
    return found->key ? take_site_names(site, found, err) : -1;
}

/* What brings a certificate that is new; `old` is the generation that this one
 * is, 0: none. */
static int old_key(const ecert_cli_site_t *site, uint64_t old, ecert_err_t *err)
{
    const char *word = ecert_cli_word(site->ascii);
    ecert_request_t *requests;
    char back[ECERT_NAME_MAX + 100] = "";
    ecert_err_t refused;
    size_t n;

    if (ecert_requests(site->dir, site->ascii, &requests, &n, &refused) != 0) {
        *err = refused;
        return -1;
    }
    ecert_requests_free(requests, n);
    if (old != 0) {
        snprintf(back, sizeof(back),
                 "it is that generation: ecert rollback "
                 "%.70s %llu; for a new one ",
                 word, (unsigned long long)old);
    }
    return n > 0 ? ecert_err_hint(err,
                                  "%ssubmit the newest request to the CA: "
                                  "ecert csr %.70s",
                                  back, word)
                 : ecert_err_hint(err,
                                  "%smake a request and submit it to the CA: "
                                  "ecert new %.70s",
                                  back, word);
}

/* Its key was used already: the same certificate again, or one that the CA
 * issued for an older request. */
static int used_key(const ecert_cli_site_t *site, const options_t *options,
                    int n_handed, found_t *found, ecert_err_t *err)
{
    ecert_generation_t *list;
    size_t n;
    int same, rc = -2;

    if (ecert_generations(site->dir, &list, &n, err) != 0) {
        return -1;
    }
    for (size_t i = n; i-- > 0 && rc == -2;) {
        if (strcmp(list[i].key_id, found->key_id) != 0) {
            continue;
        }
        rc = ecert_err(err, ECERT_ERR_OLD_KEY, options->files[0],
                       "its key is that of generation %llu",
                       (unsigned long long)list[i].number);
        same = X509_cmp(list[i].leaf, found->leaf) == 0;
        if (same && list[i].current) {
            rc = take_current(site, &list[i], n_handed, found, err);
        } else {
            old_key(site, same ? list[i].number : 0, err);
        }
    }
    ecert_generations_free(list, n);
    return rc == -2 ? unknown_key(options, found, site->ascii, err) : rc;
}

/* The key: of a request that waits, else the one that came with it. */
static int find_key(const ecert_cli_site_t *site, const options_t *options,
                    const ecert_handed_t *handed, found_t *found,
                    ecert_err_t *err)
{
    int rc = find_request(site->dir, site->ascii, found, err);

    if (rc != 0) {
        return rc < 0 ? -1 : 0;
    }
    if (handed->key == NULL
        || EVP_PKEY_eq(handed->key, X509_get0_pubkey(found->leaf)) != 1) {
        return used_key(site, options, sk_X509_num(handed->certificates), found,
                        err);
    }
    found->key = handed->key;
    EVP_PKEY_up_ref(found->key);
    return take_site_names(site, found, err);
}

/* ---- the work ---------------------------------------------------------- */

static void note(const ecert_cli_site_t *site, const found_t *found,
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
               const ecert_handed_t *handed, const found_t *found,
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
                      const ecert_handed_t *handed, found_t *found,
                      ecert_installed_t *done, ecert_err_t *err)
{
    int rc = find_key(site, options, handed, found, err);

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
                  const found_t *found, const ecert_installed_t *done)
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
    ecert_cli_progress_show(site->store, site->ascii, site->now, stdout);
    return code;
}

static int install_handed(const options_t *options,
                          const ecert_handed_t *handed)
{
    found_t found = {.exportable = 1};
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
        rc = find_site(options->store, found.key_id, ascii, &err);
        if (rc == 0) {
            unknown_key(options, &found, NULL, &err);
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
    free_found(&found);
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

static int set_option(void *ctx, int c, const char *value, ecert_err_t *err)
{
    options_t *options = ctx;
    uint64_t seconds;

    switch (c) {
    case 'w':
        options->wait = 1;
        return 0;
    case 't':
        if (ecert_cli_number(value, "the seconds", &seconds, err) != 0) {
            return -1;
        }
        options->wait = 1;
        options->seconds = seconds > 86400 ? 86400 : (unsigned)seconds;
        return 0;
    case 'f':
        options->password.file = value;
        return 0;
    case 'd':
        return ecert_password_fd(value, &options->password, err);
    default:
        options->store = value;
        return 0;
    }
}

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    options_t options = {.password.fd = -1, .seconds = 60};
    int code, named;
    int first =
        ecert_cli_parse(command, argc, argv, set_option, &options, &code);
    ecert_err_t err;

    if (first < 0) {
        return code;
    }
    options.store = ecert_cli_store(options.store);
    named = first < argc ? is_site(options.store, argv[first], &err) : 0;
    if (named < 0) {
        return ecert_cli_fail(NULL, &err);
    }
    if (named) {
        options.name = argv[first++];
    } else if (argc - first > 1 && strcmp(argv[first], "-") != 0
               && access(argv[first], F_OK) != 0) {
        ecert_err(&err, ECERT_ERR_NO_SITE, argv[first],
                  "nor is there a file of this name");
        ecert_err_hint(&err, "see which sites there are: ecert status");
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
    {"wait", 'w', NULL, "wait until every running server serves it", 0},
    {"timeout", 't', "SECONDS", "how long to wait (default 60); implies --wait",
     0},
    ECERT_CLI_PASSWORD_FILE('f'),
    ECERT_CLI_PASSWORD_FD('d'),
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
