#include <stdlib.h>

#include "ecert_chain_work.h"
#include "ecert_x509.h"

ecert_candidate_t *ecert_candidate_of(ecert_work_t *work, X509 *cert)
{
    for (size_t i = 0; i < work->n; i++) {
        if (work->all[i].cert == cert) {
            return &work->all[i];
        }
    }
    return NULL;
}

/* A known root under another issuer's signature. */
static int is_cross(const ecert_work_t *work, const ecert_candidate_t *c)
{
    if (c->self_signed || !ecert_x509_ca(c->cert)) {
        return 0;
    }
    for (int i = 0; i < sk_X509_num(work->roots); i++) {
        X509 *root = sk_X509_value(work->roots, i);
        if (ecert_x509_same_identity(root, c->cert)) {
            return 1;
        }
    }
    return ecert_ca_root_name(work->in->ca, X509_get_subject_name(c->cert));
}

static ecert_ca_role_t role_of(const ecert_work_t *work,
                               const ecert_candidate_t *c)
{
    if (c->entry != NULL) {
        return c->entry->role;
    }
    if (c->self_signed) {
        return ECERT_CA_ROOT;
    }
    if (is_cross(work, c)) {
        return ECERT_CA_CROSS;
    }
    return ecert_x509_ca(c->cert) ? ECERT_CA_SUB : ECERT_CA_UNKNOWN;
}

static int is_duplicate(const ecert_work_t *work, size_t i)
{
    if (X509_cmp(work->in->leaf, work->all[i].cert) == 0) {
        return 1;
    }
    for (size_t j = 0; j < i; j++) {
        if (X509_cmp(work->all[j].cert, work->all[i].cert) == 0) {
            return 1;
        }
    }
    return 0;
}

static void collect(ecert_work_t *work)
{
    for (size_t i = 0; i < work->n; i++) {
        ecert_candidate_t *c = &work->all[i];
        c->cert = sk_X509_value(work->in->pool, (int)i);
        c->entry = ecert_ca_find(work->in->ca, c->cert);
        c->not_before = ecert_x509_not_before(c->cert);
        c->not_after = ecert_x509_not_after(c->cert);
        c->server_auth = ecert_x509_server_auth(c->cert);
        c->self_signed = ecert_x509_self_signed(c->cert);
        c->why =
            is_duplicate(work, i) ? ECERT_WHY_DUPLICATE : ECERT_WHY_UNDECIDED;
    }
}

static int collect_roots(ecert_work_t *work)
{
    for (int i = 0; i < sk_X509_num(work->in->anchors); i++) {
        if (!sk_X509_push(work->roots, sk_X509_value(work->in->anchors, i))) {
            return -1;
        }
    }
    for (size_t i = 0; i < work->n; i++) {
        ecert_candidate_t *c = &work->all[i];
        if (c->self_signed && c->why == ECERT_WHY_UNDECIDED
            && !(c->entry && c->entry->denied)
            && !sk_X509_push(work->roots, c->cert)) {
            return -1;
        }
    }
    return 0;
}

/* What speaks against an element by itself. */
static ecert_why_t judge(const ecert_work_t *work, ecert_candidate_t *c)
{
    int cross = c->role == ECERT_CA_CROSS;
    if (c->entry && c->entry->denied) {
        return ECERT_WHY_DENIED;
    }
    if (c->self_signed) {
        return ECERT_WHY_ROOT;
    }
    if (!ecert_x509_ca(c->cert)) {
        return ECERT_WHY_NOT_CA;
    }
    if (work->in->security != NULL
        && ecert_security_element(work->in->security, c->cert, c->fault,
                                  sizeof(c->fault))
               != 0) {
        return ECERT_WHY_TOO_WEAK;
    }
    /* For an old leaf its old Sub CA will do; a dead cross-certificate never.
     */
    if (c->not_after < work->at || (cross && c->not_after < work->in->now)) {
        return ECERT_WHY_EXPIRED;
    }
    return c->not_before > work->at ? ECERT_WHY_NOT_YET : ECERT_WHY_UNDECIDED;
}

/* Marks all that bear the name of child's issuer. */
static void reach(ecert_work_t *work, X509 *child, ecert_candidate_t **queue,
                  size_t *queued)
{
    for (size_t i = 0; i < work->n; i++) {
        ecert_candidate_t *c = &work->all[i];
        if (c->reached || c->why != ECERT_WHY_UNDECIDED
            || !ecert_x509_names_issuer(child, c->cert)) {
            continue;
        }
        c->reached = 1;
        c->why = judge(work, c);
        if (c->why == ECERT_WHY_UNDECIDED) {
            c->usable = 1;
            queue[(*queued)++] = c;
        }
    }
}

