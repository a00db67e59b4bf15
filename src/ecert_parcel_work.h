/* Inside the jail, and what comes out of it; for ecert_parcel*.c alone. */

#ifndef ECERT_PARCEL_WORK_H
#define ECERT_PARCEL_WORK_H

#include "ecert_jail.h"
#include "ecert_parcel.h"

enum {
    ECERT_PARCEL_CERTIFICATE = 1, /* DER */
    ECERT_PARCEL_KEY,             /* PKCS#8 in DER */
    ECERT_PARCEL_NAME             /* the friendly name */
};

typedef struct {
    STACK_OF(X509) *list; /* the caller's, as is the key */
    EVP_PKEY *key;        /* NULL: none */
} ecert_found_t;

/*
 * Adds the certificates of a file to found->list, and sets found->key, NULL
 * before, to the key in it.  Errors as of ecert_parcel_open.
 */
int ecert_parcel_plain(const unsigned char *bytes, size_t len, const char *name,
                       ecert_found_t *found, ecert_err_t *err);

/*
 * The same of all files in a ZIP archive, each certificate once.  Notes,
 * pictures and the like in it are passed over; FORMAT for an archive or a PFX
 * in it, and where there is nothing else.  Errors of ecert_zip_each, too.
 */
int ecert_parcel_zip(const unsigned char *bytes, size_t len, const char *name,
                     ecert_found_t *found, ecert_err_t *err);

/*
 * Trusts nothing in the frames: DAMAGED when one of them is not what it should
 * be, or there are too many.  parcel, of which only pfx is set, is to be freed
 * whatever is returned.
 */
int ecert_parcel_take(ecert_parcel_t *parcel, const ecert_frames_t *frames,
                      const char *name, ecert_err_t *err);

#endif
