/* What a certificate that is restored says about its site. */

#ifndef ECERT_CLI_RESTORE_LEAF_H
#define ECERT_CLI_RESTORE_LEAF_H

#include <stddef.h>

#include <jansson.h>
#include <openssl/x509.h>

/*
 * Its names as A-labels, `first` in front where it is not ""; what is no host
 * name is left out.  The caller's, to be freed with ecert_names_free; -1 without
 * memory.
 */
int ecert_restore_names(X509 *leaf, const char *first, char ***names,
                        size_t *n);

/* What a renewal takes for its defaults: { "subject": ... } for site.json. */
json_t *ecert_restore_subject(X509 *leaf);

#endif
