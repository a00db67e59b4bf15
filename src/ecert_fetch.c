#include "ecert_fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "ecert_clock.h"
#include "ecert_fetch_work.h"

#define REDIRECTS_MAX 2

static const char *const only_http = "only http:// and https:// are fetched";

static int start_libcurl(void)
{
    static int started;

    if (!started) {
        /* libcurl would write the secrets of its connections there. */
        unsetenv("SSLKEYLOGFILE");
        started = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    }
    return started ? 0 : -1;
}

static int has_prefix(const char *text, const char *prefix)
{
    return strncasecmp(text, prefix, strlen(prefix)) == 0;
}

static int is_https(const char *url)
{
    return has_prefix(url, "https://");
}

/* Letters and more up to a colon: "javascript:alert(1)", too. */
static int has_scheme(const char *text)
{
    return text[strcspn(text, ":/?#")] == ':';
}

/* What libcurl itself would say to it, or NULL. */
static const char *syntax_fault(const char *url)
{
    CURLU *parts = curl_url();
    CURLUcode code = CURLUE_OUT_OF_MEMORY;

    if (parts != NULL) {
        code = curl_url_set(parts, CURLUPART_URL, url, CURLU_DISALLOW_USER);
    }
    curl_url_cleanup(parts);
    return code == CURLUE_OK ? NULL : curl_url_strerror(code);
}

static const char *sign_fault(const char *url)
{
    if (strlen(url) > ECERT_URL_MAX) {
        return "the URL has more than 2,048 bytes";
    }
    for (; *url; url++) {
        if (*url <= ' ' || *url > '~' || *url == '\\') {
            return "the URL has a control character, a space or another sign "
                   "that URLs may not have";
        }
    }
    return NULL;
}

static const char *url_fault(const char *url)
{
    const char *fault = sign_fault(url), *host;
    size_t len;

    if (fault != NULL) {
        return fault;
    }
    if (!is_https(url) && !has_prefix(url, "http://")) {
        return only_http;
    }
    host = strstr(url, "://") + 3;
    len = strcspn(host, "/?#");
    if (memchr(host, '@', len) != NULL) {
        return "a URL with a user or a password is not fetched";
    }
    return len == 0 ? "the URL has no host" : syntax_fault(url);
}

static int fail(const ecert_hop_t *hop, ecert_err_t *err, const char *reason)
{
    const char *asked = hop->what->url;

    if (hop->no_memory) {
        return ecert_err(err, ECERT_ERR_MEMORY, asked, NULL);
    }
    if (strcmp(hop->url, asked) == 0) {
        return ecert_err(err, ECERT_ERR_FETCH, asked, "%s", reason);
    }
    return ecert_err(err, ECERT_ERR_FETCH, asked, "%s; redirected to %s",
                     reason, hop->url);
}

static int is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307
           || status == 308;
}

/* Relative to the URL that answered; NULL: it cannot be put together. */
static char *resolve(const char *base, const char *location)
{
    CURLU *parts = curl_url();
    char *text = NULL, *copy = NULL;

    if (parts != NULL
        && curl_url_set(parts, CURLUPART_URL, base, 0) == CURLUE_OK
        && curl_url_set(parts, CURLUPART_URL, location, 0) == CURLUE_OK
        && curl_url_get(parts, CURLUPART_URL, &text, 0) == CURLUE_OK) {
        copy = strdup(text);
    }
    curl_free(text);
    curl_url_cleanup(parts);
    return copy;
}

static int refuse_redirect(ecert_hop_t *hop, ecert_err_t *err,
                           const char *target, const char *fault)
{
    char reason[400];

    snprintf(reason, sizeof(reason), "it redirects to %.200s: %s", target,
             fault);
    return fail(hop, err, reason);
}

static int redirect_to(ecert_hop_t *hop, ecert_err_t *err, const char *target)
{
    const char *fault = url_fault(target);

    if (fault == NULL && is_https(hop->url) && !is_https(target)) {
        fault = "from https to http";
    }
    if (fault != NULL) {
        return refuse_redirect(hop, err, target, fault);
    }
    snprintf(hop->url, sizeof(hop->url), "%s", target);
    if (hop->status <= 303) {
        hop->post = 0;
    }
    return 0;
}

/* What names a scheme is judged as it is, before libcurl takes it apart. */
static int redirect(ecert_hop_t *hop, ecert_err_t *err)
{
    const char *fault = sign_fault(hop->location);
    char *target;
    int rc;

    if (hop->location[0] == '\0') {
        return fail(hop, err, "it redirects to nowhere");
    }
    if (fault != NULL) {
        return refuse_redirect(hop, err, hop->location, fault);
    }
    if (has_scheme(hop->location)) {
        return redirect_to(hop, err, hop->location);
    }
    target = resolve(hop->url, hop->location);
    if (target == NULL) {
        return refuse_redirect(hop, err, hop->location, "this is no URL");
    }
    rc = redirect_to(hop, err, target);
    free(target);
    return rc;
}

static int follow(ecert_hop_t *hop, ecert_err_t *err)
{
    for (int redirects = 0;; redirects++) {
        if (ecert_hop(hop) != 0) {
            return fail(hop, err, hop->why);
        }
        if (!is_redirect(hop->status)) {
            return 0;
        }
        if (redirects == REDIRECTS_MAX) {
            return fail(hop, err, "more than two redirects");
        }
        if (redirect(hop, err) != 0) {
            return -1;
        }
    }
}

static int judge(const ecert_hop_t *hop, ecert_err_t *err)
{
    char reason[64];

    if (hop->status != 200) {
        snprintf(reason, sizeof(reason), "the answer has status %ld",
                 hop->status);
        return fail(hop, err, reason);
    }
    return hop->len > 0 ? 0 : fail(hop, err, "the body is empty");
}

int ecert_fetch(const ecert_fetch_t *what, ecert_fetch_got_t *out,
                ecert_err_t *err)
{
    ecert_hop_t hop = {.what = what, .post = what->post != NULL};
    const char *fault = url_fault(what->url);

    memset(out, 0, sizeof(*out));
    if (fault != NULL) {
        return ecert_err(err, ECERT_ERR_FETCH, what->url, "%s", fault);
    }
    if (start_libcurl() != 0) {
        return ecert_err(err, ECERT_ERR_FETCH, what->url,
                         "libcurl cannot be started");
    }
    snprintf(hop.url, sizeof(hop.url), "%s", what->url);
    hop.deadline = ecert_clock_ms() + (int64_t)what->seconds * 1000;
    if (follow(&hop, err) != 0 || judge(&hop, err) != 0) {
        free(hop.bytes);
        out->status = hop.status;
        return -1;
    }
    out->status = hop.status;
    out->bytes = hop.bytes;
    out->len = hop.len;
    return 0;
}
