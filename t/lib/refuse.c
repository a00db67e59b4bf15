/*
 * Loaded before libc into the command (LD_PRELOAD): counts its allocations and
 * what it asks the system for, and refuses one of them.  Ecert::Refuse speaks
 * to it by the environment:
 *
 *   REFUSE_LIST=FILE       a record for each way to them into this file
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

#define RECORDS 16384 /* places of a hash table */
#define FRAMES  48
#define OWN     8
#define CACHED  4096
#define GLANCE  512 /* words of the stack */

/* As Ecert::Refuse unpacks it. */
typedef struct {
    char name[16];
    uint32_t first, last; /* their numbers; 0: the record is not used */
    uint64_t way; /* of the return addresses that are in the executable */
    uint32_t at[OWN]; /* the innermost of them */
    uint32_t child;
    uint32_t unused;
} record_t;

static record_t *list;

static struct {
    uint64_t key;
    record_t *record;
} cache[CACHED];

static uint32_t count, wanted;
static int begun, in_child, wants_child, error, inside;
static uintptr_t text, text_end;
static const uintptr_t *stack_end; /* somewhere in main's callers */

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
    if (fd < 0 || ftruncate(fd, RECORDS * sizeof(*list)) != 0) {
        abort();
    }
    list = mmap(NULL, RECORDS * sizeof(*list), PROT_READ | PROT_WRITE,
                MAP_SHARED, fd, 0);
    if (list == MAP_FAILED) {
        abort();
    }
    close(fd);
}

/* The record of this way, or a fresh one. */
static record_t *find(const char *name, uint64_t way)
{
    for (uint32_t i = 0; i < RECORDS; i++) {
        record_t *r = &list[(way + i) % RECORDS];

        if (r->first == 0
            || (r->way == way && r->child == (uint32_t)in_child
                && strncmp(r->name, name, sizeof(r->name) - 1) == 0)) {
            return r;
        }
    }
    abort();
}

static record_t *add(const char *name)
{
    uint64_t way = 14695981039346656037u;
    uint32_t at[OWN] = {0};
    void *frames[FRAMES];
    int n = backtrace(frames, FRAMES), own = 0;
    record_t *r;

    for (int i = 0; i < n; i++) {
        uintptr_t p = (uintptr_t)frames[i];

        if (p < text || p >= text_end) {
            continue;
        }
        way = (way ^ (p - text)) * 1099511628211u;
        if (own < OWN) {
            at[own++] = (uint32_t)(p - text);
        }
    }
    r = find(name, way);
    r->last = count;
    if (r->first == 0) {
        r->first = count;
        r->way = way;
        r->child = (uint32_t)in_child;
        strncpy(r->name, name, sizeof(r->name) - 1);
        memcpy(r->at, at, sizeof(at));
    }
    return r;
}

/*
 * What tells one way from another without unwinding: the stack's depth, and
 * what above it looks like a return address into the executable.
 */
static uint64_t glance(void)
{
    const uintptr_t *sp = __builtin_frame_address(0);
    uint64_t key = (uintptr_t)sp * 31 + (uint64_t)in_child;

    for (int i = 0; i < GLANCE && sp + i < stack_end; i++) {
        if (sp[i] >= text && sp[i] < text_end) {
            key = (key ^ sp[i]) * 1099511628211u;
        }
    }
    return key | 1;
}

static void note(const char *name)
{
    uint64_t key = glance() ^ (uintptr_t)name << 32;
    unsigned at_cache = (unsigned)(key >> 40) % CACHED;
    record_t *known = cache[at_cache].record;

    if (known != NULL && cache[at_cache].key == key) {
        known->last = count;
        return;
    }
    cache[at_cache].record = add(name);
    cache[at_cache].key = key;
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
    stack_end = (const uintptr_t *)__builtin_frame_address(0) + 16;
    return next(mask);
}
