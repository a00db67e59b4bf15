#include "ecert_close.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define LAST_CLOSED 65535

void ecert_close_each(int from, int to)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    int fd;

    if (to < 0) {
        to = dir != NULL ? INT_MAX : LAST_CLOSED;
    }
    if (dir == NULL) {
        for (fd = from; fd <= to; fd++) {
            close(fd);
        }
        return;
    }
    while ((entry = readdir(dir)) != NULL) {
        fd = atoi(entry->d_name);
        if (fd >= from && fd <= to && fd != dirfd(dir)) {
            close(fd);
        }
    }
    closedir(dir);
}

void ecert_close(int from, int to)
{
    if (close_range((unsigned)from, to < 0 ? ~0U : (unsigned)to, 0) != 0) {
        ecert_close_each(from, to);
    }
}
