/* Which generations of a site there are, for those who name one that is not. */

#ifndef ECERT_CLI_GENERATIONS_H
#define ECERT_CLI_GENERATIONS_H

#include "ecert_generation.h"

/*
 * Returns -1 with NO_GENERATION about this file or name (NULL: none): what was
 * asked for, printf, is not there; and the numbers of those that are.  Of a
 * site without any NO_CERTIFICATE.
 */
int ecert_cli_no_generation(const ecert_generation_t *list, size_t n,
                            const char *file, ecert_err_t *err, const char *fmt,
                            ...) __attribute__((format(printf, 5, 6)));

#endif
