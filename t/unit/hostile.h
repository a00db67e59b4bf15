/*
 * HTTP servers on loopback that answer as no server should, each a process of
 * its own.  What they answer is named by the path: the table in hostile.c.
 *
 *   /echo          the request as it came in, as the body
 *   /to307?URL     a redirect to URL, as it is written there
 */

#ifndef T_UNIT_HOSTILE_H
#define T_UNIT_HOSTILE_H

#include <sys/types.h>

#include <openssl/ssl.h>

typedef struct {
    pid_t pid;
    unsigned port; /* of 127.0.0.1 */
} hostile_t;

/* With ctx: over TLS, only what is not endless. */
void hostile_start(hostile_t *server, SSL_CTX *ctx);
void hostile_stop(hostile_t *server);

/* A port where nobody listens. */
unsigned hostile_nobody(void);

#endif
