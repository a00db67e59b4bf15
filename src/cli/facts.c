#include "facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ecert_backups.h"
#include "ecert_dcv.h"
#include "ecert_json.h"
#include "ecert_store_staple.h"
#include "servers.h"
#include "site.h"

static void ignore(void *ctx, const ecert_err_t *err)
{
    (void)ctx;
    (void)err;
}

static void add_word(char *out, size_t size, const char *word)
{
    size_t used = strlen(out);

    snprintf(out + used, size - used, "%s%s", used ? ", " : "", word);
}

static void take_chain(ecert_facts_t *facts, const ecert_chain_t *chain)
{
    char name[128];

    for (int i = 0; i < sk_X509_num(chain->served); i++) {
        add_word(facts->chain, sizeof(facts->chain),
                 ecert_x509_label(sk_X509_value(chain->served, i), name,
                                  sizeof(name)));
    }
    if (!chain->complete) {
        snprintf(facts->missing, sizeof(facts->missing), "%s", chain->missing);
    }
}

/* What a server's agent would say to the current one. */
static void try_current(ecert_facts_t *facts, const json_t *servers,
                        ecert_loader_t *loader)
{
    ecert_site_t site = {.name = facts->ascii,
                         .security_level =
                             ecert_cli_security(servers, facts->ascii)};
    ecert_loaded_t loaded;
    ecert_err_t err;
    int never = 0, rc = ecert_load(loader, &site, facts->now, &loaded, &err);

    if (rc == 0 && loaded.chain != NULL) {
        take_chain(facts, loaded.chain);
        ecert_store_staple_demand(NULL, &loaded, facts->now, &never, &err);
    }
    if (rc != 0 || never) {
        char line[1700];

        snprintf(facts->refused, sizeof(facts->refused), "%.511s",
                 ecert_err_line(&err, NULL, line, sizeof(line)));
    }
    ecert_loaded_free(&loaded);
}

static int serves(const json_t *site, const char *fingerprint)
{
    const char *leaf = ecert_json_text(json_object_get(site, "leaf"), "sha256");

    return leaf != NULL && strcmp(leaf, fingerprint) == 0;
}

static void set(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text ? text : "");
}

/*
 * Directives may lead a server to other issuers than the command looks at.  Of
 * several servers the one that lacks something is told.
 */
static void take_served(ecert_facts_t *facts, const json_t *site)
{
    const char *missing = ecert_json_text(site, "missing");
    const json_t *one;
    size_t i;

    if (facts->chain_asked && (missing == NULL || facts->missing[0] != '\0')) {
        return;
    }
    facts->chain_asked = 1;
    facts->chain[0] = '\0';
    set(facts->missing, sizeof(facts->missing), missing);
    json_array_foreach(json_object_get(site, "chain"), i, one)
    {
        const char *subject = ecert_json_text(one, "subject");

        add_word(facts->chain, sizeof(facts->chain), subject ? subject : "?");
    }
}

/* The first address of the site where its server's agent sees a difference. */
static void find_difference(ecert_facts_t *facts, const json_t *site)
{
    const json_t *one;
    size_t i;

    json_array_foreach(
        json_object_get(json_object_get(site, "served"), "addresses"), i, one)
    {
        const char *what = ecert_json_text(one, "difference");

        if (what != NULL && facts->differs[0] == '\0') {
            set(facts->differs, sizeof(facts->differs), what);
            set(facts->differs_at, sizeof(facts->differs_at),
                ecert_json_text(one, "address"));
            set(facts->differs_for, sizeof(facts->differs_for),
                ecert_json_text(one, "name"));
        }
    }
}

static void ask_report(ecert_facts_t *facts, const json_t *report,
                       const char *fingerprint)
{
    const json_t *site;
    int found = 0, serving = 1;
    size_t i;

    json_array_foreach(json_object_get(report, "sites"), i, site)
    {
        if (ecert_cli_is_site(site, facts->ascii)) {
            found = 1;
            if (serves(site, fingerprint) && ecert_cli_refusing(site) == 0) {
                take_served(facts, site);
            } else {
                serving = 0;
            }
            find_difference(facts, site);
        }
    }
    if (found) {
        const char *name = ecert_json_text(report, "server");

        facts->servers++;
        facts->serving += serving != 0;
        add_word(facts->server_names, sizeof(facts->server_names),
                 name ? name : "a server");
    }
}

static void ask_servers(ecert_facts_t *facts, const json_t *servers)
{
    char fingerprint[65] = "";
    const json_t *report;
    size_t i;

    facts->asked = servers != NULL;
    facts->running = json_array_size(servers);
    if (facts->current != NULL) {
        ecert_x509_fingerprint(facts->current->leaf, fingerprint);
    }
    json_array_foreach(servers, i, report)
    {
        ask_report(facts, report, fingerprint);
    }
}

