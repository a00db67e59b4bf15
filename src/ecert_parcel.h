/*
 * A file that somebody hands over at the command line: certificates in any
 * form, a key, a PFX.  It may lie anywhere and be anybody's: its bytes are
 * read once and parsed in a jail.
 */

#ifndef ECERT_PARCEL_H
#define ECERT_PARCEL_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "ecert_err.h"
#include "ecert_file.h"

typedef struct {
    STACK_OF(X509) *certificates; /* never NULL after a success; in the file's
                                     order, of a PFX the key's own first */
    EVP_PKEY *key;                /* NULL: none */
    int pfx;                      /* it was a PFX */
    char friendly_name[256];
} ecert_parcel_t;

/*
 * The bytes of a file, or of standard input for "-": at most ECERT_FILE_MAX.
 * Unlike ecert_file_read it takes anybody's file, as ecert_given_open does.
 * Errors are those of that, TOO_LARGE, EMPTY.  ecert_file_free.
 */
int ecert_parcel_read(const char *path, ecert_file_t *file, ecert_err_t *err);

/* 1 when a password is needed to open these bytes: a PFX, also in PEM. */
int ecert_parcel_locked(const ecert_file_t *file);

/*
 * Certificates (PEM, DER, PKCS#7 or CMS, TRUSTED CERTIFICATE) and at most one
 * key beside them (PEM, not encrypted), files of both in a ZIP archive, or a
 * PFX with password (else NULL).
 * Errors are those of ecert_pem_certificates, ecert_pem_key, ecert_pfx_read,
 * ecert_zip_each and ecert_jail_run.  A file with a key alone is fine, one
 * without anything is not (FORMAT).  Free with ecert_parcel_free after success.
 */
int ecert_parcel_open(const ecert_file_t *file, const char *name,
                      const char *password, ecert_parcel_t *parcel,
                      ecert_err_t *err);
void ecert_parcel_free(ecert_parcel_t *parcel);

#endif
