/* OpenSSL without memory: the program's fails() says for each allocation
 * whether there is none. */

#ifndef STARVE_H
#define STARVE_H

#include <stdlib.h>

#include <openssl/crypto.h>

static int fails(void);

static void *maybe_malloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails() ? NULL : malloc(n);
}

static void *maybe_realloc(void *old, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails() ? NULL : realloc(old, n);
}

static void plain_free(void *old, const char *file, int line)
{
    (void)file;
    (void)line;
    free(old);
}

/* Before OpenSSL has allocated anything; 1, or 0 when it is too late. */
static int starve_openssl(void)
{
    return CRYPTO_set_mem_functions(maybe_malloc, maybe_realloc, plain_free);
}

#endif
