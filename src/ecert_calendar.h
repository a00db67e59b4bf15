/*
 * When to renew, to the end of the subscription, under the ceilings that the
 * catalogue gives (BR 6.3.2).  Pure: `now` comes in.
 */

#ifndef ECERT_CALENDAR_H
#define ECERT_CALENDAR_H

#include <stddef.h>
#include <stdint.h>

#include "ecert_ca.h"
#include "ecert_err.h"

#define ECERT_CALENDAR_MAX 200 /* renewals of one site */

/* One certificate of the plan. */
typedef struct {
    int64_t renew_from;  /* ask for it from this day on (midnight UTC) */
    int64_t renew_until; /* at latest: a week before the one before ends */
    int64_t not_before, not_after; /* its life; of the first: as it is */
    unsigned ceiling;              /* days: the rule it is issued under */
    int planned;                   /* 0: it is there already */
    int late;                      /* renew_from has passed */
} ecert_planned_t;

typedef struct {
    ecert_planned_t *items;
    size_t n;
    int cut; /* ECERT_CALENDAR_MAX was reached */
} ecert_plan_t;

/* How long before its end a certificate of this life is to be renewed:
 * seconds; a third of its life, 30 days at most, 10 at least (where it lives as
 * long as that). */
int64_t ecert_calendar_lead(int64_t life);

/*
 * The plan for a certificate of this life, planned renewals behind it, to
 * `until` (0: one renewal).  Each lives as long as the CA lets it
 * (ecert_ca_life) from the day on which its renewal begins.
 */
int ecert_calendar_plan(const ecert_ca_t *ca, int64_t not_before,
                        int64_t not_after, int64_t until, int64_t now,
                        ecert_plan_t *plan, ecert_err_t *err);
void ecert_plan_free(ecert_plan_t *plan);

/* An iCalendar object (RFC 5545): begin, any number of events, end; free(). */
typedef struct ecert_ical_s ecert_ical_t;

ecert_ical_t *ecert_ical_new(int64_t now, ecert_err_t *err);
/*
 * One event of a day (VALUE=DATE) with an alarm `alarm_days` before it (0: on
 * the day).  uid is stable for the same site and certificate, so that an import
 * done again replaces it; texts are UTF-8, escaped and folded here.
 */
int ecert_ical_add(ecert_ical_t *ical, const char *uid, int64_t day,
                   const char *summary, const char *description,
                   unsigned alarm_days, ecert_err_t *err);
/* The text; ends and frees the object.  NULL on lack of memory. */
char *ecert_ical_end(ecert_ical_t *ical, ecert_err_t *err);

#endif
