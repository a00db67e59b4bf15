#ifndef ECERT_CLI_NEXT_H
#define ECERT_CLI_NEXT_H

#include <stdint.h>

#include <jansson.h>

#include "facts.h"

/* A new object (docs/status.md, "Progress", next); site is written as a shell
 * wants it. */
json_t *ecert_cli_next(const ecert_facts_t *facts, const char *site);

/* When the renewal of the current certificate begins: Unix time. */
int64_t ecert_cli_renew_from(const ecert_facts_t *facts);

#endif
