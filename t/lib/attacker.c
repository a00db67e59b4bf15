/*
 * What a hijacked worker would try.  Preloaded into a server, it runs in each
 * worker, with the worker's user and memory, right after the worker has made
 * itself undumpable: the last thing that it does before it serves.  Each line
 * of ECERT_TEST_ATTACK.PID is an attempt, and "done" or the reason why not.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE   4096
#define VISITS 131072 /* bytes that a worker has for visits */

static char report[PATH_MAX]; /* nginx empties the environment */

__attribute__((constructor)) static void remember(void)
{
    const char *path = getenv("ECERT_TEST_ATTACK");

    snprintf(report, sizeof(report), "%s", path ? path : "");
}

static void tell(FILE *out, const char *what, int done)
{
    fprintf(out, "%s: %s\n", what, done ? "done" : strerror(errno));
}

/* A mapping of our memory, as in /proc/PID/maps: "7f00-7f01". */
static char *find_map(const char *name, char *range)
{
    char line[1024], *found = NULL;
    FILE *maps = fopen("/proc/self/maps", "r");

    while (maps != NULL && found == NULL
           && fgets(line, sizeof(line), maps) != NULL) {
        if (strstr(line, name) != NULL && sscanf(line, "%64s", range) == 1) {
            found = (char *)strtoul(range, NULL, 16);
        }
    }
    if (maps != NULL) {
        fclose(maps);
    }
    return found;
}

static int open_map(const char *range)
{
    char path[128];

    snprintf(path, sizeof(path), "/proc/self/map_files/%s", range);
    return open(path, O_RDWR);
}

static int write_memory(char *map)
{
    int fd = open("/proc/self/mem", O_RDWR);

    return fd >= 0 && pwrite(fd, "x", 1, (off_t)(size_t)map) == 1;
}

static int write_process(char *map)
{
    struct iovec from = {(char[]){'x'}, 1}, to = {map, 1};

    return process_vm_writev(getpid(), &from, 1, &to, 1, 0) == 1;
}

/* Any descriptor of this process or its parent that leads to our memory. */
static int reopen_memory(const char *dir_path)
{
    char path[PATH_MAX], target[PATH_MAX];
    DIR *dir = opendir(dir_path);
    struct dirent *entry;
    ssize_t n;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", dir_path, entry->d_name);
        n = readlink(path, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        if (strstr(target, "memfd:ecert-") != NULL
            && (open(path, O_RDWR) >= 0 || truncate(path, 0) == 0)) {
            return 1;
        }
    }
    errno = dir != NULL ? ENOENT : errno;
    return 0;
}

static void fill(char *page, size_t size, unsigned *seed)
{
    for (size_t i = 0; i < size; i += 4) {
        int value = rand_r(seed);

        memcpy(page + i, &value, 4);
    }
}

/*
 * Its own page of visits is its own: a child fills it with garbage for two
 * seconds, while the worker serves and the agent reads.
 */
static int spoil_visits(const char *range, char *page)
{
    size_t size = (size_t)(strtoul(strchr(range, '-') + 1, NULL, 16)
                           - (unsigned long)page);
    unsigned seed = (unsigned)getpid();

    fill(page, size, &seed);
    if (fork() == 0) {
        for (int i = 0; i < 200; i++) {
            fill(page, size, &seed);
            /* the next one, in both rings */
            *(long *)(void *)page = rand_r(&seed) % 10000;
            *(long *)(void *)(page + size / 2) = rand_r(&seed) % 10000;
            usleep(10000);
        }
        _exit(0);
    }
    return 1;
}

/* More than one page is mapped: 1. */
static int reach_visits(const char *range, const char *page)
{
    errno = EFAULT;
    return strtoul(strchr(range, '-') + 1, NULL, 16) - (unsigned long)page
           > VISITS;
}

static void attack_visits(FILE *out)
{
    char range[65], *page = find_map("/memfd:ecert-visits", range);

    if (page != NULL) {
        tell(out, "spoil its own visits", spoil_visits(range, page));
        tell(out, "reach another worker's visits", reach_visits(range, page));
    }
}

static void attack(FILE *out)
{
    char range[65], parent[64];
    char *map = find_map("/memfd:ecert-snapshot", range);

    if (map == NULL) {
        fprintf(out, "no snapshot\n");
        return;
    }
    snprintf(parent, sizeof(parent), "/proc/%ld/fd", (long)getppid());
    tell(out, "mprotect for reading", mprotect(map, PAGE, PROT_READ) == 0);
    tell(out, "mprotect for writing",
         mprotect(map, PAGE, PROT_READ | PROT_WRITE) == 0);
    tell(out, "punch a hole", madvise(map, PAGE, MADV_REMOVE) == 0);
    tell(out, "open the mapping", open_map(range) >= 0);
    tell(out, "write through /proc/self/mem", write_memory(map));
    tell(out, "write by process_vm_writev", write_process(map));
    tell(out, "reopen a descriptor of its own", reopen_memory("/proc/self/fd"));
    tell(out, "reopen one of the parent's", reopen_memory(parent));
    attack_visits(out);
}

int prctl(int option, ...)
{
    unsigned long arg[4];
    char path[PATH_MAX + 32];
    va_list args;
    long rc;
    FILE *out;
    int i;

    va_start(args, option);
    for (i = 0; i < 4; i++) {
        arg[i] = va_arg(args, unsigned long);
    }
    va_end(args);
    rc = syscall(SYS_prctl, option, arg[0], arg[1], arg[2], arg[3]);
    if (option != PR_SET_DUMPABLE || arg[0] != 0 || report[0] == '\0') {
        return (int)rc;
    }
    /* it would undo this first */
    syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
    snprintf(path, sizeof(path), "%s.%ld", report, (long)getpid());
    out = fopen(path, "w");
    if (out != NULL) {
        attack(out);
        fprintf(out, "end\n");
        fclose(out);
    }
    return (int)syscall(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
}
