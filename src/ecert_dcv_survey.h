/*
 * The TXT records of a name, at each of its zone's own servers and at the
 * resolvers.
 */

#ifndef ECERT_DCV_SURVEY_H
#define ECERT_DCV_SURVEY_H

#include "ecert_dcv_ask.h"

#define ECERT_DCV_SERVERS 16

typedef struct {
    char server[ECERT_DNS_NAME];  /* its name; "": a resolver */
    char place[ECERT_DCV_PLACE];  /* its address */
    int authority;                /* asked as one of the zone's own */
    char silence[ECERT_DNS_NAME]; /* why there is no answer; "": there is */
    ecert_dcv_reply_t reply;
} ecert_dcv_asked_t;

typedef struct {
    char zone[ECERT_DNS_NAME]; /* "": not found */
    ecert_dcv_asked_t asked[ECERT_DCV_SERVERS];
    size_t n;
    char elsewhere[ECERT_DNS_NAME]; /* a wrong name that has the code; "" */
} ecert_dcv_survey_t;

/*
 * All of these names, in jails, a few at a time.  Servers that the
 * administrator gave are asked alone, in both ways, without recursion and with
 * it; such a one that is none of the zone's own is taken for a resolver.  With
 * net->resolves they are asked in place of the system's resolvers.  What comes
 * is told to done as ecert_dcv_probe does it.
 */
int ecert_dcv_survey(const ecert_dcv_net_t *net, const char *const *names,
                     size_t n, const char *code,
                     void (*done)(void *ctx, size_t i,
                                  const ecert_dcv_survey_t *survey,
                                  const ecert_err_t *err),
                     void *ctx, ecert_err_t *err);

#endif
