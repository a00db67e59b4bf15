/*
 * A module of httpd that refuses whatever is asked as early as one can, as
 * firewalls do: in post_read_request, really first.  Of a path with /pass/ in
 * it nothing is said.
 */

#include <string.h>

#include "httpd.h"
#include "http_config.h"
#include "http_protocol.h"

static int refuse(request_rec *r)
{
    return strstr(r->uri, "/pass/") == NULL ? HTTP_FORBIDDEN : DECLINED;
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_post_read_request(refuse, NULL, NULL, APR_HOOK_REALLY_FIRST);
}

AP_DECLARE_MODULE(early) = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks, 0};
