/*
 * The directives of mod_ecert, and the sites that they make.
 */

#include <stddef.h>

#include "mod_ecert.h"

#include "http_core.h"
#include "http_log.h"
#include "apr_strings.h"

APLOG_USE_MODULE(ecert);

#ifndef ECERT_AGENT
#define ECERT_AGENT "/usr/sbin/ecert"
#endif

ecert_srv_t *ecert_srv(const server_rec *s)
{
    return ap_get_module_config(s->module_config, &ecert_module);
}

void *ecert_srv_create(apr_pool_t *p, server_rec *s)
{
    ecert_srv_t *srv = apr_pcalloc(p, sizeof(*srv));

    (void)s;
    srv->issuers = apr_array_make(p, 2, sizeof(const char *));
    srv->fetch = apr_array_make(p, 2, sizeof(const char *));
    srv->dcv = -1;
    srv->stapling = -1;
    srv->site = -1;
    return srv;
}

void *ecert_srv_merge(apr_pool_t *p, void *basev, void *addv)
{
    const ecert_srv_t *base = basev, *add = addv;
    ecert_srv_t *srv = apr_pmemdup(p, add, sizeof(*add));

    srv->issuers = apr_array_append(p, base->issuers, add->issuers);
    srv->used = base->used || add->used;
    if (srv->catalogue == NULL) {
        srv->catalogue = base->catalogue;
    }
    if (srv->cross.kind == ECERT_CROSS_UNSET) {
        srv->cross = base->cross;
    }
    if (srv->dcv == -1) {
        srv->dcv = base->dcv;
    }
    if (srv->stapling == -1) {
        srv->stapling = base->stapling;
    }
    return srv;
}

/* The directive `name` of the server that cmd's directive stands in, if any. */
static const ap_directive_t *beside(cmd_parms *cmd, const char *name)
{
    const ap_directive_t *parent = cmd->directive->parent;
    const ap_directive_t *d =
        parent != NULL ? parent->first_child : ap_conftree;

    for (; d != NULL; d = d->next) {
        if (strcasecmp(d->directive, name) == 0) {
            return d;
        }
    }
    return NULL;
}

static const char *check_context(cmd_parms *cmd, unsigned forbidden)
{
    ecert_srv(cmd->server)->used = 1;
    return ap_check_cmd_context(cmd,
                                forbidden | NOT_IN_DIR_LOC_FILE | NOT_IN_LIMIT);
}

static const char *check_value(cmd_parms *cmd, const char *arg)
{
    const char *wrong = ecert_conf_wrong(arg);

    return wrong == NULL
               ? NULL
               : apr_pstrcat(cmd->pool, cmd->cmd->name, " ", wrong, NULL);
}

static const char *duplicate(cmd_parms *cmd)
{
    return apr_psprintf(cmd->pool,
                        "%s is duplicate: a virtual host serves one "
                        "certificate; remove one of the two",
                        cmd->cmd->name);
}

/*
 * A site's directive: says where the site was written, and refuses a second
 * owner of the certificate while `apachectl configtest` can still tell.
 */
static const char *begin_site(cmd_parms *cmd)
{
    static const char *const rivals[] = {"SSLCertificateFile",
                                         "SSLCertificateKeyFile"};
    ecert_srv_t *srv = ecert_srv(cmd->server);
    const char *err = check_context(cmd, 0);
    const ap_directive_t *d;
    size_t i;

    if (err != NULL) {
        return err;
    }
    for (i = 0; i < sizeof(rivals) / sizeof(rivals[0]); i++) {
        d = beside(cmd, rivals[i]);
        if (d != NULL) {
            return apr_psprintf(cmd->pool,
                                "%s serves this virtual host's certificate: "
                                "remove %s (%s:%d), or remove %s",
                                cmd->cmd->name, d->directive, d->filename,
                                d->line_num, cmd->cmd->name);
        }
    }
    srv->has_name = beside(cmd, "ServerName") != NULL;
    srv->block = cmd->directive->parent != NULL
                     ? cmd->directive->parent->first_child
                     : ap_conftree;
    srv->where = apr_psprintf(cmd->pool, "%s:%d", cmd->directive->filename,
                              cmd->directive->line_num);
    return NULL;
}

