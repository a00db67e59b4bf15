#include "ecert_dcv_survey.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ecert_clock.h"
#include "ecert_jail.h"

#define SURVEY  1
#define DNS     53
#define ALL_MS  22000 /* the jail ends after 30 s */
#define NS_MAX  8
#define WRONGLY 8

typedef struct {
    const ecert_dcv_net_t *net;
    const char *name, *code;
    int64_t deadline;
} job_t;

static int is_late(const job_t *job)
{
    return ecert_clock_ms() > job->deadline;
}

/* ---- the zone ---------------------------------------------------------- */

/* The closest enclosing zone and its servers' names. */
static void find_zone(const job_t *job, ecert_dcv_survey_t *out,
                      ecert_dcv_reply_t *servers)
{
    char why[ECERT_DNS_NAME];

    for (const char *at = job->name; at != NULL && !is_late(job);) {
        if (ecert_dcv_ask(job->net->servers, job->net->n_servers, 1, at,
                          ECERT_DNS_NS, servers, why)
            != 0) {
            break; /* nor will the next question be answered */
        }
        if (servers->code == ECERT_DNS_OK && servers->n > 0) {
            snprintf(out->zone, sizeof(out->zone), "%s", at);
            return;
        }
        at = strchr(at, '.');
        at = at ? at + 1 : NULL;
    }
    memset(servers, 0, sizeof(*servers));
}

/* ---- the servers ------------------------------------------------------- */

static ecert_dcv_asked_t *ask(const job_t *job, const char *server,
                              const ecert_dcv_place_t *place, int authority,
                              ecert_dcv_survey_t *out)
{
    ecert_dcv_asked_t *asked = &out->asked[out->n];

    if (out->n == ECERT_DCV_SERVERS) {
        return NULL;
    }
    out->n++;
    memset(asked, 0, sizeof(*asked));
    asked->authority = authority;
    snprintf(asked->server, sizeof(asked->server), "%s", server);
    ecert_dcv_place_text(place, place->given, asked->place);
    if (is_late(job)) {
        snprintf(asked->silence, sizeof(asked->silence),
                 "not asked: too much time went by with others");
    } else if (!ecert_dcv_place_public(place)) {
        snprintf(asked->silence, sizeof(asked->silence),
                 "not asked: this is no public address");
    } else if (ecert_dcv_ask(place, 1, !authority, job->name, ECERT_DNS_TXT,
                             &asked->reply, asked->silence)
               == 0) {
        asked->silence[0] = '\0';
    }
    return asked;
}

static void ask_authorities(const job_t *job, const ecert_dcv_reply_t *servers,
                            ecert_dcv_survey_t *out)
{
    ecert_dcv_place_t places[ECERT_DCV_ADDRESSES];
    char why[ECERT_DNS_NAME];

    for (size_t i = 0; i < servers->n && i < NS_MAX; i++) {
        const char *server = (const char *)servers->records[i].value;
        size_t n = is_late(job)
                       ? 0
                       : ecert_dcv_places(job->net, server, DNS, places, why);

        for (size_t k = 0; k < n; k++) {
            ask(job, server, &places[k], 1, out);
        }
    }
}

static void ask_resolvers(const job_t *job, ecert_dcv_survey_t *out)
{
    ecert_dcv_place_t places[3], *list = job->net->servers;
    size_t n = job->net->n_servers;

    if (n == 0) {
        list = places;
        n = ecert_dcv_resolvers(places, 3);
    }
    for (size_t i = 0; i < n; i++) {
        ask(job, "", &list[i], 0, out);
    }
}

static void ask_given(const job_t *job, ecert_dcv_survey_t *out)
{
    for (size_t i = 0; i < job->net->n_servers; i++) {
        const ecert_dcv_asked_t *asked =
            ask(job, "", &job->net->servers[i], 1, out);

        if (asked != NULL && asked->silence[0] == '\0'
            && !asked->reply.authoritative) {
            out->n--;
        }
        ask(job, "", &job->net->servers[i], 0, out);
    }
}

/* ---- other names ------------------------------------------------------- */

static int holds(const ecert_dcv_reply_t *reply, const char *code)
{
    for (size_t i = 0; i < reply->n; i++) {
        const ecert_dns_record_t *record = &reply->records[i];
        size_t len =
            record->len < ECERT_DNS_VALUE ? record->len : ECERT_DNS_VALUE;

        if (memmem(record->value, len, code, strlen(code)) != NULL) {
            return 1;
        }
    }
    return 0;
}

static int has_code(const job_t *job, const char *name)
{
    ecert_dcv_reply_t reply;
    char why[ECERT_DNS_NAME];

    return ecert_dcv_ask(job->net->servers, job->net->n_servers, 1, name,
                         ECERT_DNS_TXT, &reply, why)
               == 0
           && holds(&reply, job->code);
}

/* Somebody answers, and nobody has it. */
static int is_astray(const job_t *job, const ecert_dcv_survey_t *out)
{
    size_t answers = 0;

    for (size_t i = 0; i < out->n; i++) {
        if (holds(&out->asked[i].reply, job->code)) {
            return 0;
        }
        answers += out->asked[i].silence[0] == '\0';
    }
    return answers > 0;
}

