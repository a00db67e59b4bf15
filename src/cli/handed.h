/* What the files at the command line hold, all of them together. */

#ifndef ECERT_CLI_HANDED_H
#define ECERT_CLI_HANDED_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "ecert_err.h"
#include "password.h"

typedef struct {
    STACK_OF(X509) *certificates;
    EVP_PKEY *key; /* NULL: none */
    char friendly_name[256];
} ecert_handed_t;

/* Reads the files, asking for passwords where one is needed. */
int ecert_handed_open(ecert_handed_t *handed, char *const *files, size_t n,
                      const ecert_password_from_t *password, ecert_err_t *err);
void ecert_handed_free(ecert_handed_t *handed);

/* The one certificate that is no CA's; PURPOSE and TOO_MANY otherwise. */
X509 *ecert_handed_leaf(const ecert_handed_t *handed, const char *file,
                        ecert_err_t *err);

#endif
