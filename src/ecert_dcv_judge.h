/*
 * What a validator would say to an answer for a validation file, or to the TXT
 * records of a name, in words.  Pure.
 */

#ifndef ECERT_DCV_JUDGE_H
#define ECERT_DCV_JUDGE_H

#include <stddef.h>

#include "ecert_dcv_reply.h"

#define ECERT_DCV_FIRST    100 /* bytes that some validators read */
#define ECERT_DCV_KEPT     4096
#define ECERT_DCV_HOPS     11 /* the first request, ten redirects */
#define ECERT_DCV_URL_MAX  512
#define ECERT_DCV_CONNECT  2 /* seconds that validators wait */
#define ECERT_DCV_READ     5
#define ECERT_DCV_UNDOTTED "/well-known/pki-validation/" /* the usual slip */

typedef enum {
    ECERT_DCV_ANSWERED,      /* what, the members behind it say */
    ECERT_DCV_NOT_PUBLIC,    /* no validator reaches this address */
    ECERT_DCV_NO_CONNECTION, /* refused, unreachable */
    ECERT_DCV_SLOW_CONNECT,
    ECERT_DCV_SLOW_READ,
    ECERT_DCV_NO_TLS,
    ECERT_DCV_NOT_HTTP,
    ECERT_DCV_REDIRECT, /* one that validators do not follow */
    ECERT_DCV_TROUBLES
} ecert_dcv_trouble_t;

typedef struct {
    char url[ECERT_DCV_URL_MAX];
    char location[ECERT_DCV_URL_MAX];
    int status; /* 0: no answer */
} ecert_dcv_hop_t;

/* One request and all that followed.  Texts are escaped. */
typedef struct {
    ecert_dcv_trouble_t trouble;
    char why[256]; /* of the trouble, in words */
    ecert_dcv_hop_t hops[ECERT_DCV_HOPS];
    size_t n_hops;
    int status;
    unsigned char body[ECERT_DCV_KEPT];
    size_t kept, len; /* len: of the whole body, as far as it was read */
    unsigned char digest[32];
    char type[64];           /* Content-Type */
    char coding[32];         /* Content-Encoding */
    char cdn[32];            /* "Cloudflare" */
    char certificate[256];   /* https: it is another name's, whose */
    unsigned char slip[256]; /* the body at the path without the dot */
    size_t slip_len;
    int milliseconds;
} ecert_dcv_answer_t;

typedef enum {
    ECERT_DCV_GOOD,
    ECERT_DCV_UNSURE, /* nothing wrong is seen, but the code is not known */
    ECERT_DCV_SILENT, /* nobody is there */
    ECERT_DCV_BAD
} ecert_dcv_state_t;

typedef struct {
    ecert_dcv_state_t state;
    char what[400]; /* "exactly the code" */
    char hint[320]; /* what to do; "": nothing */
} ecert_dcv_verdict_t;

/* "good", "unsure", "silent", "bad". */
const char *ecert_dcv_state_word(ecert_dcv_state_t state);

/* code: the bytes that must be answered; NULL: nobody knows them here. */
void ecert_dcv_judge(const ecert_dcv_answer_t *answer,
                     const unsigned char *code, size_t len,
                     ecert_dcv_verdict_t *verdict);

/* One verdict among those of a name. */
typedef struct {
    int https;
    ecert_dcv_state_t state;
    const unsigned char *digest; /* of the body; NULL: none */
} ecert_dcv_vote_t;

/*
 * Of a name: good when http or https is right at every address that answers by
 * it, for the CA accepts either.  Bodies that differ are bad, whatever they
 * are: validators ask from several places.
 */
void ecert_dcv_count(const ecert_dcv_vote_t *votes, size_t n,
                     ecert_dcv_verdict_t *verdict);

/* The TXT records of one server.  ttl: what the CA asks for; 0: nothing. */
void ecert_dcv_judge_txt(const ecert_dcv_reply_t *reply, const char *code,
                         unsigned ttl, ecert_dcv_verdict_t *verdict);

#endif
