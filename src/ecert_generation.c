#include "ecert_generation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "ecert_csr.h"
#include "ecert_file.h"
#include "ecert_json.h"
#include "ecert_pem.h"
#include "ecert_store.h"
#include "ecert_x509.h"

/* ---- reading ----------------------------------------------------------- */

static int read_certificates(const char *dir, const char *name,
                             STACK_OF(X509) *list, ecert_err_t *err)
{
    char path[PATH_MAX];
    ecert_file_t file;
    int rc;

    snprintf(path, sizeof(path), "%.4000s/%s", dir, name);
    if (ecert_file_read(path, ECERT_FILE_MAX, NULL, &file, err) != 0) {
        return -1;
    }
    rc = ecert_pem_certificates(file.bytes, file.len, path, list, err);
    ecert_file_free(&file);
    return rc;
}

/* The first that is no CA's, else the first. */
static X509 *take_leaf(STACK_OF(X509) *list)
{
    for (int i = 0; i < sk_X509_num(list); i++) {
        if (!ecert_x509_ca(sk_X509_value(list, i))) {
            return sk_X509_delete(list, i);
        }
    }
    return sk_X509_shift(list);
}

static int read_leaf(ecert_generation_t *generation, ecert_err_t *err)
{
    generation->others = sk_X509_new_null();
    if (generation->others == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    if (read_certificates(generation->dir, "certificate.pem",
                          generation->others, err)
        != 0) {
        return -1;
    }
    generation->leaf = take_leaf(generation->others);
    if (read_certificates(generation->dir, "chain.pem", generation->others, err)
            != 0
        && ecert_err_refused(err)) {
        return -1;
    }
    return generation->leaf ? ecert_key_id(X509_get0_pubkey(generation->leaf),
                                           generation->key_id, err)
                            : -1;
}

static void free_one(ecert_generation_t *generation)
{
    X509_free(generation->leaf);
    sk_X509_pop_free(generation->others, X509_free);
    json_decref(generation->json);
}

static int load(const char *dir, uint64_t number, int current,
                ecert_generation_t *generation, ecert_err_t *err)
{
    char path[PATH_MAX];

    memset(generation, 0, sizeof(*generation));
    generation->number = number;
    generation->current = current;
    snprintf(generation->dir, sizeof(generation->dir), "%s", dir);
    if (read_leaf(generation, err) != 0) {
        free_one(generation);
        return -1;
    }
    snprintf(path, sizeof(path), "%.4000s/generation.json", dir);
    generation->json = ecert_json_read(path, err);
    if (generation->json == NULL && ecert_err_refused(err)) {
        free_one(generation);
        return -1;
    }
    if (generation->json == NULL) {
        generation->json = json_object();
    }
    generation->exportable = ecert_json_flag(generation->json, "export", 1);
    return 0;
}

static int load_all(const char *site_dir, const uint64_t *numbers,
                    size_t n_numbers, int64_t current, ecert_generation_t *list,
                    size_t *n, ecert_err_t *err)
{
    char dir[PATH_MAX];

    for (size_t i = n_numbers; i-- > 0;) {
        snprintf(dir, sizeof(dir), "%.3900s/generations/%llu", site_dir,
                 (unsigned long long)numbers[i]);
        if (load(dir, numbers[i], (int64_t)numbers[i] == current, &list[*n],
                 err)
            == 0) {
            (*n)++;
        } else if (ecert_err_refused(err)) {
            return -1;
        }
    }
    if (current >= 0) {
        return 0;
    }
    snprintf(dir, sizeof(dir), "%.4000s/current", site_dir);
    if (load(dir, 0, 1, &list[*n], err) == 0) { /* a folder, a link elsewhere */
        (*n)++;
        return 0;
    }
    return ecert_err_refused(err) ? -1 : 0;
}

int ecert_generations(const char *site_dir, ecert_generation_t **list,
                      size_t *n, ecert_err_t *err)
{
    uint64_t *numbers;
    int64_t current;
    size_t n_numbers;
    int rc;

    *n = 0;
    *list = NULL;
    if (ecert_store_generations(site_dir, NULL, &numbers, &n_numbers, &current,
                                err)
        != 0) {
        return -1;
    }
    *list = calloc(n_numbers + 2, sizeof(**list));
    rc = *list ? load_all(site_dir, numbers, n_numbers, current, *list, n, err)
               : ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    free(numbers);
    if (rc != 0) {
        ecert_generations_free(*list, *n);
        *list = NULL;
        *n = 0;
    }
    return rc;
}

void ecert_generations_free(ecert_generation_t *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free_one(&list[i]);
    }
    free(list);
}

