#include "ecert_target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

#define WILDCARD_LABEL "ecert-probe" /* in place of its "*" */

socklen_t ecert_sockaddr_len(const ecert_sockaddr_t *address)
{
    return address->any.sa_family == AF_INET6 ? sizeof(address->v6)
                                              : sizeof(address->v4);
}

/* "192.0.2.1:443", "[::1]:443" as ecert_conf_listen writes it; -1: not so. */
static int parse(const char *text, ecert_sockaddr_t *out)
{
    const char *colon = strrchr(text, ':');
    char host[ECERT_LISTEN_ADDRESS];
    long port = colon ? strtol(colon + 1, NULL, 10) : 0;
    size_t len = colon ? (size_t)(colon - text) : 0;

    memset(out, 0, sizeof(*out));
    if (len < 2 || len >= sizeof(host) || port < 1 || port > 65535) {
        return -1;
    }
    snprintf(host, sizeof(host), "%.*s", (int)len, text);
    if (host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons((uint16_t)port);
        return inet_pton(AF_INET6, host + 1, &out->v6.sin6_addr) == 1 ? 0 : -1;
    }
    out->v4.sin_family = AF_INET;
    out->v4.sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &out->v4.sin_addr) == 1 ? 0 : -1;
}

/* A virtual host that listens at the loopback address itself answers there
 * before those that listen at all addresses. */
static int is_hidden(const ecert_conf_t *conf, const char *where)
{
    for (size_t i = 0; i < conf->n_loopbacks; i++) {
        if (strcmp(conf->loopbacks[i], where) == 0) {
            return 1;
        }
    }
    return 0;
}

static void set_other(const ecert_conf_t *conf, uint16_t port,
                      ecert_sockaddr_t *other)
{
    char where[ECERT_LISTEN_ADDRESS];

    snprintf(where, sizeof(where), "127.0.0.1:%u", (unsigned)ntohs(port));
    if (!is_hidden(conf, where)) {
        other->v4.sin_family = AF_INET;
        other->v4.sin_port = port;
        other->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
}

/* From an address that stands for all to this machine's own. */
static int to_loopback(const ecert_conf_t *conf, ecert_target_t *target)
{
    ecert_sockaddr_t *to = &target->address;

    if (to->any.sa_family == AF_INET
        && to->v4.sin_addr.s_addr == htonl(INADDR_ANY)) {
        to->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        snprintf(target->where, sizeof(target->where), "127.0.0.1:%u",
                 (unsigned)ntohs(to->v4.sin_port));
        return 1;
    }
    if (to->any.sa_family == AF_INET6
        && IN6_IS_ADDR_UNSPECIFIED(&to->v6.sin6_addr)) {
        to->v6.sin6_addr = in6addr_loopback;
        set_other(conf, to->v6.sin6_port, &target->other);
        snprintf(target->where, sizeof(target->where), "[::1]:%u",
                 (unsigned)ntohs(to->v6.sin6_port));
        return 1;
    }
    return 0;
}

static void set_host(const ecert_site_t *site, const ecert_listen_t *listen,
                     char *host)
{
    const char *name = listen->name ? listen->name : site->name;
    char ascii[ECERT_NAME_MAX];
    ecert_err_t ignored;

    host[0] = '\0';
    if (name == NULL || ecert_name_ascii(name, ascii, &ignored) != 0) {
        return;
    }
    if (ascii[0] == '*') {
        snprintf(host, ECERT_NAME_MAX, "%s%.200s", WILDCARD_LABEL, ascii + 1);
    } else {
        memcpy(host, ascii, sizeof(ascii));
    }
}

static void make(const ecert_conf_t *conf, uint32_t index,
                 const ecert_listen_t *listen, ecert_target_t *target)
{
    target->site = index;
    target->stapling = listen->stapling;
    snprintf(target->where, sizeof(target->where), "%s", listen->address);
    set_host(&conf->sites[index], listen, target->host);
    if (parse(listen->address, &target->address) != 0) {
        target->why = "this is no address to connect to";
        return;
    }
    if (to_loopback(conf, target) && is_hidden(conf, target->where)) {
        target->why = "another virtual host listens at this very address";
    }
    if (listen->proxied) {
        target->why = "the PROXY protocol is expected there";
    }
}

int ecert_targets_make(const ecert_conf_t *conf, ecert_targets_t *out,
                       ecert_err_t *err)
{
    size_t n = 0;

    for (size_t i = 0; i < conf->n_sites; i++) {
        n += conf->sites[i].n_listens;
    }
    *out = (ecert_targets_t){calloc(n + 1, sizeof(*out->list)), 0};
    if (out->list == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    for (size_t i = 0; i < conf->n_sites; i++) {
        const ecert_site_t *site = &conf->sites[i];

        for (size_t k = 0; k < site->n_listens; k++) {
            make(conf, (uint32_t)i, &site->listens[k], &out->list[out->n++]);
        }
    }
    return 0;
}

void ecert_targets_free(ecert_targets_t *targets)
{
    free(targets->list);
    *targets = (ecert_targets_t){0};
}
