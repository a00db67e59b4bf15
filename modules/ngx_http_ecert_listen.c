/*
 * The sockets that lead to each server, as the agent is told of them.
 */

#include "ngx_http_ecert.h"

/* One server at one address: 0, or -1 with err. */
static int ngx_http_ecert_listen_one(ecert_conf_t *conf,
                                     const ngx_http_listen_opt_t *opt,
                                     ngx_http_core_srv_conf_t *server,
                                     ecert_err_t *err)
{
    const ngx_http_ssl_srv_conf_t *sscf;
    ngx_http_ecert_srv_conf_t *escf;
    ecert_vhost_t vhost = {0};
    int site;

    sscf = server->ctx->srv_conf[ngx_http_ssl_module.ctx_index];
    escf = server->ctx->srv_conf[ngx_http_ecert_module.ctx_index];
    if (ngx_http_ecert_is_quic(opt)) {
        escf->listens |= escf->site >= 0;
        return 0;
    }
    site = opt->ssl ? (int)escf->site : -1;
    if (site >= 0) {
        escf->listens = 1;
        vhost.names = escf->names->elts;
        vhost.n_names = escf->names->nelts;
        vhost.stapling = escf->stapling != 0;
        vhost.proxied = opt->proxy_protocol;
    }
    if (sscf->reject_handshake) {
        site = -1; /* as it is told to: no difference to look for */
    }
    return ecert_conf_listen(conf, site, &vhost, opt->sockaddr, err);
}

int ngx_http_ecert_listen(ngx_http_core_main_conf_t *cmcf, ecert_conf_t *conf,
                          ecert_err_t *err)
{
    ngx_http_core_srv_conf_t **servers;
    ngx_http_conf_port_t *port;
    ngx_http_conf_addr_t *addr;
    ngx_uint_t p, a, s;

    if (cmcf->ports == NULL) {
        return 0;
    }
    port = cmcf->ports->elts;
    for (p = 0; p < cmcf->ports->nelts; p++) {
        addr = port[p].addrs.elts;
        for (a = 0; a < port[p].addrs.nelts; a++) {
            servers = addr[a].servers.elts;
            for (s = 0; s < addr[a].servers.nelts; s++) {
                if (ngx_http_ecert_listen_one(conf, &addr[a].opt, servers[s],
                                              err)
                    != 0) {
                    return -1;
                }
            }
        }
    }
    return 0;
}
