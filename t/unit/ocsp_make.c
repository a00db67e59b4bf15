#include "ocsp_make.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

static void must(int ok, const char *what)
{
    if (ok) {
        return;
    }
    fprintf(stderr, "ocsp_make: %s failed\n", what);
    ERR_print_errors_fp(stderr);
    abort();
}

static ASN1_GENERALIZEDTIME *time_of(int64_t seconds)
{
    ASN1_GENERALIZEDTIME *time =
        ASN1_GENERALIZEDTIME_set(NULL, (time_t)seconds);

    must(time != NULL, "a time");
    return time;
}

static void add_status(OCSP_BASICRESP *basic, const ocsp_make_t *m)
{
    const EVP_MD *md = m->id_md != NULL ? m->id_md : EVP_sha1();
    OCSP_CERTID *id = OCSP_cert_to_id(md, m->leaf, m->issuer);
    ASN1_GENERALIZEDTIME *from = time_of(m->from), *to = NULL, *revoked = NULL;

    if (m->to != 0) {
        to = time_of(m->to);
    }
    if (m->status == V_OCSP_CERTSTATUS_REVOKED) {
        revoked = time_of(m->revoked_at);
    }
    must(OCSP_basic_add1_status(basic, id, m->status, m->reason, revoked, from,
                                to)
             != NULL,
         "OCSP_basic_add1_status");
    OCSP_CERTID_free(id);
    ASN1_GENERALIZEDTIME_free(from);
    ASN1_GENERALIZEDTIME_free(to);
    ASN1_GENERALIZEDTIME_free(revoked);
}

void ocsp_add(OCSP_BASICRESP *basic, const EVP_MD *id_md, X509 *leaf,
              X509 *issuer, int status, int64_t from, int64_t to)
{
    add_status(basic, &(ocsp_make_t){.id_md = id_md,
                                     .leaf = leaf,
                                     .issuer = issuer,
                                     .status = status,
                                     .revoked_at = from,
                                     .from = from,
                                     .to = to});
}

/* Whatever key, digest and responderID: OCSP_basic_sign would not. */
static void sign_again(OCSP_BASICRESP *basic, EVP_PKEY *key, const EVP_MD *md)
{
    must(ASN1_item_sign(ASN1_ITEM_rptr(OCSP_RESPDATA),
                        (X509_ALGOR *)OCSP_resp_get0_tbs_sigalg(basic), NULL,
                        (ASN1_BIT_STRING *)OCSP_resp_get0_signature(basic),
                        (OCSP_RESPDATA *)OCSP_resp_get0_respdata(basic), key,
                        md)
             > 0,
         "ASN1_item_sign");
}

static void sign(OCSP_BASICRESP *basic, const ocsp_make_t *m)
{
    const EVP_MD *md = m->md != NULL ? m->md : EVP_sha256();
    unsigned long flags = OCSP_NOCERTS | OCSP_NOTIME;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *params = NULL;

    if (m->by_key) {
        flags |= OCSP_RESPID_KEY;
    }
    must(EVP_DigestSignInit(ctx, &params, m->pss != NULL ? m->pss : md, NULL,
                            m->key)
             == 1,
         "EVP_DigestSignInit");
    if (m->pss != NULL) {
        must(EVP_PKEY_CTX_set_rsa_padding(params, RSA_PKCS1_PSS_PADDING) > 0,
             "PSS");
    }
    must(OCSP_basic_sign_ctx(basic, m->by, ctx, NULL, flags) == 1,
         "OCSP_basic_sign_ctx");
    EVP_MD_CTX_free(ctx);
    if (m->named != NULL) {
        m->named(basic);
        sign_again(basic, m->key, md);
    }
    if (m->forger != NULL) {
        sign_again(basic, m->forger, md);
    }
}

static ocsp_bytes_t bytes_of(int status, OCSP_BASICRESP *basic)
{
    OCSP_RESPONSE *response = OCSP_response_create(status, basic);
    ocsp_bytes_t out = {0};
    int len = i2d_OCSP_RESPONSE(response, &out.bytes);

    must(len > 0, "i2d_OCSP_RESPONSE");
    out.len = (size_t)len;
    OCSP_RESPONSE_free(response);
    return out;
}

