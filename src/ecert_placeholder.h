/*
 * The placeholder: a self-signed certificate that says what it is, served
 * before the first real one, so that servers start and a validator that tries
 * https first is answered.
 */

#ifndef ECERT_PLACEHOLDER_H
#define ECERT_PLACEHOLDER_H

#include <stddef.h>

#include "ecert_conf.h"
#include "ecert_cred.h"
#include "ecert_err.h"

/* Made in memory: EC P-256, the vhost's names as SAN, no end (RFC
 * 5280, 4.1.2.5). */
ecert_cred_t *ecert_placeholder_new(const ecert_site_t *site, ecert_err_t *err);

/*
 * The same as a file, made once: DIR/placeholder/LABEL-HASH.pem, mode 0600, key
 * and certificate.  Its path goes to path (size bytes).  Reads nothing that
 * others can write.
 */
int ecert_placeholder_file(const char *dir, const ecert_site_t *site,
                           char *path, size_t size, ecert_err_t *err);

/* That file read again; made anew in memory when it holds nothing usable. */
ecert_cred_t *ecert_placeholder_read(const char *path, const ecert_site_t *site,
                                     ecert_err_t *err);

#endif
