/* Redirects of a download (ecert_fetch): whatever a server says, the next URL
 * is http or https, never http behind https, and brings no user along. */

#include "fuzz.h"

#include "ecert_fetch.c" /* for what is done with a Location */

static void check_url(const char *url)
{
    CURLU *parts = curl_url();
    char *user = NULL, *host = NULL;

    FUZZ_CHECK(strlen(url) <= ECERT_URL_MAX);
    FUZZ_CHECK(is_https(url) || has_prefix(url, "http://"));
    for (const char *p = url; *p != '\0'; p++) {
        FUZZ_CHECK(*p > ' ' && *p <= '~' && *p != '\\');
    }
    FUZZ_CHECK(curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK);
    FUZZ_CHECK(curl_url_get(parts, CURLUPART_USER, &user, 0) == CURLUE_NO_USER);
    FUZZ_CHECK(curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK);
    FUZZ_CHECK(host[0] != '\0');
    curl_free(host);
    curl_url_cleanup(parts);
}

static void go(const char *base, const char *location)
{
    ecert_fetch_t what = {.url = base};
    ecert_hop_t *hop = calloc(1, sizeof(*hop));
    ecert_err_t err;

    FUZZ_CHECK(hop != NULL);
    hop->what = &what;
    hop->status = 302;
    hop->post = 1;
    strcpy(hop->url, base);
    snprintf(hop->location, sizeof(hop->location), "%s", location);
    if (redirect(hop, &err) != 0) {
        FUZZ_CHECK(strcmp(hop->url, base) == 0);
        fuzz_check_err(&err);
    } else {
        check_url(hop->url);
        FUZZ_CHECK(!is_https(base) || is_https(hop->url));
        FUZZ_CHECK(hop->post == 0);
    }
    free(hop);
}

static void run(const uint8_t *bytes, size_t len)
{
    char *text = fuzz_text(bytes, len);

    go("http://a.example.hk/b/c?d", text);
    go("https://[2001:db8::1]:8443/", text);
    if (url_fault(text) == NULL) {
        check_url(text);
    }
    free(text);
}

static void seeds(void)
{
    fuzz_seed_text("http://www1.ecert.gov.hk/root/a.crt");
    fuzz_seed_text("HTTPS://a:443/b?c=d#e");
    fuzz_seed_text("../../x/./y");
    fuzz_seed_text("//user:pass@b.hk/");
    fuzz_seed_text("?a:b");
    fuzz_seed_text("file:///etc/passwd");
    fuzz_seed_text("http:/a");
    fuzz_seed_text("http://a\\@b/");
    fuzz_seed_text("http://a.hk:99999/");
    fuzz_seed_text("http://%61@b/%00");
}

static const char *const words[] = {"http://", "https://", "://", "@", ":80",
                                    "//",      "[::1]",    "%00", "#", "?",
                                    "file:",   "\\",       "..",  NULL};

FUZZ_TARGET(url, .run = run, .seeds = seeds, .max = 2100, .words = words);
