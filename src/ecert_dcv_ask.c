#include "ecert_dcv_ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/select.h>

/* Debian 12's c-ares knows only what later ones call deprecated. */
#define CARES_NO_DEPRECATED
#include <ares.h>

#include "ecert_addr.h"
#include "ecert_jail.h"

#define TIMEOUT_MS 1000 /* the second try waits twice as long */
#define TRIES      2
#define CSV_MAX    1024
#define PLACES     1 /* kinds of frames */
#define WHY        2

/* ---- places ------------------------------------------------------------ */

void ecert_dcv_place_port(ecert_dcv_place_t *place, unsigned port)
{
    if (place->address.ss_family == AF_INET) {
        ((struct sockaddr_in *)&place->address)->sin_port =
            htons((uint16_t)port);
    } else {
        ((struct sockaddr_in6 *)&place->address)->sin6_port =
            htons((uint16_t)port);
    }
}

static unsigned port_of(const ecert_dcv_place_t *place)
{
    return place->address.ss_family == AF_INET
               ? ntohs(((const struct sockaddr_in *)&place->address)->sin_port)
               : ntohs(
                   ((const struct sockaddr_in6 *)&place->address)->sin6_port);
}

static void set(ecert_dcv_place_t *place, int family, const void *bytes,
                unsigned port)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    struct sockaddr_in in = {.sin_family = AF_INET};

    memset(place, 0, sizeof(*place));
    if (family == AF_INET) {
        memcpy(&in.sin_addr, bytes, 4);
        memcpy(&place->address, &in, sizeof(in));
        place->len = sizeof(in);
    } else {
        memcpy(&in6.sin6_addr, bytes, 16);
        memcpy(&place->address, &in6, sizeof(in6));
        place->len = sizeof(in6);
    }
    ecert_dcv_place_port(place, port);
}

static int read_port(const char *text, unsigned *port)
{
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 5 || text[digits] != '\0') {
        return -1;
    }
    *port = (unsigned)strtoul(text, NULL, 10);
    return *port > 0 && *port < 65536 ? 0 : -1;
}

/* The address without brackets into out; what is behind it, or NULL. */
static const char *split(const char *text, char *out, size_t size)
{
    int bracket = text[0] == '[';
    const char *end = bracket ? strchr(text, ']') : NULL;
    size_t len;

    text += bracket;
    if (!bracket) {
        const char *colon = strchr(text, ':');

        end = colon != NULL && strchr(colon + 1, ':') == NULL
                  ? colon
                  : text + strlen(text);
    }
    len = end ? (size_t)(end - text) : size;
    if (len >= size) {
        return NULL;
    }
    memcpy(out, text, len);
    out[len] = '\0';
    return end + bracket;
}

int ecert_dcv_place(const char *text, unsigned port, ecert_dcv_place_t *out)
{
    char address[INET6_ADDRSTRLEN];
    const char *rest = split(text, address, sizeof(address));
    unsigned char bytes[16];
    int family;

    if (rest == NULL
        || (rest[0] != '\0'
            && (rest[0] != ':' || read_port(rest + 1, &port) != 0))) {
        return 0;
    }
    family = strchr(address, ':') ? AF_INET6 : AF_INET;
    if (inet_pton(family, address, bytes) != 1) {
        return 0;
    }
    set(out, family, bytes, port);
    return 1;
}

char *ecert_dcv_place_text(const ecert_dcv_place_t *place, int with_port,
                           char *out)
{
    int six = place->address.ss_family == AF_INET6;
    char address[INET6_ADDRSTRLEN] = "?";
    const void *bytes =
        six ? (const void *)&((const struct sockaddr_in6 *)&place->address)
                  ->sin6_addr
            : (const void *)&((const struct sockaddr_in *)&place->address)
                  ->sin_addr;

    inet_ntop(six ? AF_INET6 : AF_INET, bytes, address, sizeof(address));
    if (with_port) {
        snprintf(out, ECERT_DCV_PLACE, "%s%s%s:%u", six ? "[" : "", address,
                 six ? "]" : "", port_of(place));
    } else {
        snprintf(out, ECERT_DCV_PLACE, "%s", address);
    }
    return out;
}

int ecert_dcv_place_public(const ecert_dcv_place_t *place)
{
    ecert_dcv_place_t web = *place;

    ecert_dcv_place_port(&web, 80); /* the rule is about the address alone */
    return place->given
           || ecert_addr_allowed((const struct sockaddr *)&web.address, NULL,
                                 0);
}

/* ---- one question ------------------------------------------------------ */