static const char *set_site(cmd_parms *cmd, void *dir, const char *arg)
{
    ecert_srv_t *srv = ecert_srv(cmd->server);
    const char *err;

    (void)dir;
    if (srv->said) {
        return duplicate(cmd);
    }
    srv->said = 1;
    if (strcasecmp(arg, "off") == 0) {
        return check_context(cmd, 0);
    }
    err = begin_site(cmd);
    if (err == NULL) {
        err = check_value(cmd, arg);
    }
    if (err != NULL) {
        return err;
    }
    if (strcasecmp(arg, "on") != 0) {
        srv->name = arg;
        return NULL;
    }
    if (!srv->has_name) {
        return "\"ECert on\" takes the site's name from ServerName, which is "
               "missing here; write ServerName, or ECert NAME";
    }
    srv->own = 1;
    return NULL;
}

/* The field at offset cmd->info of the server's record. */
static const char **field_of(cmd_parms *cmd)
{
    return (const char **)((char *)ecert_srv(cmd->server) + (size_t)cmd->info);
}

static const char *store_path(cmd_parms *cmd, const char *arg)
{
    const char **field = field_of(cmd);
    const char *err = check_value(cmd, arg);

    if (err != NULL) {
        return err;
    }
    *field = ap_server_root_relative(cmd->pool, arg);
    return *field != NULL ? NULL
                          : apr_pstrcat(cmd->pool, "invalid path ", arg, NULL);
}

static const char *set_path(cmd_parms *cmd, void *dir, const char *arg)
{
    const char *err = check_context(cmd, 0);

    (void)dir;
    return err != NULL ? err : store_path(cmd, arg);
}

static const char *set_global_path(cmd_parms *cmd, void *dir, const char *arg)
{
    const char *err = check_context(cmd, GLOBAL_ONLY);

    (void)dir;
    return err != NULL ? err : store_path(cmd, arg);
}

static const char *set_site_path(cmd_parms *cmd, void *dir, const char *arg)
{
    const char *err = begin_site(cmd);

    (void)dir;
    if (err == NULL && *field_of(cmd) != NULL) {
        err = duplicate(cmd);
    }
    return err != NULL ? err : store_path(cmd, arg);
}

static const char *add_issuers(cmd_parms *cmd, void *dir, const char *arg)
{
    const char *err = check_context(cmd, 0);
    const char *path;

    (void)dir;
    if (err == NULL) {
        err = check_value(cmd, arg);
    }
    if (err != NULL) {
        return err;
    }
    path = ap_server_root_relative(cmd->pool, arg);
    if (path == NULL) {
        return apr_pstrcat(cmd->pool, "invalid path ", arg, NULL);
    }
    APR_ARRAY_PUSH(ecert_srv(cmd->server)->issuers, const char *) = path;
    return NULL;
}

static const char *set_cross(cmd_parms *cmd, void *dir, const char *arg)
{
    const char *refused = check_context(cmd, 0);
    ecert_err_t err;

    (void)dir;
    if (refused == NULL) {
        refused = check_value(cmd, arg);
    }
    if (refused != NULL) {
        return refused;
    }
    if (ecert_cross_parse(arg, &ecert_srv(cmd->server)->cross, &err) != 0) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", err.detail, NULL);
    }
    return NULL;
}

/* Sets the number at offset cmd->info of the server's record. */
static const char *set_flag(cmd_parms *cmd, void *dir, int on)
{
    const char *err = check_context(cmd, 0);

    (void)dir;
    *(int *)(void *)((char *)ecert_srv(cmd->server) + (size_t)cmd->info) = on;
    return err;
}

/* Looked at here so that httpd names file and line; used in set_conf. */
static const char *add_fetch(cmd_parms *cmd, void *dir, const char *arg)
{
    const char *refused = check_context(cmd, GLOBAL_ONLY);
    ecert_conf_t *scratch = ecert_conf_new();
    ecert_err_t err;

    (void)dir;
    if (refused == NULL) {
        refused = check_value(cmd, arg);
    }
    if (refused == NULL
        && (scratch == NULL || ecert_conf_fetch(scratch, arg, &err) != 0)) {
        refused = apr_pstrcat(cmd->pool, cmd->cmd->name, ": ",
                              scratch ? err.detail : "no memory", NULL);
    }
    ecert_conf_free(scratch);
    APR_ARRAY_PUSH(ecert_srv(cmd->server)->fetch, const char *) = arg;
    return refused;
}

void mod_ecert_log(server_rec *s, int level, const char *site,
                   const ecert_err_t *err)
{
    char line[ECERT_LINE];

    ap_log_error(APLOG_MARK, level, 0, s, "%s",
                 ecert_err_line(err, site, line, sizeof(line)));
}

