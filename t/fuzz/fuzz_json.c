/* JSON as it is read and written (ecert_json): what is written parses, and
 * texts of any bytes become valid strings. */

#include "fuzz.h"

#include "ecert_file.h"
#include "ecert_json.h"

static void members(const json_t *root)
{
    static const char *const names[] = {"a", "names", "time"};
    ecert_err_t err;
    char **texts;
    size_t n;

    for (size_t i = 0; i < 3; i++) {
        ecert_json_text(root, names[i]);
        ecert_json_date(root, names[i]);
        ecert_json_flag(root, names[i], 1);
        if (ecert_json_names(root, names[i], "a.json", &texts, &n, &err) != 0) {
            FUZZ_CHECK(texts == NULL && n == 0);
            fuzz_check_err(&err);
        } else {
            json_t *array = ecert_json_texts(texts, n);

            FUZZ_CHECK(array != NULL && json_array_size(array) == n);
            json_decref(array);
            ecert_names_free(texts, n);
        }
    }
}

static void write_again(const json_t *root)
{
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_ENCODE_ANY);
    ecert_err_t err;
    json_t *again;

    FUZZ_CHECK(text != NULL);
    again = ecert_json_parse((unsigned char *)text, strlen(text), "b", &err);
    FUZZ_CHECK(again != NULL);
    FUZZ_CHECK(json_equal(root, again));
    json_decref(again);
    free(text);
}

static void texts(const uint8_t *bytes, size_t len)
{
    char *text = fuzz_text(bytes, len), *all;
    json_t *object = json_object(), *again;
    ecert_err_t err;

    ecert_json_set_text(object, "a", text);
    FUZZ_CHECK(ecert_json_text(object, "a") != NULL);
    all = json_dumps(object, JSON_COMPACT);
    again = ecert_json_parse((unsigned char *)all, strlen(all), "c", &err);
    FUZZ_CHECK(again != NULL && json_equal(object, again));
    json_decref(again);
    json_decref(object);
    free(all);
    free(text);
}

static void run(const uint8_t *bytes, size_t len)
{
    ecert_err_t err;
    json_t *root = ecert_json_parse(bytes, len, "a.json", &err);

    if (root == NULL) {
        fuzz_check_err(&err);
    } else {
        members(root);
        write_again(root);
    }
    json_decref(root);
    texts(bytes, len);
}

static void seeds(void)
{
    fuzz_seed_text("{\"a\": \"x\\u0000y\", \"names\": [\"b\", \"c\"], "
                   "\"time\": \"2027-04-15T12:00:00Z\"}");
    fuzz_seed_text("[1, -2.5e10, true, null, \"\\ud83d\\ude00\\\"\"]");
    fuzz_seed_text("\xef\xbb\xbf{\"a\": {\"a\": {}}}");
    fuzz_seed_text("\"\xe9\xa6\x99\xff\"");
}

static const char *const words[] = {
    "\"a\":", "\"names\":", "\"time\":", "\\u0000", "\\ud83d\\ude00", "null",
    "true",   "1e308",      "[[[[[[[[",  "{\"a\":", "\xef\xbb\xbf",   NULL};

FUZZ_TARGET(json, .run = run, .seeds = seeds, .max = 4096, .words = words);
