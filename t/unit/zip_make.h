/* ZIP archives as others make them.  What fails in here ends the program. */

#ifndef T_UNIT_ZIP_MAKE_H
#define T_UNIT_ZIP_MAKE_H

#include <stddef.h>

typedef struct {
    struct archive *writer;
    unsigned char *bytes; /* after zip_done */
    size_t len;
} zip_made_t;

/* zip must stay where it is.  options as of archive_write_set_options:
 * "compression=store,zip64"; the password is "secret". */
void zip_make(zip_made_t *zip, const char *options);

void zip_file(zip_made_t *zip, const char *path, const void *bytes, size_t len);
void zip_text(zip_made_t *zip, const char *path, const char *text);
void zip_folder(zip_made_t *zip, const char *path);
void zip_link(zip_made_t *zip, const char *path, const char *target);

void zip_done(zip_made_t *zip);
void zip_free(zip_made_t *zip);

#endif
