/*
 * Loaded before libc into the command (LD_PRELOAD): counts its allocations and
 * what it asks the system for, and refuses one of them.  Ecert::Refuse speaks
 * to it by the environment:
 *
 *   REFUSE_LIST=FILE       each of them as a record into this file
 *   REFUSE=N ERRNO [child] the Nth of the process, or of a child, fails
 *
 * They are counted from main on, and in each child from 1 again.  Neither lists
 * nor refuses what a library does before.
 */

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define RECORDS 400000
#define FRAMES  48
#define OWN     8

/* As Ecert::Refuse unpacks it. */
typedef struct {
    char name[16];
    uint32_t n;
    uint32_t child;
    uint64_t stack;    /* of the executable's own part of the stack */
    uint32_t own[OWN]; /* its innermost return addresses */
} record_t;

static struct {
    uint32_t n;
    record_t record[RECORDS];
} *list;

static uint32_t count, wanted;
static int begun, in_child, wants_child, error, inside;
static uintptr_t text, text_end;

/* The executable is the first object. */
static int find_text(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    (void)data;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];

        if (p->p_type == PT_LOAD && (p->p_flags & PF_X)) {
            text = info->dlpi_addr + p->p_vaddr;
            text_end = text + p->p_memsz;
        }
    }
    return 1;
}

__attribute__((constructor)) static void prepare(void)
{
    const char *file = getenv("REFUSE_LIST"), *point = getenv("REFUSE");
    char child[8] = "";
    void *frames[4];
    int fd;

    dl_iterate_phdr(find_text, NULL);
    backtrace(frames, 4); /* loads what it needs */
    if (point != NULL) {
        sscanf(point, "%u %d %7s", &wanted, &error, child);
        wants_child = child[0] != '\0';
    }
    if (file == NULL) {
        return;
    }
    fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(*list)) != 0) {
        abort();
    }
    list =
        mmap(NULL, sizeof(*list), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (list == MAP_FAILED) {
        abort();
    }
    close(fd);
}

static void note(const char *name)
{
    uint32_t at = __atomic_fetch_add(&list->n, 1, __ATOMIC_RELAXED);
    uint64_t hash = 14695981039346656037u;
    void *frames[FRAMES];
    record_t *r = &list->record[at];
    int n, own = 0;

    if (at >= RECORDS) {
        abort();
    }
    n = backtrace(frames, FRAMES);
    strncpy(r->name, name, sizeof(r->name) - 1);
    r->n = count;
    r->child = (uint32_t)in_child;
    for (int i = 0; i < n; i++) {
        uintptr_t p = (uintptr_t)frames[i];

        if (p < text || p >= text_end) {
            continue;
        }
        hash = (hash ^ (p - text)) * 1099511628211u;
        if (own < OWN) {
            r->own[own++] = (uint32_t)(p - text);
        }
    }
    r->stack = hash;
}

/* 1: this one is to fail. */
static int refuse(const char *name)
{
    if (!begun || inside) {
        return 0;
    }
    count++;
    if (list != NULL) {
        inside = 1;
        note(name);
        inside = 0;
        return 0;
    }
    if (count != wanted || in_child != wants_child) {
        return 0;
    }
    errno = error;
    return 1;
}

#define NEXT(type, name, ...)                                                  \
    static type (*next)(__VA_ARGS__);                                          \
    if (next == NULL) {                                                        \
        inside++;                                                              \
        next = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name);                   \
        inside--;                                                              \
    }