static void add_name(apr_array_header_t *names, const char *name)
{
    if (!ecert_addr_is(name)) {
        APR_ARRAY_PUSH(names, const char *) = name;
    }
}

/* The names a client may ask this server for, as the certificate sees them. */
static const apr_array_header_t *names_of(apr_pool_t *p, server_rec *s,
                                          const ecert_srv_t *srv)
{
    apr_array_header_t *names = apr_array_make(p, 4, sizeof(const char *));
    const char *name;
    int i;

    if (srv->has_name) {
        add_name(names, s->server_hostname);
    }
    for (i = 0; s->names != NULL && i < s->names->nelts; i++) {
        add_name(names, APR_ARRAY_IDX(s->names, i, const char *));
    }
    for (i = 0; s->wild_names != NULL && i < s->wild_names->nelts; i++) {
        name = APR_ARRAY_IDX(s->wild_names, i, const char *);
        /* www*.example.hk and the like are no names of a certificate. */
        if (strncmp(name, "*.", 2) == 0 && strpbrk(name + 2, "*?") == NULL) {
            add_name(names, name);
        }
    }
    return names;
}

/* 0, also when the server has no site; else says why not and returns -1. */
static int add_site(server_rec *main_server, server_rec *s, ecert_conf_t *conf)
{
    apr_pool_t *pconf = s->process->pconf;
    ecert_srv_t *srv = ecert_srv(s);
    ecert_site_t site = {0};
    ecert_err_t err;
    char line[ECERT_LINE];

    site.name = srv->own ? s->server_hostname : srv->name;
    site.certificate = srv->certificate;
    site.key = srv->key;
    if (site.name == NULL && site.certificate == NULL && site.key == NULL) {
        return 0;
    }
    if (site.name != NULL && (site.certificate != NULL || site.key != NULL)) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                     "%s: ECert takes the certificate from the store, "
                     "ECertCertificate and ECertCertificateKey take it from "
                     "files; write the one or the others",
                     srv->where);
        return -1;
    }
    if ((site.certificate == NULL) != (site.key == NULL)) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                     "%s: ECertCertificate%s needs ECertCertificate%s beside "
                     "it",
                     srv->where, site.key != NULL ? "Key" : "",
                     site.key != NULL ? "" : "Key");
        return -1;
    }

    srv->names = names_of(pconf, s, srv);
    site.n_server_issuers =
        mod_ecert_beside_issuers(pconf, main_server, s, srv->issuers);
    site.names = (const char *const *)srv->names->elts;
    site.n_names = (size_t)srv->names->nelts;
    site.issuers = (const char *const *)srv->issuers->elts;
    site.n_issuers = (size_t)srv->issuers->nelts;
    site.catalogue = srv->catalogue;
    site.cross = srv->cross;
    site.stapling = srv->stapling != 0;
    site.where = srv->where;
    srv->site = ecert_conf_add(conf, &site, &err);
    if (srv->site < 0) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s, "%s: %s", srv->where,
                     ecert_err_line(&err, NULL, line, sizeof(line)));
        return -1;
    }
    return mod_ecert_beside_site(pconf, main_server, s);
}

static int set_conf(apr_pool_t *p, server_rec *main_server, ecert_conf_t *conf)
{
    const ecert_srv_t *srv = ecert_srv(main_server);
    const char *store = srv->store != NULL ? srv->store : ECERT_STORE_DEFAULT;
    const char *agent = srv->agent != NULL ? srv->agent : ECERT_AGENT;
    const char *server;
    ap_version_t v;
    ecert_err_t err;
    int i;

    ap_get_server_revision(&v);
    server = apr_psprintf(p, "Apache/%d.%d.%d", v.major, v.minor, v.patch);
    if (ecert_conf_set(&conf->server, server, &err) != 0
        || ecert_conf_set(&conf->store, store, &err) != 0
        || ecert_conf_set(&conf->run, srv->run, &err) != 0
        || ecert_conf_set(&conf->agent, agent, &err) != 0) {
        mod_ecert_log(main_server, APLOG_EMERG, NULL, &err);
        return -1;
    }
    for (i = 0; i < srv->fetch->nelts; i++) {
        if (ecert_conf_fetch(conf, APR_ARRAY_IDX(srv->fetch, i, const char *),
                             &err)
            != 0) {
            mod_ecert_log(main_server, APLOG_EMERG, NULL, &err);
            return -1;
        }
    }
    return 0;
}

