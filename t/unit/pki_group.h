/* One look-alike of the CA for all tests of a program. */

#ifndef PKI_GROUP_H
#define PKI_GROUP_H

#include "pki.h"

#define NOW ((int64_t)1795392000) /* 2026-11-23 */

static pki_t *pki;

static int pki_setup(void **state)
{
    (void)state;
    pki = pki_new(NOW);
    return 0;
}

static int pki_teardown(void **state)
{
    (void)state;
    pki_free(pki);
    return 0;
}

#endif
