#include "ecert_loader.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

STACK_OF(X509) *ecert_roots_read(const char *path, ecert_err_t *err)
{
    BIO *bio = BIO_new_file(path, "r");
    STACK_OF(X509) *list = sk_X509_new_null();
    X509 *cert;
    if (bio == NULL) {
        ecert_err_errno(err, path, "opening it");
        ERR_clear_error();
        sk_X509_free(list);
        return NULL;
    }
    while (list && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        sk_X509_push(list, cert);
    }
    BIO_free(bio);
    if (sk_X509_num(list) <= 0) {
        ecert_err_openssl(err, ECERT_ERR_FORMAT, path, "expected roots in PEM");
        sk_X509_free(list);
        return NULL;
    }
    ERR_clear_error();
    return list;
}

ecert_ca_t *ecert_catalogue_read(const char *path, ecert_trail_t *trail,
                                 ecert_err_t *err)
{
    ecert_file_t file;
    ecert_ca_t *ca;

    if (ecert_file_read(path, ECERT_FILE_MAX, trail, &file, err) != 0) {
        return NULL;
    }
    ca = ecert_ca_parse((char *)file.bytes, file.len, path, err);
    ecert_file_free(&file);
    return ca;
}

/* Roots that this machine knows; without the file we know fewer. */
static STACK_OF(X509) *read_anchors(void)
{
    ecert_err_t ignored;
    STACK_OF(X509) *list = ecert_roots_read(ECERT_TRUST_FILE, &ignored);

    return list != NULL ? list : sk_X509_new_null();
}

ecert_loader_t *ecert_loader_new(const char *store, ecert_err_t *err)
{
    ecert_loader_t *loader = calloc(1, sizeof(*loader));

    if (loader == NULL) {
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        return NULL;
    }
    if (store != NULL) {
        loader->store = strdup(store);
    }
    loader->shelf = ecert_shelf_new();
    loader->anchors = read_anchors();
    loader->security = ecert_security_new(err);
    loader->ca = loader->security ? ecert_ca_builtin(err) : NULL;
    if (loader->ca == NULL || loader->shelf == NULL || loader->anchors == NULL
        || (store != NULL && loader->store == NULL)) {
        if (loader->ca != NULL) {
            ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        }
        ecert_loader_free(loader);
        return NULL;
    }
    return loader;
}

void ecert_loader_free(ecert_loader_t *loader)
{
    if (loader == NULL) {
        return;
    }
    free(loader->store);
    ecert_ca_free(loader->ca);
    sk_X509_pop_free(loader->anchors, X509_free);
    ecert_shelf_free(loader->shelf);
    ecert_security_free(loader->security);
    free(loader);
}
