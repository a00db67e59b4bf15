#include "progress.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "ecert_backups.h"
#include "ecert_chain.h"
#include "ecert_json.h"
#include "ecert_name.h"
#include "ecert_x509.h"
#include "facts.h"
#include "next.h"
#include "say.h"
#include "servers.h"
#include "site.h"

#define LINE         79
#define NAME_COLUMNS 28 /* of `ecert status` */

/* ---- steps ------------------------------------------------------------- */

/* done: 1 yes, 0 no, -1 it need not be. */
static void add_step(json_t *steps, const char *word, const char *label,
                     int done, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

static void add_step(json_t *steps, const char *word, const char *label,
                     int done, const char *fmt, ...)
{
    json_t *step = json_object();
    char detail[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(detail, sizeof(detail), fmt, args);
    va_end(args);
    ecert_json_set_text(step, "step", word);
    ecert_json_set_text(step, "label", label);
    json_object_set_new(step, "done", json_boolean(done > 0));
    if (done < 0) {
        json_object_set_new(step, "optional", json_true());
    }
    ecert_json_set_text(step, "detail", detail);
    json_array_append_new(steps, step);
}

static const char *day(int64_t when, char out[32])
{
    return when ? ecert_day_format(when, out) : "not yet";
}

static void request_steps(const ecert_facts_t *facts, json_t *steps)
{
    const ecert_request_t *request = facts->request;
    const char *file = ecert_ca_rules(facts->ca)->token_file;
    char when[32], names[64] = "";
    int64_t until;
    size_t up = ecert_facts_validated(facts, request, &until);

    if (request->n_names > 1) {
        snprintf(names, sizeof(names), ", %zu names", request->n_names);
    }
    add_step(steps, "key-made", "key and request", 1,
             "request %llu, %s%s, made %s", (unsigned long long)request->number,
             request->key_name, names, day(request->created, when));
    add_step(steps, "key-backed-up", "backup of the key",
             !request->exportable ? -1 : facts->pending_backup > 0, "%s",
             !request->exportable ? "not wanted: --no-export"
                                  : day(facts->pending_backup, when));
    if (file != NULL && request->names[0][0] != '*') {
        int all = up == request->n_names;

        if (up > 0) {
            add_step(steps, "validation-file-up", "validation file",
                     all ? 1 : 0, "%s for %zu of %zu names, until %s", file, up,
                     request->n_names, day(until, when));
        } else {
            add_step(steps, "validation-file-up", "validation file", -1,
                     "where the portal asks for it");
        }
    }
    add_step(steps, "csr-submitted", "request handed out", request->printed > 0,
             "%s", day(request->printed, when));
    add_step(steps, "certificate-received", "certificate", 0, "%s",
             request->printed ? "awaited from the CA" : "not yet");
}

static void current_steps(const ecert_facts_t *facts, json_t *steps)
{
    const ecert_generation_t *current = facts->current;
    char hex[65], until[32], when[32], from[48] = "", number[48] = "";
    int64_t end = ecert_x509_not_after(current->leaf);

    if (current->number > 0) {
        snprintf(number, sizeof(number), "generation %llu, ",
                 (unsigned long long)current->number);
    }
    if (ecert_facts_early(facts)) {
        snprintf(from, sizeof(from), "from %s ",
                 day(ecert_x509_not_before(current->leaf), when));
    }
    ecert_x509_fingerprint(current->leaf, hex);
    add_step(steps, "installed", "installed",
             facts->refused[0] == '\0' || ecert_facts_early(facts),
             "%s%suntil %s, %.16s", number, from, day(end, until), hex);
    if (facts->refused[0] == '\0') {
        add_step(steps, "chain-complete", "chain", facts->missing[0] == '\0',
                 "%s%s%s", facts->chain[0] ? facts->chain : "the leaf alone",
                 facts->missing[0] ? "; missing: " : "", facts->missing);
    }
    if (facts->asked) {
        add_step(steps, "served", "served",
                 facts->servers > 0 && facts->serving == facts->servers,
                 facts->servers == 0   ? "by no running server"
                 : facts->serving == 0 ? "not by %s"
                                       : "by %s",
                 facts->server_names);
    }
    add_step(steps, "certificate-backed-up", "backup with it",
             !current->exportable ? -1 : facts->current_backup > 0, "%s",
             !current->exportable ? "not wanted: --no-export"
                                  : day(facts->current_backup, when));
}

/* ---- all of it --------------------------------------------------------- */

static json_t *report_requests(const ecert_facts_t *facts)
{
    json_t *list = json_array();

    for (size_t i = 0; i < facts->n_requests; i++) {
        const ecert_request_t *request = &facts->requests[i];
        json_t *one = json_object();
        int64_t backup = 0;
        ecert_err_t ignored; /* the newest one's was read without it */

        ecert_backups_last(facts->dir, request->key_id, NULL, &backup,
                           &ignored);
        json_object_set_new(one, "request",
                            json_integer((json_int_t)request->number));
        ecert_json_set_text(one, "key", request->key_name);
        ecert_json_set_text(one, "key_sha256", request->key_id);
        json_object_set_new(one, "names",
                            ecert_json_texts(request->names, request->n_names));
        ecert_json_set_date(one, "created", request->created);
        ecert_json_set_date(one, "printed", request->printed);
        ecert_json_set_date(one, "backup", backup);
        json_array_append_new(list, one);
    }
    return list;
}

/* Those that the steps are not about: made before the newest, or before the
 * certificate that is current. */
static void other_requests(const ecert_facts_t *facts, json_t *steps)
{
    char made[32], printed[32];

    for (size_t i = 0; i < facts->n_requests; i++) {
        const ecert_request_t *request = &facts->requests[i];

        if (request == facts->request) {
            continue;
        }
        add_step(steps, "other-request", "earlier request", -1,
                 "%llu, %s, made %s, %s%s", (unsigned long long)request->number,
                 request->key_name, day(request->created, made),
                 request->printed ? "handed out " : "never handed out",
                 request->printed ? day(request->printed, printed) : "");
    }
}

static json_t *report(const ecert_facts_t *facts)
{
    json_t *progress = json_object(), *steps = json_array();
    char name[ECERT_NAME_MAX * 4], site[ECERT_NAME_MAX * 4 + 2];

    ecert_name_unicode(facts->ascii, name, sizeof(name));
    snprintf(site, sizeof(site), "%s", ecert_cli_word(name));
    ecert_json_set_text(progress, "site", facts->ascii);
    json_object_set_new(progress, "requests", report_requests(facts));
    if (facts->current != NULL) {
        current_steps(facts, steps);
    }
    if (facts->request != NULL) {
        request_steps(facts, steps);
    }
    other_requests(facts, steps);
    if (facts->current != NULL) {
        int64_t from = ecert_cli_renew_from(facts);
        char when[32];

        ecert_json_set_date(progress, "renew_from", from);
        add_step(steps, "renewal", "renewal", facts->now < from ? -1 : 0,
                 facts->now < from ? "from %s on" : "due since %s",
                 ecert_day_format(from, when));
    }
    json_object_set_new(progress, "steps", steps);
    json_object_set_new(progress, "next", ecert_cli_next(facts, site));
    return progress;
}

json_t *ecert_cli_progress(const char *store, const char *ascii,
                           const json_t *servers, ecert_loader_t *loader,
                           int64_t now, ecert_err_t *err)
{
    ecert_facts_t facts;
    json_t *progress;

    if (ecert_facts(store, ascii, servers, loader, now, &facts, err) != 0) {
        return NULL;
    }
    progress = report(&facts);
    ecert_facts_free(&facts);
    return progress;
}

static void print_step(const json_t *step, FILE *out)
{
    const char *label = ecert_json_text(step, "label");
    const char *detail = ecert_json_text(step, "detail");
    int done = ecert_json_flag(step, "done", 0);
    int optional = ecert_json_flag(step, "optional", 0);

    fprintf(out, "  %s%s%s ",
            ecert_say_style(out, done       ? ECERT_SAY_GOOD
                                 : optional ? ECERT_SAY_DIM
                                            : ECERT_SAY_WARN),
            done       ? "[x]"
            : optional ? " - "
                       : "[ ]",
            ecert_say_style(out, ECERT_SAY_PLAIN));
    ecert_say_padded(out, label ? label : "", 20);
    ecert_say_wrapped(out, detail ? detail : "", 26, 26);
    if (detail == NULL || detail[0] == '\0') {
        putc('\n', out);
    }
}

void ecert_cli_progress_print(const json_t *progress, FILE *out)
{
    const json_t *next = json_object_get(progress, "next"), *step;
    const char *text = ecert_json_text(next, "text");
    const char *command = ecert_json_text(next, "command");
    const char *site = ecert_json_text(progress, "site");
    char name[ECERT_NAME_MAX * 4];
    size_t i;

    ecert_name_unicode(site, name, sizeof(name));
    fprintf(out, "%s%s%s%s%s%s\n", ecert_say_style(out, ECERT_SAY_BOLD), name,
            ecert_say_style(out, ECERT_SAY_PLAIN),
            strcmp(name, site) ? " (" : "", strcmp(name, site) ? site : "",
            strcmp(name, site) ? ")" : "");
    json_array_foreach(json_object_get(progress, "steps"), i, step)
    {
        print_step(step, out);
    }
    fprintf(out, "  %snext:%s ", ecert_say_style(out, ECERT_SAY_BOLD),
            ecert_say_style(out, ECERT_SAY_PLAIN));
    ecert_say_wrapped(out, text ? text : "", 8, 8);
    if (command != NULL) {
        fprintf(out, "        %s%s%s\n", ecert_say_style(out, ECERT_SAY_BOLD),
                command, ecert_say_style(out, ECERT_SAY_PLAIN));
    }
}

void ecert_cli_progress_line(const json_t *progress, FILE *out)
{
    const json_t *next = json_object_get(progress, "next");
    const char *command = ecert_json_text(next, "command");
    const char *word = ecert_json_text(next, "step");
    const char *site = ecert_json_text(progress, "site");
    char line[3000];

    snprintf(line, sizeof(line), "%s%s%s", word ? word : "",
             command ? ": " : "", command ? command : "");
    if (ecert_say_width(site) > NAME_COLUMNS
        || ecert_say_width(line) > LINE - NAME_COLUMNS - 3) {
        fprintf(out, "  %s\n      %s\n", site, line);
        return;
    }
    fprintf(out, "  ");
    ecert_say_padded(out, site, NAME_COLUMNS);
    fprintf(out, " %s\n", line);
}

void ecert_cli_progress_show(const char *store, const char *ascii, int64_t now,
                             FILE *out)
{
    int silent = 0;
    json_t *servers = ecert_cli_servers(store, &silent);
    ecert_err_t err;
    json_t *progress =
        ecert_cli_progress(store, ascii, servers, NULL, now, &err);

    if (progress == NULL) {
        ecert_cli_warn(ascii, &err);
    } else {
        ecert_cli_progress_print(progress, out);
    }
    json_decref(progress);
    json_decref(servers);
}