static int find_backups(ecert_facts_t *facts, ecert_err_t *err)
{
    char fingerprint[65];

    if (facts->request != NULL
        && ecert_backups_last(facts->dir, facts->request->key_id, NULL,
                              &facts->pending_backup, err)
               != 0) {
        return -1;
    }
    if (facts->current == NULL) {
        return 0;
    }
    return ecert_backups_last(
        facts->dir, facts->current->key_id,
        ecert_x509_fingerprint(facts->current->leaf, fingerprint),
        &facts->current_backup, err);
}

int ecert_facts_known(const json_t *servers, const char *ascii)
{
    const json_t *report, *site;
    size_t i, k;

    json_array_foreach(servers, i, report)
    {
        json_array_foreach(json_object_get(report, "sites"), k, site)
        {
            if (ecert_cli_is_site(site, ascii)) {
                return 1;
            }
        }
    }
    return 0;
}

/* A site that a server waits for begins without a folder: dir is "" then. */
static int read_site(const char *store, const json_t *servers,
                     ecert_facts_t *facts, ecert_err_t *err)
{
    if (ecert_store_site(store, facts->ascii, NULL, facts->dir, err) != 0) {
        facts->dir[0] = '\0';
        return err->code == ECERT_ERR_NO_SITE
                       && ecert_facts_known(servers, facts->ascii)
                   ? 0
                   : -1;
    }
    return ecert_requests(facts->dir, facts->ascii, &facts->requests,
                          &facts->n_requests, err)
                       == 0
                   && ecert_generations(facts->dir, &facts->generations,
                                        &facts->n_generations, err)
                          == 0
               ? 0
               : -1;
}

/* Another request brought the certificate that is current. */
static int is_left_over(const ecert_facts_t *facts,
                        const ecert_request_t *request)
{
    return facts->current != NULL && request->created > 0
           && request->created
                  < ecert_json_date(facts->current->json, "created");
}

static int gather(const char *store, const json_t *servers,
                  ecert_facts_t *facts, ecert_err_t *err)
{
    ecert_err_t ignored;

    if (read_site(store, servers, facts, err) != 0) {
        return -1;
    }
    facts->ca = ecert_cli_catalogue(facts->dir[0] ? facts->dir : NULL,
                                    facts->ascii, &ignored);
    if (facts->ca == NULL) {
        facts->ca = ecert_ca_builtin(err);
    }
    if (facts->ca == NULL) {
        return -1;
    }
    facts->current =
        ecert_generation_current(facts->generations, facts->n_generations);
    if (facts->n_requests > 0) {
        const ecert_request_t *newest = &facts->requests[facts->n_requests - 1];

        facts->request = is_left_over(facts, newest) ? NULL : newest;
        ecert_store_tokens(store, facts->now, NULL, NULL, ignore, NULL,
                           &facts->tokens, &ignored);
    }
    return 0;
}

static void look_at_current(ecert_facts_t *facts, const char *store,
                            const json_t *servers, ecert_loader_t *loader)
{
    ecert_err_t ignored;
    ecert_loader_t *own = loader ? NULL : ecert_loader_new(store, &ignored);

    if (facts->current != NULL && (loader != NULL || own != NULL)) {
        try_current(facts, servers, loader ? loader : own);
    }
    ecert_loader_free(own);
}

int ecert_facts(const char *store, const char *ascii, const json_t *servers,
                ecert_loader_t *loader, int64_t now, ecert_facts_t *facts,
                ecert_err_t *err)
{
    memset(facts, 0, sizeof(*facts));
    facts->ascii = ascii;
    facts->now = now;
    if (gather(store, servers, facts, err) != 0
        || find_backups(facts, err) != 0) {
        ecert_facts_free(facts);
        return -1;
    }
    look_at_current(facts, store, servers, loader);
    ask_servers(facts, servers);
    return 0;
}

int ecert_facts_early(const ecert_facts_t *facts)
{
    return ecert_x509_not_before(facts->current->leaf) > facts->now;
}

void ecert_facts_free(ecert_facts_t *facts)
{
    ecert_requests_free(facts->requests, facts->n_requests);
    ecert_generations_free(facts->generations, facts->n_generations);
    ecert_tokens_free(&facts->tokens);
    ecert_ca_free(facts->ca);
}

/* One that is older than the request is of the order before. */
static int is_of(const ecert_token_t *token, const ecert_request_t *request)
{
    return token->expires - ECERT_DCV_DAYS * INT64_C(86400) >= request->created;
}

size_t ecert_facts_validated(const ecert_facts_t *facts,
                             const ecert_request_t *request, int64_t *until)
{
    const char *file = ecert_ca_rules(facts->ca)->token_file;
    size_t found = 0;

    *until = 0;
    for (size_t i = 0; i < request->n_names && file != NULL; i++) {
        for (size_t k = 0; k < facts->tokens.n; k++) {
            const ecert_token_t *token = &facts->tokens.tokens[k];

            if (strcmp(token->host, request->names[i]) == 0
                && strcmp(token->file, file) == 0 && is_of(token, request)) {
                found++;
                if (*until == 0 || token->expires < *until) {
                    *until = token->expires;
                }
                break;
            }
        }
    }
    return found;
}
