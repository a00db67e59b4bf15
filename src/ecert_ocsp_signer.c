#include "ecert_ocsp_work.h"

#include <string.h>

#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "ecert_conf.h"
#include "ecert_ocsp.h"
#include "ecert_x509.h"

#define SIGNERS_MAX 4 /* certificates of one name, of which one has signed */

/* As the Baseline Requirements (7.1.3.2) have them. */
static int digest_ok(int nid)
{
    return nid == NID_sha256 || nid == NID_sha384 || nid == NID_sha512;
}

static int pss_digest(const X509_ALGOR *algorithm)
{
    const X509_ALGOR *hash;
    const ASN1_OBJECT *oid = NULL;
    const void *value = NULL;
    int type = V_ASN1_UNDEF, nid = NID_sha1; /* the default of RFC 4055 */

    X509_ALGOR_get0(NULL, &type, &value, algorithm);
    RSA_PSS_PARAMS *pss =
        type == V_ASN1_SEQUENCE
            ? ASN1_item_unpack(value, ASN1_ITEM_rptr(RSA_PSS_PARAMS))
            : NULL;
    hash = pss != NULL ? pss->hashAlgorithm : NULL;
    if (hash != NULL) {
        X509_ALGOR_get0(&oid, NULL, NULL, hash);
        nid = OBJ_obj2nid(oid);
    }
    RSA_PSS_PARAMS_free(pss);
    return nid;
}

static int check_algorithm(const OCSP_BASICRESP *basic, ecert_err_t *err)
{
    const X509_ALGOR *algorithm = OCSP_resp_get0_tbs_sigalg(basic);
    const ASN1_OBJECT *oid = NULL;
    int digest = NID_undef;

    X509_ALGOR_get0(&oid, NULL, NULL, algorithm);
    int nid = OBJ_obj2nid(oid);
    if (nid == NID_rsassaPss) {
        digest = pss_digest(algorithm);
    } else {
        OBJ_find_sigid_algs(nid, &digest, NULL);
    }
    if (!digest_ok(digest)) {
        return ecert_err(err, ECERT_ERR_OCSP, NULL,
                         "it is signed with %s, which is weak or not allowed",
                         OBJ_nid2sn(digest == NID_undef ? nid : digest));
    }
    return 0;
}

/* Whether its responderID, a name or a key's SHA-1, is this one's. */
static int is_named(const OCSP_BASICRESP *basic, const X509 *cert)
{
    const ASN1_OCTET_STRING *hash = NULL;
    const X509_NAME *name = NULL;
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned int len = 0;

    OCSP_resp_get0_id(basic, &hash, &name);
    if (name != NULL) {
        return X509_NAME_cmp(name, X509_get_subject_name(cert)) == 0;
    }
    return hash != NULL && X509_pubkey_digest(cert, EVP_sha1(), md, &len) == 1
           && ASN1_STRING_length(hash) == (int)len
           && memcmp(ASN1_STRING_get0_data(hash), md, len) == 0;
}

/* OCSP_basic_verify would look for a signer, and for a path, by itself. */
static int is_signed_by(const OCSP_BASICRESP *basic, const X509 *cert)
{
    EVP_PKEY *key = X509_get0_pubkey(cert);

    return ecert_x509_key_fault(key) == NULL
           && ASN1_item_verify(ASN1_ITEM_rptr(OCSP_RESPDATA),
                               OCSP_resp_get0_tbs_sigalg(basic),
                               OCSP_resp_get0_signature(basic),
                               OCSP_resp_get0_respdata(basic), key)
                  == 1;
}

static int is_issued_by(X509 *cert, X509 *issuer)
{
    return ecert_x509_names_issuer(cert, issuer)
           && ecert_x509_signed_by(cert, X509_get0_pubkey(issuer));
}

/* Why it is no delegate of this issuer (RFC 6960, 4.2.2.2). */
static const char *delegate_fault(X509 *cert, X509 *issuer)
{
    uint32_t flags = X509_get_extension_flags(cert);
    int digest = NID_undef;

    if (!is_issued_by(cert, issuer)) {
        return "which the CA that issued the certificate did not issue";
    }
    if ((flags & (EXFLAG_INVALID | EXFLAG_CRITICAL)) != 0) {
        return "which has an extension that is not understood";
    }
    if ((flags & EXFLAG_CA) != 0 || X509_check_ca(cert) != 0) {
        return "which is another CA's";
    }
    if ((flags & EXFLAG_XKUSAGE) == 0
        || (X509_get_extended_key_usage(cert) & XKU_OCSP_SIGN) == 0) {
        return "which may not sign OCSP answers (no OCSPSigning)";
    }
    if ((X509_get_key_usage(cert) & KU_DIGITAL_SIGNATURE) == 0) {
        return "whose key usage has no digitalSignature";
    }
    if (X509_get_signature_info(cert, &digest, NULL, NULL, NULL) != 1
        || !digest_ok(digest)) {
        return "which is itself signed with a weak algorithm";
    }
    return NULL;
}

