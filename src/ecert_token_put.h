/*
 * Validation files as the command puts them: STORE/dcv/HOST/FILE, and beside it
 * .FILE.json, which tells whose order it belongs to.
 */

#ifndef ECERT_TOKEN_PUT_H
#define ECERT_TOKEN_PUT_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "ecert_err.h"

typedef enum {
    ECERT_TOKEN_NEW,      /* nothing of this name was there */
    ECERT_TOKEN_SAME,     /* the same bytes: their 30 days begin anew */
    ECERT_TOKEN_REPLACED, /* an older one of this site's order */
    ECERT_TOKEN_FOREIGN   /* another order's, kept as .FILE.saved */
} ecert_token_was_t;

/* Whose a file is.  Two requests of one site that wait are two orders, perhaps
 * with two CAs. */
typedef struct {
    const char *site;
    uint64_t request;        /* 0: of none */
    const uint64_t *waiting; /* all requests of the site */
    size_t n_waiting;
} ecert_token_owner_t;

/*
 * Puts the file for one host (A-label) of a site.  *was tells what was there.
 * Under the lock.
 */
int ecert_token_put(const char *store, const char *host, const char *file,
                    const unsigned char *body, size_t len,
                    const ecert_token_owner_t *owner, int64_t now,
                    ecert_token_was_t *was, ecert_err_t *err);

/* .FILE.json, or an empty object; a new reference. */
json_t *ecert_token_origin(const char *store, const char *host,
                           const char *file);

/* 1: removed, 0: it was not there.  Under the lock. */
int ecert_token_remove(const char *store, const char *host, const char *file,
                       ecert_err_t *err);

#endif
