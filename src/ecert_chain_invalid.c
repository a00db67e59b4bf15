/* A leaf that no client takes: nothing is missing that could be added. */

#include <stdio.h>

#include "ecert_chain_work.h"
#include "ecert_x509.h"

static int forged_by(ecert_work_t *work, X509 *cert, X509 *issuer,
                     X509 **culprit)
{
    if (issuer != cert && ecert_path_forged(work->search, cert, issuer)) {
        *culprit = issuer;
    }
    return ecert_x509_may_issue(issuer, cert)
           && ecert_path_signed(work->search, cert, issuer);
}

int ecert_chain_forged(ecert_work_t *work, X509 *cert, ecert_err_t *err)
{
    X509 *culprit = NULL;
    char label[128], issuer[128];

    for (int i = 0; i < sk_X509_num(work->roots); i++) {
        if (forged_by(work, cert, sk_X509_value(work->roots, i), &culprit)) {
            return 0;
        }
    }
    for (size_t i = 0; i < work->n; i++) {
        if (forged_by(work, cert, work->all[i].cert, &culprit)) {
            return 0;
        }
    }
    if (culprit == NULL || work->search->exhausted) {
        return 0;
    }
    ecert_x509_label(cert, label, sizeof(label));
    ecert_x509_label(culprit, issuer, sizeof(issuer));
    ecert_err(err, ECERT_ERR_CHAIN, NULL,
              "%s: its signature is not that of %s, whose key it names", label,
              issuer);
    return 1;
}

/* All of the pool, at whatever time and under whatever policy. */
static int collect(const ecert_work_t *work, STACK_OF(X509) *pool)
{
    for (size_t i = 0; i < work->n; i++) {
        const ecert_candidate_t *c = &work->all[i];
        if (!c->self_signed && c->why != ECERT_WHY_DUPLICATE
            && !sk_X509_push(pool, c->cert)) {
            return -1;
        }
    }
    return 0;
}

/*
 * The part of a path that has to verify: above it is a root, or what was left
 * out by itself or is a root under another's signature; clients may know
 * something else there.
 */
static ecert_path_t part_of(ecert_work_t *work, const ecert_path_t *path)
{
    ecert_path_t part = *path;

    if (part.n == 1) {
        return part; /* the root is the leaf's own issuer */
    }
    part.root = NULL;
    for (size_t i = 2; i < part.n; i++) {
        const ecert_candidate_t *c = ecert_candidate_of(work, part.certs[i]);
        if (!c->usable || c->role == ECERT_CA_CROSS) {
            part.n = i;
        }
    }
    return part;
}

/* 1, and the search is over, when one path may verify at some time. */
static int visit(ecert_search_t *search, const ecert_path_t *path)
{
    ecert_work_t *work = search->ctx;
    ecert_path_t part = part_of(work, path);
    ecert_err_t err;

    if (path->n == 1 && path->root == NULL) {
        return 0; /* nobody is here who signed it */
    }
    if (search->verifies++ >= ECERT_PATH_VERIFIES) {
        search->exhausted = 1;
        return 1;
    }
    if (ecert_chain_forged(work, part.certs[part.n - 1], &err)
        || ecert_path_verify(&part, ECERT_PATH_TIMELESS | work->how, work->at,
                             &err)
               == 0) {
        return 1; /* of a damaged issuer a good copy is what is missing */
    }
    if (work->fault[0] == '\0') {
        snprintf(work->fault, sizeof(work->fault), "%.150s", err.detail);
        ecert_trim(work->fault);
    }
    return 0;
}

/* Whether issuers of the leaf are here, and no path through them verifies. */
static int all_fail(ecert_work_t *work)
{
    ecert_search_t *search = work->search;
    ecert_path_t path = {.certs = {work->in->leaf}, .n = 1};
    STACK_OF(X509) *pool = sk_X509_new_null();
    int found = 1;

    work->fault[0] = '\0';
    search->pool = pool;
    search->visit = visit;
    search->nodes = 0;
    search->verifies = 0;
    if (pool != NULL && collect(work, pool) == 0) {
        found = ecert_path_search(search, &path);
    }
    sk_X509_free(pool);
    search->pool = NULL;
    return !found && !search->exhausted && work->fault[0] != '\0';
}

void ecert_chain_invalid(ecert_work_t *work, char *out, size_t size)
{
    ecert_path_t alone = {.certs = {work->in->leaf}, .n = 1};
    char first[sizeof(work->fault)];
    ecert_err_t err;

    snprintf(first, sizeof(first), "%s", work->fault);
    if (ecert_path_verify(&alone, ECERT_PATH_TIMELESS | work->how, work->at,
                          &err)
            != 0
        || ecert_chain_forged(work, work->in->leaf, &err)) {
        snprintf(out, size, "%.250s", err.detail);
        ecert_trim(out);
    } else if (all_fail(work)) {
        snprintf(out, size, "%s", work->fault);
    } else {
        snprintf(work->fault, sizeof(work->fault), "%s", first);
    }
}
