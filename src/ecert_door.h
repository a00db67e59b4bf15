/*
 * How the agent is asked for its status: a socket in a folder of its own,
 * STORE/run or that of ecert_run.  Whoever connects is handed one descriptor
 * with the report in it, so that the agent never waits for a reader.
 *
 * PID-RANDOM.sock, so that no agent has another's name, whatever its PID is
 * elsewhere.  Beside it is .PID-RANDOM.lock, on which the agent has a flock(2):
 * a socket where nobody listens is dead only where nobody has that either, for
 * its agent may be of another machine that shares the folder.
 */

#ifndef ECERT_DOOR_H
#define ECERT_DOOR_H

#include <stddef.h>

#include <sys/types.h>

#include "ecert_err.h"

typedef struct {
    int fd;          /* to poll; -1: none */
    int lock;        /* the locked file beside it */
    char path[4096]; /* of the socket */
    dev_t dev;       /* the socket's own, in its folder */
    ino_t ino;
} ecert_door_t;

/* 1 when a file of this name is such a socket. */
int ecert_door_is(const char *name);

/*
 * Makes the folder run (absolute) where it is not there, 0700, and the socket
 * in it, mode 0600; takes away those that are dead.  Errors of the walk to the
 * folder, and SYSTEM.
 */
int ecert_door_open(ecert_door_t *door, const char *run, ecert_err_t *err);

/* 0 when its path does not lead to the socket any more: somebody removed it, or
 * has mounted something over it. */
int ecert_door_is_there(const ecert_door_t *door);

/* Takes away what is still there of it. */
void ecert_door_close(ecert_door_t *door);

/*
 * Answers one who knocked, when it is root or this user: calls describe for
 * the text (its own, freed with free()).  -1 when there are no means to let
 * anybody in: then he stays at the door, and it stays readable.
 */
int ecert_door_answer(const ecert_door_t *door, char *(*describe)(void *ctx),
                      void *ctx);

typedef enum {
    ECERT_DOOR_LIVES,
    ECERT_DOOR_DEAD,
    ECERT_DOOR_ELSEWHERE,
    ECERT_DOOR_FOREIGN
} ecert_door_state_t;

/*
 * The other side: asks at this socket and reads the whole answer, which is the
 * caller's (free()).  AGENT when nobody answers within seconds.  *state is set
 * when nobody listens: DEAD, or ELSEWHERE when its agent lives all the same.
 * FOREIGN, in a folder where others may make files: it is another user's, who
 * is neither root nor this one, and is not asked.
 */
char *ecert_door_ask(const char *path, int seconds, ecert_door_state_t *state,
                     ecert_err_t *err);

#endif
