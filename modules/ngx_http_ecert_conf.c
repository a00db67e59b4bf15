/*
 * The directives of the nginx module, and the sites that they make.
 */

#include "ngx_http_ecert.h"

static char *ngx_http_ecert_set_path(ngx_conf_t *cf, ngx_command_t *cmd,
                                     void *conf);
static char *ngx_http_ecert_site(ngx_conf_t *cf, ngx_command_t *cmd,
                                 void *conf);
static char *ngx_http_ecert_file(ngx_conf_t *cf, ngx_command_t *cmd,
                                 void *conf);
static char *ngx_http_ecert_issuers(ngx_conf_t *cf, ngx_command_t *cmd,
                                    void *conf);
static char *ngx_http_ecert_cross(ngx_conf_t *cf, ngx_command_t *cmd,
                                  void *conf);
static char *ngx_http_ecert_flag(ngx_conf_t *cf, ngx_command_t *cmd,
                                 void *conf);
static char *ngx_http_ecert_fetch(ngx_conf_t *cf, ngx_command_t *cmd,
                                  void *conf);

ngx_command_t ngx_http_ecert_commands[] = {
    {ngx_string("ecert_store"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1,
     ngx_http_ecert_set_path, NGX_HTTP_MAIN_CONF_OFFSET,
     offsetof(ngx_http_ecert_main_conf_t, store), NULL},

    {ngx_string("ecert_run"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1,
     ngx_http_ecert_set_path, NGX_HTTP_MAIN_CONF_OFFSET,
     offsetof(ngx_http_ecert_main_conf_t, run), NULL},

    {ngx_string("ecert_agent"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1,
     ngx_http_ecert_set_path, NGX_HTTP_MAIN_CONF_OFFSET,
     offsetof(ngx_http_ecert_main_conf_t, agent), NULL},

    {ngx_string("ecert"), NGX_HTTP_SRV_CONF | NGX_CONF_TAKE1,
     ngx_http_ecert_site, NGX_HTTP_SRV_CONF_OFFSET, 0, NULL},

    {ngx_string("ecert_certificate"), NGX_HTTP_SRV_CONF | NGX_CONF_TAKE1,
     ngx_http_ecert_file, NGX_HTTP_SRV_CONF_OFFSET,
     offsetof(ngx_http_ecert_srv_conf_t, certificate), NULL},

    {ngx_string("ecert_certificate_key"), NGX_HTTP_SRV_CONF | NGX_CONF_TAKE1,
     ngx_http_ecert_file, NGX_HTTP_SRV_CONF_OFFSET,
     offsetof(ngx_http_ecert_srv_conf_t, key), NULL},

    {ngx_string("ecert_issuers"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_1MORE,
     ngx_http_ecert_issuers, NGX_HTTP_SRV_CONF_OFFSET, 0, NULL},

    {ngx_string("ecert_catalogue"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_TAKE1,
     ngx_http_ecert_set_path, NGX_HTTP_SRV_CONF_OFFSET,
     offsetof(ngx_http_ecert_srv_conf_t, catalogue), NULL},

    {ngx_string("ecert_cross_certificate"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_TAKE1,
     ngx_http_ecert_cross, NGX_HTTP_SRV_CONF_OFFSET, 0, NULL},

    {ngx_string("ecert_dcv"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_FLAG,
     ngx_http_ecert_flag, NGX_HTTP_SRV_CONF_OFFSET,
     offsetof(ngx_http_ecert_srv_conf_t, dcv), NULL},

    {ngx_string("ecert_stapling"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_FLAG,
     ngx_http_ecert_flag, NGX_HTTP_SRV_CONF_OFFSET,
     offsetof(ngx_http_ecert_srv_conf_t, stapling), NULL},

    {ngx_string("ecert_fetch"), NGX_HTTP_MAIN_CONF | NGX_CONF_1MORE,
     ngx_http_ecert_fetch, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL},

    ngx_null_command};

static ngx_int_t ngx_http_ecert_no_value(ngx_http_request_t *r,
                                         ngx_http_variable_value_t *v,
                                         uintptr_t data)
{
    (void)r;
    (void)data;
    v->not_found = 1;
    return NGX_OK;
}

ngx_int_t ngx_http_ecert_add_variable(ngx_conf_t *cf)
{
    static ngx_str_t name = ngx_string("ecert_placeholder");
    ngx_http_variable_t *var = ngx_http_add_variable(cf, &name, 0);

    if (var == NULL) {
        return NGX_ERROR;
    }
    var->get_handler = ngx_http_ecert_no_value;
    return NGX_OK;
}

/* What is wrong with a directive; nginx adds its name, file and line. */
static char *ngx_http_ecert_phrase(const char *text)
{
    return (char *)(uintptr_t)text;
}

/* Each directive of ours begins here.  A zero byte is what C would not read to
 * its end: refused, not cut. */
static char *ngx_http_ecert_begin(ngx_conf_t *cf)
{
    ngx_http_ecert_main_conf_t *emcf;
    ngx_str_t *value = cf->args->elts;
    const char *wrong;
    ngx_uint_t i;

    emcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_ecert_module);
    emcf->used = 1;
    for (i = 1; i < cf->args->nelts; i++) {
        wrong = ngx_strlen(value[i].data) != value[i].len
                    ? "has a control character in its value"
                    : ecert_conf_wrong((char *)value[i].data);
        if (wrong != NULL) {
            return ngx_http_ecert_phrase(wrong);
        }
    }
    return NGX_CONF_OK;
}

/* Relative paths start at the configuration's folder, as ssl_certificate's. */
static char *ngx_http_ecert_path(ngx_conf_t *cf, ngx_str_t *path)
{
    return ngx_conf_full_name(cf->cycle, path, 1) == NGX_OK ? NGX_CONF_OK
                                                            : NGX_CONF_ERROR;
}

static char *ngx_http_ecert_set_path(ngx_conf_t *cf, ngx_command_t *cmd,
                                     void *conf)
{
    ngx_str_t *field = (ngx_str_t *)((char *)conf + cmd->offset);
    ngx_str_t *value = cf->args->elts;
    char *rv = ngx_http_ecert_begin(cf);

    if (field->data != NULL) {
        return ngx_http_ecert_phrase("is duplicate");
    }
    if (rv == NGX_CONF_OK) {
        rv = ngx_http_ecert_path(cf, &value[1]);
        *field = value[1];
    }
    return rv;
}

/* Remembers which directive made the server a site: the first one counts. */
static void ngx_http_ecert_here(ngx_conf_t *cf, ngx_command_t *cmd,
                                ngx_http_ecert_srv_conf_t *escf)
{
    if (escf->directive == NULL) {
        escf->directive = (char *)cmd->name.data;
        escf->file = (char *)cf->conf_file->file.name.data;
        escf->line = cf->conf_file->line;
    }
}

static char *ngx_http_ecert_site(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_ecert_srv_conf_t *escf = conf;
    ngx_str_t *value = cf->args->elts;
    char *rv = ngx_http_ecert_begin(cf);

    if (escf->said) {
        return ngx_http_ecert_phrase("is duplicate");
    }
    escf->said = 1;
    if (rv != NGX_CONF_OK || ngx_strcmp(value[1].data, "off") == 0) {
        return rv;
    }
    if (ngx_strcmp(value[1].data, "on") == 0) {
        escf->own = 1;
    } else {
        escf->name = value[1];
    }
    ngx_http_ecert_here(cf, cmd, escf);
    return NGX_CONF_OK;
}

static char *ngx_http_ecert_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_ecert_here(cf, cmd, conf);
    return ngx_http_ecert_set_path(cf, cmd, conf);
}

static char *ngx_http_ecert_issuers(ngx_conf_t *cf, ngx_command_t *cmd,
                                    void *conf)
{
    ngx_http_ecert_srv_conf_t *escf = conf;
    ngx_str_t *value = cf->args->elts;
    const char **path;
    ngx_uint_t i;
    char *rv = ngx_http_ecert_begin(cf);

    (void)cmd;
    if (rv != NGX_CONF_OK) {
        return rv;
    }
    if (escf->issuers == NULL) {
        escf->issuers = ngx_array_create(cf->pool, 4, sizeof(char *));
        if (escf->issuers == NULL) {
            return NGX_CONF_ERROR;
        }
    }
    for (i = 1; i < cf->args->nelts; i++) {
        rv = ngx_http_ecert_path(cf, &value[i]);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
        path = ngx_array_push(escf->issuers);
        if (path == NULL) {
            return NGX_CONF_ERROR;
        }
        *path = (char *)value[i].data;
    }
    return NGX_CONF_OK;
}

static char *ngx_http_ecert_cross(ngx_conf_t *cf, ngx_command_t *cmd,
                                  void *conf)
{
    ngx_http_ecert_srv_conf_t *escf = conf;
    ngx_str_t *value = cf->args->elts;
    char *rv = ngx_http_ecert_begin(cf);
    ecert_err_t err;

    (void)cmd;
    if (rv != NGX_CONF_OK) {
        return rv;
    }
    if (escf->cross.kind != ECERT_CROSS_UNSET) {
        return ngx_http_ecert_phrase("is duplicate");
    }
    if (ecert_cross_parse((char *)value[1].data, &escf->cross, &err) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"ecert_cross_certificate\" directive: %s",
                           err.detail);
        return NGX_CONF_ERROR;
    }
    return NGX_CONF_OK;
}

static char *ngx_http_ecert_flag(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char *rv = ngx_http_ecert_begin(cf);

    return rv != NGX_CONF_OK ? rv : ngx_conf_set_flag_slot(cf, cmd, conf);
}

static char *ngx_http_ecert_fetch(ngx_conf_t *cf, ngx_command_t *cmd,
                                  void *conf)
{
    ngx_http_ecert_main_conf_t *emcf = conf;
    ngx_str_t *value = cf->args->elts;
    char *rv = ngx_http_ecert_begin(cf);
    ecert_err_t err;
    ngx_uint_t i;

    (void)cmd;
    if (rv != NGX_CONF_OK) {
        return rv;
    }
    for (i = 1; i < cf->args->nelts; i++) {
        if (ecert_conf_fetch(emcf->conf, (char *)value[i].data, &err) != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"ecert_fetch\" directive: %s", err.detail);
            return NGX_CONF_ERROR;
        }
    }
    return NGX_CONF_OK;
}

void *ngx_http_ecert_create_srv_conf(ngx_conf_t *cf)
{
    ngx_http_ecert_srv_conf_t *escf = ngx_pcalloc(cf->pool, sizeof(*escf));

    if (escf != NULL) {
        escf->dcv = NGX_CONF_UNSET;
        escf->stapling = NGX_CONF_UNSET;
        escf->site = -1;
    }
    return escf;
}

/* Says why the server cannot be a site, at its directive. */
static char *ngx_http_ecert_refuse(ngx_conf_t *cf,
                                   const ngx_http_ecert_srv_conf_t *escf,
                                   const char *why)
{
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "\"%s\" %s in %s:%ui",
                  escf->directive, why, escf->file, escf->line);
    return NGX_CONF_ERROR;
}

static const char *ngx_http_ecert_wrong(const ngx_http_ecert_srv_conf_t *escf,
                                        const ngx_http_ssl_srv_conf_t *sscf)
{
    if ((escf->own || escf->name.len != 0)
        && (escf->certificate.len != 0 || escf->key.len != 0)) {
        return "is not the only one that says what this server serves: "
               "\"ecert\" takes the certificate from the store, "
               "\"ecert_certificate\" and \"ecert_certificate_key\" take it "
               "from files; write the one or the others";
    }
    if (escf->certificate.len == 0 && escf->key.len != 0) {
        return "needs \"ecert_certificate\" beside it";
    }
    if (escf->certificate.len != 0 && escf->key.len == 0) {
        return "needs \"ecert_certificate_key\" beside it";
    }
    /* not merged yet: only what stands in this very server */
    if (sscf->certificates != NGX_CONF_UNSET_PTR
        || sscf->certificate_keys != NGX_CONF_UNSET_PTR) {
        return "serves this server's certificate: remove "
               "\"ssl_certificate\" and \"ssl_certificate_key\" from the "
               "server, or write \"ecert off\" instead";
    }
    return NULL;
}

static ngx_int_t ngx_http_ecert_push(ngx_conf_t *cf, ngx_array_t *names,
                                     const char *prefix, const u_char *text,
                                     size_t len)
{
    size_t before = ngx_strlen(prefix);
    char **name = ngx_array_push(names);

    if (name == NULL) {
        return NGX_ERROR;
    }
    *name = ngx_pcalloc(cf->pool, before + len + 1);
    if (*name == NULL) {
        return NGX_ERROR;
    }
    ngx_memcpy(*name, prefix, before);
    ngx_memcpy(*name + before, text, len);
    if (ecert_addr_is(*name)) {
        names->nelts--; /* no certificate has it as a name */
    }
    return NGX_OK;
}

/*
 * Whether a server_name is one that a certificate can have.  Names such as "_"
 * or "--" are nginx's way to say none.  What "$hostname" stands for has no zero
 * byte behind it.
 */
static ngx_uint_t ngx_http_ecert_is_host(const ngx_http_server_name_t *server)
{
    const ngx_str_t *name = &server->name;
    size_t i;

    if (ngx_http_ecert_is_regex(server)) {
        return 0;
    }
    if (name->len == 0 || memchr(name->data, '\0', name->len) != NULL
        || (name->len > 1
            && ngx_strncmp(name->data + name->len - 2, ".*", 2) == 0)) {
        return 0;
    }
    for (i = 0; i < name->len; i++) {
        u_char c = name->data[i];

        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80) {
            return 1;
        }
    }
    return 0;
}

/* The server's names, const char *; ".example.hk" is two. */
static ngx_array_t *ngx_http_ecert_names(ngx_conf_t *cf)
{
    ngx_array_t *names = ngx_array_create(cf->pool, 4, sizeof(char *));
    ngx_http_core_srv_conf_t *cscf;
    ngx_http_server_name_t *sn;
    ngx_uint_t i;
    u_char *text;
    size_t len;

    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);
    sn = cscf->server_names.elts;
    for (i = 0; names != NULL && i < cscf->server_names.nelts; i++) {
        if (!ngx_http_ecert_is_host(&sn[i])) {
            continue;
        }
        text = sn[i].name.data;
        len = sn[i].name.len;
        if (text[0] != '.') {
            if (ngx_http_ecert_push(cf, names, "", text, len) != NGX_OK) {
                return NULL;
            }
        } else if (ngx_http_ecert_push(cf, names, "", text + 1, len - 1)
                       != NGX_OK
                   || ngx_http_ecert_push(cf, names, "*", text, len)
                          != NGX_OK) {
            return NULL;
        }
    }
    return names;
}

/*
 * Makes the certificate ours: nginx sees a name with a variable in it, so it
 * makes the TLS context without reading a file.  The session-id context hashes
 * this name: the same as long as the site is the same, another for each site.
 */
static char *ngx_http_ecert_own(ngx_conf_t *cf, ngx_http_ssl_srv_conf_t *sscf,
                                const ecert_site_t *site)
{
    static const char prefix[] = "data:$ecert_placeholder/";
    ngx_array_t *list = ngx_array_create(cf->pool, 1, sizeof(ngx_str_t));
    ngx_str_t *name = list != NULL ? ngx_array_push(list) : NULL;
    u_char *p;

    if (name == NULL) {
        return NGX_CONF_ERROR;
    }
    name->len = sizeof(prefix) - 1 + 2 * sizeof(site->id);
    name->data = ngx_pcalloc(cf->pool, name->len + 1);
    if (name->data == NULL) {
        return NGX_CONF_ERROR;
    }
    p = ngx_cpymem(name->data, prefix, sizeof(prefix) - 1);
    ngx_hex_dump(p, (u_char *)(uintptr_t)site->id, sizeof(site->id));
    sscf->certificates = list;
    sscf->certificate_keys = list;
    return NGX_CONF_OK;
}

static char *ngx_http_ecert_add(ngx_conf_t *cf, ngx_http_ecert_srv_conf_t *escf,
                                ecert_site_t *site)
{
    ecert_err_t err;
    char line[NGX_HTTP_ECERT_LINE];
    u_char *where;

    where = ngx_pnalloc(cf->pool, ngx_strlen(escf->file) + NGX_INT_T_LEN + 2);
    if (where == NULL) {
        return NGX_CONF_ERROR;
    }
    ngx_sprintf(where, "%s:%ui%Z", escf->file, escf->line);
    site->where = (char *)where;
    escf->site = ecert_conf_add(escf->main->conf, site, &err);
    if (escf->site < 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "\"%s\": %s, in %s",
                      escf->directive,
                      ecert_err_line(&err, NULL, line, sizeof(line)), where);
        return NGX_CONF_ERROR;
    }
    return NGX_CONF_OK;
}

