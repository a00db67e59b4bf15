/*
 * ecert for nginx: hangs the site's credential on each TLS context, and starts
 * the agent with each configuration.
 */

#include "ngx_http_ecert.h"

#ifndef ECERT_AGENT
#define ECERT_AGENT "/usr/sbin/ecert" /* the build knows better */
#endif

void ngx_http_ecert_log(ngx_uint_t level, ngx_log_t *log, const char *site,
                        const ecert_err_t *err)
{
    char line[NGX_HTTP_ECERT_LINE];

    ngx_log_error(level, log, 0, "ecert: %s",
                  ecert_err_line(err, site, line, sizeof(line)));
}

/*
 * This module must be merged before the ssl module, which makes the contexts
 * (see merge_srv_conf).  The build's ngx_module_order does that for a module
 * that is loaded; linked in statically it comes too late.
 */
static ngx_int_t ngx_http_ecert_preconfiguration(ngx_conf_t *cf)
{
    ngx_module_t **module;

    for (module = cf->cycle->modules; *module != NULL; module++) {
        if (*module == &ngx_http_ecert_module) {
            return ngx_http_ecert_add_variable(cf);
        }
        if (*module == &ngx_http_ssl_module) {
            break;
        }
    }
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "ecert: ngx_http_ecert_module must come before "
                  "ngx_http_ssl_module: build it with --add-dynamic-module "
                  "and its own \"config\", and load it with load_module");
    return NGX_ERROR;
}

static int ngx_http_ecert_certify(ngx_ssl_conn_t *ssl, void *data)
{
    const ngx_http_ecert_srv_conf_t *escf = data;
    const ngx_http_ecert_main_conf_t *emcf = escf->main;
    ngx_connection_t *c = ngx_ssl_get_connection(ssl);
    ecert_err_t err;
    int rc;

    /* without live, conf may be another reload's, with fewer sites */
    if (escf->site < 0 || emcf->live == NULL) {
        ngx_log_error(NGX_LOG_ERR, c->log, 0,
                      "ecert: no certificate for the site in %s:%ui before "
                      "nginx is reloaded with a working agent",
                      escf->file, escf->line);
        return 0;
    }
    rc = ecert_live_certify(emcf->live, (uint32_t)escf->site, ssl, &err);
    if (err.code != ECERT_OK) {
        ngx_http_ecert_log(NGX_LOG_ERR, c->log,
                           ecert_site_label(&emcf->conf->sites[escf->site]),
                           &err);
    }
    return rc >= 0;
}

static int ngx_http_ecert_staple(ngx_ssl_conn_t *ssl, void *data)
{
    const ngx_http_ecert_srv_conf_t *escf = data;

    if (escf->site < 0
        || !ecert_live_staple(escf->main->live, (uint32_t)escf->site, ssl,
                              (int64_t)ngx_time())) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    return SSL_TLSEXT_ERR_OK;
}

/* The callbacks of a site's context; nginx's own stapling has none then. */
static void ngx_http_ecert_own_context(SSL_CTX *ctx,
                                       ngx_http_ecert_srv_conf_t *escf)
{
    SSL_CTX_set_cert_cb(ctx, ngx_http_ecert_certify, escf);
    if (escf->stapling) {
        SSL_CTX_set_tlsext_status_cb(ctx, ngx_http_ecert_staple);
        SSL_CTX_set_tlsext_status_arg(ctx, escf);
    }
}

/* The ssl module has made the contexts by now. */
static ngx_int_t ngx_http_ecert_own_contexts(ngx_http_core_main_conf_t *cmcf,
                                             ngx_conf_t *cf, ecert_conf_t *conf)
{
    ngx_http_core_srv_conf_t **servers;
    ngx_http_ecert_srv_conf_t *escf;
    ngx_http_ssl_srv_conf_t *sscf;
    ngx_uint_t s;

    servers = cmcf->servers.elts;
    for (s = 0; s < cmcf->servers.nelts; s++) {
        escf = servers[s]->ctx->srv_conf[ngx_http_ecert_module.ctx_index];
        sscf = servers[s]->ctx->srv_conf[ngx_http_ssl_module.ctx_index];
        conf->dcv |= escf->dcv != 0;
        if (escf->site < 0) {
            continue;
        }
        ngx_http_ecert_own_context(sscf->ssl.ctx, escf);
        ecert_conf_security(conf, (int)escf->site,
                            SSL_CTX_get_security_level(sscf->ssl.ctx));
        if (!escf->listens) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "\"%s\" has no effect without \"listen ... ssl\" "
                          "in its server, in %s:%ui",
                          escf->directive, escf->file, escf->line);
        }
        if (ngx_http_ecert_beside(cf, escf, sscf) != NGX_OK) {
            return NGX_ERROR;
        }
    }
    return NGX_OK;
}