typedef struct {
    unsigned type;
    const char *name;
    ecert_dcv_reply_t *reply;
    char *why;
    int done, rc;
} question_t;

static void take(void *ctx, int status, int timeouts, unsigned char *bytes,
                 int len)
{
    question_t *question = ctx;

    (void)timeouts;
    question->done = 1;
    if (bytes == NULL || len <= 0) {
        snprintf(question->why, ECERT_DNS_NAME, "%s",
                 status == ARES_ETIMEOUT       ? "no answer in time"
                 : status == ARES_ECONNREFUSED ? "no server answers"
                                               : ares_strerror(status));
        return;
    }
    question->rc = ecert_dcv_reply(bytes, (size_t)len, question->type,
                                   question->name, question->reply);
    if (question->rc != 0) {
        snprintf(question->why, ECERT_DNS_NAME, "the answer is malformed");
    }
}

static int open_channel(ares_channel *channel, const ecert_dcv_place_t *servers,
                        size_t n, int recursive)
{
    struct ares_options options = {
        /* errors are answers here, too */
        .flags = ARES_FLAG_NOCHECKRESP | ARES_FLAG_NOSEARCH
                 | ARES_FLAG_NOALIASES | (recursive ? 0 : ARES_FLAG_NORECURSE),
        .timeout = TIMEOUT_MS,
        .tries = TRIES,
    };
    char csv[CSV_MAX] = "", text[ECERT_DCV_PLACE];

    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS
        || ares_init_options(channel, &options,
                             ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS
                                 | ARES_OPT_TRIES)
               != ARES_SUCCESS) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(csv);

        ecert_dcv_place_text(&servers[i], 1, text);
        snprintf(csv + len, sizeof(csv) - len, "%s%s", len ? "," : "", text);
    }
    if (n > 0 && ares_set_servers_ports_csv(*channel, csv) != ARES_SUCCESS) {
        ares_destroy(*channel);
        return -1;
    }
    return 0;
}

static void turn(ares_channel channel, const question_t *question)
{
    while (!question->done) {
        struct timeval wait;
        fd_set in, out;
        int n;

        FD_ZERO(&in);
        FD_ZERO(&out);
        n = ares_fds(channel, &in, &out);
        if (n == 0) {
            return;
        }
        select(n, &in, &out, NULL, ares_timeout(channel, NULL, &wait));
        ares_process(channel, &in, &out);
    }
}

int ecert_dcv_ask(const ecert_dcv_place_t *servers, size_t n, int recursive,
                  const char *name, unsigned type, ecert_dcv_reply_t *reply,
                  char *why)
{
    question_t question = {type, name, reply, why, 0, -1};
    ares_channel channel;

    memset(reply, 0, sizeof(*reply));
    snprintf(why, ECERT_DNS_NAME, "there is no answer");
    if (open_channel(&channel, servers, n, recursive) != 0) {
        snprintf(why, ECERT_DNS_NAME, "c-ares cannot be started");
        return -1;
    }
    ares_query(channel, name, 1, (int)type, take, &question);
    turn(channel, &question);
    ares_destroy(channel);
    return question.rc;
}

size_t ecert_dcv_resolvers(ecert_dcv_place_t *out, size_t max)
{
    struct ares_addr_port_node *list = NULL;
    ares_channel channel;
    size_t n = 0;

    if (open_channel(&channel, NULL, 0, 1) != 0) {
        return 0;
    }
    if (ares_get_servers_ports(channel, &list) == ARES_SUCCESS) {
        for (const struct ares_addr_port_node *one = list;
             one != NULL && n < max; one = one->next) {
            set(&out[n], one->family, &one->addr,
                one->udp_port ? (unsigned)one->udp_port : 53);
            out[n++].given = 1;
        }
    }
    ares_free_data(list);
    ares_destroy(channel);
    return n;
}

/* ---- where a host is --------------------------------------------------- */

static size_t add_records(const ecert_dcv_reply_t *reply, int family,
                          unsigned port, ecert_dcv_place_t *out, size_t n)
{
    for (size_t i = 0; i < reply->n && n < ECERT_DCV_ADDRESSES; i++) {
        set(&out[n++], family, reply->records[i].value, port);
    }
    return n;
}

