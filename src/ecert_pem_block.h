/*
 * The blocks of a PEM file (RFC 7468), taken apart as far as good messages need
 * it.  Line ends, blank lines and indentation within a block mean nothing.
 * Labels are a hint: what a block holds, its DER tells.  Where a text speaks of
 * BEGIN and END lines, there is no block.
 */

#ifndef ECERT_PEM_BLOCK_H
#define ECERT_PEM_BLOCK_H

#include <stddef.h>

#include "ecert_err.h"

#define ECERT_PEM_BEGIN "-----BEGIN "

typedef enum {
    ECERT_PEM_OTHER = 0,
    ECERT_PEM_BARE, /* Base64 without BEGIN and END lines */
    ECERT_PEM_CERTIFICATE,
    ECERT_PEM_PKCS7,
    ECERT_PEM_PFX,
    ECERT_PEM_KEY,
    ECERT_PEM_KEY_ENCRYPTED,
    ECERT_PEM_KEY_FOREIGN, /* a form that OpenSSL does not read: OpenSSH's */
    ECERT_PEM_REQUEST,
    ECERT_PEM_PUBLIC_KEY,
    ECERT_PEM_CRL,
    ECERT_PEM_PARAMETERS
} ecert_pem_kind_t;

/* "a certificate request", for messages; and what to do with it, or NULL. */
const char *ecert_pem_kind_name(ecert_pem_kind_t kind);
const char *ecert_pem_kind_hint(ecert_pem_kind_t kind);

typedef struct {
    const unsigned char *rest; /* what is still to be looked at */
    size_t rest_len;
    ecert_pem_kind_t kind;
    int trusted;               /* OpenSSL's "TRUSTED CERTIFICATE" */
    int encrypted;             /* as its headers say (RFC 1421, 4.6.1.1) */
    char label[64];            /* as far as it fits */
    size_t number;             /* 1 for the first block */
    size_t line;               /* where it begins, 1 for the first line */
    size_t lines;              /* lines before rest */
    const unsigned char *body; /* its Base64, behind any headers */
    size_t len;
} ecert_pem_block_t;

/* Bytes without a BEGIN line are one block without a label. */
void ecert_pem_block_init(ecert_pem_block_t *block, const unsigned char *bytes,
                          size_t len);

/* 1: the next block; 0: no more; -1 TRUNCATED: it has no end. */
int ecert_pem_block_next(ecert_pem_block_t *block, const char *file,
                         ecert_err_t *err);

/* Its content: OPENSSL_clear_free(*der, *len).  -1 when it is damaged. */
int ecert_pem_block_der(const ecert_pem_block_t *block, unsigned char **der,
                        size_t *len);

/* The first bytes of its content, size at most; how many. */
size_t ecert_pem_block_head(const ecert_pem_block_t *block, unsigned char *head,
                            size_t size);

/* FORMAT where its text tells what became of it on its way, else TRUNCATED;
 * names block and line; -1. */
int ecert_pem_block_damaged(const ecert_pem_block_t *block, const char *file,
                            ecert_err_t *err);

#endif
