/* What becomes of a command for which there is no memory left. */

#ifndef ECERT_CLI_MEMORY_H
#define ECERT_CLI_MEMORY_H

/*
 * From now on the command ends itself, with one line and exit code 1, when
 * OpenSSL or jansson get no memory.  Both carry on without what they lack in
 * places (a member that is not set, a certificate that is not decoded), which
 * would look like a store without it; and a command may be killed at any moment
 * without harm.  A child of its own (the jail) ends with ECERT_JAIL_NO_MEMORY.
 * To be called before OpenSSL is used; not for the agent, which must not end.
 */
void ecert_cli_memory(void);

#endif
