#include "ecert_dcv_probe.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "ecert_clock.h"
#include "ecert_dcv.h"
#include "ecert_dcv_probe_work.h"
#include "ecert_jail.h"

#define ANSWER     1
#define ALL_MS     24000 /* the jail ends after 30 s */
#define HOP_MS     ((ECERT_DCV_CONNECT + ECERT_DCV_READ) * 1000L)
#define SLIP_MS    3000L
#define URL_LENGTH 2048

/* Where a URL leads. */
typedef struct {
    char url[URL_LENGTH];
    char host[ECERT_DNS_NAME];
    unsigned port;
} target_t;

/* ---- redirects --------------------------------------------------------- */

static const char *take_apart(CURLU *parts, target_t *out)
{
    char *scheme = NULL, *host = NULL, *port = NULL, *url = NULL;
    const char *fault = "this is no URL";

    if (curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK
        && curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK
        && curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT)
               == CURLUE_OK
        && curl_url_get(parts, CURLUPART_URL, &url, 0) == CURLUE_OK) {
        out->port = (unsigned)strtoul(port, NULL, 10);
        fault =
            strlen(url) >= sizeof(out->url) || strlen(host) >= sizeof(out->host)
                ? "the URL is too long"
            : strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0
                ? "neither http nor https"
            : out->port != 80 && out->port != 443
                ? "to another port than 80 and 443"
                : NULL;
    }
    if (fault == NULL) {
        snprintf(out->url, sizeof(out->url), "%s", url);
        snprintf(out->host, sizeof(out->host), "%s", host);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(url);
    return fault;
}

/* What is wrong with it, or NULL. */
static const char *go_to(const char *base, const char *location, target_t *out)
{
    CURLU *parts = curl_url();
    const char *fault = "this is no URL";

    if (parts != NULL
        && (base == NULL
            || curl_url_set(parts, CURLUPART_URL, base, 0) == CURLUE_OK)
        && curl_url_set(parts, CURLUPART_URL, location,
                        CURLU_DISALLOW_USER | CURLU_NON_SUPPORT_SCHEME)
               == CURLUE_OK) {
        fault = take_apart(parts, out);
    }
    curl_url_cleanup(parts);
    return fault;
}

static int is_followed(int status)
{
    return status == 301 || status == 302 || status == 307 || status == 308;
}

