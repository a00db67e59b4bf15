/*
 * A site's generation is swapped together with what site.json says, which no
 * file system can do in one step.  So a record of both states is put beside
 * them first, sites/NAME/.swap.json, and whoever comes next finishes what a
 * killed command began.
 */

#ifndef ECERT_SWAP_H
#define ECERT_SWAP_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <openssl/x509.h>

#include "ecert_err.h"

/*
 * Makes generation `number` the current one; names are those that the site has
 * from then on, the own one first; site: more members, or NULL.  Under the
 * store's lock.
 */
int ecert_swap(const char *site_dir, uint64_t number, X509 *leaf,
               char *const *names, size_t n_names, const json_t *site,
               ecert_err_t *err);

/*
 * What a killed swap left is made whole: all of the new state when the link
 * leads there already, else all of the old one.  Under the lock.
 */
int ecert_swap_finish(const char *site_dir, ecert_err_t *err);

#endif
