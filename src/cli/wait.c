#include "wait.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <netdb.h>

#include "ecert_clock.h"
#include "ecert_generation.h"
#include "ecert_json.h"
#include "ecert_store.h"
#include "ecert_x509.h"
#include "port.h"
#include "probe.h"
#include "servers.h"

#define STEP_MS      50
#define TRIED_MS     500 /* after a handshake */
#define TRY_SECONDS  3   /* for one handshake */
#define ADDRESS_SIZE 64

/* What one round of asking gave. */
typedef struct {
    size_t servers, serving;
    size_t used;    /* of these: it was in a handshake, by a worker or by us */
    int tried;      /* a handshake was made */
    int64_t end;    /* monotonic ms */
    char late[64];  /* the name of one that does not serve it */
    char says[512]; /* its error */
    char names[256];
} round_t;

/* ---- is it in handshakes? ---------------------------------------------- */

static int is_used(const json_t *site)
{
    json_int_t published =
        json_integer_value(json_object_get(site, "published"));
    const json_t *worker;
    size_t i;

    json_array_foreach(json_object_get(site, "workers"), i, worker)
    {
        if (published != 0
            && json_integer_value(json_object_get(worker, "serves"))
                   == published) {
            return 1;
        }
    }
    return 0;
}

static int is_it(const ecert_probed_t *probed, const char *fingerprint)
{
    char hex[65];

    return sk_X509_num(probed->sent) > 0
           && strcmp(
                  ecert_x509_fingerprint(sk_X509_value(probed->sent, 0), hex),
                  fingerprint)
                  == 0;
}

/* One handshake: 1 with this leaf, 0 nothing can be said, -1 with another, or
 * it fails, why. */
static int try_address(const json_t *one, const char *fingerprint, char *why,
                       size_t size)
{
    const char *where = ecert_json_text(one, "address");
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *to;
    char node[ADDRESS_SIZE];
    const char *port;
    ecert_probed_t probed;
    ecert_err_t ignored;
    int rc = 0;

    snprintf(node, sizeof(node), "%s", where ? where : "");
    port = ecert_cli_split_port(node);
    if (port == NULL || getaddrinfo(node, port, &hints, &to) != 0) {
        return 0;
    }
    if (ecert_probe(to->ai_addr, to->ai_addrlen, ecert_json_text(one, "name"),
                    TRY_SECONDS, 1, where, &probed, &ignored)
        == 0) {
        rc = is_it(&probed, fingerprint) ? 1 : -1;
        snprintf(why, size, "at %s %s", where,
                 probed.failed[0] ? probed.failed
                                  : "another certificate is sent");
        ecert_probed_free(&probed);
    }
    freeaddrinfo(to);
    return rc;
}

/* As try_address, at all addresses where the site is reached, until the time is
 * over. */
static int try_site(round_t *round, const json_t *site, const char *fingerprint)
{
    const json_t *list =
        json_object_get(json_object_get(site, "served"), "addresses");
    const json_t *one;
    int good = 0;
    size_t i;

    json_array_foreach(list, i, one)
    {
        int rc;

        if (json_is_false(json_object_get(one, "asked"))) {
            continue;
        }
        rc = try_address(one, fingerprint, round->says, sizeof(round->says));
        if (rc < 0) {
            return -1;
        }
        good |= rc;
        if (ecert_clock_ms() > round->end) {
            break;
        }
    }
    return good;
}

/* What is published is served only when workers can use it: one that has not
 * tried yet is made to try. */
static int can_use(round_t *round, const json_t *site, const char *fingerprint)
{
    size_t refusing;
    int rc = try_site(round, site, fingerprint);

    round->tried |= rc != 0;
    if (rc < 0) {
        return 0;
    }
    refusing = ecert_cli_refusing(site);
    if (refusing > 0) {
        snprintf(round->says, sizeof(round->says),
                 "%zu of its workers cannot use it; its error log says why",
                 refusing);
        return 0;
    }
    round->used += rc > 0 || is_used(site);
    return 1;
}

/* ---- asking ------------------------------------------------------------ */

static void look_at(round_t *round, const json_t *report, const json_t *site,
                    const char *fingerprint)
{
    const char *server = ecert_json_text(report, "server");
    const char *leaf = ecert_json_text(json_object_get(site, "leaf"), "sha256");
    const char *line = ecert_json_text(json_object_get(site, "error"), "line");
    size_t used = strlen(round->names);

    server = server ? server : "a server";
    round->servers++;
    snprintf(round->names + used, sizeof(round->names) - used, "%s%s",
             used ? ", " : "", server);
    if (leaf != NULL && strcmp(leaf, fingerprint) == 0) {
        if (can_use(round, site, fingerprint)) {
            round->serving++;
            return;
        }
    } else {
        snprintf(round->says, sizeof(round->says), "%s", line ? line : "");
    }
    snprintf(round->late, sizeof(round->late), "%s", server);
}

static int ask(const char *store, const char *ascii, const char *fingerprint,
               round_t *round)
{
    int silent = 0;
    json_t *servers = ecert_cli_servers(store, &silent);
    const json_t *report, *site;
    size_t i, k;

    *round = (round_t){.end = round->end};
    json_array_foreach(servers, i, report)
    {
        json_array_foreach(json_object_get(report, "sites"), k, site)
        {
            if (ecert_cli_is_site(site, ascii)) {
                look_at(round, report, site, fingerprint);
            }
        }
    }
    json_decref(servers);
    return silent == 0 && round->serving == round->servers;
}

/* Another one was installed, or there was a rollback: it will never be served.
 */
static int is_replaced(const char *store, const char *ascii,
                       const char *fingerprint)
{
    const ecert_generation_t *current;
    ecert_generation_t *list;
    char dir[PATH_MAX], hex[65];
    ecert_err_t ignored;
    size_t n;
    int replaced;

    if (ecert_store_site(store, ascii, NULL, dir, &ignored) != 0
        || ecert_generations(dir, &list, &n, &ignored) != 0) {
        return 0;
    }
    current = ecert_generation_current(list, n);
    replaced =
        current != NULL
        && strcmp(ecert_x509_fingerprint(current->leaf, hex), fingerprint) != 0;
    ecert_generations_free(list, n);
    return replaced;
}

static void pause_for(long ms)
{
    const struct timespec step = {0, ms * 1000000L};

    nanosleep(&step, NULL);
}

int ecert_cli_wait(const char *store, const char *ascii,
                   const char *fingerprint, unsigned seconds, ecert_err_t *err)
{
    round_t round = {.end = ecert_clock_ms() + seconds * INT64_C(1000)};

    while (!ask(store, ascii, fingerprint, &round)) {
        if (is_replaced(store, ascii, fingerprint)) {
            ecert_err(err, ECERT_ERR_NOT_SERVED, round.late,
                      "another one was installed meanwhile");
            return ecert_err_hint(err, "see who did it: ecert log %.150s",
                                  ascii);
        }
        if (ecert_clock_ms() > round.end) {
            return ecert_err(err, ECERT_ERR_NOT_SERVED, round.late,
                             "after %u seconds%s%s", seconds,
                             round.says[0] ? "; it says: " : "", round.says);
        }
        pause_for(round.tried ? TRIED_MS : STEP_MS);
    }
    if (round.servers == 0) {
        puts("No running server has this site: nothing to wait for.");
    } else if (round.used < round.servers) {
        printf("Published by %s; no handshake could be tried.\n", round.names);
    } else {
        printf("Served by %s.\n", round.names);
    }
    return 0;
}
