/*
 * The workings of ecert_chain_build, between the files that do it: candidates
 * (ecert_candidate.c), the choice (ecert_chain.c), reasons (ecert_chain_why.c),
 * a leaf that no client takes (ecert_chain_invalid.c).
 */

#ifndef ECERT_CHAIN_WORK_H
#define ECERT_CHAIN_WORK_H

#include "ecert_chain.h"
#include "ecert_path.h"

#define ECERT_WHY_UNDECIDED ECERT_WHY_LAST

/* One certificate of the pool. */
typedef struct {
    X509 *cert;
    const ecert_ca_entry_t *entry; /* NULL: the catalogue does not know it */
    int64_t not_before, not_after;
    ecert_ca_role_t role;
    int self_signed;
    int server_auth;
    int reached;  /* by names, through elements that could be used */
    int usable;   /* reached, and nothing speaks against it by itself */
    int anchored; /* signed, over others perhaps, by a root that this system or
                     the catalogue trusts */
    ecert_why_t why;
    char fault[160]; /* why a path through it did not verify */
    char note[192];
} ecert_candidate_t;

/* A path that verified. */
typedef struct {
    ecert_path_t path;
    int found;
    int complete; /* leads to a root that is known */
    X509 *lapsed; /* the path's root, which does not verify itself; path.root is
                     NULL then */
} ecert_choice_t;

typedef struct {
    const ecert_chain_in_t *in;
    int unsigned_leaf;
    int64_t at; /* the moment that paths are verified at */
    ecert_candidate_t *all;
    size_t n;
    STACK_OF(X509) *roots;   /* in->anchors and the pool's self-signed ones */
    STACK_OF(X509) *plain;   /* usable, without cross-certificates */
    STACK_OF(X509) *crosses; /* usable under the policy, then the plain ones */
    ecert_search_t *search;
    ecert_choice_t direct, cross;
    size_t
        served; /* elements of the chosen path that are served, and the leaf */
    const ecert_path_t *chosen;
    int cut_top;     /* the topmost was taken to be a cross-certificate */
    char fault[160]; /* of the first path that did not verify */
    int how;         /* to look at paths: ECERT_PATH_LEVEL_1, _UNSIGNED_LEAF */
} ecert_work_t;

/* Fills all, roots, plain, crosses.  -1 without memory. */
int ecert_candidates(ecert_work_t *work, ecert_err_t *err);
void ecert_candidates_free(ecert_work_t *work);
ecert_candidate_t *ecert_candidate_of(ecert_work_t *work, X509 *cert);

/* UNDECIDED while the policy lets it be served; CROSS_OFF, CROSS_PAST. */
ecert_why_t ecert_cross_why(const ecert_work_t *work,
                            const ecert_candidate_t *candidate);

/* Decides why for all that are still undecided, and writes every note. */
void ecert_chain_explain(ecert_work_t *work);

/* 1 when the issuer that cert means is here, and did not sign it; err. */
int ecert_chain_forged(ecert_work_t *work, X509 *cert, ecert_err_t *err);

/*
 * Nothing was found to serve: why no client takes the leaf, whatever else may
 * come into the pool and whenever, into out; "" when something may be missing.
 */
void ecert_chain_invalid(ecert_work_t *work, char *out, size_t size);

/* What is missing, into out. */
void ecert_chain_missing(ecert_work_t *work, char *out, size_t size);

/*
 * ecert_chain_build, but with unsigned_leaf the leaf is believed to be signed
 * by whoever bears its issuer's name: the issuers' part by itself.
 */
ecert_chain_t *ecert_chain_assemble(const ecert_chain_in_t *in,
                                    int unsigned_leaf, ecert_err_t *err);

#endif
