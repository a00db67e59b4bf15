/*
 * Makes calls fail, while a server or an agent runs: preloaded, it obeys the
 * numbers in the file ECERT_FAULTY, which the test changes at any time.
 *
 * Allocations fail in the server's callback for the certificate alone, where
 * it is ours that counts: the nth of each call.
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <unistd.h>

#include <openssl/ssl.h>

/* Ecert::Torture::Faulty has the same order. */
typedef struct {
    volatile uint32_t inotify; /* errno of inotify_add_watch */
    volatile uint32_t fork;    /* errno of fork */
    volatile uint32_t poison;  /* 1: who opens "poison" dies of it */
    volatile uint32_t nth;     /* this allocation of a callback fails */
    volatile uint32_t failed;  /* so many did */
    volatile uint32_t most;    /* allocations in one callback, the most */
} control_t;

static control_t nothing;
static control_t *control = &nothing;

static __thread uint32_t inside __attribute__((tls_model("initial-exec")));

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("ECERT_FAULTY");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *map;

    if (fd < 0) {
        return;
    }
    map = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
               0);
    if (map != MAP_FAILED) {
        control = map;
    }
    close(fd);
}

static void *next_of(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name), *library;

    if (found == NULL) { /* httpd loads it for mod_ssl alone */
        library = dlopen("libssl.so.3", RTLD_LAZY | RTLD_NOLOAD);
        found = library ? dlsym(library, name) : NULL;
    }
    return found;
}

int inotify_add_watch(int fd, const char *path, uint32_t mask)
{
    int (*real)(int, const char *, uint32_t) = next_of("inotify_add_watch");

    if (control->inotify) {
        errno = (int)control->inotify;
        return -1;
    }
    return real(fd, path, mask);
}

pid_t fork(void)
{
    pid_t (*real)(void) = next_of("fork");

    if (control->fork) {
        errno = (int)control->fork;
        return -1;
    }
    return real();
}

int openat(int dir, const char *path, int flags, ...)
{
    int (*real)(int, const char *, int, ...) = next_of("openat");
    va_list args;
    mode_t mode;

    if (control->poison && strstr(path, "poison") != NULL) {
        abort();
    }
    va_start(args, flags);
    mode = va_arg(args, mode_t);
    va_end(args);
    return real(dir, path, flags, mode);
}

/* ---- allocations in the callback ---------------------------------------- */

static int fails(void)
{
    if (inside == 0) {
        return 0;
    }
    if (inside > control->most) {
        control->most = inside;
    }
    if (inside++ != control->nth) {
        return 0;
    }
    __atomic_fetch_add(&control->failed, 1, __ATOMIC_RELAXED);
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    return fails() ? NULL : __libc_realloc(old, size);
}

typedef struct {
    int (*call)(SSL *ssl, void *arg);
    void *arg;
} callback_t;

static int guarded(SSL *ssl, void *arg)
{
    callback_t *callback = arg;
    int rc;

    inside = 1;
    rc = callback->call(ssl, callback->arg);
    inside = 0;
    return rc;
}

void SSL_CTX_set_cert_cb(SSL_CTX *ctx, int (*cb)(SSL *ssl, void *arg),
                         void *arg)
{
    void (*real)(SSL_CTX *, int (*)(SSL *, void *), void *) =
        next_of("SSL_CTX_set_cert_cb");
    callback_t *callback = calloc(1, sizeof(*callback));

    if (callback == NULL) {
        abort();
    }
    callback->call = cb;
    callback->arg = arg;
    real(ctx, guarded, callback);
}
