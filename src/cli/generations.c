#include "generations.h"

#include <stdarg.h>
#include <stdio.h>

#define SHOWN 12 /* a site of many years has more than a line can hold */

/* "2, 3 (current)": the newest ones. */
static void numbers_of(const ecert_generation_t *list, size_t n, char *out,
                       size_t size)
{
    size_t used = 0, first = n > SHOWN ? n - SHOWN : 0;

    if (first > 0) {
        used = (size_t)snprintf(out, size, "...");
    }
    for (size_t i = first; i < n && used < size; i++) {
        used += (size_t)snprintf(out + used, size - used, "%s%llu%s",
                                 used ? ", " : "",
                                 (unsigned long long)list[i].number,
                                 list[i].current ? " (current)" : "");
    }
}

int ecert_cli_no_generation(const ecert_generation_t *list, size_t n,
                            const char *file, ecert_err_t *err, const char *fmt,
                            ...)
{
    char asked[64], there[200];
    va_list args;

    /* a `current` that is a folder of its own has no number, and is the last */
    if (n > 0 && list[n - 1].number == 0) {
        n--;
    }
    if (n == 0) {
        return ecert_err(err, ECERT_ERR_NO_CERTIFICATE, file, NULL);
    }
    va_start(args, fmt);
    vsnprintf(asked, sizeof(asked), fmt, args);
    va_end(args);
    numbers_of(list, n, there, sizeof(there));
    ecert_err(err, ECERT_ERR_NO_GENERATION, file, "%s", asked);
    return ecert_err_hint(err, "there are: %s", there);
}
