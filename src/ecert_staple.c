#include "ecert_staple.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#define HEAD (32 + sizeof(int64_t) + sizeof(uint32_t))

int ecert_staple_encode(const ecert_staple_t *list, size_t n,
                        unsigned char **out, size_t *len, ecert_err_t *err)
{
    unsigned char *p;

    *len = 0;
    for (size_t i = 0; i < n; i++) {
        *len += HEAD + list[i].len;
    }
    p = *out = OPENSSL_malloc(*len);
    if (p == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t size = (uint32_t)list[i].len;

        memcpy(p, list[i].leaf, 32);
        memcpy(p + 32, &list[i].next_update, sizeof(int64_t));
        memcpy(p + HEAD - sizeof(size), &size, sizeof(size));
        if (size > 0) {
            memcpy(p + HEAD, list[i].der, size);
        }
        p += HEAD + size;
    }
    return 0;
}

/* Behind the one that begins here, or NULL. */
static const unsigned char *take(const unsigned char *p,
                                 const unsigned char *end, ecert_staple_t *out)
{
    uint32_t size;

    if ((size_t)(end - p) < HEAD) {
        return NULL;
    }
    memcpy(out->leaf, p, 32);
    memcpy(&out->next_update, p + 32, sizeof(int64_t));
    memcpy(&size, p + HEAD - sizeof(size), sizeof(size));
    out->der = p + HEAD;
    out->len = size;
    return size <= (size_t)(end - out->der) ? out->der + size : NULL;
}

int ecert_staple_decode(const unsigned char *bytes, size_t len,
                        ecert_staple_t *list, size_t *n, ecert_err_t *err)
{
    const unsigned char *p = bytes, *end = bytes + len;

    for (*n = 0; p != NULL && (*n == 0 || p < end); (*n)++) {
        p = *n < ECERT_STAPLES ? take(p, end, &list[*n]) : NULL;
    }
    return p != NULL ? 0
                     : ecert_err(err, ECERT_ERR_SNAPSHOT, NULL,
                                 "the record of an OCSP response is damaged");
}

int ecert_staple_fits(const ecert_staple_t *staple, const X509 *leaf,
                      int64_t now)
{
    unsigned char digest[EVP_MAX_MD_SIZE];

    return staple->len > 0 && now < staple->next_update
           && X509_digest(leaf, EVP_sha256(), digest, NULL) == 1
           && memcmp(digest, staple->leaf, 32) == 0;
}
