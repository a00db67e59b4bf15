/* Waiting until the running servers serve a certificate. */

#ifndef ECERT_CLI_WAIT_H
#define ECERT_CLI_WAIT_H

#include "ecert_err.h"

/*
 * 0 when every running server that has this site serves the leaf with this
 * fingerprint, in handshakes that are made for it at the site's addresses; says
 * so, also when no server runs or has the site.  NOT_SERVED after so many
 * seconds, naming the server and what it says, or the alert that ends its
 * handshakes, or when another one took its place.
 */
int ecert_cli_wait(const char *store, const char *ascii,
                   const char *fingerprint, unsigned seconds, ecert_err_t *err);

#endif
