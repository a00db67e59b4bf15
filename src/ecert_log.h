/*
 * The agent's lines in the server's error log: descriptor 2, in the server's
 * own form.
 */

#ifndef ECERT_LOG_H
#define ECERT_LOG_H

#include "ecert_conf.h"
#include "ecert_err.h"

typedef enum {
    ECERT_LOG_ERROR,
    ECERT_LOG_WARN,
    ECERT_LOG_NOTICE
} ecert_level_t;

/* conf must live on; NULL: plain lines for people. */
void ecert_log_open(const ecert_conf_t *conf);

/* Lines of this level and below are not written any more; how many were. */
void ecert_log_quiet(ecert_level_t level);
unsigned ecert_log_count(void);

/*
 * One line.  When the log's file was rotated away it is opened anew, unless
 * somebody else could have put the new one there.
 */
void ecert_log(ecert_level_t level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void ecert_log_err(ecert_level_t level, const char *site,
                   const ecert_err_t *err);

#endif