static int check_delegate(X509 *cert, X509 *issuer, int64_t now, int64_t *until,
                          ecert_err_t *err)
{
    const char *fault = delegate_fault(cert, issuer);
    int64_t from = ecert_x509_not_before(cert);
    int64_t to = ecert_x509_not_after(cert);
    char label[128], when[32];

    ecert_x509_label(cert, label, sizeof(label));
    if (fault != NULL) {
        return ecert_err(err, ECERT_ERR_OCSP, NULL,
                         "it was signed by the certificate of %s, %s", label,
                         fault);
    }
    if (to < now) {
        return ecert_err(err, ECERT_ERR_OCSP, NULL,
                         "the certificate of its signer, %s, ended on %s",
                         label, ecert_date_format(to, when));
    }
    if (from > now + ECERT_OCSP_SKEW) {
        return ecert_err(err, ECERT_ERR_OCSP, NULL,
                         "the certificate of its signer, %s, begins only on %s",
                         label, ecert_date_format(from, when));
    }
    *until = to;
    return 0;
}

/* The one that it names as its signer, among those that are known; or NULL. */
static X509 *find_named(const OCSP_BASICRESP *basic, X509 *issuer)
{
    const STACK_OF(X509) *certs = OCSP_resp_get0_certs(basic);

    if (is_named(basic, issuer)) {
        return issuer;
    }
    for (int i = 0; i < sk_X509_num(certs); i++) {
        if (is_named(basic, sk_X509_value(certs, i))) {
            return sk_X509_value(certs, i);
        }
    }
    return NULL;
}

/* What to say when no key that is known made the signature. */
static int refuse_stranger(const OCSP_BASICRESP *basic, X509 *issuer,
                           ecert_err_t *err)
{
    const ASN1_OCTET_STRING *hash = NULL;
    const X509_NAME *name = NULL;
    X509 *named = find_named(basic, issuer);
    const char *fault =
        named ? ecert_x509_key_fault(X509_get0_pubkey(named)) : NULL;
    char label[128] = "";

    if (fault != NULL) {
        return ecert_err(err, ECERT_ERR_OCSP, NULL,
                         "its signer, %s, has %s: it is not looked at",
                         ecert_x509_label(named, label, sizeof(label)), fault);
    }
    if (named != NULL) {
        return ecert_err(err, ECERT_ERR_OCSP, NULL,
                         "its signature is not that of %s: damaged or forged",
                         ecert_x509_label(named, label, sizeof(label)));
    }
    OCSP_resp_get0_id(basic, &hash, &name);
    if (name != NULL) {
        return ecert_err(err, ECERT_ERR_OCSP, NULL,
                         "it was signed by somebody else: %s",
                         ecert_x509_name_label(name, label, sizeof(label)));
    }
    OPENSSL_buf2hexstr_ex(label, sizeof(label), NULL,
                          ASN1_STRING_get0_data(hash),
                          (size_t)ASN1_STRING_length(hash), '\0');
    return ecert_err(err, ECERT_ERR_OCSP, NULL,
                     "it was signed by somebody else: key %s", label);
}

int ecert_ocsp_signer(OCSP_BASICRESP *basic, X509 *issuer, int64_t now,
                      int64_t *until, ecert_err_t *err)
{
    const STACK_OF(X509) *certs = OCSP_resp_get0_certs(basic);
    int found = 0, tried = 0;

    if (check_algorithm(basic, err) != 0) {
        return -1;
    }
    if (is_named(basic, issuer) && is_signed_by(basic, issuer)) {
        *until = INT64_MAX;
        return 0;
    }
    for (int i = 0; i < sk_X509_num(certs); i++) {
        X509 *cert = sk_X509_value(certs, i);
        if (!is_named(basic, cert) || ++tried > SIGNERS_MAX
            || !is_signed_by(basic, cert)) {
            continue;
        }
        found = 1;
        if (check_delegate(cert, issuer, now, until, err) == 0) {
            return 0;
        }
    }
    return found ? -1 : refuse_stranger(basic, issuer, err);
}
