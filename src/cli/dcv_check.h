/* Between the files of `ecert dcv check`. */

#ifndef ECERT_CLI_DCV_CHECK_H
#define ECERT_CLI_DCV_CHECK_H

#include <jansson.h>

#include "ecert_dcv_ask.h"
#include "ecert_dcv_judge.h"
#include "ecert_err.h"

typedef struct {
    const char *store;
    const char *site; /* A-label */
    ecert_dcv_net_t net;
    const char *file; /* name of the validation file */
    const char *code; /* of the TXT method; NULL: by file */
    unsigned ttl;
} ecert_dcv_check_t;

/*
 * What is found for each name: "verdict", "what", "hint", and "probes" (by
 * file) or "servers" (by TXT).  Names are looked at together; tell gets each
 * one's new object in their order, as soon as it is there.  -1 and err when one
 * cannot be looked at.
 */
int ecert_dcv_check_http(const ecert_dcv_check_t *check,
                         const char *const *names, size_t n,
                         void (*tell)(void *ctx, json_t *one), void *ctx,
                         ecert_err_t *err);
int ecert_dcv_check_dns(const ecert_dcv_check_t *check,
                        const char *const *names, size_t n,
                        void (*tell)(void *ctx, json_t *one), void *ctx,
                        ecert_err_t *err);

/* Sets state (under this member), what and hint. */
void ecert_dcv_check_set(json_t *object, const char *member,
                         const ecert_dcv_verdict_t *verdict);

#endif
