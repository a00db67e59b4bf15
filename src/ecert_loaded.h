/* The inner side of ecert_loaded_t; for ecert_load.c alone. */

#ifndef ECERT_LOADED_H
#define ECERT_LOADED_H

#include "ecert_load.h"

/* 1 for the failures of files that are being written right now. */
int ecert_loaded_may_mend(ecert_code_t code);

/* Adds a warning, once; ctx is an ecert_loaded_t. */
void ecert_loaded_complain(void *ctx, const ecert_err_t *err);

/* The vhosts' names that the leaf does not cover: told, not refused. */
void ecert_loaded_uncovered(const ecert_site_t *site, X509 *leaf,
                            ecert_loaded_t *out);

/* Forgets credential and chain, keeps trail and warnings: for another try. */
void ecert_loaded_reset(ecert_loaded_t *out);

#endif
