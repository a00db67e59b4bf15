/*
 * Which certificates to serve behind a leaf, and why.  Pure: no files, no
 * clock.  Rules: docs/design.md, "Chain".
 */

#ifndef ECERT_CHAIN_H
#define ECERT_CHAIN_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/x509.h>

#include "ecert_ca.h"
#include "ecert_conf.h"
#include "ecert_err.h"
#include "ecert_security.h"

#define ECERT_CHAIN_NODES 500 /* budget of the search */
#define ECERT_CHAIN_DEPTH 12

/* Why a certificate was taken or left: code, word, sentence. */
#define ECERT_WHYS(X)                                                          \
    X(TAKEN, "taken", "served")                                                \
    X(LEAF, "leaf", "the certificate itself")                                  \
    X(ROOT, "root", "a self-signed root: clients have it, it is never sent")   \
    X(UNRELATED, "unrelated", "no path from the leaf leads here")              \
    X(DUPLICATE, "duplicate", "the same certificate is there already")         \
    X(EXPIRED, "expired", "it has expired")                                    \
    X(NOT_YET, "not-yet-valid", "it is not valid yet")                         \
    X(DENIED, "denied", "the catalogue forbids it")                            \
    X(NO_SERVER_AUTH, "no-server-auth",                                        \
      "its twin has the extended key usage serverAuth, it has not")            \
    X(OLDER, "older", "a twin with the same name and key is newer")            \
    X(NOT_CA, "not-a-ca", "it may not issue certificates")                     \
    X(SIGNATURE, "signature",                                                  \
      "same name, but it did not sign the element below")                      \
    X(INVALID, "invalid", "the path through it does not verify")               \
    X(TOO_WEAK, "too-weak", "the TLS library refuses to send it")              \
    X(CROSS_OFF, "cross-off", "cross-certificates are switched off")           \
    X(CROSS_PAST, "cross-past", "the cross-certificate is no longer useful")   \
    X(OTHER_PATH, "other-path", "a better path was taken")                     \
    X(BUDGET, "budget", "the search was ended before it came here")

typedef enum {
#define X(code, word, sentence) ECERT_WHY_##code,
    ECERT_WHYS(X)
#undef X
    ECERT_WHY_LAST
} ecert_why_t;

const char *ecert_why_word(ecert_why_t why);
const char *ecert_why_sentence(ecert_why_t why);

typedef struct {
    X509 *cert; /* a reference of its own */
    ecert_why_t why;
    ecert_ca_role_t role; /* known from the catalogue or found out */
    int proven;     /* on a path that a known root has signed, or that ends
                       in what the catalogue knows by its fingerprint */
    char note[192]; /* what the sentence leaves open, or "" */
} ecert_considered_t;

typedef struct {
    STACK_OF(X509) *served;         /* behind the leaf, in order */
    ecert_considered_t *considered; /* all of the pool, the leaf first */
    size_t n_considered;
    int complete;                  /* leads to a known root, or to the name of
                                      one: no proof, see proven */
    char missing[256];             /* when not complete: which issuer */
    char invalid[256];             /* why no client takes the leaf, whatever is
                                      missing and whenever; "": one may */
    int64_t not_before, not_after; /* of the leaf */
    int64_t next_change;           /* next second at which the answer may be
                                      another one; 0: never */
} ecert_chain_t;

typedef struct {
    X509 *leaf;
    const STACK_OF(X509) *pool; /* any order, doubles, roots, strangers */
    const STACK_OF(X509)
        *anchors;         /* roots known on this machine; may be NULL */
    const ecert_ca_t *ca; /* may be NULL */
    ecert_cross_t cross;
    int64_t now;
    ecert_security_t *security; /* at the level in force; NULL: not asked */
} ecert_chain_in_t;

/*
 * Always gives a chain, at worst an empty one that says what is missing; NULL
 * only on lack of memory or an OpenSSL failure.
 */
ecert_chain_t *ecert_chain_build(const ecert_chain_in_t *in, ecert_err_t *err);
void ecert_chain_free(ecert_chain_t *chain);

/*
 * What a client makes of a served chain: 0 when leaf verifies to one of roots
 * at that time with the purpose SSL server, else -1 and CHAIN with OpenSSL's
 * reason.  A browser: RFC 5280's rules for CAs and policies, keys and digests
 * of the Baseline Requirements; of roots only name, key, time and constraints.
 * Searches depth-first, as browsers do (81 of 81 BetterTLS cases).
 * host may be NULL, else it is compared, too (NAMES).
 */
int ecert_chain_verify(X509 *leaf, const STACK_OF(X509) *served,
                       const STACK_OF(X509) *roots, const char *host,
                       int64_t at, ecert_err_t *err);

/* Times of a certificate as Unix time. */
int64_t ecert_x509_not_before(const X509 *cert);
int64_t ecert_x509_not_after(const X509 *cert);

/* SHA-256 fingerprint as 64 hex digits into out[65]; returns out. */
char *ecert_x509_fingerprint(const X509 *cert, char *out);

/* The subject's CN (else its last RDN), escaped, into out; returns out. */
char *ecert_x509_label(const X509 *cert, char *out, size_t size);

#endif
