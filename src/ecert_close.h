/* Closing what a process that was forked does not need. */

#ifndef ECERT_CLOSE_H
#define ECERT_CLOSE_H

/* The descriptors from `from` to `to`, both among them; -1: to the last. */
void ecert_close(int from, int to);

/* The same for kernels and seccomp filters without close_range. */
void ecert_close_each(int from, int to);

#endif
