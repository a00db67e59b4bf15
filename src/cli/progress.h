/*
 * How far a site is on the way that the CA's guide describes, and its next
 * step in plain words.
 */

#ifndef ECERT_CLI_PROGRESS_H
#define ECERT_CLI_PROGRESS_H

#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "ecert_err.h"
#include "ecert_load.h"

/*
 * A new object (docs/status.md, "Progress"): requests, steps, next.  servers is
 * what ecert_cli_servers gave (NULL: nobody was asked); loader may be NULL.
 * NULL and err when the site cannot be looked at.
 */
json_t *ecert_cli_progress(const char *store, const char *ascii,
                           const json_t *servers, ecert_loader_t *loader,
                           int64_t now, ecert_err_t *err);

/* The same for people. */
void ecert_cli_progress_print(const json_t *progress, FILE *out);

/* In one line: the site and its next step. */
void ecert_cli_progress_line(const json_t *progress, FILE *out);

/*
 * What each command ends with: asks the servers, looks, prints.  A failure is
 * a warning: the command itself has done its work.
 */
void ecert_cli_progress_show(const char *store, const char *ascii, int64_t now,
                             FILE *out);

#endif