static size_t look_up(const ecert_dcv_net_t *net, const char *host,
                      unsigned port, ecert_dcv_place_t *out, char *why)
{
    ecert_dcv_reply_t reply;
    size_t n = 0;

    if (ecert_dcv_ask(net->servers, net->n_servers, 1, host, ECERT_DNS_A,
                      &reply, why)
        != 0) {
        return 0;
    }
    if (reply.code != ECERT_DNS_OK) {
        snprintf(why, ECERT_DNS_NAME, "%s",
                 reply.code == ECERT_DNS_NXDOMAIN
                     ? "there is no such name in the DNS"
                     : "the name server answers with an error");
        return 0;
    }
    n = add_records(&reply, AF_INET, port, out, n);
    if (ecert_dcv_ask(net->servers, net->n_servers, 1, host, ECERT_DNS_AAAA,
                      &reply, why)
        == 0) {
        n = add_records(&reply, AF_INET6, port, out, n);
    }
    if (n == 0) {
        snprintf(why, ECERT_DNS_NAME,
                 "the name has no address in the DNS (neither A nor AAAA)");
    }
    return n;
}

static size_t from_routes(const ecert_dcv_net_t *net, const char *host,
                          unsigned port, ecert_dcv_place_t *out)
{
    size_t n = 0;

    for (size_t i = 0; i < net->n_routes && n < ECERT_DCV_ADDRESSES; i++) {
        if (net->routes[i].port == port
            && strcasecmp(net->routes[i].host, host) == 0) {
            out[n] = net->routes[i].place;
            out[n++].given = 1;
        }
    }
    return n;
}

size_t ecert_dcv_places(const ecert_dcv_net_t *net, const char *host,
                        unsigned port, ecert_dcv_place_t *out, char *why)
{
    size_t n = from_routes(net, host, port, out);

    why[0] = '\0';
    if (n > 0) {
        return n;
    }
    if (ecert_dcv_place(host, port, &out[0])) {
        return 1;
    }
    return look_up(net, host, port, out, why);
}

/* ---- in a jail --------------------------------------------------------- */

static int work(void *ctx, ecert_frames_t *out, ecert_err_t *err)
{
    ecert_dcv_place_t places[ECERT_DCV_ADDRESSES];
    const ecert_dcv_where_t *job = ctx;
    char why[ECERT_DNS_NAME];
    size_t n;

    memset(places, 0, sizeof(places));
    n = ecert_dcv_places(job->net, job->host, job->port, places, why);
    return ecert_frames_add(out, PLACES, places, n * sizeof(*places), err) == 0
               ? ecert_frames_add(out, WHY, why, strlen(why), err)
               : -1;
}

static int take_places(const ecert_frames_t *frames, ecert_dcv_place_t *out,
                       size_t *n, char *why)
{
    const ecert_frame_t *places, *words;

    if (frames->n != 2) {
        return -1;
    }
    places = &frames->frames[0];
    words = &frames->frames[1];
    if (places->kind != PLACES || words->kind != WHY
        || places->len % sizeof(*out) != 0
        || places->len > ECERT_DCV_ADDRESSES * sizeof(*out)) {
        return -1;
    }
    *n = places->len / sizeof(*out);
    memcpy(out, places->bytes, places->len);
    for (size_t i = 0; i < *n; i++) {
        int family = out[i].address.ss_family;

        if (family != AF_INET && family != AF_INET6) {
            return -1;
        }
        out[i].len = family == AF_INET ? sizeof(struct sockaddr_in)
                                       : sizeof(struct sockaddr_in6);
        out[i].given = 0; /* that is not the child's to say */
    }
    ecert_frame_text(why, ECERT_DNS_NAME, (const char *)words->bytes,
                     words->len);
    return 0;
}

static int take_where(ecert_jail_job_t *job, ecert_dcv_where_t *where)
{
    int rc = job->rc;

    if (rc == 0) {
        rc = take_places(&job->frames, where->places, &where->n, where->why);
        if (rc != 0) {
            ecert_err(&job->err, ECERT_ERR_DAMAGED, where->host, NULL);
        }
    }
    ecert_frames_free(&job->frames);
    return rc;
}

int ecert_dcv_where(ecert_dcv_where_t *list, size_t n, ecert_err_t *err)
{
    ecert_jail_job_t *jobs = calloc(n + 1, sizeof(*jobs));
    size_t asked = 0;
    int rc = 0;

    if (jobs == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    for (size_t i = 0; i < n; i++) {
        ecert_dcv_where_t *one = &list[i];

        one->n = from_routes(one->net, one->host, one->port, one->places);
        if (one->n == 0) {
            jobs[asked].ctx = one;
            jobs[asked++].file = one->host;
        }
    }
    ecert_jail_run_each(work, jobs, asked, NULL, NULL);
    for (size_t i = 0; i < asked; i++) {
        if (take_where(&jobs[i], jobs[i].ctx) != 0 && rc == 0) {
            *err = jobs[i].err;
            rc = -1;
        }
    }
    free(jobs);
    return rc;
}
