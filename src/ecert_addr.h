/*
 * Addresses as bytes, and which of them the fetcher may connect to: public
 * ones, and those that the administrator allowed.  Pure.
 */

#ifndef ECERT_ADDR_H
#define ECERT_ADDR_H

#include <stddef.h>
#include <stdint.h>

#include <sys/socket.h>

#include "ecert_err.h"

/* A network, IPv4 as IPv4-mapped IPv6. */
typedef struct {
    unsigned char address[16];
    unsigned bits; /* of 128 */
} ecert_network_t;

/* "10.0.0.0/8", "127.0.0.1", "fd00::/8"; CONF, saying what is wrong (bits set
 * behind the prefix, too). */
int ecert_network_parse(const char *text, ecert_network_t *network,
                        ecert_err_t *err);

/* Whether this stands where a host name could, but is an address: "192.0.2.1",
 * "::1", "[::1]". */
int ecert_addr_is(const char *text);

/*
 * The address, IPv4 as IPv4-mapped IPv6 (RFC 4291, 2.5.5.2), and the port in
 * host order; -1: neither IPv4 nor IPv6.
 */
int ecert_addr_bytes(const struct sockaddr *from, unsigned char address[16],
                     unsigned *port);

/* 1 for an IPv4 address in this form; its bytes are the last four. */
int ecert_addr_is_ipv4(const unsigned char address[16]);

/*
 * 1 when this address may be connected to at this port (host order): one that
 * is in `allowed`, at any port; else one that is globally reachable (the IANA
 * special-purpose registries, RFC 6890; also inside 64:ff9b::/96, 2002::/16 and
 * IPv4-mapped forms), at 80 or 443.
 */
int ecert_addr_allowed(const struct sockaddr *address,
                       const ecert_network_t *allowed, size_t n);

#endif
