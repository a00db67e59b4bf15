/*
 * The pool of Sub CA and cross-certificates, STORE/issuers, as the command
 * keeps it (the CA's guide, section D).
 */

#ifndef ECERT_POOL_H
#define ECERT_POOL_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/x509.h>

#include "ecert_ca.h"
#include "ecert_err.h"

/* One certificate in it; a file may hold several. */
typedef struct {
    char file[NAME_MAX + 1]; /* its name in the folder */
    X509 *cert;
    const ecert_ca_entry_t *entry; /* the catalogue's; NULL: not known there */
    int alone;                     /* nothing else is in the file */
    int aside;                     /* in issuers/.aside: not used any more */
} ecert_pooled_t;

/*
 * All of it, by file; what was set aside last.  Files without a certificate are
 * passed over.  *list: ecert_pool_free; it points into ca.  Errors of
 * ecert_file_list (TOO_MANY: more than 256 files), MEMORY; no folder: none.
 */
int ecert_pool_list(const char *store, const ecert_ca_t *ca,
                    ecert_pooled_t **list, size_t *n, ecert_err_t *err);
void ecert_pool_free(ecert_pooled_t *list, size_t n);

/*
 * Adds one, as a file of its own that is named by the catalogue's id, else by
 * the fingerprint.  1: it was there already.  A root is added, too: it is never
 * sent, but tells where a path ends.  Under the lock.
 * DENIED (with the successor's download for a hint: the guide, D, wants the old
 * Sub CA replaced), PURPOSE (no CA's), EXPIRED; EXISTS when the file's name is
 * taken by something else, which is never written over; TOO_MANY when there are
 * as many files as are read.
 */
int ecert_pool_add(const char *store, const ecert_ca_t *ca, X509 *cert,
                   int64_t now, ecert_err_t *err);

/*
 * Moves a file of the pool to issuers/.aside, where nobody looks for issuers;
 * what was set aside under this name before stays there (the new one becomes
 * FILE.1).  Under the lock.  MISSING; USAGE for what is no file's name.
 */
int ecert_pool_aside(const char *store, const char *file, ecert_err_t *err);

#endif
