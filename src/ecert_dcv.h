/*
 * Validation files (BR 3.2.2.4.18): the table that the agent publishes and the
 * workers answer from.  Pure: bytes in, bytes out, no clock, no files.
 */

#ifndef ECERT_DCV_H
#define ECERT_DCV_H

#include <stddef.h>
#include <stdint.h>

#include "ecert_err.h"

#define ECERT_DCV_PREFIX   "/.well-known/pki-validation/"
#define ECERT_DCV_DAYS     30          /* a token's life (CA's guide, C.4.A) */
#define ECERT_DCV_BODY_MAX (64 * 1024) /* bytes of one validation file */
#define ECERT_DCV_FILE_MAX 255         /* bytes of its name */
#define ECERT_DCV_HOST_MAX 253         /* bytes of the host in A-label form */

typedef struct {
    const char *host; /* normalised, see ecert_dcv_host */
    const char *file; /* the name behind the prefix */
    const unsigned char *body;
    size_t body_len;
    int64_t expires; /* first second at which it is no longer answered */
    uint64_t id;     /* ecert_dcv_id; the same for both spellings of a host */
} ecert_token_t;

/*
 * Normalises a Host: lower case, without port and one trailing dot, into out
 * (ECERT_DCV_HOST_MAX + 1 bytes).  Returns 0, or -1 for what cannot be a host
 * name that we own (empty, an address in brackets, too long, odd bytes).
 * Bytes above 0x7f pass: the table holds Unicode spellings beside A-labels.
 */
int ecert_dcv_host(const char *host, size_t len, char *out);

/*
 * The file's name when path is exactly the prefix and one acceptable name
 * (letters, digits, . _ - and not a dot first), else NULL.  *file_len is set.
 */
const char *ecert_dcv_file(const char *path, size_t len, size_t *file_len);

/*
 * What is known of a file's fetches is known under this number: host (its
 * A-label), name and content, so that a new code begins at nothing.  0 on lack
 * of memory.
 */
uint64_t ecert_dcv_id(const char *host, const char *file,
                      const unsigned char *body, size_t len);

/*
 * Builds the table from n tokens in any order; of two with one host and file
 * the later one counts.  *out is the caller's (ecert_snap_free).
 */
int ecert_dcv_encode(const ecert_token_t *tokens, size_t n, unsigned char **out,
                     size_t *len, ecert_err_t *err);

/* 0 when every offset and length in the table lies inside it, else SNAPSHOT. */
int ecert_dcv_check(const unsigned char *table, size_t len, ecert_err_t *err);

/*
 * Looks up in a checked table; 1 and *token (pointing into the table; host and
 * file are not terminated and left NULL) when it is there, else 0.
 */
int ecert_dcv_find(const unsigned char *table, size_t len, const char *host,
                   const char *file, size_t file_len, ecert_token_t *token);

#endif