ocsp_make_t ocsp_usual(const pki_t *pki)
{
    return (ocsp_make_t){.leaf = pki->leaf,
                         .issuer = pki->new_sub,
                         .from = pki->now - PKI_DAY,
                         .to = pki->now + 6 * PKI_DAY,
                         .by = pki->new_sub,
                         .key = pki->sub_key};
}

X509 *ocsp_delegate(const pki_t *pki, EVP_PKEY *key, int64_t until)
{
    return pki_issue(&(pki_spec_t){.cn = "Look-alike OCSP",
                                   .key = key,
                                   .issuer = pki->new_sub,
                                   .issuer_key = pki->sub_key,
                                   .eku = "OCSPSigning",
                                   .not_before = pki->now - 10 * PKI_DAY,
                                   .not_after = until});
}

ocsp_bytes_t ocsp_make(const ocsp_make_t *m)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();

    add_status(basic, m);
    must(ASN1_GENERALIZEDTIME_set(
             (ASN1_GENERALIZEDTIME *)OCSP_resp_get0_produced_at(basic),
             (time_t)(m->produced != 0 ? m->produced : m->from))
             != NULL,
         "producedAt");
    for (int i = 0; i < 3; i++) {
        must(m->certs[i] == NULL || OCSP_basic_add1_cert(basic, m->certs[i]),
             "OCSP_basic_add1_cert");
    }
    if (m->alter != NULL) {
        m->alter(basic);
    }
    sign(basic, m);
    ocsp_bytes_t out = bytes_of(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    OCSP_BASICRESP_free(basic);
    return out;
}

ocsp_bytes_t ocsp_make_failure(int status)
{
    return bytes_of(status, NULL);
}

void ocsp_extend(X509 *cert, EVP_PKEY *issuer_key, int nid, const char *value)
{
    X509_EXTENSION *ext;
    X509V3_CTX ctx;
    int at = X509_get_ext_by_NID(cert, nid, -1);

    if (at >= 0) {
        X509_EXTENSION_free(X509_delete_ext(cert, at));
    }
    if (value != NULL) {
        X509V3_set_ctx_nodb(&ctx);
        X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
        ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
        must(ext != NULL && X509_add_ext(cert, ext, -1), value);
        X509_EXTENSION_free(ext);
    }
    must(X509_sign(cert, issuer_key, EVP_sha256()) > 0, "X509_sign");
}

void ocsp_set_begin(X509 *cert, EVP_PKEY *issuer_key, int64_t not_before)
{
    time_t from = (time_t)not_before;

    must(X509_time_adj_ex(X509_getm_notBefore(cert), 0, 0, &from) != NULL
             && X509_sign(cert, issuer_key, EVP_sha256()) > 0,
         "X509_sign");
}

X509_EXTENSION *ocsp_extension(int critical)
{
    ASN1_OBJECT *oid = OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *ext;

    must(ASN1_OCTET_STRING_set(value, (const unsigned char *)"\5", 2), "value");
    ext = X509_EXTENSION_create_by_OBJ(NULL, oid, critical, value);
    must(ext != NULL, "an extension");
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(oid);
    return ext;
}

int ocsp_check(ocsp_bytes_t bytes, X509 *leaf, X509 *issuer, int64_t now,
               int64_t held, ecert_ocsp_t *out, ecert_err_t *err)
{
    ecert_ocsp_t before;
    int rc;

    memset(out, 0x5a, sizeof(*out));
    memcpy(&before, out, sizeof(before));
    ecert_err_clear(err);
    rc = ecert_ocsp_check(bytes.bytes, bytes.len, leaf, issuer, now, held, out,
                          err);
    must(ERR_peek_error() == 0, "an empty error queue");
    must(rc == 0
             || (rc == -1 && err->code == ECERT_ERR_OCSP && err->detail[0]
                 && memcmp(&before, out, sizeof(before)) == 0),
         "a failure as it should be");
    return rc;
}
