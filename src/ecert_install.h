/*
 * A certificate with its key becomes a generation, and the current one: checked
 * by what the agent will check (ecert_load.h), then put in place so that a kill
 * at any moment leaves the old state or the new one.
 */

#ifndef ECERT_INSTALL_H
#define ECERT_INSTALL_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "ecert_err.h"

typedef struct {
    const char *store;
    const char *site_dir;
    const char *ascii;
    X509 *leaf;
    EVP_PKEY *key;
    const STACK_OF(X509) *others; /* that came with it; may be NULL */
    char *const *names;           /* to be covered, the site's own first */
    size_t n_names;
    const json_t *site; /* more members for site.json, or NULL */
    int exportable;
    uint64_t wanted;  /* number to take if it is the highest; 0: the next */
    int keep_current; /* only where there is no current one yet */
    int64_t now;
} ecert_install_t;

typedef struct {
    uint64_t number;
    int current;       /* it is the current one now */
    int same;          /* it was there already */
    int waiting;       /* its time has not come yet */
    char missing[256]; /* what its chain lacks, or "" */
    int64_t not_before, not_after;
} ecert_installed_t;

/*
 * Under the store's lock.  Errors are those of ecert_load: NAMES (all names
 * that are missing), EXPIRED, PURPOSE, SIGNATURE, MISMATCH, KEY_TYPE; then
 * nothing was changed.
 */
int ecert_install(const ecert_install_t *in, ecert_installed_t *out,
                  ecert_err_t *err);

/*
 * Finishes what a killed command left in this site: removes what was being
 * made, ends a swap that was begun, and removes requests that became the
 * current generation.  Under the lock.
 */
int ecert_install_tidy(const char *site_dir, const char *ascii,
                       ecert_err_t *err);

#endif