static int is_vouched_for(const ecert_work_t *work, const ecert_candidate_t *c,
                          ecert_candidate_t **list, size_t n)
{
    for (int i = 0; i < sk_X509_num(work->roots); i++) {
        X509 *root = sk_X509_value(work->roots, i);
        int trusted = i < sk_X509_num(work->in->anchors)
                      || ecert_ca_find(work->in->ca, root) != NULL;
        if (trusted && ecert_x509_may_issue(root, c->cert)
            && ecert_path_signed(work->search, c->cert, root)) {
            return 1;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (list[i]->anchored && ecert_x509_may_issue(list[i]->cert, c->cert)
            && ecert_path_signed(work->search, c->cert, list[i]->cert)) {
            return 1;
        }
    }
    return 0;
}

/*
 * Anybody can make a twin of a Sub CA, and any number of certificates above it,
 * which would use up the search before it comes to the one that clients trust.
 */
static void anchor(const ecert_work_t *work, ecert_candidate_t **list, size_t n)
{
    int more;
    do {
        more = 0;
        for (size_t i = 0; i < n; i++) {
            if (!list[i]->anchored && is_vouched_for(work, list[i], list, n)) {
                list[i]->anchored = more = 1;
            }
        }
    } while (more);
}

/* Preference among issuers: a trusted root above, serverAuth, then the later
 * notBefore. */
static int better(const ecert_candidate_t *a, const ecert_candidate_t *b)
{
    int known_a = a->entry != NULL, known_b = b->entry != NULL;
    if (a->anchored != b->anchored) {
        return a->anchored;
    }
    if (a->server_auth != b->server_auth) {
        return a->server_auth;
    }
    if (known_a != known_b) {
        return known_a;
    }
    if (a->not_before != b->not_before) {
        return a->not_before > b->not_before;
    }
    if (a->not_after != b->not_after) {
        return a->not_after > b->not_after;
    }
    return X509_cmp(a->cert, b->cert) < 0; /* only so that it never wavers */
}

static void sort(ecert_candidate_t **list, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        ecert_candidate_t *c = list[i];
        size_t at = i;
        for (; at > 0 && better(c, list[at - 1]); at--) {
            list[at] = list[at - 1];
        }
        list[at] = c;
    }
}

static int push_role(STACK_OF(X509) *to, ecert_candidate_t **list, size_t n,
                     const ecert_work_t *work, int cross)
{
    for (size_t i = 0; i < n; i++) {
        if ((list[i]->role == ECERT_CA_CROSS) != cross
            || (cross
                && ecert_cross_why(work, list[i]) != ECERT_WHY_UNDECIDED)) {
            continue;
        }
        if (!sk_X509_push(to, list[i]->cert)) {
            return -1;
        }
    }
    return 0;
}

int ecert_candidates(ecert_work_t *work, ecert_err_t *err)
{
    int n = sk_X509_num(work->in->pool);
    work->n = n > 0 ? (size_t)n : 0;
    work->all = calloc(work->n + 1, sizeof(*work->all));
    work->roots = sk_X509_new_null();
    work->plain = sk_X509_new_null();
    work->crosses = sk_X509_new_null();
    ecert_candidate_t **queue =
        calloc(work->n + 1, sizeof(ecert_candidate_t *));
    size_t queued = 0;
    int rc = -1;

    if (work->all && work->roots && work->plain && work->crosses && queue) {
        collect(work);
        rc = collect_roots(work);
    }
    if (rc == 0) {
        for (size_t i = 0; i < work->n; i++) {
            work->all[i].role = role_of(work, &work->all[i]);
        }
        reach(work, work->in->leaf, queue, &queued);
        for (size_t i = 0; i < queued; i++) {
            reach(work, queue[i]->cert, queue, &queued);
        }
        anchor(work, queue, queued);
        sort(queue, queued);
        if (push_role(work->plain, queue, queued, work, 0) != 0
            || push_role(work->crosses, queue, queued, work, 1) != 0
            || push_role(work->crosses, queue, queued, work, 0) != 0) {
            rc = -1;
        }
    }
    free(queue);
    return rc == 0 ? 0 : ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
}

void ecert_candidates_free(ecert_work_t *work)
{
    free(work->all);
    sk_X509_free(work->roots);
    sk_X509_free(work->plain);
    sk_X509_free(work->crosses);
}
