#include "ecert_staple.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#define HEAD (32 + sizeof(int64_t))

int ecert_staple_encode(const ecert_staple_t *staple, unsigned char **out,
                        size_t *len, ecert_err_t *err)
{
    *len = HEAD + staple->len;
    *out = OPENSSL_malloc(*len);
    if (*out == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    memcpy(*out, staple->leaf, 32);
    memcpy(*out + 32, &staple->next_update, sizeof(int64_t));
    if (staple->len > 0) {
        memcpy(*out + HEAD, staple->der, staple->len);
    }
    return 0;
}

int ecert_staple_decode(const unsigned char *bytes, size_t len,
                        ecert_staple_t *staple, ecert_err_t *err)
{
    if (len < HEAD) {
        return ecert_err(err, ECERT_ERR_SNAPSHOT, NULL,
                         "the record of an OCSP response is cut off");
    }
    memcpy(staple->leaf, bytes, 32);
    memcpy(&staple->next_update, bytes + 32, sizeof(int64_t));
    staple->der = bytes + HEAD;
    staple->len = len - HEAD;
    return 0;
}

int ecert_staple_fits(const ecert_staple_t *staple, const X509 *leaf,
                      int64_t now)
{
    unsigned char digest[EVP_MAX_MD_SIZE];

    return staple->len > 0 && now < staple->next_update
           && X509_digest(leaf, EVP_sha256(), digest, NULL) == 1
           && memcmp(digest, staple->leaf, 32) == 0;
}
