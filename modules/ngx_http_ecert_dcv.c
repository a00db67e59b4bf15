/*
 * Validation files, answered before anything that the server's directives
 * could do to the request.
 */

#include "ngx_http_ecert.h"

/* A filter's configuration as if no directive of it stood anywhere. */
typedef struct {
    ngx_uint_t index;
    void *conf;
} ngx_http_ecert_default_t;

/* Filters which no property of an answer keeps away: sub_filter_types *. */
static const char *const ngx_http_ecert_filters[] = {
    "ngx_http_addition_filter_module",     "ngx_http_headers_filter_module",
    "ngx_http_headers_more_filter_module", "ngx_http_lua_module",
    "ngx_http_ssi_filter_module",          "ngx_http_sub_filter_module",
    "ngx_http_userid_filter_module"};

static ngx_uint_t ngx_http_ecert_is_filter(const ngx_module_t *module)
{
    size_t n = sizeof(ngx_http_ecert_filters) / sizeof(char *);

    for (size_t i = 0; i < n; i++) {
        if (ngx_strcmp(module->name, ngx_http_ecert_filters[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

static ngx_int_t ngx_http_ecert_add_default(ngx_conf_t *cf, ngx_array_t *list,
                                            ngx_module_t *module)
{
    ngx_http_module_t *ctx = module->ctx;
    ngx_http_ecert_default_t *one = ngx_array_push(list);
    void *parent;

    if (one == NULL) {
        return NGX_ERROR;
    }
    parent = ctx->create_loc_conf(cf);
    one->index = module->ctx_index;
    one->conf = ctx->create_loc_conf(cf);
    if (parent == NULL || one->conf == NULL
        || ctx->merge_loc_conf(cf, parent, one->conf) != NGX_CONF_OK) {
        return NGX_ERROR;
    }
    return NGX_OK;
}

ngx_int_t ngx_http_ecert_dcv_init(ngx_conf_t *cf)
{
    ngx_http_ecert_main_conf_t *emcf;
    ngx_array_t *list;

    emcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_ecert_module);
    list = ngx_array_create(cf->pool, 4, sizeof(ngx_http_ecert_default_t));
    if (list == NULL) {
        return NGX_ERROR;
    }
    for (ngx_uint_t i = 0; cf->cycle->modules[i]; i++) {
        if (ngx_http_ecert_is_filter(cf->cycle->modules[i])
            && ngx_http_ecert_add_default(cf, list, cf->cycle->modules[i])
                   != NGX_OK) {
            return NGX_ERROR;
        }
    }
    emcf->unfiltered = list;
    return NGX_OK;
}

/* The request gets a table of its own: the server's is everybody's. */
static ngx_int_t ngx_http_ecert_unfilter(ngx_http_request_t *r)
{
    ngx_http_ecert_srv_conf_t *escf;
    ngx_http_ecert_default_t *one;
    size_t size = sizeof(void *) * ngx_http_max_module;
    void **table = ngx_palloc(r->pool, size);

    if (table == NULL) {
        return NGX_ERROR;
    }
    escf = ngx_http_get_module_srv_conf(r, ngx_http_ecert_module);
    ngx_memcpy(table, r->loc_conf, size);
    one = escf->main->unfiltered->elts;
    for (ngx_uint_t i = 0; i < escf->main->unfiltered->nelts; i++) {
        table[one[i].index] = one[i].conf;
    }
    r->loc_conf = table;
    return NGX_OK;
}

static void *ngx_http_ecert_alloc(void *pool, size_t size)
{
    return ngx_palloc(pool, size);
}

static ngx_int_t ngx_http_ecert_header(ngx_http_request_t *r, const char *key,
                                       const char *value)
{
    ngx_table_elt_t *h = ngx_list_push(&r->headers_out.headers);

    if (h == NULL) {
        return NGX_ERROR;
    }
    ngx_memzero(h, sizeof(*h));
    h->hash = 1;
    h->key.data = (u_char *)(uintptr_t)key;
    h->key.len = ngx_strlen(key);
    h->value.data = (u_char *)(uintptr_t)value;
    h->value.len = ngx_strlen(value);
    return NGX_OK;
}

/*
 * The validator compares bytes.  An encoding that is there already keeps gzip
 * away; it is not in the list of headers, so it is not sent.  A type of length
 * 0 is in nobody's list of types (sub_filter, addition, ssi), and a charset
 * that is there already is not converted; neither changes what is sent.
 */
static ngx_int_t ngx_http_ecert_no_filters(ngx_http_request_t *r)
{
    ngx_table_elt_t *encoding = ngx_pcalloc(r->pool, sizeof(*encoding));

    if (encoding == NULL) {
        return NGX_ERROR;
    }
    ngx_str_set(&encoding->key, "Content-Encoding");
    ngx_str_set(&encoding->value, "identity");
    r->headers_out.content_encoding = encoding;

    ngx_str_set(&r->headers_out.content_type, "text/plain");
    r->headers_out.content_type_len = 0;
    ngx_str_set(&r->headers_out.charset, "us-ascii");

    r->allow_ranges = 0;
    r->disable_not_modified = 1;
    r->limit_rate = 0;
    r->limit_rate_set = 1;
    return ngx_http_ecert_unfilter(r);
}

/*
 * tcp_nopush for the last answer of a connection, as nginx does it for a file:
 * the body leaves together with the end of the connection.
 */
static void ngx_http_ecert_hold_back(ngx_http_request_t *r)
{
    ngx_connection_t *c = r->connection;
    ngx_http_core_loc_conf_t *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    if (clcf->tcp_nopush && !r->keepalive && r->stream == NULL && c->ssl == NULL
        && c->tcp_nopush == NGX_TCP_NOPUSH_UNSET
        && ngx_tcp_nopush(c->fd) != -1) {
        c->tcp_nopush = NGX_TCP_NOPUSH_SET;
    }
}

static ngx_int_t ngx_http_ecert_send(ngx_http_request_t *r,
                                     const ecert_answer_t *answer)
{
    ngx_http_complex_value_t body;

    if (ngx_http_ecert_no_filters(r) != NGX_OK
        || ngx_http_ecert_header(r, "Cache-Control", "no-store") != NGX_OK) {
        return NGX_ERROR;
    }
    if (answer->allow != NULL
        && ngx_http_ecert_header(r, "Allow", answer->allow) != NGX_OK) {
        return NGX_ERROR;
    }
    ngx_memzero(&body, sizeof(body));
    body.value.data = answer->body;
    body.value.len = answer->len;
    ngx_http_ecert_hold_back(r);
    return ngx_http_send_response(r, (ngx_uint_t)answer->status, NULL, &body);
}

/* Only the plain spelling of the path is ours: not %66ile, not //, not /./ */
static ngx_uint_t ngx_http_ecert_is_plain(ngx_http_request_t *r)
{
    const ngx_str_t *raw = &r->unparsed_uri;
    size_t len = r->uri.len;

    return raw->len >= len && ngx_memcmp(raw->data, r->uri.data, len) == 0
           && (raw->len == len || raw->data[len] == '?');
}

/* What nginx knows already: it costs no system call. */
static void ngx_http_ecert_ask(ngx_http_request_t *r, ecert_ask_t *ask)
{
    const ngx_table_elt_t *agent = r->headers_in.user_agent;

    ngx_memzero(ask, sizeof(*ask));
    ask->method = (const char *)r->method_name.data;
    ask->method_len = r->method_name.len;
    ask->host = (const char *)r->headers_in.server.data;
    ask->host_len = r->headers_in.server.len;
    ask->path = (const char *)r->uri.data;
    ask->path_len = r->uri.len;
    ask->now = ngx_time();
    ask->peer = r->connection->sockaddr;
    ask->tls = r->connection->ssl != NULL;
    if (agent != NULL) {
        ask->agent = (const char *)agent->value.data;
        ask->agent_len = agent->value.len;
    }
}

ngx_int_t ngx_http_ecert_dcv_handler(ngx_http_request_t *r)
{
    ngx_http_ecert_srv_conf_t *escf;
    ecert_answer_t answer;
    ecert_ask_t ask;
    ngx_int_t rc;

    escf = ngx_http_get_module_srv_conf(r, ngx_http_ecert_module);
    if (!escf->dcv || !ngx_http_ecert_is_plain(r)) {
        return NGX_DECLINED;
    }
    ngx_http_ecert_ask(r, &ask);
    ecert_live_answer(escf->main->live, &ask, ngx_http_ecert_alloc, r->pool,
                      &answer);
    if (answer.status == 0) {
        return NGX_DECLINED;
    }
    rc = ngx_http_discard_request_body(r);
    if (rc == NGX_OK) {
        ecert_live_note(escf->main->live, &ask, &answer);
        rc = ngx_http_ecert_send(r, &answer);
    }
    /* finished here: a status handed back to nginx would meet error_page */
    ngx_http_finalize_request(r, rc);
    return NGX_DONE;
}