/*
 * Without any directive there may still be validation files to answer for,
 * once somebody made a store that this process may read.
 */
static ngx_int_t ngx_http_ecert_fill(ngx_http_ecert_main_conf_t *emcf,
                                     ecert_err_t *err)
{
    ecert_conf_t *conf = emcf->conf;

    if (emcf->store.data == NULL) {
        ngx_str_set(&emcf->store, ECERT_STORE_DEFAULT);
    }
    if (emcf->agent.data == NULL) {
        ngx_str_set(&emcf->agent, ECERT_AGENT);
    }
    if (ecert_conf_set(&conf->server, NGINX_VER, err) != 0
        || ecert_conf_set(&conf->store, (char *)emcf->store.data, err) != 0
        || ecert_conf_set(&conf->run, (char *)emcf->run.data, err) != 0
        || ecert_conf_set(&conf->agent, (char *)emcf->agent.data, err) != 0) {
        return NGX_ERROR;
    }
    emcf->active = emcf->used || access(conf->store, R_OK | X_OK) == 0;
    if (emcf->active && ecert_launch_check(conf, err) != 0) {
        return NGX_ERROR;
    }
    return NGX_OK;
}

static ngx_int_t ngx_http_ecert_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_ecert_main_conf_t *emcf;
    ngx_http_core_main_conf_t *cmcf;
    ngx_http_handler_pt *handler;
    ecert_err_t err;

    emcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_ecert_module);
    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    if (ngx_http_ecert_listen(cmcf, emcf->conf, &err) != 0) {
        ngx_http_ecert_log(NGX_LOG_EMERG, cf->log, NULL, &err);
        return NGX_ERROR;
    }
    if (ngx_http_ecert_own_contexts(cmcf, cf, emcf->conf) != NGX_OK) {
        return NGX_ERROR;
    }
    if (ngx_http_ecert_fill(emcf, &err) != NGX_OK) {
        ngx_http_ecert_log(NGX_LOG_EMERG, cf->log, NULL, &err);
        return NGX_ERROR;
    }
    if (!emcf->active || !emcf->conf->dcv) {
        return NGX_OK;
    }
    handler = ngx_array_push(&cmcf->phases[NGX_HTTP_POST_READ_PHASE].handlers);
    if (handler == NULL) {
        return NGX_ERROR;
    }
    *handler = ngx_http_ecert_dcv_handler;
    return ngx_http_ecert_dcv_init(cf);
}

/* Of the first "error_log syslog:" on the main level, or NULL. */
static ngx_syslog_peer_t *ngx_http_ecert_syslog(ngx_log_t *log)
{
    while (log != NULL && log->writer != ngx_syslog_writer) {
        log = log->next;
    }
    return log != NULL ? log->wdata : NULL;
}

/*
 * The agent has no network: it reaches a local syslog alone.  A warning goes to
 * the log of the cycle before, at a test or start the terminal: this one's may
 * be what is warned of, and keeps warnings back by default.
 */
static ngx_int_t ngx_http_ecert_set_syslog(ngx_cycle_t *cycle,
                                           ecert_conf_t *conf,
                                           const ngx_open_file_t *file,
                                           ecert_err_t *err)
{
    ngx_syslog_peer_t *peer = ngx_http_ecert_syslog(cycle->log);
    const struct sockaddr_un *to;
    u_char head[NGX_INT_T_LEN + NGX_MAXHOSTNAMELEN + 64], path[128];

    if (peer == NULL) {
        return NGX_OK;
    }
    if (peer->server.sockaddr->sa_family != AF_UNIX) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "ecert: the agent's messages do not go to the syslog "
                      "server \"%V\", as it has no network, but to \"%V\"; "
                      "name a local one (server=unix:/dev/log), or a file",
                      &peer->server.name, &file->name);
    }
    if (ngx_test_config || peer->server.sockaddr->sa_family != AF_UNIX) {
        return NGX_OK;
    }
    to = (const struct sockaddr_un *)(const void *)peer->server.sockaddr;
    ngx_snprintf(path, sizeof(path), "%s%Z", to->sun_path);
    if (peer->nohostname) {
        ngx_snprintf(head, sizeof(head), "%ui %V%Z", peer->facility,
                     &peer->tag);
    } else {
        ngx_snprintf(head, sizeof(head), "%ui %V %V%Z", peer->facility,
                     &cycle->hostname, &peer->tag);
    }
    return ecert_conf_set(&conf->log_socket, (char *)path, err) == 0
                   && ecert_conf_set(&conf->log_head, (char *)head, err) == 0
               ? NGX_OK
               : NGX_ERROR;
}

