#include "memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/crypto.h>

#include "cli.h"
#include "ecert_jail.h"

static int is_child;

static void in_child(void)
{
    is_child = 1;
}

static void *given(void *memory)
{
    ecert_err_t err;

    if (memory != NULL) {
        return memory;
    }
    if (is_child) {
        _exit(ECERT_JAIL_NO_MEMORY);
    }
    ecert_err(&err, ECERT_ERR_MEMORY, NULL, NULL);
    ecert_err_hint(&err, "give the system more memory, and call it again");
    _exit(ecert_cli_fail(NULL, &err));
}

static void *get(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return size ? given(malloc(size)) : NULL;
}

static void *resize(void *old, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return given(realloc(old, size));
}

static void release(void *memory, const char *file, int line)
{
    (void)file;
    (void)line;
    free(memory);
}

static void *get_json(size_t size)
{
    return given(malloc(size));
}

void ecert_cli_memory(void)
{
    pthread_atfork(NULL, NULL, in_child);
    CRYPTO_set_mem_functions(get, resize, release);
    json_set_alloc_funcs(get_json, free);
}
