#include "ecert_chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "ecert_chain_work.h"
#include "ecert_x509.h"

ecert_why_t ecert_cross_why(const ecert_work_t *work,
                            const ecert_candidate_t *candidate)
{
    const ecert_cross_t *policy = &work->in->cross;
    const ecert_ca_entry_t *entry = candidate ? candidate->entry : NULL;
    switch (policy->kind) {
    case ECERT_CROSS_OFF:
        return ECERT_WHY_CROSS_OFF;
    case ECERT_CROSS_UNTIL:
        return work->in->now >= policy->until ? ECERT_WHY_CROSS_PAST
                                              : ECERT_WHY_UNDECIDED;
    case ECERT_CROSS_ON:
        return ECERT_WHY_UNDECIDED;
    default:
        return entry && entry->useful_until
                       && work->in->now >= entry->useful_until
                   ? ECERT_WHY_CROSS_PAST
                   : ECERT_WHY_UNDECIDED;
    }
}

/* The catalogue knows the root that the path's last element names. */
static int known_above(const ecert_work_t *work, const ecert_path_t *path)
{
    X509 *top = path->certs[path->n - 1];
    const ecert_ca_entry_t *entry = ecert_ca_find(work->in->ca, top);
    return ecert_ca_root_name(work->in->ca, X509_get_issuer_name(top))
           || (entry != NULL && entry->role == ECERT_CA_CROSS);
}

/*
 * Anybody can bear a name; a known root's certificate, or the catalogue's
 * fingerprint of the topmost element, is proof.  Each element has signed the
 * one below it, so it holds for all of the path but the leaf.
 */
static int proves(const ecert_work_t *work, const ecert_choice_t *choice,
                  const X509 *cert)
{
    const ecert_path_t *path = &choice->path;
    if (!choice->found
        || (path->root == NULL
            && ecert_ca_find(work->in->ca, path->certs[path->n - 1]) == NULL)) {
        return 0;
    }
    for (size_t i = 1; i < path->n; i++) {
        if (path->certs[i] == cert) {
            return 1;
        }
    }
    return 0;
}

static void remember_fault(ecert_work_t *work, const ecert_path_t *path,
                           const ecert_err_t *err)
{
    if (work->fault[0] == '\0') {
        snprintf(work->fault, sizeof(work->fault), "%.150s", err->detail);
        ecert_trim(work->fault);
    }
    for (size_t i = 1; i < path->n; i++) {
        ecert_candidate_t *c = ecert_candidate_of(work, path->certs[i]);
        if (c != NULL && c->fault[0] == '\0') {
            snprintf(c->fault, sizeof(c->fault), "%.150s", err->detail);
            ecert_trim(c->fault);
        }
    }
}

/* Takes the path when it verifies and is better than what was there. */
static int consider(ecert_search_t *search, const ecert_path_t *path,
                    ecert_choice_t *choice)
{
    ecert_work_t *work = search->ctx;
    ecert_err_t err;
    int complete = path->root != NULL || known_above(work, path);

    if (choice->found && !complete) {
        return 0;
    }
    if (search->verifies++ >= ECERT_PATH_VERIFIES) {
        search->exhausted = 1;
        return 1;
    }
    if ((path->root == NULL
         && ecert_chain_forged(work, path->certs[path->n - 1], &err))
        || ecert_path_verify(path, work->how, work->at, &err) != 0) {
        remember_fault(work, path, &err);
        return err.code == ECERT_ERR_OPENSSL;
    }
    choice->path = *path;
    choice->found = 1;
    choice->complete = complete;
    choice->lapsed = NULL;
    return complete;
}

/*
 * The root has expired, or is weak.  What it signed is served nevertheless:
 * clients may know another path from there, a cross-certificate perhaps.
 */
static int consider_without_root(ecert_search_t *search,
                                 const ecert_path_t *path,
                                 ecert_choice_t *choice)
{
    ecert_path_t rootless = *path;
    int rc;
    rootless.root = NULL;
    rc = consider(search, &rootless, choice);
    if (!choice->found) {
        return rc;
    }
    choice->complete = 0;
    choice->lapsed = path->root;
    return 0; /* there may be a better one */
}