const ecert_generation_t *
ecert_generation_current(const ecert_generation_t *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i].current) {
            return &list[i];
        }
    }
    return NULL;
}

EVP_PKEY *ecert_generation_key(const ecert_generation_t *generation,
                               ecert_err_t *err)
{
    char path[PATH_MAX];
    ecert_file_t file;
    EVP_PKEY *key;

    snprintf(path, sizeof(path), "%.4000s/key.pem", generation->dir);
    if (ecert_file_read(path, ECERT_FILE_MAX, NULL, &file, err) != 0) {
        return NULL;
    }
    key = ecert_pem_key(file.bytes, file.len, path, err);
    ecert_file_free(&file);
    return key;
}

/* ---- writing ----------------------------------------------------------- */

static int write_bio(const ecert_stage_t *stage, const char *name, BIO *bio,
                     ecert_err_t *err)
{
    char *bytes;
    long len = BIO_get_mem_data(bio, &bytes);

    return len > 0 ? ecert_stage_put(stage, name, bytes, (size_t)len, 0644, err)
                   : 0;
}

static int is_in(const STACK_OF(X509) *list, int n, X509 *cert)
{
    for (int i = 0; i < n; i++) {
        if (X509_cmp(sk_X509_value(list, i), cert) == 0) {
            return 1;
        }
    }
    return 0;
}

static int put_chain(const ecert_stage_t *stage, X509 *leaf,
                     const STACK_OF(X509) *others, ecert_err_t *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int rc = bio ? 0 : -1;

    for (int i = 0; i < sk_X509_num(others) && rc == 0; i++) {
        X509 *cert = sk_X509_value(others, i);

        if (X509_cmp(cert, leaf) == 0 || ecert_x509_self_signed(cert)
            || is_in(others, i, cert)) {
            continue;
        }
        rc = PEM_write_bio_X509(bio, cert) == 1 ? 0 : -1;
    }
    rc = rc == 0 ? write_bio(stage, "chain.pem", bio, err)
                 : ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL,
                                     "write a certificate as PEM");
    BIO_free(bio);
    return rc;
}

static int put_leaf(const ecert_stage_t *stage, X509 *leaf, ecert_err_t *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int rc = bio && PEM_write_bio_X509(bio, leaf) == 1
                 ? write_bio(stage, "certificate.pem", bio, err)
                 : ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL,
                                     "write a certificate as PEM");

    BIO_free(bio);
    return rc;
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

static int put_json(const ecert_stage_t *stage, const json_t *json,
                    ecert_err_t *err)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof(path), "%s/generation.json", stage->path);
    return ecert_json_write(path, json, 0600, err);
}

int ecert_generation_stage(const char *site_dir, X509 *leaf, EVP_PKEY *key,
                           const STACK_OF(X509) *others, const json_t *json,
                           ecert_stage_t *stage, ecert_err_t *err)
{
    char folder[PATH_MAX];

    stage->path[0] = '\0';
    snprintf(folder, sizeof(folder), "%.4000s/generations", site_dir);
    if (ecert_file_folder(folder, 0700, err) != 0
        || ecert_stage_begin(stage, folder, err) != 0) {
        return -1;
    }
    if (put_key(stage, key, err) != 0 || put_leaf(stage, leaf, err) != 0
        || put_chain(stage, leaf, others, err) != 0
        || put_json(stage, json, err) != 0) {
        ecert_stage_drop(stage);
        return -1;
    }
    return 0;
}

int ecert_generation_use(const char *site_dir, uint64_t number,
                         ecert_err_t *err)
{
    char target[64];

    snprintf(target, sizeof(target), "generations/%llu",
             (unsigned long long)number);
    if (ecert_stage_link(site_dir, "current", target, err) == 0) {
        return 0;
    }
    if (err->sys == EISDIR || err->sys == ENOTEMPTY || err->sys == EEXIST) {
        ecert_err_hint(err, "`current` is a folder: move it to generations/0 "
                            "and make a link to that");
    }
    return -1;
}