/* Last virtual host first, as httpd links them, and the main server behind. */
static apr_array_header_t *servers_of(apr_pool_t *p, server_rec *main_server)
{
    apr_array_header_t *all = apr_array_make(p, 16, sizeof(server_rec *));
    server_rec *s;

    for (s = main_server->next; s != NULL; s = s->next) {
        APR_ARRAY_PUSH(all, server_rec *) = s;
    }
    APR_ARRAY_PUSH(all, server_rec *) = main_server;
    return all;
}

/*
 * httpd gives a virtual host without any directive of ours the main server's
 * record itself.  But a site is not inherited.
 */
static void own_record(server_rec *main_server, server_rec *s)
{
    apr_pool_t *pconf = s->process->pconf;

    if (s != main_server && ecert_srv(s) == ecert_srv(main_server)) {
        ap_set_module_config(s->module_config, &ecert_module,
                             ecert_srv_merge(pconf, ecert_srv(main_server),
                                             ecert_srv_create(pconf, s)));
    }
}

int mod_ecert_fill(apr_pool_t *p, server_rec *main_server, ecert_conf_t *conf)
{
    const apr_array_header_t *all = servers_of(p, main_server);
    const ecert_srv_t *srv;
    server_rec *s;
    int i;

    if (set_conf(p, main_server, conf) != 0) {
        return -1;
    }
    mod_ecert_beside_begin(p);
    for (i = all->nelts - 1; i >= 0; i--) { /* as they stand in the files */
        s = APR_ARRAY_IDX(all, i, server_rec *);
        own_record(main_server, s);
        srv = ecert_srv(s);
        ecert_srv(main_server)->used |= srv->used;
        conf->dcv |= srv->dcv != 0;
        if (add_site(main_server, s, conf) != 0) {
            return -1;
        }
    }
    for (s = main_server; s != NULL && conf->n_sites > 0; s = s->next) {
        if (ecert_srv(s)->site < 0
            && mod_ecert_beside_none(p, main_server, s) != 0) {
            return -1;
        }
    }
    return 0;
}

const command_rec ecert_commands[] = {
    AP_INIT_TAKE1("ECertStore", set_global_path,
                  (void *)offsetof(ecert_srv_t, store), RSRC_CONF,
                  "the store, a directory"),
    AP_INIT_TAKE1("ECertRun", set_global_path,
                  (void *)offsetof(ecert_srv_t, run), RSRC_CONF,
                  "where the agent makes its status socket, a directory"),
    AP_INIT_TAKE1("ECertAgent", set_global_path,
                  (void *)offsetof(ecert_srv_t, agent), RSRC_CONF,
                  "the executable ecert"),
    AP_INIT_TAKE1("ECert", set_site, NULL, RSRC_CONF,
                  "site of the store that this virtual host serves: a name, "
                  "on (its ServerName) or off"),
    AP_INIT_TAKE1("ECertCertificate", set_site_path,
                  (void *)offsetof(ecert_srv_t, certificate), RSRC_CONF,
                  "certificate file to serve and to watch"),
    AP_INIT_TAKE1("ECertCertificateKey", set_site_path,
                  (void *)offsetof(ecert_srv_t, key), RSRC_CONF,
                  "private key file to serve and to watch"),
    AP_INIT_ITERATE("ECertIssuers", add_issuers, NULL, RSRC_CONF,
                    "more CA certificates to build chains from: files, "
                    "folders"),
    AP_INIT_TAKE1("ECertCrossCertificate", set_cross, NULL, RSRC_CONF,
                  "auto, on, off or until=YYYY-MM-DD"),
    AP_INIT_TAKE1("ECertCatalogue", set_path,
                  (void *)offsetof(ecert_srv_t, catalogue), RSRC_CONF,
                  "what is known about the CA, a JSON file"),
    AP_INIT_FLAG("ECertDCV", set_flag, (void *)offsetof(ecert_srv_t, dcv),
                 RSRC_CONF, "on or off: answer validation files"),
    AP_INIT_FLAG("ECertStapling", set_flag,
                 (void *)offsetof(ecert_srv_t, stapling), RSRC_CONF,
                 "on or off: staple OCSP responses"),
    AP_INIT_ITERATE("ECertFetch", add_fetch, NULL, RSRC_CONF,
                    "on, off, allow=CIDR: what the agent may download"),
    {NULL, {NULL}, NULL, 0, RAW_ARGS, NULL}};
