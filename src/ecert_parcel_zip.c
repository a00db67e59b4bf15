#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "ecert_parcel_work.h"
#include "ecert_pem.h"
#include "ecert_sniff.h"
#include "ecert_x509.h"
#include "ecert_zip.h"

#define WANTED "a certificate"

typedef struct {
    const char *archive;
    ecert_found_t *found;
} unpacking_t;

/* CAs put the same certificate into several files, one for each server. */
static int add_certificate(const unpacking_t *into, X509 *cert,
                           ecert_err_t *err)
{
    STACK_OF(X509) *list = into->found->list;

    if (ecert_x509_is_in(list, cert)) {
        X509_free(cert);
        return 0;
    }
    if (sk_X509_num(list) >= ECERT_PEM_CERTIFICATES) {
        X509_free(cert);
        return ecert_err(err, ECERT_ERR_TOO_MANY, into->archive,
                         "more than %d certificates", ECERT_PEM_CERTIFICATES);
    }
    if (sk_X509_push(list, cert) <= 0) {
        X509_free(cert);
        return ecert_err(err, ECERT_ERR_MEMORY, into->archive, NULL);
    }
    return 0;
}

/* Takes over what one file of the archive holds. */
static int merge(const unpacking_t *into, ecert_found_t *file, ecert_err_t *err)
{
    ecert_found_t *found = into->found;
    X509 *cert;

    while ((cert = sk_X509_shift(file->list)) != NULL) {
        if (add_certificate(into, cert, err) != 0) {
            return -1;
        }
    }
    if (found->key == NULL) {
        found->key = file->key;
        file->key = NULL;
    }
    return file->key == NULL || EVP_PKEY_eq(found->key, file->key) == 1
               ? 0
               : ecert_err(err, ECERT_ERR_TOO_MANY, into->archive,
                           "two different private keys");
}

/* What would have to be opened once more. */
static int check_packed(const unsigned char *bytes, size_t len,
                        const char *name, ecert_err_t *err)
{
    ecert_sniff_t found = ecert_sniff(bytes, len);

    if (found.kind == ECERT_SNIFF_ZIP || found.kind == ECERT_SNIFF_ARCHIVE) {
        return ecert_sniff_mistaken(&found, WANTED, name, err);
    }
    if (ecert_sniff_pfx(bytes, len)) {
        ecert_err(err, ECERT_ERR_FORMAT, name,
                  "expected " WANTED ", found a PFX (PKCS#12) file");
        return ecert_err_hint(err, "unpack it, and hand over the PFX itself");
    }
    return 0;
}

/* What is called like this must be one; the rest may be notes, pictures or the
 * request. */
static int is_certificate_name(const char *path)
{
    static const char *const ends[] = {".crt", ".cer", ".der",
                                       ".p7b", ".p7c", ".ca-bundle"};
    size_t len = strlen(path);

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        size_t n = strlen(ends[i]);

        if (len >= n && strcasecmp(path + len - n, ends[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

static int take_file(void *ctx, const char *path, const unsigned char *bytes,
                     size_t len, ecert_err_t *err)
{
    const unpacking_t *into = ctx;
    ecert_found_t file = {sk_X509_new_null(), NULL};
    char name[sizeof(err->file)];
    int rc;

    snprintf(name, sizeof(name), "%s: %s", into->archive, path);
    if (file.list == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, name, NULL);
    }
    rc = check_packed(bytes, len, name, err);
    if (rc == 0 && ecert_parcel_plain(bytes, len, name, &file, err) == 0) {
        rc = merge(into, &file, err);
    } else if (rc == 0) {
        int other =
            err->code == ECERT_ERR_FORMAT || err->code == ECERT_ERR_EMPTY;
        rc = other && !is_certificate_name(path) ? 0 : -1;
    }
    EVP_PKEY_free(file.key);
    sk_X509_pop_free(file.list, X509_free);
    return rc;
}

int ecert_parcel_zip(const unsigned char *bytes, size_t len, const char *name,
                     ecert_found_t *found, ecert_err_t *err)
{
    static const ecert_sniff_t none = {ECERT_SNIFF_ZIP,
                                       "a ZIP archive without one", NULL};
    unpacking_t into = {name, found};

    if (ecert_zip_each(bytes, len, name, take_file, &into, err) != 0) {
        return -1;
    }
    return sk_X509_num(found->list) > 0 || found->key != NULL
               ? 0
               : ecert_sniff_mistaken(&none, WANTED, name, err);
}
