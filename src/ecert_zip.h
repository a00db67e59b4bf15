/*
 * The files in a ZIP archive, as CAs mail their certificates.  Nothing is
 * written to disk.  To be called in a jail: its bytes are a stranger's.
 */

#ifndef ECERT_ZIP_H
#define ECERT_ZIP_H

#include <stddef.h>

#include "ecert_err.h"

#define ECERT_ZIP_ENTRIES 256               /* of any kind, in one archive */
#define ECERT_ZIP_FILE    (1024 * 1024)     /* bytes of one file in it */
#define ECERT_ZIP_TOTAL   (4 * 1024 * 1024) /* of all files in it */
#define ECERT_ZIP_RATIO   100               /* of all to the archive */

/* name is a path within the archive, not to be trusted; -1 ends the reading. */
typedef int ecert_zip_take_t(void *ctx, const char *name,
                             const unsigned char *bytes, size_t len,
                             ecert_err_t *err);

/*
 * Calls take for each regular file in the archive; folders, links, devices and
 * what macOS puts beside (__MACOSX, .DS_Store) are passed over.  archive is
 * named in errors: TOO_MANY (entries), TOO_LARGE (one file, all of them, or
 * more than ECERT_ZIP_RATIO times the archive), FORMAT (a file is encrypted),
 * DAMAGED, MEMORY, and those of take.
 */
int ecert_zip_each(const unsigned char *bytes, size_t len, const char *archive,
                   ecert_zip_take_t *take, void *ctx, ecert_err_t *err);

#endif
