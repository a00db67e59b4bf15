/*
 * The clients of auto/bench that tell time.
 *
 *   client handshake [-n ROUNDS] [-w WARM-UP] [-s NAME] [-v 1.2|1.3] PORT...
 *
 * Full handshakes with each port in turn, one after the other, so that what
 * else the machine does meets all of them alike.  Prints a line for each port:
 * its number, how many failed, and the ns of each, from connect to the
 * server's close.  A # in NAME is the number of the round.
 *
 *   client until -l CERTIFICATE [-r FROM=TO]... [-k PID=SIGNAL] [-s NAME] PORT
 *
 * Renames, sends the signal, and shakes hands until the certificate is served,
 * twenty times on end.  Prints: ns to the end of the first handshake with it,
 * ns to the first of the twenty, handshakes, those with another certificate
 * after the first, those that failed.
 */

#include "tls.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/pem.h>

enum {
    PORTS_MAX = 8,
    RENAMES_MAX = 4,
    NAME_MAX_LEN = 253,
    STREAK = 20
};

static const uint64_t deadline = 30000000000; /* ns */

typedef struct {
    const char *name;
    const char *leaf;
    char *renames[RENAMES_MAX];
    int n_renames;
    char *signal;
    int rounds;
    int warm_up;
    int version;
    uint16_t ports[PORTS_MAX];
    int n_ports;
} options_t;

static int usage(void)
{
    fputs("usage: client handshake|until [OPTION]... PORT...\n", stderr);
    return 2;
}

/* Splits "A=B" in place; B, or NULL. */
static char *second_half(char *text)
{
    char *equals = strchr(text, '=');

    if (equals == NULL) {
        return NULL;
    }
    *equals = '\0';
    return equals + 1;
}

static int take_option(options_t *o, int letter, char *value)
{
    switch (letter) {
    case 'n':
        o->rounds = atoi(value);
        return o->rounds > 0 ? 0 : -1;
    case 'w':
        o->warm_up = atoi(value);
        return o->warm_up >= 0 ? 0 : -1;
    case 's':
        o->name = value;
        return strlen(value) + 10 <= NAME_MAX_LEN ? 0 : -1;
    case 'v':
        o->version = strcmp(value, "1.2") == 0   ? TLS1_2_VERSION
                     : strcmp(value, "1.3") == 0 ? TLS1_3_VERSION
                                                 : 0;
        return o->version != 0 ? 0 : -1;
    case 'l':
        o->leaf = value;
        return 0;
    case 'r':
        if (o->n_renames == RENAMES_MAX) {
            return -1;
        }
        o->renames[o->n_renames++] = value;
        return 0;
    case 'k':
        o->signal = value;
        return 0;
    default:
        return -1;
    }
}

static int take_options(options_t *o, int argc, char **argv)
{
    int letter, port;

    while ((letter = getopt(argc, argv, "n:w:s:v:l:r:k:")) != -1) {
        if (take_option(o, letter, optarg) != 0) {
            return -1;
        }
    }
    for (; optind < argc; optind++) {
        port = atoi(argv[optind]);
        if (port <= 0 || port > 65535 || o->n_ports == PORTS_MAX) {
            return -1;
        }
        o->ports[o->n_ports++] = (uint16_t)port;
    }
    return o->n_ports > 0 ? 0 : -1;
}

/* The name of a round: # is its number. */
static void name_of(const options_t *o, int round, char *name)
{
    const char *mark = strchr(o->name, '#');

    if (mark == NULL) {
        snprintf(name, NAME_MAX_LEN + 1, "%s", o->name);
        return;
    }
    snprintf(name, NAME_MAX_LEN + 1, "%.*s%d%s", (int)(mark - o->name), o->name,
             round, mark + 1);
}

