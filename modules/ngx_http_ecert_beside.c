/*
 * The ssl module's directives beside ours: what a site makes ineffective is
 * refused where it stands in the site's own server, else told.
 */

#include "ngx_http_ecert.h"

static void ngx_http_ecert_tell(ngx_conf_t *cf,
                                const ngx_http_ecert_srv_conf_t *escf,
                                ngx_uint_t level, const char *what,
                                const char *word, const char *instead)
{
    ngx_log_error(level, cf->log, 0,
                  "\"%s%s%s\" has no effect beside \"%s\" in %s:%ui: %s", what,
                  *word ? " " : "", word, escf->directive, escf->file,
                  escf->line, instead);
}

static ngx_int_t ngx_http_ecert_command(ngx_conf_t *cf,
                                        const ngx_http_ecert_srv_conf_t *escf,
                                        const ngx_array_t *commands,
                                        ngx_uint_t level)
{
    ngx_keyval_t *command = commands->elts;
    ngx_int_t rc = NGX_OK;
    const char *instead;
    ngx_uint_t i;

    for (i = 0; i < commands->nelts; i++) {
        instead = ecert_conf_command((char *)command[i].key.data);
        if (instead != NULL) {
            ngx_http_ecert_tell(cf, escf, level, "ssl_conf_command",
                                (char *)command[i].key.data, instead);
            rc = NGX_ERROR;
        }
    }
    return level == NGX_LOG_EMERG ? rc : NGX_OK;
}

ngx_int_t ngx_http_ecert_beside(ngx_conf_t *cf,
                                const ngx_http_ecert_srv_conf_t *escf,
                                const ngx_http_ssl_srv_conf_t *sscf)
{
    const ngx_http_ssl_srv_conf_t *outer;

    outer = ngx_http_conf_get_module_srv_conf(cf, ngx_http_ssl_module);
    if (escf->passwords) {
        ngx_http_ecert_tell(cf, escf, NGX_LOG_WARN, "ssl_password_file", "",
                            "the key of a site is not encrypted; remove it");
    }
    if (sscf->stapling && sscf->stapling_file.len != 0) {
        ngx_http_ecert_tell(cf, escf, NGX_LOG_WARN, "ssl_stapling_file", "",
                            "the agent asks the responder that the "
                            "certificate names");
    }
    if (sscf->stapling_responder.len != 0) {
        ngx_http_ecert_tell(cf, escf, NGX_LOG_WARN, "ssl_stapling_responder",
                            "",
                            "the agent asks the responder that the "
                            "certificate names");
    }
#if (nginx_version >= 1029001)
    if (sscf->certificate_compression) {
        ngx_http_ecert_tell(cf, escf, NGX_LOG_WARN,
                            "ssl_certificate_compression", "",
                            "the site's certificate is sent as it is");
    }
#endif
    if (sscf->conf_commands == NULL) {
        return NGX_OK;
    }
    return ngx_http_ecert_command(cf, escf, sscf->conf_commands,
                                  sscf->conf_commands == outer->conf_commands
                                      ? NGX_LOG_WARN
                                      : NGX_LOG_EMERG);
}
