/*
 * The files of one site, read and parsed: certificate, key, and the pool of
 * CA certificates that a chain may be built from.
 */

#ifndef ECERT_BUNDLE_H
#define ECERT_BUNDLE_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "ecert_err.h"
#include "ecert_file.h"

/* In one folder; with more than these none is read. */
#define ECERT_ISSUER_FILES_MAX 256

/* Certificate files that many sites read, parsed once while they stay as they
 * are. */
typedef struct ecert_shelf_s ecert_shelf_t;

ecert_shelf_t *ecert_shelf_new(void);
void ecert_shelf_free(ecert_shelf_t *shelf);

/* Adds the certificates of one file to list; errors of ecert_file_read and
 * ecert_pem_certificates.  trail may be NULL. */
int ecert_certificates_read(const char *path, ecert_trail_t *trail,
                            STACK_OF(X509) *list, ecert_err_t *err);

/* The private key of one file, the caller's; errors of ecert_file_read (but
 * NO_KEY for MISSING) and ecert_pem_key.  trail may be NULL. */
EVP_PKEY *ecert_key_read(const char *path, ecert_trail_t *trail,
                         ecert_err_t *err);

typedef struct {
    const char *certificate; /* absolute paths; NULL: none */
    const char *key;
    const char *chain;         /* may be missing on disk */
    const char *store_issuers; /* folder; may be missing on disk */
    const char *const *issuers;
    size_t n_issuers;
    size_t n_server_issuers; /* as in ecert_site_t */
} ecert_bundle_files_t;

typedef struct {
    STACK_OF(X509) *certificates; /* of the certificate's file, in order */
    EVP_PKEY *key;
    STACK_OF(X509) *pool; /* all the others */
} ecert_bundle_t;

/*
 * Reads it all.  A bad certificate or key file is an error; bad files in the
 * pool are told through complain and passed over.
 */
int ecert_bundle_read(const ecert_bundle_files_t *files, ecert_shelf_t *shelf,
                      ecert_trail_t *trail,
                      void (*complain)(void *ctx, const ecert_err_t *err),
                      void *ctx, ecert_bundle_t *bundle, ecert_err_t *err);
void ecert_bundle_free(ecert_bundle_t *bundle);

/* Only the trail that reading the same files would leave. */
void ecert_bundle_look(const ecert_bundle_files_t *files, ecert_trail_t *trail);

#endif
