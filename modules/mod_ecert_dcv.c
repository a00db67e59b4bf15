/*
 * Validation files, answered before anything that the server's configuration
 * could do to the request.
 */

#include <string.h>

#include "mod_ecert.h"

#include "http_core.h"
#include "http_protocol.h"
#include "http_request.h"
#include "http_ssl.h"
#include "apr_strings.h"

static void *from_pool(void *pool, size_t size)
{
    return apr_palloc(pool, size);
}

/* A validator gets the whole file, whatever range it asks for. */
static void drop_ranges(request_rec *r)
{
    ap_filter_t *f, *next;

    for (f = r->output_filters; f != NULL; f = next) {
        next = f->next;
        if (strcasecmp(f->frec->name, "byterange") == 0) {
            ap_remove_output_filter(f);
        }
    }
}

/* AddDefaultCharset is for the site's own texts. */
static void set_type(request_rec *r)
{
    core_request_config *core = ap_get_core_module_config(r->request_config);

    core->suppress_charset = 1;
    ap_set_content_type(r, "text/plain");
}

static int send_answer(request_rec *r, const ecert_answer_t *answer)
{
    drop_ranges(r);
    r->status = answer->status;
    set_type(r);
    ap_set_content_length(r, (apr_off_t)answer->len);
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    if (answer->allow != NULL) {
        apr_table_setn(r->headers_out, "Allow", answer->allow);
    }
    if (answer->len > 0) {
        ap_rwrite(answer->body, (int)answer->len, r);
    }
    return OK; /* also for 405: an ErrorDocument must not take its place */
}

/* mod_remoteip, where it is used, has put the client's address in by now. */
static void fill_ask(request_rec *r, ecert_ask_t *ask)
{
    const char *agent = apr_table_get(r->headers_in, "User-Agent");

    memset(ask, 0, sizeof(*ask));
    ask->method = r->method;
    ask->method_len = strlen(r->method);
    ask->host = r->hostname;
    ask->host_len = strlen(r->hostname);
    ask->path = r->uri;
    ask->path_len = strlen(r->uri);
    ask->now = (int64_t)apr_time_sec(r->request_time);
    ask->tls = ap_ssl_conn_is_ssl(r->connection);
    if (r->useragent_addr != NULL) {
        ask->peer = (const struct sockaddr *)&r->useragent_addr->sa;
    }
    if (agent != NULL) {
        ask->agent = agent;
        ask->agent_len = strlen(agent);
    }
}

/*
 * Whether there is an answer.  r->uri is the path as sent, neither decoded nor
 * normalised, so that no other spelling of it can reach us.
 */
static int find(request_rec *r, ecert_ask_t *ask, ecert_answer_t *answer)
{
    answer->status = 0;
    if (r->main != NULL || r->prev != NULL || r->hostname == NULL
        || r->uri == NULL || r->proxyreq == PROXYREQ_PROXY) {
        return 0;
    }
    if (mod_ecert_live() == NULL || ecert_srv(r->server)->dcv == 0) {
        return 0;
    }
    fill_ask(r, ask);
    ecert_live_answer(mod_ecert_live(), ask, from_pool, r->pool, answer);
    return answer->status != 0;
}

/* Comes before Redirect, RewriteRule, If, Require, ProxyPass, .htaccess. */
static int ecert_quick_handler(request_rec *r, int lookup)
{
    ecert_answer_t answer;
    ecert_ask_t ask;
    int rc;

    if (lookup || !find(r, &ask, &answer)) {
        return DECLINED;
    }
    rc = ap_discard_request_body(r);
    if (rc != OK) {
        return rc;
    }
    ecert_live_note(mod_ecert_live(), &ask, &answer);
    return send_answer(r, &answer);
}

/* ---- before those who refuse a request as soon as it is read ---- */

static int is_early; /* there are such modules */

/* httpd's own that prepare a request there: filters, addresses, variables. */
static int is_known(const char *module)
{
    static const char *const known[] = {
        "core.c",         "event.c",        "mod_auth_digest.c",
        "mod_headers.c",  "mod_http2.c",    "mod_log_forensic.c",
        "mod_proxy.c",    "mod_remoteip.c", "mod_reqtimeout.c",
        "mod_setenvif.c", "mod_ssl.c",      "mod_unique_id.c"};
    size_t i;

    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (module != NULL && strcmp(module, known[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

static const ap_LINK_post_read_request_t *hook_at(int i)
{
    const apr_array_header_t *hooks = ap_hook_get_post_read_request();

    return hooks != NULL && i < hooks->nelts
               ? &APR_ARRAY_IDX(hooks, i, ap_LINK_post_read_request_t)
               : NULL;
}

/*
 * A module from elsewhere (mod_security2), or mod_md, may refuse or redirect a
 * request here, so early that no handler is reached.  So this comes first, does
 * what httpd's own modules do here, and ends it.  httpd takes such an end for a
 * failure and drops the connection: the answer says so.
 */
static int ecert_post_read_request(request_rec *r)
{
    const ap_LINK_post_read_request_t *hook;
    ecert_answer_t answer;
    ecert_ask_t ask;
    int i, rc;

    if (!is_early || !find(r, &ask, &answer)) {
        return DECLINED;
    }
    for (i = 0; (hook = hook_at(i)) != NULL; i++) {
        rc = is_known(hook->szName) ? hook->pFunc(r) : DECLINED;
        if (rc != OK && rc != DECLINED) {
            return rc;
        }
    }
    r->connection->keepalive = AP_CONN_CLOSE;
    rc = ecert_quick_handler(r, 0);
    return rc == OK ? DONE : rc;
}

void mod_ecert_dcv_begin(void)
{
    const ap_LINK_post_read_request_t *hook;
    int i;

    is_early = 0;
    for (i = 0; (hook = hook_at(i)) != NULL; i++) {
        is_early |=
            hook->pFunc != ecert_post_read_request && !is_known(hook->szName);
    }
}

void mod_ecert_dcv_hooks(void)
{
    ap_hook_post_read_request(ecert_post_read_request, NULL, NULL,
                              APR_HOOK_REALLY_FIRST - 10);
    ap_hook_quick_handler(ecert_quick_handler, NULL, NULL,
                          APR_HOOK_REALLY_FIRST);
}
