/*
 * What the files of mod_ecert share: mod_ecert_conf.c turns directives into
 * sites, mod_ecert_beside.c looks at what else stands in their virtual hosts,
 * mod_ecert_listen.c finds where they are reached, mod_ecert_tls.c serves their
 * certificates, mod_ecert_dcv.c answers for validation files, mod_ecert.c does
 * all else that they ask for.
 */

#ifndef MOD_ECERT_H
#define MOD_ECERT_H

#include "httpd.h"
#include "http_config.h"

#include "ecert.h"

#if !AP_MODULE_MAGIC_AT_LEAST(20120211, 105)
#error "mod_ecert needs httpd 2.4.49 or later (ap_hook_ssl_add_cert_files)"
#endif

#define ECERT_LINE 2048 /* bytes of one error line */

extern module AP_MODULE_DECLARE_DATA ecert_module;

/* One server's directives; of these a virtual host inherits the first six. */
typedef struct {
    const char *catalogue;
    apr_array_header_t *issuers; /* const char * */
    ecert_cross_t cross;
    int dcv;      /* -1: not said */
    int stapling; /* the same */
    int used;     /* any directive of ours stands somewhere */

    const char *store; /* main server only */
    const char *run;
    const char *agent;
    apr_array_header_t *fetch; /* const char *: on, off, allow=CIDR */

    int said; /* ECert was there */
    int own;  /* ECert on: the site is called as the virtual host */
    const char *name;
    const char *certificate;
    const char *key;
    const char *where;           /* "file:line" of the site's directive */
    const ap_directive_t *block; /* the first one beside it */
    int has_name;                /* there is a ServerName, not httpd's guess */

    int site;                        /* index in the configuration; -1: none */
    const apr_array_header_t *names; /* of a site's server, const char * */
    int tls; /* mod_ssl made a context for this server */
} ecert_srv_t;

ecert_srv_t *ecert_srv(const server_rec *s);

/* The module's table of directives, and their records. */
extern const command_rec ecert_commands[];
void *ecert_srv_create(apr_pool_t *p, server_rec *s);
void *ecert_srv_merge(apr_pool_t *p, void *base, void *add);

/*
 * Fills conf from all servers' directives and gives each its site.  0, or -1
 * when it has logged what cannot be used.
 */
int mod_ecert_fill(apr_pool_t *p, server_rec *main_server, ecert_conf_t *conf);

/*
 * The directives of mod_ssl and mod_md beside ours.  begin: before the others,
 * p lives as long as they are asked.  issuers: adds the files of
 * those that complete a chain, and returns how many.  site: what has no effect
 * beside the site of s is told; none: s has no site, and TLS.  -1 when the
 * server cannot start so.
 */
void mod_ecert_beside_begin(apr_pool_t *p);
size_t mod_ecert_beside_issuers(apr_pool_t *p, server_rec *main_server,
                                server_rec *s, apr_array_header_t *issuers);
int mod_ecert_beside_site(apr_pool_t *p, server_rec *main_server,
                          server_rec *s);
int mod_ecert_beside_none(apr_pool_t *p, server_rec *main_server,
                          server_rec *s);

/* Notes in conf where each server is reached, once mod_ssl has made its
 * contexts; 0, or -1 with err. */
int mod_ecert_listen(apr_pool_t *ptemp, server_rec *main_server,
                     ecert_conf_t *conf, ecert_err_t *err);

/* Of the configuration in force, or NULL; without an agent there is no live. */
ecert_live_t *mod_ecert_live(void);
ecert_conf_t *mod_ecert_conf(void);

/* Before mod_ssl makes its contexts. */
void mod_ecert_tls_begin(apr_pool_t *pconf);
void mod_ecert_tls_hooks(void);

/* Once all modules have set their hooks. */
void mod_ecert_dcv_begin(void);
void mod_ecert_dcv_hooks(void);

/* Logs err on one line; site may be NULL. */
void mod_ecert_log(server_rec *s, int level, const char *site,
                   const ecert_err_t *err);

#endif