static char *ngx_http_ecert_make_site(ngx_conf_t *cf,
                                      ngx_http_ecert_srv_conf_t *escf)
{
    ngx_http_ssl_srv_conf_t *sscf;
    ngx_array_t *names = ngx_http_ecert_names(cf);
    ecert_site_t site;
    const char *wrong;
    char *rv;

    sscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_ssl_module);
    escf->passwords = sscf->passwords != NGX_CONF_UNSET_PTR;
    wrong = ngx_http_ecert_wrong(escf, sscf);
    if (wrong != NULL) {
        return ngx_http_ecert_refuse(cf, escf, wrong);
    }
    if (names == NULL) {
        return NGX_CONF_ERROR;
    }
    ngx_memzero(&site, sizeof(site));
    escf->names = names;
    site.names = names->elts;
    site.n_names = names->nelts;
    if (escf->own && site.n_names == 0) {
        return ngx_http_ecert_refuse(
            cf, escf,
            "takes the site's name from \"server_name\", which has no "
            "host name here; write one, or \"ecert NAME\"");
    }
    site.name = escf->own ? site.names[0] : (char *)escf->name.data;
    site.certificate = (char *)escf->certificate.data;
    site.key = (char *)escf->key.data;
    site.catalogue = (char *)escf->catalogue.data;
    if (escf->issuers != NULL) {
        site.issuers = escf->issuers->elts;
        site.n_issuers = escf->issuers->nelts;
    }
    site.cross = escf->cross;
    site.stapling = escf->stapling != 0;
    rv = ngx_http_ecert_add(cf, escf, &site);
    if (rv != NGX_CONF_OK) {
        return rv;
    }
    return ngx_http_ecert_own(cf, sscf, &escf->main->conf->sites[escf->site]);
}

