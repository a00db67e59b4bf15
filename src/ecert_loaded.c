#include "ecert_loaded.h"

#include <stdlib.h>
#include <string.h>

#include "ecert_name.h"

#define UNCOVERED_MAX 256

const char *ecert_state_word(ecert_state_t state)
{
    static const char *const words[] = {"placeholder", "expired", "valid"};

    return words[state];
}

static void add_line(char ***list, size_t *n, size_t max, const char *line)
{
    char **more;

    if (*n >= max) {
        return;
    }
    more = realloc(*list, (*n + 1) * sizeof(*more));
    if (more == NULL) {
        return;
    }
    *list = more;
    more[*n] = strdup(line);
    *n += more[*n] != NULL;
}

/* The failures of a file that is being written right now. */
int ecert_loaded_may_mend(ecert_code_t code)
{
    switch (code) {
    case ECERT_ERR_MISSING:
    case ECERT_ERR_CHANGING:
    case ECERT_ERR_EMPTY:
    case ECERT_ERR_FORMAT:
    case ECERT_ERR_TRUNCATED:
    case ECERT_ERR_NO_KEY:
    case ECERT_ERR_MISMATCH:
    case ECERT_ERR_UNREADABLE:
    case ECERT_ERR_CATALOGUE:
    case ECERT_ERR_SITE:
        return 1;
    default:
        return 0;
    }
}

/* The site's label is added by whoever shows the line. */
void ecert_loaded_complain(void *ctx, const ecert_err_t *err)
{
    ecert_loaded_t *out = ctx;
    char line[1600];
    size_t i;

    out->torn |= ecert_loaded_may_mend(err->code);
    out->refused |= ecert_err_refused(err);
    out->starved |= ecert_err_starved(err);
    ecert_err_line(err, NULL, line, sizeof(line));
    for (i = 0; i < out->n_warnings; i++) {
        if (strcmp(out->warnings[i], line) == 0) {
            return;
        }
    }
    add_line(&out->warnings, &out->n_warnings, ECERT_WARNINGS_MAX, line);
}

void ecert_loaded_reset(ecert_loaded_t *out)
{
    ecert_cred_free(out->cred);
    ecert_chain_free(out->chain);
    ecert_names_free(out->uncovered, out->n_uncovered);
    out->cred = NULL;
    out->chain = NULL;
    out->uncovered = NULL;
    out->n_uncovered = 0;
}

void ecert_loaded_free(ecert_loaded_t *out)
{
    ecert_loaded_reset(out);
    ecert_names_free(out->warnings, out->n_warnings);
    ecert_trail_free(&out->trail);
    memset(out, 0, sizeof(*out));
}

void ecert_loaded_uncovered(const ecert_site_t *site, X509 *leaf,
                            ecert_loaded_t *out)
{
    char ascii[ECERT_NAME_MAX];
    ecert_err_t ignored;
    size_t i;

    for (i = 0; i < site->n_names; i++) {
        if (ecert_name_ascii(site->names[i], ascii, &ignored) == 0
            && !ecert_name_covered(leaf, ascii)) {
            add_line(&out->uncovered, &out->n_uncovered, UNCOVERED_MAX, ascii);
        }
    }
}

/* The leaf alone: nobody issued it. */
static ecert_chain_t *no_chain(const ecert_cred_t *cred)
{
    ecert_chain_t *chain = calloc(1, sizeof(*chain));

    if (chain == NULL) {
        return NULL;
    }
    chain->served = sk_X509_new_null();
    chain->considered = calloc(1, sizeof(*chain->considered));
    if (chain->served == NULL || chain->considered == NULL) {
        ecert_chain_free(chain);
        return NULL;
    }
    X509_up_ref(cred->leaf);
    chain->considered[0].cert = cred->leaf;
    chain->considered[0].why = ECERT_WHY_LEAF;
    chain->n_considered = 1;
    chain->not_before = ecert_x509_not_before(cred->leaf);
    chain->not_after = ecert_x509_not_after(cred->leaf);
    return chain;
}

int ecert_load_placeholder(ecert_cred_t *cred, ecert_loaded_t *out,
                           ecert_err_t *err)
{
    memset(out, 0, sizeof(*out));
    out->store_generation = -1;
    ecert_trail_init(&out->trail);
    out->cred = cred;
    out->chain = no_chain(cred);
    if (out->chain == NULL) {
        ecert_loaded_free(out);
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    return 0;
}

static ecert_state_t state_at(const ecert_loaded_t *loaded, int64_t now)
{
    if (loaded->state == ECERT_STATE_VALID && loaded->chain != NULL
        && loaded->chain->not_after < now) {
        return ECERT_STATE_EXPIRED;
    }
    return loaded->state;
}

static int same_leaf(const ecert_loaded_t *a, const ecert_loaded_t *b)
{
    if (a->chain == NULL || b->chain == NULL || a->chain->n_considered == 0
        || b->chain->n_considered == 0) {
        return 0;
    }
    return X509_cmp(a->chain->considered[0].cert, b->chain->considered[0].cert)
           == 0;
}

int ecert_load_better(const ecert_loaded_t *held, const ecert_loaded_t *next,
                      int64_t now, ecert_err_t *err)
{
    char when[32];

    if (next->state < state_at(held, now)) {
        return ecert_err(err, ECERT_ERR_EXPIRED, next->source,
                         "since %s; the one before is valid and stays",
                         ecert_date_format(next->chain->not_after, when));
    }
    if (held->state == ECERT_STATE_PLACEHOLDER
        || next->state > state_at(held, now)) {
        return 0; /* an expired one serves no name at all */
    }
    if (next->n_uncovered > held->n_uncovered) {
        return ecert_err(err, ECERT_ERR_NAMES, next->source,
                         "%s is not in it; the one before covers it and stays",
                         next->uncovered[0]);
    }
    if (same_leaf(held, next) && sk_X509_num(next->chain->served) == 0
        && sk_X509_num(held->chain->served) > 0 && !next->chain->complete) {
        return ecert_err(err, ECERT_ERR_CHAIN, next->source,
                         "%s; the chain before stays", next->chain->missing);
    }
    return 0;
}
