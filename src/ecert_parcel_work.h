/* What comes out of the jail; for ecert_parcel*.c alone. */

#ifndef ECERT_PARCEL_WORK_H
#define ECERT_PARCEL_WORK_H

#include "ecert_jail.h"
#include "ecert_parcel.h"

enum {
    ECERT_PARCEL_CERTIFICATE = 1, /* DER */
    ECERT_PARCEL_KEY,             /* PKCS#8 in DER */
    ECERT_PARCEL_NAME             /* the friendly name */
};

/*
 * Trusts nothing in the frames: DAMAGED when one of them is not what it should
 * be, or there are too many.  parcel, of which only pfx is set, is to be freed
 * whatever is returned.
 */
int ecert_parcel_take(ecert_parcel_t *parcel, const ecert_frames_t *frames,
                      const char *name, ecert_err_t *err);

#endif
