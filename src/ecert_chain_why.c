#include <stdio.h>
#include <string.h>

#include "ecert_chain_work.h"
#include "ecert_x509.h"

static const struct {
    const char *word, *sentence;
} whys[] = {
#define X(code, word, sentence) {word, sentence},
    ECERT_WHYS(X)
#undef X
};

const char *ecert_why_word(ecert_why_t why)
{
    return (unsigned)why < ECERT_WHY_LAST ? whys[why].word : "unknown";
}

const char *ecert_why_sentence(ecert_why_t why)
{
    return (unsigned)why < ECERT_WHY_LAST ? whys[why].sentence : "unknown";
}

static int is_served(const ecert_work_t *work, X509 *cert)
{
    for (size_t i = 1; i < work->served; i++) {
        if (work->chosen->certs[i] == cert) {
            return 1;
        }
    }
    return 0;
}

/* The served certificate with this one's name and key, if there is one. */
static ecert_candidate_t *served_twin(ecert_work_t *work, X509 *cert)
{
    for (size_t i = 1; i < work->served; i++) {
        X509 *other = work->chosen->certs[i];
        if (other != cert && ecert_x509_same_identity(other, cert)) {
            return ecert_candidate_of(work, other);
        }
    }
    return NULL;
}

/* Whether it signed any element that could stand below it. */
static int signed_something(ecert_work_t *work, X509 *cert)
{
    if (ecert_x509_may_issue(cert, work->in->leaf)
        && (work->unsigned_leaf
            || ecert_path_signed(work->search, work->in->leaf, cert))) {
        return 1;
    }
    for (size_t i = 0; i < work->n; i++) {
        const ecert_candidate_t *c = &work->all[i];
        if (c->usable && c->cert != cert && ecert_x509_may_issue(cert, c->cert)
            && ecert_path_signed(work->search, c->cert, cert)) {
            return 1;
        }
    }
    return 0;
}

static ecert_why_t why_left(ecert_work_t *work, const ecert_candidate_t *c,
                            const ecert_candidate_t *twin)
{
    int cross = c->role == ECERT_CA_CROSS;
    if (work->cut_top && c->cert == work->chosen->certs[work->served]) {
        return ecert_cross_why(work, c);
    }
    if (cross && ecert_cross_why(work, c) != ECERT_WHY_UNDECIDED) {
        return ecert_cross_why(work, c);
    }
    if (!signed_something(work, c->cert)) {
        return work->search->exhausted ? ECERT_WHY_BUDGET : ECERT_WHY_SIGNATURE;
    }
    if (c->fault[0] != '\0') {
        return ECERT_WHY_INVALID;
    }
    if (twin != NULL && twin->server_auth && !c->server_auth) {
        return ECERT_WHY_NO_SERVER_AUTH;
    }
    if (twin != NULL && twin->not_before >= c->not_before) {
        return ECERT_WHY_OLDER;
    }
    return work->search->exhausted ? ECERT_WHY_BUDGET : ECERT_WHY_OTHER_PATH;
}

static void note_twin(ecert_candidate_t *c, const ecert_candidate_t *twin)
{
    char hex[65], day[32];
    snprintf(c->note, sizeof(c->note), "the one of %s, %.16s..., is served",
             ecert_day_format(twin->not_before, day),
             ecert_x509_fingerprint(twin->cert, hex));
}

static void note_taken(const ecert_work_t *work, ecert_candidate_t *c)
{
    char until[32], useful[32] = "";
    const char *comma = "";
    if (c->entry && c->entry->useful_until
        && work->in->cross.kind != ECERT_CROSS_ON
        && work->in->cross.kind != ECERT_CROSS_UNTIL) {
        ecert_day_format(c->entry->useful_until - 1, useful);
        comma = ", useful until ";
    } else if (c->role == ECERT_CA_CROSS
               && work->in->cross.kind == ECERT_CROSS_UNTIL) {
        ecert_day_format(work->in->cross.until - 1, useful);
        comma = ", by configuration until ";
    }
    snprintf(c->note, sizeof(c->note), "valid until %s%s%s",
             ecert_day_format(c->not_after, until), comma, useful);
}

static void note_past(const ecert_work_t *work, ecert_candidate_t *c)
{
    char day[32];
    int64_t end = work->in->cross.kind == ECERT_CROSS_UNTIL
                      ? work->in->cross.until
                      : (c->entry ? c->entry->useful_until : 0);
    snprintf(c->note, sizeof(c->note), "it was until %s, by %s",
             ecert_day_format(end - 1, day),
             work->in->cross.kind == ECERT_CROSS_UNTIL ? "configuration"
                                                       : "the catalogue");
}

static void add_note(ecert_candidate_t *c, const char *text)
{
    size_t used = strlen(c->note);
    snprintf(c->note + used, sizeof(c->note) - used, "%s%s", used ? "; " : "",
             text);
}

