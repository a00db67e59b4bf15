#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "cli.h"
#include "ecert_backups.h"
#include "ecert_generation.h"
#include "ecert_install.h"
#include "ecert_journal.h"
#include "ecert_json.h"
#include "ecert_load.h"
#include "ecert_parcel.h"
#include "ecert_pfx.h"
#include "ecert_request.h"
#include "ecert_store.h"
#include "ecert_x509.h"
#include "generations.h"
#include "outfile.h"
#include "password.h"
#include "progress.h"
#include "say.h"
#include "site.h"

typedef struct {
    const char *store;
    const char *name;
    const char *file;
    const char *catalogue; /* NULL: the site's */
    const char *profile_name;
    ecert_pfx_profile_t profile;
    ecert_password_from_t password;
    uint64_t request, generation; /* 0: the newest, the current one */
    int pending;
} options_t;

/* What is put into the file. */
typedef struct {
    ecert_pfx_t pfx;
    char key_id[65];
    char fingerprint[65]; /* of the leaf; "": none */
} goods_t;

/* ---- what goes into it ------------------------------------------------- */

static int refuse_export(const char *ascii, ecert_err_t *err)
{
    return ecert_err(err, ECERT_ERR_NO_EXPORT, ascii, NULL);
}

static int take_key(goods_t *goods, EVP_PKEY *key, ecert_err_t *err)
{
    goods->pfx.key = key;
    goods->pfx.certificates = sk_X509_new_null();
    if (key == NULL) {
        return -1;
    }
    return goods->pfx.certificates
               ? ecert_key_id(key, goods->key_id, err)
               : ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
}

static int take_pending(const ecert_cli_site_t *site, const options_t *options,
                        goods_t *goods, ecert_err_t *err)
{
    ecert_request_t *requests;
    const ecert_request_t *request;
    size_t n;
    int rc;

    if (ecert_requests(site->dir, site->ascii, &requests, &n, err) != 0) {
        return -1;
    }
    request =
        ecert_request_find(requests, n, options->request, site->ascii, err);
    rc = request == NULL ? -1
         : request->exportable
             ? take_key(goods, ecert_request_key(request, err), err)
             : refuse_export(site->ascii, err);
    ecert_requests_free(requests, n);
    return rc;
}

static int push(STACK_OF(X509) *list, X509 *cert)
{
    return ecert_x509_is_in(list, cert)
                   || (X509_up_ref(cert) && sk_X509_push(list, cert) > 0)
               ? 0
               : -1;
}

/* The roots of both paths: Windows takes them along as well. */
static void push_root(STACK_OF(X509) *list, int n, X509 *root)
{
    for (int i = 0; i < n; i++) {
        X509 *cert = sk_X509_value(list, i);

        if (ecert_x509_names_issuer(cert, root)
            && ecert_x509_signed_by(cert, X509_get0_pubkey(root))) {
            push(list, root);
        }
    }
    ERR_clear_error();
}

/* Those of the pool, and those that this machine trusts. */
static int push_roots(STACK_OF(X509) *list, const ecert_chain_t *chain,
                      ecert_err_t *err)
{
    STACK_OF(X509) *roots = ecert_roots_read(ECERT_TRUST_FILE, err);
    int n = sk_X509_num(list);

    for (size_t i = 0; i < chain->n_considered; i++) {
        if (chain->considered[i].why == ECERT_WHY_ROOT) {
            push_root(list, n, chain->considered[i].cert);
        }
    }
    if (roots == NULL && ecert_err_refused(err)) {
        return -1;
    }
    for (int i = 0; i < sk_X509_num(roots); i++) {
        push_root(list, n, sk_X509_value(roots, i));
    }
    sk_X509_pop_free(roots, X509_free);
    return 0;
}

/* What the system refuses to read would be missing from the file unseen. */
static int read_path(ecert_loader_t *loader, const ecert_site_t *files,
                     const ecert_cli_site_t *site, ecert_loaded_t *loaded,
                     ecert_err_t *err)
{
    if (ecert_load(loader, files, site->now, loaded, err) < 0) {
        return ecert_err_refused(err) ? -1 : 0;
    }
    if (!loaded->refused) {
        return 0;
    }
    ecert_err(err, ECERT_ERR_CHAIN, site->ascii, "%s", loaded->warnings[0]);
    return ecert_err_hint(err, "try again when it can be read");
}