/* Where the agent's lines go, and what they look like there. */
static ngx_int_t ngx_http_ecert_set_log(ecert_conf_t *conf,
                                        const ngx_open_file_t *file,
                                        ecert_err_t *err)
{
    if (ngx_test_config) {
        return ecert_conf_set(&conf->log_prefix,
                              "nginx: [{level}] ecert: ", err);
    }
    if (file->fd != ngx_stderr && file->name.len != 0
        && ecert_conf_set(&conf->log_file, (char *)file->name.data, err) != 0) {
        return NGX_ERROR;
    }
    return ecert_conf_set(&conf->log_prefix,
                          "%Y/%m/%d %H:%M:%S [{level}] {pid}#0: ecert: ", err);
}

/* Our record in the configuration that is being replaced, or NULL. */
static ngx_http_ecert_main_conf_t *ngx_http_ecert_old(ngx_cycle_t *cycle)
{
    ngx_cycle_t *old = cycle->old_cycle;
    ngx_module_t **module;

    if (old == NULL || ngx_is_init_cycle(old) || old->modules == NULL) {
        return NULL;
    }
    /* the same code was in it: our index is valid there, and our structures */
    for (module = old->modules; *module != NULL; module++) {
        if (*module == &ngx_http_ecert_module) {
            return ngx_http_cycle_get_module_main_conf(old,
                                                       ngx_http_ecert_module);
        }
    }
    return NULL;
}

static ngx_int_t ngx_http_ecert_find(const ecert_conf_t *conf,
                                     const unsigned char *id)
{
    size_t i;

    for (i = 0; i < conf->n_sites; i++) {
        if (ngx_memcmp(conf->sites[i].id, id, sizeof(conf->sites[i].id)) == 0) {
            return (ngx_int_t)i;
        }
    }
    return -1;
}

/*
 * A reload whose agent did not come up: the agent before it goes on, with its
 * snapshot, for all sites that it knows.  Theirs stay served.
 */
static void ngx_http_ecert_keep(ngx_cycle_t *cycle,
                                ngx_http_ecert_main_conf_t *emcf,
                                ngx_http_ecert_main_conf_t *old)
{
    ngx_http_core_main_conf_t *cmcf;
    ngx_http_core_srv_conf_t **servers;
    ngx_http_ecert_srv_conf_t *escf;
    ecert_conf_t *conf = emcf->conf;
    ngx_uint_t s;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_core_module);
    servers = cmcf->servers.elts;
    for (s = 0; s < cmcf->servers.nelts; s++) {
        escf = servers[s]->ctx->srv_conf[ngx_http_ecert_module.ctx_index];
        if (escf->site >= 0) {
            escf->site =
                ngx_http_ecert_find(old->conf, conf->sites[escf->site].id);
        }
    }
    ecert_live_free(emcf->live);
    ecert_launch_close(&emcf->launch);
    emcf->live = old->live;
    emcf->launch = old->launch;
    emcf->conf = old->conf;
    old->live = NULL;
    ecert_launch_init(&old->launch);
    old->conf = conf;
    ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                  "ecert: the agent from before this reload goes on; sites "
                  "that it does not know wait for the next reload");
}

/* 0: ready; 1: placeholders until it is; -1: no memory to share. */
static int ngx_http_ecert_start(ngx_cycle_t *cycle,
                                ngx_http_ecert_main_conf_t *emcf, int log_fd,
                                const ecert_launch_t *previous)
{
    ecert_err_t err;
    int rc;

    rc = ecert_launch(&emcf->launch, emcf->conf, log_fd, previous, &err);
    if (rc != 0) {
        ngx_http_ecert_log(NGX_LOG_EMERG, cycle->log, NULL, &err);
    }
    if (rc < 0) {
        return -1;
    }
    emcf->live = ecert_live_new(emcf->conf, &emcf->launch, &err);
    if (emcf->live == NULL) {
        ngx_http_ecert_log(NGX_LOG_EMERG, cycle->log, NULL, &err);
        return -1;
    }
    return rc;
}

