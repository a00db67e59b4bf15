#include "bar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WIDTH 24

static int shown; /* columns */

static int is_wanted(void)
{
    const char *term = getenv("TERM");

    return term != NULL && strcmp(term, "dumb") != 0 && isatty(STDERR_FILENO);
}

void ecert_bar_clear(void)
{
    if (shown > 0) {
        fprintf(stderr, "\r%*s\r", shown, "");
        fflush(stderr);
        shown = 0;
    }
}

void ecert_bar_show(const char *what, size_t done, size_t total)
{
    char bar[WIDTH + 1];
    int full;

    if (!is_wanted()) {
        return;
    }
    ecert_bar_clear();
    if (total == 0) {
        shown = fprintf(stderr, "  %zu %s", done, what);
    } else {
        full = (int)((done < total ? done : total) * WIDTH / total);
        memset(bar, '-', WIDTH);
        memset(bar, '#', (size_t)full);
        bar[WIDTH] = '\0';
        shown = fprintf(stderr, "  [%s] %zu of %zu %s", bar, done, total, what);
    }
    fflush(stderr);
}
