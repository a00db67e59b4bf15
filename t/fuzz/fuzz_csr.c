/* Certificate signing requests (ecert_csr*): one that is read is written and
 * read again; and subjects out of any bytes. */

#include "fuzz.h"

#include <openssl/err.h>

#include "ecert_csr.h"

static void check_file(X509_REQ *csr, const char *unique)
{
    char name[64], body[256];
    ecert_err_t err;

    if (ecert_csr_sectigo(csr, unique, name, body, &err) != 0) {
        FUZZ_CHECK(err.code == ECERT_ERR_TOKEN);
        fuzz_check_err(&err);
        return;
    }
    FUZZ_CHECK(strspn(name, "0123456789ABCDEF") == 32);
    FUZZ_CHECK(strcmp(name + 32, ".txt") == 0);
    FUZZ_CHECK(strspn(body, "0123456789abcdef") == 64 && body[64] == '\n');
    FUZZ_CHECK(strncmp(body + 65, "sectigo.com", 11) == 0);
    fuzz_check_text(name);
}

static void subject(const uint8_t *bytes, size_t len)
{
    fuzz_in_t in = {bytes, len};
    char *parts[6];
    ecert_err_t err;

    for (size_t i = 0; i < 6; i++) {
        parts[i] = fuzz_line(&in);
    }
    if (ecert_subject_check(&(ecert_subject_t){parts[0], parts[1], parts[2],
                                               parts[3], parts[4], parts[5]},
                            &err)
        != 0) {
        fuzz_check_err(&err);
    } else {
        FUZZ_CHECK(strlen(parts[0]) == 0 || strlen(parts[0]) == 2);
        for (size_t i = 0; i < 6; i++) {
            FUZZ_CHECK(strlen(parts[i]) <= 4 * 128);
        }
    }
    for (size_t i = 0; i < 6; i++) {
        free(parts[i]);
    }
}

static void run(const uint8_t *bytes, size_t len)
{
    ecert_err_t err;
    X509_REQ *csr = ecert_csr_read(bytes, len, "a.csr", &err), *again;
    char *pem, *text = fuzz_text(bytes, len);

    if (csr == NULL) {
        fuzz_check_err(&err);
    } else {
        FUZZ_CHECK(ERR_peek_error() == 0);
        check_file(csr, NULL);
        check_file(csr, text);
        pem = ecert_csr_pem(csr, &err);
        FUZZ_CHECK(pem != NULL);
        again = ecert_csr_read((unsigned char *)pem, strlen(pem), "b", &err);
        FUZZ_CHECK(again != NULL);
        X509_REQ_free(again);
        OPENSSL_free(pem);
    }
    X509_REQ_free(csr);
    free(text);
    subject(bytes, len);
}

static void seeds(void)
{
    const ecert_subject_t subject = {.country = "HK",
                                     .organization = "Example Limited",
                                     .common_name = "www.example.hk"};
    const char *const names[] = {"www.example.hk", "*.a.example.hk"};
    unsigned char *der = NULL;
    ecert_err_t err;
    X509_REQ *csr =
        ecert_csr_make(fuzz_pki()->leaf_key, &subject, names, 2, &err);
    char *pem = csr != NULL ? ecert_csr_pem(csr, &err) : NULL;
    int len = csr != NULL ? i2d_X509_REQ(csr, &der) : 0;

    FUZZ_CHECK(pem != NULL && len > 0);
    fuzz_seed_text(pem);
    fuzz_seed(der, (size_t)len);
    fuzz_seed_text("HK\nKowloon\nHong Kong\nExample Limited\n\nwww.example.hk");
    fuzz_seed_text("\n\n\n\xe9\xa6\x99\xe6\xb8\xaf\n \n"
                   "www.\xe6\x88\x91\xe7\x9a\x84.hk");
    OPENSSL_free(der);
    OPENSSL_free(pem);
    X509_REQ_free(csr);
}

static const char *const words[] = {"-----BEGIN CERTIFICATE REQUEST-----",
                                    "-----BEGIN NEW CERTIFICATE ",
                                    "-----END CERTIFICATE REQUEST-----",
                                    "\n",
                                    "\xc2\x80",
                                    "\xe3\x80\x80",
                                    NULL};

FUZZ_TARGET(csr, .run = run, .seeds = seeds, .max = 2048, .words = words);
