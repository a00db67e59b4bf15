/*
 * The agent's lines in the server's error log: descriptor 2, in the server's
 * own form.
 */

#ifndef ECERT_LOG_H
#define ECERT_LOG_H

#include "ecert_conf.h"
#include "ecert_err.h"

#define ECERT_LOG_FOLLOW_S 600 /* for who has nothing else to do meanwhile */

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
 * The server opens its log anew on a signal that does not reach the agent. When
 * the file was rotated away the new one is opened, unless somebody else could
 * have put it there; one that was deleted is let go.
 */
void ecert_log_follow(void);

/* One line, in the log that is followed. */
void ecert_log(ecert_level_t level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void ecert_log_err(ecert_level_t level, const char *site,
                   const ecert_err_t *err);

#endif