/* The path as it is served, then what came with the certificate. */
static int push_path(const ecert_cli_site_t *site, const char *catalogue,
                     const ecert_generation_t *generation, goods_t *goods,
                     ecert_err_t *err)
{
    STACK_OF(X509) *list = goods->pfx.certificates;
    char certificate[PATH_MAX + 32], key[PATH_MAX + 32], chain[PATH_MAX + 32];
    const char *issuers[] = {chain};
    ecert_site_t files = {.certificate = certificate,
                          .key = key,
                          .issuers = issuers,
                          .n_issuers = 1,
                          .catalogue = catalogue,
                          .cross = {ECERT_CROSS_ON, 0}};
    ecert_loader_t *loader = ecert_loader_new(site->store, err);
    ecert_loaded_t loaded;
    int refused, rc = loader ? push(list, generation->leaf) : -1;

    if (rc != 0) {
        ecert_loader_free(loader);
        return -1;
    }
    snprintf(certificate, sizeof(certificate), "%s/certificate.pem",
             generation->dir);
    snprintf(key, sizeof(key), "%s/key.pem", generation->dir);
    snprintf(chain, sizeof(chain), "%s/chain.pem", generation->dir);
    refused = read_path(loader, &files, site, &loaded, err) != 0;
    if (!refused && loaded.chain != NULL) {
        for (int i = 0; i < sk_X509_num(loaded.chain->served); i++) {
            rc |= push(list, sk_X509_value(loaded.chain->served, i));
        }
        refused = push_roots(list, loaded.chain, err) != 0;
    }
    ecert_loaded_free(&loaded);
    ecert_loader_free(loader);
    if (refused) {
        return -1;
    }
    for (int i = 0; i < sk_X509_num(generation->others); i++) {
        rc |= push(list, sk_X509_value(generation->others, i));
    }
    return rc == 0 ? 0 : ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
}

static int take_generation(const ecert_cli_site_t *site, const char *catalogue,
                           const ecert_generation_t *generation, goods_t *goods,
                           ecert_err_t *err)
{
    ecert_site_json_t json;
    int rc;

    if (!generation->exportable) {
        return refuse_export(site->ascii, err);
    }
    ecert_x509_fingerprint(generation->leaf, goods->fingerprint);
    if (take_key(goods, ecert_generation_key(generation, err), err) != 0
        || ecert_store_json(site->dir, site->ascii, NULL, &json, err) != 0) {
        return -1;
    }
    rc = push_path(site, catalogue ? catalogue : json.catalogue, generation,
                   goods, err);
    ecert_site_json_free(&json);
    return rc;
}

/* None of those that are there was meant. */
static int no_generation(const ecert_cli_site_t *site, uint64_t number,
                         const ecert_generation_t *list, size_t n,
                         ecert_err_t *err)
{
    const ecert_generation_t *newest = n > 0 ? &list[n - 1] : NULL;

    if (number > 0 && newest) {
        return ecert_cli_no_generation(list, n, site->ascii, err, "%llu",
                                       (unsigned long long)number);
    }
    ecert_err(err, ECERT_ERR_NO_CERTIFICATE, site->ascii,
              newest ? "none is the current one" : NULL);
    if (newest) {
        return ecert_err_hint(err,
                              "for one that is not current add --generation "
                              "%llu, for a pending key --pending",
                              (unsigned long long)newest->number);
    }
    return ecert_err_hint(err,
                          "for the key of a pending request: ecert "
                          "backup %.150s --pending -o FILE.pfx",
                          ecert_cli_word(site->ascii));
}

