/*
 * mod_ecert: ecert in Apache httpd 2.4.
 *
 * The certificates are in mod_ecert_tls.c, validation files in mod_ecert_dcv.c;
 * the agent lives as long as the configuration.  All the rest is the core's
 * (src/ecert.h).
 *
 * httpd unloads this file between two configurations.  So nothing here outlives
 * pconf, except one number in the process pool (keep_snapshot).
 */

#include <errno.h>
#include <fcntl.h>
#include <paths.h>
#include <stddef.h>
#include <sys/stat.h>
#define SYSLOG_NAMES
#include <syslog.h>
#include <unistd.h>

#include "mod_ecert.h"

#include "http_core.h"
#include "http_log.h"
#include "http_main.h"
#include "ap_mpm.h"
#include "mpm_common.h"
#include "apr_portable.h"
#include "apr_strings.h"

#define ECERT_KEPT       "mod_ecert:snapshot"
#define ECERT_LOG_PREFIX "[%a %b %d %H:%M:%S %Y] [ecert:{level}] [pid {pid}] "

/* The module's one exported symbol. */
module AP_MODULE_DECLARE_DATA ecert_module
    __attribute__((visibility("default")));

/* What lives as long as one configuration. */
typedef struct {
    ecert_conf_t *conf;
    ecert_launch_t launch;
    ecert_live_t *live; /* NULL: no agent was needed */
    pid_t parent;
} ecert_state_t;

/* What the next configuration finds of this one. */
typedef struct {
    int snap; /* -1: nothing */
    int visits;
    int generation;
} ecert_kept_t;

static ecert_state_t *state;

/* Of the configuration before; -1: none. */
static ecert_launch_t previous = {
    .snap = -1, .seen = -1, .visits = -1, .control = -1};

static pid_t parent; /* who read the configuration */

/* The file that descriptor 2 leads to, or NULL: a pipe, syslog, a provider. */
static const char *error_log_file(apr_pool_t *p, server_rec *s)
{
    struct stat here, there;
    const char *path;

    if (s->error_fname == NULL || s->error_fname[0] == '|') {
        return NULL;
    }
    path = ap_server_root_relative(p, s->error_fname);
    if (path == NULL || stat(path, &there) != 0 || fstat(2, &here) != 0) {
        return NULL;
    }
    return S_ISREG(there.st_mode) && there.st_dev == here.st_dev
                   && there.st_ino == here.st_ino
               ? path
               : NULL;
}

/*
 * "syslog", "syslog:facility", "syslog:facility:tag": as httpd reads it, to
 * where syslog(3) writes.
 */
static int set_syslog(apr_pool_t *p, server_rec *s, ecert_conf_t *conf,
                      ecert_err_t *err)
{
    const char *name = s->error_fname ? s->error_fname + 6 : "";
    const char *tag = strrchr(name, ':'), *head;
    int facility = LOG_LOCAL7;

    if (s->error_fname == NULL || strncasecmp(s->error_fname, "syslog", 6) != 0
        || (name[0] != '\0' && name[0] != ':')) {
        return 0;
    }
    if (name[0] == ':') {
        const char *word = apr_pstrndup(p, name + 1, strcspn(name + 1, ":"));

        for (const CODE *code = facilitynames; code->c_name; code++) {
            facility =
                strcasecmp(code->c_name, word) == 0 ? code->c_val : facility;
        }
    }
    tag = tag != NULL && tag != name ? tag + 1 : s->process->short_name;
    head = apr_psprintf(p, "%d %s", facility >> 3, tag);
    return ecert_conf_set(&conf->log_socket, _PATH_LOG, err) == 0
                   && ecert_conf_set(&conf->log_head, head, err) == 0
               ? 0
               : -1;
}

static int set_log(apr_pool_t *p, server_rec *main_server, const char *prefix)
{
    const char *file = error_log_file(p, main_server);
    ecert_conf_t *conf = state->conf;
    ecert_err_t err;

    if (ecert_conf_set(&conf->log_prefix, prefix, &err) != 0
        || (file != NULL && ecert_conf_set(&conf->log_file, file, &err) != 0)) {
        mod_ecert_log(main_server, APLOG_EMERG, NULL, &err);
        return -1;
    }
    return 0;
}

/* Without a site, and without a store to answer from, there is no agent. */
static int agent_needed(server_rec *main_server)
{
    const ecert_conf_t *conf = state->conf;
    struct stat st;

    if (conf->n_sites > 0) {
        return 1;
    }
    return conf->dcv
           && (ecert_srv(main_server)->used || stat(conf->store, &st) == 0);
}

/*
 * The agent leaves at the end of file, but also at a byte: what another module
 * forked while we ran (mod_cgid's new daemon) has a copy of the pipe, and must
 * not keep the agent alive.
 */
