/* Who fetched the validation files, as the running servers saw it. */

#include "dcv.h"
#include "ecert_json.h"
#include "ecert_report.h"

/* What a server says of this file's fetches, with its name; NULL: nothing. */
static json_t *fetched_of(const json_t *report, const json_t *one)
{
    const json_t *files = json_object_get(report, "validation_files"), *file;
    json_t *fetched;
    size_t i;

    json_array_foreach(files, i, file)
    {
        if (json_is_object(json_object_get(file, "fetched"))
            && json_equal(json_object_get(file, "host"),
                          json_object_get(one, "host"))
            && json_equal(json_object_get(file, "file"),
                          json_object_get(one, "file"))) {
            fetched = json_copy(json_object_get(file, "fetched"));
            ecert_json_set_text(fetched, "server",
                                ecert_json_text(report, "server"));
            return fetched;
        }
    }
    return NULL;
}

void ecert_dcv_add_fetched(json_t *list, const json_t *servers)
{
    json_t *one, *all, *fetched;
    const json_t *report;
    size_t i, k;

    json_array_foreach(list, i, one)
    {
        all = json_array();
        json_array_foreach(servers, k, report)
        {
            fetched = fetched_of(report, one);
            if (fetched != NULL) {
                json_array_append_new(all, fetched);
            }
        }
        json_object_set_new(one, "fetched", all);
    }
}

void ecert_dcv_print_fetched(const json_t *one, int each)
{
    const json_t *all = json_object_get(one, "fetched"), *fetched;
    const char *site = ecert_json_text(one, "site");
    size_t i, never = 0;

    json_array_foreach(all, i, fetched)
    {
        const char *server = ecert_json_text(fetched, "server");

        ecert_report_print_fetched(
            fetched, stdout, json_array_size(all) > 1 && server ? server : "",
            each);
        never += json_integer_value(json_object_get(fetched, "times")) == 0;
    }
    if (never > 0 && never == i) {
        printf("    try it as a validator would: ecert dcv check %s\n",
               ecert_cli_word(site ? site : ecert_json_text(one, "host")));
    }
}
