/* What is known about a CA (ecert_ca*), from a file; and the calendar that
 * follows from it. */

#include "fuzz.h"

#include "ecert_ca.h"
#include "ecert_calendar.h"

static void check_entry(const ecert_ca_t *ca, const ecert_ca_entry_t *entry)
{
    FUZZ_CHECK(entry->id != NULL && entry->id[0] != '\0');
    FUZZ_CHECK(ecert_ca_find_id(ca, entry->id) == entry);
    FUZZ_CHECK(entry->name != NULL);
    FUZZ_CHECK(entry->role > ECERT_CA_UNKNOWN && entry->role <= ECERT_CA_CROSS);
    FUZZ_CHECK(entry->issuer == NULL
               || ecert_ca_find_id(ca, entry->issuer) != NULL);
}

static void check_plan(const ecert_ca_t *ca, int64_t until)
{
    ecert_plan_t plan;
    ecert_err_t err;

    if (ecert_calendar_plan(ca, FUZZ_NOW - PKI_DAY, FUZZ_NOW + 197 * PKI_DAY,
                            until, FUZZ_NOW, &plan, &err)
        != 0) {
        fuzz_check_err(&err);
        return;
    }
    FUZZ_CHECK(plan.n <= ECERT_CALENDAR_MAX + 1);
    for (size_t i = 0; i < plan.n; i++) {
        FUZZ_CHECK(plan.items[i].not_before < plan.items[i].not_after);
        FUZZ_CHECK(i == 0
                   || plan.items[i].not_after > plan.items[i - 1].not_after);
    }
    ecert_plan_free(&plan);
}

static void run(const uint8_t *bytes, size_t len)
{
    char *text = fuzz_text(bytes, len);
    ecert_err_t err;
    ecert_ca_t *ca = ecert_ca_parse(text, len, "ca.json", &err);

    free(text);
    if (ca == NULL) {
        fuzz_check_err(&err);
        return;
    }
    for (size_t i = 0; i < ecert_ca_count(ca); i++) {
        check_entry(ca, ecert_ca_entry(ca, i));
    }
    ecert_ca_find(ca, fuzz_pki()->new_sub);
    ecert_ca_root_name(ca, X509_get_subject_name(fuzz_pki()->root));
    ecert_ca_ceiling(ca, FUZZ_NOW);
    ecert_ca_life(ca, FUZZ_NOW);
    check_plan(ca, 0);
    check_plan(ca, FUZZ_NOW + 3 * PKI_YEAR);
    ecert_ca_free(ca);
}

static void seeds(void)
{
    char *text = pki_catalogue(fuzz_pki(), "2027-11-30");
    FILE *in = fopen("src/ca/hongkongpost.json", "re");
    size_t len;

    fuzz_seed_text(text);
    free(text);
    if (in != NULL) {
        text = fuzz_read_all(fileno(in), &len);
        fclose(in);
        fuzz_seed(text, len);
        free(text);
    }
}

static const char *const words[] = {"\"schema\"",
                                    "\"version\"",
                                    "\"certificates\"",
                                    "\"id\"",
                                    "\"role\"",
                                    "\"root\"",
                                    "\"sub\"",
                                    "\"cross\"",
                                    "\"issuer\"",
                                    "\"sha256\"",
                                    "\"denied\"",
                                    "\"reason\"",
                                    "\"useful_until\"",
                                    "\"url\"",
                                    "\"updated\"",
                                    "\"rules\"",
                                    "\"limits\"",
                                    "\"from\"",
                                    "\"days\"",
                                    "2027-04-15",
                                    "9999-12-31",
                                    "0001-01-01",
                                    "null",
                                    "true",
                                    "4294967296",
                                    "-1",
                                    "\\u0000",
                                    NULL};

FUZZ_TARGET(catalogue, .run = run, .seeds = seeds, .max = 8000, .words = words);
