/*
 * What was configured: the adapters fill it from their directives, the agent
 * and the command read it.  It crosses the process boundary as lines of text.
 */

#ifndef ECERT_CONF_H
#define ECERT_CONF_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <sys/socket.h>

#include "ecert_err.h"

#define ECERT_STORE_DEFAULT "/var/lib/ecert"
#define ECERT_SITES_MAX     16384
#define ECERT_LISTENS_MAX   32 /* of one site; more are passed over */

#define ECERT_LISTEN_ADDRESS 60 /* bytes of "[...]:65535", with its end */

/* ecert_cross_certificate auto | on | off | until=YYYY-MM-DD */
typedef enum {
    ECERT_CROSS_UNSET = 0, /* not said: site.json decides, else auto */
    ECERT_CROSS_AUTO,      /* while the catalogue calls it useful */
    ECERT_CROSS_ON,        /* as long as it is valid */
    ECERT_CROSS_OFF,
    ECERT_CROSS_UNTIL /* to the end of that day, UTC */
} ecert_cross_kind_t;

typedef struct {
    ecert_cross_kind_t kind;
    int64_t until; /* first second, Unix time, at which it is no longer sent */
} ecert_cross_t;

/* Where a virtual host of a site is reached: for the agent's own look at what
 * is sent there. */
typedef struct {
    char *address; /* "192.0.2.1:443", "[::]:443" */
    char *name;    /* that a client asks it for, as written, perhaps a wildcard;
                      NULL: it has none */
    int proxied;   /* a connection has to begin with the PROXY protocol */
    int stapling;  /* it answers with OCSP responses */
} ecert_listen_t;

/*
 * One site: what one TLS vhost serves.  Either name (a site of the store) or
 * certificate and key (files elsewhere, absolute) are set.
 */
typedef struct {
    const char *name; /* as written: Unicode or A-label, any case */
    const char *certificate;
    const char *key;
    const char *catalogue;      /* NULL: the built-in one's path */
    const char *const *issuers; /* absolute files or folders */
    size_t n_issuers;
    size_t n_server_issuers;  /* the last of them, from the server's own
                                 directives: one that holds too many for a
                                 chain, such as those of all clients' CAs, is
                                 passed over without a word */
    const char *const *names; /* the vhost's names, as written */
    size_t n_names;
    ecert_cross_t cross;
    int stapling;         /* a vhost of it answers with OCSP responses */
    int security_level;   /* of its TLS contexts (SSL_CTX_get_security_level),
                             the highest; 0: not known, OpenSSL's default */
    const char *where;    /* "/etc/nginx/conf.d/a.conf:12" */
    unsigned char id[32]; /* ecert_site_identity; set by ecert_conf_add */
    ecert_listen_t *listens; /* by ecert_conf_listen, later */
    size_t n_listens;
} ecert_site_t;

typedef struct {
    char *server;     /* "nginx/1.22.1": for status */
    char *store;      /* absolute */
    char *run;        /* absolute: where the agent makes its status socket;
                         NULL: run/ in the store */
    char *agent;      /* absolute path of the executable `ecert` */
    char *log_file;   /* what descriptor 2 leads to, so that the agent can open
                         it again after a rotation; NULL: no file */
    char *log_socket; /* besides, a local syslog's; NULL: none */
    char *log_head; /* for it: the facility's number, and its tag: "23 nginx" */
    char *log_prefix; /* strftime(3) format, then {level} and {pid} replaced */
    int dcv;          /* anything to answer for at all */
    int fetch;        /* 0: the agent downloads nothing */
    char **allowed;   /* networks that it may connect to besides public ones */
    size_t n_allowed;
    char **loopbacks; /* where a virtual host, of whomever, listens at
                         127.0.0.1 or [::1] itself */
    size_t n_loopbacks;
    size_t n_sites;
    ecert_site_t *sites;
} ecert_conf_t;

/* Empty; fetch is on. */
ecert_conf_t *ecert_conf_new(void);
void ecert_conf_free(ecert_conf_t *conf);

/*
 * Sets one of the strings above (a copy; a path as ecert_conf_path has it).
 * Refuses control characters and more than 4,096 bytes with CONF.
 */
