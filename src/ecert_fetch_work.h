/*
 * Inside the fetcher: one exchange with one server.  Redirects are followed
 * outside of it, so that each URL passes the same rules.
 */

#ifndef ECERT_FETCH_WORK_H
#define ECERT_FETCH_WORK_H

#include <stdint.h>

#include "ecert_fetch.h"

#define ECERT_URL_MAX 2048

typedef struct {
    const ecert_fetch_t *what;
    char url[ECERT_URL_MAX + 1];
    int post;         /* what->post is sent to this URL */
    int64_t deadline; /* CLOCK_MONOTONIC, milliseconds; of all exchanges */
    size_t header;    /* bytes of headers, in all exchanges */

    long status;                      /* 0: no whole header came in */
    char location[ECERT_URL_MAX + 2]; /* one more: to be seen as too long */
    unsigned char *bytes;             /* the body, only with status 200 */
    size_t len, size;
    size_t announced; /* Content-Length; 0: none, or too much */

    char why[400]; /* after a failure, in words */
    int no_memory;
} ecert_hop_t;

/* 0 with a status, and the body when it is 200; -1: why, or no_memory. */
int ecert_hop(ecert_hop_t *hop);

#endif
