#include "ecert_install.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ecert_chain.h"
#include "ecert_generation.h"
#include "ecert_json.h"
#include "ecert_load.h"
#include "ecert_name.h"
#include "ecert_request.h"
#include "ecert_site_edit.h"
#include "ecert_store_staple.h"
#include "ecert_store.h"
#include "ecert_swap.h"

/* ---- would a server take it? ------------------------------------------- */

static const char *source(const ecert_install_t *in)
{
    return in->file ? in->file : in->ascii;
}

static int uncovered(const ecert_install_t *in, ecert_err_t *err)
{
    char list[400] = "";
    const char *why = "";
    size_t used = 0, n = 0, named = 0;

    for (size_t i = 0; i < in->n_names; i++) {
        if (ecert_name_covered(in->leaf, in->names[i])) {
            continue;
        }
        if (why[0] == '\0') {
            why = ecert_name_uncovered(in->leaf, in->names[i]);
        }
        if (n++ == named && used + strlen(in->names[i]) + 3 < sizeof(list)) {
            used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
                                     used ? ", " : "", in->names[i]);
            named++;
        }
    }
    if (n == 0) {
        return 0;
    }
    if (named < n) {
        return ecert_err(err, ECERT_ERR_NAMES, source(in),
                         "%s and %zu more are not in the certificate%s", list,
                         n - named, why);
    }
    return ecert_err(err, ECERT_ERR_NAMES, source(in),
                     "%s %s not in the certificate%s", list,
                     n == 1 ? "is" : "are", why);
}

static void take_facts(const ecert_loaded_t *loaded, ecert_installed_t *out)
{
    if (loaded->chain != NULL && !loaded->chain->complete) {
        snprintf(out->missing, sizeof(out->missing), "%s",
                 loaded->chain->missing);
    }
}

static int expired(const ecert_install_t *in, ecert_installed_t *out,
                   ecert_err_t *err)
{
    char when[32];

    out->expired = in->keep_expired;
    return out->expired ? 0
                        : ecert_err(err, ECERT_ERR_EXPIRED, source(in), "on %s",
                                    ecert_date_format(out->not_after, when));
}

/* The stage is gone when this is read. */
static void name_source(const ecert_install_t *in, const ecert_stage_t *stage,
                        ecert_err_t *err)
{
    char path[sizeof(err->file)];

    ecert_escape(path, sizeof(path), stage->path, strlen(stage->path));
    if (strncmp(err->file, path, strlen(path)) == 0
        && !ecert_err_refused(err)) {
        ecert_err_file(err, source(in));
    }
}

/* What is current is good: with a staple, if it demands one, or it can have it.
 */
static int replaces_good(const ecert_install_t *in, ecert_loader_t *loader)
{
    ecert_site_t site = {.name = in->ascii};
    ecert_loaded_t loaded;
    ecert_err_t ignored;
    int never = 0, good;

    good = ecert_load(loader, &site, in->now, &loaded, &ignored) >= 0
           && loaded.state == ECERT_STATE_VALID
           && X509_cmp(loaded.chain->considered[0].cert, in->leaf) != 0;
    if (good) {
        ecert_store_staple_demand(in->store, &loaded, in->now, &never,
                                  &ignored);
    }
    ecert_loaded_free(&loaded);
    return good && !never;
}

/* A leaf that clients refuse without a staple (RFC 7633) goes live by itself
 * when that is there; what can never have one must not replace a good one. */
static int check_staple(const ecert_install_t *in, const ecert_loaded_t *loaded,
                        ecert_loader_t *loader, ecert_installed_t *out,
                        ecert_err_t *err)
{
    int never;

    if (ecert_store_staple_demand(in->store, loaded, in->now, &never,
                                  &out->staple)
        == 0) {
        ecert_err_clear(&out->staple);
        return 0;
    }
    ecert_err_file(&out->staple, source(in));
    if (!never || in->keep_current || !replaces_good(in, loader)) {
        return 0;
    }
    *err = out->staple;
    return ecert_err_hint(err, "the one before is good and stays: have it "
                               "issued again, without the TLS feature or with "
                               "a responder");
}