static void print_times(const options_t *o, const uint64_t *ns)
{
    int failed;

    for (int p = 0; p < o->n_ports; p++) {
        const uint64_t *mine = ns + (size_t)p * (size_t)o->rounds;

        failed = 0;
        for (int i = 0; i < o->rounds; i++) {
            failed += mine[i] == 0;
        }
        printf("%u %d", o->ports[p], failed);
        for (int i = 0; i < o->rounds; i++) {
            if (mine[i] != 0) {
                printf(" %llu", (unsigned long long)mine[i]);
            }
        }
        putchar('\n');
    }
}

static int handshakes(const options_t *o, SSL_CTX *ctx)
{
    uint64_t *ns = calloc((size_t)o->rounds * (size_t)o->n_ports, sizeof(*ns));
    char name[NAME_MAX_LEN + 1];
    tls_seen_t seen;

    if (ns == NULL) {
        return 1;
    }
    for (int i = -o->warm_up; i < o->rounds; i++) {
        name_of(o, i < 0 ? 0 : i, name);
        for (int p = 0; p < o->n_ports; p++) {
            /* none is always first */
            int at = (p + o->warm_up + i) % o->n_ports;
            int rc = tls_connect(ctx, o->ports[at], name, &seen);

            if (i >= 0 && rc == 0) {
                ns[(size_t)at * (size_t)o->rounds + (size_t)i] =
                    seen.closed - seen.begin;
            }
        }
    }
    print_times(o, ns);
    free(ns);
    return 0;
}

static int read_digest(const char *file, unsigned char *digest)
{
    FILE *in = fopen(file, "r");
    X509 *cert = in != NULL ? PEM_read_X509(in, NULL, NULL, NULL) : NULL;
    int ok = cert != NULL && X509_digest(cert, EVP_sha256(), digest, NULL) == 1;

    X509_free(cert);
    if (in != NULL) {
        fclose(in);
    }
    return ok ? 0 : -1;
}

/* What a swap consists of. */
static int act(const options_t *o)
{
    char *to;

    for (int i = 0; i < o->n_renames; i++) {
        to = second_half(o->renames[i]);
        if (to == NULL || rename(o->renames[i], to) != 0) {
            perror(o->renames[i]);
            return -1;
        }
    }
    if (o->signal == NULL) {
        return 0;
    }
    to = second_half(o->signal);
    if (to == NULL || atoi(o->signal) <= 1
        || kill(atoi(o->signal), atoi(to)) != 0) {
        perror("kill");
        return -1;
    }
    return 0;
}

static int until(const options_t *o, SSL_CTX *ctx)
{
    unsigned char wanted[TLS_DIGEST];
    uint64_t begin, first = 0, settled = 0;
    int n = 0, old = 0, failed = 0, streak = 0;
    tls_seen_t seen;

    if (o->leaf == NULL || read_digest(o->leaf, wanted) != 0) {
        return usage();
    }
    begin = tls_now();
    if (act(o) != 0) {
        return 1;
    }
    for (; streak < STREAK && tls_now() - begin < deadline; n++) {
        if (tls_connect(ctx, o->ports[0], o->name, &seen) != 0) {
            failed++;
        } else if (memcmp(seen.leaf, wanted, sizeof(wanted)) != 0) {
            old += first != 0;
            streak = 0;
        } else if (streak++ == 0) {
            settled = seen.done - begin;
            first = first != 0 ? first : settled;
        }
    }
    printf("%llu %llu %d %d %d\n", (unsigned long long)first,
           (unsigned long long)settled, n, old, failed);
    return streak == STREAK ? 0 : 1;
}

int main(int argc, char **argv)
{
    options_t o = {.name = "www.example.hk", .rounds = 1};
    SSL_CTX *ctx;
    int rc;

    if (argc < 2 || take_options(&o, argc - 1, argv + 1) != 0) {
        return usage();
    }
    signal(SIGPIPE, SIG_IGN);
    ctx = tls_client(o.version);
    if (ctx == NULL) {
        return 1;
    }
    rc = strcmp(argv[1], "handshake") == 0 ? handshakes(&o, ctx)
         : strcmp(argv[1], "until") == 0   ? until(&o, ctx)
                                           : usage();
    SSL_CTX_free(ctx);
    return rc;
}