static void end_agent(ecert_launch_t *launch)
{
    if (launch->control >= 0 && write(launch->control, "", 1) < 0) {
        ap_log_error(APLOG_MARK, APLOG_DEBUG, errno, NULL,
                     "the agent was gone already");
    }
    launch->snap = launch->visits = -1; /* keep_memory: closed with plog */
    ecert_launch_close(launch);
}

ecert_live_t *mod_ecert_live(void)
{
    return state != NULL ? state->live : NULL;
}

ecert_conf_t *mod_ecert_conf(void)
{
    return state != NULL ? state->conf : NULL;
}

static apr_status_t end_state(void *data)
{
    ecert_state_t *gone = data;

    if (gone->parent == getpid()) {
        end_agent(&gone->launch);
    }
    ecert_live_free(gone->live);
    ecert_conf_free(gone->conf);
    state = NULL;
    return APR_SUCCESS;
}

/*
 * Whether the agent is there, at the start and for -t alone: a server that runs
 * must not end because its agent is missing at a restart.
 */
static int check_agent(server_rec *main_server)
{
    ecert_err_t err;

    if (ap_state_query(AP_SQ_MAIN_STATE) != AP_SQ_MS_CREATE_PRE_CONFIG
        || !agent_needed(main_server)
        || ecert_launch_check(state->conf, &err) == 0) {
        return 0;
    }
    mod_ecert_log(main_server, APLOG_EMERG, NULL, &err);
    return -1;
}

/* In every mode, -t included: what is wrong in the directives ends here. */
static int ecert_check_config(apr_pool_t *pconf, apr_pool_t *plog,
                              apr_pool_t *ptemp, server_rec *main_server)
{
    ecert_conf_t *conf = ecert_conf_new();

    (void)plog;
    if (conf == NULL) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    parent = getpid(); /* it has become a daemon by now */
    state = apr_pcalloc(pconf, sizeof(*state));
    state->conf = conf;
    ecert_launch_init(&state->launch);
    apr_pool_cleanup_register(pconf, state, end_state, apr_pool_cleanup_null);

    mod_ecert_tls_begin(pconf);
    if (mod_ecert_fill(ptemp, main_server, conf) != 0
        || check_agent(main_server) != 0) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

/* ---- the agent ---- */

/*
 * The next agent takes over what this one has published, so its memory must
 * outlive pconf, and this file with it.  The descriptors are given to plog,
 * which httpd clears between the next configuration's pre_config and
 * post_config hooks: take_memory saves them in time, and when the next
 * configuration no longer loads this module, libapr closes them.
 */
static int give_to(apr_pool_t *plog, int fd)
{
    apr_os_file_t file = fd;
    apr_file_t *owner;

    return apr_os_pipe_put_ex(&owner, &file, 1, plog) == APR_SUCCESS ? fd : -1;
}

static void keep_memory(server_rec *s, apr_pool_t *plog,
                        const ecert_launch_t *launch)
{
    apr_pool_t *process = s->process->pool;
    ecert_kept_t *kept = NULL;
    void *data = NULL;

    apr_pool_userdata_get(&data, ECERT_KEPT, process);
    kept = data;
    if (kept == NULL) {
        kept = apr_palloc(process, sizeof(*kept));
        apr_pool_userdata_set(kept, ECERT_KEPT, apr_pool_cleanup_null, process);
    }
    kept->generation = ap_state_query(AP_SQ_CONFIG_GEN);
    kept->snap = give_to(plog, launch->snap);
    kept->visits = give_to(plog, launch->visits);
}

static int take_memory(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    ecert_kept_t *kept;
    void *data = NULL;

    (void)pconf;
    (void)plog;
    (void)ptemp;
    apr_pool_userdata_get(&data, ECERT_KEPT, ap_pglobal);
    kept = data;
    /* Left by an older configuration, the number means another file by now. */
    if (kept != NULL && kept->snap >= 0
        && kept->generation + 1 == ap_state_query(AP_SQ_CONFIG_GEN)) {
        previous.snap = fcntl(kept->snap, F_DUPFD_CLOEXEC, 3);
        previous.visits = fcntl(kept->visits, F_DUPFD_CLOEXEC, 3);
        kept->snap = kept->visits = -1;
    }
    return OK;
}

static void warn_without_tls(server_rec *main_server)
{
    int ssl = ap_find_linked_module("mod_ssl.c") != NULL;
    const ecert_srv_t *srv;
    server_rec *s;

    for (s = main_server; s != NULL; s = s->next) {
        srv = ecert_srv(s);
        if (srv->site < 0 || srv->tls) {
            continue;
        }
        if (ssl) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                         "%s: the site has no effect in this virtual host: "
                         "\"SSLEngine on\" is missing",
                         srv->where);
        } else {
            ap_log_error(APLOG_MARK, APLOG_ERR, 0, s,
                         "%s: no certificate is served: mod_ssl is not "
                         "loaded (a2enmod ssl); validation files are answered",
                         srv->where);
        }
    }
}

