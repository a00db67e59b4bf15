#include <ctype.h>
#include <string.h>
#include <strings.h>

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

/* P-256, P-384 and P-521: browsers have no other. */
static int curve_ok(EVP_PKEY *key)
{
    char group[32] = "";
    EVP_PKEY_get_group_name(key, group, sizeof(group), NULL);
    int nid = OBJ_txt2nid(group);
    return nid == NID_X9_62_prime256v1 || nid == NID_secp384r1
           || nid == NID_secp521r1;
}

/* Anywhere in a path; how strong it is, is OpenSSL's to say but for an RSA key
 * of 2,047 bits, which it rounds up (BR 6.1.5). */
static const char *key_fault(X509 *cert)
{
    EVP_PKEY *key = X509_get0_pubkey(cert);
    if (key != NULL && EVP_PKEY_is_a(key, "RSA")) {
        return EVP_PKEY_get_bits(key) >= 2048 ? NULL : "its key is too small";
    }
    return key != NULL && EVP_PKEY_is_a(key, "EC") && curve_ok(key)
               ? NULL
               : "TLS clients do not take this kind of key";
}

/* RSA with PSS has parameters that may be anything (RFC 8446, 4.2.3 has three
 * sets of them), and OpenSSL verifies them all. */
static int signature_ok(X509 *cert)
{
    uint32_t flags = 0;
    return X509_get_signature_info(cert, NULL, NULL, NULL, &flags) == 1
           && (flags & X509_SIG_INFO_TLS) != 0;
}

/* RFC 5280, 4.2: no extension twice.  OpenSSL tells of those that it knows. */
static int has_double(const X509 *cert)
{
    for (int i = 0; i < X509_get_ext_count(cert); i++) {
        const ASN1_OBJECT *kind =
            X509_EXTENSION_get_object(X509_get_ext(cert, i));
        if (X509_get_ext_by_OBJ(cert, kind, i) >= 0) {
            return 1;
        }
    }
    return 0;
}

/* What holds for each element, but not for the root. */
static const char *element_fault(X509 *cert)
{
    if (!signature_ok(cert)) {
        return "TLS clients do not take this kind of signature";
    }
    return has_double(cert) ? "it has an extension twice (RFC 5280, 4.2)"
                            : NULL;
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
    int length = ASN1_STRING_length(serial);
    if ((length == 1 && *ASN1_STRING_get0_data(serial) == 0) || length > 20) {
        return "its serial number is 0 or too long (RFC 5280, 4.1.2.2)";
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

/* "*.example.hk" would serve for a.example.hk, if that is what is excluded. */
static int wildcard_meets(const ASN1_STRING *name, const ASN1_STRING *excluded)
{
    const char *n = (const char *)ASN1_STRING_get0_data(name);
    const char *x = (const char *)ASN1_STRING_get0_data(excluded);
    int n_len = ASN1_STRING_length(name), x_len = ASN1_STRING_length(excluded);
    const char *dot = x_len > 0 ? memchr(x, '.', (size_t)x_len) : NULL;
    return n_len > 2 && n[0] == '*' && n[1] == '.' && dot != NULL
           && x + x_len - dot == n_len - 1
           && strncasecmp(dot, n + 1, (size_t)n_len - 1) == 0;
}

static int excludes(const NAME_CONSTRAINTS *nc, const GENERAL_NAMES *names)
{
    for (int i = 0; i < sk_GENERAL_SUBTREE_num(nc->excludedSubtrees); i++) {
        const GENERAL_NAME *base =
            sk_GENERAL_SUBTREE_value(nc->excludedSubtrees, i)->base;
        for (int k = 0; k < sk_GENERAL_NAME_num(names); k++) {
            const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, k);
            if (base->type == GEN_DNS && name->type == GEN_DNS
                && wildcard_meets(name->d.dNSName, base->d.dNSName)) {
                return 1;
            }
        }
    }
    return 0;
}

/* OpenSSL compares a wildcard as it is written, browsers by what it covers. */
static int excluded_by(const X509 *ca, const X509 *leaf)
{
    NAME_CONSTRAINTS *nc =
        X509_get_ext_d2i(ca, NID_name_constraints, NULL, NULL);
    GENERAL_NAMES *names =
        X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    int rc = nc != NULL && names != NULL && excludes(nc, names);
    NAME_CONSTRAINTS_free(nc);
    GENERAL_NAMES_free(names);
    return rc;
}

static const char *ca_fault(const X509 *ca, const X509 *leaf)
{
    int policy = X509_get_ext_by_NID(ca, NID_policy_constraints, -1);
    if (policy >= 0 && !X509_EXTENSION_get_critical(X509_get_ext(ca, policy))) {
        return "its policy constraints are not critical (RFC 5280, 4.2.1.11)";
    }
    if (!has_ext(ca, NID_name_constraints)) {
        return NULL;
    }
    if (!constraints_ok(ca)) {
        return "its name constraints are empty";
    }
    return excluded_by(ca, leaf)
               ? "it excludes a name that the certificate's wildcard covers"
               : NULL;
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
    X509 *cert = path->certs[0];

    for (size_t i = 0; fault == NULL && i <= path->n; i++) {
        cert = i < path->n ? path->certs[i] : path->root;
        if (cert == NULL) {
            break;
        }
        fault = key_fault(cert);
        if (fault == NULL && i < path->n) {
            fault = element_fault(cert);
        }
        if (fault == NULL && i > 0 && i < path->n) {
            fault = ca_fault(cert, path->certs[0]);
        }
    }
    ERR_clear_error();
    return fault == NULL ? 0 : refuse(cert, fault, err);
}
