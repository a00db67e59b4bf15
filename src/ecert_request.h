/*
 * Pending requests: sites/NAME/pending/N/{key.pem,request.csr,request.json}.
 * Several may wait; a certificate finds its own by the public key.
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
    json_t *json; /* request.json; an object, empty when it is not there */
    char **names; /* A-labels, the site's own first; at least that one */
    size_t n_names;
    char key_id[65];   /* ecert_key_id; "" when nothing tells it */
    char key_name[64]; /* "RSA-2048" */
    int64_t created;   /* Unix time; 0: not known */
    int64_t printed;   /* when it was first handed out; 0: not yet */
    int has_csr;       /* 0: a key that came back without its request */
    int exportable;    /* 0: the key is not to be backed up again */
} ecert_request_t;

/*
 * All requests of a site, oldest first; broken ones are passed over, but not
 * those that the system refuses to read.
 * *requests: ecert_requests_free.
 */
int ecert_requests(const char *site_dir, const char *ascii,
                   ecert_request_t **requests, size_t *n, ecert_err_t *err);
void ecert_requests_free(ecert_request_t *requests, size_t n);

/* The one with this number, 0: the newest.  NO_REQUEST; what it points to
 * belongs to requests. */
const ecert_request_t *ecert_request_find(const ecert_request_t *requests,
                                          size_t n, uint64_t number,
                                          const char *ascii, ecert_err_t *err);

/* The key and the request itself. */
EVP_PKEY *ecert_request_key(const ecert_request_t *request, ecert_err_t *err);
X509_REQ *ecert_request_csr(const ecert_request_t *request, ecert_err_t *err);

/*
 * Puts a new one in place, whole: key, CSR and json (an object that stays the
 * caller's; created and key_sha256 are added).  *number is set.  Under the
 * lock.
 */
int ecert_request_add(const char *site_dir, EVP_PKEY *key, X509_REQ *csr,
                      json_t *json, int64_t now, uint64_t *number,
                      ecert_err_t *err);

/* Writes request.json anew with printed set.  Under the lock. */
int ecert_request_printed(const ecert_request_t *request, int64_t now,
                          ecert_err_t *err);

/* Removes it, key and all.  Under the lock. */
int ecert_request_remove(const char *site_dir, uint64_t number,
                         ecert_err_t *err);

#endif