static int visit_direct(ecert_search_t *search, const ecert_path_t *path)
{
    ecert_work_t *work = search->ctx;
    int rc;
    if (path->n == 1 && path->root == NULL) {
        return 0; /* the leaf alone is no path */
    }
    rc = consider(search, path, &work->direct);
    if (rc != 0 || work->direct.found || path->root == NULL || path->n == 1) {
        return rc;
    }
    return consider_without_root(search, path, &work->direct);
}

static int visit_cross(ecert_search_t *search, const ecert_path_t *path)
{
    ecert_work_t *work = search->ctx;
    size_t below = work->direct.found ? work->direct.path.n : 1;
    if (path->n <= below) {
        return 0;
    }
    ecert_candidate_t *first = ecert_candidate_of(work, path->certs[below]);
    if (first == NULL || first->role != ECERT_CA_CROSS) {
        return 0;
    }
    return consider(search, path, &work->cross);
}

static void search_paths(ecert_work_t *work)
{
    ecert_search_t *search = work->search;
    ecert_path_t path = {.certs = {work->in->leaf}, .n = 1};

    search->roots = work->roots;
    search->unsigned_leaf = work->unsigned_leaf;
    search->ctx = work;
    search->pool = work->plain;
    search->visit = visit_direct;
    ecert_path_search(search, &path);

    if (work->direct.found) {
        path = work->direct.path;
        path.root = NULL;
    }
    search->pool = work->crosses;
    search->visit = visit_cross;
    search->nodes = 0;
    search->verifies = 0;
    ecert_path_search(search, &path);
}

/*
 * Nobody here knows the root, so nothing tells a cross-certificate from a Sub
 * CA; but who switches cross-certificates off means this topmost element.
 */
static void cut_unproven_top(ecert_work_t *work)
{
    ecert_cross_kind_t kind = work->in->cross.kind;
    if ((kind == ECERT_CROSS_OFF || kind == ECERT_CROSS_UNTIL)
        && work->chosen == &work->direct.path && !work->direct.complete
        && work->direct.lapsed == NULL && work->served > 2
        && ecert_cross_why(work, NULL) != ECERT_WHY_UNDECIDED) {
        work->served--;
        work->cut_top = 1;
    }
}

static void choose(ecert_work_t *work)
{
    if (work->cross.found) {
        work->chosen = &work->cross.path;
    } else if (work->direct.found) {
        work->chosen = &work->direct.path;
    }
    work->served = work->chosen ? work->chosen->n : 1;
    cut_unproven_top(work);
}

/* Of a root that is no element of the pool, perhaps. */
static void root_dates(const ecert_choice_t *choice, int64_t now, int64_t *next)
{
    const X509 *root =
        choice->lapsed != NULL ? choice->lapsed : choice->path.root;
    if (root != NULL) {
        ecert_date_sooner(next, ecert_x509_not_before(root), now);
        ecert_date_sooner(next, ecert_x509_not_after(root) + 1, now);
    }
}

static int64_t next_change(const ecert_work_t *work)
{
    const ecert_chain_in_t *in = work->in;
    int64_t next = 0;

    ecert_date_sooner(&next, ecert_x509_not_before(in->leaf), in->now);
    ecert_date_sooner(&next, ecert_x509_not_after(in->leaf) + 1, in->now);
    if (in->cross.kind == ECERT_CROSS_UNTIL) {
        ecert_date_sooner(&next, in->cross.until, in->now);
    }
    for (size_t i = 0; i < work->n; i++) {
        const ecert_candidate_t *c = &work->all[i];
        if (!c->reached || c->why == ECERT_WHY_DENIED) {
            continue;
        }
        ecert_date_sooner(&next, c->not_before, in->now);
        ecert_date_sooner(&next, c->not_after + 1, in->now);
        if (c->entry && in->cross.kind != ECERT_CROSS_ON
            && in->cross.kind != ECERT_CROSS_UNTIL) {
            ecert_date_sooner(&next, c->entry->useful_until, in->now);
        }
    }
    root_dates(&work->direct, in->now, &next);
    root_dates(&work->cross, in->now, &next);
    return next;
}

