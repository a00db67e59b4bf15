/*
 * One download by HTTP, by libcurl, under rules (docs/security.md): for an
 * unprivileged process that holds no key.  Nothing of the environment is
 * followed: no proxy, netrc, cookies, configuration file.
 */

#ifndef ECERT_FETCH_H
#define ECERT_FETCH_H

#include <stddef.h>

#include "ecert_addr.h"
#include "ecert_err.h"

typedef struct {
    const char *url;           /* http or https */
    const unsigned char *post; /* NULL: GET */
    size_t post_len;
    const char *post_type; /* Content-Type */
    size_t max;            /* bytes of the body */
    unsigned seconds;      /* for all of it; 10 of them for the connection */
    const ecert_network_t *allowed;
    size_t n_allowed;
    /* NULL, or told of each piece of the body; total 0: not announced */
    void (*progress)(void *ctx, size_t got, size_t total);
    void *ctx;
} ecert_fetch_t;

typedef struct {
    long status;          /* 200; of a failure what was answered, 0: nothing */
    unsigned char *bytes; /* free() */
    size_t len;
} ecert_fetch_got_t;

/*
 * 0 with a body and status 200; FETCH otherwise, naming the URL and the reason
 * in words: not http(s), an address that is not allowed (which), a port, the
 * status, too many bytes (the bound), time, more than two redirects, what
 * libcurl says.  Redirects go only to URLs and addresses under the same rules;
 * one from https to http is refused.  A body shorter than announced is a
 * failure; content and transfer codings other than chunked are not decoded.
 */
int ecert_fetch(const ecert_fetch_t *what, ecert_fetch_got_t *out,
                ecert_err_t *err);

#endif
