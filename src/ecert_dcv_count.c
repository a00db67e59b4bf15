#include <stdio.h>
#include <string.h>

#include "ecert_dcv_judge.h"

typedef struct {
    size_t of[ECERT_DCV_BAD + 1];
} tally_t;

static tally_t count(const ecert_dcv_vote_t *votes, size_t n, int https)
{
    tally_t tally = {{0}};

    for (size_t i = 0; i < n; i++) {
        if (votes[i].https == https) {
            tally.of[votes[i].state]++;
        }
    }
    return tally;
}

static int is_right(const tally_t *tally)
{
    return tally->of[ECERT_DCV_GOOD] > 0 && tally->of[ECERT_DCV_BAD] == 0
           && tally->of[ECERT_DCV_UNSURE] == 0;
}

static int may_be_right(const tally_t *tally)
{
    return tally->of[ECERT_DCV_UNSURE] > 0 && tally->of[ECERT_DCV_BAD] == 0;
}

/* Where the code is not known, the answers can at least be compared. */
static int do_differ(const ecert_dcv_vote_t *votes, size_t n)
{
    const unsigned char *first = NULL;

    for (size_t i = 0; i < n; i++) {
        if (votes[i].state != ECERT_DCV_UNSURE || votes[i].digest == NULL) {
            continue;
        }
        first = first ? first : votes[i].digest;
        if (memcmp(first, votes[i].digest, 32) != 0) {
            return 1;
        }
    }
    return 0;
}

static void say(ecert_dcv_verdict_t *verdict, ecert_dcv_state_t state,
                const char *what, const char *hint)
{
    verdict->state = state;
    snprintf(verdict->what, sizeof(verdict->what), "%s", what);
    snprintf(verdict->hint, sizeof(verdict->hint), "%s", hint);
}

static void say_good(const tally_t *http, const tally_t *https,
                     ecert_dcv_verdict_t *verdict)
{
    const char *what = "the validation file is answered as it should be";

    if (is_right(http) && https->of[ECERT_DCV_BAD] > 0) {
        say(verdict, ECERT_DCV_GOOD,
            "right over http; but https gives something else, and some "
            "validators try it first",
            "put https right, too, or choose http in the portal");
    } else if (is_right(https) && http->of[ECERT_DCV_BAD] > 0) {
        say(verdict, ECERT_DCV_GOOD,
            "right over https; but http gives something else",
            "put http right, too, or choose https in the portal");
    } else if (is_right(http) && is_right(https)
               && http->of[ECERT_DCV_SILENT] + https->of[ECERT_DCV_SILENT]
                      > 0) {
        say(verdict, ECERT_DCV_GOOD,
            "right wherever somebody answers, but not every address of the "
            "name does",
            "take addresses that are not used out of the DNS: a validator may "
            "choose one of them");
    } else if (!is_right(http) || !is_right(https)) {
        say(verdict, ECERT_DCV_GOOD,
            is_right(http) ? "right over http; nobody answers by https"
                           : "right over https; nobody answers by http",
            "");
    } else {
        say(verdict, ECERT_DCV_GOOD, what, "");
    }
}

void ecert_dcv_count(const ecert_dcv_vote_t *votes, size_t n,
                     ecert_dcv_verdict_t *verdict)
{
    tally_t http = count(votes, n, 0), https = count(votes, n, 1);

    if (is_right(&http) || is_right(&https)) {
        say_good(&http, &https, verdict);
    } else if (do_differ(votes, n)) {
        say(verdict, ECERT_DCV_BAD,
            "the answers differ, and validators ask from several places",
            "bring all servers of this name to the same file");
    } else if (may_be_right(&http) || may_be_right(&https)) {
        say(verdict, ECERT_DCV_UNSURE,
            "nothing is wrong that can be seen from here, but that is not "
            "certain",
            "see above");
    } else if (http.of[ECERT_DCV_SILENT] + https.of[ECERT_DCV_SILENT] == n) {
        say(verdict, ECERT_DCV_BAD, "nobody answers at any of its addresses",
            "see that the addresses are right, and the firewall");
    } else if (http.of[ECERT_DCV_GOOD] + https.of[ECERT_DCV_GOOD] > 0) {
        say(verdict, ECERT_DCV_BAD,
            "right at some addresses only, and validators ask from several "
            "places",
            "bring all servers of this name to the same file");
    } else {
        say(verdict, ECERT_DCV_BAD,
            "the validation file is not answered as it must be", "see above");
    }
}
