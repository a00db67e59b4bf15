/* The workings of ecert_net; for ecert_net*.c alone. */

#ifndef ECERT_NET_WORK_H
#define ECERT_NET_WORK_H

#include "ecert_net.h"
#include "ecert_ocsp.h"
#include "ecert_sent.h"
#include "ecert_target.h"

#define ECERT_NET_ERRANDS (ECERT_ERRANDS_MAX + ECERT_LOOKS_MAX)

/* Something that is asked for until it comes. */
typedef struct {
    int64_t due;       /* monotonic ms; 0: nothing is wanted */
    unsigned failures; /* in a row */
    int busy;          /* an errand is under way */
    ecert_err_t error; /* of the last failure; ECERT_OK: none */
    int64_t error_at;  /* Unix time */
} ecert_want_t;

/* The OCSP response for one leaf. */
typedef struct {
    X509 *leaf, *issuer; /* NULL: there is nothing to ask about */
    unsigned char digest[32];
    char *url;
    unsigned char *der; /* in hand; NULL: none */
    size_t len;
    ecert_ocsp_t facts; /* of it */
    int64_t since;      /* monotonic ms: wanted since then */
    ecert_want_t want;
} ecert_net_staple_t;

#define ECERT_NET_TOLD   32   /* failures of a site that were told */
#define ECERT_NET_ABOVE  12   /* certificates on the way to a known root */
#define ECERT_NET_PLACES 1024 /* URLs that failed, of all sites */

/* A URL that failed: for all sites it is left alone until it is due. */
typedef struct {
    char *url;
    uint32_t hash;
    unsigned failures; /* in a row */
    int64_t due;       /* monotonic ms */
    ecert_err_t error;
} ecert_net_place_t;

/* Where something may be got, and which of these comes next. */
typedef struct {
    char **list;
    size_t n, next;
} ecert_net_urls_t;

/* What the last look at one target found. */
typedef enum {
    ECERT_SERVED_NOT_YET = 0,
    ECERT_SERVED_SAME,
    ECERT_SERVED_DIFFERS,
    ECERT_SERVED_UNKNOWN /* nothing to compare: nobody answers */
} ecert_served_state_t;

typedef struct {
    ecert_served_state_t state;
    int64_t due;       /* monotonic ms of the next look; 0: none is wanted */
    int busy;          /* a look is under way */
    unsigned round;    /* an answer to a question of another round is void */
    unsigned looks;    /* in this round */
    int64_t since_ms;  /* monotonic: differs since this look; 0: does not */
    int64_t since, at; /* Unix time of the same, and of the last look */
    int is_told;       /* it has differed for too long, and the log has it */
    ecert_sent_t sent; /* when something was */
    char said[256];    /* the difference, or why there is nothing to compare */
} ecert_net_served_t;

typedef struct {
    const ecert_kept_t *kept;
    unsigned char published[32]; /* the record that the looks are about */
    size_t first, n_targets;     /* in net->targets */
    ecert_net_staple_t served;
    ecert_net_staple_t coming;     /* of a leaf that waits for it */
    int is_waiting;                /* the last look held that leaf off */
    int is_ahead;                  /* what is published is about that leaf */
    ecert_want_t issuers;          /* its failures are rounds over all URLs */
    ecert_net_urls_t urls;         /* where what the chain lacks may be got */
    STACK_OF(X509) *found;         /* of a path that leads to no known root yet:
                                      nobody else sees them; NULL: none */
    char *from[ECERT_NET_ABOVE];   /* the URL of each */
    ecert_net_urls_t above;        /* where the next one of it may be got */
    uint32_t told[ECERT_NET_TOLD]; /* hashes of the last lines about these */
    size_t next_told;
} ecert_net_site_t;

typedef struct {
    ecert_errand_t errand;
    uint32_t site;
    ecert_errand_kind_t kind;
    uint32_t target; /* of a look */
    unsigned round;
    unsigned char digest[32]; /* of the leaf it is about */
    char url[ECERT_ERRAND_URL_MAX];
} ecert_net_errand_t;

struct ecert_net_s {
    ecert_keeper_t *keeper;
    const ecert_conf_t *conf;
    int fetcher;
    ecert_net_site_t *sites;   /* conf->n_sites */
    ecert_net_place_t *places; /* ECERT_NET_PLACES */
    size_t n_places;
    ecert_targets_t targets;
    ecert_net_served_t *served; /* targets.n */
    json_t *past;    /* leaf (hex) to how the agent before failed with it */
    int is_changed;  /* something failed since they were saved */
    int64_t save_at; /* monotonic ms; not before it */
    char *saved;     /* as published; NULL: nothing */
    /* looks have the places behind the others', so that none waits for them */
    ecert_net_errand_t errands[ECERT_NET_ERRANDS];
};

/* When to try again after so many failures, in ms: from 30 seconds, doubled, to
 * an hour, and a fifth more or less. */
int64_t ecert_net_backoff(unsigned failures);
/* Something below n by chance, n > 0. */
int64_t ecert_net_any_below(int64_t n);
/* ms, less up to a tenth by chance: what is due in one second is spread. */
int64_t ecert_net_spread(int64_t ms);

/* A place for an errand, of those from `from` to before `to`; NULL: all are
 * under way. */
ecert_net_errand_t *ecert_net_slot(ecert_net_t *net, size_t from, size_t to);

/* Notes a failure; tells it when it is another one than before. */
void ecert_net_failed(ecert_net_t *net, const ecert_net_site_t *site,
                      ecert_want_t *want, const ecert_err_t *err);
