#include "ecert_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "ecert_bundle.h"
#include "ecert_json.h"
#include "ecert_name.h"
#include "ecert_pem.h"
#include "ecert_stage.h"
#include "ecert_store.h"

static int path_of(const ecert_request_t *request, const char *name, char *out,
                   ecert_err_t *err)
{
    return ecert_file_path(out, err, "%s/%s", request->dir, name);
}

static int pending_of(const char *site_dir, char *out, ecert_err_t *err)
{
    return ecert_file_path(out, err, "%s/pending", site_dir);
}

/* ---- one request ------------------------------------------------------- */

X509_REQ *ecert_request_csr(const ecert_request_t *request, ecert_err_t *err)
{
    char path[PATH_MAX];
    ecert_file_t file;
    X509_REQ *csr;

    if (path_of(request, "request.csr", path, err) != 0
        || ecert_file_read(path, ECERT_FILE_MAX, NULL, &file, err) != 0) {
        return NULL;
    }
    csr = ecert_csr_read(file.bytes, file.len, path, err);
    ecert_file_free(&file);
    return csr;
}

EVP_PKEY *ecert_request_key(const ecert_request_t *request, ecert_err_t *err)
{
    char path[PATH_MAX];

    return path_of(request, "key.pem", path, err) == 0
               ? ecert_key_read(path, NULL, err)
               : NULL;
}

/* What the key is: from the request, else (none was made) from itself. */
static int take_key(ecert_request_t *request, ecert_err_t *err)
{
    X509_REQ *csr = ecert_request_csr(request, err);
    EVP_PKEY *own, *key;
    int rc;

    if (csr == NULL && ecert_err_refused(err)) {
        return -1;
    }
    own = csr ? NULL : ecert_request_key(request, err);
    key = csr ? X509_REQ_get0_pubkey(csr) : own;
    rc = key ? ecert_key_id(key, request->key_id, err) : -1;
    request->has_csr = csr != NULL;
    if (rc == 0) {
        ecert_pem_key_name(key, request->key_name, sizeof(request->key_name));
    }
    EVP_PKEY_free(own);
    X509_REQ_free(csr);
    return rc;
}

/* What the certificate is to cover; where nobody said it, what the site has to
 * cover anyway. */
static int read_names(const ecert_request_t *request, const char *site_dir,
                      const char *ascii, char ***names, size_t *n,
                      ecert_err_t *err)
{
    ecert_site_json_t site;

    if (json_object_get(request->json, "names") != NULL
        && ecert_json_names(request->json, "names", NULL, names, n, err) == 0) {
        return 0;
    }
    *names = NULL;
    *n = 0;
    if (ecert_store_json(site_dir, ascii, NULL, &site, err) != 0) {
        return -ecert_err_refused(err); /* a broken one says nothing */
    }
    *names = site.names; /* taken over */
    *n = site.n_names;
    site.names = NULL;
    site.n_names = 0;
    ecert_site_json_free(&site);
    return 0;
}

static int add_name(ecert_request_t *request, const char *name)
{
    for (size_t i = 0; i < request->n_names; i++) {
        if (strcmp(request->names[i], name) == 0) {
            return 0;
        }
    }
    request->names[request->n_names] = strdup(name);
    return request->names[request->n_names] ? (request->n_names++, 0) : -1;
}

/* In the form of ecert_name_ascii, the site's own first, each once. */
static int take_names(ecert_request_t *request, const char *site_dir,
                      const char *ascii, ecert_err_t *err)
{
    char **names = NULL, name[ECERT_NAME_MAX];
    size_t n = 0;
    int rc = -1;

    if (read_names(request, site_dir, ascii, &names, &n, err) != 0) {
        return -1;
    }
    request->n_names = 0;
    request->names = calloc(n + 1, sizeof(*request->names));
    if (request->names != NULL) {
        rc = add_name(request, ascii);
    }
    for (size_t i = 0; i < n && rc == 0; i++) {
        ecert_err_t ignored;

        if (ecert_name_ascii(names[i], name, &ignored) == 0) {
            rc = add_name(request, name);
        } else {
            rc = -ecert_err_refused(&ignored); /* for want of memory */
        }
    }
    ecert_names_free(names, n);
    return rc == 0 ? 0 : ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
}

/* A request.json that is broken must not hide the key beside it. */
static int take_json(ecert_request_t *request, ecert_err_t *err)
{
    char path[PATH_MAX];

    if (path_of(request, "request.json", path, err) != 0) {
        return -1;
    }
    request->json = ecert_json_read_or_new(path, err);
    request->exportable = request->json != NULL;
    if (request->json == NULL && ecert_err_refused(err)) {
        return -1;
    }
    if (request->json == NULL) {
        request->json = json_object();
    }
    request->created = ecert_json_date(request->json, "created");
    request->printed = ecert_json_date(request->json, "printed");
    request->exportable =
        ecert_json_flag(request->json, "export", request->exportable);
    return 0;
}

static int load(const char *site_dir, uint64_t number, const char *ascii,
                ecert_request_t *request, ecert_err_t *err)
{
    memset(request, 0, sizeof(*request));
    request->number = number;
    return ecert_file_path(request->dir, err, "%s/pending/%llu", site_dir,
                           (unsigned long long)number)
                       == 0
                   && take_json(request, err) == 0
                   && take_names(request, site_dir, ascii, err) == 0
                   && take_key(request, err) == 0
               ? 0
               : -1;
}

static void free_one(ecert_request_t *request)
{
    json_decref(request->json);
    ecert_names_free(request->names, request->n_names);
}

/* ---- all of a site ----------------------------------------------------- */

