/*
 * Host names: Unicode to A-labels (libidn2, UTS 46 non-transitional), names of
 * sites, and which names a certificate covers (RFC 6125, BR 7.1.4.2).
 */

#ifndef ECERT_NAME_H
#define ECERT_NAME_H

#include <stddef.h>

#include <openssl/x509.h>

#include "ecert_err.h"

#define ECERT_NAME_MAX 256 /* bytes of "*." + 253 + terminator, rounded */

/*
 * One spelling for every way to write a host name: A-labels, lower case,
 * without a trailing dot; a wildcard keeps its "*." in front.  Refuses with
 * NAME: empty, not a name, an address, a lone label's wildcard ("*.hk" is for
 * the CA to refuse, "*" is ours), IDNA errors.  out has ECERT_NAME_MAX bytes.
 */
int ecert_name_ascii(const char *name, char *out, ecert_err_t *err);

/* Back to Unicode in UTF-8, for people; the A-label itself where that fails. */
void ecert_name_unicode(const char *ascii, char *out, size_t size);

/*
 * The folder of a site in the store: the A-label, "_." for "*.".
 * slug_name reads a folder's name in any spelling (Unicode, any case, "*.",
 * "_.") back into the form of ecert_name_ascii.
 */
int ecert_name_slug(const char *ascii, char *out, ecert_err_t *err);
int ecert_name_unslug(const char *folder, char *out, ecert_err_t *err);

/*
 * 1 when leaf's dNSName SANs cover name (form of ecert_name_ascii).  A
 * wildcard covers one label; the wildcard name itself must be there literally.
 * The CN counts for nothing.
 */
int ecert_name_covered(X509 *leaf, const char *ascii);

/*
 * Why a name that is not covered is not, where a person could think that it
 * were: " (...)", for a message; "" otherwise.
 */
const char *ecert_name_uncovered(X509 *leaf, const char *ascii);

#endif
