/*
 * ecert: TLS certificates of Hongkong Post CA, kept alive inside the web
 * server.
 *
 * The one header that the server modules include.  It holds the worker half:
 * what runs in the address space of nginx or httpd.  It needs libc and OpenSSL,
 * knows neither server, returns errors as values and never logs by itself.
 */

#ifndef ECERT_H
#define ECERT_H

#include "ecert_err.h"
#include "ecert_addr.h"
#include "ecert_conf.h"
#include "ecert_launch.h"
#include "ecert_live.h"
#include "ecert_placeholder.h"

#define ECERT_VERSION "0.1.0"

#endif
