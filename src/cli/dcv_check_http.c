/* The validation files of names, at all of their addresses. */

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bar.h"
#include "dcv_check.h"
#include "ecert_dcv.h"
#include "ecert_dcv_probe.h"
#include "ecert_file.h"
#include "ecert_json.h"
#include "ecert_store.h"
#include "site.h"

#define PROBES (2 * ECERT_DCV_ADDRESSES)

typedef struct {
    const char *name;
    ecert_file_t code; /* bytes NULL: nobody put it here */
    json_t *probes[PROBES];
    ecert_dcv_vote_t votes[PROBES];
    unsigned char digests[PROBES][32];
    size_t n, left;              /* probes, those under way */
    char why[2][ECERT_DNS_NAME]; /* no address for http, https */
} name_t;

typedef struct {
    const ecert_dcv_check_t *check;
    name_t *names;
    size_t n_names, told;
    ecert_dcv_probe_t *probes;
    size_t *of; /* each one's name */
    size_t *at; /* and its place there */
    size_t n_probes, done;
    void (*tell)(void *ctx, json_t *one);
    void *ctx;
    int rc;
    ecert_err_t *err;
} round_t;

/* ---- one name ---------------------------------------------------------- */

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

static json_t *report(const ecert_dcv_probe_t *probe,
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
    return one;
}

/* Nobody put the file here: that is said, and no failure. */
static int read_code(const ecert_dcv_check_t *check, name_t *name,
                     ecert_err_t *err)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%.3500s/dcv/%.255s/%.255s", check->store,
             name->name, check->file);
    if (ecert_file_read(path, ECERT_DCV_BODY_MAX, NULL, &name->code, err)
        == 0) {
        return 0;
    }
    memset(&name->code, 0, sizeof(name->code));
    return err->code == ECERT_ERR_MISSING ? 0 : -1;
}

/* Why no server of this store answers with the file that is here. */
static void explain_over(const ecert_dcv_check_t *check, const name_t *name,
                         ecert_dcv_verdict_t *verdict)
{
    char over[32];

    snprintf(verdict->what, sizeof(verdict->what),
             "the file here is not answered: its 30 days were over %s",
             ecert_date_format(ecert_tokens_end(&name->code.st), over));
    snprintf(verdict->hint, sizeof(verdict->hint),
             "if it is the CA's last one, put it again:\n"
             "ecert dcv add %.150s FILE",
             ecert_cli_word(check->site));
}

static int is_over(const name_t *name)
{
    return name->code.bytes != NULL
           && ecert_tokens_end(&name->code.st) <= (int64_t)time(NULL);
}

static void conclude(const ecert_dcv_check_t *check, const name_t *name,
                     ecert_dcv_verdict_t *verdict)
{
    memset(verdict, 0, sizeof(*verdict));
    if (name->n == 0) {
        verdict->state = ECERT_DCV_BAD;
        snprintf(verdict->what, sizeof(verdict->what), "%s", name->why[0]);
        snprintf(verdict->hint, sizeof(verdict->hint),
                 "add the name's address records (A, AAAA), or leave the name "
                 "out of the request");
        return;
    }
    ecert_dcv_count(name->votes, name->n, verdict);
    if (verdict->state != ECERT_DCV_GOOD && is_over(name)) {
        explain_over(check, name, verdict);
    }
    if (verdict->state == ECERT_DCV_UNSURE && name->code.bytes == NULL) {
        snprintf(verdict->what, sizeof(verdict->what),
                 "nothing was put here for this name, so that the code cannot "
                 "be compared");
    }
    /* with it, what the site does with requests does not matter any more */
    if (verdict->state != ECERT_DCV_GOOD && name->code.bytes == NULL) {
        snprintf(verdict->hint, sizeof(verdict->hint),
                 "put the portal's file here:\necert dcv add %.150s FILE",
                 ecert_cli_word(check->site));
    }
}

static json_t *wildcard(const ecert_dcv_check_t *check, const char *name)
{
    const char *word = ecert_cli_word(check->site);
    ecert_dcv_verdict_t verdict = {.state = ECERT_DCV_BAD};
    json_t *one = json_object();

    snprintf(verdict.what, sizeof(verdict.what),
             "a file at one name proves nothing for all names below it");
    snprintf(verdict.hint, sizeof(verdict.hint),
             "choose DNS Change in the portal, then:\n"
             "ecert dcv dns %.100s CODE\necert dcv check %.100s --dns CODE",
             word, word);
    ecert_json_set_text(one, "name", name);
    ecert_dcv_check_set(one, "verdict", &verdict);
    json_object_set_new(one, "probes", json_array());
    return one;
}

