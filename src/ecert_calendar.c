#include "ecert_calendar.h"

#include <stdlib.h>

#include "ecert_x509.h"

#define DAY        ((int64_t)86400)
#define LEAD_MOST  (30 * DAY)
#define LEAD_LEAST (10 * DAY)
#define LAST_CALL  (7 * DAY)

static int64_t midnight(int64_t seconds)
{
    int64_t rest = seconds % DAY;
    return seconds - rest - (rest < 0 ? DAY : 0);
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t ecert_calendar_lead(int64_t life)
{
    int64_t lead = life / 3;
    if (lead > LEAD_MOST) {
        return LEAD_MOST;
    }
    if (lead >= LEAD_LEAST) {
        return lead;
    }
    return life > LEAD_LEAST ? LEAD_LEAST : later(life, 0);
}

/* Where the catalogue knows no life, what the CA gave last is the best guess;
 * less than a day would bring the plan no further. */
static int64_t next_life(const ecert_ca_t *ca, const ecert_planned_t *before,
                         int64_t issued)
{
    unsigned days = ecert_ca_life(ca, issued);
    if (days > 0) {
        return days * DAY;
    }
    return later(before->not_after - before->not_before, DAY);
}

/* A planned certificate lives a day at least before it is renewed in turn, so
 * that one whose lead is its whole life does not hold the plan up. */
static ecert_planned_t next_of(const ecert_ca_t *ca,
                               const ecert_planned_t *before, int64_t today)
{
    int64_t life = before->not_after - before->not_before;
    ecert_planned_t next = {0};
    next.planned = 1;
    next.renew_from = midnight(before->not_after - ecert_calendar_lead(life));
    if (before->planned) {
        next.renew_from = later(next.renew_from, before->not_before + DAY);
    }
    next.renew_until =
        later(midnight(before->not_after - LAST_CALL), next.renew_from);
    next.late = next.renew_from < today;
    next.not_before = later(next.renew_from, today);
    next.not_after = next.not_before + next_life(ca, before, next.not_before);
    next.ceiling = ecert_ca_ceiling(ca, next.not_before);
    return next;
}

static int is_last(const ecert_planned_t *one, int64_t until)
{
    return until == 0 ? one->planned : one->not_after >= until;
}

static void fill(const ecert_ca_t *ca, int64_t until, int64_t today,
                 ecert_plan_t *plan)
{
    const ecert_planned_t *last = &plan->items[plan->n - 1];
    while (!is_last(last, until)) {
        ecert_planned_t next = next_of(ca, last, today);
        if (until != 0 && next.not_before >= until) {
            return; /* the subscription ended before it was asked for */
        }
        if (plan->n > ECERT_CALENDAR_MAX) {
            plan->cut = 1;
            return;
        }
        plan->items[plan->n] = next;
        last = &plan->items[plan->n++];
    }
}

int ecert_calendar_plan(const ecert_ca_t *ca, int64_t not_before,
                        int64_t not_after, int64_t until, int64_t now,
                        ecert_plan_t *plan, ecert_err_t *err)
{
    char day[32];
    *plan = (ecert_plan_t){0};
    if (not_after < not_before) {
        return ecert_err(err, ECERT_ERR_USAGE, NULL,
                         "the certificate ends on %s, before it begins",
                         ecert_day_format(not_after, day));
    }
    plan->items = calloc(ECERT_CALENDAR_MAX + 1, sizeof(*plan->items));
    if (plan->items == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    plan->n = 1;
    plan->items[0].not_before = not_before;
    plan->items[0].not_after = not_after;
    plan->items[0].ceiling = ecert_ca_ceiling(ca, not_before);
    fill(ca, until, midnight(now), plan);
    return 0;
}

void ecert_plan_free(ecert_plan_t *plan)
{
    free(plan->items);
    *plan = (ecert_plan_t){0};
}
