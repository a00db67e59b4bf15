#include "ecert_generation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/pem.h>

#include "ecert_bundle.h"
#include "ecert_csr.h"
#include "ecert_json.h"
#include "ecert_store.h"
#include "ecert_x509.h"

/* ---- reading ----------------------------------------------------------- */

static int read_certificates(const char *dir, const char *name,
                             STACK_OF(X509) *list, ecert_err_t *err)
{
    char path[PATH_MAX];

    return ecert_file_path(path, err, "%s/%s", dir, name) == 0
               ? ecert_certificates_read(path, NULL, list, err)
               : -1;
}

/* The first that is no CA's, else the first. */
static X509 *take_leaf(STACK_OF(X509) *list)
{
    for (int i = 0; i < sk_X509_num(list); i++) {
        if (ecert_x509_is_leaf(sk_X509_value(list, i), list)) {
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
    if (generation->leaf == NULL) {
        return ecert_err(err, ECERT_ERR_NO_CERTIFICATE, generation->dir, NULL);
    }
    if (read_certificates(generation->dir, "chain.pem", generation->others, err)
            != 0
        && ecert_err_refused(err)) {
        return -1;
    }
    return ecert_key_id(X509_get0_pubkey(generation->leaf), generation->key_id,
                        err);
}

static void free_one(ecert_generation_t *generation)
{
    X509_free(generation->leaf);
    sk_X509_pop_free(generation->others, X509_free);
    json_decref(generation->json);
}

static int take_json(ecert_generation_t *generation, ecert_err_t *err)
{
    char path[PATH_MAX];
    int readable;

    if (ecert_file_path(path, err, "%s/generation.json", generation->dir)
        == 0) {
        generation->json = ecert_json_read_or_new(path, err);
    }
    readable = generation->json != NULL;
    if (!readable && ecert_err_refused(err)) {
        return -1;
    }
    if (!readable) {
        generation->json = json_object();
    }
    generation->exportable =
        ecert_json_flag(generation->json, "export", readable);
    return 0;
}

/* The folder is generation->dir; 1 when there is a certificate in it, -1 when
 * that cannot be told. */
static int load(ecert_generation_t *generation, ecert_err_t *err)
{
    if (read_leaf(generation, err) == 0 && take_json(generation, err) == 0) {
        return 1;
    }
    free_one(generation);
    memset(generation, 0, sizeof(*generation));
    return ecert_err_refused(err) ? -1 : 0;
}

static int load_number(const char *site_dir, uint64_t number, int current,
                       ecert_generation_t *generation, ecert_err_t *err)
{
    generation->number = number;
    generation->current = current;
    return ecert_file_path(generation->dir, err, "%s/generations/%llu",
                           site_dir, (unsigned long long)number)
                   == 0
               ? load(generation, err)
               : 0;
}

/* A folder, or a link elsewhere. */
static int load_current(const char *site_dir, ecert_generation_t *generation,
                        ecert_err_t *err)
{
    generation->number = 0;
    generation->current = 1;
    return ecert_file_path(generation->dir, err, "%s/current", site_dir) == 0
               ? load(generation, err)
               : 0;
}

static int load_all(const char *site_dir, const uint64_t *numbers,
                    size_t n_numbers, int64_t current, ecert_generation_t *list,
                    size_t *n, ecert_err_t *err)
{
    int rc = 0;

    for (size_t i = n_numbers; rc >= 0 && i-- > 0;) {
        rc = load_number(site_dir, numbers[i], (int64_t)numbers[i] == current,
                         &list[*n], err);
        *n += rc > 0;
    }
    if (rc >= 0 && current < 0) {
        rc = load_current(site_dir, &list[*n], err);
        *n += rc > 0;
    }
    return rc < 0 ? -1 : 0;
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
    *list = calloc(n_numbers + 1, sizeof(**list));
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

    return ecert_file_path(path, err, "%s/key.pem", generation->dir) == 0
               ? ecert_key_read(path, NULL, err)
               : NULL;
}

/* ---- writing ----------------------------------------------------------- */

static int is_in(const STACK_OF(X509) *list, int n, X509 *cert)
{
    for (int i = 0; i < n; i++) {
        if (X509_cmp(sk_X509_value(list, i), cert) == 0) {
            return 1;
        }
    }
    return 0;
}

static int write_chain(BIO *bio, X509 *leaf, const STACK_OF(X509) *others)
{
    for (int i = 0; i < sk_X509_num(others); i++) {
        X509 *cert = sk_X509_value(others, i);

        if (X509_cmp(cert, leaf) != 0 && !ecert_x509_self_signed(cert)
            && !is_in(others, i, cert) && PEM_write_bio_X509(bio, cert) != 1) {
            return -1;
        }
    }
    return 0;
}

static int put_chain(const ecert_stage_t *stage, X509 *leaf,
                     const STACK_OF(X509) *others, ecert_err_t *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes;
    long len;
    int rc = 0;

    if (bio == NULL || write_chain(bio, leaf, others) != 0) {
        BIO_free(bio);
        return ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL,
                                 "write a certificate as PEM");
    }
    len = BIO_get_mem_data(bio, &bytes);
    if (len > 0) {
        rc = ecert_stage_put(stage, "chain.pem", bytes, (size_t)len, 0644, err);
    }
    BIO_free(bio);
    return rc;
}

static int put_leaf(const ecert_stage_t *stage, X509 *leaf, ecert_err_t *err)
{
    char *pem = ecert_x509_pem(leaf, err);
    int rc = pem ? ecert_stage_put(stage, "certificate.pem", pem, strlen(pem),
                                   0644, err)
                 : -1;

    OPENSSL_free(pem);
    return rc;
}

int ecert_generation_stage(const char *site_dir, X509 *leaf, EVP_PKEY *key,
                           const STACK_OF(X509) *others, const json_t *json,
                           ecert_stage_t *stage, ecert_err_t *err)
{
    char folder[PATH_MAX];

    stage->path[0] = '\0';
    if (ecert_file_path(folder, err, "%s/generations", site_dir) != 0
        || ecert_file_folder(folder, 0700, err) != 0
        || ecert_stage_begin(stage, folder, err) != 0) {
        return -1;
    }
    if (ecert_stage_put_key(stage, key, err) != 0
        || put_leaf(stage, leaf, err) != 0
        || put_chain(stage, leaf, others, err) != 0
        || ecert_stage_put_json(stage, "generation.json", json, err) != 0) {
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
        ecert_err_hint(err, "`current` is a folder: move it into generations, "
                            "under a number that is free there");
    }
    return -1;
}

int ecert_generation_no_export(const ecert_generation_t *generation,
                               ecert_err_t *err)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof(path), "%s/generation.json", generation->dir);
    json_object_set_new(generation->json, "export", json_false());
    return ecert_json_write(path, generation->json, 0600, err);
}
