/* What goes to the fetcher; for ecert_fetcher.c and ecert_errand.c alone. */

#ifndef ECERT_FETCHER_WORK_H
#define ECERT_FETCHER_WORK_H

#include <stdint.h>

#include "ecert_fetcher.h"

/* One message; between two processes of one executable. */
typedef struct {
    uint32_t kind;
    uint32_t target;
    uint32_t post_len;
    char url[ECERT_ERRAND_URL_MAX];
    unsigned char post[ECERT_ERRAND_POST_MAX];
} ecert_errand_wire_t;

#endif
