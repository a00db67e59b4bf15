/*
 * Generations of a site: certificates that were installed, with their keys, in
 * sites/NAME/generations/N/{certificate.pem,chain.pem,key.pem,generation.json};
 * what others put there has no generation.json.  `current` leads to the one
 * that is served (docs/design.md, "Store").
 */

#ifndef ECERT_GENERATION_H
#define ECERT_GENERATION_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "ecert_err.h"
#include "ecert_stage.h"

typedef struct {
    uint64_t number; /* 0: `current` is a folder, or a link elsewhere */
    int current;
    char dir[PATH_MAX];
    X509 *leaf;
    STACK_OF(X509) *others; /* of certificate.pem and chain.pem */
    json_t *json;    /* generation.json; an object, empty when it cannot be
                        read */
    char key_id[65]; /* ecert_key_id of the leaf's key */
    int exportable;  /* 0: the key is not to be backed up again, or
                        generation.json, which would tell, is broken */
} ecert_generation_t;

/*
 * All of a site, oldest first, then a `current` that is none of them; what has
 * no certificate is passed over, but not what the system refuses to read or
 * others may write to.
 * *list: ecert_generations_free.
 * Errors of ecert_store_generations, MEMORY; no generations are none.
 */
int ecert_generations(const char *site_dir, ecert_generation_t **list,
                      size_t *n, ecert_err_t *err);
void ecert_generations_free(ecert_generation_t *list, size_t n);

/* The current one; NULL when `current` is not there, leads nowhere or to
 * something without a certificate.  It belongs to list. */
const ecert_generation_t *
ecert_generation_current(const ecert_generation_t *list, size_t n);

/* Its key, the caller's; errors of ecert_key_read. */
EVP_PKEY *ecert_generation_key(const ecert_generation_t *generation,
                               ecert_err_t *err);

/*
 * Fills a folder below site_dir/generations, to be committed: leaf, key, and
 * those of others (may be NULL) that are neither the leaf nor self-signed, each
 * once; without any there is no chain.pem.  json becomes generation.json; all
 * stay the caller's.  Errors of ecert_stage.h, OPENSSL, MEMORY; then there is
 * nothing to drop.  Under the lock.
 */
int ecert_generation_stage(const char *site_dir, X509 *leaf, EVP_PKEY *key,
                           const STACK_OF(X509) *others, const json_t *json,
                           ecert_stage_t *stage, ecert_err_t *err);

/* Makes it the current one: the link is swapped by rename (ecert_stage_link).
 * The generation has to be there.  Under the lock. */
int ecert_generation_use(const char *site_dir, uint64_t number,
                         ecert_err_t *err);

/* Writes that its key is not to be backed up again.  Under the lock. */
int ecert_generation_no_export(const ecert_generation_t *generation,
                               ecert_err_t *err);

#endif
