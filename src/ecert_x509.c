#include "ecert_x509.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/tls1.h>
#include <openssl/x509v3.h>

#define DAY               86400
#define RSA_BITS_MAX      8192
#define EXPONENT_BITS_MAX 64
#define EC_BITS_MAX       521

/* Years 0 to 9999: OpenSSL counts the days, whatever the size of time_t. */
static int64_t unix_time(const ASN1_TIME *time)
{
    int days = 0, seconds = 0;
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    int ok = epoch && ASN1_TIME_diff(&days, &seconds, epoch, time);
    ASN1_TIME_free(epoch);
    ERR_clear_error();
    return ok ? (int64_t)days * DAY + seconds : 0;
}

int64_t ecert_x509_not_before(const X509 *cert)
{
    return unix_time(X509_get0_notBefore(cert));
}

int64_t ecert_x509_not_after(const X509 *cert)
{
    return unix_time(X509_get0_notAfter(cert));
}

char *ecert_x509_fingerprint(const X509 *cert, char *out)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    if (!X509_digest(cert, EVP_sha256(), md, &len)) {
        len = 0;
        ERR_clear_error();
    }
    out[0] = '\0';
    for (unsigned int i = 0; i < len && i < 32; i++) {
        snprintf(out + (size_t)2 * i, 3, "%02X", md[i]);
    }
    return out;
}

char *ecert_x509_name_label(const X509_NAME *name, char *out, size_t size)
{
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    if (at < 0) {
        at = X509_NAME_entry_count(name) - 1;
    }
    unsigned char *text = NULL;
    int len = -1;
    if (at >= 0) {
        const X509_NAME_ENTRY *part = X509_NAME_get_entry(name, at);
        len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(part));
    }
    if (len > 0) {
        ecert_escape(out, size, (const char *)text, (size_t)len);
    } else {
        snprintf(out, size, "(no name)");
    }
    OPENSSL_free(text);
    ERR_clear_error();
    return out;
}

char *ecert_x509_label(const X509 *cert, char *out, size_t size)
{
    return ecert_x509_name_label(X509_get_subject_name(cert), out, size);
}

static const char *rsa_fault(EVP_PKEY *key)
{
    BIGNUM *e = NULL;
    int bits = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) == 1
                   ? BN_num_bits(e)
                   : INT_MAX;

    BN_free(e);
    if (EVP_PKEY_get_bits(key) > RSA_BITS_MAX) {
        return "an RSA key of more than 8,192 bits";
    }
    return bits <= EXPONENT_BITS_MAX
               ? NULL
               : "an RSA key with an exponent of more than 64 bits";
}

static const char *ec_fault(EVP_PKEY *key)
{
    int is_explicit = 1;

    EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                           &is_explicit);
    if (is_explicit) {
        return "an EC key with a curve of its own";
    }
    return EVP_PKEY_get_bits(key) <= EC_BITS_MAX
               ? NULL
               : "an EC key of more than 521 bits";
}

const char *ecert_x509_key_fault(EVP_PKEY *key)
{
    const char *fault = "a kind of key that is not known";

    if (key != NULL
        && (EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_is_a(key, "RSA-PSS"))) {
        fault = rsa_fault(key);
    } else if (key != NULL && EVP_PKEY_is_a(key, "EC")) {
        fault = ec_fault(key);
    } else if (key != NULL
               && (EVP_PKEY_is_a(key, "ED25519")
                   || EVP_PKEY_is_a(key, "ED448"))) {
        fault = NULL;
    }
    ERR_clear_error();
    return fault;
}

int ecert_x509_signed_by(X509 *cert, EVP_PKEY *key)
{
    int rc = ecert_x509_key_fault(key) == NULL && X509_verify(cert, key) == 1;
    ERR_clear_error();
    return rc;
}

int ecert_x509_self_signed(X509 *cert)
{
    int rc = X509_self_signed(cert, 0) == 1
             && ecert_x509_signed_by(cert, X509_get0_pubkey(cert));
    ERR_clear_error();
    return rc;
}

int ecert_x509_ca(X509 *cert)
{
    int rc = X509_check_ca(cert) == 1;
    ERR_clear_error();
    return rc;
}

