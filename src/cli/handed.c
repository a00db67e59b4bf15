#include "handed.h"

#include <stdio.h>

#include "ecert_parcel.h"
#include "ecert_x509.h"

/* Takes over what the parcel holds. */
static int take(ecert_handed_t *handed, ecert_parcel_t *parcel,
                const char *file, ecert_err_t *err)
{
    X509 *cert;

    while ((cert = sk_X509_shift(parcel->certificates)) != NULL) {
        if (sk_X509_push(handed->certificates, cert) <= 0) {
            X509_free(cert);
            return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        }
    }
    if (parcel->key != NULL && handed->key != NULL
        && EVP_PKEY_eq(parcel->key, handed->key) != 1) {
        return ecert_err(err, ECERT_ERR_TOO_MANY, file, "a second private key");
    }
    if (parcel->key != NULL && handed->key == NULL) {
        handed->key = parcel->key;
        parcel->key = NULL;
    }
    if (parcel->friendly_name[0] != '\0') {
        snprintf(handed->friendly_name, sizeof(handed->friendly_name), "%s",
                 parcel->friendly_name);
    }
    return 0;
}

/* What an attempt to open a PFX is about. */
typedef struct {
    const ecert_file_t *file;
    const char *path;
    ecert_parcel_t *parcel;
} locked_t;

static int attempt(void *ctx, const char *password, ecert_err_t *err)
{
    const locked_t *locked = ctx;

    return ecert_parcel_open(locked->file, locked->path, password,
                             locked->parcel, err);
}

static int open_one(ecert_handed_t *handed, const char *path,
                    const ecert_password_from_t *from, ecert_err_t *err)
{
    ecert_parcel_t parcel;
    ecert_file_t file;
    locked_t locked = {&file, path, &parcel};
    int rc;

    if (ecert_parcel_read(path, &file, err) != 0) {
        return -1;
    }
    rc = ecert_parcel_locked(&file)
             ? ecert_password_open(from, path, attempt, &locked, err)
             : attempt(&locked, NULL, err);
    ecert_file_free(&file);
    if (rc == 0) {
        rc = take(handed, &parcel, path, err);
        ecert_parcel_free(&parcel);
    }
    return rc;
}

int ecert_handed_open(ecert_handed_t *handed, char *const *files, size_t n,
                      const ecert_password_from_t *password, ecert_err_t *err)
{
    handed->certificates = sk_X509_new_null();
    if (handed->certificates == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    for (size_t i = 0; i < n; i++) {
        if (open_one(handed, files[i], password, err) != 0) {
            return -1;
        }
    }
    return 0;
}

void ecert_handed_free(ecert_handed_t *handed)
{
    sk_X509_pop_free(handed->certificates, X509_free);
    EVP_PKEY_free(handed->key);
}

X509 *ecert_handed_leaf(const ecert_handed_t *handed, const char *file,
                        ecert_err_t *err)
{
    X509 *leaf = NULL;

    for (int i = 0; i < sk_X509_num(handed->certificates); i++) {
        X509 *cert = sk_X509_value(handed->certificates, i);

        if (!ecert_x509_is_leaf(cert, handed->certificates)
            || (leaf && X509_cmp(leaf, cert) == 0)) {
            continue;
        }
        if (leaf != NULL) {
            ecert_err(err, ECERT_ERR_TOO_MANY, file,
                      "more than one server's certificate");
            return NULL;
        }
        leaf = cert;
    }
    if (leaf == NULL && sk_X509_num(handed->certificates) > 0) {
        ecert_err(err, ECERT_ERR_PURPOSE, file,
                  "all that is in it are CA certificates");
        ecert_err_hint(err, "for Sub CA and cross-certificates: ecert issuers "
                            "add FILE");
    } else if (leaf == NULL) {
        ecert_err(err, ECERT_ERR_NO_CERTIFICATE, file,
                  "there is none in the file");
    }
    return leaf;
}
