/*
 * Questions to name servers, by c-ares: /etc/hosts, which says what this
 * machine thinks of a name and not what the world does, is left out.
 */

#ifndef ECERT_DCV_ASK_H
#define ECERT_DCV_ASK_H

#include <stddef.h>

#include <sys/socket.h>

#include "ecert_dcv_reply.h"
#include "ecert_err.h"

#define ECERT_DCV_ADDRESSES 16 /* of one name */
#define ECERT_DCV_PLACE     64 /* "[2001:db8::1]:80" */

/* An address and a port. */
typedef struct {
    struct sockaddr_storage address;
    socklen_t len;
    int given; /* by the administrator: it may be any */
} ecert_dcv_place_t;

/* --resolve: where a URL with this host and port leads to. */
typedef struct {
    char host[ECERT_DNS_NAME];
    unsigned port;
    ecert_dcv_place_t place;
} ecert_dcv_route_t;

typedef struct {
    ecert_dcv_route_t *routes;
    size_t n_routes;
    ecert_dcv_place_t *servers; /* of names; none: those of the system */
    size_t n_servers;
    int resolves; /* they stand for the system's: the zone's own are asked, too,
                     where this is about a zone */
} ecert_dcv_net_t;

/*
 * "127.0.0.1", "[::1]:5300"; without a port, `port`.  0: it is none.  Without
 * brackets all of it is an address.
 */
int ecert_dcv_place(const char *text, unsigned port, ecert_dcv_place_t *out);
void ecert_dcv_place_port(ecert_dcv_place_t *place, unsigned port);
char *ecert_dcv_place_text(const ecert_dcv_place_t *place, int with_port,
                           char *out);

/* 1 when validators can reach it, or the administrator gave it. */
int ecert_dcv_place_public(const ecert_dcv_place_t *place);

/*
 * One question to these servers (none: the system's), the first that answers.
 * For a process in a jail.  -1: no answer, why (ECERT_DNS_NAME bytes) says it.
 */
int ecert_dcv_ask(const ecert_dcv_place_t *servers, size_t n, int recursive,
                  const char *name, unsigned type, ecert_dcv_reply_t *reply,
                  char *why);

/* The name servers of the system; how many. */
size_t ecert_dcv_resolvers(ecert_dcv_place_t *out, size_t max);

/*
 * Where a host's port is: --resolve, else the DNS.  For a process in a jail.
 * How many; 0: why says it.
 */
size_t ecert_dcv_places(const ecert_dcv_net_t *net, const char *host,
                        unsigned port, ecert_dcv_place_t *out, char *why);

/* One such question, and its answer. */
typedef struct {
    const ecert_dcv_net_t *net;
    const char *host;
    unsigned port;
    ecert_dcv_place_t places[ECERT_DCV_ADDRESSES];
    size_t n;
    char why[ECERT_DNS_NAME];
} ecert_dcv_where_t;

/* All of these in jails, a few at a time.  -1: err, of the first that failed.
 */
int ecert_dcv_where(ecert_dcv_where_t *list, size_t n, ecert_err_t *err);

#endif
