/* An agent's report as people see it (ecert_report_print): whatever JSON comes
 * through the socket, what is printed is plain lines. */

#include "fuzz.h"

#include "ecert_json.h"
#include "ecert_report.h"

static void print(const json_t *root, int explain)
{
    char *text = NULL, *line, *rest = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    FUZZ_CHECK(out != NULL);
    ecert_report_print(root, out, explain, FUZZ_NOW);
    FUZZ_CHECK(fclose(out) == 0);
    FUZZ_CHECK(strlen(text) == len);
    for (line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        fuzz_check_text(line);
    }
    free(text);
}

static void run(const uint8_t *bytes, size_t len)
{
    ecert_err_t err;
    json_t *root = ecert_json_parse(bytes, len, "socket", &err);

    if (root != NULL) {
        print(root, 0);
        print(root, 1);
    }
    json_decref(root);
}

static void seeds(void)
{
    fuzz_seed_text(
        "{\"schema\": \"ecert-status\", \"version\": 1, \"server\": "
        "\"nginx/1.22.1\", \"agent\": 7, \"store\": \"/var/lib/ecert\", "
        "\"watching\": \"events\", \"sites\": [{\"site\": \"www.example.hk\", "
        "\"name\": \"www.example.hk\", \"state\": \"valid\", \"certificate\": "
        "{\"subject\": \"www.example.hk\", \"not_before\": "
        "\"2026-11-01T00:00:00Z\", \"not_after\": \"2027-05-01T00:00:00Z\", "
        "\"names\": [\"www.example.hk\"], \"sha256\": \"00\"}, \"chain\": "
        "{\"complete\": true, \"served\": [{\"subject\": \"Sub\"}], "
        "\"missing\": \"x\", \"considered\": [{\"subject\": \"a\", \"why\": "
        "\"older\"}]}, \"error\": {\"code\": \"expired\", \"line\": \"x\"}, "
        "\"workers\": [{\"pid\": 8, \"generation\": 3}]}], "
        "\"validation_files\": [{\"host\": \"a.hk\", \"file\": \"f.txt\", "
        "\"expires\": \"2027-05-01T00:00:00Z\"}]}");
    fuzz_seed_text("{\"sites\": [1, {}, [], null], \"validation_files\": [1]}");
}

static const char *const words[] = {
    "\"sites\"",       "\"site\"",       "\"state\"",
    "\"certificate\"", "\"not_after\"",  "\"chain\"",
    "\"served\"",      "\"considered\"", "\"error\"",
    "\"why\"",         "\"subject\"",    "\"validation_files\"",
    "\"host\"",        "\"server\"",     "\\u001b[2J",
    "\\u0000",         "\"generation\"", "\"workers\"",
    "\"staple\"",      "\"expires\"",    NULL};

FUZZ_TARGET(report, .run = run, .seeds = seeds, .max = 4096, .words = words);
