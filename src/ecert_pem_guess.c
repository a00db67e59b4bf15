#include "ecert_pem_block.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>

static int has(const unsigned char *bytes, size_t len, const char *text)
{
    return memmem(bytes, len, text, strlen(text)) != NULL;
}

static int is_utf16(const unsigned char *bytes, size_t len)
{
    if (len < 2) {
        return 0;
    }
    return (bytes[0] == 0xff && bytes[1] == 0xfe)
           || (bytes[0] == 0xfe && bytes[1] == 0xff)
           || (bytes[0] == '-' && bytes[1] == 0)
           || (bytes[0] == 0 && bytes[1] == '-');
}

static int is_html(const unsigned char *text, size_t len)
{
    static const char *const starts[] = {"<!doctype", "<html", "<head", "<?xml",
                                         "<body"};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        size_t n = strlen(starts[i]);
        if (len >= n && strncasecmp((const char *)text, starts[i], n) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Base64 of DER without the lines around it begins with "MI". */
static int is_bare_base64(const unsigned char *text, size_t len)
{
    if (len < 64 || text[0] != 'M' || text[1] != 'I') {
        return 0;
    }
    for (size_t i = 0; i < 64; i++) {
        if (!isalnum(text[i]) && !strchr("+/=\r\n", text[i])) {
            return 0;
        }
    }
    return 1;
}

static const char *look_of_text(const unsigned char *text, size_t len)
{
    if (is_html(text, len)) {
        return "a web page (HTML)";
    }
    if (is_bare_base64(text, len)) {
        return "Base64 without its BEGIN and END lines";
    }
    return "something else";
}

/* A BEGIN line that was cut off and is all that there is. */
static int is_cut_begin(const unsigned char *text, size_t len)
{
    static const char begin[] = "-----BEGIN ";
    return len > 0 && len < strlen(begin) && memcmp(text, begin, len) == 0;
}

int ecert_pem_text(const unsigned char *bytes, size_t len, const char *expected,
                   const char *file, ecert_err_t *err)
{
    size_t skip = len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (skip < len && isspace(bytes[skip])) {
        skip++;
    }
    if (skip == len) {
        return ecert_err(err, ECERT_ERR_EMPTY, file,
                         len ? "only white space" : NULL);
    }
    if (is_utf16(bytes, len)) {
        return ecert_err(err, ECERT_ERR_FORMAT, file,
                         "expected %s, found text in UTF-16; save it as UTF-8",
                         expected);
    }
    if (has(bytes, len, "-----BEGIN ") && bytes[0] != 0x30) {
        return 1;
    }
    if (bytes[0] == 0x30) {
        /* DER, unless it is a text that begins with the digit 0. */
        return len > 1 && isprint(bytes[1]) && has(bytes, len, "-----BEGIN ");
    }
    if (is_cut_begin(bytes + skip, len - skip)) {
        return ecert_err(err, ECERT_ERR_TRUNCATED, file,
                         "it ends inside its first line");
    }
    return ecert_err(err, ECERT_ERR_FORMAT, file, "expected %s, found %s",
                     expected, look_of_text(bytes + skip, len - skip));
}

/* What the outermost header of DER promises, in bytes; 0: cannot be told. */
static size_t promised(const unsigned char *der, size_t len)
{
    if (len < 2) {
        return 2;
    }
    if (der[1] < 0x80) {
        return 2 + (size_t)der[1];
    }
    size_t n = der[1] & 0x7f, value = 0;
    if (n == 0 || n > 4) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (2 + i >= len) {
            return len + 1;
        }
        value = value << 8 | der[2 + i];
    }
    return 2 + n + value;
}

static const char *look_of_der(const unsigned char *der, size_t len)
{
    const unsigned char *p = der;
    const char *look = "DER of another kind";
    PKCS12 *pfx = NULL;
    PKCS7 *p7 = NULL;
    X509_REQ *req = NULL;
    X509_CRL *crl = NULL;
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;

    if ((cert = d2i_X509(NULL, &p, (long)len)) != NULL) {
        look = p == der + len ? "a certificate"
                              : "a certificate with something behind it";
    } else if ((p = der, pfx = d2i_PKCS12(NULL, &p, (long)len)) != NULL) {
        look = "a PKCS#12 (PFX) file";
    } else if ((p = der, p7 = d2i_PKCS7(NULL, &p, (long)len)) != NULL) {
        look = "a PKCS#7 without it";
    } else if ((p = der, req = d2i_X509_REQ(NULL, &p, (long)len)) != NULL) {
        look = "a certificate request";
    } else if ((p = der, crl = d2i_X509_CRL(NULL, &p, (long)len)) != NULL) {
        look = "a revocation list";
    } else if ((p = der, key = d2i_AutoPrivateKey(NULL, &p, (long)len))) {
        look = "a private key";
    }
    X509_free(cert);
    PKCS12_free(pfx);
    PKCS7_free(p7);
    X509_REQ_free(req);
    X509_CRL_free(crl);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return look;
}

int ecert_pem_not(const unsigned char *der, size_t len, const char *expected,
                  const char *file, ecert_err_t *err)
{
    size_t want = promised(der, len);
    if (want > len) {
        return ecert_err(err, ECERT_ERR_TRUNCATED, file,
                         "%zu bytes, its DER header promises more", len);
    }
    return ecert_err(err, ECERT_ERR_FORMAT, file, "expected %s, found %s",
                     expected, look_of_der(der, len));
}
