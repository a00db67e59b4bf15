/* What commands leave beside a site for those that come later: .swap.json,
 * backups.json, request.json, .FILE.json. */

#include "fuzz.h"

#include <unistd.h>

#include <sys/stat.h>

#include "ecert_backups.h"
#include "ecert_file.h"
#include "ecert_request.h"
#include "ecert_swap.h"
#include "ecert_token_put.h"

static const char *prepare(void)
{
    static char site[128];
    char path[256], *key;

    if (site[0] == '\0') {
        snprintf(path, sizeof(path), "%s/sites", fuzz_folder());
        mkdir(path, 0700);
        snprintf(path, sizeof(path), "%s/dcv", fuzz_folder());
        mkdir(path, 0755);
        strcat(path, "/www.example.hk");
        mkdir(path, 0755);
        snprintf(site, sizeof(site), "%s/sites/www.example.hk", fuzz_folder());
        mkdir(site, 0700);
        snprintf(path, sizeof(path), "%s/pending", site);
        mkdir(path, 0700);
        strcat(path, "/3");
        mkdir(path, 0700);
        key = pki_pem_key(fuzz_pki()->leaf_key);
        fuzz_file("sites/www.example.hk/pending/3/key.pem", key, strlen(key));
        free(key);
    }
    return site;
}

static void requests(const char *site)
{
    ecert_request_t *list;
    ecert_err_t err;
    size_t n;

    FUZZ_CHECK(ecert_requests(site, "www.example.hk", &list, &n, &err) == 0);
    for (size_t i = 0; i < n; i++) {
        FUZZ_CHECK(list[i].number == 3 && list[i].n_names > 0);
        FUZZ_CHECK(json_is_object(list[i].json));
        FUZZ_CHECK(strlen(list[i].key_id) <= 64);
    }
    ecert_requests_free(list, n);
}

static void swap(const char *site)
{
    char path[256];
    ecert_err_t err;

    if (ecert_swap_finish(site, &err) != 0) {
        fuzz_check_err(&err);
    }
    snprintf(path, sizeof(path), "%s/.swap.json", site);
    unlink(path);
    snprintf(path, sizeof(path), "%s/site.json", site);
    unlink(path);
}

static void run(const uint8_t *bytes, size_t len)
{
    const char *site = prepare();
    json_t *origin;
    ecert_err_t err;
    int64_t last;

    fuzz_file("sites/www.example.hk/.swap.json", bytes, len);
    swap(site);
    fuzz_file("sites/www.example.hk/backups.json", bytes, len);
    FUZZ_CHECK(ecert_backups_last(site, "00", NULL, &last, &err) == 0);
    FUZZ_CHECK(ecert_backups_last(site, "00", "11", &last, &err) == 0);
    FUZZ_CHECK(ecert_backups_has(site, "/root/a.pfx", &err) >= 0);
    fuzz_file("sites/www.example.hk/pending/3/request.json", bytes, len);
    requests(site);
    fuzz_file("dcv/www.example.hk/.a.txt.json", bytes, len);
    origin = ecert_token_origin(fuzz_folder(), "www.example.hk", "a.txt",
                                &err);
    FUZZ_CHECK(json_is_object(origin));
    json_decref(origin);
}

static void seeds(void)
{
    fuzz_seed_text("{\"generation\": 3, \"names\": [\"www.example.hk\", "
                   "\"example.hk\"], \"names_before\": [\"www.example.hk\"], "
                   "\"site\": {\"subject\": {\"country\": \"HK\"}}}");
    fuzz_seed_text("{\"generation\": 0, \"names\": [], \"names_before\": []}");
    fuzz_seed_text("{\"backups\": [{\"key_sha256\": \"00\", \"certificate\": "
                   "\"11\", \"file\": \"/root/a.pfx\", \"time\": "
                   "\"2027-04-15T12:00:00Z\"}]}");
    fuzz_seed_text("{\"names\": [\"www.example.hk\"], \"key_sha256\": \"00\", "
                   "\"created\": \"2027-04-15T12:00:00Z\", \"printed\": "
                   "\"2027-04-16T12:00:00Z\", \"export\": false}");
    fuzz_seed_text("{\"site\": \"www.example.hk\", \"request\": 3, \"time\": "
                   "\"2027-04-15T12:00:00Z\"}");
}

static const char *const words[] = {"\"generation\"",
                                    "\"names\"",
                                    "\"names_before\"",
                                    "\"site\"",
                                    "\"backups\"",
                                    "\"file\"",
                                    "\"key_sha256\"",
                                    "\"certificate\"",
                                    "\"time\"",
                                    "\"created\"",
                                    "\"printed\"",
                                    "\"export\"",
                                    "\"request\"",
                                    "\"subject\"",
                                    "true",
                                    "\\u0000",
                                    NULL};

FUZZ_TARGET(records, .run = run, .seeds = seeds, .max = 2048, .words = words);
