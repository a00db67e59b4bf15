/*
 * How the agent is asked for its status: STORE/run/PID.sock.  Whoever connects
 * is handed one descriptor with the report in it, so that the agent never
 * waits for a reader.
 */

#ifndef ECERT_DOOR_H
#define ECERT_DOOR_H

#include <stddef.h>

#include "ecert_err.h"

typedef struct {
    int fd;          /* to poll; -1: none */
    char path[4096]; /* of the socket */
} ecert_door_t;

/* Makes the socket, mode 0600; takes away those that nobody answers any more.
 */
int ecert_door_open(ecert_door_t *door, const char *store, ecert_err_t *err);
void ecert_door_close(ecert_door_t *door, int remove);

/*
 * Answers one who knocked, when it is root or this user: calls describe for
 * the text (its own, freed with free()).  -1 when there are no means to let
 * anybody in: then he stays at the door, and it stays readable.
 */
int ecert_door_answer(const ecert_door_t *door, char *(*describe)(void *ctx),
                      void *ctx);

/*
 * The other side: asks at this socket and reads the whole answer, which is the
 * caller's (free()).  AGENT when nobody answers within seconds.  *dead is set
 * to 1 when nobody listens any more.
 */
char *ecert_door_ask(const char *path, int seconds, int *dead,
                     ecert_err_t *err);

#endif