static int list_numbers(const char *site_dir, uint64_t **numbers, size_t *n,
                        ecert_err_t *err)
{
    char pending[PATH_MAX];

    return pending_of(site_dir, pending, err) == 0 ? ecert_store_numbers(
               pending, ECERT_REQUESTS_MAX, NULL, numbers, n, err)
                                                   : -1;
}

static int load_all(const char *site_dir, const uint64_t *numbers,
                    size_t n_numbers, const char *ascii,
                    ecert_request_t *requests, size_t *n, ecert_err_t *err)
{
    for (size_t i = n_numbers; i-- > 0;) {
        if (load(site_dir, numbers[i], ascii, &requests[*n], err) == 0) {
            (*n)++;
            continue;
        }
        free_one(&requests[*n]);
        if (ecert_err_refused(err)) {
            return -1;
        }
    }
    return 0;
}

int ecert_requests(const char *site_dir, const char *ascii,
                   ecert_request_t **requests, size_t *n, ecert_err_t *err)
{
    uint64_t *numbers;
    size_t n_numbers;
    int rc;

    *n = 0;
    *requests = NULL;
    if (list_numbers(site_dir, &numbers, &n_numbers, err) != 0) {
        return -1;
    }
    *requests = calloc(n_numbers + 1, sizeof(**requests));
    rc = *requests
             ? load_all(site_dir, numbers, n_numbers, ascii, *requests, n, err)
             : ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    free(numbers);
    if (rc != 0) {
        ecert_requests_free(*requests, *n);
        *requests = NULL;
        *n = 0;
    }
    return rc;
}

void ecert_requests_free(ecert_request_t *requests, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free_one(&requests[i]);
    }
    free(requests);
}

const ecert_request_t *ecert_request_find(const ecert_request_t *requests,
                                          size_t n, uint64_t number,
                                          const char *ascii, ecert_err_t *err)
{
    if (n > 0 && number == 0) {
        return &requests[n - 1];
    }
    for (size_t i = 0; i < n; i++) {
        if (requests[i].number == number) {
            return &requests[i];
        }
    }
    if (number != 0) {
        ecert_err(err, ECERT_ERR_NO_REQUEST, ascii, "number %llu",
                  (unsigned long long)number);
        ecert_err_hint(err, "see which there are: ecert status %s", ascii);
    } else {
        ecert_err(err, ECERT_ERR_NO_REQUEST, ascii, NULL);
        ecert_err_hint(err, "make one: ecert new %s", ascii);
    }
    return NULL;
}

/* ---- changes ----------------------------------------------------------- */

static int put_csr(const ecert_stage_t *stage, X509_REQ *csr, ecert_err_t *err)
{
    char *pem;
    int rc;

    if (csr == NULL) { /* a key that came back without its request */
        return 0;
    }
    pem = ecert_csr_pem(csr, err);
    rc =
        pem ? ecert_stage_put(stage, "request.csr", pem, strlen(pem), 0600, err)
            : -1;
    OPENSSL_free(pem);
    return rc;
}

static int fill(const ecert_stage_t *stage, EVP_PKEY *key, X509_REQ *csr,
                json_t *json, int64_t now, ecert_err_t *err)
{
    char id[65];

    if (ecert_key_id(key, id, err) != 0) {
        return -1;
    }
    ecert_json_set_date(json, "created", now);
    ecert_json_set_text(json, "key_sha256", id);
    return ecert_stage_put_key(stage, key, err) == 0
                   && put_csr(stage, csr, err) == 0
                   && ecert_stage_put_json(stage, "request.json", json, err)
                          == 0
               ? 0
               : -1;
}

int ecert_request_add(const char *site_dir, EVP_PKEY *key, X509_REQ *csr,
                      json_t *json, int64_t now, uint64_t *number,
                      ecert_err_t *err)
{
    char pending[PATH_MAX], name[32];
    ecert_stage_t stage;
    int rc;

    if (pending_of(site_dir, pending, err) != 0
        || ecert_file_folder(pending, 0700, err) != 0
        || ecert_store_next(site_dir, number, err) != 0
        || ecert_stage_begin(&stage, pending, err) != 0) {
        return -1;
    }
    snprintf(name, sizeof(name), "%llu", (unsigned long long)*number);
    rc = fill(&stage, key, csr, json, now, err);
    if (rc == 0) {
        rc = ecert_stage_commit(&stage, name, err);
    }
    ecert_stage_drop(&stage);
    return rc;
}

int ecert_request_printed(const ecert_request_t *request, int64_t now,
                          ecert_err_t *err)
{
    char path[PATH_MAX];
    json_t *json;
    int rc = 0;

    if (path_of(request, "request.json", path, err) != 0) {
        return -1;
    }
    json = ecert_json_read_or_new(path, err);
    if (json == NULL) {
        return -1;
    }
    if (ecert_json_date(json, "printed") == 0) {
        ecert_json_set_date(json, "printed", now);
        rc = ecert_json_write(path, json, 0600, err);
    }
    json_decref(json);
    return rc;
}

int ecert_request_remove(const char *site_dir, uint64_t number,
                         ecert_err_t *err)
{
    char pending[PATH_MAX], name[32];

    snprintf(name, sizeof(name), "%llu", (unsigned long long)number);
    return pending_of(site_dir, pending, err) == 0
               ? ecert_stage_remove(pending, name, err)
               : -1;
}

int ecert_request_no_export(const ecert_request_t *request, ecert_err_t *err)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof(path), "%s/request.json", request->dir);
    json_object_set_new(request->json, "export", json_false());
    return ecert_json_write(path, request->json, 0600, err);
}
