/*
 * Preloaded into a server: while the file in ECERT_TEST_UNUSABLE is there,
 * OpenSSL takes no certificate into a connection.
 */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

static char file[4096];

/* nginx takes its environment away later. */
__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("ECERT_TEST_UNUSABLE");

    snprintf(file, sizeof(file), "%s", name ? name : "");
}

int SSL_use_cert_and_key(SSL *ssl, X509 *leaf, EVP_PKEY *key,
                         STACK_OF(X509) *chain, int override)
{
    int (*real)(SSL *, X509 *, EVP_PKEY *, STACK_OF(X509) *, int);

    if (access(file, F_OK) == 0) {
        ERR_raise(ERR_LIB_SSL, SSL_R_CA_MD_TOO_WEAK);
        return 0;
    }
    *(void **)&real = dlsym(RTLD_NEXT, "SSL_use_cert_and_key");
    return real(ssl, leaf, key, chain, override);
}
