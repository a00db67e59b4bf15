/*
 * What a file is, told by its bytes: asked by whoever reads certificates, keys,
 * PFX and validation files, so that all of them recognise the same and say it
 * in the same words.  Pure.
 */

#ifndef ECERT_SNIFF_H
#define ECERT_SNIFF_H

#include <stddef.h>

#include "ecert_err.h"

typedef enum {
    ECERT_SNIFF_OTHER,  /* not told: a text, or bytes of an unknown kind */
    ECERT_SNIFF_EMPTY,  /* nothing but white space and a byte order mark */
    ECERT_SNIFF_UTF16,  /* text in UTF-16 */
    ECERT_SNIFF_PEM,    /* PEM blocks, perhaps with text around them */
    ECERT_SNIFF_BASE64, /* DER in Base64 without BEGIN and END lines */
    ECERT_SNIFF_DER,
    ECERT_SNIFF_ZIP,
    ECERT_SNIFF_ARCHIVE, /* another one: gzip, RAR, 7z ... */
    ECERT_SNIFF_FOREIGN  /* known, and nothing that ecert reads */
} ecert_sniff_kind_t;

typedef struct {
    ecert_sniff_kind_t kind;
    const char *name; /* "a web page (HTML)"; NULL for OTHER and EMPTY */
    const char *hint; /* what to do with it instead; NULL: nothing special */
} ecert_sniff_t;

/* By the first bytes and, of text, by its words.  Nothing is decoded. */
ecert_sniff_t ecert_sniff(const unsigned char *bytes, size_t len);

/*
 * 1 when there is a PFX (RFC 7292) in it: DER, PEM under any label, or Base64
 * alone.  Looks at the first bytes of each block.
 */
int ecert_sniff_pfx(const unsigned char *bytes, size_t len);

/* What DER holds, by decoding it; kind is DER, or OTHER when nobody knows. */
ecert_sniff_t ecert_sniff_der(const unsigned char *der, size_t len);

/*
 * Before reading `expected` ("a certificate"): 1 when the bytes have blocks for
 * ecert_pem_block_next (PEM, or Base64 alone), 0 when they may be DER, else -1:
 * EMPTY, TRUNCATED, or FORMAT that says what was found.
 */
int ecert_sniff_expect(const unsigned char *bytes, size_t len,
                       const char *expected, const char *file,
                       ecert_err_t *err);

/* FORMAT: expected this, found that; -1. */
int ecert_sniff_mistaken(const ecert_sniff_t *found, const char *expected,
                         const char *file, ecert_err_t *err);

/* Why these DER bytes are not `expected`: TRUNCATED or FORMAT; -1. */
int ecert_sniff_not(const unsigned char *der, size_t len, const char *expected,
                    const char *file, ecert_err_t *err);

#endif
