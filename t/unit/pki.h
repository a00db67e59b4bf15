/*
 * A look-alike of the CA for unit tests, made with OpenSSL alone: one root,
 * old and new Sub CA with one name, key and key identifier, the EV twins, and
 * a cross-certificate for the root by a second root.  Whatever fails in here
 * ends the test with a message.
 */

#ifndef T_UNIT_PKI_H
#define T_UNIT_PKI_H

#include <stdint.h>
#include <sys/types.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#define PKI_DAY  ((int64_t)86400)
#define PKI_YEAR (365 * PKI_DAY)

/* One certificate to be made; what is 0 or NULL is left out. */
typedef struct {
    const char *cn;       /* subject: C=HK, O=Look-alike Post, CN=cn */
    EVP_PKEY *key;        /* the subject's key */
    X509 *issuer;         /* NULL: self-signed */
    EVP_PKEY *issuer_key; /* NULL: self-signed */
    int64_t not_before, not_after;
    int ca;                /* basicConstraints, keyUsage of a CA */
    int server_auth;       /* EKU serverAuth */
    const char *eku;       /* another EKU, in the words of openssl.cnf */
    const char *key_usage; /* another key usage, likewise; "": none */
    const char *names;     /* SAN in the words of openssl.cnf: "DNS:a,DNS:b" */
    const EVP_MD *md;      /* SHA-256 unless set */
    const char *basic; /* other basicConstraints, in the words of openssl.cnf */
    const char *ext[2]; /* one more extension, likewise: name and value */
    int no_key_id;      /* no key identifiers */
} pki_spec_t;

X509 *pki_issue(const pki_spec_t *spec);

/* The same with one bit of its signature flipped. */
X509 *pki_damaged(X509 *cert);

/* A CA's; self-signed without an issuer. */
X509 *pki_ca(const char *cn, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
             int64_t from, int64_t to, int server_auth);

/*
 * A new key: RSA-1024, RSA-2048, RSA-3072, RSA-4096, RSA-16384 (fits only for
 * parsing), RSA-SLOW (a large exponent), P-256, P-384, P-521, ED25519, DSA,
 * DSA-2048, EC-EXPLICIT (P-256 with explicit parameters).
 */
EVP_PKEY *pki_key(const char *kind);

/* All of it, around `now`; keys are EC P-256, the leaf's too. */
typedef struct {
    int64_t now;
    EVP_PKEY *root_key, *other_root_key, *sub_key, *ev_key, *leaf_key;
    X509 *root;       /* "Look-alike Root 3", now -5 y .. +15 y */
    X509 *other_root; /* "Elsewhere Root R3", now -10 y .. +3 y */
    X509 *cross;      /* subject root, issuer other_root, now -1 y .. +2 y */
    X509 *old_sub;    /* "Look-alike SSL CA 3 - 17", no EKU, -4 y .. +6 y */
    X509 *new_sub;    /* the same name, key and SKI, EKU, -1 y .. +6 y */
    X509 *old_ev;     /* "Look-alike EV SSL CA 3 - 17": the same again */
    X509 *new_ev;
    X509 *leaf; /* by sub_key: www.example.hk, example.hk, -1 d .. +198 d */
} pki_t;

pki_t *pki_new(int64_t now);
void pki_free(pki_t *pki);

/* Another leaf by sub_key for key (the pki's leaf_key when NULL). */
X509 *pki_leaf(const pki_t *pki, const char *names, EVP_PKEY *key,
               int64_t not_before, int64_t not_after);

/*
 * A catalogue of this PKI in the form of src/ca/hongkongpost.json: ids
 * "root", "other-root", "cross", "sub-old" and "ev-old" (denied), "sub-new",
 * "ev-new".  useful_until is a date or NULL.  free() it.
 */
char *pki_catalogue(const pki_t *pki, const char *useful_until);

/* Text, to be freed: certificate or key (PKCS#8) as PEM; parts put together. */
char *pki_pem(X509 *cert);
char *pki_pem_key(EVP_PKEY *key);
char *pki_pem_key_traditional(EVP_PKEY *key); /* PKCS#1 or SEC1 */
char *pki_join(const char *first, ...) __attribute__((sentinel));

/* A list of these (a reference each), up to a NULL: sk_X509_pop_free it. */
STACK_OF(X509) *pki_stack(X509 *first, ...) __attribute__((sentinel));
void pki_stack_free(STACK_OF(X509) *stack);

/* Writes a file by rename, with exactly this mode. */
void pki_write(const char *path, const char *text, mode_t mode);

/* The folder of test data: ECERT_TEST_DATA, or the default; NULL: not there. */
const char *pki_data(void);

/* One of its files, whole, with a terminator; NULL: not there.  free() it. */
char *pki_data_file(const char *name, size_t *len);

#endif
