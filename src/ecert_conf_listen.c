/* Where virtual hosts are reached, as the agent is told of it. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "ecert_conf.h"

#define LOOPBACKS_MAX 1024
#define PROXIED       1 /* bits of a line */
#define STAPLING      2

void ecert_listens_free(ecert_listen_t *listens, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(listens[i].address);
        free(listens[i].name);
    }
    free(listens);
}

/* "192.0.2.1:443", "[2001:db8::1]:443"; 0 for another family. */
static int format(const struct sockaddr *address,
                  char text[ECERT_LISTEN_ADDRESS])
{
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;
    char host[INET6_ADDRSTRLEN];

    if (address->sa_family == AF_INET) {
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        snprintf(text, ECERT_LISTEN_ADDRESS, "%s:%u", host,
                 (unsigned)ntohs(v4->sin_port));
        return 1;
    }
    if (address->sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        snprintf(text, ECERT_LISTEN_ADDRESS, "[%s]:%u", host,
                 (unsigned)ntohs(v6->sin6_port));
        return 1;
    }
    return 0;
}

static int is_ascii(const char *text)
{
    while (*text > 0x20 && *text < 0x7f) {
        text++;
    }
    return *text == '\0';
}

/* A name that a client can ask for as it stands, before all others. */
static const char *choose(const ecert_vhost_t *vhost)
{
    const char *wildcard = NULL;

    for (size_t i = 0; i < vhost->n_names; i++) {
        const char *name = vhost->names[i];

        if (is_ascii(name) && name[0] != '*') {
            return name;
        }
        if (is_ascii(name) && wildcard == NULL) {
            wildcard = name;
        }
    }
    if (wildcard != NULL) {
        return wildcard;
    }
    return vhost->n_names > 0 ? vhost->names[0] : NULL;
}

static int is_same(const ecert_listen_t *a, const ecert_listen_t *b)
{
    return strcmp(a->address, b->address) == 0
           && (a->name != NULL && b->name != NULL
                   ? strcmp(a->name, b->name) == 0
                   : a->name == b->name);
}

static int no_memory(ecert_err_t *err)
{
    return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
}

static int add(ecert_site_t *site, const ecert_listen_t *from, ecert_err_t *err)
{
    ecert_listen_t listen = {.proxied = from->proxied,
                             .stapling = from->stapling};
    ecert_listen_t *more;

    for (size_t i = 0; i < site->n_listens; i++) {
        if (is_same(&site->listens[i], from)) {
            return 0;
        }
    }
    if (site->n_listens >= ECERT_LISTENS_MAX) {
        return 0;
    }
    more = realloc(site->listens, (site->n_listens + 1) * sizeof(*more));
    if (more == NULL) {
        return no_memory(err);
    }
    site->listens = more;
    if (ecert_conf_set(&listen.address, from->address, err) != 0
        || ecert_conf_set(&listen.name, from->name, err) != 0) {
        free(listen.address);
        return -1;
    }
    more[site->n_listens++] = listen;
    return 0;
}

int ecert_conf_loopback(ecert_conf_t *conf, const char *address,
                        ecert_err_t *err)
{
    char **more;

    for (size_t i = 0; i < conf->n_loopbacks; i++) {
        if (strcmp(conf->loopbacks[i], address) == 0) {
            return 0;
        }
    }
    if (conf->n_loopbacks >= LOOPBACKS_MAX) {
        return 0;
    }
    more = realloc(conf->loopbacks, (conf->n_loopbacks + 1) * sizeof(*more));
    if (more == NULL) {
        return no_memory(err);
    }
    conf->loopbacks = more;
    more[conf->n_loopbacks] = NULL;
    if (ecert_conf_set(&more[conf->n_loopbacks], address, err) != 0) {
        return -1;
    }
    conf->n_loopbacks++;
    return 0;
}

int ecert_conf_listen(ecert_conf_t *conf, int site, const ecert_vhost_t *vhost,
                      const struct sockaddr *address, ecert_err_t *err)
{
    char text[ECERT_LISTEN_ADDRESS];
    ecert_listen_t listen = {.address = text};

    if (!format(address, text)) {
        return 0;
    }
    if ((strncmp(text, "127.0.0.1:", 10) == 0
         || strncmp(text, "[::1]:", 6) == 0)
        && ecert_conf_loopback(conf, text, err) != 0) {
        return -1;
    }
    if (site < 0) {
        return 0;
    }
    listen.name = (char *)(uintptr_t)choose(vhost);
    listen.proxied = vhost->proxied;
    listen.stapling = vhost->stapling;
    return add(&conf->sites[site], &listen, err);
}

/* ---- as lines ---------------------------------------------------------- */

void ecert_listens_write(const ecert_site_t *site, FILE *out)
{
    for (size_t i = 0; i < site->n_listens; i++) {
        const ecert_listen_t *listen = &site->listens[i];

        fprintf(out, "listen %d %s%s%s\n",
                (listen->proxied ? PROXIED : 0)
                    | (listen->stapling ? STAPLING : 0),
                listen->address, listen->name ? " " : "",
                listen->name ? listen->name : "");
    }
}

int ecert_listen_read(ecert_site_t *site, const char *value, ecert_err_t *err)
{
    char address[ECERT_LISTEN_ADDRESS];
    ecert_listen_t listen = {.address = address};
    int bits, end = 0;

    if (sscanf(value, "%d %59s%n", &bits, address, &end) != 2
        || (value[end] != '\0' && value[end] != ' ')) {
        return ecert_err(err, ECERT_ERR_CONF, NULL,
                         "\"%.100s\" is no address to listen at", value);
    }
    listen.proxied = (bits & PROXIED) != 0;
    listen.stapling = (bits & STAPLING) != 0;
    if (value[end] == ' ') {
        listen.name = (char *)(uintptr_t)(value + end + 1);
    }
    return add(site, &listen, err);
}
