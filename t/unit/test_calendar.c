/* Plans of renewals, against dates that were counted by hand. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ecert_calendar.h"
#include "ecert_conf.h"
#include "ecert_x509.h"

#define DAY ((int64_t)86400)

#define SHA "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define CATALOGUE(rules)                                                       \
    "{\"schema\": \"ecert-ca\", \"version\": 1, " rules "\"entries\": [{"      \
    "\"id\": \"r\", \"role\": \"root\", \"name\": \"R\", "                     \
    "\"sha256\": \"" SHA "\"}]}"

static ecert_err_t err;

static int64_t at(const char *date)
{
    int64_t seconds = 0;
    if (ecert_date_parse(date, &seconds, &err) != 0) {
        fail_msg("%s", err.detail);
    }
    return seconds;
}

static ecert_ca_t *catalogue(const char *json)
{
    ecert_ca_t *ca = json == NULL
                         ? ecert_ca_builtin(&err)
                         : ecert_ca_parse(json, strlen(json), "f", &err);
    if (ca == NULL) {
        fail_msg("%s", err.detail);
    }
    return ca;
}

/* until "": none; json NULL: the built-in catalogue. */
static ecert_plan_t planned(const char *json, const char *not_before,
                            const char *not_after, const char *until,
                            const char *now)
{
    ecert_ca_t *ca = catalogue(json);
    ecert_plan_t plan;
    if (ecert_calendar_plan(ca, at(not_before), at(not_after),
                            *until ? at(until) : 0, at(now), &plan, &err)
        != 0) {
        fail_msg("%s", err.detail);
    }
    ecert_ca_free(ca);
    assert_int_equal(plan.items[0].planned, 0);
    assert_int_equal(plan.items[0].late, 0);
    assert_true(plan.items[0].not_before == at(not_before));
    assert_true(plan.items[0].not_after == at(not_after));
    assert_true(plan.items[0].renew_from == 0);
    assert_true(plan.items[0].renew_until == 0);
    return plan;
}

static void one_line(const ecert_planned_t *one, char *out, size_t size)
{
    char from[32], until[32], begin[32], end[32];
    ecert_day_format(one->renew_from, from);
    ecert_day_format(one->renew_until, until);
    ecert_day_format(one->not_before, begin);
    ecert_date_format(one->not_after, end);
    end[strcspn(end, "Z")] = '\0';
    char *midnight = strstr(end, "T00:00:00");
    if (midnight != NULL) {
        *midnight = '\0';
    }
    snprintf(out, size, "%s %s %s %s %u%s", from, until, begin, end,
             one->ceiling, one->late ? " late" : "");
}

/* Lines: renew from, at latest, begin, end, ceiling; NULL ends them. */
static void assert_plan(ecert_plan_t *plan, const char *const *lines)
{
    size_t n = 0;
    while (lines[n] != NULL) {
        n++;
    }
    for (size_t i = 1; i < plan->n && i <= n; i++) {
        char line[256];
        one_line(&plan->items[i], line, sizeof(line));
        assert_string_equal(line, lines[i - 1]);
        assert_int_equal(plan->items[i].planned, 1);
        assert_true(plan->items[i].renew_from % DAY == 0);
        assert_true(plan->items[i].renew_until % DAY == 0);
        assert_true(plan->items[i].not_before % DAY == 0);
    }
    assert_int_equal(plan->n, n + 1);
    assert_int_equal(plan->cut, 0);
    ecert_plan_free(plan);
    assert_null(plan->items);
    assert_int_equal(plan->n, 0);
}

static void lead(void **state)
{
    (void)state;
    assert_true(ecert_calendar_lead(398 * DAY) == 30 * DAY);
    assert_true(ecert_calendar_lead(99 * DAY) == 30 * DAY);
    assert_true(ecert_calendar_lead(90 * DAY + 3) == 30 * DAY);
    assert_true(ecert_calendar_lead(90 * DAY - 3) == 30 * DAY - 1);
    assert_true(ecert_calendar_lead(46 * DAY) == 15 * DAY + DAY / 3);
    assert_true(ecert_calendar_lead(30 * DAY) == 10 * DAY);
    assert_true(ecert_calendar_lead(20 * DAY) == 10 * DAY);
    assert_true(ecert_calendar_lead(10 * DAY) == 10 * DAY);
    assert_true(ecert_calendar_lead(6 * DAY) == 6 * DAY);
    assert_true(ecert_calendar_lead(0) == 0);
    assert_true(ecert_calendar_lead(-DAY) == 0);
}