int ecert_x509_is_leaf(X509 *cert, const STACK_OF(X509) *list)
{
    if (ecert_x509_ca(cert)) {
        return 0;
    }
    if ((X509_get_extension_flags(cert) & EXFLAG_BCONS) != 0
        || sk_X509_num(list) == 1) {
        return 1;
    }
    for (int i = 0; i < sk_X509_num(list); i++) {
        X509 *other = sk_X509_value(list, i);
        if (X509_cmp(other, cert) != 0
            && ecert_x509_names_issuer(other, cert)) {
            return 0;
        }
    }
    return !ecert_x509_names_issuer(cert, cert);
}

int ecert_x509_server_auth(X509 *cert)
{
    uint32_t flags = X509_get_extension_flags(cert);
    int rc = (flags & EXFLAG_XKUSAGE) != 0
             && (X509_get_extended_key_usage(cert) & XKU_SSL_SERVER) != 0;
    ERR_clear_error();
    return rc;
}

int ecert_x509_no_server(X509 *cert)
{
    return (X509_get_extension_flags(cert) & EXFLAG_XKUSAGE) != 0
           && !ecert_x509_server_auth(cert);
}

int ecert_x509_signs_handshakes(X509 *cert)
{
    int rc = (X509_get_key_usage(cert) & KU_DIGITAL_SIGNATURE) != 0;
    ERR_clear_error();
    return rc;
}

int ecert_x509_is_in(const STACK_OF(X509) *list, const X509 *cert)
{
    for (int i = 0; i < sk_X509_num(list); i++) {
        if (X509_cmp(sk_X509_value(list, i), cert) == 0) {
            return 1;
        }
    }
    return 0;
}

int ecert_x509_same_identity(X509 *a, X509 *b)
{
    if (X509_NAME_cmp(X509_get_subject_name(a), X509_get_subject_name(b))) {
        return 0;
    }
    const ASN1_BIT_STRING *x = X509_get0_pubkey_bitstr(a);
    const ASN1_BIT_STRING *y = X509_get0_pubkey_bitstr(b);
    return x != NULL && y != NULL && ASN1_STRING_cmp(x, y) == 0;
}

int ecert_x509_names_issuer(X509 *cert, X509 *issuer)
{
    return X509_NAME_cmp(X509_get_issuer_name(cert),
                         X509_get_subject_name(issuer))
           == 0;
}

int ecert_x509_may_issue(X509 *issuer, X509 *cert)
{
    int why = X509_check_issued(issuer, cert);
    ERR_clear_error();
    switch (why) {
    case X509_V_ERR_SUBJECT_ISSUER_MISMATCH:
    case X509_V_ERR_AKID_SKID_MISMATCH:
    case X509_V_ERR_AKID_ISSUER_SERIAL_MISMATCH:
        return 0;
    default: /* that it must not sign is for the path to say */
        return ecert_x509_names_issuer(cert, issuer);
    }
}

int ecert_x509_is_named(X509 *issuer, X509 *cert)
{
    int rc = X509_get0_subject_key_id(issuer) != NULL
             && X509_get0_authority_key_id(cert) != NULL
             && ecert_x509_may_issue(issuer, cert);
    ERR_clear_error();
    return rc;
}

char *ecert_x509_pem(X509 *cert, ecert_err_t *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes, *pem = NULL;

    if (bio != NULL && PEM_write_bio_X509(bio, cert) == 1) {
        long len = BIO_get_mem_data(bio, &bytes);

        pem = len > 0 ? OPENSSL_strndup(bytes, (size_t)len) : NULL;
    }
    BIO_free(bio);
    if (pem == NULL) {
        ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL,
                          "write a certificate as PEM");
    }
    return pem;
}

char *ecert_day_format(int64_t seconds, char *out)
{
    ecert_date_format(seconds, out);
    out[strcspn(out, "T")] = '\0';
    return out;
}

int ecert_x509_demands_staple(const X509 *cert)
{
    TLS_FEATURE *features = X509_get_ext_d2i(cert, NID_tlsfeature, NULL, NULL);
    int demands = 0;

    for (int i = 0; i < sk_ASN1_INTEGER_num(features); i++) {
        demands |= ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i))
                   == TLSEXT_TYPE_status_request;
    }
    TLS_FEATURE_free(features);
    ERR_clear_error();
    return demands;
}
