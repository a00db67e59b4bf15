/* Whose certificate is it that is to be installed: its site, and its key. */

#ifndef ECERT_CLI_INSTALL_KEY_H
#define ECERT_CLI_INSTALL_KEY_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "ecert_err.h"
#include "handed.h"
#include "site.h"

/* The certificate to install, with the key that belongs to it. */
typedef struct {
    X509 *leaf; /* belongs to what was handed over */
    EVP_PKEY *key;
    char key_id[65];     /* set before */
    uint64_t request;    /* 0: the key came with the certificate, or is that of
                            the current one */
    uint64_t generation; /* that it is already; 0: none */
    int again;           /* it is, but what came with it may be of use */
    char **names;
    size_t n_names;
    json_t *site;
    int exportable;
} ecert_owned_t;

/*
 * Finds the key of found->leaf: of a request that waits, else the one that came
 * with it, else that of the current certificate, where the CA issued again for
 * it.  0: it is to be installed; 1: it is the current one already. UNKNOWN_KEY,
 * OLD_KEY; file is named in them.  Under the lock.
 */
int ecert_owned_key(ecert_owned_t *found, const ecert_cli_site_t *site,
                    const char *file, const ecert_handed_t *handed,
                    ecert_err_t *err);

/* Which site of the store has this key: its name into ascii (ECERT_NAME_MAX); 1
 * when one has, -1 when that cannot be told. */
int ecert_owned_site(const char *store, const char *key_id, char *ascii,
                     ecert_err_t *err);

/* UNKNOWN_KEY; ascii: the site that it was meant for, NULL: none was said. */
int ecert_owned_none(const ecert_owned_t *found, const char *store,
                     const char *file, const char *ascii, ecert_err_t *err);

void ecert_owned_free(ecert_owned_t *found);

#endif