static int take_installed(const ecert_cli_site_t *site,
                          const options_t *options, goods_t *goods,
                          ecert_err_t *err)
{
    const ecert_generation_t *chosen = NULL;
    ecert_generation_t *list;
    size_t n;
    int rc;

    if (ecert_generations(site->dir, &list, &n, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (options->generation ? list[i].number == options->generation
                                : list[i].current) {
            chosen = &list[i];
        }
    }
    rc = chosen ? take_generation(site, options->catalogue, chosen, goods, err)
                : no_generation(site, options->generation, list, n, err);
    ecert_generations_free(list, n);
    return rc;
}

static void free_goods(goods_t *goods)
{
    EVP_PKEY_free(goods->pfx.key);
    sk_X509_pop_free(goods->pfx.certificates, X509_free);
}

/* ---- the file ---------------------------------------------------------- */

static int same(const goods_t *goods, const ecert_parcel_t *parcel)
{
    const STACK_OF(X509) *mine = goods->pfx.certificates;

    if (parcel->key == NULL || EVP_PKEY_eq(parcel->key, goods->pfx.key) != 1
        || sk_X509_num(parcel->certificates) != sk_X509_num(mine)) {
        return 0;
    }
    for (int i = 0; i < sk_X509_num(mine); i++) {
        if (X509_cmp(sk_X509_value(mine, i),
                     sk_X509_value(parcel->certificates, i))
            != 0) {
            return 0;
        }
    }
    return 1;
}

/* A backup that cannot be opened is worse than none. */
static int open_again(const ecert_outfile_t *out, const goods_t *goods,
                      const char *password, ecert_err_t *err)
{
    ecert_file_t file = {0};
    ecert_parcel_t parcel;
    int good;

    if (ecert_outfile_read(out, &file.bytes, &file.len, err) != 0) {
        return -1;
    }
    good = ecert_parcel_open(&file, out->path, password, &parcel, err) == 0;
    OPENSSL_clear_free(file.bytes, file.len);
    if (!good) {
        return -1;
    }
    good = same(goods, &parcel);
    ecert_parcel_free(&parcel);
    return good ? 0
                : ecert_err(err, ECERT_ERR_DAMAGED, out->path,
                            "opened again, it holds something else");
}

static int write_file(const options_t *options, const goods_t *goods,
                      const char *password, ecert_err_t *err)
{
    ecert_outfile_t out;
    unsigned char *bytes;
    size_t len;
    int rc;

    if (ecert_pfx_write(&goods->pfx, options->profile, password, &bytes, &len,
                        err)
        != 0) {
        return -1;
    }
    rc = ecert_outfile_write(&out, options->file, bytes, len, err);
    OPENSSL_clear_free(bytes, len);
    if (rc == 0) {
        rc = open_again(&out, goods, password, err);
    }
    if (rc == 0) {
        rc = ecert_outfile_commit(&out, err);
    }
    ecert_outfile_end(&out);
    return rc;
}

/* A file made here is this user's.  Anybody else's is not parsed by a
 * process that inherits the private key, though it is in a jail. */
static int is_own(const struct stat *st)
{
    return st->st_uid == geteuid() && (st->st_mode & 022) == 0;
}

/* A command was killed when its file was in place, but nothing told of it. */
static int is_unfinished(const ecert_cli_site_t *site, const options_t *options,
                         const goods_t *goods, const char *password)
{
    ecert_parcel_t parcel;
    ecert_file_t file;
    ecert_err_t ignored;
    int is = 0;

    if (ecert_backups_has(site->dir, ecert_cli_absolute(options->file),
                          &ignored)
            != 0
        || ecert_parcel_read(options->file, &file, &ignored) != 0) {
        return 0;
    }
    if (is_own(&file.st)
        && ecert_parcel_open(&file, options->file, password, &parcel, &ignored)
               == 0) {
        is = same(goods, &parcel);
        ecert_parcel_free(&parcel);
    }
    ecert_file_free(&file);
    return is;
}

/* The file is good all the same, and to make it again would not help. */
static void not_noted(const ecert_cli_site_t *site, ecert_err_t *err)
{
    ecert_err_hint(err, "the backup is good, but the store cannot note it, and "
                        "goes on asking for one");
    ecert_cli_warn(site->ascii, err);
}

/* The log comes first: whoever was killed before the last step is asked to do
 * it again. */
static void note(const ecert_cli_site_t *site, const options_t *options,
                 const goods_t *goods)
{
    ecert_backup_t backup = {
        .key_id = goods->key_id,
        .certificate = goods->fingerprint[0] ? goods->fingerprint : NULL,
        .file = ecert_cli_absolute(options->file),
        .profile = options->profile_name,
    };
    json_t *more = json_object();
    ecert_err_t err;

    ecert_json_set_text(more, "key_sha256", goods->key_id);
    ecert_json_set_text(more, "certificate_sha256", backup.certificate);
    ecert_json_set_text(more, "file", backup.file);
    if (ecert_journal_add(site->store, "backup", site->ascii, json_incref(more),
                          site->now, &err)
            != 0
        || ecert_backups_add(site->dir, &backup, site->now, &err) != 0) {
        not_noted(site, &err);
    }
    json_decref(more);
}

static void record(ecert_cli_site_t *site, const options_t *options,
                   const goods_t *goods)
{
    ecert_err_t err;

    site->lock = ecert_cli_lock(site->store, &err);
    if (site->lock < 0) {
        not_noted(site, &err);
        return;
    }
    ecert_install_tidy(site->dir, site->ascii, &err);
    note(site, options, goods);
    ecert_cli_site_close(site);
}

static void say(const options_t *options, const goods_t *goods)
{
    int n = sk_X509_num(goods->pfx.certificates);
    char what[80] = "private key alone";

    if (n > 0) {
        snprintf(what, sizeof(what),
                 "private key, certificate and %d more of its path", n - 1);
    }
    ecert_say_line(stdout, "%s: %s; opened again and compared.", options->file,
                   what);
    puts(options->profile == ECERT_PFX_WINDOWS
             ? "All versions of Windows Server can open it."
             : "Windows Server from 2019 on can open it (older ones: --profile "
               "windows).");
    puts("Keep it off this machine, and do not forget its password.");
}

/* The lock is not held while somebody types. */
static int backup(const options_t *options)
{
    char password[ECERT_PASSWORD_MAX];
    ecert_cli_site_t site;
    goods_t goods = {0};
    ecert_err_t err;
    int rc;

    if (ecert_cli_site_look(&site, options->store, options->name, &err) != 0) {
        return ecert_cli_fail(NULL, &err);
    }
    snprintf(goods.pfx.friendly_name, sizeof(goods.pfx.friendly_name), "%s",
             site.ascii);
    rc = options->pending ? take_pending(&site, options, &goods, &err)
                          : take_installed(&site, options, &goods, &err);
    if (rc == 0) {
        rc = ecert_password_new(&options->password, options->file, password,
                                &err);
    }
    if (rc == 0) {
        rc = write_file(options, &goods, password, &err);
        if (rc != 0 && err.code == ECERT_ERR_EXISTS
            && is_unfinished(&site, options, &goods, password)) {
            rc = 0;
        }
        ecert_password_wipe(password);
    }
    if (rc == 0) {
        record(&site, options, &goods);
        say(options, &goods);
        ecert_cli_progress_show(site.store, site.ascii, site.now, stdout);
    }
    free_goods(&goods);
    return rc == 0 ? ECERT_EXIT_DONE : ecert_cli_fail(NULL, &err);
}

/* ---- the command ------------------------------------------------------- */

static int set_request(void *ctx, const char *value, ecert_err_t *err)
{
    options_t *options = ctx;

    options->pending = 1;
    return ecert_cli_set_request(&options->request, value, err);
}

static int set_generation(void *to, const char *value, ecert_err_t *err)
{
    return ecert_cli_number(value, "the generation", to, err);
}

static int set_profile(void *ctx, const char *value, ecert_err_t *err)
{
    options_t *options = ctx;

    options->profile_name = value;
    return ecert_pfx_profile_parse(value, &options->profile, err);
}

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    options_t options = {.profile_name = "modern",
                         .profile = ECERT_PFX_MODERN,
                         .password.fd = -1};
    int code, first = ecert_cli_parse(command, argc, argv, &options, &code);

    if (first < 0) {
        return code;
    }
    if (argc - first != 1 || options.file == NULL) {
        return ecert_cli_usage("backup", "NAME and -o FILE are wanted");
    }
    if (options.pending && options.generation) {
        return ecert_cli_usage("backup", "either --generation or a request");
    }
    options.name = argv[first];
    options.store = ecert_cli_store();
    return backup(&options);
}

