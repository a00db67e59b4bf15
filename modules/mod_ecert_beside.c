/*
 * The directives of mod_ssl and mod_md beside ours: those that complete a chain
 * go on doing so, and what a site makes ineffective is refused or told.  Their
 * records are their own: what was written is looked for in the configuration.
 */

#include <string.h>

#include "mod_ecert.h"

#include "http_log.h"
#include "apr_strings.h"

APLOG_USE_MODULE(ecert);

/* The main server's directives of these modules, without all virtual hosts. */
static const ap_directive_t *outer;

void mod_ecert_beside_begin(apr_pool_t *p)
{
    const ap_directive_t *d;
    ap_directive_t *copy, *last = NULL;

    outer = NULL;
    for (d = ap_conftree; d != NULL; d = d->next) {
        if (strncasecmp(d->directive, "SSL", 3) != 0
            && strncasecmp(d->directive, "MD", 2) != 0
            && strncasecmp(d->directive, "<MD", 3) != 0) {
            continue;
        }
        copy = apr_pmemdup(p, d, sizeof(*d));
        copy->next = NULL;
        if (last == NULL) {
            outer = copy;
        } else {
            last->next = copy;
        }
        last = copy;
    }
}

/* The directives of a server, or NULL. */
static const ap_directive_t *block_of(const server_rec *main_server,
                                      const server_rec *s)
{
    const ap_directive_t *d;

    if (s == main_server) {
        return outer;
    }
    if (ecert_srv(s)->block != NULL) {
        return ecert_srv(s)->block;
    }
    for (d = ap_conftree; d != NULL; d = d->next) {
        if (d->line_num == (int)s->defn_line_number
            && strcasecmp(d->directive, "<VirtualHost") == 0
            && strcmp(d->filename, s->defn_name) == 0) {
            return d->first_child;
        }
    }
    return NULL;
}

/* From d on, the next one of this name. */
static const ap_directive_t *find(const ap_directive_t *d, const char *name)
{
    while (d != NULL && strcasecmp(d->directive, name) != 0) {
        d = d->next;
    }
    return d;
}

/* The last one, as it counts: the server's own, else the main server's. */
static const ap_directive_t *in_force(const server_rec *main_server,
                                      const server_rec *s, const char *name)
{
    const ap_directive_t *d = find(block_of(main_server, s), name);
    const ap_directive_t *next;

    if (d == NULL) {
        return s == main_server ? NULL
                                : in_force(main_server, main_server, name);
    }
    while ((next = find(d->next, name)) != NULL) {
        d = next;
    }
    return d;
}

static const char *first_word(apr_pool_t *p, const ap_directive_t *d)
{
    const char *args = d->args;

    return ap_getword_conf(p, &args);
}

size_t mod_ecert_beside_issuers(apr_pool_t *p, server_rec *main_server,
                                server_rec *s, apr_array_header_t *issuers)
{
    static const char *const names[] = {"SSLCertificateChainFile",
                                        "SSLCACertificateFile",
                                        "SSLCACertificatePath"};
    const ap_directive_t *d;
    const char *path;
    size_t i, n = 0;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        d = in_force(main_server, s, names[i]);
        if (d == NULL) {
            continue;
        }
        path = ap_server_root_relative(p, first_word(p, d));
        if (path != NULL) {
            APR_ARRAY_PUSH(issuers, const char *) = path;
            n++;
        }
    }
    return n;
}

/* ---- what has no effect ------------------------------------------------ */

static void tell(server_rec *s, const ap_directive_t *d, const char *word,
                 const char *why)
{
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                 "%s:%d: %s%s%s has no effect in the virtual host with the "
                 "site in %s: %s",
                 d->filename, d->line_num, d->directive, *word ? " " : "", word,
                 ecert_srv(s)->where, why);
}

/* Commands for OpenSSL add up; those of the site's own server can be refused.
 */