int ecert_conf_set(char **field, const char *value, ecert_err_t *err);

/* Takes out of a path, in place, slashes that are doubled or at its end;
 * returns it. */
char *ecert_conf_path(char *path);

/*
 * Whether a directive's value is one at all: NULL, or what is wrong with it, as
 * it stands behind the directive's name ("has a variable in its value: ...").
 * Refused are nothing, control characters, variables of either server, and the
 * prefixes of keys that are no files (engine:, store:).
 */
const char *ecert_conf_wrong(const char *value);

/*
 * Whether a command of SSL_CONF_cmd(3) (ssl_conf_command, SSLOpenSSLConfCmd)
 * has no effect where a site serves the certificate: NULL, or what to do
 * instead.
 */
const char *ecert_conf_command(const char *command);

/*
 * A value of the directive ecert_fetch: on, off, allow=CIDR.  CONF otherwise,
 * naming the choices or what is wrong with the network.
 */
int ecert_conf_fetch(ecert_conf_t *conf, const char *value, ecert_err_t *err);

/*
 * Adds a site (deep copy) and returns its index, which is its slot in the
 * snapshot.  Sites with the same name or files, issuers, catalogue and cross
 * policy are one: the vhost's names join the first's, its index is returned.
 * -1 on bad values.
 */
int ecert_conf_add(ecert_conf_t *conf, const ecert_site_t *site,
                   ecert_err_t *err);

/* One virtual host, as ecert_conf_listen has to know it. */
typedef struct {
    const char *const *names; /* as written */
    size_t n_names;
    int proxied, stapling; /* as in ecert_listen_t */
} ecert_vhost_t;

/*
 * Notes that a virtual host is reached at this address, over TCP and with TLS
 * where site is an index.  -1 for one that is no site's: it is noted because it
 * may stand before one that is.  Of the names the first that a client can ask
 * for as it stands is taken, else a wildcard, else any.  What is neither IPv4
 * nor IPv6 is passed over, and so is what came before.
 */
int ecert_conf_listen(ecert_conf_t *conf, int site, const ecert_vhost_t *vhost,
                      const struct sockaddr *address, ecert_err_t *err);

/*
 * Notes the security level of a TLS context that serves this site (an index),
 * once it is final.  Of several contexts the highest counts: what it refuses is
 * refused there.  Level 0 counts as 1, below which no client accepts anything.
 */
void ecert_conf_security(ecert_conf_t *conf, int site, int level);

/* For ecert_conf*.c: the same as text. */
int ecert_conf_loopback(ecert_conf_t *conf, const char *address,
                        ecert_err_t *err);
void ecert_listens_write(const ecert_site_t *site, FILE *out);
int ecert_listen_read(ecert_site_t *site, const char *value, ecert_err_t *err);
void ecert_listens_free(ecert_listen_t *listens, size_t n);

/* How people call the site: its name, else its first name, else its file. */
const char *ecert_site_label(const ecert_site_t *site);

/*
 * SHA-256 over what makes two sites the same one (see ecert_conf_add), so that
 * a new agent finds the records of the old one.  OPENSSL where there is none.
 */
int ecert_site_identity(const ecert_site_t *site, unsigned char id[32],
                        ecert_err_t *err);

/* auto, on, off, until=YYYY-MM-DD; anything else: CONF, naming the choices. */
int ecert_cross_parse(const char *text, ecert_cross_t *cross, ecert_err_t *err);

/*
 * YYYY-MM-DD (midnight UTC) or YYYY-MM-DDTHH:MM:SSZ to Unix time; USAGE
 * otherwise, also for a day that the calendar does not have.
 */
int ecert_date_parse(const char *text, int64_t *seconds, ecert_err_t *err);

/* "2027-04-15T23:59:59Z" into out[32]; returns out. */
char *ecert_date_format(int64_t seconds, char *out);

/* Lowers *when, a moment (0: never), to other if that is not over by now. */
void ecert_date_sooner(int64_t *when, int64_t other, int64_t now);

/* Writes all of it to fd, reads it from fd's beginning to its end. */
int ecert_conf_write(const ecert_conf_t *conf, int fd, ecert_err_t *err);
ecert_conf_t *ecert_conf_read(int fd, ecert_err_t *err);

#endif
