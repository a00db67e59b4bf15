#include "ecert_addr.h"

#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/*
 * What is not globally reachable.  IPv6: all but 2000::/3, of which alone IANA
 * gives addresses to anybody, and what is special in there.
 */
static const struct {
    unsigned char address[4];
    unsigned bits;
} special4[] = {
    {{0, 0, 0, 0}, 8},       /* this network */
    {{10, 0, 0, 0}, 8},      /* private */
    {{100, 64, 0, 0}, 10},   /* shared by a provider's customers */
    {{127, 0, 0, 0}, 8},     /* loopback */
    {{169, 254, 0, 0}, 16},  /* link-local */
    {{172, 16, 0, 0}, 12},   /* private */
    {{192, 0, 0, 0}, 24},    /* protocol assignments */
    {{192, 0, 2, 0}, 24},    /* documentation */
    {{192, 88, 99, 0}, 24},  /* 6to4 relays, given up */
    {{192, 168, 0, 0}, 16},  /* private */
    {{198, 18, 0, 0}, 15},   /* benchmarks */
    {{198, 51, 100, 0}, 24}, /* documentation */
    {{203, 0, 113, 0}, 24},  /* documentation */
    {{224, 0, 0, 0}, 4},     /* multicast */
    {{240, 0, 0, 0}, 4},     /* reserved, and broadcast */
};

static const ecert_network_t special6[] = {
    {{0}, 3},           /* ::, ::1, 64:ff9b:1::/48, 100::/64, unassigned */
    {{0x40}, 2},        /* 5f00::/16, unassigned */
    {{0x80}, 1},        /* fc00::/7, fe80::/10, fec0::/10, ff00::/8 */
    {{0x20, 0x01}, 23}, /* protocol assignments, Teredo */
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
    {{0x3f, 0xff}, 20},             /* documentation */
};

/* Networks whose addresses stand for the IPv4 address at this place. */
static const struct {
    ecert_network_t network;
    size_t at;
} embedded[] = {
    {{{[10] = 0xff, 0xff}, 96}, 12},
    {{{0x00, 0x64, 0xff, 0x9b}, 96}, 12},
    {{{0x20, 0x02}, 16}, 2},
};

#define MAPPED (&embedded[0].network)

int ecert_addr_is(const char *text)
{
    unsigned char bytes[16];

    return text[0] == '[' || inet_pton(AF_INET, text, bytes) == 1
           || inet_pton(AF_INET6, text, bytes) == 1;
}

static int within(const unsigned char *address, const unsigned char *network,
                  unsigned bits)
{
    unsigned bytes = bits / 8;
    unsigned char mask = (unsigned char)(0xff00u >> bits % 8);

    return memcmp(address, network, bytes) == 0
           && (mask == 0 || ((address[bytes] ^ network[bytes]) & mask) == 0);
}

int ecert_addr_is_ipv4(const unsigned char address[16])
{
    return within(address, MAPPED->address, MAPPED->bits);
}

static int special(const unsigned char *address)
{
    for (size_t i = 0; i < COUNT(special4); i++) {
        if (within(address, special4[i].address, special4[i].bits)) {
            return 1;
        }
    }
    return 0;
}

static int is_global(const unsigned char *address)
{
    for (size_t i = 0; i < COUNT(embedded); i++) {
        const ecert_network_t *network = &embedded[i].network;

        if (within(address, network->address, network->bits)) {
            return !special(address + embedded[i].at);
        }
    }
    for (size_t i = 0; i < COUNT(special6); i++) {
        if (within(address, special6[i].address, special6[i].bits)) {
            return 0;
        }
    }
    return 1;
}

/* Who writes ::/0 means IPv6: IPv4 is not in there. */
static int is_listed(const unsigned char *address,
                     const ecert_network_t *allowed, size_t n)
{
    unsigned least = ecert_addr_is_ipv4(address) ? MAPPED->bits : 0;

    for (size_t i = 0; i < n; i++) {
        if (allowed[i].bits >= least
            && within(address, allowed[i].address, allowed[i].bits)) {
            return 1;
        }
    }
    return 0;
}

