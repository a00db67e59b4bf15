/* site.json (ecert_site_json, ecert_site_edit): names come out in one spelling,
 * sorted, the site's own first; and what is written again reads the same. */

#include "fuzz.h"

#include <sys/stat.h>

#include "ecert_file.h"
#include "ecert_json.h"
#include "ecert_name.h"
#include "ecert_site_edit.h"
#include "ecert_store.h"

#define ASCII "www.example.hk"

static void check(const ecert_site_json_t *json)
{
    char again[ECERT_NAME_MAX];
    ecert_err_t err;

    FUZZ_CHECK(json->n_names > 0 && strcmp(json->names[0], ASCII) == 0);
    for (size_t i = 0; i < json->n_names; i++) {
        FUZZ_CHECK(ecert_name_ascii(json->names[i], again, &err) == 0);
        FUZZ_CHECK(strcmp(again, json->names[i]) == 0);
        FUZZ_CHECK(i < 2 || strcmp(json->names[i - 1], json->names[i]) < 0);
    }
    FUZZ_CHECK(json->catalogue == NULL || json->catalogue[0] == '/');
    FUZZ_CHECK(json->cross.kind <= ECERT_CROSS_UNTIL);
}

static void write_again(const char *dir, const ecert_site_json_t *json)
{
    ecert_site_json_t again;
    ecert_err_t err;

    FUZZ_CHECK(ecert_site_write(dir, json->names, json->n_names, NULL, &err)
               == 0);
    FUZZ_CHECK(ecert_store_json(dir, ASCII, NULL, &again, &err) == 0);
    FUZZ_CHECK(again.n_names == json->n_names);
    for (size_t i = 0; i < again.n_names; i++) {
        FUZZ_CHECK(strcmp(again.names[i], json->names[i]) == 0);
    }
    FUZZ_CHECK(again.cross.kind == json->cross.kind
               && again.cross.until == json->cross.until);
    ecert_site_json_free(&again);
}

static void run(const uint8_t *bytes, size_t len)
{
    ecert_site_json_t json;
    ecert_err_t err;
    const char *dir;

    fuzz_file("site.json", bytes, len);
    dir = fuzz_folder();
    if (ecert_store_json(dir, ASCII, NULL, &json, &err) != 0) {
        fuzz_check_err(&err);
        FUZZ_CHECK(json.names == NULL && json.catalogue == NULL);
        return;
    }
    check(&json);
    write_again(dir, &json);
    ecert_site_json_free(&json);
}

static void seeds(void)
{
    fuzz_seed_text("{}");
    fuzz_seed_text("\xef\xbb\xbf{\"names\": [\"www.example.hk\", "
                   "\"EXAMPLE.hk\", \"*.a.example.hk\", \"www.\xe6\x88\x91"
                   "\xe7\x9a\x84.hk\"]}\n");
    fuzz_seed_text("{\"names\": [], \"catalogue\": \"/etc/ecert/ca.json\",\n"
                   "\"policy\": {\"cross_certificate\": "
                   "\"until=2027-04-15\"},\n\"subject\": {\"country\": "
                   "\"HK\"}, \"more\": [1, 2.5, null]}");
    fuzz_seed_text("{\"names\": \"x\", \"names\": [1]}");
    fuzz_seed_text("{\"policy\": {\"cross_certificate\": \"auto\\u0000\"}}");
}

static const char *const words[] = {
    "\"names\"",   "\"catalogue\"", "\"policy\"",   "\"cross_certificate\"",
    "\"subject\"", "\"auto\"",      "\"on\"",       "\"off\"",
    "until=",      "2027-02-28",    "\\u0000",      "\\ud800",
    "\"*.a.hk\"",  "xn--",          "\xe3\x80\x82", "null",
    NULL};

FUZZ_TARGET(site_json, .run = run, .seeds = seeds, .max = 4096, .words = words);
