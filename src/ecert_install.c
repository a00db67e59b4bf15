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
#include "ecert_store.h"
#include "ecert_swap.h"

/* ---- would a server take it? ------------------------------------------- */

static int uncovered(const ecert_install_t *in, ecert_err_t *err)
{
    char list[400] = "";
    size_t used = 0, n = 0;

    for (size_t i = 0; i < in->n_names; i++) {
        if (ecert_name_covered(in->leaf, in->names[i])) {
            continue;
        }
        n++;
        if (used < sizeof(list)) {
            used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
                                     used ? ", " : "", in->names[i]);
        }
    }
    return n == 0 ? 0
                  : ecert_err(err, ECERT_ERR_NAMES, in->ascii,
                              "%s %s not in the certificate", list,
                              n == 1 ? "is" : "are");
}

static void take_facts(const ecert_loaded_t *loaded, ecert_installed_t *out)
{
    if (loaded->chain != NULL && !loaded->chain->complete) {
        snprintf(out->missing, sizeof(out->missing), "%s",
                 loaded->chain->missing);
    }
}

/* The files as they stand in the stage, looked at as a server's agent does. */
static int try_files(const ecert_install_t *in, const ecert_stage_t *stage,
                     const ecert_site_json_t *json, ecert_installed_t *out,
                     ecert_err_t *err)
{
    char certificate[PATH_MAX + 32], key[PATH_MAX + 32], chain[PATH_MAX + 32];
    const char *issuers[] = {chain};
    ecert_site_t site = {.certificate = certificate,
                         .key = key,
                         .issuers = issuers,
                         .n_issuers = 1,
                         .catalogue = json->catalogue,
                         .cross = json->cross};
    ecert_loader_t *loader = ecert_loader_new(in->store, err);
    ecert_loaded_t loaded;
    int rc;

    if (loader == NULL) {
        return -1;
    }
    snprintf(certificate, sizeof(certificate), "%s/certificate.pem",
             stage->path);
    snprintf(key, sizeof(key), "%s/key.pem", stage->path);
    snprintf(chain, sizeof(chain), "%s/chain.pem", stage->path);
    rc = ecert_load(loader, &site, in->now, &loaded, err);
    take_facts(&loaded, out);
    if (rc < 0 && err->code == ECERT_ERR_NOT_YET) {
        out->waiting = 1; /* the agents know when its time comes */
        rc = 0;
    } else if (rc == 0 && loaded.state == ECERT_STATE_EXPIRED) {
        char when[32];

        rc = ecert_err(err, ECERT_ERR_EXPIRED, in->ascii, "on %s",
                       ecert_date_format(out->not_after, when));
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

    if (uncovered(in, err) != 0
        || ecert_store_json(in->site_dir, in->ascii, NULL, &json, err) != 0) {
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
    if (!in->exportable) {
        json_object_set_new(json, "export", json_false());
    }
    return json;
}

/* The request's own number where generations stay in the order of their
 * coming. */
static uint64_t choose(const ecert_generation_t *list, size_t n,
                       uint64_t wanted)
{
    uint64_t highest = n > 0 ? list[n - 1].number : 0;

    for (size_t i = 0; i < n; i++) {
        highest = list[i].number > highest ? list[i].number : highest;
    }
    return wanted > highest ? wanted : highest + 1;
}

static int place(const ecert_install_t *in, ecert_stage_t *stage,
                 const ecert_generation_t *list, size_t n,
                 ecert_installed_t *out, ecert_err_t *err)
{
    const ecert_generation_t *current = ecert_generation_current(list, n);
    char name[32];

    out->number = 0;
    for (size_t i = 0; i < n; i++) {
        if (list[i].number > 0 && X509_cmp(list[i].leaf, in->leaf) == 0) {
            out->number = list[i].number;
            out->same = 1;
        }
    }
    if (out->same) {
        ecert_stage_drop(stage);
    } else {
        out->number = choose(list, n, in->wanted);
        snprintf(name, sizeof(name), "%llu", (unsigned long long)out->number);
        if (ecert_stage_commit(stage, name, err) != 0) {
            return -1;
        }
    }
    if (in->keep_current && current != NULL) {
        out->current = current->number == out->number;
        return 0;
    }
    out->current = 1;
    return ecert_swap(in->site_dir, out->number, in->leaf, in->names,
                      in->n_names, in->site, err);
}

int ecert_install(const ecert_install_t *in, ecert_installed_t *out,
                  ecert_err_t *err)
{
    json_t *json = describe(in);
    ecert_generation_t *list = NULL;
    ecert_stage_t stage;
    size_t n = 0;
    int rc;

    memset(out, 0, sizeof(*out));
    out->not_before = ecert_x509_not_before(in->leaf);
    out->not_after = ecert_x509_not_after(in->leaf);
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

static void sweep(const char *site_dir)
{
    static const char *const folders[] = {"", "/pending", "/generations"};
    char path[PATH_MAX];
    ecert_err_t ignored;
    uint64_t *numbers;
    size_t n;

    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%.4000s%s", site_dir, folders[i]);
        ecert_stage_sweep(path);
    }
    snprintf(path, sizeof(path), "%.4000s/pending", site_dir);
    if (ecert_store_numbers(path, ECERT_REQUESTS_MAX, NULL, &numbers, &n,
                            &ignored)
        != 0) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "%.4000s/pending/%llu", site_dir,
                 (unsigned long long)numbers[i]);
        ecert_stage_sweep(path);
    }
    free(numbers);
}

int ecert_install_tidy(const char *site_dir, const char *ascii,
                       ecert_err_t *err)
{
    const ecert_generation_t *current;
    ecert_generation_t *list = NULL;
    ecert_request_t *requests = NULL;
    ecert_err_t ignored;
    size_t n = 0, n_requests = 0;

    sweep(site_dir);
    if (ecert_swap_finish(site_dir, err) != 0) {
        return -1;
    }
    if (ecert_generations(site_dir, &list, &n, &ignored) == 0
        && ecert_requests(site_dir, ascii, &requests, &n_requests, &ignored)
               == 0) {
        current = ecert_generation_current(list, n);
        for (size_t i = 0; current != NULL && i < n_requests; i++) {
            if (strcmp(requests[i].key_id, current->key_id) == 0) {
                ecert_request_remove(site_dir, requests[i].number, &ignored);
            }
        }
    }
    ecert_requests_free(requests, n_requests);
    ecert_generations_free(list, n);
    return 0;
}