static int look_at_commands(apr_pool_t *p, server_rec *s,
                            const ap_directive_t *d, int is_own)
{
    const char *command, *instead;

    for (; (d = find(d, "SSLOpenSSLConfCmd")) != NULL; d = d->next) {
        command = first_word(p, d);
        instead = ecert_conf_command(command);
        if (instead != NULL && is_own) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                         "%s:%d: %s %s has no effect beside the site in %s: "
                         "%s",
                         d->filename, d->line_num, d->directive, command,
                         ecert_srv(s)->where, instead);
            return -1;
        }
        if (instead != NULL) {
            tell(s, d, command, instead);
        }
    }
    return 0;
}

static int has_name(const server_rec *s, const char *name)
{
    int i;

    if (s->server_hostname != NULL
        && strcasecmp(s->server_hostname, name) == 0) {
        return 1;
    }
    for (i = 0; s->names != NULL && i < s->names->nelts; i++) {
        if (strcasecmp(APR_ARRAY_IDX(s->names, i, const char *), name) == 0) {
            return 1;
        }
    }
    return 0;
}

/* mod_md would go on to renew a certificate that nobody is served. */
static void look_at_md(apr_pool_t *p, server_rec *s)
{
    const ap_directive_t *d;
    const char *args, *word;

    for (d = outer; d != NULL; d = d->next) {
        if (strcasecmp(d->directive, "MDomain") != 0
            && strcasecmp(d->directive, "<MDomainSet") != 0) {
            continue;
        }
        args = d->args;
        while (*(word = ap_getword_conf(p, &args)) != '\0') {
            if (has_name(s, word)) {
                tell(s, d, word,
                     "ecert serves its certificate, mod_md does "
                     "not; take the name away");
            }
        }
    }
}

int mod_ecert_beside_site(apr_pool_t *p, server_rec *main_server, server_rec *s)
{
    const ap_directive_t *own = block_of(main_server, s), *d;

    if (look_at_commands(p, s, own, 1) != 0
        || (s != main_server && look_at_commands(p, s, outer, 0) != 0)) {
        return -1;
    }
    d = in_force(main_server, s, "SSLStaplingForceURL");
    if (d != NULL && ecert_srv(s)->stapling != 0) {
        tell(s, d, "",
             "the agent asks the responder that the certificate "
             "names");
    }
    look_at_md(p, s);
    return 0;
}

/* ---- TLS without any certificate --------------------------------------- */

/* mod_md, which may have one, is told of by directives of any of these names.
 */
static int has_md(void)
{
    const ap_directive_t *d;

    for (d = outer; d != NULL; d = d->next) {
        if (strncasecmp(d->directive, "MD", 2) == 0
            || strncasecmp(d->directive, "<MD", 3) == 0) {
            return 1;
        }
    }
    return 0;
}

/* mod_ssl would end the server, in words that know nothing of ECert. */
int mod_ecert_beside_none(apr_pool_t *p, server_rec *main_server, server_rec *s)
{
    const ap_directive_t *engine = in_force(main_server, s, "SSLEngine");

    if (engine == NULL || strcasecmp(first_word(p, engine), "off") == 0
        || in_force(main_server, s, "SSLCertificateFile") != NULL
        || ap_find_linked_module("mod_ssl.c") == NULL || has_md()) {
        return 0;
    }
    ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                 "%s:%d: SSLEngine is on for %s %s%s%s, which has no "
                 "certificate: ECert is not inherited by virtual hosts; write "
                 "ECert NAME in this one, or SSLEngine off",
                 engine->filename, engine->line_num,
                 s == main_server ? "the main server" : "the virtual host",
                 s->server_hostname != NULL ? s->server_hostname : "",
                 s == main_server ? "" : " in ",
                 s == main_server ? ""
                                  : apr_psprintf(p, "%s:%u", s->defn_name,
                                                 s->defn_line_number));
    return -1;
}
