/* The running servers' agents, asked for what they serve. */

#ifndef ECERT_CLI_SERVERS_H
#define ECERT_CLI_SERVERS_H

#include <stddef.h>

#include <jansson.h>

/*
 * Reports (docs/status.md) of all agents that answer, as a new array; *silent
 * counts those that do not, which is told on standard error, once; 1 when it
 * cannot be told which there are.  silent may be NULL: nothing is told.
 */
json_t *ecert_cli_servers(const char *store, int *silent);

/* The highest security level at which one of these reports has this site of the
 * store; 0: none says so. */
int ecert_cli_security(const json_t *reports, const char *ascii);

/* The same, asked of the running servers now, without a word. */
int ecert_cli_security_now(const char *store, const char *ascii);

/* 1 when a report's site is this one of the store. */
int ecert_cli_is_site(const json_t *site, const char *ascii);

/* How many workers of a report's site cannot use what is published for it. */
size_t ecert_cli_refusing(const json_t *site);

/* 1 when a report's site, or one of its virtual hosts, has this name. */
int ecert_cli_concerns(const json_t *site, const char *name);

#endif
