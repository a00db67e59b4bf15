#include <ctype.h>

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "ecert_path.h"
#include "ecert_x509.h"

/* Whether the extension is there at all, readable or not. */
static int has_ext(const X509 *cert, int nid)
{
    return X509_get_ext_by_NID(cert, nid, -1) >= 0;
}

/* Labels of letters, digits and hyphens; a wildcard only as the first. */
static int dns_name_ok(const char *name, size_t len)
{
    size_t label = 0;
    if (len > 2 && name[0] == '*' && name[1] == '.') {
        name += 2;
        len -= 2;
    }
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        if (c == '.') {
            if (label == 0) {
                return 0;
            }
            label = 0;
            continue;
        }
        if (!isascii(c) || (!isalnum((unsigned char)c) && c != '-')) {
            return 0;
        }
        label++;
    }
    return len > 0;
}

static int names_ok(const X509 *leaf)
{
    GENERAL_NAMES *names =
        X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    int ok = names != NULL;
    for (int i = 0; ok && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS) {
            const ASN1_STRING *s = name->d.dNSName;
            ok = dns_name_ok((const char *)ASN1_STRING_get0_data(s),
                             (size_t)ASN1_STRING_length(s));
        }
    }
    GENERAL_NAMES_free(names);
    return ok;
}

static int key_ok(X509 *leaf)
{
    EVP_PKEY *key = X509_get0_pubkey(leaf);
    return key != NULL
           && (EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_is_a(key, "EC")
               || EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448"));
}

static int aia_ok(const X509 *leaf)
{
    AUTHORITY_INFO_ACCESS *aia =
        X509_get_ext_d2i(leaf, NID_info_access, NULL, NULL);
    int ok = aia != NULL;
    AUTHORITY_INFO_ACCESS_free(aia);
    return ok;
}

static const char *leaf_fault(X509 *leaf)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(leaf);
    if (ASN1_STRING_length(serial) == 1
        && *ASN1_STRING_get0_data(serial) == 0) {
        return "its serial number is 0 (RFC 5280, 4.1.2.2)";
    }
    if ((X509_get_extension_flags(leaf) & EXFLAG_CA) != 0) {
        return "a CA's certificate is no server's (BR 7.1.2.7.8)";
    }
    if (has_ext(leaf, NID_name_constraints)) {
        return "only a CA may have name constraints (RFC 5280, 4.2.1.10)";
    }
    if (has_ext(leaf, NID_ext_key_usage)
        && (X509_get_extended_key_usage(leaf) & XKU_ANYEKU) != 0) {
        return "it is for any use, not for a server (BR 7.1.2.7.10)";
    }
    if (!ecert_x509_signs_handshakes(leaf)) {
        return "its key usage has no digitalSignature (RFC 8446, 4.4.2.2)";
    }
    if (!key_ok(leaf)) {
        return "TLS clients do not take this kind of key";
    }
    if (has_ext(leaf, NID_subject_alt_name) && !names_ok(leaf)) {
        return "one of its names is not a host name (RFC 5280, 4.2.1.6)";
    }
    if (has_ext(leaf, NID_info_access) && !aia_ok(leaf)) {
        return "its authority information access cannot be read";
    }
    return NULL;
}

/* Name constraints that name nothing (RFC 5280, 4.2.1.10). */
static int constraints_ok(const X509 *cert)
{
    NAME_CONSTRAINTS *nc =
        X509_get_ext_d2i(cert, NID_name_constraints, NULL, NULL);
    int ok = nc != NULL
             && (sk_GENERAL_SUBTREE_num(nc->permittedSubtrees) > 0
                 || sk_GENERAL_SUBTREE_num(nc->excludedSubtrees) > 0);
    NAME_CONSTRAINTS_free(nc);
    return ok;
}

static int refuse(const X509 *cert, const char *fault, ecert_err_t *err)
{
    char label[128];
    ecert_x509_label(cert, label, sizeof(label));
    ERR_clear_error();
    return ecert_err(err, ECERT_ERR_CHAIN, NULL, "%s: %s", label, fault);
}

int ecert_path_profile(const ecert_path_t *path, ecert_err_t *err)
{
    const char *fault = leaf_fault(path->certs[0]);
    if (fault != NULL) {
        return refuse(path->certs[0], fault, err);
    }
    for (size_t i = 1; i < path->n; i++) {
        if (has_ext(path->certs[i], NID_name_constraints)
            && !constraints_ok(path->certs[i])) {
            return refuse(path->certs[i], "its name constraints are empty",
                          err);
        }
    }
    ERR_clear_error();
    return 0;
}
