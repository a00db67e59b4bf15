#include "ecert_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "ecert_file.h"
#include "ecert_json.h"
#include "ecert_name.h"
#include "ecert_pem.h"
#include "ecert_stage.h"
#include "ecert_store.h"

static void path_of(const ecert_request_t *request, const char *name, char *out)
{
    snprintf(out, PATH_MAX, "%.4000s/%s", request->dir, name);
}

/* ---- one request ------------------------------------------------------- */

X509_REQ *ecert_request_csr(const ecert_request_t *request, ecert_err_t *err)
{
    char path[PATH_MAX];
    ecert_file_t file;
    X509_REQ *csr;

    path_of(request, "request.csr", path);
    if (ecert_file_read(path, ECERT_FILE_MAX, NULL, &file, err) != 0) {
        return NULL;
    }
    csr = ecert_csr_read(file.bytes, file.len, path, err);
    ecert_file_free(&file);
    return csr;
}

EVP_PKEY *ecert_request_key(const ecert_request_t *request, ecert_err_t *err)
{
    char path[PATH_MAX];
    ecert_file_t file;
    EVP_PKEY *key;

    path_of(request, "key.pem", path);
    if (ecert_file_read(path, ECERT_FILE_MAX, NULL, &file, err) != 0) {
        return NULL;
    }
    key = ecert_pem_key(file.bytes, file.len, path, err);
    ecert_file_free(&file);
    return key;
}

/* What the key is: from the request, else (none was made) from itself. */
static int take_key(ecert_request_t *request, ecert_err_t *err)
{
    X509_REQ *csr = ecert_request_csr(request, err);
    EVP_PKEY *key;
    int rc;

    if (csr == NULL && ecert_err_refused(err)) {
        return -1;
    }
    key = csr ? X509_REQ_get_pubkey(csr) : ecert_request_key(request, err);
    rc = key ? ecert_key_id(key, request->key_id, err) : -1;
    request->has_csr = csr != NULL;
    if (rc == 0) {
        ecert_pem_key_name(key, request->key_name, sizeof(request->key_name));
    }
    EVP_PKEY_free(key);
    X509_REQ_free(csr);
    return rc;
}

static int same_text(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* The names of request.json in the form of ecert_name_ascii, the own first. */
static int take_names(ecert_request_t *request, const char *ascii,
                      const char *file, ecert_err_t *err)
{
    char **names, name[ECERT_NAME_MAX];
    size_t n;

    if (ecert_json_names(request->json, "names", file, &names, &n, err) != 0) {
        return -1;
    }
    request->names = calloc(n + 1, sizeof(*request->names));
    if (request->names != NULL && (request->names[0] = strdup(ascii)) != NULL) {
        request->n_names = 1;
    }
    for (size_t i = 0; i < n && request->n_names > 0; i++) {
        ecert_err_t ignored;
        char *copy;

        if (ecert_name_ascii(names[i], name, &ignored) == 0
            && !same_text(name, ascii) && (copy = strdup(name)) != NULL) {
            request->names[request->n_names++] = copy;
        }
    }
    ecert_names_free(names, n);
    return request->n_names > 0 ? 0
                                : ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
}

static int load(const char *site_dir, uint64_t number, const char *ascii,
                ecert_request_t *request, ecert_err_t *err)
{
    char path[PATH_MAX];

    memset(request, 0, sizeof(*request));
    request->number = number;
    snprintf(request->dir, sizeof(request->dir), "%.3900s/pending/%llu",
             site_dir, (unsigned long long)number);
    path_of(request, "request.json", path);
    request->json = ecert_json_read(path, err);
    if (request->json == NULL) {
        if (err->code != ECERT_ERR_MISSING) {
            return -1;
        }
        request->json = json_object();
    }
    request->created = ecert_json_date(request->json, "created");
    request->printed = ecert_json_date(request->json, "printed");
    request->exportable = ecert_json_flag(request->json, "export", 1);
    return take_names(request, ascii, path, err) == 0
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

    snprintf(pending, sizeof(pending), "%.4000s/pending", site_dir);
    return ecert_store_numbers(pending, ECERT_REQUESTS_MAX, NULL, numbers, n,
                               err);
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

static int put_json(const ecert_stage_t *stage, const json_t *json,
                    ecert_err_t *err)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof(path), "%s/request.json", stage->path);
    return ecert_json_write(path, json, 0600, err);
}

static int put_key(const ecert_stage_t *stage, EVP_PKEY *key, ecert_err_t *err)
{
    char *pem;
    size_t len;
    int rc;

    if (ecert_key_pem(key, &pem, &len, err) != 0) {
        return -1;
    }
    rc = ecert_stage_put(stage, "key.pem", pem, len, 0600, err);
    OPENSSL_clear_free(pem, len + 1);
    return rc;
}

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
    return put_key(stage, key, err) == 0 && put_csr(stage, csr, err) == 0
                   && put_json(stage, json, err) == 0
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

    snprintf(pending, sizeof(pending), "%.4000s/pending", site_dir);
    if (ecert_file_folder(pending, 0700, err) != 0
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

    if (request->printed != 0) {
        return 0;
    }
    path_of(request, "request.json", path);
    ecert_json_set_date(request->json, "printed", now);
    return ecert_json_write(path, request->json, 0600, err);
}

int ecert_request_remove(const char *site_dir, uint64_t number,
                         ecert_err_t *err)
{
    char pending[PATH_MAX], name[32];

    snprintf(pending, sizeof(pending), "%.4000s/pending", site_dir);
    snprintf(name, sizeof(name), "%llu", (unsigned long long)number);
    return ecert_stage_remove(pending, name, err);
}
