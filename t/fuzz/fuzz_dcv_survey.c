/* A survey's answer out of its jail (ecert_dcv_survey). */

#include "fuzz.h"

#include "ecert_dcv_survey.c" /* for what comes out of the jail */

#include "ecert_dcv_judge.h"

/* Most of it is zeros: pairs of a place and a byte. */
static void fill(ecert_dcv_survey_t *survey, const uint8_t *bytes, size_t len)
{
    fuzz_in_t in = {bytes, len};
    unsigned char *to = (unsigned char *)survey;

    while (in.len > 0) {
        size_t at = (size_t)fuzz_two(&in) << 2, n = fuzz_byte(&in);
        const uint8_t *p = fuzz_take(&in, &n);

        at %= sizeof(*survey);
        n = n < sizeof(*survey) - at ? n : sizeof(*survey) - at;
        if (n > 0) {
            memcpy(to + at, p, n);
        }
    }
}

static void run(const uint8_t *bytes, size_t len)
{
    static ecert_dcv_survey_t out;
    ecert_dcv_survey_t *said = calloc(1, sizeof(*said));
    ecert_frame_t frame = {SURVEY, (unsigned char *)said, sizeof(*said)};
    ecert_frames_t frames = {&frame, 1};
    ecert_dcv_verdict_t verdict;

    FUZZ_CHECK(said != NULL);
    said->n = 1;
    fill(said, bytes, len);
    if (take(&frames, &out) == 0) {
        FUZZ_CHECK(out.n <= ECERT_DCV_SERVERS);
        fuzz_check_text(out.zone);
        fuzz_check_text(out.elsewhere);
        for (size_t i = 0; i < out.n; i++) {
            fuzz_check_text(out.asked[i].server);
            fuzz_check_text(out.asked[i].place);
            fuzz_check_text(out.asked[i].silence);
            fuzz_check_text(out.asked[i].reply.alias);
            ecert_dcv_judge_txt(&out.asked[i].reply, "code", 3600, &verdict);
            fuzz_check_text(verdict.what);
            fuzz_check_text(verdict.hint);
        }
    }
    free(said);
}

/* A member's place, as fill reads it. */
static void seed(size_t at, const char *bytes, unsigned char n)
{
    unsigned char seed[300];
    uint16_t place = (uint16_t)(at >> 2);

    memcpy(seed, &place, 2);
    seed[2] = n;
    memcpy(seed + 3, bytes, n);
    fuzz_seed(seed, 3 + (size_t)n);
}

static void seeds(void)
{
    seed(offsetof(ecert_dcv_survey_t, n), "\2\0\0\0", 4);
    seed(offsetof(ecert_dcv_survey_t, zone), "example.hk\x1b", 11);
    seed(offsetof(ecert_dcv_survey_t, asked[0].reply.n), "\1\0\0\0\0\0\0\0", 8);
    seed(offsetof(ecert_dcv_survey_t, asked[0].reply.records[0].len),
         "\4\0\0\0\0\0\0\0code", 12);
    seed(offsetof(ecert_dcv_survey_t, asked[0].reply.alias), "a.hk", 4);
}

FUZZ_TARGET(dcv_survey, .run = run, .seeds = seeds, .max = 1024);
