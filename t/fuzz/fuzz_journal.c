/* The store's log (ecert_journal): hostile lines are passed over, and what is
 * added behind them is read. */

#include "fuzz.h"

#include <unistd.h>

#include "ecert_journal.h"
#include "ecert_json.h"

static void add(char *word)
{
    ecert_err_t err;
    json_t *more = json_object(), *list, *last;

    ecert_json_set_text(more, "word", word);
    ecert_json_set_text(more, "command", "forged");
    FUZZ_CHECK(
        ecert_journal_add(fuzz_folder(), "install", word, more, FUZZ_NOW, &err)
        == 0);
    list = ecert_journal_read(fuzz_folder(), NULL, &err);
    FUZZ_CHECK(list != NULL && json_array_size(list) > 0);
    last = json_array_get(list, json_array_size(list) - 1);
    FUZZ_CHECK(strcmp(ecert_json_text(last, "command"), "install") == 0);
    FUZZ_CHECK(ecert_json_date(last, "time") == FUZZ_NOW);
    json_decref(list);
}

static void run(const uint8_t *bytes, size_t len)
{
    char *word = fuzz_text(bytes, len < 40 ? len : 40);
    const char *path = fuzz_file("log", bytes, len);
    json_t *all, *some;
    ecert_err_t err;

    all = ecert_journal_read(fuzz_folder(), NULL, &err);
    some = ecert_journal_read(fuzz_folder(), "www.example.hk", &err);
    FUZZ_CHECK(json_is_array(all) && json_is_array(some));
    FUZZ_CHECK(json_array_size(some) <= json_array_size(all));
    for (size_t i = 0; i < json_array_size(all); i++) {
        FUZZ_CHECK(json_is_object(json_array_get(all, i)));
    }
    json_decref(all);
    json_decref(some);
    add(word);
    unlink(path);
    free(word);
}

static void seeds(void)
{
    fuzz_seed_text("{\"time\": \"2027-04-15T12:00:00Z\", \"user\": \"root\", "
                   "\"command\": \"install\", \"site\": \"www.example.hk\"}\n"
                   "{\"site\": 1}\n[]\n{\"cut\": ");
    fuzz_seed_text("\n\n{}\r\n\xff\n{\"a\": \"\\u0000\"}");
}

static const char *const words[] = {"{\"site\": \"www.example.hk\"}\n",
                                    "\n",
                                    "{}",
                                    "\"command\"",
                                    "\\u0000",
                                    "[[[[",
                                    NULL};

FUZZ_TARGET(journal, .run = run, .seeds = seeds, .max = 2048, .words = words);