static void map(unsigned char *address, const void *ipv4)
{
    memcpy(address, MAPPED->address, 12);
    memcpy(address + 12, ipv4, 4);
}

int ecert_addr_bytes(const struct sockaddr *from, unsigned char address[16],
                     unsigned *port)
{
    struct sockaddr_in in;
    struct sockaddr_in6 in6;

    switch (from->sa_family) {
    case AF_INET:
        memcpy(&in, from, sizeof(in));
        map(address, &in.sin_addr);
        *port = ntohs(in.sin_port);
        return 0;
    case AF_INET6:
        memcpy(&in6, from, sizeof(in6));
        memcpy(address, &in6.sin6_addr, 16);
        *port = ntohs(in6.sin6_port);
        return 0;
    default:
        return -1;
    }
}

int ecert_addr_allowed(const struct sockaddr *address,
                       const ecert_network_t *allowed, size_t n)
{
    unsigned char bytes[16];
    unsigned port;

    if (ecert_addr_bytes(address, bytes, &port) != 0) {
        return 0;
    }
    if (is_listed(bytes, allowed, n)) {
        return 1;
    }
    return (port == 80 || port == 443) && is_global(bytes);
}

/* One to three digits, not above the bound; -1 otherwise. */
static int parse_bits(const char *text, unsigned bound, unsigned *bits)
{
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 3 || text[digits] != '\0') {
        return -1;
    }
    *bits = 0;
    for (; *text; text++) {
        *bits = *bits * 10 + (unsigned)(*text - '0');
    }
    return *bits <= bound ? 0 : -1;
}

/* Takes away what is set behind the prefix; 1 when there was anything. */
static int trim(ecert_network_t *network)
{
    int any = 0;

    for (unsigned bit = network->bits; bit < 128; bit++) {
        unsigned char mask = (unsigned char)(0x80 >> bit % 8);

        any |= network->address[bit / 8] & mask;
        network->address[bit / 8] &= (unsigned char)~mask;
    }
    return any != 0;
}

static int loose_bits(const char *text, const ecert_network_t *network,
                      unsigned width, ecert_err_t *err)
{
    char right[INET6_ADDRSTRLEN];

    inet_ntop(width == 32 ? AF_INET : AF_INET6,
              network->address + (width == 32 ? 12 : 0), right, sizeof(right));
    return ecert_err(err, ECERT_ERR_CONF, text,
                     "bits are set behind the prefix; the network is %s/%u",
                     right, network->bits - (128 - width));
}

/* 32 or 128, as wide as the address is; 0: it is none. */
static unsigned parse_address(const char *text, size_t len, unsigned char *out)
{
    char address[INET6_ADDRSTRLEN];
    unsigned char ipv4[4];

    if (len >= sizeof(address)) {
        return 0;
    }
    memcpy(address, text, len);
    address[len] = '\0';
    if (inet_pton(AF_INET, address, ipv4) == 1) {
        map(out, ipv4);
        return 32;
    }
    return inet_pton(AF_INET6, address, out) == 1 ? 128 : 0;
}

int ecert_network_parse(const char *text, ecert_network_t *network,
                        ecert_err_t *err)
{
    size_t len = strcspn(text, "/");
    unsigned width = parse_address(text, len, network->address);
    unsigned bits = width;

    if (width == 0) {
        return ecert_err(err, ECERT_ERR_CONF, text,
                         "an address or a network is wanted, such as "
                         "192.168.1.10, 10.0.0.0/8 or fd00::/8");
    }
    if (text[len] == '/' && parse_bits(text + len + 1, width, &bits) != 0) {
        return ecert_err(err, ECERT_ERR_CONF, text,
                         "the prefix is a number from 0 to %u", width);
    }
    network->bits = bits + (128 - width);
    return trim(network) ? loose_bits(text, network, width, err) : 0;
}
