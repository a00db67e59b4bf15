/*
 * Paths of certificates: found depth-first among loose certificates, and
 * verified one by one.  OpenSSL's own builder does not go back from a dead end
 * (it gets 27 of BetterTLS's 81 cases wrong), so each path is given to it with
 * nothing else to choose from.
 */

#ifndef ECERT_PATH_H
#define ECERT_PATH_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/x509.h>

#include "ecert_chain.h"
#include "ecert_err.h"

#define ECERT_PATH_VERIFIES 64   /* whole paths verified in one search */
#define ECERT_PATH_EDGES    1000 /* signatures checked in all searches */

/* From the leaf upwards, without the root. */
typedef struct {
    X509 *certs[ECERT_CHAIN_DEPTH + 1];
    size_t n;
    X509 *root; /* NULL: nobody's certificate is there for the last issuer */
} ecert_path_t;

/* Which certificate signed which: each pair is computed once. */
typedef struct {
    X509 *cert, *issuer;
    int ok;
} ecert_edge_t;

typedef struct ecert_search_s ecert_search_t;

struct ecert_search_s {
    /* Elements in order of preference; roots are tried before them. */
    const STACK_OF(X509) *pool;
    const STACK_OF(X509) *roots;
    /* The leaf's own signature is not looked at: for issuers without a leaf. */
    int unsigned_leaf;
    /* Called for each path that cannot go on; not 0 ends the search. */
    int (*visit)(ecert_search_t *search, const ecert_path_t *path);
    void *ctx;

    size_t nodes;    /* steps taken of ECERT_CHAIN_NODES */
    size_t verifies; /* of ECERT_PATH_VERIFIES, counted by the visitors */
    int exhausted;   /* the budget ended it */
    size_t n_edges;
    ecert_edge_t edges[ECERT_PATH_EDGES];
};

/* Goes on from the last element of path (which is left as it was). */
int ecert_path_search(ecert_search_t *search, ecert_path_t *path);

/* 1 when issuer signed cert; 0 also when the budget has ended. */
int ecert_path_signed(ecert_search_t *search, X509 *cert, X509 *issuer);

/*
 * 1 when issuer is the one that cert means, by name and key identifier, and did
 * not sign it: then nobody did.  0 also where that cannot be told.
 */
int ecert_path_forged(ecert_search_t *search, X509 *cert, X509 *issuer);

/* How to look at a path. */
#define ECERT_PATH_UNSIGNED_LEAF 1 /* leave out the leaf, and the purpose */
#define ECERT_PATH_STRICT                                                      \
    2                         /* as browsers do: what RFC 5280 demands of      \
                                 CAs (X509_V_FLAG_X509_STRICT), policies,      \
                                 and ecert_path_profile */
#define ECERT_PATH_TIMELESS 4 /* whenever its elements are valid */
#define ECERT_PATH_LEVEL_1  8 /* at security level 1: SHA-1 fails still */

/*
 * One path as a TLS client sees it that asks for security level 2 (see
 * SSL_CTX_set_security_level(3)): 0, or -1 and CHAIN with the reason.  Without
 * a root the last element is taken as trusted, but for its own digest.
 */
int ecert_path_verify(const ecert_path_t *path, int how, int64_t at,
                      ecert_err_t *err);

/*
 * What clients ask of a server's certificate and OpenSSL does not: CHAIN.
 */
int ecert_path_profile(const ecert_path_t *path, ecert_err_t *err);

#endif
