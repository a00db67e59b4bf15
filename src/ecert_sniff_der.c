#include "ecert_sniff.h"

#include <string.h>

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

#include "ecert_pem_block.h"

#define PFX "a PFX (PKCS#12) file"

/* Room for the headers of a PFX, its version and the type of its contents. */
#define HEAD 48

/* Bytes of the header at p; 0: it is no such thing.  *len: of the contents. */
static size_t header(const unsigned char *p, size_t room, unsigned char tag,
                     size_t *len)
{
    size_t n;

    if (room < 2 || p[0] != tag) {
        return 0;
    }
    *len = p[1];
    if (p[1] <= 0x80) { /* 0x80: to be told by its end */
        return 2;
    }
    n = p[1] & 0x7f;
    if (n > sizeof(*len) || n > room - 2) {
        return 0;
    }
    *len = 0;
    for (size_t i = 0; i < n; i++) {
        *len = *len << 8 | p[2 + i];
    }
    return 2 + n;
}

/*
 * A SEQUENCE of a version and of a ContentInfo (RFC 7292, 4).  Nothing else of
 * version 3 begins like this; where it is another one, the type tells.
 */
static int is_pfx(const unsigned char *der, size_t len)
{
    static const unsigned char pkcs7[] = {0x06, 0x09, 0x2a, 0x86, 0x48,
                                          0x86, 0xf7, 0x0d, 0x01, 0x07};
    size_t size, at = header(der, len, 0x30, &size);
    size_t n = at > 0 ? header(der + at, len - at, 0x02, &size) : 0;

    if (n == 0 || size == 0 || size > 8 || size > len - at - n) {
        return 0;
    }
    at += n + size;
    if (size == 1 && der[at - 1] == 3) {
        return 1;
    }
    n = header(der + at, len - at, 0x30, &size);
    at += n;
    return n > 0 && len - at >= sizeof(pkcs7)
           && memcmp(der + at, pkcs7, sizeof(pkcs7)) == 0;
}

int ecert_sniff_pfx(const unsigned char *bytes, size_t len)
{
    ecert_sniff_kind_t kind = ecert_sniff(bytes, len).kind;
    unsigned char head[HEAD];
    ecert_pem_block_t block;
    ecert_err_t ignored;

    if (kind == ECERT_SNIFF_DER) {
        return is_pfx(bytes, len);
    }
    if (kind != ECERT_SNIFF_PEM && kind != ECERT_SNIFF_BASE64) {
        return 0;
    }
    ecert_pem_block_init(&block, bytes, len);
    while (ecert_pem_block_next(&block, NULL, &ignored) == 1) {
        if (is_pfx(head, ecert_pem_block_head(&block, head, sizeof(head)))) {
            return 1;
        }
    }
    return 0;
}

/* What the outermost header of DER promises, in bytes; 0: cannot be told. */
static size_t promised(const unsigned char *der, size_t len)
{
    size_t size, n;

    if (len < 2) {
        return 2;
    }
    if (der[1] == 0x80 || der[1] > 0x84) {
        return 0;
    }
    n = header(der, len, der[0], &size);
    return n > 0 ? n + size : len + 1;
}

static int is_item(const unsigned char *der, size_t len, const ASN1_ITEM *item)
{
    ASN1_VALUE *value = ASN1_item_d2i(NULL, &der, (long)len, item);
    int yes = value != NULL;

    ASN1_item_free(value, item);
    return yes;
}

static int is_key(const unsigned char *der, size_t len)
{
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &der, (long)len);
    int yes = key != NULL;

    EVP_PKEY_free(key);
    return yes;
}

ecert_sniff_t ecert_sniff_der(const unsigned char *der, size_t len)
{
    static const struct {
        ASN1_ITEM_EXP *item;
        ecert_sniff_t is;
    } items[] = {
        {ASN1_ITEM_ref(X509), {ECERT_SNIFF_DER, "a certificate", NULL}},
        {ASN1_ITEM_ref(PKCS12),
         {ECERT_SNIFF_DER, PFX, "bring it in with ecert restore FILE"}},
        {ASN1_ITEM_ref(CMS_ContentInfo),
         {ECERT_SNIFF_DER, "a PKCS#7 (CMS)", NULL}},
        {ASN1_ITEM_ref(X509_REQ),
         {ECERT_SNIFF_DER, "a certificate request", NULL}},
        {ASN1_ITEM_ref(X509_CRL), {ECERT_SNIFF_DER, "a revocation list", NULL}},
        {ASN1_ITEM_ref(X509_SIG),
         {ECERT_SNIFF_DER, "an encrypted private key", NULL}},
        {ASN1_ITEM_ref(X509_PUBKEY), {ECERT_SNIFF_DER, "a public key", NULL}},
        {ASN1_ITEM_ref(OCSP_RESPONSE),
         {ECERT_SNIFF_DER, "an OCSP response", NULL}},
    };
    ecert_sniff_t found = {ECERT_SNIFF_OTHER, "DER of another kind", NULL};

    for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
        if (is_item(der, len, ASN1_ITEM_ptr(items[i].item))) {
            found = items[i].is;
            break;
        }
    }
    if (found.kind == ECERT_SNIFF_OTHER && is_key(der, len)) {
        found = (ecert_sniff_t){ECERT_SNIFF_DER, "a private key", NULL};
    }
    ERR_clear_error();
    return found;
}

int ecert_sniff_not(const unsigned char *der, size_t len, const char *expected,
                    const char *file, ecert_err_t *err)
{
    ecert_sniff_t found;

    if (promised(der, len) > len) {
        return ecert_err(err, ECERT_ERR_TRUNCATED, file,
                         "%zu bytes, its DER header promises more", len);
    }
    found = ecert_sniff_der(der, len);
    return ecert_sniff_mistaken(&found, expected, file, err);
}
