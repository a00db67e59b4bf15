/*
 * What the files of the nginx module share: ngx_http_ecert_conf.c turns
 * directives into sites, ngx_http_ecert_beside.c looks at the ssl module's
 * beside them, ngx_http_ecert_listen.c finds where they are reached,
 * ngx_http_ecert_module.c serves them and keeps the agent,
 * ngx_http_ecert_dcv.c answers for validation files.
 */

#ifndef NGX_HTTP_ECERT_H
#define NGX_HTTP_ECERT_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ecert.h"

#define NGX_HTTP_ECERT_LINE 2048 /* bytes of one error line */

typedef struct {
    ecert_conf_t *conf;
    ecert_launch_t launch;
    ecert_live_t *live; /* NULL until the configuration is live */
    ngx_str_t store;
    ngx_str_t run;
    ngx_str_t agent;
    ngx_array_t *unfiltered; /* ngx_http_ecert_default_t, for the answer */
    ngx_uint_t used;         /* a directive of ours stands somewhere */
    ngx_uint_t active;       /* there is something to do for the agent */
} ngx_http_ecert_main_conf_t;

typedef struct {
    ngx_http_ecert_main_conf_t *main;

    ngx_str_t catalogue;
    ngx_array_t *issuers; /* const char *; the http block's, then the own */
    ecert_cross_t cross;
    ngx_flag_t dcv;
    ngx_flag_t stapling;

    ngx_uint_t said; /* the directive ecert was there */
    ngx_uint_t own;  /* ecert on: the site is called as the server */
    ngx_str_t name;
    ngx_str_t certificate;
    ngx_str_t key;
    const char *directive; /* that made it a site, and where it stands */
    const char *file;
    ngx_uint_t line;
    ngx_uint_t passwords; /* ssl_password_file stands in this very server */

    ngx_int_t site;     /* index in the configuration; -1: none */
    ngx_array_t *names; /* of a site's server, const char * */
    ngx_uint_t listens; /* a site's server has a socket for TLS or QUIC */
} ngx_http_ecert_srv_conf_t;

extern ngx_module_t ngx_http_ecert_module;

/* The table of directives, and what they fill for each server. */
extern ngx_command_t ngx_http_ecert_commands[];
void *ngx_http_ecert_create_srv_conf(ngx_conf_t *cf);
char *ngx_http_ecert_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child);

/*
 * The variable in the certificate's name that the ssl module sees.  It stays
 * empty: nobody ever asks for its value.
 */
ngx_int_t ngx_http_ecert_add_variable(ngx_conf_t *cf);

/* Notes in conf where each server is reached, in escf->listens whether; 0, or
 * -1 with err. */
int ngx_http_ecert_listen(ngx_http_core_main_conf_t *cmcf, ecert_conf_t *conf,
                          ecert_err_t *err);

/*
 * Once the ssl module has merged its own: which of its directives have no
 * effect beside this site is told.  NGX_ERROR for those that cannot stand
 * there.
 */
ngx_int_t ngx_http_ecert_beside(ngx_conf_t *cf,
                                const ngx_http_ecert_srv_conf_t *escf,
                                const ngx_http_ssl_srv_conf_t *sscf);

/* Prepares what keeps the server's filters away from the answer. */
ngx_int_t ngx_http_ecert_dcv_init(ngx_conf_t *cf);

/* The POST_READ phase: comes before any directive of the server. */
ngx_int_t ngx_http_ecert_dcv_handler(ngx_http_request_t *r);

/* Logs err on one line; site may be NULL. */
void ngx_http_ecert_log(ngx_uint_t level, ngx_log_t *log, const char *site,
                        const ecert_err_t *err);

/* What nginx has only from some version on, or when it was built so. */

/* Whether a socket for QUIC, which is none of TCP. */
static ngx_inline ngx_uint_t
ngx_http_ecert_is_quic(const ngx_http_listen_opt_t *opt)
{
#if (NGX_HTTP_V3)
    return opt->quic;
#else
    (void)opt;
    return 0;
#endif
}

/* Whether a server_name is a regular expression. */
static ngx_inline ngx_uint_t
ngx_http_ecert_is_regex(const ngx_http_server_name_t *server)
{
#if (NGX_PCRE)
    return server->regex != NULL;
#else
    (void)server;
    return 0;
#endif
}

#endif
