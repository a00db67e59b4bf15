/*
 * Inside ecert_pfx*.c only: what is being read, and what that costs and needs,
 * told from its parameters before anything is derived from the password.
 */

#ifndef ECERT_PFX_WORK_H
#define ECERT_PFX_WORK_H

#include <stdint.h>

#include <openssl/pkcs12.h>

#include "ecert_err.h"
#include "ecert_pfx.h"

#define ECERT_PFX_NAME 80 /* room for an algorithm's name */

typedef struct {
    const char *file;
    ecert_err_t *err;
    uint64_t spent; /* iterations, of everything looked at so far */
} ecert_pfx_cost_t;

/*
 * Of the MAC; of a part (of the bags in it, when it is not encrypted); of the
 * encrypted keys among bags.  ITERATIONS, ALGORITHM or DAMAGED.  Ciphers and
 * digests are looked for in the thread's library context.
 */
int ecert_pfx_cost_mac(ecert_pfx_cost_t *cost, const PKCS12 *p12);
int ecert_pfx_cost_safe(ecert_pfx_cost_t *cost, PKCS7 *safe);
int ecert_pfx_cost_bags(ecert_pfx_cost_t *cost,
                        const STACK_OF(PKCS12_SAFEBAG) *bags);

/* Of an encryption, of a MAC after RFC 9579. */
int ecert_pfx_cost_scheme(ecert_pfx_cost_t *cost, const X509_ALGOR *scheme);
int ecert_pfx_cost_pbmac1(ecert_pfx_cost_t *cost, const X509_ALGOR *mac);

/* Adds to what is spent: n of one derivation.  NULL iterations: one. */
int ecert_pfx_spend(ecert_pfx_cost_t *cost, uint64_t n, const char *unit);
int ecert_pfx_spend_iterations(ecert_pfx_cost_t *cost, const ASN1_INTEGER *n);

/* ALGORITHM unless it is there; where is what uses it. */
int ecert_pfx_need_digest(ecert_pfx_cost_t *cost, const char *name,
                          const char *where);
int ecert_pfx_missing(ecert_pfx_cost_t *cost, const char *name,
                      const char *where);

/* The long name, or the dotted OID; returns out. */
const char *ecert_pfx_name(const ASN1_OBJECT *id, char out[ECERT_PFX_NAME]);

/* DAMAGED, or MEMORY when that is what OpenSSL said. */
int ecert_pfx_damaged(const char *file, ecert_err_t *err, const char *what);

/* What is found, as DER: objects would stay tied to the library context. */
typedef struct {
    unsigned char *der;
    int len;
    char name[256];
} ecert_pfx_found_t;

typedef struct {
    const char *file;
    ecert_err_t *err;
    const char *passwords[2]; /* NULL is another one than ""; a second try
                                 costs once more */
    int tries;
    int verified; /* a MAC says that the password is right, the file whole */
    ecert_pfx_cost_t cost;
    ecert_pfx_found_t key;
    ecert_pfx_found_t certificates[ECERT_PFX_CERTIFICATES];
    int n;
} ecert_pfx_reader_t;

int ecert_pfx_password_len(const char *password);

/* Opens a part of the file and takes what is in it; its cost is known. */
int ecert_pfx_take_safe(ecert_pfx_reader_t *r, PKCS7 *safe);

#endif
