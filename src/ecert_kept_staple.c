/* A leaf that demands a staple (RFC 7633), in one site of the agent. */

#include "ecert_kept_work.h"

#include "ecert_store_staple.h"
#include "ecert_x509.h"

int ecert_kept_is_leaf_of(const ecert_loaded_t *a, const ecert_loaded_t *b)
{
    return a->chain != NULL && a->chain->n_considered > 0
           && X509_cmp(a->chain->considered[0].cert,
                       b->chain->considered[0].cert)
                  == 0;
}

ecert_staple_state_t ecert_kept_ask_for_staple(const ecert_keeper_t *keeper,
                                               ecert_kept_t *kept,
                                               const ecert_loaded_t *next,
                                               ecert_err_t *err)
{
    ecert_staple_state_t state = ECERT_STAPLE_HERE;
    int64_t until = 0;

    if (keeper->demand == NULL || next->state != ECERT_STATE_VALID
        || !ecert_x509_demands_staple(next->chain->considered[0].cert)) {
        return state;
    }
    state = keeper->demand(keeper->ctx, kept, next, &until, err);
    if (state == ECERT_STAPLE_HERE) {
        ecert_date_sooner(&kept->next_change, until, keeper->now);
    } else if (state == ECERT_STAPLE_COMING) {
        kept->retry_at = keeper->ms + ECERT_SETTLE_MS;
    }
    return state;
}

/* One that needs no staple, or whose own is in the store. */
static int is_served_alone(void *ctx, const ecert_loaded_t *loaded)
{
    const ecert_keeper_t *keeper = ctx;
    ecert_err_t ignored;

    return ecert_store_staple_demand(keeper->store, loaded, keeper->now, NULL,
                                     &ignored)
           == 0;
}

int ecert_kept_replace_unstapled(ecert_keeper_t *keeper,
                                 const ecert_kept_t *kept, ecert_loaded_t *next)
{
    int is_held = kept->published && ecert_kept_is_leaf_of(&kept->held, next);
    ecert_loaded_t other;
    ecert_err_t ignored;

    if (kept->published && !is_held && kept->held.state == ECERT_STATE_VALID
        && kept->held.chain->not_after >= keeper->now) {
        return 0;
    }
    if (ecert_load_other(keeper->loader, kept->site, keeper->now,
                         is_served_alone, keeper, &other, &ignored)
        != 0) {
        return 0;
    }
    ecert_loaded_free(next);
    *next = other;
    return is_held;
}