static void refuse(ecert_dcv_answer_t *answer, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void refuse(ecert_dcv_answer_t *answer, const char *fmt, ...)
{
    va_list args;

    answer->trouble = ECERT_DCV_REDIRECT;
    va_start(args, fmt);
    vsnprintf(answer->why, sizeof(answer->why), fmt, args);
    va_end(args);
}

/* 1: target is where to go on. */
static int redirect(ecert_dcv_hop_work_t *hop, target_t *target)
{
    ecert_dcv_answer_t *answer = hop->answer;
    const char *fault;
    target_t next;

    if (answer->trouble != ECERT_DCV_ANSWERED || answer->status < 300
        || answer->status > 399) {
        return 0;
    }
    if (!is_followed(answer->status)) {
        refuse(answer, "status %d", answer->status);
        return 0;
    }
    fault = hop->location[0] ? go_to(target->url, hop->location, &next)
                             : "it names no place to go to";
    if (fault != NULL) {
        refuse(answer, "%s (%.120s)", fault, hop->location);
        return 0;
    }
    for (size_t i = 0; i < answer->n_hops; i++) {
        if (strncmp(answer->hops[i].url, next.url,
                    sizeof(answer->hops[i].url) - 1)
            == 0) {
            refuse(answer, "they go round in a circle");
            return 0;
        }
    }
    if (answer->n_hops == ECERT_DCV_HOPS) {
        refuse(answer, "more than %d", ECERT_DCV_HOPS - 1);
        return 0;
    }
    *target = next;
    return 1;
}

/* ---- hops -------------------------------------------------------------- */

/* The same host keeps its address, at whatever port: others are asked anew. */
static int choose(const ecert_dcv_probe_t *probe, const target_t *target,
                  size_t hop, ecert_dcv_place_t *out, char *why)
{
    ecert_dcv_place_t places[ECERT_DCV_ADDRESSES];
    char same[ECERT_DCV_PLACE], other[ECERT_DCV_PLACE];
    int own = strcasecmp(target->host, probe->host) == 0;
    size_t n;

    *out = probe->place;
    if (hop == 0 || (own && target->port == (probe->https ? 443 : 80))) {
        return 0;
    }
    if (own && !probe->place.given) {
        ecert_dcv_place_port(out, target->port);
        return 0;
    }
    n = ecert_dcv_places(probe->net, target->host, target->port, places, why);
    if (n == 0) {
        return -1;
    }
    *out = places[0];
    ecert_dcv_place_text(&probe->place, 0, same);
    for (size_t i = 0; own && i < n; i++) {
        if (strcmp(ecert_dcv_place_text(&places[i], 0, other), same) == 0) {
            *out = places[i];
        }
    }
    return 0;
}

/* What the hop before left behind counts no longer. */
static void begin_hop(ecert_dcv_answer_t *answer, const target_t *target)
{
    ecert_dcv_hop_t *now = &answer->hops[answer->n_hops++];

    answer->status = 0;
    answer->kept = answer->len = 0;
    answer->type[0] = answer->coding[0] = answer->cdn[0] = '\0';
    answer->certificate[0] = '\0';
    snprintf(now->url, sizeof(now->url), "%.511s", target->url);
}

static void follow(const ecert_dcv_probe_t *probe, target_t *target,
                   int64_t deadline, ecert_dcv_answer_t *answer)
{
    ecert_dcv_hop_work_t hop = {.answer = answer};
    char why[ECERT_DNS_NAME];

    do {
        ecert_dcv_hop_t *now = &answer->hops[answer->n_hops];
        int64_t left = deadline - ecert_clock_ms();

        begin_hop(answer, target);
        if (left <= 0) {
            answer->trouble = ECERT_DCV_SLOW_READ;
            return;
        }
        if (choose(probe, target, answer->n_hops - 1, &hop.place, why) != 0) {
            refuse(answer, "to %.100s: %.120s", target->host, why);
            return;
        }
        hop.url = target->url;
        hop.host = target->host;
        hop.port = target->port;
        hop.milliseconds = left < HOP_MS ? (long)left : HOP_MS;
        hop.location[0] = '\0';
        ecert_dcv_hop(&hop);
        if (answer->trouble == ECERT_DCV_NOT_PUBLIC && answer->n_hops > 1) {
            snprintf(why, sizeof(why), "%s", answer->why);
            refuse(answer, "to %.100s, which is no public address", why);
        }
        now->status = answer->status;
        snprintf(now->location, sizeof(now->location), "%.511s", hop.location);
    } while (redirect(&hop, target));
}

/* The file at the path without the dot? */
static void look_for_slip(const ecert_dcv_probe_t *probe,
                          ecert_dcv_answer_t *answer)
{
    ecert_dcv_answer_t *other = calloc(1, sizeof(*other));
    ecert_dcv_hop_work_t hop = {
        .answer = other, .place = probe->place, .milliseconds = SLIP_MS};
    char url[URL_LENGTH];
    target_t target;

    snprintf(url, sizeof(url), "%s://%s" ECERT_DCV_UNDOTTED "%s",
             probe->https ? "https" : "http", probe->host, probe->file);
    if (other != NULL && go_to(NULL, url, &target) == NULL) {
        hop.url = target.url;
        hop.host = target.host;
        hop.port = target.port;
        ecert_dcv_hop(&hop);
        if (other->trouble == ECERT_DCV_ANSWERED && other->status == 200) {
            answer->slip_len = other->kept < sizeof(answer->slip)
                                   ? other->kept
                                   : sizeof(answer->slip);
            memcpy(answer->slip, other->body, answer->slip_len);
        }
    }
    free(other);
}

static int work(void *ctx, ecert_frames_t *out, ecert_err_t *err)
{
    const ecert_dcv_probe_t *probe = ctx;
    ecert_dcv_answer_t *answer = calloc(1, sizeof(*answer));
    int64_t deadline = ecert_clock_ms() + ALL_MS;
    char url[URL_LENGTH];
    target_t target;
    int rc;

    if (answer == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(answer);
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    snprintf(url, sizeof(url), "%s://%s" ECERT_DCV_PREFIX "%s",
             probe->https ? "https" : "http", probe->host, probe->file);
    if (go_to(NULL, url, &target) != NULL) {
        free(answer);
        return ecert_err(err, ECERT_ERR_NAME, probe->host, NULL);
    }
    follow(probe, &target, deadline, answer);
    if (answer->trouble == ECERT_DCV_ANSWERED && answer->status != 200
        && deadline - ecert_clock_ms() > 0) {
        look_for_slip(probe, answer);
    }
    rc = ecert_frames_add(out, ANSWER, answer, sizeof(*answer), err);
    free(answer);
    return rc;
}

/* ---- outside ----------------------------------------------------------- */

static void clean(char *text, size_t size)
{
    char copy[ECERT_DCV_URL_MAX];
    size_t len = strnlen(text, size);

    memcpy(copy, text, len);
    ecert_frame_text(text, size, copy, len);
}

/* Trusts nothing in it. */
static int take(const ecert_frames_t *frames, ecert_dcv_answer_t *answer)
{
    const ecert_frame_t *frame = frames->frames;

    if (frames->n != 1 || frame->kind != ANSWER
        || frame->len != sizeof(*answer)) {
        return -1;
    }
    memcpy(answer, frame->bytes, sizeof(*answer));
    if ((unsigned)answer->trouble >= ECERT_DCV_TROUBLES
        || answer->n_hops > ECERT_DCV_HOPS
        || answer->kept > sizeof(answer->body) || answer->len < answer->kept
        || answer->slip_len > sizeof(answer->slip)) {
        return -1;
    }
    for (size_t i = 0; i < answer->n_hops; i++) {
        clean(answer->hops[i].url, sizeof(answer->hops[i].url));
        clean(answer->hops[i].location, sizeof(answer->hops[i].location));
    }
    clean(answer->why, sizeof(answer->why));
    clean(answer->type, sizeof(answer->type));
    clean(answer->coding, sizeof(answer->coding));
    clean(answer->cdn, sizeof(answer->cdn));
    clean(answer->certificate, sizeof(answer->certificate));
    return 0;
}

typedef struct {
    ecert_jail_job_t *jobs;
    ecert_dcv_answer_t answer; /* the last one */
    void (*done)(void *ctx, size_t i, const ecert_dcv_answer_t *answer,
                 const ecert_err_t *err);
    void *ctx;
} round_t;

static void finish(void *ctx, size_t i)
{
    round_t *round = ctx;
    ecert_jail_job_t *job = &round->jobs[i];

    if (job->rc == 0 && take(&job->frames, &round->answer) != 0) {
        job->rc = ecert_err(&job->err, ECERT_ERR_DAMAGED, job->file, NULL);
    }
    ecert_frames_free(&job->frames);
    round->done(round->ctx, i, job->rc == 0 ? &round->answer : NULL, &job->err);
}

int ecert_dcv_probe(const ecert_dcv_probe_t *probes, size_t n,
                    void (*done)(void *ctx, size_t i,
                                 const ecert_dcv_answer_t *answer,
                                 const ecert_err_t *err),
                    void *ctx, ecert_err_t *err)
{
    round_t *round = calloc(1, sizeof(*round));
    ecert_jail_job_t *jobs = calloc(n + 1, sizeof(*jobs));
    int rc = 0;

    if (round != NULL && jobs != NULL) {
        for (size_t i = 0; i < n; i++) {
            jobs[i].ctx = (void *)(uintptr_t)&probes[i];
            jobs[i].file = probes[i].host;
        }
        round->jobs = jobs;
        round->done = done;
        round->ctx = ctx;
        ecert_jail_run_each(work, jobs, n, finish, round);
    } else {
        rc = ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    free(jobs);
    free(round);
    return rc;
}
