/*
 * Where the server's own sites are looked at, and by what name: out of the
 * configuration alone.  Agent and fetcher make the same list of it, so that an
 * errand is a number in it and nothing else.
 */

#ifndef ECERT_TARGET_H
#define ECERT_TARGET_H

#include <stddef.h>
#include <stdint.h>

#include <netinet/in.h>
#include <sys/socket.h>

#include "ecert_conf.h"
#include "ecert_name.h"

typedef union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} ecert_sockaddr_t;

typedef struct {
    uint32_t site; /* index */
    ecert_sockaddr_t address;
    ecert_sockaddr_t other; /* AF_UNSPEC, or where to go when the machine has
                               no such address */
    char where[ECERT_LISTEN_ADDRESS]; /* "127.0.0.1:443" */
    char host[ECERT_NAME_MAX];        /* SNI, an A-label; "": none */
    int stapling;    /* an OCSP response is sent there, when there is one */
    const char *why; /* in words, why it cannot be looked at; NULL: it can */
} ecert_target_t;

typedef struct {
    ecert_target_t *list; /* by site */
    size_t n;
} ecert_targets_t;

/*
 * An address that stands for all of its family means the loopback one; of IPv6
 * that of IPv4 where the machine has no IPv6.  Of a wildcard's names one is
 * taken; a virtual host without a name is asked for the site's.
 */
int ecert_targets_make(const ecert_conf_t *conf, ecert_targets_t *out,
                       ecert_err_t *err);
void ecert_targets_free(ecert_targets_t *targets);

socklen_t ecert_sockaddr_len(const ecert_sockaddr_t *address);

#endif
