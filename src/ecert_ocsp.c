#include "ecert_ocsp.h"

#include <string.h>
#include <strings.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "ecert_ocsp_work.h"
#include "ecert_x509.h"

/* A copy of the name's URL when it is http, of printable ASCII; or NULL. */
static char *http_url(const GENERAL_NAME *name)
{
    static const char scheme[] = "http://";
    const size_t least = sizeof(scheme) - 1;

    if (name->type != GEN_URI) {
        return NULL;
    }
    const ASN1_STRING *uri = name->d.uniformResourceIdentifier;
    const char *text = (const char *)ASN1_STRING_get0_data(uri);
    size_t len = (size_t)ASN1_STRING_length(uri);
    if (len <= least || strncasecmp(text, scheme, least) != 0) {
        return NULL;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~') {
            return NULL;
        }
    }
    return OPENSSL_strndup(text, len);
}

/* X509_get1_ocsp gives them sorted, not in the certificate's order. */
char *ecert_ocsp_url(X509 *leaf)
{
    AUTHORITY_INFO_ACCESS *aia =
        X509_get_ext_d2i(leaf, NID_info_access, NULL, NULL);
    char *url = NULL;

    for (int i = 0; url == NULL && i < sk_ACCESS_DESCRIPTION_num(aia); i++) {
        const ACCESS_DESCRIPTION *access = sk_ACCESS_DESCRIPTION_value(aia, i);
        if (OBJ_obj2nid(access->method) == NID_ad_OCSP) {
            url = http_url(access->location);
        }
    }
    AUTHORITY_INFO_ACCESS_free(aia);
    ERR_clear_error();
    return url;
}

OCSP_CERTID *ecert_ocsp_id(const EVP_MD *md, X509 *leaf, X509 *issuer,
                           ecert_err_t *err)
{
    char label[128];

    if (!ecert_x509_names_issuer(leaf, issuer)) {
        ecert_err(err, ECERT_ERR_OCSP, NULL,
                  "%s is not the issuer of the certificate",
                  ecert_x509_label(issuer, label, sizeof(label)));
        return NULL;
    }
    OCSP_CERTID *id = OCSP_cert_to_id(md, leaf, issuer);
    if (id == NULL) {
        ecert_err_openssl(err, ECERT_ERR_OCSP, NULL,
                          "the certificate cannot be named");
    }
    return id;
}

int ecert_ocsp_request(X509 *leaf, X509 *issuer, unsigned char **der,
                       size_t *len, ecert_err_t *err)
{
    OCSP_CERTID *id = ecert_ocsp_id(EVP_sha1(), leaf, issuer, err);
    if (id == NULL) {
        return -1;
    }
    OCSP_REQUEST *request = OCSP_REQUEST_new();
    unsigned char *bytes = NULL;
    int n = -1;
    if (request != NULL && OCSP_request_add0_id(request, id) != NULL) {
        id = NULL;
        n = i2d_OCSP_REQUEST(request, &bytes);
    }
    OCSP_CERTID_free(id);
    OCSP_REQUEST_free(request);
    if (n <= 0) {
        return ecert_err_openssl(err, ECERT_ERR_OCSP, NULL,
                                 "the request cannot be written");
    }
    ERR_clear_error();
    *der = bytes;
    *len = (size_t)n;
    return 0;
}

/* Of Base64's signs these three mean something else in a URL. */
static const char *url_encoded(char c)
{
    return c == '+' ? "%2B" : c == '/' ? "%2F" : c == '=' ? "%3D" : NULL;
}

int ecert_ocsp_get(const char *responder, const unsigned char *der, size_t len,
                   char out[ECERT_OCSP_GET])
{
    unsigned char base64[ECERT_OCSP_GET];
    size_t used = strlen(responder);

    if (strpbrk(responder, "?#") != NULL || used + 1 >= ECERT_OCSP_GET
        || (len + 2) / 3 * 4 >= sizeof(base64)) {
        return 0;
    }
    memcpy(out, responder, used);
    if (out[used - 1] != '/') {
        out[used++] = '/';
    }
    EVP_EncodeBlock(base64, der, (int)len);
    for (const char *p = (const char *)base64; *p != '\0'; p++) {
        const char *code = url_encoded(*p);
        size_t n = code ? 3 : 1;

        if (used + n >= ECERT_OCSP_GET) {
            return 0;
        }
        memcpy(out + used, code ? code : p, n);
        used += n;
    }
    out[used] = '\0';
    return 1;
}