/* An error on a reload would end the master: only the first start may fail. */
static ngx_int_t ngx_http_ecert_run(ngx_cycle_t *cycle,
                                    ngx_http_ecert_main_conf_t *emcf,
                                    int log_fd)
{
    ngx_http_ecert_main_conf_t *old = ngx_http_ecert_old(cycle);
    const ecert_launch_t *previous = old != NULL ? &old->launch : NULL;
    int rc = ngx_http_ecert_start(cycle, emcf, log_fd, previous);

    if (rc != 0 && old != NULL && old->live != NULL) {
        ngx_http_ecert_keep(cycle, emcf, old);
        return NGX_OK;
    }
    return rc < 0 && ngx_is_init_cycle(cycle->old_cycle) ? NGX_ERROR : NGX_OK;
}

/* A bad site is told, but does not keep the others from a reload. */
static void ngx_http_ecert_test(const ecert_conf_t *conf)
{
    ecert_err_t err;

    if (ecert_launch_test(conf, STDERR_FILENO, &err) < 0) {
        ngx_http_ecert_log(NGX_LOG_WARN, ngx_cycle->log, NULL, &err);
    }
}

static ngx_int_t ngx_http_ecert_init_module(ngx_cycle_t *cycle)
{
    ngx_http_ecert_main_conf_t *emcf;
    const ngx_open_file_t *file;
    ecert_err_t err;

    emcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_ecert_module);
    if (emcf == NULL || !emcf->active) {
        return NGX_OK;
    }
    file = ngx_log_get_file_log(cycle->log)->file;
    if (ngx_http_ecert_set_log(emcf->conf, file, &err) != NGX_OK
        || ngx_http_ecert_set_syslog(cycle, emcf->conf, file, &err) != NGX_OK) {
        ngx_http_ecert_log(NGX_LOG_WARN, ngx_cycle->log, NULL, &err);
    }
    if (ngx_test_config) {
        ngx_http_ecert_test(emcf->conf);
        return NGX_OK;
    }
    return ngx_http_ecert_run(cycle, emcf, file->fd);
}

/* Runs in workers and in the cache's helpers. */
static ngx_int_t ngx_http_ecert_init_process(ngx_cycle_t *cycle)
{
    ngx_http_ecert_main_conf_t *emcf;

    emcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_ecert_module);
    if (emcf == NULL) {
        return NGX_OK;
    }
    /* with master_process off this process is the master, too */
    if (ngx_process != NGX_PROCESS_SINGLE) {
        ecert_launch_close(&emcf->launch);
    }
    if (emcf->live != NULL && ngx_process != NGX_PROCESS_HELPER) {
        ecert_live_worker(emcf->live);
    }
    return NGX_OK;
}

/*
 * The end of a configuration: in the master after a new one has its own agent,
 * or at exit; in workers at exit.  Closing the pipe lets the agent go.
 */
static void ngx_http_ecert_free(void *data)
{
    ngx_http_ecert_main_conf_t *emcf = data;

    ecert_live_free(emcf->live);
    emcf->live = NULL;
    ecert_launch_close(&emcf->launch);
    ecert_conf_free(emcf->conf);
    emcf->conf = NULL;
}

static void *ngx_http_ecert_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_ecert_main_conf_t *emcf = ngx_pcalloc(cf->pool, sizeof(*emcf));
    ngx_pool_cleanup_t *cleanup = ngx_pool_cleanup_add(cf->pool, 0);

    if (emcf == NULL || cleanup == NULL) {
        return NULL;
    }
    emcf->conf = ecert_conf_new();
    if (emcf->conf == NULL) {
        return NULL;
    }
    ecert_launch_init(&emcf->launch);
    cleanup->handler = ngx_http_ecert_free;
    cleanup->data = emcf;
    return emcf;
}

static ngx_http_module_t ngx_http_ecert_module_ctx = {
    ngx_http_ecert_preconfiguration,  /* preconfiguration */
    ngx_http_ecert_postconfiguration, /* postconfiguration */
    ngx_http_ecert_create_main_conf,  /* create main configuration */
    NULL,                             /* init main configuration */
    ngx_http_ecert_create_srv_conf,   /* create server configuration */
    ngx_http_ecert_merge_srv_conf,    /* merge server configuration */
    NULL,                             /* create location configuration */
    NULL,                             /* merge location configuration */
};

ngx_module_t ngx_http_ecert_module = {
    NGX_MODULE_V1,
    &ngx_http_ecert_module_ctx,  /* module context */
    ngx_http_ecert_commands,     /* module directives */
    NGX_HTTP_MODULE,             /* module type */
    NULL,                        /* init master */
    ngx_http_ecert_init_module,  /* init module */
    ngx_http_ecert_init_process, /* init process */
    NULL,                        /* init thread */
    NULL,                        /* exit thread */
    NULL,                        /* exit process */
    NULL,                        /* exit master */
    NGX_MODULE_V1_PADDING,
};
