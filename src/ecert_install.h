/*
 * A certificate with its key becomes a generation, and the current one (the
 * CA's guide, E): checked by what the agent will check (ecert_load.h), then put
 * in place so that a kill at any moment leaves the old state or the new one.
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
    const char *file; /* that it came in, for messages; NULL: unknown */
    X509 *leaf;
    EVP_PKEY *key;
    const STACK_OF(X509) *others; /* that came with it; may be NULL */
    char *const *names;           /* to be covered, the site's own first */
    size_t n_names;
    const json_t *site; /* more members for site.json, or NULL */
    int exportable;
    uint64_t wanted;  /* number of the request that it answers, to be taken if
                         it is the highest; 0: none, the next */
    int mend_chain;   /* a new generation also for a leaf that is there, if its
                         chain is complete with these others */
    int keep_current; /* only where there is no current one yet */
    int keep_expired; /* put an expired or invalid one beside the current one,
                         for its key; else it is refused */
    int security_level; /* of its servers; 0: not known, OpenSSL's default */
    int64_t now;
} ecert_install_t;

typedef struct {
    uint64_t number;
    int current;        /* it is the current one now */
    int same;           /* it was there already, with its key */
    int waiting;        /* its time has not come yet */
    int expired;        /* it was put aside, */
    int invalid;        /* for this reason, as well */
    ecert_err_t staple; /* STAPLE: it demands one that is not here; ECERT_OK */
    char missing[256];  /* what its chain lacks, or ""; "" while waiting */
    int64_t not_before, not_after;
} ecert_installed_t;

/*
 * Under the store's lock; what in points to stays the caller's, names has one
 * element at least.  A certificate whose time has not come is installed, and
 * waits.  Errors: NAMES (all names that are missing, as many as fit), EXPIRED,
 * STAPLE, when it demands one that it can never have, and what it would replace
 * is good; and those of ecert_load: INVALID, PURPOSE, SIGNATURE, MISMATCH,
 * KEY_TYPE;
 * SITE, when site.json is broken; EXISTS and others of ecert_stage.h.  After
 * all of these the site is as it was.  When `current` is a folder, SYSTEM: then
 * there is the new generation, but it is not the current one.
 */
int ecert_install(const ecert_install_t *in, ecert_installed_t *out,
                  ecert_err_t *err);

/*
 * Finishes what a killed command left in this site: removes what was being
 * made, ends a swap that was begun (ecert_swap.h), and removes the request that
 * became the current generation (same number in generation.json, same key),
 * once its names are in site.json.  Under the lock.  -1 when a swap could not
 * be ended.
 */
int ecert_install_tidy(const char *site_dir, const char *ascii,
                       ecert_err_t *err);

#endif
