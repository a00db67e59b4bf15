#include "ecert_csr.h"

#include <stdio.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "ecert_pem_block.h"
#include "ecert_sniff.h"

#define WANTED "a certificate request"

/* *behind: how many bytes follow the request. */
static X509_REQ *decode(const unsigned char *der, size_t len, size_t *behind)
{
    const unsigned char *p = der;
    X509_REQ *csr = d2i_X509_REQ(NULL, &p, (long)len);

    *behind = csr ? len - (size_t)(p - der) : 0;
    ERR_clear_error();
    return csr;
}

static int take_block(const ecert_pem_block_t *block, X509_REQ **csr,
                      const char *file, ecert_err_t *err)
{
    unsigned char *der = NULL;
    size_t len = 0, behind = 0;

    if (*csr != NULL) {
        return ecert_err(err, ECERT_ERR_TOO_MANY, file,
                         "more than one certificate request");
    }
    if (ecert_pem_block_der(block, &der, &len) == 0) {
        *csr = decode(der, len, &behind);
    }
    OPENSSL_clear_free(der, len);
    return *csr != NULL && behind == 0
               ? 0
               : ecert_pem_block_damaged(block, file, err);
}

static int read_pem(const unsigned char *bytes, size_t len, X509_REQ **csr,
                    const char *file, ecert_err_t *err)
{
    ecert_pem_block_t block;
    const char *other = NULL;
    int rc;

    ecert_pem_block_init(&block, bytes, len);
    while ((rc = ecert_pem_block_next(&block, file, err)) == 1) {
        if (block.kind != ECERT_PEM_REQUEST && block.kind != ECERT_PEM_BARE) {
            other = ecert_pem_kind_name(block.kind);
        } else if (take_block(&block, csr, file, err) != 0) {
            return -1;
        }
    }
    if (rc == 0 && *csr == NULL) {
        return ecert_err(err, ECERT_ERR_FORMAT, file,
                         "expected " WANTED ", found %s", other);
    }
    return rc;
}

static int read_der(const unsigned char *bytes, size_t len, X509_REQ **csr,
                    const char *file, ecert_err_t *err)
{
    size_t behind;

    *csr = decode(bytes, len, &behind);
    if (*csr == NULL) {
        return ecert_sniff_not(bytes, len, WANTED, file, err);
    }
    return behind == 0
               ? 0
               : ecert_err(err, ECERT_ERR_DAMAGED, file,
                           "%zu bytes too many stand behind it", behind);
}

static int check_signature(X509_REQ *csr, const char *file, ecert_err_t *err)
{
    EVP_PKEY *key = X509_REQ_get0_pubkey(csr);
    int good = key != NULL && X509_REQ_verify(csr, key) == 1;

    ERR_clear_error();
    if (key == NULL) {
        return ecert_err(err, ECERT_ERR_DAMAGED, file,
                         "the public key of the request cannot be read");
    }
    return good ? 0
                : ecert_err(err, ECERT_ERR_DAMAGED, file,
                            "the signature of the request does not fit");
}

X509_REQ *ecert_csr_read(const unsigned char *bytes, size_t len,
                         const char *file, ecert_err_t *err)
{
    X509_REQ *csr = NULL;
    int rc = ecert_sniff_expect(bytes, len, WANTED, file, err);

    if (rc == 1) {
        rc = read_pem(bytes, len, &csr, file, err);
    } else if (rc == 0) {
        rc = read_der(bytes, len, &csr, file, err);
    }
    if (rc == 0) {
        rc = check_signature(csr, file, err);
    }
    if (rc != 0) {
        X509_REQ_free(csr);
        return NULL;
    }
    return csr;
}

char *ecert_csr_pem(X509_REQ *csr, ecert_err_t *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL, *pem = NULL;
    long len = 0;

    if (bio != NULL && PEM_write_bio_X509_REQ(bio, csr) == 1
        && (len = BIO_get_mem_data(bio, &text)) > 0) {
        pem = OPENSSL_strndup(text, (size_t)len);
    }
    BIO_free(bio);
    if (pem == NULL) {
        ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL,
                          "cannot write the request as PEM");
    }
    ERR_clear_error();
    return pem;
}

static int hex_digest(const char *algorithm, const unsigned char *bytes,
                      size_t len, const char *digits, char *out)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t size = 0;

    /* MD5 only names a file here: allowed where FIPS mode is on, too. */
    if (EVP_Q_digest(NULL, algorithm, "-fips", bytes, len, digest, &size)
        != 1) {
        return -1;
    }
    for (size_t i = 0; i < size; i++) {
        *out++ = digits[digest[i] >> 4];
        *out++ = digits[digest[i] & 15];
    }
    *out = '\0';
    return 0;
}

/* The digests of the request: hexadecimal, 32 and 64 digits. */
static int take_digests(X509_REQ *csr, char *md5, char *sha256,
                        ecert_err_t *err)
{
    unsigned char *der = NULL;
    int len = i2d_X509_REQ(csr, &der);
    int ok =
        len > 0
        && hex_digest("MD5", der, (size_t)len, "0123456789ABCDEF", md5) == 0
        && hex_digest("SHA256", der, (size_t)len, "0123456789abcdef", sha256)
               == 0;

    OPENSSL_free(der);
    if (!ok) {
        return ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL,
                                 "cannot take the digests of the request");
    }
    ERR_clear_error();
    return 0;
}

static int check_unique(const char *unique, ecert_err_t *err)
{
    for (const char *p = unique; *p; p++) {
        if (*p <= ' ' || *p > '~') {
            return ecert_err(err, ECERT_ERR_TOKEN, unique,
                             "the unique value has a sign other than letters, "
                             "digits and punctuation");
        }
    }
    return 0;
}

int ecert_csr_sectigo(X509_REQ *csr, const char *unique, char name[64],
                      char body[256], ecert_err_t *err)
{
    char md5[33], sha256[65];
    int more = unique != NULL && unique[0] != '\0';

    if (more && check_unique(unique, err) != 0) {
        return -1;
    }
    if (take_digests(csr, md5, sha256, err) != 0) {
        return -1;
    }
    snprintf(name, 64, "%s.txt", md5);
    if (snprintf(body, 256, "%s\nsectigo.com\n%s%s", sha256, more ? unique : "",
                 more ? "\n" : "")
        >= 256) {
        return ecert_err(err, ECERT_ERR_TOKEN, unique,
                         "the unique value is too long");
    }
    return 0;
}