/* The files as they stand in the stage, looked at as a server's agent does. */
static int try_files(const ecert_install_t *in, const ecert_stage_t *stage,
                     const ecert_site_json_t *json, ecert_installed_t *out,
                     ecert_err_t *err)
{
    char certificate[PATH_MAX], key[PATH_MAX], chain[PATH_MAX];
    const char *issuers[] = {chain};
    ecert_site_t site = {.certificate = certificate,
                         .key = key,
                         .issuers = issuers,
                         .n_issuers = 1,
                         .catalogue = json->catalogue,
                         .security_level = in->security_level,
                         .cross = json->cross};
    ecert_loader_t *loader;
    ecert_loaded_t loaded;
    int rc;

    if (ecert_file_path(certificate, err, "%s/certificate.pem", stage->path)
            != 0
        || ecert_file_path(key, err, "%s/key.pem", stage->path) != 0
        || ecert_file_path(chain, err, "%s/chain.pem", stage->path) != 0) {
        return -1;
    }
    loader = ecert_loader_new(in->store, err);
    if (loader == NULL) {
        return -1;
    }
    rc = ecert_load(loader, &site, in->now, &loaded, err);
    take_facts(&loaded, out);
    if (rc < 0 && err->code == ECERT_ERR_NOT_YET) {
        out->waiting = 1; /* the agents know when its time comes */
        rc = 0;
    } else if (rc == 0 && loaded.state == ECERT_STATE_EXPIRED) {
        rc = expired(in, out, err);
    } else if (rc == 0) {
        rc = check_staple(in, &loaded, loader, out, err);
    } else if (rc < 0 && err->code == ECERT_ERR_INVALID && in->keep_expired) {
        out->invalid = 1;
        rc = 0;
    } else if (rc < 0) {
        name_source(in, stage, err);
    }
    ecert_loaded_free(&loaded);
    ecert_loader_free(loader);
    return rc < 0 ? -1 : 0;
}

static int check(const ecert_install_t *in, const ecert_stage_t *stage,
                 ecert_installed_t *out, ecert_err_t *err)
{
    ecert_site_json_t json;
    int rc;

    if (ecert_store_json(in->site_dir, in->ascii, NULL, &json, err) != 0) {
        return -1;
    }
    rc = try_files(in, stage, &json, out, err);
    ecert_site_json_free(&json);
    return rc;
}

/* ---- into its place ---------------------------------------------------- */

static json_t *describe(const ecert_install_t *in)
{
    json_t *json = json_object();
    char text[65];

    ecert_json_set_date(json, "created", in->now);
    ecert_json_set_text(json, "certificate_sha256",
                        ecert_x509_fingerprint(in->leaf, text));
    json_object_set_new(json, "names",
                        ecert_json_texts(in->names, in->n_names));
    if (in->wanted != 0) {
        json_object_set_new(json, "request",
                            json_integer((json_int_t)in->wanted));
    }
    if (!in->exportable) {
        json_object_set_new(json, "export", json_false());
    }
    return json;
}

/* The request's own number where generations stay in the order of their
 * coming.  Folders count that cannot be read, too. */
static int choose(const ecert_install_t *in, uint64_t *number, ecert_err_t *err)
{
    uint64_t *numbers, next;
    int64_t current;
    size_t n;

    if (ecert_store_generations(in->site_dir, NULL, &numbers, &n, &current, err)
        != 0) {
        return -1;
    }
    next = n > 0 ? numbers[0] + 1 : 1;
    *number = in->wanted > next ? in->wanted : next;
    free(numbers);
    return 0;
}

/* -1 when that cannot be told. */
static int has_key(const ecert_generation_t *generation, const EVP_PKEY *key,
                   ecert_err_t *err)
{
    EVP_PKEY *own = ecert_generation_key(generation, err);
    int same = own ? EVP_PKEY_eq(own, key) == 1 : -ecert_err_refused(err);

    EVP_PKEY_free(own);
    return same;
}

/* The number of the generation that is this certificate already, or 0. */
static int find_same(const ecert_install_t *in, const ecert_generation_t *list,
                     size_t n, uint64_t *number, ecert_err_t *err)
{
    int same = 0;

    *number = 0;
    for (size_t i = n; same == 0 && i-- > 0;) {
        if (list[i].number > 0 && X509_cmp(list[i].leaf, in->leaf) == 0) {
            same = has_key(&list[i], in->key, err);
            *number = same > 0 ? list[i].number : 0;
        }
    }
    return same < 0 ? -1 : 0;
}

static int commit(const ecert_install_t *in, ecert_stage_t *stage,
                  uint64_t *number, ecert_err_t *err)
{
    char name[32];

    if (choose(in, number, err) != 0) {
        return -1;
    }
    snprintf(name, sizeof(name), "%llu", (unsigned long long)*number);
    return ecert_stage_commit(stage, name, err);
}

/* What is current stays; of a site that begins, the next request knows what to
 * begin with. */
static int put_aside(const ecert_install_t *in,
                     const ecert_generation_t *current, ecert_installed_t *out,
                     ecert_err_t *err)
{
    json_t *json;
    int empty;

    if (current != NULL) {
        out->current = current->number == out->number;
        return 0;
    }
    json = ecert_site_read(in->site_dir, err);
    if (json == NULL) {
        return -1;
    }
    empty = json_object_size(json) == 0;
    json_decref(json);
    return !empty ? 0
                  : ecert_site_write(in->site_dir, in->names, in->n_names,
                                     in->site, err);
}

