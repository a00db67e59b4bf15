#include "ecert_store_staple.h"

#include <stdio.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "ecert_file.h"
#include "ecert_ocsp.h"
#include "ecert_x509.h"

int ecert_store_staple_path(const char *store, const X509 *leaf, char *path)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char hex[65];

    if (store == NULL || X509_digest(leaf, EVP_sha256(), digest, NULL) != 1) {
        return -1;
    }
    for (size_t i = 0; i < 32; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
    snprintf(path, PATH_MAX, "%.3900s/ocsp/%s.der", store, hex);
    return 0;
}

static int is_kept(const char *store, X509 *leaf, X509 *issuer, int64_t now)
{
    char path[PATH_MAX];
    ecert_file_t file;
    ecert_ocsp_t facts;
    ecert_err_t ignored;
    int rc;

    if (issuer == NULL || ecert_store_staple_path(store, leaf, path) != 0
        || ecert_file_read(path, ECERT_OCSP_MAX, NULL, &file, &ignored) != 0) {
        return 0;
    }
    rc = ecert_ocsp_check(file.bytes, file.len, leaf, issuer, now, 0, &facts,
                          &ignored);
    ecert_file_free(&file);
    return rc == 0 && facts.status == ECERT_OCSP_GOOD
           && facts.next_update > now;
}

int ecert_store_staple_demand(const char *store, const ecert_loaded_t *loaded,
                              int64_t now, int *never, ecert_err_t *err)
{
    const ecert_chain_t *chain = loaded->chain;
    X509 *leaf = chain->considered[0].cert, *issuer = NULL;
    char *url;
    int has_none;

    if (sk_X509_num(chain->served) > 0) {
        issuer = sk_X509_value(chain->served, 0);
    }
    url = ecert_ocsp_url(leaf);
    has_none = url == NULL && ecert_x509_demands_staple(leaf);
    OPENSSL_free(url);
    if (never != NULL) {
        *never = has_none;
    }
    if (!ecert_x509_demands_staple(leaf) || is_kept(store, leaf, issuer, now)) {
        return 0;
    }
    return has_none ? ecert_err(err, ECERT_ERR_STAPLE, loaded->source,
                                ECERT_STAPLE_NO_RESPONDER)
                    : ecert_err(err, ECERT_ERR_STAPLE, loaded->source,
                                "the store keeps none yet; a running server's "
                                "agent asks for it before it serves the "
                                "certificate");
}
