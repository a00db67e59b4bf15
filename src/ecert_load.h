/*
 * From configuration and files to what may be served: the one place that
 * decides.  The agent publishes it, `ecert check` prints it.
 */

#ifndef ECERT_LOAD_H
#define ECERT_LOAD_H

#include <stdint.h>

#include "ecert_ca.h"
#include "ecert_chain.h"
#include "ecert_conf.h"
#include "ecert_cred.h"
#include "ecert_err.h"
#include "ecert_file.h"

#define ECERT_WARNINGS_MAX 32

/* From worst to best: a worse state never replaces a better one. */
typedef enum {
    ECERT_STATE_PLACEHOLDER = 0,
    ECERT_STATE_EXPIRED,
    ECERT_STATE_VALID
} ecert_state_t;

const char *ecert_state_word(ecert_state_t state);

/*
 * What all sites have in common: the store, the catalogue, the roots that this
 * machine trusts, and certificate files that many sites read.
 */
typedef struct ecert_loader_s ecert_loader_t;

/* store may be NULL: then sites by name are NO_SITE.  conf strings are copied.
 */
ecert_loader_t *ecert_loader_new(const char *store, ecert_err_t *err);
void ecert_loader_free(ecert_loader_t *loader);

/* The roots that this machine trusts, unless told otherwise. */
#define ECERT_TRUST_FILE "/etc/ssl/certs/ca-certificates.crt"

/* All certificates of a PEM file; the caller's.  FORMAT when there is none. */
STACK_OF(X509) *ecert_roots_read(const char *path, ecert_err_t *err);

/* The catalogue in this file (absolute); the caller's. */
ecert_ca_t *ecert_catalogue_read(const char *path, ecert_trail_t *trail,
                                 ecert_err_t *err);

typedef struct {
    ecert_cred_t *cred; /* NULL when there is nothing to serve */
    ecert_chain_t *chain;
    ecert_state_t state;
    ecert_trail_t trail; /* what it depended on; set after a failure, too */
    uint64_t look;       /* digest of the files that are always read */
    int64_t store_generation; /* N of generations/N; -1 for files elsewhere */
    char source[512];         /* the certificate's file */
    char **uncovered;         /* vhost names that the leaf does not cover */
    size_t n_uncovered;
    char **warnings; /* whole lines, see ecert_err_line */
    size_t n_warnings;
    int fallback;        /* an older generation than `current`, see err */
    int waiting;         /* the failure may mend itself (a torn pair) */
    int torn;            /* the same of a file around it (an issuer's,
                            the catalogue), which is a warning */
    int refused;         /* the system refused to read one of those, */
    int starved;         /* for lack of memory or descriptors */
    ecert_cross_t cross; /* the policy that was followed */
    int64_t next_change; /* look again then, whatever the files do;
                            0: never */
} ecert_loaded_t;

/*
 * Looks at one site.  0: out->cred may be served.  1: it may, but err tells
 * what is wrong with something better (fallback).  -1: nothing to serve, err
 * tells why.  out is always to be freed.
 */
int ecert_load(ecert_loader_t *loader, const ecert_site_t *site, int64_t now,
               ecert_loaded_t *out, ecert_err_t *err);
void ecert_loaded_free(ecert_loaded_t *out);

/*
 * The same for a credential that is served already, when its files are gone or
 * broken: its chain as it has to be now, built from what it was built from and
 * under the same policy (held, may be NULL).  cred stays the caller's.
 */
int ecert_load_adopt(ecert_loader_t *loader, const ecert_site_t *site,
                     const ecert_cred_t *cred, const ecert_loaded_t *held,
                     int64_t now, ecert_loaded_t *out, ecert_err_t *err);

/*
 * Another generation of a site of the store than its current one: the newest
 * that is valid and that accept(ctx, it) takes.  0, out->fallback is set; or
 * -1, and out is empty.
 */
int ecert_load_other(ecert_loader_t *loader, const ecert_site_t *site,
                     int64_t now,
                     int (*accept)(void *ctx, const ecert_loaded_t *one),
                     void *ctx, ecert_loaded_t *out, ecert_err_t *err);

/* The same for a placeholder; takes cred, also on failure. */
int ecert_load_placeholder(ecert_cred_t *cred, ecert_loaded_t *out,
                           ecert_err_t *err);

/*
 * Where the certificates may be got that the held chain lacks: what the
 * catalogue offers under the name that is missing, then the AIA of the topmost
 * element (RFC 5280, 4.2.2.1); http alone.  A cross-certificate that is useful
 * and was not seen yet counts as missing.  more (may be NULL): certificates
 * that are at hand besides, but not in the pool.  ecert_names_free.
 */
int ecert_load_urls(ecert_loader_t *loader, const ecert_site_t *site,
                    const ecert_loaded_t *held, const STACK_OF(X509) *more,
                    int64_t now, char ***urls, size_t *n, ecert_err_t *err);

/*
 * Whether this one of `more`, certificates from anywhere, belongs into the
 * pool: 0 when the held leaf would be served with it and a known root's
 * signature, or the catalogue's fingerprint, proves it; 1 when only the latter
 * is not so.  CHAIN, PURPOSE or DENIED otherwise; err has the reason in both
 * cases.
 */
int ecert_load_wants(ecert_loader_t *loader, const ecert_site_t *site,
                     const ecert_loaded_t *held, const STACK_OF(X509) *more,
                     X509 *cert, int64_t now, ecert_err_t *err);

/* 1 when the files of the site are what they were at the load with this look.
 */
int ecert_load_unchanged(ecert_loader_t *loader, const ecert_site_t *site,
                         uint64_t look);

/*
 * Whether `next` may replace `held`, which is served now.  0, or -1 and err:
 * EXPIRED in place of a valid one; and unless it is the better state, NAMES
 * when it covers fewer of the vhosts' names, CHAIN when it is the same leaf
 * with its chain lost.
 */
int ecert_load_better(const ecert_loaded_t *held, const ecert_loaded_t *next,
                      int64_t now, ecert_err_t *err);

#endif
