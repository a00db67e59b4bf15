/* Which certificate is the server's own, and may it be one. */

#ifndef ECERT_LEAF_H
#define ECERT_LEAF_H

#include <openssl/x509.h>

#include "ecert_bundle.h"
#include "ecert_err.h"

/*
 * The certificate in the bundle that belongs to its key, wherever in the file
 * it stood; the caller's.  All others move to the pool.  MISMATCH, naming both
 * files, when there is none.
 */
X509 *ecert_leaf_take(ecert_bundle_t *bundle, const char *file,
                      const char *key_file, ecert_err_t *err);

/*
 * PURPOSE unless key usage and EKU allow a TLS server (BR 7.1.2.7.10) and it
 * is no CA's; SIGNATURE for SHA-1 and MD5; INVALID when its extensions cannot
 * be read.
 */
int ecert_leaf_check(X509 *leaf, const char *file, ecert_err_t *err);

#endif
