/*
 * The certificates: mod_ssl gets a placeholder file for each site and, on its
 * SSL_CTX, the callbacks that put the current certificate and its staple into
 * every connection.
 */

#include "mod_ecert.h"

#include "http_connection.h"
#include "http_log.h"
#include "http_ssl.h"
#include "apr_hash.h"
#include "apr_optional_hooks.h"
#include "apr_strings.h"

#include "mod_ssl.h"
#include "mod_ssl_openssl.h"

/* Of this configuration: SSL_CTX * to the server_rec * of a site. */
static apr_hash_t *contexts;

/* Made in the store; where that cannot be written, among the run-time files. */
static const char *placeholder(apr_pool_t *p, server_rec *s,
                               const ecert_site_t *site)
{
    const char *dir = ap_runtime_dir_relative(p, "");
    char path[APR_PATH_MAX];
    ecert_err_t err, why;

    if (ecert_placeholder_file(mod_ecert_conf()->store, site, path,
                               sizeof(path), &why)
            == 0
        || (dir != NULL
            && ecert_placeholder_file(dir, site, path, sizeof(path), &err)
                   == 0)) {
        return apr_pstrdup(p, path);
    }
    mod_ecert_log(s, APLOG_EMERG, ecert_site_label(site), &why);
    if (dir != NULL) {
        mod_ecert_log(s, APLOG_EMERG, ecert_site_label(site), &err);
    }
    return NULL;
}

/*
 * mod_ssl wants a file for each context.  All virtual hosts of one site name
 * the same one: mod_ssl compares the names to tell whether a connection may
 * go from one virtual host to another (421 otherwise).
 */
static int ecert_add_cert_files(server_rec *s, apr_pool_t *p,
                                apr_array_header_t *cert_files,
                                apr_array_header_t *key_files)
{
    ecert_srv_t *srv = ecert_srv(s);
    const char *file;

    if (mod_ecert_conf() == NULL || srv->site < 0) {
        return DECLINED;
    }
    srv->tls = 1;
    file = placeholder(p, s, &mod_ecert_conf()->sites[srv->site]);
    if (file == NULL) {
        return DECLINED;
    }
    /* Inherited from the main server, or mod_md's: this site's come first. */
    apr_array_clear(cert_files);
    apr_array_clear(key_files);
    APR_ARRAY_PUSH(cert_files, const char *) = file;
    APR_ARRAY_PUSH(key_files, const char *) = file;
    return OK;
}

static void tell(server_rec *s, const ecert_err_t *err)
{
    int site = ecert_srv(s)->site;

    if (err->code != ECERT_OK) {
        mod_ecert_log(s, APLOG_ERR,
                      ecert_site_label(&mod_ecert_conf()->sites[site]), err);
    }
}

/* The certificate callback.  It does not run when a session is resumed. */
static int certify(SSL *ssl, void *arg)
{
    server_rec *s = arg;
    int site = ecert_srv(s)->site;
    ecert_err_t err;
    int rc;

    if (mod_ecert_live() == NULL) {
        return 1; /* nothing was published: mod_ssl's placeholder stays */
    }
    rc = ecert_live_certify(mod_ecert_live(), (uint32_t)site, ssl, &err);
    tell(s, &err);
    return rc >= 0;
}

/* RFC 6066, 8: the staple, for clients that ask for one. */
static int staple(SSL *ssl, void *arg)
{
    server_rec *s = arg;

    if (!ecert_live_staple(mod_ecert_live(), (uint32_t)ecert_srv(s)->site, ssl,
                           (int64_t)apr_time_sec(apr_time_now()))) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    return SSL_TLSEXT_ERR_OK;
}

/*
 * mod_ssl's own stapling sees the placeholder alone, and would complain of it:
 * where the certificate is ours, so is the staple.
 */
static int ecert_ocsp_prime(server_rec *s, apr_pool_t *p, const char *id,
                            apr_size_t id_len, const char *pem)
{
    (void)p;
    (void)id;
    (void)id_len;
    (void)pem;
    return ecert_srv(s)->site >= 0 ? OK : DECLINED;
}

static int ecert_init_server(server_rec *s, apr_pool_t *p, int is_proxy,
                             SSL_CTX *ctx)
{
    if (!is_proxy && ecert_srv(s)->site >= 0) {
        SSL_CTX_set_cert_cb(ctx, certify, s);
        ecert_conf_security(mod_ecert_conf(), ecert_srv(s)->site,
                            SSL_CTX_get_security_level(ctx));
        apr_hash_set(contexts, apr_pmemdup(p, &ctx, sizeof(ctx)), sizeof(ctx),
                     s);
        if (ecert_srv(s)->stapling != 0) {
            SSL_CTX_set_tlsext_status_cb(ctx, staple);
            SSL_CTX_set_tlsext_status_arg(ctx, s);
        }
    }
    return OK;
}

/* ---- what httpd tells of a resumed connection ---- */

static int ecert_pre_handshake(conn_rec *c, SSL *ssl, int is_proxy)
{
    if (!is_proxy) {
        ap_set_module_config(c->conn_config, &ecert_module, ssl);
    }
    return OK;
}

/* mod_ssl may have freed the SSL of a handshake that failed: it is asked. */
static int is_resumed(conn_rec *c)
{
    const char *said = ap_ssl_var_lookup(c->pool, c->base_server, c, NULL,
                                         "SSL_SESSION_RESUMED");

    return said != NULL && strcmp(said, "Resumed") == 0;
}

/*
 * The variables SSL_SERVER_* come from the connection's SSL, which still has
 * the placeholder.  The handshake is over; a stream of HTTP/2 has no SSL here.
 * The context is that of the name that was asked for.
 */
static int ecert_process_connection(conn_rec *c)
{
    SSL *ssl = ap_get_module_config(c->conn_config, &ecert_module);
    ecert_err_t err;
    server_rec *s;
    SSL_CTX *ctx;

    if (ssl == NULL || mod_ecert_live() == NULL) {
        return DECLINED;
    }
    ap_set_module_config(c->conn_config, &ecert_module, NULL); /* only once */
    if (!is_resumed(c)) {
        return DECLINED;
    }
    ctx = SSL_get_SSL_CTX(ssl);
    s = apr_hash_get(contexts, &ctx, sizeof(ctx));
    if (s != NULL) {
        ecert_live_resumed(mod_ecert_live(), (uint32_t)ecert_srv(s)->site, ssl,
                           &err);
        tell(s, &err);
    }
    return DECLINED;
}

void mod_ecert_tls_begin(apr_pool_t *pconf)
{
    contexts = apr_hash_make(pconf);
}

void mod_ecert_tls_hooks(void)
{
    /* mod_ssl makes the handshake there, mod_http2 takes the connection */
    static const char *const before[] = {"mod_ssl.c", NULL};
    static const char *const after[] = {"mod_http2.c", NULL};

    ap_hook_process_connection(ecert_process_connection, before, after,
                               APR_HOOK_MIDDLE);
    ap_hook_ssl_add_cert_files(ecert_add_cert_files, NULL, NULL, APR_HOOK_LAST);
    ap_hook_ssl_ocsp_prime_hook(ecert_ocsp_prime, NULL, NULL, APR_HOOK_FIRST);
    /* Optional: the module loads before mod_ssl, after it and without it. */
    APR_OPTIONAL_HOOK(ssl, init_server, ecert_init_server, NULL, NULL,
                      APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(ssl, pre_handshake, ecert_pre_handshake, NULL, NULL,
                      APR_HOOK_MIDDLE);
}