static void three_years(void **state)
{
    static const char *const lines[] = {
        "2027-05-12 2027-06-04 2027-05-12 2027-08-19 100",
        "2027-07-20 2027-08-12 2027-07-20 2027-10-27 100",
        "2027-09-27 2027-10-20 2027-09-27 2028-01-04 100",
        "2027-12-05 2027-12-28 2027-12-05 2028-03-13 100",
        "2028-02-12 2028-03-06 2028-02-12 2028-05-21 100",
        "2028-04-21 2028-05-14 2028-04-21 2028-07-29 100",
        "2028-06-29 2028-07-22 2028-06-29 2028-10-06 100",
        "2028-09-06 2028-09-29 2028-09-06 2028-12-14 100",
        "2028-11-14 2028-12-07 2028-11-14 2029-02-21 100",
        "2029-01-22 2029-02-14 2029-01-22 2029-05-01 100",
        "2029-04-01 2029-04-24 2029-04-01 2029-05-17 47",
        "2029-05-01 2029-05-10 2029-05-01 2029-06-16 47",
        "2029-05-31 2029-06-09 2029-05-31 2029-07-16 47",
        "2029-06-30 2029-07-09 2029-06-30 2029-08-15 47",
        "2029-07-30 2029-08-08 2029-07-30 2029-09-14 47",
        "2029-08-29 2029-09-07 2029-08-29 2029-10-14 47",
        "2029-09-28 2029-10-07 2029-09-28 2029-11-13 47",
        NULL,
    };
    (void)state;
    ecert_plan_t plan = planned(NULL, "2026-11-24", "2027-06-11", "2029-11-01",
                                "2026-11-25T10:00:00Z");
    assert_int_equal(plan.items[0].ceiling, 200);
    assert_plan(&plan, lines);
    /* The renewal's day itself is not late yet, and the hour does not count. */
    plan = planned(NULL, "2026-11-24T09:30:00Z", "2027-06-11T23:59:59Z",
                   "2029-11-01", "2027-05-12T23:59:59Z");
    assert_plan(&plan, lines);
}

