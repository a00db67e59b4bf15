/*
 * What is served and why, as JSON: schema "ecert-status", version 1
 * (docs/status.md).  Names of members never change their meaning within a
 * version; more may come.
 */

#ifndef ECERT_REPORT_H
#define ECERT_REPORT_H

#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "ecert_conf.h"
#include "ecert_err.h"
#include "ecert_evidence.h"
#include "ecert_load.h"
#include "ecert_store.h"

#define ECERT_REPORT_SCHEMA  "ecert-status"
#define ECERT_REPORT_VERSION 1

/*
 * One site: what was loaded and the error that came with it (NULL or code
 * ECERT_OK: none).  A new reference; NULL on lack of memory.
 */
json_t *ecert_report_site(const ecert_site_t *site,
                          const ecert_loaded_t *loaded, const ecert_err_t *err,
                          int64_t error_at);

/* What a report says of validation files; evidence: what is known of their
 * fetches, or NULL. */
void ecert_report_files(json_t *report, const ecert_tokens_t *tokens,
                        const ecert_evidence_t *evidence);

/* The member "fetched" of one validation file; new. */
json_t *ecert_report_fetched(const ecert_evidence_t *evidence, uint64_t token);

/* The top of a report: schema, version, store, time; sites still to be set. */
json_t *ecert_report_head(const char *store, int64_t now);

/* A copy, new, whose texts disturb no terminal: what came through a socket. */
json_t *ecert_report_clean(const json_t *report);

/*
 * The same for people.  explain: every certificate that was considered, and
 * why.
 */
void ecert_report_print(const json_t *report, FILE *out, int explain,
                        int64_t now);
void ecert_report_print_site(const json_t *site, FILE *out, int explain,
                             int64_t now);

/*
 * A line of a member "fetched", if it is one; server: who says so, "" for
 * nothing.  each: a line more for each fetch that is known.
 */
void ecert_report_print_fetched(const json_t *fetched, FILE *out,
                                const char *server, int each);

/* A line of a report's "fetches_lost", if there are any. */
void ecert_report_print_lost(const json_t *report, FILE *out);

#endif
