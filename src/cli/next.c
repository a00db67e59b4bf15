/* The next step of a site, in plain words, and the command that does it. */

#include "next.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ecert_calendar.h"
#include "ecert_conf.h"
#include "ecert_json.h"
#include "ecert_name.h"
#include "ecert_x509.h"
#include "site.h"

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

/*
 * The command that backs up into a file of its own: SITE-key.pfx, SITE.pfx, and
 * with the number from the second request or generation on.
 */
static void backup_command(char *out, size_t size, const char *site,
                           const char *option, const char *kind,
                           uint64_t number)
{
    char count[32] = "", stem[ECERT_NAME_MAX * 4 + 2];

    ecert_cli_stem(site, stem, sizeof(stem));
    if (number > 1) {
        snprintf(count, sizeof(count), "-%llu", (unsigned long long)number);
    }
    snprintf(out, size, "ecert backup %s%s -o %s%s%s.pfx", site, option, stem,
             kind, count);
}

static json_t *next_submit(const ecert_facts_t *facts, const char *site)
{
    const ecert_ca_rules_t *rules = ecert_ca_rules(facts->ca);
    const char *file = rules->token_file;
    char command[2400];
    int wildcard = facts->request->names[0][0] == '*';

    int64_t until;

    snprintf(command, sizeof(command), "ecert csr %s", site);
    if (ecert_facts_validated(facts, facts->request, &until)
        == facts->request->n_names) {
        return next_step("csr-to-submit", command,
                         "In the CA's portal, where it asks for domain "
                         "validation, press Confirm (ecert dcv check %s tells "
                         "before what it will find).  Then paste what this "
                         "prints:",
                         site);
    }
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
        backup_command(command, sizeof(command), site, " --pending", "-key",
                       request->number);
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

        /* what is missing says so where it is not here already */
        if (!entry->denied && entry->url && strcmp(entry->name, issuer) == 0
            && strstr(facts->missing, entry->url) != NULL) {
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

    if (facts->running == 0) {
        return next_step("configure", NULL,
                         "No server answers here.  Start it; if it does not "
                         "name the site yet, first put `ecert %s;` into "
                         "nginx's server block, or `ECert %s` into Apache's "
                         "virtual host.",
                         site, site);
    }
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
                     "another process, may answer there; else the server's "
                     "error log says more.  This looks again:",
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

int64_t ecert_cli_renew_from(const ecert_facts_t *facts)
{
    int64_t begin = ecert_x509_not_before(facts->current->leaf);
    int64_t end = ecert_x509_not_after(facts->current->leaf);

    return end - ecert_calendar_lead(end - begin);
}

static int is_over(const ecert_facts_t *facts)
{
    return ecert_x509_not_after(facts->current->leaf) < facts->now;
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

static json_t *next_backup(const ecert_facts_t *facts, const char *site)
{
    char command[2400];

    backup_command(command, sizeof(command), site, "", "",
                   facts->current->number);
    return next_step("back-up", command,
                     "Back up the private key once more, now with its "
                     "certificate:");
}

/* What visitors meet comes before what only we know of. */
static json_t *next_of_current(const ecert_facts_t *facts, const char *site)
{
    int64_t from = ecert_cli_renew_from(facts);

    if (is_over(facts)) {
        return next_renewal(facts, site, from);
    }
    if (ecert_facts_early(facts)) {
        return next_early(facts);
    }
    if (facts->refused[0] != '\0') {
        return next_mend(facts, site);
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
        return next_backup(facts, site);
    }
    return facts->asked && facts->servers == 0
               ? next_served(facts, site)
               : next_renewal(facts, site, from);
}

json_t *ecert_cli_next(const ecert_facts_t *facts, const char *site)
{
    char command[2400];

    /* Visitors fail now, and it is one command: also before a request. */
    if (facts->current != NULL && !is_over(facts) && !ecert_facts_early(facts)
        && facts->refused[0] == '\0' && facts->missing[0] != '\0') {
        return next_chain(facts);
    }
    if (facts->request != NULL) {
        return next_of_request(facts, site);
    }
    if (facts->current != NULL) {
        return next_of_current(facts, site);
    }
    snprintf(command, sizeof(command), "ecert new %s", site);
    return next_step("new", command, "Make a key and a request:");
}
