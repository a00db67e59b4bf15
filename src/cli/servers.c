#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "cli.h"
#include "ecert_door.h"
#include "ecert_file.h"
#include "ecert_name.h"
#include "ecert_report.h"
#include "servers.h"

#define SECONDS 3 /* that an agent has for its answer */

/* Some commands ask more than once, others until an answer comes: what
 * is wrong with a server is told once. */
static void complain(const ecert_err_t *err, int *silent)
{
    static json_t *told; /* its members are files */

    if (silent == NULL) {
        return;
    }
    (*silent)++;
    told = told ? told : json_object();
    if (json_object_get(told, err->file) == NULL) {
        json_object_set_new(told, err->file, json_true());
        ecert_cli_fail(NULL, err);
    }
}

/* Its socket is still there: it did not leave, it was killed. */
static void complain_dead(const char *path, int *silent)
{
    ecert_err_t err;

    ecert_err(&err, ECERT_ERR_AGENT, path, "it was killed and did not return");
    ecert_err_hint(&err, "reload the server, or start it: that brings a new "
                         "agent");
    complain(&err, silent);
}

json_t *ecert_cli_servers(const char *store, int *silent)
{
    json_t *answers = json_array();
    char run[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
    const char *said = ecert_cli_run();
    ecert_err_t err;
    char **names;
    size_t n, i;

    snprintf(run, sizeof(run), "%.3800s%s", said ? said : store,
             said ? "" : "/run");
    if (ecert_file_list(run, 1000, NULL, &names, &n, &err) != 0) {
        if (err.code != ECERT_ERR_MISSING /* no server ever ran */
            || said != NULL) {
            complain(&err, silent);
        }
        return answers;
    }
    for (i = 0; i < n; i++) {
        ecert_door_state_t state;
        char *text;
        json_t *answer;

        if (!ecert_door_is(names[i])) {
            continue;
        }
        snprintf(path, sizeof(path), "%s/%.255s", run, names[i]);
        text = ecert_door_ask(path, SECONDS, &state, &err);
        if (text == NULL && state == ECERT_DOOR_LIVES) {
            complain(&err, silent);
        } else if (text == NULL && state == ECERT_DOOR_DEAD
                   && access(path, F_OK) == 0) {
            complain_dead(path, silent);
        }
        answer = text ? json_loads(text, 0, NULL) : NULL;
        if (answer != NULL) {
            json_array_append_new(answers, ecert_report_clean(answer));
            json_decref(answer);
        }
        free(text);
    }
    ecert_names_free(names, n);
    return answers;
}

static int same_name(const char *a, const char *b)
{
    char x[ECERT_NAME_MAX], y[ECERT_NAME_MAX];
    ecert_err_t ignored;

    if (ecert_name_ascii(a, x, &ignored) != 0
        || ecert_name_ascii(b, y, &ignored) != 0) {
        return strcasecmp(a, b) == 0;
    }
    return strcmp(x, y) == 0;
}

int ecert_cli_is_site(const json_t *site, const char *ascii)
{
    const char *name = json_string_value(json_object_get(site, "site"));

    return json_is_true(json_object_get(site, "store_site")) && name != NULL
           && same_name(name, ascii);
}

size_t ecert_cli_refusing(const json_t *site)
{
    json_int_t published =
        json_integer_value(json_object_get(site, "published"));
    const json_t *worker;
    size_t i, n = 0;

    json_array_foreach(json_object_get(site, "workers"), i, worker)
    {
        n += published != 0
             && json_integer_value(json_object_get(worker, "refuses"))
                    == published;
    }
    return n;
}

int ecert_cli_security(const json_t *reports, const char *ascii)
{
    const json_t *report, *site;
    int highest = 0;
    size_t i, k;

    json_array_foreach(reports, i, report)
    {
        json_array_foreach(json_object_get(report, "sites"), k, site)
        {
            json_int_t level =
                json_integer_value(json_object_get(site, "security_level"));

            if (level > highest && ecert_cli_is_site(site, ascii)) {
                highest = (int)level;
            }
        }
    }
    return highest;
}

int ecert_cli_security_now(const char *store, const char *ascii)
{
    json_t *reports = ecert_cli_servers(store, NULL);
    int level = ecert_cli_security(reports, ascii);

    json_decref(reports);
    return level;
}

int ecert_cli_concerns(const json_t *site, const char *name)
{
    const json_t *vhost;
    size_t i;

    if (same_name(json_string_value(json_object_get(site, "site")), name)) {
        return 1;
    }
    json_array_foreach(json_object_get(site, "vhosts"), i, vhost)
    {
        if (same_name(json_string_value(vhost), name)) {
            return 1;
        }
    }
    return 0;
}
