/*
 * The sockets that lead to each virtual host, as the agent is told of them.
 * httpd takes the virtual hosts of an address first, those of its port (*:443)
 * where there is none, and the main server where there is none either.
 */

#include <string.h>

#include "mod_ecert.h"

#include "ap_listen.h"

static int has_port(const server_addr_rec *at, const ap_listen_rec *socket)
{
    return at->host_port == 0 || at->host_port == socket->bind_addr->port;
}

static int is_wild(const server_addr_rec *at)
{
    return apr_sockaddr_is_wildcard(at->host_addr);
}

/* Whether a virtual host, of this very address or of any, has this socket. */
static int is_taken(const server_rec *main_server, const ap_listen_rec *socket,
                    int or_wild)
{
    const server_addr_rec *at;
    const server_rec *s;

    for (s = main_server->next; s != NULL; s = s->next) {
        for (at = s->addrs; at != NULL; at = at->next) {
            if (has_port(at, socket)
                && ((or_wild && is_wild(at))
                    || apr_sockaddr_equal(at->host_addr, socket->bind_addr))) {
                return 1;
            }
        }
    }
    return 0;
}

/* The address that leads through this socket to a server that is written with
 * that address, or NULL. */
static const apr_sockaddr_t *meet(const server_rec *main_server,
                                  const server_rec *s,
                                  const server_addr_rec *at,
                                  const ap_listen_rec *socket)
{
    int socket_is_wild = apr_sockaddr_is_wildcard(socket->bind_addr);

    if (!has_port(at, socket)
        || (s == main_server && is_taken(main_server, socket, 1))) {
        return NULL;
    }
    if (!is_wild(at)) {
        return socket_is_wild
                       || apr_sockaddr_equal(at->host_addr, socket->bind_addr)
                   ? at->host_addr
                   : NULL;
    }
    return socket_is_wild || !is_taken(main_server, socket, 0)
               ? socket->bind_addr
               : NULL;
}

/* ---- mod_remoteip ------------------------------------------------------ */

static int is_on(const ap_directive_t *d)
{
    return strcasecmp(d->directive, "RemoteIPProxyProtocol") == 0
           && strcasecmp(d->args, "On") == 0;
}

/* The server of a directive of the main server, or of a block; NULL: it says
 * nothing of this. */
static const server_rec *server_of(const server_rec *main_server,
                                   const ap_directive_t *d)
{
    const ap_directive_t *inner = d->first_child;
    const server_rec *s = main_server->next;

    if (strcasecmp(d->directive, "<VirtualHost") != 0) {
        return is_on(d) ? main_server : NULL;
    }
    while (inner != NULL && !is_on(inner)) {
        inner = inner->next;
    }
    while (inner != NULL && s != NULL
           && (d->line_num != (int)s->defn_line_number
               || strcmp(d->filename, s->defn_name) != 0)) {
        s = s->next;
    }
    return inner != NULL ? s : NULL;
}

/* Where the PROXY protocol is expected: the addresses of each server with
 * `RemoteIPProxyProtocol On`, for all servers that have them, too. */
static apr_array_header_t *find_proxied(apr_pool_t *p,
                                        const server_rec *main_server)
{
    apr_array_header_t *all = apr_array_make(p, 1, sizeof(server_addr_rec *));
    const server_addr_rec *at;
    const ap_directive_t *d;
    const server_rec *s;

    for (d = ap_conftree; d != NULL; d = d->next) {
        s = server_of(main_server, d);
        for (at = s ? s->addrs : NULL; at != NULL; at = at->next) {
            APR_ARRAY_PUSH(all, const server_addr_rec *) = at;
        }
    }
    return all;
}

static int is_proxied(const apr_array_header_t *proxied,
                      const apr_sockaddr_t *address,
                      const ap_listen_rec *socket)
{
    const server_addr_rec *at;
    int i;

    for (i = 0; i < proxied->nelts; i++) {
        at = APR_ARRAY_IDX(proxied, i, const server_addr_rec *);
        if (has_port(at, socket)
            && (is_wild(at) || apr_sockaddr_equal(at->host_addr, address))) {
            return 1;
        }
    }
    return 0;
}

/* ------------------------------------------------------------------------ */

static int note(ecert_conf_t *conf, const ecert_srv_t *srv,
                const apr_sockaddr_t *address, apr_port_t port, int proxied,
                ecert_err_t *err)
{
    int site = srv->tls ? srv->site : -1;
    apr_sockaddr_t copy = *address;
    ecert_vhost_t vhost = {.proxied = proxied};

    copy.sa.sin.sin_port = htons(port); /* where IPv6 has it, too */
    if (site >= 0) {
        vhost.names = (const char *const *)srv->names->elts;
        vhost.n_names = (size_t)srv->names->nelts;
        vhost.stapling = srv->stapling != 0;
    }
    return ecert_conf_listen(conf, site, &vhost, (struct sockaddr *)&copy.sa,
                             err);
}

int mod_ecert_listen(apr_pool_t *ptemp, server_rec *main_server,
                     ecert_conf_t *conf, ecert_err_t *err)
{
    const apr_array_header_t *proxied = find_proxied(ptemp, main_server);
    const apr_sockaddr_t *address;
    const ap_listen_rec *socket;
    const server_addr_rec *at;
    const server_rec *s;

    for (s = main_server; s != NULL; s = s->next) {
        for (at = s->addrs; at != NULL; at = at->next) {
            for (socket = ap_listeners; socket != NULL; socket = socket->next) {
                address = meet(main_server, s, at, socket);
                if (address != NULL
                    && note(conf, ecert_srv(s), address,
                            socket->bind_addr->port,
                            is_proxied(proxied, address, socket), err)
                           != 0) {
                    return -1;
                }
            }
        }
    }
    return 0;
}
