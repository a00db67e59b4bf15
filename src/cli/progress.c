#include "progress.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "ecert_backups.h"
#include "ecert_calendar.h"
#include "ecert_chain.h"
#include "ecert_conf.h"
#include "ecert_json.h"
#include "ecert_name.h"
#include "ecert_x509.h"
#include "facts.h"
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

static int is_early(const ecert_facts_t *facts)
{
    return ecert_x509_not_before(facts->current->leaf) > facts->now;
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
    if (is_early(facts)) {
        snprintf(from, sizeof(from), "from %s ",
                 day(ecert_x509_not_before(current->leaf), when));
    }
    ecert_x509_fingerprint(current->leaf, hex);
    add_step(steps, "installed", "installed",
             facts->refused[0] == '\0' || is_early(facts),
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

/* ---- the next step ----------------------------------------------------- */

static json_t *next_step(const char *word, const char *command, const char *fmt,
                         ...) __attribute__((format(printf, 3, 4)));

static json_t *next_step(const char *word, const char *command, const char *fmt,
                         ...)
{
    json_t *next = json_object();
    char text[3600];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    ecert_json_set_text(next, "step", word);
    ecert_json_set_text(next, "text", text);
    if (command != NULL && command[0] != '\0') {
        ecert_json_set_text(next, "command", command);
    }
    return next;
}

/* For the name of a file: no star, no quotes. */
static const char *stem_of(const char *site)
{
    static char stem[ECERT_NAME_MAX * 4];

    if (strncmp(site, "'*.", 3) != 0) {
        return site;
    }
    snprintf(stem, sizeof(stem), "%.*s", (int)strlen(site) - 4, site + 3);
    return stem;
}

static json_t *next_submit(const ecert_facts_t *facts, const char *site)
{
    const ecert_ca_rules_t *rules = ecert_ca_rules(facts->ca);
    const char *file = rules->token_file;
    char command[2400];
    int wildcard = facts->request->names[0][0] == '*';

    snprintf(command, sizeof(command), "ecert csr %s", site);
    if (file == NULL || wildcard) {
        return next_step(
            "csr-to-submit", command,
            "In the CA's portal (the link in its e-mail \"Submission of "
            "Certificate Signing Request\") enter server name, reference "
            "number and PIN, and confirm.  Where it asks for domain "
            "validation, choose DNS Change (ecert dcv dns %s CODE)%s.  Then "
            "paste what this prints:",
            site, facts->request->n_names > 1 ? "" : " or Constructed E-mail");
    }
    return next_step(
        "csr-to-submit", command,
        "In the CA's portal (the link in its e-mail \"Submission of "
        "Certificate Signing Request\") enter server name, reference number "
        "and PIN, and confirm.  Where it asks for domain validation, choose "
        "Website Change, download %s, run ecert dcv add %s %s, and press "
        "Confirm.  Then paste what this prints:",
        file, site, file);
}

static json_t *next_of_request(const ecert_facts_t *facts, const char *site)
{
    const ecert_request_t *request = facts->request;
    char command[2400];

    if (facts->pending_backup == 0 && request->exportable
        && request->printed == 0) {
        snprintf(command, sizeof(command),
                 "ecert backup %s --pending -o %s-key.pfx", site,
                 stem_of(site));
        return next_step("back-up-key", command,
                         "Back up the private key before the request is "
                         "submitted: without it the certificate is of no use.");
    }
    if (request->printed == 0 && request->has_csr) {
        return next_submit(facts, site);
    }
    snprintf(command, sizeof(command), "ecert install %s FILE", site);
    return next_step("certificate-awaited", command,
                     "When the portal accepts the request, check the "
                     "certificate that it shows, press Accept, download the "
                     "e-Cert (Server), and install it:");
}

static const char *download_of(const ecert_facts_t *facts)
{
    X509 *leaf = facts->current->leaf;
    char issuer[256];

    ecert_x509_name_label(X509_get_issuer_name(leaf), issuer, sizeof(issuer));
    for (size_t i = 0; i < ecert_ca_count(facts->ca); i++) {
        const ecert_ca_entry_t *entry = ecert_ca_entry(facts->ca, i);

        if (!entry->denied && entry->url && strcmp(entry->name, issuer) == 0) {
            return entry->url;
        }
    }
    return NULL;
}

static json_t *next_chain(const ecert_facts_t *facts)
{
    const char *url = download_of(facts);

    return next_step("issuers", "ecert issuers add FILE",
                     "Download the missing Sub CA certificate%s%s, and add it "
                     "to the pool:",
                     url ? " from " : "", url ? url : "");
}

static json_t *next_served(const ecert_facts_t *facts, const char *site)
{
    char command[2400];

    if (facts->servers == 0) {
        return next_step("configure", NULL,
                         "No running server has this site.  Put `ecert %s;` "
                         "into nginx's server block, or `ECert %s` into "
                         "Apache's virtual host, and reload the server.",
                         site, site);
    }
    snprintf(command, sizeof(command), "ecert status --explain %s", site);
    return next_step("served", command,
                     "Not every running server serves it yet.  It takes a "
                     "moment; if it stays so, this tells why:");
}

static json_t *next_differs(const ecert_facts_t *facts, const char *site)
{
    char command[2400];

    snprintf(command, sizeof(command), "ecert verify --connect %s %s",
             ecert_cli_word(facts->differs_at),
             facts->differs_for[0] ? facts->differs_for : site);
    return next_step("differs", command,
                     "At %s something else is sent than the server has "
                     "published: %s.  Another virtual host of this name, or "
                     "another process, may answer there.  This looks again:",
                     facts->differs_at, facts->differs);
}

static json_t *next_renewal(const ecert_facts_t *facts, const char *site,
                            int64_t from)
{
    int64_t end = ecert_x509_not_after(facts->current->leaf);
    char command[2400], when[32];

    snprintf(command, sizeof(command), "ecert new %s", site);
    if (facts->now < from) {
        return next_step(
            "renew-later", NULL,
            "Nothing to do now.  Renew from %s on: apply to the CA "
            "in time for its e-mail and PIN, then type ecert new "
            "%s.",
            ecert_day_format(from, when), site);
    }
    return next_step("renewal-due", command,
                     "The certificate %s %s.  Make a new key and request; "
                     "this one is served until the new one is installed:",
                     end < facts->now ? "has expired on" : "ends on",
                     ecert_day_format(end, when));
}

static int64_t renew_from(const ecert_facts_t *facts)
{
    int64_t begin = ecert_x509_not_before(facts->current->leaf);
    int64_t end = ecert_x509_not_after(facts->current->leaf);

    return end - ecert_calendar_lead(end - begin);
}

static json_t *next_early(const ecert_facts_t *facts)
{
    char when[32];

    return next_step(
        "valid-later", NULL,
        "Nothing to do now.  The certificate goes live by itself at %s.",
        ecert_date_format(ecert_x509_not_before(facts->current->leaf), when));
}

static json_t *next_mend(const ecert_facts_t *facts, const char *site)
{
    char command[2400];

    snprintf(command, sizeof(command), "ecert check %s", site);
    return next_step("mend", command,
                     "The servers refuse the current certificate: %s",
                     facts->refused);
}

static json_t *next_backup(const char *site)
{
    char command[2400];

    snprintf(command, sizeof(command), "ecert backup %s -o %s.pfx", site,
             stem_of(site));
    return next_step("back-up", command,
                     "Back up the private key once more, now with its "
                     "certificate:");
}

/* What visitors meet comes before what only we know of. */
static json_t *next_of_current(const ecert_facts_t *facts, const char *site)
{
    int64_t from = renew_from(facts);

    if (ecert_x509_not_after(facts->current->leaf) < facts->now) {
        return next_renewal(facts, site, from);
    }
    if (is_early(facts)) {
        return next_early(facts);
    }
    if (facts->refused[0] != '\0') {
        return next_mend(facts, site);
    }
    if (facts->missing[0] != '\0') {
        return next_chain(facts);
    }
    if (facts->asked && facts->serving < facts->servers) {
        return next_served(facts, site);
    }
    if (facts->differs[0] != '\0') {
        return next_differs(facts, site);
    }
    if (facts->now >= from) {
        return next_renewal(facts, site, from);
    }
    if (facts->current_backup == 0 && facts->current->exportable) {
        return next_backup(site);
    }
    return facts->asked && facts->servers == 0
               ? next_served(facts, site)
               : next_renewal(facts, site, from);
}

static json_t *next_of(const ecert_facts_t *facts, const char *site)
{
    char command[2400];

    if (facts->request != NULL) {
        return next_of_request(facts, site);
    }
    if (facts->current != NULL) {
        return next_of_current(facts, site);
    }
    snprintf(command, sizeof(command), "ecert new %s", site);
    return next_step("new", command, "Make a key and a request:");
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
    if (facts->current != NULL) {
        int64_t from = renew_from(facts);
        char when[32];

        ecert_json_set_date(progress, "renew_from", from);
        add_step(steps, "renewal", "renewal", facts->now < from ? -1 : 0,
                 facts->now < from ? "from %s on" : "due since %s",
                 ecert_day_format(from, when));
    }
    json_object_set_new(progress, "steps", steps);
    json_object_set_new(progress, "next", next_of(facts, site));
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