static int fill_considered(ecert_chain_t *chain, const ecert_work_t *work)
{
    chain->considered = calloc(work->n + 1, sizeof(*chain->considered));
    if (chain->considered == NULL) {
        return -1;
    }
    ecert_considered_t *leaf = &chain->considered[0];
    char from[32], to[32];
    X509_up_ref(work->in->leaf);
    leaf->cert = work->in->leaf;
    leaf->why = ECERT_WHY_LEAF;
    snprintf(leaf->note, sizeof(leaf->note), "valid %s to %s",
             ecert_day_format(chain->not_before, from),
             ecert_day_format(chain->not_after, to));
    chain->n_considered = 1;
    for (size_t i = 0; i < work->n; i++) {
        const ecert_candidate_t *c = &work->all[i];
        ecert_considered_t *out = &chain->considered[chain->n_considered++];
        X509_up_ref(c->cert);
        out->cert = c->cert;
        out->why = c->why;
        out->role = c->role;
        out->proven = proves(work, &work->direct, c->cert)
                      || proves(work, &work->cross, c->cert);
        memcpy(out->note, c->note, sizeof(out->note));
    }
    return 0;
}

static int fill(ecert_chain_t *chain, ecert_work_t *work)
{
    chain->served = sk_X509_new_null();
    if (chain->served == NULL || fill_considered(chain, work) != 0) {
        return -1;
    }
    if (work->chosen == NULL && !work->unsigned_leaf) {
        ecert_chain_invalid(work, chain->invalid, sizeof(chain->invalid));
    }
    for (size_t i = 1; i < work->served; i++) {
        X509 *cert = work->chosen->certs[i];
        if (!sk_X509_push(chain->served, cert)) {
            return -1;
        }
        X509_up_ref(cert);
    }
    chain->complete =
        work->direct.complete
        || (work->chosen == &work->cross.path && work->cross.complete);
    if (chain->invalid[0] != '\0') {
        snprintf(chain->missing, sizeof(chain->missing), "%s", chain->invalid);
    } else if (!chain->complete) {
        ecert_chain_missing(work, chain->missing, sizeof(chain->missing));
    }
    chain->next_change = next_change(work);
    return 0;
}

/* A leaf outside its time is judged at the nearest moment of its life. */
static int64_t moment(const ecert_chain_t *chain, int64_t now)
{
    if (now < chain->not_before) {
        return chain->not_before;
    }
    return now > chain->not_after ? chain->not_after : now;
}

/* Who lowers the server's level has older clients than browsers. */
static int how_to_verify(const ecert_chain_in_t *in, int unsigned_leaf)
{
    int how = unsigned_leaf ? ECERT_PATH_UNSIGNED_LEAF : 0;
    return in->security != NULL && ecert_security_level(in->security) < 2
               ? how | ECERT_PATH_LEVEL_1
               : how;
}

ecert_chain_t *ecert_chain_assemble(const ecert_chain_in_t *in,
                                    int unsigned_leaf, ecert_err_t *err)
{
    ecert_work_t work = {.in = in,
                         .unsigned_leaf = unsigned_leaf,
                         .how = how_to_verify(in, unsigned_leaf)};
    ecert_chain_t *chain = calloc(1, sizeof(*chain));
    int rc = -1;

    work.search = calloc(1, sizeof(*work.search));
    if (chain == NULL || work.search == NULL) {
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    } else {
        chain->not_before = ecert_x509_not_before(in->leaf);
        chain->not_after = ecert_x509_not_after(in->leaf);
        work.at = moment(chain, in->now);
        rc = ecert_candidates(&work, err);
    }
    if (rc == 0) {
        search_paths(&work);
        choose(&work);
        ecert_chain_explain(&work);
        rc = fill(chain, &work);
        if (rc != 0) {
            ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        }
    }
    ecert_candidates_free(&work);
    free(work.search);
    if (rc != 0) {
        ecert_chain_free(chain);
        chain = NULL;
    }
    ERR_clear_error();
    return chain;
}

ecert_chain_t *ecert_chain_build(const ecert_chain_in_t *in, ecert_err_t *err)
{
    return ecert_chain_assemble(in, 0, err);
}

void ecert_chain_free(ecert_chain_t *chain)
{
    if (chain == NULL) {
        return;
    }
    for (size_t i = 0; i < chain->n_considered; i++) {
        X509_free(chain->considered[i].cert);
    }
    free(chain->considered);
    sk_X509_pop_free(chain->served, X509_free);
    free(chain);
}
