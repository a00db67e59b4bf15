/* Inside ecert_ocsp*.c only: of whom an answer speaks, and who signed it. */

#ifndef ECERT_OCSP_WORK_H
#define ECERT_OCSP_WORK_H

#include <stdint.h>

#include <openssl/ocsp.h>

#include "ecert_err.h"

/* OCSP_CERTID_free.  NULL with OCSP when this is not the leaf's issuer. */
OCSP_CERTID *ecert_ocsp_id(const EVP_MD *md, X509 *leaf, X509 *issuer,
                           ecert_err_t *err);

/*
 * Whether the issuer's key signed it, or that of a delegate in it who is in his
 * time at `now`; *until: when that ends (INT64_MAX: the issuer himself).  OCSP.
 * What it leaves in OpenSSL's error queue is the caller's to empty.
 */
int ecert_ocsp_signer(OCSP_BASICRESP *basic, X509 *issuer, int64_t now,
                      int64_t *until, ecert_err_t *err);

#endif
