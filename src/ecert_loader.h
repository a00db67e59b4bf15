/* What all loads have in common; for ecert_load.c alone. */

#ifndef ECERT_LOADER_H
#define ECERT_LOADER_H

#include "ecert_bundle.h"
#include "ecert_load.h"

struct ecert_loader_s {
    char *store;
    ecert_ca_t *ca;
    STACK_OF(X509) *anchors;
    ecert_shelf_t *shelf;
    ecert_security_t *security;
};

#endif
