/*
 * How a trail (ecert_file.h) is added to.  Every function takes NULL for a
 * trail that nobody wants.
 */

#ifndef ECERT_TRAIL_H
#define ECERT_TRAIL_H

#include "ecert_file.h"

/* One more folder, absolute; the root folder and doubles are left out. */
void ecert_trail_dir(ecert_trail_t *trail, const char *dir);

/* What was seen: text, a file, or that something failed in this way. */
void ecert_trail_text(ecert_trail_t *trail, const char *text);
void ecert_trail_stat(ecert_trail_t *trail, const char *path,
                      const struct stat *st);
void ecert_trail_failure(ecert_trail_t *trail, const char *path,
                         ecert_code_t code);

/* From now on the digest equals no other one: look again. */
void ecert_trail_unlike(ecert_trail_t *trail);

#endif
