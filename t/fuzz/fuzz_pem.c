/* Files of certificates and keys (ecert_pem*), and questions to what they hold:
 * what is written again is the same. */

#include "fuzz.h"

#include <openssl/err.h>

#include "ecert_csr.h"
#include "ecert_ocsp.h"
#include "ecert_pem.h"
#include "ecert_pem_block.h"
#include "ecert_sniff.h"
#include "ecert_x509.h"

static void ask(X509 *cert)
{
    char label[128], print[65];
    char *url = ecert_ocsp_url(cert);

    for (const char *p = url; p != NULL && *p != '\0'; p++) {
        FUZZ_CHECK(*p > ' ' && *p <= '~');
    }
    OPENSSL_free(url);
    fuzz_check_text(ecert_x509_label(cert, label, sizeof(label)));
    fuzz_check_text(ecert_x509_label(cert, label, 7));
    FUZZ_CHECK(strlen(ecert_x509_fingerprint(cert, print)) == 64);
    ecert_x509_not_before(cert);
    ecert_x509_not_after(cert);
    ecert_x509_self_signed(cert);
    ecert_x509_server_auth(cert);
    ecert_x509_ca(cert);
}

static char *written(const STACK_OF(X509) *list)
{
    char *all = strdup(""), *longer, *pem;
    ecert_err_t err;

    for (int i = 0; i < sk_X509_num(list); i++) {
        pem = ecert_x509_pem(sk_X509_value(list, i), &err);
        FUZZ_CHECK(pem != NULL);
        longer = pki_join(all, pem, NULL);
        OPENSSL_free(pem);
        free(all);
        all = longer;
    }
    return all;
}

static void certificates(const uint8_t *bytes, size_t len)
{
    STACK_OF(X509) *list = sk_X509_new_null(), *again = sk_X509_new_null();
    ecert_err_t err;
    char *pem;

    if (ecert_pem_certificates(bytes, len, "a.pem", list, &err) != 0) {
        FUZZ_CHECK(sk_X509_num(list) == 0);
        fuzz_check_err(&err);
    } else if (sk_X509_num(list) > 0) {
        FUZZ_CHECK(sk_X509_num(list) <= ECERT_PEM_CERTIFICATES);
        pem = written(list);
        FUZZ_CHECK(ecert_pem_certificates((unsigned char *)pem, strlen(pem),
                                          "b.pem", again, &err)
                   == 0);
        free(pem);
        FUZZ_CHECK(ERR_peek_error() == 0);
        FUZZ_CHECK(sk_X509_num(again) == sk_X509_num(list));
        for (int i = 0; i < sk_X509_num(list); i++) {
            FUZZ_CHECK(X509_cmp(sk_X509_value(list, i), sk_X509_value(again, i))
                       == 0);
            ERR_clear_error(); /* of X509_cmp, which looks at extensions */
            ask(sk_X509_value(list, i));
        }
    }
    pki_stack_free(again);
    pki_stack_free(list);
}

static void key(const uint8_t *bytes, size_t len)
{
    ecert_err_t err;
    EVP_PKEY *key = ecert_pem_key(bytes, len, "key.pem", &err), *again;
    size_t pem_len;
    char *pem;

    if (key == NULL) {
        fuzz_check_err(&err);
        return;
    }
    FUZZ_CHECK(ecert_key_pem(key, &pem, &pem_len, &err) == 0);
    again = ecert_pem_key((unsigned char *)pem, pem_len, "b.pem", &err);
    FUZZ_CHECK(again != NULL && EVP_PKEY_eq(key, again) == 1);
    OPENSSL_clear_free(pem, pem_len + 1);
    EVP_PKEY_free(again);
    EVP_PKEY_free(key);
}

