/*
 * What a server sent in a handshake, as fingerprints, or that it failed: how it
 * comes out of the fetcher, and how it differs from what is published.  Pure.
 */

#ifndef ECERT_SENT_H
#define ECERT_SENT_H

#include <stddef.h>

#include <openssl/x509.h>

#include "ecert_err.h"
#include "ecert_handshake.h"
#include "ecert_jail.h"

#define ECERT_SENT_MAX   16 /* certificates that are looked at */
#define ECERT_SENT_BYTES (ECERT_SENT_MAX * 32 + 1) /* of all frames */

typedef struct {
    unsigned char digests[ECERT_SENT_MAX][32]; /* SHA-256, the leaf first */
    size_t n;
    int stapled;
    char failed[ECERT_HANDSHAKE_SAYS]; /* why there is nothing, or "" */
} ecert_sent_t;

/* In the fetcher; certificates beyond the bound are not told. */
int ecert_sent_write(const ecert_shaken_t *got, ecert_frames_t *out,
                     ecert_err_t *err);

/* In the agent, which trusts nothing of it: FETCH, about `where`, when the
 * frames are not such. */
int ecert_sent_read(const ecert_frames_t *frames, const char *where,
                    ecert_sent_t *out, ecert_err_t *err);

/*
 * 0 when this is the leaf with the chain behind it, and a staple where one is
 * to be there; else 1, with the first difference in words.
 */
int ecert_sent_differs(const ecert_sent_t *sent, const X509 *leaf,
                       const STACK_OF(X509) *chain, int staple, char *out,
                       size_t size);

#endif
