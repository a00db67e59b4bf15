/* The TXT record of one name, at all of its name servers. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bar.h"
#include "dcv_check.h"
#include "ecert_dcv_survey.h"
#include "ecert_json.h"

typedef struct {
    size_t good, bad, silent;
    ecert_dcv_verdict_t first; /* that is bad */
} tally_t;

static void judge(const ecert_dcv_check_t *check,
                  const ecert_dcv_asked_t *asked, ecert_dcv_verdict_t *verdict)
{
    if (asked->silence[0]) {
        memset(verdict, 0, sizeof(*verdict));
        verdict->state = ECERT_DCV_SILENT;
        snprintf(verdict->what, sizeof(verdict->what), "%s", asked->silence);
        return;
    }
    ecert_dcv_judge_txt(&asked->reply, check->code, check->ttl, verdict);
    if (asked->authority && !asked->reply.authoritative
        && verdict->state != ECERT_DCV_GOOD) {
        snprintf(verdict->what, sizeof(verdict->what),
                 "the server is one of the zone's, and does not know the zone");
        snprintf(verdict->hint, sizeof(verdict->hint),
                 "see the DNS provider: the zone's NS records, or its copy "
                 "there");
    }
}

static json_t *report_values(const ecert_dcv_reply_t *reply)
{
    json_t *list = json_array();

    for (size_t i = 0; i < reply->n; i++) {
        const ecert_dns_record_t *record = &reply->records[i];
        size_t len =
            record->len < ECERT_DNS_VALUE ? record->len : ECERT_DNS_VALUE;
        char text[4 * ECERT_DNS_VALUE + 1];
        json_t *one = json_object();

        ecert_json_set_text(
            one, "value",
            ecert_escape(text, sizeof(text), (const char *)record->value, len));
        json_object_set_new(one, "ttl", json_integer(record->ttl));
        json_object_set_new(one, "strings", json_integer(record->strings));
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *report(const ecert_dcv_asked_t *asked,
                      const ecert_dcv_verdict_t *verdict)
{
    json_t *one = json_object();

    if (asked->server[0]) {
        ecert_json_set_text(one, "server", asked->server);
    }
    ecert_json_set_text(one, "address", asked->place);
    json_object_set_new(one, "authority", json_boolean(asked->authority));
    ecert_dcv_check_set(one, "state", verdict);
    json_object_set_new(one, "records", report_values(&asked->reply));
    return one;
}

static void count(tally_t *tally, const ecert_dcv_verdict_t *verdict)
{
    if (verdict->state == ECERT_DCV_BAD && tally->bad == 0) {
        tally->first = *verdict;
    }
    tally->good += verdict->state == ECERT_DCV_GOOD;
    tally->bad += verdict->state == ECERT_DCV_BAD;
    tally->silent += verdict->state == ECERT_DCV_SILENT;
}

static void say(ecert_dcv_verdict_t *verdict, ecert_dcv_state_t state,
                const char *what, const char *hint)
{
    verdict->state = state;
    snprintf(verdict->what, sizeof(verdict->what), "%s", what);
    snprintf(verdict->hint, sizeof(verdict->hint), "%s", hint);
}

static void say_wrong(const tally_t *tally, const char *elsewhere,
                      ecert_dcv_verdict_t *verdict)
{
    char what[400];

    if (tally->good > 0) {
        say(verdict, ECERT_DCV_BAD,
            "the record is not on all servers yet, or not the same",
            "wait until the zone is everywhere, then ask again; validators "
            "may ask any of its servers");
        return;
    }
    if (elsewhere[0]) {
        snprintf(what, sizeof(what), "the code stands at another name: %.250s",
                 elsewhere);
        say(verdict, ECERT_DCV_BAD, what,
            "the record belongs to the name itself: in most forms of DNS "
            "providers only what is before the zone is typed, and @ for the "
            "zone's own name");
        return;
    }
    say(verdict, ECERT_DCV_BAD, tally->first.what, tally->first.hint);
}

/*
 * The zone's own servers decide: a resolver may still remember that there was
 * nothing.  Where none of them answers, resolvers do.
 */
static void conclude(const tally_t *own, const tally_t *resolvers,
                     const char *elsewhere, ecert_dcv_verdict_t *verdict)
{
    const tally_t *tally = own->good + own->bad > 0 ? own : resolvers;

    memset(verdict, 0, sizeof(*verdict));
    if (tally->good + tally->bad == 0) {
        say(verdict, ECERT_DCV_BAD, "no name server answers",
            "see the zone's NS records, and that UDP and TCP port 53 pass "
            "here");
    } else if (tally->bad > 0) {
        say_wrong(tally, elsewhere, verdict);
    } else if (tally == own && resolvers->bad > 0) {
        say(verdict, ECERT_DCV_GOOD,
            "on all of the zone's servers; but a resolver still remembers "
            "otherwise",
            "wait some minutes, so that validators' resolvers forget, too");
    } else if (own->silent > 0) {
        say(verdict, ECERT_DCV_GOOD,
            "on all servers that answer, but not all do", "");
    } else {
        say(verdict, ECERT_DCV_GOOD, "the record is there, everywhere", "");
    }
}

static json_t *report_name(const ecert_dcv_check_t *check, const char *name,
                           const ecert_dcv_survey_t *survey)
{
    tally_t tallies[2] = {{0}};
    ecert_dcv_verdict_t verdict;
    json_t *one = json_object(), *servers = json_array();

    for (size_t i = 0; i < survey->n; i++) {
        judge(check, &survey->asked[i], &verdict);
        count(&tallies[survey->asked[i].authority != 0], &verdict);
        json_array_append_new(servers, report(&survey->asked[i], &verdict));
    }
    conclude(&tallies[1], &tallies[0], survey->elsewhere, &verdict);
    ecert_json_set_text(one, "name", name);
    if (survey->zone[0]) {
        ecert_json_set_text(one, "zone", survey->zone);
    }
    ecert_dcv_check_set(one, "verdict", &verdict);
    json_object_set_new(one, "servers", servers);
    return one;
}

/* ---- all names --------------------------------------------------------- */

typedef struct {
    const ecert_dcv_check_t *check;
    const char *const *names;
    json_t **found; /* NULL: not yet */
    size_t n, told, done;
    void (*tell)(void *ctx, json_t *one);
    void *ctx;
    int rc;
    ecert_err_t *err;
} round_t;

static void take(void *ctx, size_t i, const ecert_dcv_survey_t *survey,
                 const ecert_err_t *err)
{
    round_t *round = ctx;

    round->done++;
    if (survey == NULL) {
        if (round->rc == 0) {
            *round->err = *err;
        }
        round->rc = -1;
        return;
    }
    round->found[i] = report_name(round->check, round->names[i], survey);
    while (round->told < round->n && round->found[round->told] != NULL) {
        ecert_bar_clear();
        round->tell(round->ctx, round->found[round->told]);
        round->told++;
    }
    ecert_bar_show("names asked about", round->done, round->n);
}

int ecert_dcv_check_dns(const ecert_dcv_check_t *check,
                        const char *const *names, size_t n,
                        void (*tell)(void *ctx, json_t *one), void *ctx,
                        ecert_err_t *err)
{
    round_t round = {.check = check,
                     .names = names,
                     .found = calloc(n + 1, sizeof(json_t *)),
                     .n = n,
                     .tell = tell,
                     .ctx = ctx,
                     .err = err};

    if (round.found == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    if (ecert_dcv_survey(&check->net, names, n, check->code, take, &round, err)
        != 0) {
        round.rc = -1;
    }
    ecert_bar_clear();
    for (size_t i = round.told; i < n; i++) {
        json_decref(round.found[i]);
    }
    free(round.found);
    return round.rc;
}
