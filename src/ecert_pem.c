#include "ecert_pem.h"

#include <ctype.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <openssl/x509v3.h>

#include "ecert_pem_block.h"

/* What a file of certificates is being read into. */
typedef struct {
    const char *file;
    STACK_OF(X509) *found;
    ecert_err_t *err;
} reader_t;

static size_t count_names(X509 *cert)
{
    GENERAL_NAMES *names =
        X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    size_t n = names ? (size_t)sk_GENERAL_NAME_num(names) : 0;
    GENERAL_NAMES_free(names);
    ERR_clear_error();
    return n;
}

/* Takes cert over, also on failure. */
static int take(reader_t *r, X509 *cert)
{
    size_t names = count_names(cert);
    if (names > ECERT_PEM_SANS) {
        X509_free(cert);
        return ecert_err(r->err, ECERT_ERR_TOO_MANY, r->file,
                         "%zu names in one certificate, %d are allowed", names,
                         ECERT_PEM_SANS);
    }
    if (sk_X509_num(r->found) >= ECERT_PEM_CERTIFICATES) {
        X509_free(cert);
        return ecert_err(r->err, ECERT_ERR_TOO_MANY, r->file,
                         "more than %d certificates", ECERT_PEM_CERTIFICATES);
    }
    if (!sk_X509_push(r->found, cert)) {
        X509_free(cert);
        return ecert_err(r->err, ECERT_ERR_MEMORY, r->file, NULL);
    }
    return 0;
}

/* All certificates of a PKCS#7; 1 when the bytes are none. */
static int take_pkcs7(reader_t *r, const unsigned char *der, size_t len)
{
    const unsigned char *p = der;
    PKCS7 *p7 = d2i_PKCS7(NULL, &p, (long)len);
    STACK_OF(X509) *certs = NULL;
    int rc = 0;

    ERR_clear_error();
    if (p7 == NULL) {
        return 1;
    }
    if (PKCS7_type_is_signed(p7) && p7->d.sign != NULL) {
        certs = p7->d.sign->cert;
    }
    for (int i = 0; rc == 0 && i < sk_X509_num(certs); i++) {
        X509 *cert = sk_X509_value(certs, i);
        X509_up_ref(cert);
        rc = take(r, cert);
    }
    PKCS7_free(p7);
    return rc;
}

/* One certificate in DER; *used is its length.  1 when the bytes are none. */
static int take_x509(reader_t *r, const unsigned char *der, size_t len,
                     size_t *used)
{
    const unsigned char *p = der;
    X509 *cert = d2i_X509(NULL, &p, (long)len);
    ERR_clear_error();
    if (cert == NULL) {
        return 1;
    }
    *used = (size_t)(p - der);
    return take(r, cert);
}

static int take_block(reader_t *r, const ecert_pem_block_t *block)
{
    unsigned char *der = NULL;
    size_t len = 0, used = 0;
    if (ecert_pem_block_der(block, &der, &len) != 0) {
        return ecert_pem_block_damaged(block, r->file, r->err);
    }
    int rc = block->kind == ECERT_PEM_PKCS7 ? 1 : take_x509(r, der, len, &used);
    if (rc == 1) {
        /* certutil -encode writes a PKCS#7 as "CERTIFICATE", too. */
        rc = take_pkcs7(r, der, len);
    }
    /* Behind a TRUSTED CERTIFICATE follow OpenSSL's own settings: dropped. */
    if (rc == 1 || (rc == 0 && used > 0 && used < len && !block->trusted)) {
        rc = ecert_pem_block_damaged(block, r->file, r->err);
    }
    OPENSSL_clear_free(der, len);
    return rc;
}

static int read_pem(reader_t *r, const unsigned char *bytes, size_t len)
{
    ecert_pem_block_t block;
    const char *other = NULL;
    int rc;

    ecert_pem_block_init(&block, bytes, len);
    while ((rc = ecert_pem_block_next(&block, r->file, r->err)) == 1) {
        if (block.kind != ECERT_PEM_CERTIFICATE
            && block.kind != ECERT_PEM_PKCS7) {
            other = ecert_pem_kind_name(block.kind);
        } else if (take_block(r, &block) != 0) {
            return -1;
        }
    }
    if (rc == 0 && sk_X509_num(r->found) == 0) {
        return ecert_err(r->err, ECERT_ERR_FORMAT, r->file,
                         "expected a certificate, found %s",
                         other ? other : "an empty PKCS#7");
    }
    return rc;
}

/* DER: certificates one behind the other, or one PKCS#7. */
static int read_der(reader_t *r, const unsigned char *bytes, size_t len)
{
    size_t at = 0, used = 0;
    int rc = 0;

    while (at < len && rc == 0) {
        rc = take_x509(r, bytes + at, len - at, &used);
        at += used;
        while (rc == 0 && at < len && isspace(bytes[at])) {
            at++;
        }
    }
    if (rc == 1 && at == 0) {
        rc = take_pkcs7(r, bytes, len);
    }
    if (rc == 0 && sk_X509_num(r->found) == 0) {
        rc = 1;
    }
    return rc == 1 ? ecert_pem_not(bytes, len, "a certificate", r->file, r->err)
                   : rc;
}

static int append(STACK_OF(X509) *list, STACK_OF(X509) *found, const char *file,
                  ecert_err_t *err)
{
    int before = sk_X509_num(list);
    if (sk_X509_num(found) > 0 && !sk_X509_reserve(list, sk_X509_num(found))) {
        return ecert_err(err, ECERT_ERR_MEMORY, file, NULL);
    }
    while (sk_X509_num(found) > 0) {
        sk_X509_insert(list, sk_X509_pop(found), before);
    }
    return 0;
}

int ecert_pem_certificates(const unsigned char *bytes, size_t len,
                           const char *file, STACK_OF(X509) *list,
                           ecert_err_t *err)
{
    reader_t reader = {file, sk_X509_new_null(), err};
    int rc;

    if (reader.found == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, file, NULL);
    }
    rc = ecert_pem_text(bytes, len, "a certificate", file, err);
    if (rc == 0) {
        rc = read_der(&reader, bytes, len);
    } else if (rc == 1) {
        rc = read_pem(&reader, bytes, len);
    }
    if (rc == 0) {
        rc = append(list, reader.found, file, err);
    }
    sk_X509_pop_free(reader.found, X509_free);
    return rc;
}
