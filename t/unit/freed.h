/*
 * What is freed while it still holds a secret.  This program's own free() and
 * OpenSSL's hooks look for the secrets in each block before it goes; a child's
 * blocks count, too.  What is still in use can be asked as well.
 */

#ifndef FREED_H
#define FREED_H

#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>

#include <openssl/crypto.h>

#include "asserts.h"
#include "ecert_jail_work.h"

#define FREED_SECRETS 12
#define FREED_SECRET  20 /* bytes of each that are looked for */
#define FREED_WIPED   (64 * 1024) /* larger blocks go back to the system */

static unsigned char freed_secrets[FREED_SECRETS][FREED_SECRET];
static size_t freed_n;

/* Shared with children; where: of the last one. */
typedef struct {
    int found, looked;
    char where[200];
} freed_t;

static freed_t *freed;

/* Whose file: NULL is not looked at.  What was found, or was OpenSSL's, does
 * not come up again in a block that gets this memory next. */
static void freed_look(void *block, const char *file, int line)
{
    size_t len = block != NULL ? malloc_usable_size(block) : 0;

    for (size_t i = 0; file != NULL && freed != NULL && i < freed_n; i++) {
        freed->looked++;
        if (len > 0 && memmem(block, len, freed_secrets[i], FREED_SECRET)) {
            freed->found++;
            snprintf(freed->where, sizeof(freed->where),
                     "%s:%d: secret %zu, %zu bytes", file, line, i, len);
            break;
        }
    }
    if (len > 0 && len <= FREED_WIPED) {
        OPENSSL_cleanse(block, len);
    }
}

static void freed_go(void *block)
{
    static void (*next)(void *);

    if (next == NULL) {
        *(void **)&next = dlsym(RTLD_NEXT, "free");
    }
    if (next != NULL) {
        next(block);
    }
}

/* Sanitizers have a malloc of their own: nothing is looked at then. */
#if ECERT_JAIL_BOUNDS_MEMORY

/* New memory is empty: what somebody else left in it is not the owner's. */
void *malloc(size_t n)
{
    static void *(*next)(size_t);
    void *block;

    if (next == NULL) {
        *(void **)&next = dlsym(RTLD_NEXT, "malloc");
    }
    block = next(n);
    if (block != NULL) {
        memset(block, 0, malloc_usable_size(block));
    }
    return block;
}

/* Our own, cmocka's and jansson's. */
void free(void *block)
{
    freed_look(block, "free", 0);
    freed_go(block);
}

#endif

/* OpenSSL does not wipe all that it copies: that is not ours to mend. */
static const char *freed_ours(const char *file)
{
    return file != NULL && strncmp(file, "src/", 4) == 0 ? file : NULL;
}

static void *freed_malloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return malloc(n);
}

static void freed_crypto(void *block, const char *file, int line)
{
    freed_look(block, freed_ours(file), line);
    freed_go(block);
}

/* Always to another place. */
static void *freed_realloc(void *old, size_t n, const char *file, int line)
{
    size_t len = old != NULL ? malloc_usable_size(old) : 0;
    void *new = n > 0 ? malloc(n) : NULL;

    if (n > 0 && new == NULL) {
        return NULL;
    }
    if (len > 0 && n > 0) {
        memcpy(new, old, len < n ? len : n);
    }
    freed_crypto(old, file, line);
    return new;
}

/*
 * Before OpenSSL has allocated anything; 1, or 0 when it cannot be done.  The
 * program begins again without the C library's caches, whose blocks would be
 * counted as in use.
 */
static int freed_begin(char **argv)
{
    const char *set = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0";

    if (getenv("GLIBC_TUNABLES") == NULL) {
        setenv("GLIBC_TUNABLES", set, 1);
        execv("/proc/self/exe", argv);
        return 0;
    }
    freed = mmap(NULL, sizeof(*freed), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return freed != MAP_FAILED
           && CRYPTO_set_mem_functions(freed_malloc, freed_realloc,
                                       freed_crypto);
}

static void freed_add(const void *bytes)
{
    assert_true(freed_n < FREED_SECRETS);
    memcpy(freed_secrets[freed_n++], bytes, FREED_SECRET);
}

/* Bytes of a number, as they are written and as OpenSSL keeps them. */
static void freed_secret(const unsigned char *bytes)
{
    unsigned char turned[FREED_SECRET];

    for (size_t i = 0; i < FREED_SECRET; i++) {
        turned[i] = bytes[FREED_SECRET - 1 - i];
    }
    freed_add(bytes);
    freed_add(turned);
}

static void freed_assert_none(void)
{
    int found = freed->found;

    freed->found = 0;
    if (found > 0) {
        fail_msg("%d blocks freed with a secret in them; the last: %s", found,
                 freed->where);
    }
}

/* Bytes in use; the same before and after, where nothing is kept. */
static size_t freed_in_use(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

#endif
