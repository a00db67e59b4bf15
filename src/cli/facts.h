/* What the store and the servers say about a site; for its progress. */

#ifndef ECERT_CLI_FACTS_H
#define ECERT_CLI_FACTS_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "ecert_ca.h"
#include "ecert_generation.h"
#include "ecert_load.h"
#include "ecert_request.h"
#include "ecert_store.h"

typedef struct {
    const char *ascii;
    char dir[PATH_MAX]; /* "": only a server knows the site so far */
    int64_t now;
    ecert_ca_t *ca;
    ecert_request_t *requests;
    size_t n_requests;
    const ecert_request_t *request; /* the newest; NULL: none, or it was made
                                       before the current certificate came */
    ecert_generation_t *generations;
    size_t n_generations;
    const ecert_generation_t *current;      /* NULL: none */
    ecert_tokens_t tokens;                  /* of the whole store, when a
                                          request waits */
    int64_t pending_backup, current_backup; /* Unix time; 0: none */
    char missing[256]; /* what the chain of the current one lacks, or "": as
                          the servers have it, that serve it */
    char chain[256];   /* "Sub CA, cross-certificate": what is served behind */
    char refused[512]; /* why a server would refuse the current one, or "" */
    int asked;         /* the servers were asked */
    int chain_asked;   /* missing and chain are what a server says */
    size_t running;    /* that answered */
    size_t servers;    /* that have this site */
    size_t serving;    /* that serve the current one */
    char server_names[256];
    char differs[512];     /* where a server sends something else than it has
                              published, and what; or "" */
    char differs_at[64];   /* the address alone */
    char differs_for[256]; /* the name that it was asked for */
} ecert_facts_t;

/* loader is the store's; it is made for this call alone when it is NULL. */
int ecert_facts(const char *store, const char *ascii, const json_t *servers,
                ecert_loader_t *loader, int64_t now, ecert_facts_t *facts,
                ecert_err_t *err);
void ecert_facts_free(ecert_facts_t *facts);

/* One of these servers has the site (ecert_cli_servers). */
int ecert_facts_known(const json_t *servers, const char *ascii);

/* The current certificate is not valid yet. */
int ecert_facts_early(const ecert_facts_t *facts);

/* How many names of a request have the catalogue's validation file, put since
 * the request was made, and when the first of them ends (0: none has). */
size_t ecert_facts_validated(const ecert_facts_t *facts,
                             const ecert_request_t *request, int64_t *until);

#endif
