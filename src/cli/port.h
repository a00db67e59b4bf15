/* Hosts with a port behind them. */

#ifndef ECERT_CLI_PORT_H
#define ECERT_CLI_PORT_H

/*
 * Of "host", "host:port", "[address]:port" the port, which goes off text, or
 * NULL when there is none.
 */
char *ecert_cli_split_port(char *text);

#endif
