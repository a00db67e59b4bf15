/* How far a long piece of work is: one line on a terminal, nothing elsewhere.
 */

#ifndef ECERT_CLI_BAR_H
#define ECERT_CLI_BAR_H

#include <stddef.h>

/*
 * Shows "[#####-----] 5 of 10 WHAT" on standard error in place of the line
 * before; total 0: not known, then without a bar.  On a terminal alone, and not
 * under TERM=dumb; without escape sequences, so that NO_COLOR asks for nothing
 * else.
 */
void ecert_bar_show(const char *what, size_t done, size_t total);

/* Takes the line away: before anything else is written, and at the end. */
void ecert_bar_clear(void);

#endif
