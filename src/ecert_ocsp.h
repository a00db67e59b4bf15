/*
 * OCSP (RFC 6960) for one certificate: the request, and whether an answer may
 * be stapled.  Pure: bytes in, verdict out, no network, no clock.
 */

#ifndef ECERT_OCSP_H
#define ECERT_OCSP_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/x509.h>

#include "ecert_err.h"

#define ECERT_OCSP_MAX  (16 * 1024) /* bytes of a response */
#define ECERT_OCSP_SKEW 300         /* seconds that our clock may be late */

typedef enum {
    ECERT_OCSP_GOOD = 0,
    ECERT_OCSP_REVOKED,
    ECERT_OCSP_UNKNOWN
} ecert_ocsp_status_t;

typedef struct {
    ecert_ocsp_status_t status;
    int64_t this_update, next_update; /* Unix time; it ends with its signer */
    int64_t revoked_at;               /* 0: it is not */
    const char *reason;               /* of a revocation, static; or NULL */
} ecert_ocsp_t;

/*
 * The responder's URL in the leaf's AIA (RFC 5280, 4.2.2.1), the first that is
 * http: OPENSSL_free.  NULL: it names none.
 */
char *ecert_ocsp_url(X509 *leaf);

/*
 * The request for a leaf of this issuer: SHA-1 certID (RFC 5019, 2.1.1), no
 * nonce.  *der: OPENSSL_free.
 */
int ecert_ocsp_request(X509 *leaf, X509 *issuer, unsigned char **der,
                       size_t *len, ecert_err_t *err);

#define ECERT_OCSP_GET 256 /* bytes of a URL for GET, with its end */

/*
 * The URL that asks the responder by GET: its own, a slash, the request in
 * Base64, URL-encoded (RFC 6960, A.1); 1.  0 where that is longer than 255
 * bytes (RFC 5019, 5), or its own has a query: then it is POST.
 */
int ecert_ocsp_get(const char *responder, const unsigned char *der, size_t len,
                   char out[ECERT_OCSP_GET]);

/*
 * Whether these bytes are an answer about this leaf, by its issuer or by a
 * responder to whom the issuer delegated it (RFC 6960, 4.2.2.2: issued by the
 * same key, extended key usage OCSPSigning, in its time), in its own time at
 * `now` (both may begin within the skew), not made before the leaf's notBefore,
 * and not older than `held` (this_update of the one in hand; 0: none).
 * An answer without nextUpdate is refused: nobody knows when it ends.
 * OCSP, saying what is wrong.  A revoked or unknown certificate is no failure:
 * see out->status.
 */
int ecert_ocsp_check(const unsigned char *der, size_t len, X509 *leaf,
                     X509 *issuer, int64_t now, int64_t held, ecert_ocsp_t *out,
                     ecert_err_t *err);

#endif