/* The http block's issuers come first, the server's own behind them. */
static char *ngx_http_ecert_merge_issuers(ngx_conf_t *cf,
                                          const ngx_array_t *outer,
                                          ngx_array_t **list)
{
    ngx_array_t *all;
    ngx_uint_t own = *list != NULL ? (*list)->nelts : 0;
    const char **path;

    if (outer == NULL) {
        return NGX_CONF_OK;
    }
    all = ngx_array_create(cf->pool, outer->nelts + own, sizeof(char *));
    if (all == NULL) {
        return NGX_CONF_ERROR;
    }
    path = ngx_array_push_n(all, outer->nelts + own);
    if (path == NULL) {
        return NGX_CONF_ERROR;
    }
    ngx_memcpy(path, outer->elts, outer->nelts * sizeof(char *));
    if (own > 0) {
        ngx_memcpy(path + outer->nelts, (*list)->elts, own * sizeof(char *));
    }
    *list = all;
    return NGX_CONF_OK;
}

/* Runs before the ssl module's, which then makes the TLS context from this. */
char *ngx_http_ecert_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    const ngx_http_ecert_srv_conf_t *outer = parent;
    ngx_http_ecert_srv_conf_t *escf = child;

    escf->main = ngx_http_conf_get_module_main_conf(cf, ngx_http_ecert_module);
    ngx_conf_merge_value(escf->dcv, outer->dcv, 1);
    ngx_conf_merge_value(escf->stapling, outer->stapling, 1);
    if (escf->catalogue.data == NULL) {
        escf->catalogue = outer->catalogue;
    }
    if (escf->cross.kind == ECERT_CROSS_UNSET) {
        escf->cross = outer->cross;
    }
    if (ngx_http_ecert_merge_issuers(cf, outer->issuers, &escf->issuers)
        != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }
    if (escf->directive == NULL) {
        return NGX_CONF_OK;
    }
    return ngx_http_ecert_make_site(cf, escf);
}
