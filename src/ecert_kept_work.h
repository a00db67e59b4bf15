/* One site in the agent; for ecert_kept*.c alone. */

#ifndef ECERT_KEPT_WORK_H
#define ECERT_KEPT_WORK_H

#include "ecert_kept.h"

/* Both are of the same leaf; a may be of none. */
int ecert_kept_is_leaf_of(const ecert_loaded_t *a, const ecert_loaded_t *b);

/*
 * Whether the leaf in next has the staple that it demands; HERE when it demands
 * none.  Clients refuse it otherwise: it is as good as one that has expired.
 * LACKING: err says why.  Sets when to look again.
 */
ecert_staple_state_t ecert_kept_ask_for_staple(const ecert_keeper_t *keeper,
                                               ecert_kept_t *kept,
                                               const ecert_loaded_t *next,
                                               ecert_err_t *err);

/*
 * The leaf in next lacks it.  What is served stays when it is another leaf and
 * good; else next becomes an older generation that is good, if there is one.
 * Returns 1 when that is to take the place of this very leaf.
 */
int ecert_kept_replace_unstapled(ecert_keeper_t *keeper,
                                 const ecert_kept_t *kept,
                                 ecert_loaded_t *next);

#endif
