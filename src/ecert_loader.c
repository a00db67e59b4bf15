#include "ecert_loader.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#define TRUST_FILE "/etc/ssl/certs/ca-certificates.crt"

/* Roots that this machine knows; without the file we know fewer. */
static STACK_OF(X509) *read_anchors(void)
{
    STACK_OF(X509) *list = sk_X509_new_null();
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509_OBJECT) *objects;
    int i;

    if (list != NULL && store != NULL
        && X509_STORE_load_file(store, TRUST_FILE) == 1) {
        objects = X509_STORE_get0_objects(store);
        for (i = 0; i < sk_X509_OBJECT_num(objects); i++) {
            X509 *cert =
                X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));

            if (cert != NULL && sk_X509_push(list, cert) > 0) {
                X509_up_ref(cert);
            }
        }
    }
    X509_STORE_free(store);
    ERR_clear_error();
    return list;
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
    loader->ca = ecert_ca_builtin(err);
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
    free(loader);
}

const ecert_ca_t *ecert_loader_ca(const ecert_loader_t *loader)
{
    return loader->ca;
}

const STACK_OF(X509) *ecert_loader_anchors(const ecert_loader_t *loader)
{
    return loader->anchors;
}
