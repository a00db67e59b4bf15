/*
 * Validation files as the command puts them (the CA's guide, C.4.A; BR
 * 3.2.2.4.18): STORE/dcv/HOST/FILE, and beside it .FILE.json, which tells whose
 * order it belongs to.  host is an A-label in the form of ecert_name_ascii,
 * file a name that ecert_dcv_file accepts.
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
    ECERT_TOKEN_FOREIGN   /* another order's, or put by hand: the last of these
                             is kept as .FILE.saved */
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
 * Puts the file for one host of a site (0644); the body is written as it is.
 * *was tells what was there; an empty file is nothing.  The store has to be
 * there (ecert_store_prepare).  Under the lock.  Errors of ecert_file_read (of
 * what is there already: TOO_LARGE, NOT_FILE, UNSAFE) and ecert_file_write.
 */
int ecert_token_put(const char *store, const char *host, const char *file,
                    const unsigned char *body, size_t len,
                    const ecert_token_owner_t *owner, int64_t now,
                    ecert_token_was_t *was, ecert_err_t *err);

/* .FILE.json, or an empty object where there is none or it is broken; a new
 * reference.  NULL when the system refused to read it. */
json_t *ecert_token_origin(const char *store, const char *host,
                           const char *file, ecert_err_t *err);

/* Removes it and .FILE.json; what was saved stays.  1: removed, 0: it was not
 * there.  Errors of the walk to it, SYSTEM.  Under the lock. */
int ecert_token_remove(const char *store, const char *host, const char *file,
                       ecert_err_t *err);

#endif
