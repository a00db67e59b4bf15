/*
 * mapped FROM TO: writes the content of one file into another of the same or a
 * larger size through a mapping, of which inotify tells only when it is gone;
 * empty lines follow.
 */

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int from = argc == 3 ? open(argv[1], O_RDONLY) : -1;
    int to = argc == 3 ? open(argv[2], O_RDWR) : -1;
    struct stat st;
    ssize_t n;
    char *map;

    if (from < 0 || to < 0 || fstat(to, &st) != 0) {
        return 1;
    }
    map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, to,
               0);
    if (map == MAP_FAILED) {
        return 1;
    }
    n = read(from, map, (size_t)st.st_size);
    if (n < 0) {
        return 1;
    }
    memset(map + n, '\n', (size_t)(st.st_size - n));
    return msync(map, (size_t)st.st_size, MS_SYNC) == 0 ? 0 : 1;
}
