#include "ecert_leaf.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "ecert_x509.h"

X509 *ecert_leaf_take(ecert_bundle_t *bundle, const char *file,
                      const char *key_file, ecert_err_t *err)
{
    X509 *leaf = NULL, *cert;

    while ((cert = sk_X509_shift(bundle->certificates)) != NULL) {
        if (leaf == NULL && X509_check_private_key(cert, bundle->key) == 1) {
            leaf = cert;
        } else if (sk_X509_push(bundle->pool, cert) <= 0) {
            X509_free(cert);
        }
    }
    ERR_clear_error();
    if (leaf == NULL) {
        ecert_err(err, ECERT_ERR_MISMATCH, file, "the key is in %s", key_file);
    }
    return leaf;
}

/* What security level 1 refuses would fail in any handshake. */
static int check_signature(X509 *leaf, const char *file, ecert_err_t *err)
{
    int digest = NID_undef, bits = 0;
    int known = X509_get_signature_info(leaf, &digest, NULL, &bits, NULL) == 1;

    ERR_clear_error();
    return !known || bits >= 80 ? 0
                                : ecert_err(err, ECERT_ERR_SIGNATURE, file,
                                            "%s", OBJ_nid2sn(digest));
}

static int check_purpose(X509 *leaf, const char *file, ecert_err_t *err)
{
    int self_signed =
        X509_NAME_cmp(X509_get_subject_name(leaf), X509_get_issuer_name(leaf))
        == 0;

    if (X509_check_purpose(leaf, -1, 0) != 1) {
        ERR_clear_error();
        return ecert_err(err, ECERT_ERR_INVALID, file,
                         "one of its extensions cannot be read");
    }
    /* Server Gated Cryptography, which OpenSSL takes for it, is not enough */
    if (X509_check_purpose(leaf, X509_PURPOSE_SSL_SERVER, 0) != 1
        || ecert_x509_no_server(leaf)) {
        ERR_clear_error();
        return ecert_err(err, ECERT_ERR_PURPOSE, file,
                         "its key usages do not allow serverAuth");
    }
    if (!ecert_x509_signs_handshakes(leaf)) {
        return ecert_err(err, ECERT_ERR_PURPOSE, file,
                         "its key usage has no digitalSignature, which TLS "
                         "needs");
    }
    /* whoever makes his own certificate with openssl gets a CA by default */
    if ((X509_get_extension_flags(leaf) & EXFLAG_CA) != 0 && !self_signed) {
        ERR_clear_error();
        return ecert_err(err, ECERT_ERR_PURPOSE, file, "it is a CA's");
    }
    ERR_clear_error();
    return 0;
}

int ecert_leaf_check(X509 *leaf, const char *file, ecert_err_t *err)
{
    return check_purpose(leaf, file, err) == 0
                   && check_signature(leaf, file, err) == 0
               ? 0
               : -1;
}
