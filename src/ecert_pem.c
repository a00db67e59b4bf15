#include "ecert_pem.h"

#include <ctype.h>
#include <string.h>

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "ecert_pem_block.h"
#include "ecert_sniff.h"

#define WANTED "a certificate"

/* What a file of certificates is being read into. */
typedef struct {
    const char *file;
    STACK_OF(X509) *found;
    ecert_sniff_t other; /* what else is in it */
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

static const char *empty_name(CMS_ContentInfo *cms)
{
    const ASN1_OBJECT *type = CMS_get0_eContentType(cms);

    return type != NULL && OBJ_obj2nid(type) == NID_id_cct_PKIResponse
               ? "a CA's answer (CMC) without one: refused or still pending"
               : "an empty PKCS#7";
}

static int take_all(reader_t *r, CMS_ContentInfo *cms)
{
    STACK_OF(X509) *certs = CMS_get1_certs(cms);
    int rc = 0;

    for (int i = 0; rc == 0 && i < sk_X509_num(certs); i++) {
        X509 *cert = sk_X509_value(certs, i);
        X509_up_ref(cert);
        rc = take(r, cert);
    }
    if (sk_X509_num(certs) <= 0) {
        r->other = (ecert_sniff_t){ECERT_SNIFF_DER, empty_name(cms), NULL};
    }
    sk_X509_pop_free(certs, X509_free);
    return rc;
}

/*
 * All certificates of SignedData (RFC 5652, 5.1; PKCS#7 is its version 1),
 * whatever is signed: nothing, or the full response (RFC 5272, 3.2) that CAs
 * of Windows give.  1 when the bytes are none.
 */
static int take_cms(reader_t *r, const unsigned char *der, size_t len)
{
    const unsigned char *p = der;
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &p, (long)len);
    int rc = 1;

    if (cms != NULL && OBJ_obj2nid(CMS_get0_type(cms)) == NID_pkcs7_signed) {
        rc = take_all(r, cms);
    }
    CMS_ContentInfo_free(cms);
    ERR_clear_error();
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

/* What has such a label may not be anything else. */
static int is_promised(ecert_pem_kind_t kind)
{
    return kind == ECERT_PEM_CERTIFICATE || kind == ECERT_PEM_PKCS7
           || kind == ECERT_PEM_PFX || kind == ECERT_PEM_BARE;
}

/* A block without certificates: noted when it is whole and something else.
 * What is called a key is not looked at any closer. */
static int take_other(reader_t *r, const ecert_pem_block_t *block,
                      const unsigned char *der, size_t len)
{
    ecert_sniff_t found = {ECERT_SNIFF_OTHER, NULL, NULL};

    if (der != NULL
        && (is_promised(block->kind) || block->kind == ECERT_PEM_OTHER)) {
        found = ecert_sniff_der(der, len);
    }
    if (found.kind == ECERT_SNIFF_OTHER && is_promised(block->kind)) {
        return ecert_pem_block_damaged(block, r->file, r->err);
    }
    if (found.kind == ECERT_SNIFF_OTHER) {
        found.name = ecert_pem_kind_name(block->kind);
        found.hint = ecert_pem_kind_hint(block->kind);
    }
    r->other = found;
    return 0;
}

/* The label does not matter: certutil -encode writes "CERTIFICATE" around all
 * that there is. */
static int take_block(reader_t *r, const ecert_pem_block_t *block)
{
    unsigned char *der = NULL;
    size_t len = 0, used = 0;
    int rc = 1;

    if (ecert_pem_block_der(block, &der, &len) == 0) {
        rc = take_x509(r, der, len, &used);
        rc = rc == 1 ? take_cms(r, der, len) : rc;
    }
    if (rc == 1) {
        rc = take_other(r, block, der, len);
    }
    /* Behind a TRUSTED CERTIFICATE follow OpenSSL's own settings: dropped. */
    if (rc == 0 && used > 0 && used < len && !block->trusted) {
        rc = ecert_pem_block_damaged(block, r->file, r->err);
    }
    OPENSSL_clear_free(der, len);
    return rc;
}

static int read_pem(reader_t *r, const unsigned char *bytes, size_t len)
{
    ecert_pem_block_t block;
    int rc;

    ecert_pem_block_init(&block, bytes, len);
    while ((rc = ecert_pem_block_next(&block, r->file, r->err)) == 1) {
        if (take_block(r, &block) != 0) {
            return -1;
        }
    }
    return rc == 0 && sk_X509_num(r->found) == 0
               ? ecert_sniff_mistaken(&r->other, WANTED, r->file, r->err)
               : rc;
}

/* DER: certificates one behind the other, with white space or zero bytes
 * between them, or one SignedData. */
static int read_der(reader_t *r, const unsigned char *bytes, size_t len)
{
    static const ecert_sniff_t more = {
        ECERT_SNIFF_DER, "a certificate with something behind it", NULL};
    size_t at = 0, used = 0;
    int rc = 0;

    while (at < len && rc == 0) {
        rc = take_x509(r, bytes + at, len - at, &used);
        at += used;
        while (rc == 0 && at < len && (isspace(bytes[at]) || bytes[at] == 0)) {
            at++;
        }
    }
    if (rc == 1 && at > 0) {
        return ecert_sniff_mistaken(&more, WANTED, r->file, r->err);
    }
    if (rc == 1) {
        rc = take_cms(r, bytes, len);
    }
    if (rc == 1) {
        return ecert_sniff_not(bytes, len, WANTED, r->file, r->err);
    }
    return rc == 0 && sk_X509_num(r->found) == 0
               ? ecert_sniff_mistaken(&r->other, WANTED, r->file, r->err)
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
    reader_t reader = {.file = file, .found = sk_X509_new_null(), .err = err};
    int rc;

    if (reader.found == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, file, NULL);
    }
    rc = ecert_sniff_expect(bytes, len, WANTED, file, err);
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