/* Around the days on which a shorter life begins. */
static void ceilings(void **state)
{
    static const struct {
        const char *not_before, *not_after, *now;
        const char *lines[2];
    } rows[] = {
        {"2026-09-26",
         "2027-04-13",
         "2027-01-01",
         {"2027-03-14 2027-04-06 2027-03-14 2027-09-29 200"}},
        {"2026-09-27",
         "2027-04-14",
         "2027-01-01",
         {"2027-03-15 2027-04-07 2027-03-15 2027-06-22 100"}},
        /* to be renewed before, but asked for too late for it */
        {"2026-09-24",
         "2027-04-11",
         "2027-03-14T23:59:59Z",
         {"2027-03-12 2027-04-04 2027-03-14 2027-09-29 200 late"}},
        {"2026-09-24",
         "2027-04-11",
         "2027-03-15T00:00:00Z",
         {"2027-03-12 2027-04-04 2027-03-15 2027-06-22 100 late"}},
        {"2029-01-04",
         "2029-04-13",
         "2029-02-01",
         {"2029-03-14 2029-04-06 2029-03-14 2029-06-21 100"}},
        {"2029-01-05",
         "2029-04-14",
         "2029-02-01",
         {"2029-03-15 2029-04-07 2029-03-15 2029-04-30 47"}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ecert_plan_t plan = planned(NULL, rows[i].not_before, rows[i].not_after,
                                    "", rows[i].now);
        assert_plan(&plan, rows[i].lines);
    }
}

static void late(void **state)
{
    static const char *const nearly[] = {
        "2027-05-12 2027-06-04 2027-06-10 2027-09-17 100 late",
        "2027-08-18 2027-09-10 2027-08-18 2027-11-25 100",
        NULL,
    };
    static const char *const expired[] = {
        "2027-05-12 2027-06-04 2027-12-31 2028-04-08 100 late",
        "2028-03-09 2028-04-01 2028-03-09 2028-06-16 100",
        NULL,
    };
    static const char *const nothing[] = {NULL};
    static const struct {
        const char *now, *until;
        const char *const *lines;
    } rows[] = {
        {"2027-06-10T21:00:00Z", "2027-11-01", nearly},
        {"2027-12-31T00:00:01Z", "2028-05-01", expired},
        /* the subscription is over: there is nothing left to ask for */
        {"2027-12-31T00:00:01Z", "2027-12-31", nothing},
        {"2027-12-31T00:00:01Z", "2027-09-01", nothing},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ecert_plan_t plan = planned(NULL, "2026-11-24", "2027-06-11",
                                    rows[i].until, rows[i].now);
        assert_plan(&plan, rows[i].lines);
    }
}

static void ends(void **state)
{
    static const char *const one[] = {
        "2027-05-12 2027-06-04 2027-05-12 2027-08-19 100", NULL};
    static const char *const two[] = {
        "2027-05-12 2027-06-04 2027-05-12 2027-08-19 100",
        "2027-07-20 2027-08-12 2027-07-20 2027-10-27 100", NULL};
    static const char *const none[] = {NULL};
    static const struct {
        const char *until;
        const char *const *lines;
    } rows[] = {
        {"", one},
        {"2027-06-10T23:59:59Z", none},
        {"2027-06-11", none},
        {"2027-06-11T00:00:01Z", one},
        {"2027-08-19", one},
        {"2027-08-19T00:00:01Z", two},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ecert_plan_t plan = planned(NULL, "2026-11-24", "2027-06-11",
                                    rows[i].until, "2026-11-25");
        assert_plan(&plan, rows[i].lines);
    }
}

/* A catalogue that knows nothing, or nothing yet: the life stays as it was. */
static void unknown_life(void **state)
{
    static const char *const same[] = {
        "2026-07-11 2026-08-03 2026-07-11 2026-11-18T23:59:59 0",
        "2026-10-19 2026-11-11 2026-10-19 2027-02-26T23:59:59 0", NULL};
    static const char *const until_known[] = {
        "2025-12-03 2025-12-26 2025-12-03 2027-01-05 0",
        "2026-12-06 2026-12-29 2026-12-06 2027-06-23 200", NULL};
    (void)state;
    ecert_plan_t plan =
        planned(CATALOGUE(""), "2026-04-02", "2026-08-10T23:59:59Z",
                "2027-01-01", "2026-05-01");
    assert_int_equal(plan.items[0].ceiling, 0);
    assert_plan(&plan, same);
    plan =
        planned(NULL, "2024-11-30", "2026-01-02", "2027-06-01", "2025-05-01");
    assert_int_equal(plan.items[0].ceiling, 0);
    assert_plan(&plan, until_known);
}

/* Lives of which nothing is left after the lead. */
static void short_lives(void **state)
{
    static const char *const days[] = {"2", "6", "11"};
    (void)state;
    for (size_t i = 0; i < sizeof(days) / sizeof(days[0]); i++) {
        char json[1024];
        snprintf(json, sizeof(json),
                 CATALOGUE("\"validity_margin\": 1, \"validity_ceilings\": "
                           "[[\"2026-01-01\", %s]], "),
                 days[i]);
        ecert_plan_t plan = planned(json, "2026-11-24", "2027-06-11",
                                    "2037-01-01", "2026-11-25");
        assert_int_equal(plan.cut, 1);
        assert_int_equal(plan.n, 1 + ECERT_CALENDAR_MAX);
        for (size_t k = 2; k < plan.n; k++) {
            const ecert_planned_t *one = &plan.items[k];
            assert_true(one->not_before == plan.items[k - 1].not_before + DAY);
            assert_true(one->not_before == one->renew_from);
            assert_true(one->renew_until >= one->renew_from);
            assert_true(one->not_before <= plan.items[k - 1].not_after);
        }
        ecert_plan_free(&plan);
    }
}

/* The last renewal that fits is no cut. */
static void full(void **state)
{
    static const char *const json =
        CATALOGUE("\"validity_ceilings\": [[\"2026-01-01\", 10]], ");
    static const struct {
        const char *until;
        int cut;
    } rows[] = {
        /* the first begins on 2027-05-12, the 200th on 2027-11-27 */
        {"2027-12-07", 0},
        {"2027-12-07T00:00:01Z", 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ecert_plan_t plan = planned(json, "2026-11-24", "2027-06-11",
                                    rows[i].until, "2026-11-25");
        assert_int_equal(plan.n, 1 + ECERT_CALENDAR_MAX);
        assert_int_equal(plan.cut, rows[i].cut);
        assert_true(plan.items[200].not_before == at("2027-11-27"));
        ecert_plan_free(&plan);
    }
}

static void odd_certificates(void **state)
{
    static const char *const instant[] = {
        "2026-11-24 2026-11-24 2026-11-24 2026-11-25 0",
        "2026-11-25 2026-11-25 2026-11-25 2026-11-26 0", NULL};
    ecert_ca_t *ca = catalogue(NULL);
    ecert_plan_t plan;
    (void)state;
    assert_int_equal(ecert_calendar_plan(ca, at("2026-11-24"), at("2026-11-23"),
                                         0, at("2026-11-24"), &plan, &err),
                     -1);
    assert_int_equal(err.code, ECERT_ERR_USAGE);
    assert_non_null(strstr(err.detail, "2026-11-23"));
    assert_null(plan.items);
    ecert_plan_free(&plan);
    ecert_ca_free(ca);
    plan = planned(CATALOGUE(""), "2026-11-24T12:00:00Z",
                   "2026-11-24T12:00:00Z", "2026-11-26", "2026-11-24");
    assert_plan(&plan, instant);
    /* Midnight lies before a moment, also before 1970. */
    plan = planned(CATALOGUE(""), "1969-10-02", "1969-12-31T12:00:00Z", "",
                   "1969-10-02");
    assert_true(plan.items[1].renew_from == -31 * DAY);
    assert_true(plan.items[1].renew_until == -8 * DAY);
    ecert_plan_free(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lead),
        cmocka_unit_test(three_years),
        cmocka_unit_test(ceilings),
        cmocka_unit_test(late),
        cmocka_unit_test(ends),
        cmocka_unit_test(unknown_life),
        cmocka_unit_test(short_lives),
        cmocka_unit_test(full),
        cmocka_unit_test(odd_certificates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