/* Where such records end up by mistake. */
static void look_elsewhere(const job_t *job, ecert_dcv_survey_t *out)
{
    static const char *const prefixes[] = {
        "_dnsauth", "_pki-validation", "_validation", "_acme-challenge", "www"};
    char names[WRONGLY][2 * ECERT_DNS_NAME + 2];
    size_t n = 0, first = strcspn(job->name, ".");

    if (out->zone[0]) {
        snprintf(names[n++], sizeof(names[0]), "%s.%s", job->name, out->zone);
    }
    if (out->zone[0] && strcmp(out->zone, job->name) != 0) {
        snprintf(names[n++], sizeof(names[0]), "%s", out->zone);
    }
    snprintf(names[n++], sizeof(names[0]), "%.*s.%s", (int)first, job->name,
             job->name);
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        snprintf(names[n++], sizeof(names[0]), "%s.%s", prefixes[i], job->name);
    }
    for (size_t i = 0; i < n && !is_late(job); i++) {
        if (strlen(names[i]) < ECERT_DNS_NAME && has_code(job, names[i])) {
            snprintf(out->elsewhere, sizeof(out->elsewhere), "%.255s",
                     names[i]);
            return;
        }
    }
}

/* ---- the jail ---------------------------------------------------------- */

static int work(void *ctx, ecert_frames_t *out, ecert_err_t *err)
{
    ecert_dcv_survey_t *survey = calloc(1, sizeof(*survey));
    ecert_dcv_reply_t servers;
    job_t *job = ctx;
    int rc;

    if (survey == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    job->deadline = ecert_clock_ms() + ALL_MS;
    find_zone(job, survey, &servers);
    if (job->net->n_servers > 0 && !job->net->resolves) {
        ask_given(job, survey);
    } else {
        ask_authorities(job, &servers, survey);
        ask_resolvers(job, survey);
    }
    if (is_astray(job, survey)) {
        look_elsewhere(job, survey);
    }
    rc = ecert_frames_add(out, SURVEY, survey, sizeof(*survey), err);
    free(survey);
    return rc;
}

static void clean(char *text, size_t size)
{
    char copy[ECERT_DNS_NAME];
    size_t len = strnlen(text, size < sizeof(copy) ? size : sizeof(copy));

    memcpy(copy, text, len);
    ecert_frame_text(text, size, copy, len);
}

static int take_reply(ecert_dcv_reply_t *reply)
{
    if (reply->n > ECERT_DNS_RECORDS) {
        return -1;
    }
    clean(reply->alias, sizeof(reply->alias));
    return 0;
}

/* Trusts nothing in it. */
static int take(const ecert_frames_t *frames, ecert_dcv_survey_t *out)
{
    const ecert_frame_t *frame = frames->frames;

    if (frames->n != 1 || frame->kind != SURVEY || frame->len != sizeof(*out)) {
        return -1;
    }
    memcpy(out, frame->bytes, sizeof(*out));
    if (out->n > ECERT_DCV_SERVERS) {
        return -1;
    }
    clean(out->zone, sizeof(out->zone));
    clean(out->elsewhere, sizeof(out->elsewhere));
    for (size_t i = 0; i < out->n; i++) {
        clean(out->asked[i].server, sizeof(out->asked[i].server));
        clean(out->asked[i].place, sizeof(out->asked[i].place));
        clean(out->asked[i].silence, sizeof(out->asked[i].silence));
        if (take_reply(&out->asked[i].reply) != 0) {
            return -1;
        }
    }
    return 0;
}

typedef struct {
    ecert_jail_job_t *jobs;
    ecert_dcv_survey_t survey; /* the last one */
    void (*done)(void *ctx, size_t i, const ecert_dcv_survey_t *survey,
                 const ecert_err_t *err);
    void *ctx;
} round_t;

static void finish(void *ctx, size_t i)
{
    round_t *round = ctx;
    ecert_jail_job_t *job = &round->jobs[i];

    if (job->rc == 0 && take(&job->frames, &round->survey) != 0) {
        job->rc = ecert_err(&job->err, ECERT_ERR_DAMAGED, job->file, NULL);
    }
    ecert_frames_free(&job->frames);
    round->done(round->ctx, i, job->rc == 0 ? &round->survey : NULL, &job->err);
}

int ecert_dcv_survey(const ecert_dcv_net_t *net, const char *const *names,
                     size_t n, const char *code,
                     void (*done)(void *ctx, size_t i,
                                  const ecert_dcv_survey_t *survey,
                                  const ecert_err_t *err),
                     void *ctx, ecert_err_t *err)
{
    round_t *round = calloc(1, sizeof(*round));
    ecert_jail_job_t *jobs = calloc(n + 1, sizeof(*jobs));
    job_t *questions = calloc(n + 1, sizeof(*questions));
    int rc = 0;

    if (round != NULL && jobs != NULL && questions != NULL) {
        for (size_t i = 0; i < n; i++) {
            questions[i] = (job_t){net, names[i], code, 0};
            jobs[i].ctx = &questions[i];
            jobs[i].file = names[i];
        }
        round->jobs = jobs;
        round->done = done;
        round->ctx = ctx;
        ecert_jail_run_each(work, jobs, n, finish, round);
    } else {
        rc = ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    free(questions);
    free(jobs);
    free(round);
    return rc;
}
