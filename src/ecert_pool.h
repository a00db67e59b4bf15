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

/* All of it, by file; what was set aside last.  *list: ecert_pool_free. */
int ecert_pool_list(const char *store, const ecert_ca_t *ca,
                    ecert_pooled_t **list, size_t *n, ecert_err_t *err);
void ecert_pool_free(ecert_pooled_t *list, size_t n);

/*
 * Adds one.  1: it was there already.  DENIED (with the successor's download
 * for a hint), PURPOSE (no CA's), EXPIRED; a root is known to clients and never
 * sent: EXISTS is not said, it is added, as knowledge.  Under the lock.
 */
int ecert_pool_add(const char *store, const ecert_ca_t *ca, X509 *cert,
                   int64_t now, ecert_err_t *err);

/*
 * Moves a file of the pool to issuers/.aside, where nobody looks for issuers.
 * Under the lock.
 */
int ecert_pool_aside(const char *store, const char *file, ecert_err_t *err);

#endif