/* The same without a word. */
void ecert_net_note(ecert_net_t *net, ecert_want_t *want,
                    const ecert_err_t *err);
void ecert_net_came(ecert_want_t *want);

/* 64 digits and the end into hex; returns it. */
char *ecert_net_hex(const unsigned char digest[32], char hex[65]);
/* About this leaf. */
int ecert_net_is_of(const ecert_net_staple_t *staple, const X509 *leaf);
/* The element behind the leaf; NULL: none. */
X509 *ecert_net_issuer_of(const ecert_chain_t *chain);

const char *ecert_net_label(const ecert_net_site_t *site);

/* OCSP: ecert_net_staple.c. */
int ecert_net_wants_staple(const ecert_net_t *net, const ecert_net_site_t *site,
                           const X509 *leaf);
/* What was planned by another clock: never later than now seems right. */
void ecert_net_staple_hasten(const ecert_net_t *net,
                             ecert_net_staple_t *staple);
/* Turns to this leaf and issuer (NULL: not known): what the store keeps, else
 * it is wanted. */
void ecert_net_staple_begin(ecert_net_t *net, ecert_net_site_t *site,
                            ecert_net_staple_t *staple, X509 *leaf,
                            X509 *issuer);
/* In hand, good, and not at its end. */
int ecert_net_staple_usable(const ecert_net_t *net,
                            const ecert_net_staple_t *staple);
void ecert_net_staple_clear(ecert_net_staple_t *staple);
/* Sends the request; -1 with err. */
int ecert_net_staple_ask(ecert_net_t *net, ecert_net_staple_t *staple,
                         ecert_net_errand_t *errand, ecert_err_t *err);
/* An answer for a leaf of this site came. */
void ecert_net_staple_take(ecert_net_t *net, ecert_net_site_t *site,
                           const unsigned char *digest,
                           const ecert_frames_t *frames,
                           const ecert_err_t *err);
/* What may not be sent takes back what was published before. */
void ecert_net_staple_publish(ecert_net_t *net, ecert_net_site_t *site,
                              const ecert_net_staple_t *staple);
json_t *ecert_net_staple_report(const ecert_net_t *net,
                                const ecert_net_site_t *site);

/* URLs that failed: ecert_net_places.c.  NULL: none that is to be waited out.
 */
const ecert_net_place_t *ecert_net_place(const ecert_net_t *net,
                                         const char *url);
/* Begins the pause, unless one is on already; each is longer than the last. */
void ecert_net_place_failed(ecert_net_t *net, const char *url,
                            const ecert_err_t *err);
void ecert_net_place_came(ecert_net_t *net, const char *url);
/* One of the agent before: its pause goes on. */
void ecert_net_place_again(ecert_net_t *net, const char *url,
                           const ecert_want_t *want);
void ecert_net_places_free(ecert_net_t *net);
/* FNV-1a. */
uint32_t ecert_net_hash(const char *text);

/* Failures over a reload: ecert_net_failures.c. */
void ecert_net_failures_read(ecert_net_t *net);
/* Publishes them when they have changed, once a second at most. */
void ecert_net_failures_save(ecert_net_t *net);
/* How the agent before failed with this leaf's response; 0: it did not. */
int ecert_net_failures_take(ecert_net_t *net, ecert_net_staple_t *staple);
void ecert_net_failures_free(ecert_net_t *net);

/* CA certificates: ecert_net_issuers.c. */
void ecert_net_issuers_look(ecert_net_t *net, ecert_net_site_t *site);
/* The URL that comes next, or is asked now. */
const char *ecert_net_issuers_url(const ecert_net_site_t *site);
int ecert_net_issuers_ask(ecert_net_t *net, const char *url,
                          ecert_net_errand_t *errand, ecert_err_t *err);
/* The next URL is tried at once, the first again after a pause. */
void ecert_net_issuers_failed(ecert_net_t *net, ecert_net_site_t *site,
                              const ecert_err_t *err);
/* An answer came, for all sites that wait for this URL; touch as in
 * ecert_net_work. */
void ecert_net_issuers_take(ecert_net_t *net, const char *url,
                            const ecert_frames_t *frames,
                            const ecert_err_t *err,
                            void (*touch)(void *ctx, uint32_t site), void *ctx);
void ecert_net_issuers_free(ecert_net_site_t *site);
json_t *ecert_net_issuers_report(const ecert_net_site_t *site);

/*
 * One certificate for one site: ecert_net_above.c.  0: the pool has it, and
 * what led to it; 1: it is right, but what signed it is wanted, too
 * (site->found, site->above); -1: it is refused, err.
 */
int ecert_net_above_take(ecert_net_t *net, ecert_net_site_t *site,
                         const char *url, X509 *cert, ecert_err_t *err);
/* Gives up a path that leads nowhere. */
void ecert_net_above_clear(ecert_net_site_t *site);
/* What is sent: ecert_net_served.c. */
int ecert_net_served_new(ecert_net_t *net, ecert_err_t *err);
void ecert_net_served_free(ecert_net_t *net);
/* After each load: what was published anew is looked at soon. */
void ecert_net_served_look(ecert_net_t *net, ecert_net_site_t *site);
/* Sends out what is due, as far as there is room. */
void ecert_net_served_send(ecert_net_t *net);
void ecert_net_served_take(ecert_net_t *net, const ecert_net_errand_t *errand,
                           const ecert_frames_t *frames,
                           const ecert_err_t *err);
/* When to look next; monotonic ms, 0: never, or when one comes back. */
int64_t ecert_net_served_due(const ecert_net_t *net);
json_t *ecert_net_served_report(const ecert_net_t *net,
                                const ecert_net_site_t *site);

#endif
