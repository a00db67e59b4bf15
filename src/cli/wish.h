/* What a new request is to ask for: options, and what the site had before. */

#ifndef ECERT_CLI_WISH_H
#define ECERT_CLI_WISH_H

#include <limits.h>
#include <stddef.h>

#include <jansson.h>

#include "ecert_csr.h"
#include "ecert_err.h"
#include "ecert_name.h"

/* What was said at the command line; NULL: nothing. */
typedef struct {
    const char *store;
    const char *name; /* as written */
    const char *names[1000];
    size_t n_names;
    ecert_subject_t subject;
    const char *key;
    const char *idn;
    const char *until;
    int san; /* 1, -1: no; 0: nothing was said */
} ecert_wish_said_t;

/* What is asked for, with what the site had before where nothing was said. */
typedef struct {
    const ecert_wish_said_t *options;
    char ascii[ECERT_NAME_MAX];
    char **names; /* A-labels, the site's own first */
    size_t n_names;
    char dir[PATH_MAX]; /* of the site; "": it is a new one */
    json_t *before;     /* subject and request of the site; an object */
    ecert_subject_t subject;
    char common_name[ECERT_NAME_MAX * 4];
    const char *key;
    const char *idn;
    int san;
    int renewal;
    int served;     /* there is a current certificate */
    size_t waiting; /* requests that wait already */
} ecert_wish_t;

/*
 * Fills wish, which is zero; said must outlive it.  Names of the CA's kinds
 * alone: one, a wildcard, or up to the catalogue's bound (the CA's guide, B.4).
 * NAME, SUBJECT, TOO_MANY, SITE.  ecert_wish_free in any case.
 */
int ecert_wish(const ecert_wish_said_t *said, ecert_wish_t *wish,
               ecert_err_t *err);
void ecert_wish_free(ecert_wish_t *wish);

#endif
