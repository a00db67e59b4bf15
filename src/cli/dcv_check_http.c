/* The validation file of one name, at all of its addresses. */

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dcv_check.h"
#include "ecert_dcv.h"
#include "ecert_dcv_probe.h"
#include "ecert_file.h"
#include "ecert_json.h"

#define PROBES (2 * ECERT_DCV_ADDRESSES)

typedef struct {
    const ecert_dcv_check_t *check;
    const char *name;
    ecert_file_t code; /* bytes NULL: nobody put it here */
    json_t *probes;
    ecert_dcv_vote_t votes[PROBES];
    unsigned char digests[PROBES][32];
    size_t n;
    char why[2][ECERT_DNS_NAME]; /* no address for http, https */
} round_t;

static json_t *report_hops(const ecert_dcv_answer_t *answer)
{
    json_t *list = json_array();

    for (size_t i = 0; i < answer->n_hops; i++) {
        json_t *one = json_object();

        ecert_json_set_text(one, "url", answer->hops[i].url);
        json_object_set_new(one, "status",
                            json_integer(answer->hops[i].status));
        if (answer->hops[i].location[0]) {
            ecert_json_set_text(one, "location", answer->hops[i].location);
        }
        json_array_append_new(list, one);
    }
    return list;
}

static void report(round_t *round, const ecert_dcv_probe_t *probe,
                   const ecert_dcv_answer_t *answer,
                   const ecert_dcv_verdict_t *verdict)
{
    json_t *one = json_object();
    char address[ECERT_DCV_PLACE];

    ecert_json_set_text(one, "scheme", probe->https ? "https" : "http");
    ecert_json_set_text(one, "address",
                        ecert_dcv_place_text(&probe->place, 0, address));
    ecert_dcv_check_set(one, "state", verdict);
    json_object_set_new(one, "status", json_integer(answer->status));
    json_object_set_new(one, "milliseconds",
                        json_integer(answer->milliseconds));
    json_object_set_new(one, "hops", report_hops(answer));
    json_array_append_new(round->probes, one);
}

static int probe_one(round_t *round, const ecert_dcv_place_t *place, int https,
                     ecert_err_t *err)
{
    ecert_dcv_probe_t probe = {.net = &round->check->net,
                               .host = round->name,
                               .file = round->check->file,
                               .https = https,
                               .place = *place};
    ecert_dcv_answer_t *answer = calloc(1, sizeof(*answer));
    ecert_dcv_verdict_t verdict;
    size_t i = round->n;

    if (answer == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    if (ecert_dcv_probe(&probe, answer, err) != 0) {
        free(answer);
        return -1;
    }
    ecert_dcv_judge(answer, round->code.bytes, round->code.len, &verdict);
    report(round, &probe, answer, &verdict);
    memcpy(round->digests[i], answer->digest, sizeof(round->digests[i]));
    round->votes[i] = (ecert_dcv_vote_t){
        https, verdict.state, answer->status == 200 ? round->digests[i] : NULL};
    round->n++;
    free(answer);
    return 0;
}

static int probe_all(round_t *round, int https, ecert_err_t *err)
{
    ecert_dcv_place_t places[ECERT_DCV_ADDRESSES];
    size_t n;

    if (ecert_dcv_places_jailed(&round->check->net, round->name,
                                https ? 443 : 80, places, &n, round->why[https],
                                err)
        != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (probe_one(round, &places[i], https, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Nobody put the file here: that is said, and no failure. */
static int read_code(round_t *round, ecert_err_t *err)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%.3500s/dcv/%.255s/%.255s",
             round->check->store, round->name, round->check->file);
    if (ecert_file_read(path, ECERT_DCV_BODY_MAX, NULL, &round->code, err)
        == 0) {
        return 0;
    }
    memset(&round->code, 0, sizeof(round->code));
    return err->code == ECERT_ERR_MISSING ? 0 : -1;
}

static void conclude(const round_t *round, ecert_dcv_verdict_t *verdict)
{
    memset(verdict, 0, sizeof(*verdict));
    if (round->n == 0) {
        verdict->state = ECERT_DCV_BAD;
        snprintf(verdict->what, sizeof(verdict->what), "%s", round->why[0]);
        snprintf(verdict->hint, sizeof(verdict->hint),
                 "add the name's address records (A, AAAA), or leave the name "
                 "out of the request");
        return;
    }
    ecert_dcv_count(round->votes, round->n, verdict);
    if (verdict->state == ECERT_DCV_UNSURE && round->code.bytes == NULL) {
        snprintf(verdict->what, sizeof(verdict->what),
                 "nothing was put here for this name, so that the code cannot "
                 "be compared");
        snprintf(verdict->hint, sizeof(verdict->hint),
                 "ecert dcv add NAME FILE, with the file of the portal");
    }
}

static json_t *wildcard(const char *name)
{
    ecert_dcv_verdict_t verdict = {.state = ECERT_DCV_BAD};
    json_t *one = json_object();

    snprintf(verdict.what, sizeof(verdict.what),
             "a file at one name proves nothing for all names below it");
    snprintf(
        verdict.hint, sizeof(verdict.hint),
        "choose DNS Change in the portal, then: ecert dcv check NAME --dns "
        "CODE");
    ecert_json_set_text(one, "name", name);
    ecert_dcv_check_set(one, "verdict", &verdict);
    json_object_set_new(one, "probes", json_array());
    return one;
}

json_t *ecert_dcv_check_http(const ecert_dcv_check_t *check, const char *name,
                             ecert_err_t *err)
{
    round_t *round;
    ecert_dcv_verdict_t verdict;
    json_t *one = NULL;

    if (name[0] == '*') {
        return wildcard(name);
    }
    round = calloc(1, sizeof(*round));
    if (round == NULL) {
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        return NULL;
    }
    round->check = check;
    round->name = name;
    round->probes = json_array();
    if (read_code(round, err) == 0 && probe_all(round, 0, err) == 0
        && probe_all(round, 1, err) == 0) {
        conclude(round, &verdict);
        one = json_object();
        ecert_json_set_text(one, "name", name);
        ecert_json_set_text(one, "file", check->file);
        json_object_set_new(one, "known",
                            json_boolean(round->code.bytes != NULL));
        ecert_dcv_check_set(one, "verdict", &verdict);
        json_object_set(one, "probes", round->probes);
    }
    json_decref(round->probes);
    ecert_file_free(&round->code);
    free(round);
    return one;
}
