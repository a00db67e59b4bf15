/* What goes to the fetcher; for ecert_fetcher*.c and ecert_errand.c alone. */

#ifndef ECERT_FETCHER_WORK_H
#define ECERT_FETCHER_WORK_H

#include <stdint.h>

#include <sys/types.h>

#include "ecert_addr.h"
#include "ecert_fetcher.h"
#include "ecert_target.h"

/* One message; between two processes of one executable. */
typedef struct {
    uint32_t kind;
    uint32_t progress; /* 1: told while it comes, see below */
    uint32_t target;   /* of a look */
    uint32_t get;      /* as in ecert_errand_ask_t */
    uint32_t post_len;
    char url[ECERT_ERRAND_URL_MAX];
    unsigned char post[ECERT_ERRAND_POST_MAX];
} ecert_errand_wire_t;

/*
 * Before the frames of the answer, as often as there is something new: the
 * kind, and this.
 */
#define ECERT_ERRAND_PROGRESS 254
#define ECERT_PROGRESS_MS     100 /* from one to the next, at least */

typedef struct {
    uint64_t got, total; /* bytes; total 0: not known */
} ecert_errand_progress_t;

typedef struct {
    ecert_network_t *allowed;
    size_t n_allowed;
    ecert_targets_t targets;
} ecert_fetcher_t;

/* The fetcher's life: takes errands from this socket until nobody holds its
 * other end.  Code 0 then, 1 when rights could not be given up. */
_Noreturn void ecert_fetcher_serve(const ecert_fetcher_t *fetcher, int socket,
                                   pid_t parent);

/*
 * The keeper's life: a fetcher on this socket, and another one when it was
 * killed.  It never reads from the socket.
 */
_Noreturn void ecert_fetcher_keep(const ecert_fetcher_t *fetcher, int socket);

#endif
