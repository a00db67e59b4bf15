/*
 * Preloaded into a server: OpenSSL does not take the certificate that is in the
 * file ECERT_TEST_UNUSABLE into a connection.
 */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

static char file[4096];

/* nginx takes its environment away later. */
__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("ECERT_TEST_UNUSABLE");

    snprintf(file, sizeof(file), "%s", name ? name : "");
}

static int is_in_file(const X509 *leaf)
{
    FILE *in = fopen(file, "re");
    X509 *named = in ? PEM_read_X509(in, NULL, NULL, NULL) : NULL;
    int same = named && X509_cmp(named, leaf) == 0;

    X509_free(named);
    if (in) {
        fclose(in);
    }
    return same;
}

int SSL_use_cert_and_key(SSL *ssl, X509 *leaf, EVP_PKEY *key,
                         STACK_OF(X509) *chain, int override)
{
    int (*real)(SSL *, X509 *, EVP_PKEY *, STACK_OF(X509) *, int);

    if (is_in_file(leaf)) {
        ERR_raise(ERR_LIB_SSL, SSL_R_CA_MD_TOO_WEAK);
        return 0;
    }
    *(void **)&real = dlsym(RTLD_NEXT, "SSL_use_cert_and_key");
    return real(ssl, leaf, key, chain, override);
}
