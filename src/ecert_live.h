/*
 * The live half: one object per worker process, safe under threads.  It never
 * waits: no lock, no file, no network.  Per handshake it compares one number;
 * when that moved, it decodes the new record once and keeps it.
 */

#ifndef ECERT_LIVE_H
#define ECERT_LIVE_H

#include <stddef.h>
#include <stdint.h>

#include <sys/socket.h>

#include <openssl/ssl.h>

#include "ecert_conf.h"
#include "ecert_err.h"
#include "ecert_launch.h"

typedef struct ecert_live_s ecert_live_t;

/*
 * Made in the process that forks the workers, so that they inherit the maps.
 * launch's descriptors stay the caller's.  conf must live as long as it (its
 * names are read when a placeholder has to be made in memory).
 */
ecert_live_t *ecert_live_new(const ecert_conf_t *conf,
                             const ecert_launch_t *launch, ecert_err_t *err);
void ecert_live_free(ecert_live_t *live);

/*
 * Once in each worker: takes its row and its page for visits, and makes the
 * process leave no core dump and no /proc entry that others could open, for it
 * holds private keys.
 */
void ecert_live_worker(ecert_live_t *live);

/*
 * For the certificate callback (SSL_CTX_set_cert_cb).  Puts the site's current
 * credential into ssl; in a renegotiation it leaves everything as it is, unless
 * the connection began with a resumed session and has none yet.
 * 0, or -1: then the callback returns 0 and the handshake ends.  When a new
 * record is damaged, or OpenSSL does not take it into the connection, the last
 * that it took is used and 1 is returned; where there is none, -1.  Of one
 * record err tells once what to log, later it is ECERT_OK.
 */
int ecert_live_certify(ecert_live_t *live, uint32_t site, SSL *ssl,
                       ecert_err_t *err);

/*
 * After the handshake, for a server that tells applications what ssl has: on a
 * resumed session no certificate callback ran, so the credential is put there
 * now.  Does nothing where there is one.  Returns as ecert_live_certify.
 */
int ecert_live_resumed(ecert_live_t *live, uint32_t site, SSL *ssl,
                       ecert_err_t *err);

/*
 * For the status callback (SSL_CTX_set_tlsext_status_cb), which OpenSSL calls
 * when the client asks for a staple and after the certificate was chosen: 1
 * when the site's OCSP response was put into ssl (RFC 6066, 8), 0 when there is
 * none for the certificate of this connection.  now is Unix time.
 */
int ecert_live_staple(ecert_live_t *live, uint32_t site, SSL *ssl, int64_t now);

/* A request, and who makes it; nothing of it is kept by reference. */
typedef struct {
    const char *method;
    size_t method_len;
    const char *host; /* as received, or as the server normalised it */
    size_t host_len;
    const char *path; /* decoded */
    size_t path_len;
    int64_t now;                 /* Unix time */
    const struct sockaddr *peer; /* NULL: not known */
    int tls;                     /* it came over TLS */
    const char *agent;           /* User-Agent; NULL: none */
    size_t agent_len;
} ecert_ask_t;

typedef struct {
    int status;          /* 200 or 405; 0: not ours, the server goes on */
    const char *allow;   /* value of Allow with 405 */
    unsigned char *body; /* len bytes, from alloc; NULL when len is 0 */
    size_t len;
    uint64_t token; /* for ecert_live_note */
} ecert_answer_t;

/*
 * The request for a validation file.  The body is copied into memory from
 * alloc(pool, size); a HEAD gets it too, for its length.
 */
void ecert_live_answer(ecert_live_t *live, const ecert_ask_t *ask,
                       void *(*alloc)(void *pool, size_t size), void *pool,
                       ecert_answer_t *answer);

/*
 * Notes it in this worker's page of visits (ecert_visits.h), once it is sure
 * that it is answered so: a body that the server cannot read gets its own 400.
 */
void ecert_live_note(ecert_live_t *live, const ecert_ask_t *ask,
                     const ecert_answer_t *answer);

#endif
