/* A probe's answer out of its jail, and where redirects lead to
 * (ecert_dcv_probe). */

#include "fuzz.h"

#include "ecert_dcv_probe.c" /* for what comes out of the jail */

static void from_jail(const uint8_t *bytes, size_t len)
{
    static ecert_dcv_answer_t answer;
    ecert_frame_t frame = {ANSWER, NULL, sizeof(answer)};
    ecert_frames_t frames = {&frame, 1};
    ecert_dcv_verdict_t verdict;
    ecert_dcv_answer_t *said = calloc(1, sizeof(*said));

    FUZZ_CHECK(said != NULL);
    memcpy(said, bytes, len < sizeof(*said) ? len : sizeof(*said));
    frame.bytes = (unsigned char *)said;
    if (take(&frames, &answer) == 0) {
        for (size_t i = 0; i < answer.n_hops; i++) {
            fuzz_check_text(answer.hops[i].url);
            fuzz_check_text(answer.hops[i].location);
        }
        fuzz_check_text(answer.why);
        fuzz_check_text(answer.type);
        fuzz_check_text(answer.cdn);
        ecert_dcv_judge(&answer, (const unsigned char *)"code", 4, &verdict);
        fuzz_check_text(verdict.what);
        fuzz_check_text(verdict.hint);
        ecert_dcv_judge(&answer, NULL, 0, &verdict);
        fuzz_check_text(verdict.what);
        fuzz_check_text(verdict.hint);
    }
    free(said);
}

static void follow_one(const uint8_t *bytes, size_t len)
{
    static ecert_dcv_answer_t answer;
    ecert_dcv_hop_work_t hop = {.answer = &answer};
    target_t target = {
        .url = "http://www.example.hk/a", .host = "www.example.hk", .port = 80};

    memset(&answer, 0, sizeof(answer));
    answer.status = 302;
    answer.n_hops = 1;
    strcpy(answer.hops[0].url, target.url);
    len = len < sizeof(hop.location) ? len : sizeof(hop.location) - 1;
    memcpy(hop.location, bytes, len);
    if (redirect(&hop, &target)) {
        FUZZ_CHECK(target.port == 80 || target.port == 443);
        FUZZ_CHECK(strncmp(target.url, "http://", 7) == 0
                   || strncmp(target.url, "https://", 8) == 0);
        FUZZ_CHECK(strchr(target.url, '@') == NULL
                   || strcspn(target.url + 8, "/?#")
                          < strcspn(target.url + 8, "@"));
        FUZZ_CHECK(strlen(target.host) > 0);
    } else {
        FUZZ_CHECK(answer.trouble == ECERT_DCV_REDIRECT);
    }
}

static void run(const uint8_t *bytes, size_t len)
{
    from_jail(bytes, len);
    follow_one(bytes, len);
}

static void seeds(void)
{
    static ecert_dcv_answer_t answer = {.n_hops = 2, .status = 200, .kept = 4};

    answer.len = answer.kept;
    strcpy(answer.hops[0].url, "http://www.example.hk/a");
    strcpy(answer.hops[1].url, "http://\xe9\xa6\x99/");
    memcpy(answer.body, "code", 4);
    fuzz_seed(&answer, sizeof(answer));
    fuzz_seed_text("https://www.example.hk:443/b?c#d");
    fuzz_seed_text("//user:pass@a.hk/");
    fuzz_seed_text("../b");
    fuzz_seed_text("http://[::1]:80/");
    fuzz_seed_text("file:///etc/passwd");
}

static const char *const words[] = {"://", "http",  "https", "@",     ":443",
                                    ":80", "//",    "..",    "[::1]", "#",
                                    "?",   "file:", "\\",    "%00",   NULL};

FUZZ_TARGET(dcv_probe, .run = run, .seeds = seeds, .max = 20000,
            .words = words);