static void note(ecert_work_t *work, ecert_candidate_t *c,
                 const ecert_candidate_t *twin)
{
    char day[32];
    switch (c->why) {
    case ECERT_WHY_TAKEN:
        note_taken(work, c);
        break;
    case ECERT_WHY_NO_SERVER_AUTH:
    case ECERT_WHY_OLDER:
        if (twin != NULL) {
            note_twin(c, twin);
        }
        break;
    case ECERT_WHY_EXPIRED:
        snprintf(c->note, sizeof(c->note), "on %s",
                 ecert_day_format(c->not_after, day));
        break;
    case ECERT_WHY_ROOT:
        snprintf(c->note, sizeof(c->note), "valid until %s",
                 ecert_day_format(c->not_after, day));
        break;
    case ECERT_WHY_NOT_YET:
        snprintf(c->note, sizeof(c->note), "from %s",
                 ecert_day_format(c->not_before, day));
        break;
    case ECERT_WHY_DENIED:
        if (c->entry->reason != NULL) {
            ecert_escape(c->note, sizeof(c->note), c->entry->reason,
                         strlen(c->entry->reason));
        }
        break;
    case ECERT_WHY_UNRELATED:
        snprintf(c->note, sizeof(c->note), "%s",
                 c->self_signed ? "a self-signed root" : "");
        break;
    case ECERT_WHY_INVALID:
    case ECERT_WHY_TOO_WEAK:
        snprintf(c->note, sizeof(c->note), "%s", c->fault);
        break;
    case ECERT_WHY_CROSS_PAST:
        note_past(work, c);
        break;
    default:
        break;
    }
    if (work->cut_top && c->cert == work->chosen->certs[work->served]) {
        add_note(c, "taken for the cross-certificate, as no root is known "
                    "for it");
    }
}

void ecert_chain_explain(ecert_work_t *work)
{
    for (size_t i = 0; i < work->n; i++) {
        ecert_candidate_t *c = &work->all[i];
        ecert_candidate_t *twin = served_twin(work, c->cert);
        if (c->why == ECERT_WHY_UNDECIDED) {
            c->why = !c->usable                 ? ECERT_WHY_UNRELATED
                     : is_served(work, c->cert) ? ECERT_WHY_TAKEN
                                                : why_left(work, c, twin);
        }
        note(work, c, twin);
    }
}

static int is_here(const ecert_work_t *work, const ecert_ca_entry_t *entry)
{
    for (size_t i = 0; i < work->n; i++) {
        if (work->all[i].entry == entry) {
            return 1;
        }
    }
    return 0;
}

/* The catalogue's current entry of this name, with its address; not one that is
 * here, and was of no use. */
static const ecert_ca_entry_t *download(const ecert_work_t *work,
                                        const char *name)
{
    const ecert_ca_t *ca = work->in->ca;
    for (size_t i = 0; i < ecert_ca_count(ca); i++) {
        const ecert_ca_entry_t *entry = ecert_ca_entry(ca, i);
        if (!entry->denied && entry->url && entry->role == ECERT_CA_SUB
            && strcmp(entry->name, name) == 0 && !is_here(work, entry)) {
            return entry;
        }
    }
    return NULL;
}

/* What is wrong with the ones that bear the missing issuer's name. */
static const char *only_as(const ecert_work_t *work, X509 *top)
{
    const char *only = "";
    for (size_t i = 0; i < work->n; i++) {
        const ecert_candidate_t *c = &work->all[i];
        if (c->cert == top || !ecert_x509_names_issuer(top, c->cert)) {
            continue;
        }
        switch (c->why) {
        case ECERT_WHY_DENIED:
            return " (the one that is there is denied by the catalogue)";
        case ECERT_WHY_EXPIRED:
            only = " (the one that is there has expired)";
            break;
        case ECERT_WHY_NOT_YET:
            only = " (the one that is there is not valid yet)";
            break;
        case ECERT_WHY_NOT_CA:
            only = " (the one that is there may not issue certificates)";
            break;
        case ECERT_WHY_TOO_WEAK:
            return " (the one that is there is too weak for the TLS library)";
        case ECERT_WHY_SIGNATURE:
            only = ecert_x509_key_fault(X509_get0_pubkey(c->cert))
                       ? " (the one that is there has a kind of key that is "
                         "not taken)"
                       : " (the one that is there has another key)";
            break;
        case ECERT_WHY_CROSS_OFF:
        case ECERT_WHY_CROSS_PAST:
            only = " (only a cross-certificate is there, and it is not to be "
                   "served)";
            break;
        default:
            break;
        }
    }
    return only;
}

void ecert_chain_missing(ecert_work_t *work, char *out, size_t size)
{
    X509 *top = work->served > 1 ? work->chosen->certs[work->served - 1]
                                 : work->in->leaf;
    char issuer[96];
    ecert_x509_name_label(X509_get_issuer_name(top), issuer, sizeof(issuer));

    if (ecert_x509_self_signed(work->in->leaf)) {
        snprintf(out, size,
                 "the certificate is self-signed: no client has "
                 "reason to trust it");
        return;
    }
    if (!work->chosen && work->fault[0] != '\0') {
        snprintf(out, size, "no path verifies: %s", work->fault);
        return;
    }
    if (work->chosen == &work->direct.path && work->direct.lapsed != NULL) {
        snprintf(out, size, "a root that verifies: %s",
                 ecert_candidate_of(work, top)->fault);
        return;
    }
    const ecert_ca_entry_t *entry = download(work, issuer);
    snprintf(out, size, "the certificate of \"%s\"%s%s%s", issuer,
             only_as(work, top), entry ? "; the right one: " : "",
             entry ? entry->url : "");
}
