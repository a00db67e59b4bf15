/*
 * What is known about a CA, as data: src/ca/hongkongpost.json (built in), or
 * another file of the same form.
 */

#ifndef ECERT_CA_H
#define ECERT_CA_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/x509.h>

#include "ecert_err.h"

typedef enum {
    ECERT_CA_UNKNOWN = 0,
    ECERT_CA_ROOT,
    ECERT_CA_SUB,
    ECERT_CA_CROSS
} ecert_ca_role_t;

typedef struct {
    ecert_ca_role_t role;
    char *id;     /* "root-ca-3", "ssl-ca-3-17-2025" */
    char *name;   /* subject CN (or OU), for people */
    char *issuer; /* id of the issuing entry, or NULL */
    unsigned char sha256[32];
    int denied;           /* never served */
    char *reason;         /* why it is denied, or NULL */
    int64_t useful_until; /* first second at which it is no longer useful;
                             0: not said */
    char *url;            /* download (PEM), or NULL */
} ecert_ca_entry_t;

typedef struct ecert_ca_s ecert_ca_t;

/* The built-in catalogue, or the one in bytes (file is named in errors). */
ecert_ca_t *ecert_ca_builtin(ecert_err_t *err);
ecert_ca_t *ecert_ca_parse(const char *bytes, size_t len, const char *file,
                           ecert_err_t *err);
void ecert_ca_free(ecert_ca_t *ca);

/* Entry by fingerprint of the certificate, or by id; NULL when not there. */
const ecert_ca_entry_t *ecert_ca_find(const ecert_ca_t *ca, X509 *cert);
const ecert_ca_entry_t *ecert_ca_find_id(const ecert_ca_t *ca, const char *id);

/*
 * 1 when an entry of role ROOT has this subject's CN or OU as its name: some
 * CAs (GlobalSign) put what tells their roots apart into the OU.
 */
int ecert_ca_root_name(const ecert_ca_t *ca, const X509_NAME *subject);

/* Midnight UTC of the day on which the catalogue was last brought up to date:
 * a clock that shows an earlier time is wrong.  0: not said. */
int64_t ecert_ca_updated(const ecert_ca_t *ca);

/*
 * What the CA and the rules that it is under say of requests and validation;
 * 0 or NULL where the catalogue does not say it.
 */
typedef struct {
    const char *name;       /* "Hongkong Post CA" */
    const char *token_file; /* "fileauth.txt" */
    unsigned token_days;    /* 30 */
    unsigned txt_ttl;       /* seconds: 3600 */
    unsigned names_max;     /* of one multi-domain certificate: 50 */
    int64_t mail_ends;      /* first second at which constructed e-mail is no
                               longer a method (BR 3.2.2.4.4) */
    const char *contact;    /* where to ask */
} ecert_ca_rules_t;

const ecert_ca_rules_t *ecert_ca_rules(const ecert_ca_t *ca);

/* Ceiling in days on the life of a certificate issued at this time (BR 6.3.2);
 * 0: none is known. */
unsigned ecert_ca_ceiling(const ecert_ca_t *ca, int64_t issued);

/* Days that this CA's certificates live when issued then: below the ceiling by
 * the catalogue's margin.  0: not known. */
unsigned ecert_ca_life(const ecert_ca_t *ca, int64_t issued);

size_t ecert_ca_count(const ecert_ca_t *ca);
const ecert_ca_entry_t *ecert_ca_entry(const ecert_ca_t *ca, size_t i);

#endif