/* A function that fails with this value. */
#define WRAP(type, failed, name, params, ...)                                  \
    type name params                                                           \
    {                                                                          \
        static type(*next) params;                                             \
        if (next == NULL) {                                                    \
            inside++;                                                          \
            next = (type(*) params)dlsym(RTLD_NEXT, #name);                    \
            inside--;                                                          \
        }                                                                      \
        return refuse(#name) ? failed : next(__VA_ARGS__);                     \
    }

/* ---- memory ------------------------------------------------------------ */

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

void *malloc(size_t size)
{
    return refuse("malloc") ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return refuse("calloc") ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    return refuse("realloc") ? NULL : __libc_realloc(old, size);
}

/* ---- files ------------------------------------------------------------- */

static mode_t mode_of(int flags, va_list args)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    NEXT(int, "open", const char *, int, ...)
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = mode_of(flags, args);
    va_end(args);
    return refuse("open") ? -1 : next(path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
    NEXT(int, "openat", int, const char *, int, ...)
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = mode_of(flags, args);
    va_end(args);
    return refuse("openat") ? -1 : next(dir, path, flags, mode);
}

WRAP(FILE *, NULL, fopen, (const char *path, const char *mode), path, mode)
WRAP(FILE *, NULL, fdopen, (int fd, const char *mode), fd, mode)
WRAP(DIR *, NULL, opendir, (const char *path), path)
WRAP(DIR *, NULL, fdopendir, (int fd), fd)
WRAP(struct dirent *, NULL, readdir, (DIR * dir), dir)
WRAP(ssize_t, -1, read, (int fd, void *to, size_t n), fd, to, n)
WRAP(ssize_t, -1, pread, (int fd, void *to, size_t n, off_t at), fd, to, n, at)
WRAP(ssize_t, -1, __pread_chk,
     (int fd, void *to, size_t n, off_t at, size_t size), fd, to, n, at, size)
WRAP(ssize_t, -1, write, (int fd, const void *p, size_t n), fd, p, n)
WRAP(ssize_t, -1, pwrite, (int fd, const void *p, size_t n, off_t at), fd, p,
     n, at)
WRAP(int, -1, stat, (const char *path, struct stat *st), path, st)
WRAP(int, -1, lstat, (const char *path, struct stat *st), path, st)
WRAP(int, -1, fstat, (int fd, struct stat *st), fd, st)
WRAP(int, -1, fstatat, (int dir, const char *path, struct stat *st, int flags),
     dir, path, st, flags)
WRAP(ssize_t, -1, readlink, (const char *path, char *to, size_t n), path, to,
     n)
WRAP(ssize_t, -1, readlinkat, (int dir, const char *path, char *to, size_t n),
     dir, path, to, n)
WRAP(off_t, -1, lseek, (int fd, off_t at, int from), fd, at, from)
WRAP(int, -1, access, (const char *path, int mode), path, mode)
WRAP(char *, NULL, getcwd, (char *to, size_t n), to, n)
WRAP(int, -1, dup2, (int from, int to), from, to)
WRAP(int, -1, flock, (int fd, int what), fd, what)
WRAP(int, -1, fsync, (int fd), fd)
WRAP(int, -1, ftruncate, (int fd, off_t size), fd, size)
WRAP(int, -1, fchmod, (int fd, mode_t mode), fd, mode)
WRAP(int, -1, mkdir, (const char *path, mode_t mode), path, mode)
WRAP(int, -1, mkdirat, (int dir, const char *path, mode_t mode), dir, path,
     mode)
WRAP(int, -1, rmdir, (const char *path), path)
WRAP(int, -1, unlink, (const char *path), path)
WRAP(int, -1, unlinkat, (int dir, const char *path, int flags), dir, path,
     flags)
WRAP(int, -1, linkat,
     (int dir, const char *from, int to_dir, const char *to, int flags), dir,
     from, to_dir, to, flags)
WRAP(int, -1, symlinkat, (const char *target, int dir, const char *path),
     target, dir, path)
WRAP(int, -1, renameat, (int dir, const char *from, int to_dir, const char *to),
     dir, from, to_dir, to)
WRAP(int, -1, renameat2,
     (int dir, const char *from, int to_dir, const char *to, unsigned flags),
     dir, from, to_dir, to, flags)

/* ---- the rest of the system -------------------------------------------- */

WRAP(void *, MAP_FAILED, mmap,
     (void *at, size_t n, int prot, int flags, int fd, off_t from), at, n, prot,
     flags, fd, from)
WRAP(int, -1, memfd_create, (const char *name, unsigned flags), name, flags)
WRAP(int, -1, pipe2, (int fds[2], int flags), fds, flags)
WRAP(int, -1, socket, (int domain, int type, int protocol), domain, type,
     protocol)
WRAP(int, -1, socketpair, (int domain, int type, int protocol, int fds[2]),
     domain, type, protocol, fds)
WRAP(int, -1, connect, (int fd, const struct sockaddr *to, socklen_t n), fd, to,
     n)
WRAP(ssize_t, -1, sendmsg, (int fd, const struct msghdr *m, int flags), fd, m,
     flags)
WRAP(ssize_t, -1, recvmsg, (int fd, struct msghdr *m, int flags), fd, m, flags)
WRAP(int, -1, poll, (struct pollfd * fds, nfds_t n, int ms), fds, n, ms)
WRAP(pid_t, -1, waitpid, (pid_t pid, int *status, int flags), pid, status,
     flags)
WRAP(ssize_t, -1, getrandom, (void *to, size_t n, unsigned flags), to, n, flags)
WRAP(struct passwd *, NULL, getpwuid, (uid_t uid), uid)

pid_t fork(void)
{
    NEXT(pid_t, "fork", void)
    pid_t pid;

    if (refuse("fork")) {
        return -1;
    }
    pid = next();
    if (pid == 0) {
        in_child = 1;
        count = 0;
    }
    return pid;
}

/* The first thing that main does. */
mode_t umask(mode_t mask)
{
    NEXT(mode_t, "umask", mode_t)

    begun = 1;
    return next(mask);
}
