/* Bytes that grow, with a maximum from birth.  A failure sticks until free. */

#ifndef ECERT_BUF_H
#define ECERT_BUF_H

#include <stddef.h>

#include "ecert_err.h"

typedef struct {
    unsigned char *bytes; /* always terminated behind len once anything is in */
    size_t len;
    size_t size;
    size_t max;
    int failed; /* over the maximum, or out of memory: nothing more is added */
} ecert_buf_t;

void ecert_buf_init(ecert_buf_t *buf, size_t max);
void ecert_buf_free(ecert_buf_t *buf); /* wipes */
int ecert_buf_add(ecert_buf_t *buf, const void *bytes, size_t len);
int ecert_buf_printf(ecert_buf_t *buf, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