static void blocks(const uint8_t *bytes, size_t len)
{
    const uint8_t *before = bytes;
    ecert_pem_block_t block;
    ecert_err_t err;
    unsigned char *der, head[20];
    size_t der_len, head_len;
    int rc;

    ecert_pem_block_init(&block, bytes, len);
    while ((rc = ecert_pem_block_next(&block, "a.pem", &err)) == 1) {
        FUZZ_CHECK(block.body >= before);
        before = block.body + block.len;
        FUZZ_CHECK(before <= bytes + len);
        FUZZ_CHECK(block.kind == ECERT_PEM_BARE
                   || (block.rest >= before
                       && block.rest + block.rest_len == bytes + len));
        head_len = ecert_pem_block_head(&block, head, sizeof(head));
        FUZZ_CHECK(head_len <= sizeof(head));
        if (ecert_pem_block_der(&block, &der, &der_len) == 0) {
            FUZZ_CHECK(
                memcmp(der, head, der_len < head_len ? der_len : head_len)
                == 0);
            ecert_sniff_der(der, der_len);
            OPENSSL_clear_free(der, der_len);
        }
    }
    if (rc < 0) {
        fuzz_check_err(&err);
    }
}

/* Whoever says what it is says it in words, and the same again. */
static void sniff(const uint8_t *bytes, size_t len)
{
    ecert_sniff_t found = ecert_sniff(bytes, len);

    FUZZ_CHECK((found.name == NULL)
               == (found.kind == ECERT_SNIFF_OTHER
                   || found.kind == ECERT_SNIFF_EMPTY));
    FUZZ_CHECK(found.kind != ECERT_SNIFF_EMPTY || !ecert_sniff_pfx(bytes, len));
    FUZZ_CHECK(ecert_sniff_der(bytes, len).name != NULL);
}

static void run(const uint8_t *bytes, size_t len)
{
    sniff(bytes, len);
    blocks(bytes, len);
    certificates(bytes, len);
    key(bytes, len);
}

static void seed_der(X509 *cert)
{
    unsigned char *der = NULL;
    int len = i2d_X509(cert, &der);

    FUZZ_CHECK(len > 0);
    fuzz_seed(der, (size_t)len);
    OPENSSL_free(der);
}

static void seeds(void)
{
    const pki_t *pki = fuzz_pki();
    char *leaf = pki_pem(pki->leaf), *sub = pki_pem(pki->new_sub);
    char *key = pki_pem_key(pki->leaf_key);
    char *old_key = pki_pem_key_traditional(pki->leaf_key);
    char *all =
        pki_join("Dear customer,\r\n", leaf, "  and\r\n", sub, key, NULL);

    fuzz_seed_text(leaf);
    fuzz_seed_text(key);
    fuzz_seed_text(old_key);
    fuzz_seed_text(all);
    fuzz_seed_text(strchr(leaf, '\n') + 1);
    *strstr(leaf, "-----END") = '\0'; /* Base64 alone */
    fuzz_seed_text(strchr(leaf, '\n') + 1);
    seed_der(pki->leaf);
    free(leaf);
    free(sub);
    free(key);
    free(old_key);
    free(all);
}

static const char *const words[] = {"-----BEGIN ",
                                    "-----END ",
                                    "-----",
                                    "CERTIFICATE",
                                    "TRUSTED ",
                                    "PRIVATE KEY",
                                    "RSA ",
                                    "EC ",
                                    "ENCRYPTED ",
                                    "PKCS7",
                                    "X509 CRL",
                                    "PARAMETERS",
                                    "NEW CERTIFICATE REQUEST",
                                    "OPENSSH ",
                                    "PUBLIC KEY",
                                    "PKCS12",
                                    "CMS",
                                    "Proc-Type: 4,ENCRYPTED\n",
                                    "\r\r\n",
                                    "\xef\xbb\xbf",
                                    "\xff\xfe",
                                    "\r\n",
                                    "<html>",
                                    "Proc-Type: 4,ENCRYPTED\n",
                                    "\x06\x03\x55\x1d\x11",
                                    NULL};

FUZZ_TARGET(pem, .run = run, .seeds = seeds, .max = 6000, .words = words);
