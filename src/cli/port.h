/* Hosts with a port behind them. */

#ifndef ECERT_CLI_PORT_H
#define ECERT_CLI_PORT_H

/*
 * Of "host", "host:port", "[address]:port" the port, which goes off text, or
 * NULL when there is none.
 */
char *ecert_cli_split_port(char *text);

/* 1 for the decimal digits of 1 to 65535. */
int ecert_cli_is_port(const char *text);

#endif
