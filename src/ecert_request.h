/*
 * Pending requests: sites/NAME/pending/N/{key.pem,request.csr,request.json}.
 * Several may wait; a certificate finds its own by the public key.  A folder
 * that somebody made by hand, with key and CSR or with the key alone, is one,
 * too.  (The CA's guide, B: key and request; C.5: it is handed in.)
 */

#ifndef ECERT_REQUEST_H
#define ECERT_REQUEST_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "ecert_csr.h"
#include "ecert_err.h"

#define ECERT_REQUESTS_MAX 1000 /* of a site */

typedef struct {
    uint64_t number;
    char dir[PATH_MAX];
    json_t *json; /* request.json; an object, empty when it cannot be read */
    char **names; /* A-labels, the site's own first; at least that one.  Where
                     request.json has none, the site's */
    size_t n_names;
    char key_id[65];   /* ecert_key_id; "" when nothing tells it */
    char key_name[64]; /* "RSA-2048" */
    int64_t created;   /* Unix time; 0: not known */
    int64_t printed;   /* when it was first handed out; 0: not yet */
    int has_csr;       /* 0: a key that came back without its request */
    int exportable;    /* 0: the key is not to be backed up again, or
                          request.json, which would tell, is broken */
} ecert_request_t;

/*
 * All requests of a site, oldest first; those without a CSR or key are passed
 * over, but not those that the system refuses to read.  *requests:
 * ecert_requests_free.  Errors of ecert_file_list, MEMORY; no requests are
 * none.
 */
int ecert_requests(const char *site_dir, const char *ascii,
                   ecert_request_t **requests, size_t *n, ecert_err_t *err);
void ecert_requests_free(ecert_request_t *requests, size_t n);

/* The one with this number, 0: the newest; it belongs to requests.
 * NO_REQUEST. */
const ecert_request_t *ecert_request_find(const ecert_request_t *requests,
                                          size_t n, uint64_t number,
                                          const char *ascii, ecert_err_t *err);

/* The key and the request itself, the caller's: errors of ecert_key_read;
 * of ecert_file_read (MISSING: a key alone) and ecert_csr_read. */
EVP_PKEY *ecert_request_key(const ecert_request_t *request, ecert_err_t *err);
X509_REQ *ecert_request_csr(const ecert_request_t *request, ecert_err_t *err);

/*
 * Puts a new one in place, whole: key, CSR (NULL: the key alone) and json (an
 * object that stays the caller's; created and key_sha256 are added).  *number:
 * one more than any that a generation or request of the site has.  Under the
 * lock.  Errors of ecert_stage.h; then nothing was put there.
 */
int ecert_request_add(const char *site_dir, EVP_PKEY *key, X509_REQ *csr,
                      json_t *json, int64_t now, uint64_t *number,
                      ecert_err_t *err);

/* Writes request.json anew with printed set, unless it is; one that is broken
 * is left alone: SITE.  Under the lock. */
int ecert_request_printed(const ecert_request_t *request, int64_t now,
                          ecert_err_t *err);

/* Removes it, key and all; not there: fine.  Under the lock. */
int ecert_request_remove(const char *site_dir, uint64_t number,
                         ecert_err_t *err);

/* Writes that its key is not to be backed up again.  Under the lock. */
int ecert_request_no_export(const ecert_request_t *request, ecert_err_t *err);

#endif
