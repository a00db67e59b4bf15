/* What verify.c looks at, and verify_judge.c judges. */

#ifndef ECERT_CLI_VERIFY_H
#define ECERT_CLI_VERIFY_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "ecert_ca.h"
#include "ecert_load.h"
#include "probe.h"

#define ECERT_VERIFY_CONNECT 32
#define ECERT_VERIFY_REASONS 8

typedef struct {
    const char *store;
    const char *client; /* NULL: root-ca-3 and cross */
    const char *connect[ECERT_VERIFY_CONNECT];
    size_t n_connect;
    int64_t at;
    int dated; /* at was given: it is not now */
    int json;
} ecert_verify_options_t;

/* Everything that all targets share. */
typedef struct {
    const ecert_verify_options_t *options;
    json_t *servers; /* the agents' reports */
    int silent;      /* agents that do not answer */
    ecert_loader_t *loader;
    ecert_ca_t *ca;
    STACK_OF(X509) *anchors;
    json_t *results;
    int bad;
} ecert_verify_t;

/* One name at one address. */
typedef struct {
    const char *host; /* A-label */
    const char *where;
    char reasons[ECERT_VERIFY_REASONS][300]; /* what is wrong */
    size_t n_reasons;
} ecert_verify_target_t;

/* Notes what is wrong, in words. */
void ecert_verify_wrong(ecert_verify_target_t *target, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Notes everything that is wrong with what came. */
void ecert_verify_judge(ecert_verify_target_t *target,
                        const ecert_verify_t *verify,
                        const ecert_probed_t *probed);

#endif