static json_t *report_name(const ecert_dcv_check_t *check, name_t *name)
{
    ecert_dcv_verdict_t verdict;
    json_t *one, *probes;

    if (name->name[0] == '*') {
        return wildcard(check, name->name);
    }
    conclude(check, name, &verdict);
    one = json_object();
    probes = json_array();
    ecert_json_set_text(one, "name", name->name);
    ecert_json_set_text(one, "file", check->file);
    json_object_set_new(one, "known", json_boolean(name->code.bytes != NULL));
    ecert_dcv_check_set(one, "verdict", &verdict);
    for (size_t i = 0; i < name->n; i++) {
        json_array_append(probes, name->probes[i]);
    }
    json_object_set_new(one, "probes", probes);
    return one;
}

/* ---- all of them ------------------------------------------------------- */

/* Those at the front whose last answer has come. */
static void tell_names(round_t *round)
{
    while (round->rc == 0 && round->told < round->n_names
           && round->names[round->told].left == 0) {
        ecert_bar_clear();
        round->tell(round->ctx,
                    report_name(round->check, &round->names[round->told++]));
    }
}

static void take(void *ctx, size_t i, const ecert_dcv_answer_t *answer,
                 const ecert_err_t *err)
{
    round_t *round = ctx;
    name_t *name = &round->names[round->of[i]];
    size_t at = round->at[i];
    ecert_dcv_verdict_t verdict;

    round->done++;
    if (answer == NULL) {
        if (round->rc == 0) {
            *round->err = *err;
        }
        round->rc = -1;
        return;
    }
    ecert_dcv_judge(answer, name->code.bytes, name->code.len, &verdict);
    name->probes[at] = report(&round->probes[i], answer, &verdict);
    memcpy(name->digests[at], answer->digest, sizeof(name->digests[at]));
    name->votes[at] =
        (ecert_dcv_vote_t){round->probes[i].https, verdict.state,
                           answer->status == 200 ? name->digests[at] : NULL};
    name->left--;
    tell_names(round);
    ecert_bar_show("addresses asked", round->done, round->n_probes);
}

static void add_probes(round_t *round, size_t owner,
                       const ecert_dcv_where_t *where)
{
    name_t *name = &round->names[owner];

    for (size_t i = 0; i < where->n; i++) {
        round->of[round->n_probes] = owner;
        round->at[round->n_probes] = name->n++;
        round->probes[round->n_probes++] =
            (ecert_dcv_probe_t){.net = &round->check->net,
                                .host = name->name,
                                .file = round->check->file,
                                .https = where->port == 443,
                                .place = where->places[i]};
    }
    name->left = name->n;
    snprintf(name->why[where->port == 443], ECERT_DNS_NAME, "%s", where->why);
}

static int find_places(round_t *round)
{
    ecert_dcv_where_t *list = calloc(2 * round->n_names + 1, sizeof(*list));
    size_t n = 0;
    int rc;

    if (list == NULL) {
        return ecert_err(round->err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    for (size_t i = 0; i < 2 * round->n_names; i++) {
        if (round->names[i / 2].name[0] != '*') {
            list[n].net = &round->check->net;
            list[n].host = round->names[i / 2].name;
            list[n++].port = i % 2 ? 443 : 80;
        }
    }
    rc = ecert_dcv_where(list, n, round->err);
    for (size_t i = 0, k = 0; i < round->n_names && rc == 0; i++) {
        if (round->names[i].name[0] != '*') {
            add_probes(round, i, &list[k++]);
            add_probes(round, i, &list[k++]);
        }
    }
    free(list);
    return rc;
}

static int begin(round_t *round, const char *const *names, size_t n)
{
    round->names = calloc(n + 1, sizeof(*round->names));
    round->probes = calloc(PROBES * n + 1, sizeof(*round->probes));
    round->of = calloc(PROBES * n + 1, sizeof(*round->of));
    round->at = calloc(PROBES * n + 1, sizeof(*round->at));
    if (round->names == NULL || round->probes == NULL || round->of == NULL
        || round->at == NULL) {
        return ecert_err(round->err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    round->n_names = n;
    for (size_t i = 0; i < n; i++) {
        round->names[i].name = names[i];
        if (names[i][0] != '*'
            && read_code(round->check, &round->names[i], round->err) != 0) {
            return -1;
        }
    }
    return find_places(round);
}

static void end(round_t *round)
{
    for (size_t i = 0; i < round->n_names; i++) {
        for (size_t k = 0; k < round->names[i].n; k++) {
            json_decref(round->names[i].probes[k]);
        }
        ecert_file_free(&round->names[i].code);
    }
    free(round->names);
    free(round->probes);
    free(round->of);
    free(round->at);
}

int ecert_dcv_check_http(const ecert_dcv_check_t *check,
                         const char *const *names, size_t n,
                         void (*tell)(void *ctx, json_t *one), void *ctx,
                         ecert_err_t *err)
{
    round_t round = {.check = check, .tell = tell, .ctx = ctx, .err = err};

    round.rc = begin(&round, names, n);
    if (round.rc == 0) {
        tell_names(&round);
        if (ecert_dcv_probe(round.probes, round.n_probes, take, &round, err)
            != 0) {
            round.rc = -1;
        }
    }
    ecert_bar_clear();
    end(&round);
    return round.rc;
}