static int launch_agent(apr_pool_t *ptemp, apr_pool_t *plog,
                        server_rec *main_server)
{
    ecert_err_t err;
    int rc;

    if (set_log(ptemp, main_server, ECERT_LOG_PREFIX) != 0) {
        return -1;
    }
    if (set_syslog(ptemp, main_server, state->conf, &err) != 0) {
        mod_ecert_log(main_server, APLOG_WARNING, NULL, &err);
    }
    state->parent = getpid();
    if (mod_ecert_listen(ptemp, main_server, state->conf, &err) != 0) {
        mod_ecert_log(main_server, APLOG_ERR, NULL, &err);
    }
    rc = ecert_launch(&state->launch, state->conf, 2, &previous, &err);
    if (rc != 0) {
        mod_ecert_log(main_server, rc < 0 ? APLOG_EMERG : APLOG_ERR, NULL,
                      &err);
    }
    if (rc < 0) {
        return -1;
    }
    keep_memory(main_server, plog, &state->launch);

    state->live = ecert_live_new(state->conf, &state->launch, &err);
    if (state->live == NULL) {
        mod_ecert_log(main_server, APLOG_EMERG, NULL, &err);
        return -1;
    }
    close(state->launch.seen); /* mapped; mod_cgid's forks need not have it */
    state->launch.seen = -1;
    return 0;
}

/*
 * Last of all modules, so that what the others fork here (mod_cgid's daemon)
 * does not inherit the control pipe and keep the agent alive.
 */
static int ecert_post_config(apr_pool_t *pconf, apr_pool_t *plog,
                             apr_pool_t *ptemp, server_rec *main_server)
{
    int rc = 0;

    (void)pconf;
    /* The first pass is in a process that leaves: httpd daemonizes after it. */
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK;
    }
    warn_without_tls(main_server);
    mod_ecert_dcv_begin();
    if (agent_needed(main_server)) {
        rc = launch_agent(ptemp, plog, main_server);
    }
    ecert_launch_close(&previous);
    /* an error at a restart would end the server: then it has placeholders */
    return rc == 0 || ap_state_query(AP_SQ_CONFIG_GEN) > 1
               ? OK
               : HTTP_INTERNAL_SERVER_ERROR;
}

/*
 * Not only in the workers: mod_cgid forks its daemon in its own post_config,
 * and once more when that dies.  With what it inherits the keys of before, and
 * the agent, would live as long as it does.
 */
static int ecert_drop_privileges(apr_pool_t *pchild, server_rec *s)
{
    (void)pchild;
    (void)s;
    if (getpid() == parent) { /* httpd -X */
        return OK;
    }
    ecert_launch_close(&previous);
    if (state != NULL) {
        ecert_launch_close(&state->launch);
    }
    return OK;
}

static void ecert_child_init(apr_pool_t *pchild, server_rec *s)
{
    (void)pchild;
    (void)s;
    if (state == NULL) {
        return;
    }
    if (state->live != NULL) {
        ecert_live_worker(state->live);
    }
}

static void dump_sites(server_rec *main_server)
{
    const ecert_conf_t *conf = state->conf;
    apr_file_t *out = NULL;
    size_t i, k;

    (void)main_server;
    if (apr_file_open_stdout(&out, main_server->process->pool) != APR_SUCCESS) {
        return;
    }
    apr_file_printf(out, "ecert: store %s, %" APR_SIZE_T_FMT " site(s)\n",
                    conf->store, conf->n_sites);
    for (i = 0; i < conf->n_sites; i++) {
        apr_file_printf(out, "  %s (%s):", ecert_site_label(&conf->sites[i]),
                        conf->sites[i].where);
        for (k = 0; k < conf->sites[i].n_names; k++) {
            apr_file_printf(out, " %s", conf->sites[i].names[k]);
        }
        apr_file_printf(out, "\n");
    }
}

/* A bad site is told, but a server that could start must pass its test. */
static void ecert_test_config(apr_pool_t *pconf, server_rec *main_server)
{
    ecert_err_t err;

    if (ap_exists_config_define("DUMP_ECERT")) {
        dump_sites(main_server);
        return;
    }
    if (ap_state_query(AP_SQ_RUN_MODE) != AP_SQ_RM_CONFIG_TEST
        || !agent_needed(main_server)
        || set_log(pconf, main_server, "[ecert:{level}] ") != 0) {
        return;
    }
    if (ecert_launch_test(state->conf, 2, &err) < 0) {
        mod_ecert_log(main_server, APLOG_ERR, NULL, &err);
    }
}

/* ---- module ---- */

static void ecert_register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_pre_config(take_memory, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(ecert_check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_test_config(ecert_test_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(ecert_post_config, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_drop_privileges(ecert_drop_privileges, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_child_init(ecert_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    mod_ecert_dcv_hooks();
    mod_ecert_tls_hooks();
}

AP_DECLARE_MODULE(ecert) = {STANDARD20_MODULE_STUFF,
                            NULL,
                            NULL,
                            ecert_srv_create,
                            ecert_srv_merge,
                            ecert_commands,
                            ecert_register_hooks,
                            0};