static int place(const ecert_install_t *in, ecert_stage_t *stage,
                 const ecert_generation_t *list, size_t n,
                 ecert_installed_t *out, ecert_err_t *err)
{
    const ecert_generation_t *current = ecert_generation_current(list, n);
    int mended = in->mend_chain && out->missing[0] == '\0';

    if (find_same(in, list, mended ? 0 : n, &out->number, err) != 0) {
        return -1;
    }
    out->same = out->number != 0;
    if (!out->same && commit(in, stage, &out->number, err) != 0) {
        return -1;
    }
    if (out->expired || out->invalid || (in->keep_current && current != NULL)) {
        return put_aside(in, current, out, err);
    }
    out->current = 1;
    return ecert_swap(in->site_dir, out->number, in->leaf, in->names,
                      in->n_names, in->site, err);
}

int ecert_install(const ecert_install_t *in, ecert_installed_t *out,
                  ecert_err_t *err)
{
    ecert_generation_t *list = NULL;
    ecert_stage_t stage;
    json_t *json;
    size_t n = 0;
    int rc;

    memset(out, 0, sizeof(*out));
    out->not_before = ecert_x509_not_before(in->leaf);
    out->not_after = ecert_x509_not_after(in->leaf);
    if (uncovered(in, err) != 0) {
        return -1;
    }
    json = describe(in);
    rc = ecert_generation_stage(in->site_dir, in->leaf, in->key, in->others,
                                json, &stage, err);
    json_decref(json);
    if (rc != 0) {
        return -1;
    }
    rc = check(in, &stage, out, err);
    if (rc == 0) {
        rc = ecert_generations(in->site_dir, &list, &n, err);
    }
    if (rc == 0) {
        rc = place(in, &stage, list, n, out, err);
    }
    ecert_generations_free(list, n);
    ecert_stage_drop(&stage);
    return rc;
}

/* ---- after a kill ------------------------------------------------------ */

static void sweep(const char *folder, const char *name)
{
    char path[PATH_MAX];
    ecert_err_t ignored;

    if (ecert_file_path(path, &ignored, "%s/%s", folder, name) == 0) {
        ecert_stage_sweep(path);
    }
}

/* Also in the requests, whose request.json is written anew. */
static void sweep_site(const char *site_dir)
{
    char pending[PATH_MAX], name[32];
    ecert_err_t ignored;
    uint64_t *numbers;
    size_t n;

    sweep(site_dir, "");
    sweep(site_dir, "generations");
    sweep(site_dir, "pending");
    if (ecert_file_path(pending, &ignored, "%s/pending", site_dir) != 0
        || ecert_store_numbers(pending, ECERT_REQUESTS_MAX, NULL, &numbers, &n,
                               &ignored)
               != 0) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "%llu", (unsigned long long)numbers[i]);
        sweep(pending, name);
    }
    free(numbers);
}

/* The link was swapped, but the command did not come to its end. */
static int finish(const char *site_dir, const ecert_request_t *request,
                  ecert_err_t *err)
{
    return ecert_site_write(site_dir, request->names, request->n_names,
                            json_object_get(request->json, "site"), err)
                   == 0
               ? ecert_request_remove(site_dir, request->number, err)
               : -1;
}

/* The number alone would not do: it may have been given to a later request.
 * Nor would the key: a request for a renewal may have been made with it. */
static int became(const ecert_request_t *request,
                  const ecert_generation_t *current)
{
    const json_t *number = json_object_get(current->json, "request");

    return json_is_integer(number)
           && (uint64_t)json_integer_value(number) == request->number
           && strcmp(request->key_id, current->key_id) == 0;
}

static int finish_all(const char *site_dir, const char *ascii, ecert_err_t *err)
{
    const ecert_generation_t *current;
    ecert_generation_t *list = NULL;
    ecert_request_t *requests = NULL;
    size_t n = 0, n_requests = 0;
    int rc = -1;

    if (ecert_generations(site_dir, &list, &n, err) == 0
        && ecert_requests(site_dir, ascii, &requests, &n_requests, err) == 0) {
        current = ecert_generation_current(list, n);
        rc = 0;
        for (size_t i = 0; current != NULL && rc == 0 && i < n_requests; i++) {
            if (became(&requests[i], current)) {
                rc = finish(site_dir, &requests[i], err);
            }
        }
    }
    ecert_requests_free(requests, n_requests);
    ecert_generations_free(list, n);
    return rc;
}

int ecert_install_tidy(const char *site_dir, const char *ascii,
                       ecert_err_t *err)
{
    sweep_site(site_dir);
    return ecert_swap_finish(site_dir, err) == 0
               ? finish_all(site_dir, ascii, err)
               : -1;
}