static const ecert_cli_option_t options[] = {
    {"output", "FILE", "the PFX file to make; never written over", 'o',
     ecert_cli_set_text, offsetof(options_t, file)},
    {"pending", NULL, "the key of a pending request, before it is submitted", 0,
     ecert_cli_set_flag, offsetof(options_t, pending)},
    {"request", "N",
     "the pending request N (default: the newest); implies --pending", 0,
     set_request, 0},
    {"generation", "N",
     "the certificate of generation N (default: the current one)", 0,
     set_generation, offsetof(options_t, generation)},
    {"profile", "PROFILE",
     "modern (default): AES-256, PBKDF2, SHA-256; windows: 3DES and SHA-1, "
     "which Windows Server 2016 and older need",
     0, set_profile, 0},
    ECERT_CLI_CATALOGUE(options_t),
    ECERT_CLI_PASSWORD_FILE(options_t),
    ECERT_CLI_PASSWORD_FD(options_t),
    {"weak-password", NULL, "take a password of fewer than 8 characters, too",
     0, ecert_cli_set_flag, offsetof(options_t, password.weak)},
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_backup = {
    .name = "backup",
    .what = "the private key, as a PFX file (guide, F)",
    .arguments = "NAME -o FILE",
    .about = "Writes the private key with its certificate and all certificates "
             "of the path into a PKCS#12 file, everything encrypted; with "
             "--pending the key of a request that has none yet.  The file is "
             "opened again and compared before it counts.  The password is "
             "asked for, twice.",
    .options = options,
    .example = "ecert backup www.example.hk -o www.example.hk.pfx --profile "
               "windows",
    .run = run,
};
