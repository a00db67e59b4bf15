/* What the dcv commands have in common; for dcv_*.c. */

#ifndef ECERT_CLI_DCV_H
#define ECERT_CLI_DCV_H

#include <jansson.h>
#include <openssl/x509.h>

#include "ecert_ca.h"
#include "ecert_err.h"
#include "site.h"

/* The names to validate: those of a request, else of the site. */
typedef struct {
    char **names; /* A-labels, the site's own first */
    size_t n;
    uint64_t request;  /* 0: none waits */
    uint64_t *waiting; /* numbers of all that wait */
    size_t n_waiting;
    X509_REQ *csr; /* NULL: none */
    ecert_ca_t *ca;
} ecert_dcv_order_t;

/* request: its number, 0: the newest, if one waits. */
int ecert_dcv_order(const ecert_cli_site_t *site, uint64_t request,
                    ecert_dcv_order_t *order, ecert_err_t *err);
void ecert_dcv_order_free(ecert_dcv_order_t *order);

/* METHOD when a name is a wildcard, which no file validates (BR
 * 3.2.2.4.18). */
int ecert_dcv_no_wildcard(const ecert_dcv_order_t *order, ecert_err_t *err);

/* USAGE when CODE is empty, as of a variable that was not set. */
int ecert_dcv_need_code(const char *code, ecert_err_t *err);

/*
 * Puts a file for all names of the order, tells what was replaced and where to
 * look, writes the journal.  Under the lock.
 */
int ecert_dcv_put(const ecert_cli_site_t *site, const ecert_dcv_order_t *order,
                  const char *file, const unsigned char *body, size_t len,
                  ecert_err_t *err);

/* Each file of a list gets the member "fetched": an array with what each of
 * the servers' reports says of its fetches. */
void ecert_dcv_add_fetched(json_t *list, const json_t *servers);

/* The same for people; each: also the fetches before the last one. */
void ecert_dcv_print_fetched(const json_t *one, int each);

#endif
