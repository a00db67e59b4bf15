/*
 * OCSP responses that the store keeps, STORE/ocsp/SHA-256.der: a response that
 * came once outlives a restart of the server.
 */

#ifndef ECERT_STORE_STAPLE_H
#define ECERT_STORE_STAPLE_H

#include <limits.h>
#include <stdint.h>

#include <openssl/x509.h>

#include "ecert_err.h"
#include "ecert_load.h"

#define ECERT_STAPLE_NO_RESPONDER "it names no OCSP responder (http)"

/* The file of the leaf's response into path (PATH_MAX), or -1. */
int ecert_store_staple_path(const char *store, const X509 *leaf, char *path);

/*
 * Whether a leaf that demands a staple (RFC 7633) can have one, as far as the
 * store (may be NULL) knows: 0 when it demands none, or a good one is kept.
 * Else -1 and STAPLE; *never (may be NULL) is 1 when it names no responder.
 */
int ecert_store_staple_demand(const char *store, const ecert_loaded_t *loaded,
                              int64_t now, int *never, ecert_err_t *err);

#endif
