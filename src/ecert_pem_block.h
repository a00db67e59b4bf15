/*
 * The blocks of a PEM file, taken apart as far as good messages need it; and
 * what a file is that is not what was expected.  OpenSSL does the decoding.
 */

#ifndef ECERT_PEM_BLOCK_H
#define ECERT_PEM_BLOCK_H

#include <stddef.h>

#include "ecert_err.h"

typedef enum {
    ECERT_PEM_OTHER = 0,
    ECERT_PEM_CERTIFICATE,
    ECERT_PEM_PKCS7,
    ECERT_PEM_KEY,
    ECERT_PEM_KEY_ENCRYPTED,
    ECERT_PEM_KEY_FOREIGN, /* a form that OpenSSL does not read: OpenSSH's */
    ECERT_PEM_REQUEST,
    ECERT_PEM_PUBLIC_KEY,
    ECERT_PEM_CRL,
    ECERT_PEM_PARAMETERS
} ecert_pem_kind_t;

/* "a certificate request", for messages. */
const char *ecert_pem_kind_name(ecert_pem_kind_t kind);

typedef struct {
    const unsigned char *rest; /* what is still to be looked at */
    size_t rest_len;
    ecert_pem_kind_t kind;
    int trusted;                /* OpenSSL's "TRUSTED CERTIFICATE" */
    char label[64];             /* as far as it fits */
    size_t number;              /* 1 for the first block */
    size_t line;                /* where it begins, 1 for the first line */
    size_t lines;               /* lines before rest */
    const unsigned char *start; /* from the BEGIN line ... */
    size_t len;                 /* ... to the end of the END line */
} ecert_pem_block_t;

void ecert_pem_block_init(ecert_pem_block_t *block, const unsigned char *bytes,
                          size_t len);

/* 1: the next block; 0: no more; -1 TRUNCATED: it has no end. */
int ecert_pem_block_next(ecert_pem_block_t *block, const char *file,
                         ecert_err_t *err);

/*
 * The block with plain line ends and without indentation, as OpenSSL wants it:
 * OPENSSL_clear_free(*text, *len + 1).  NULL without memory.
 */
char *ecert_pem_block_text(const ecert_pem_block_t *block, size_t *len);

/* Its content: OPENSSL_clear_free(*der, *len).  -1 when it is damaged. */
int ecert_pem_block_der(const ecert_pem_block_t *block, unsigned char **der,
                        size_t *len);

/* TRUNCATED, naming block and line; -1. */
int ecert_pem_block_damaged(const ecert_pem_block_t *block, const char *file,
                            ecert_err_t *err);

/*
 * 1: the bytes have PEM blocks; 0: they may be DER; -1: EMPTY, FORMAT or
 * TRUNCATED, where `expected` ("a certificate") is named.
 */
int ecert_pem_text(const unsigned char *bytes, size_t len, const char *expected,
                   const char *file, ecert_err_t *err);

/* Why these DER bytes are not `expected`: TRUNCATED or FORMAT; -1. */
int ecert_pem_not(const unsigned char *der, size_t len, const char *expected,
                  const char *file, ecert_err_t *err);

#endif
