#include "ecert_fetch_work.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <curl/curl.h>

#include "ecert.h"
#include "ecert_clock.h"

#define HEADER_MAX      (64 * 1024)
#define CONNECT_SECONDS 10L
#define SLOW_BYTES      64L /* a second, for so many seconds: given up */
#define SLOW_SECONDS    30L
#define TOO_LARGE       100 /* CURLE_TOO_LARGE, since 8.6 */

typedef struct {
    ecert_hop_t *hop;
    CURL *curl;
    int connected; /* at least one address was allowed */
    int too_long;  /* Content-Length is above the bound */
    char refused[INET6_ADDRSTRLEN + 16];
    char says[CURL_ERROR_SIZE];
} exchange_t;

/* 0, which ends the exchange when a callback returns it. */
static size_t refuse(ecert_hop_t *hop, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static size_t refuse(ecert_hop_t *hop, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(hop->why, sizeof(hop->why), fmt, args);
    va_end(args);
    return 0;
}

static size_t refuse_length(ecert_hop_t *hop)
{
    return refuse(hop, "the body has more than %zu bytes", hop->what->max);
}

static void describe(const struct sockaddr *address, char *out, size_t size)
{
    char text[INET6_ADDRSTRLEN] = "this kind of address";
    struct sockaddr_in6 in6;
    struct sockaddr_in in;
    unsigned port = 0;

    if (address->sa_family == AF_INET) {
        memcpy(&in, address, sizeof(in));
        inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
        port = ntohs(in.sin_port);
    } else if (address->sa_family == AF_INET6) {
        memcpy(&in6, address, sizeof(in6));
        inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
        port = ntohs(in6.sin6_port);
    }
    snprintf(out, size, "%s port %u", text, port);
}

/* Whatever the name was resolved to, this is the address that is connected. */
static curl_socket_t open_socket(void *ctx, curlsocktype purpose,
                                 struct curl_sockaddr *to)
{
    exchange_t *exchange = ctx;
    const ecert_fetch_t *what = exchange->hop->what;

    (void)purpose;
    if (!ecert_addr_allowed(&to->addr, what->allowed, what->n_allowed)) {
        describe(&to->addr, exchange->refused, sizeof(exchange->refused));
        return CURL_SOCKET_BAD;
    }
    exchange->connected = 1;
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* The value of the header of this name, without blanks around, or NULL. */
static const char *value_of(const char *name, const char *line, size_t *len)
{
    size_t skip = strlen(name), n = *len;

    if (n < skip || strncasecmp(line, name, skip) != 0) {
        return NULL;
    }
    while (skip < n && strchr(" \t", line[skip]) != NULL) {
        skip++;
    }
    while (n > skip && strchr(" \t\r\n", line[n - 1]) != NULL) {
        n--;
    }
    *len = n - skip;
    return line + skip;
}

static void keep_location(ecert_hop_t *hop, const char *value, size_t len)
{
    if (len >= sizeof(hop->location)) {
        len = sizeof(hop->location) - 1;
    }
    memcpy(hop->location, value, len);
    hop->location[len] = '\0';
}

/* libcurl's own bound (MAXFILESIZE) would hide the status of an error page. */
static int is_too_long(ecert_hop_t *hop, const char *value, size_t len)
{
    unsigned long long announced;
    char digits[24];

    if (len >= sizeof(digits)) {
        return 1;
    }
    memcpy(digits, value, len);
    digits[len] = '\0';
    errno = 0;
    announced = strtoull(digits, NULL, 10);
    if (errno == ERANGE || announced > hop->what->max) {
        return 1;
    }
    hop->announced = (size_t)announced;
    return 0;
}

static size_t look_at(exchange_t *exchange, const char *line, size_t n)
{
    ecert_hop_t *hop = exchange->hop;
    const char *value;
    size_t len = n;

    value = value_of("Location:", line, &len);
    if (value != NULL) {
        keep_location(hop, value, len);
        return n;
    }
    value = value_of("Content-Length:", line, &len);
    if (value != NULL) {
        exchange->too_long = is_too_long(hop, value, len);
        return n;
    }
    value = value_of("Transfer-Encoding:", line, &len);
    if (value != NULL
        && (len != 7 || strncasecmp(value, "chunked", len) != 0)) {
        return refuse(hop, "its transfer coding is \"%.*s\", not chunked",
                      (int)(len < 40 ? len : 40), value);
    }
    return n;
}

/* Nothing of a body is waited for that nobody wants. */
static size_t end_of_header(exchange_t *exchange, size_t n)
{
    ecert_hop_t *hop = exchange->hop;
    long status = 0;

    curl_easy_getinfo(exchange->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200 && status != 101) {
        hop->location[0] = '\0';
        exchange->too_long = 0;
        return n;
    }
    hop->status = status;
    if (status != 200) {
        return 0;
    }
    return exchange->too_long ? refuse_length(hop) : n;
}

static size_t take_header(char *line, size_t size, size_t n, void *ctx)
{
    exchange_t *exchange = ctx;

    n *= size;
    exchange->hop->header += n;
    if (exchange->hop->header > HEADER_MAX) {
        return refuse(exchange->hop, "the headers have more than %d KiB",
                      HEADER_MAX / 1024);
    }
    if (n > 0 && n <= 2 && line[n - 1] == '\n') {
        return end_of_header(exchange, n);
    }
    return look_at(exchange, line, n);
}

static int make_room(ecert_hop_t *hop, size_t needed)
{
    size_t size = hop->size < 8192 ? 16384 : hop->size * 2;
    unsigned char *bytes;

    if (needed <= hop->size) {
        return 0;
    }
    size = size > needed ? size : needed;
    bytes = realloc(hop->bytes, size);
    if (bytes == NULL) {
        hop->no_memory = 1;
        return -1;
    }
    hop->bytes = bytes;
    hop->size = size;
    return 0;
}

static size_t take_body(char *bytes, size_t size, size_t n, void *ctx)
{
    ecert_hop_t *hop = ((exchange_t *)ctx)->hop;

    n *= size;
    if (n > hop->what->max - hop->len) {
        return refuse_length(hop);
    }
    if (n == 0 || make_room(hop, hop->len + n) != 0) {
        return 0;
    }
    memcpy(hop->bytes + hop->len, bytes, n);
    hop->len += n;
    if (hop->what->progress != NULL) {
        hop->what->progress(hop->what->ctx, hop->len, hop->announced);
    }
    return n;
}

#define SET(option, value)                                                     \
    (curl_easy_setopt(exchange->curl, CURLOPT_##option, value) == CURLE_OK)

static int set_rules(exchange_t *exchange)
{
    return SET(PROTOCOLS_STR, "http,https")
           && SET(REDIR_PROTOCOLS_STR, "http,https") && SET(FOLLOWLOCATION, 0L)
           && SET(DISALLOW_USERNAME_IN_URL, 1L) && SET(PROXY, "")
           && SET(NOPROXY, "*") && SET(NETRC, (long)CURL_NETRC_IGNORED)
           && SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1)
           && SET(HTTP09_ALLOWED, 0L) && SET(HTTP_CONTENT_DECODING, 0L)
           && SET(SSL_VERIFYPEER, 1L) && SET(SSL_VERIFYHOST, 2L)
           && SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2)
           && SET(FRESH_CONNECT, 1L) && SET(FORBID_REUSE, 1L)
           && SET(NOSIGNAL, 1L) && SET(QUICK_EXIT, 1L)
           && SET(USERAGENT, "ecert/" ECERT_VERSION);
}

static int set_limits(exchange_t *exchange, int64_t left)
{
    return SET(CONNECTTIMEOUT, CONNECT_SECONDS)
           && SET(TIMEOUT_MS, (long)(left < INT_MAX ? left : INT_MAX))
           && SET(LOW_SPEED_LIMIT, SLOW_BYTES)
           && SET(LOW_SPEED_TIME, SLOW_SECONDS);
}

static int set_callbacks(exchange_t *exchange)
{
    return SET(OPENSOCKETFUNCTION, open_socket) && SET(OPENSOCKETDATA, exchange)
           && SET(HEADERFUNCTION, take_header) && SET(HEADERDATA, exchange)
           && SET(WRITEFUNCTION, take_body) && SET(WRITEDATA, exchange)
           && SET(ERRORBUFFER, exchange->says);
}

static int set_post(exchange_t *exchange)
{
    const ecert_fetch_t *what = exchange->hop->what;

    return SET(POST, 1L) && SET(POSTFIELDS, (const char *)what->post)
           && SET(POSTFIELDSIZE_LARGE, (curl_off_t)what->post_len);
}

/* Appended to the list, or the whole list is given up. */
static struct curl_slist *add(struct curl_slist *list, const char *header)
{
    struct curl_slist *longer = curl_slist_append(list, header);

    if (longer == NULL) {
        curl_slist_free_all(list);
    }
    return longer;
}

static struct curl_slist *own_headers(const ecert_hop_t *hop)
{
    struct curl_slist *list = add(NULL, "Expect:");
    char type[256];

    if (list != NULL && hop->post) {
        snprintf(type, sizeof(type), "Content-Type: %s", hop->what->post_type);
        list = add(list, type);
    }
    return list;
}

/* libcurl's words differ between its versions: these come before. */
static const char *in_words(CURLcode code)
{
    switch ((int)code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return "the name cannot be resolved";
    case CURLE_COULDNT_CONNECT:
        return "there is no connection";
    case CURLE_OPERATION_TIMEDOUT:
        return "out of time";
    case CURLE_GOT_NOTHING:
        return "there is no answer";
    case CURLE_PARTIAL_FILE:
        return "the body is shorter than announced";
    case CURLE_SEND_ERROR:
        return "the request cannot be sent";
    case CURLE_RECV_ERROR:
        return "the answer cannot be received";
    case CURLE_OUT_OF_MEMORY:
    case TOO_LARGE:
        return "a header is too large, or there is no memory";
    case CURLE_PEER_FAILED_VERIFICATION:
        return "the server's certificate is not trusted";
    case CURLE_SSL_CONNECT_ERROR:
        return "there is no TLS connection";
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
        return "the answer is not HTTP";
    default:
        return "libcurl";
    }
}

static int explain(exchange_t *exchange, CURLcode code)
{
    ecert_hop_t *hop = exchange->hop;

    if (exchange->refused[0] != '\0' && !exchange->connected) {
        refuse(hop,
               "%s is not allowed: only public addresses at port 80 or 443, "
               "and those of the configuration",
               exchange->refused);
    } else if (code == CURLE_OK) {
        refuse(hop, "the header is cut off");
    } else if (hop->why[0] == '\0') {
        refuse(hop, "%s: %s", in_words(code),
               exchange->says[0] ? exchange->says : curl_easy_strerror(code));
    }
    return -1;
}

static int perform(exchange_t *exchange)
{
    ecert_hop_t *hop = exchange->hop;
    int64_t left = hop->deadline - ecert_clock_ms();
    CURLcode code;

    if (left <= 0) {
        refuse(hop, "out of time: %u seconds are over", hop->what->seconds);
        return -1;
    }
    if (!SET(URL, hop->url) || !set_rules(exchange)
        || !set_limits(exchange, left) || !set_callbacks(exchange)
        || (hop->post && !set_post(exchange))) {
        refuse(hop, "libcurl cannot be told the rules");
        return -1;
    }
    code = curl_easy_perform(exchange->curl);
    if (hop->status != 0 && hop->status != 200) {
        return 0;
    }
    return code == CURLE_OK && hop->status == 200 ? 0 : explain(exchange, code);
}

int ecert_hop(ecert_hop_t *hop)
{
    exchange_t exchange = {.hop = hop, .curl = curl_easy_init()};
    struct curl_slist *headers = own_headers(hop);
    int rc = -1;

    hop->status = 0;
    hop->announced = 0;
    hop->location[0] = '\0';
    hop->why[0] = '\0';
    if (exchange.curl == NULL || headers == NULL
        || curl_easy_setopt(exchange.curl, CURLOPT_HTTPHEADER, headers)
               != CURLE_OK) {
        hop->no_memory = 1;
    } else {
        rc = perform(&exchange);
    }
    curl_easy_cleanup(exchange.curl);
    curl_slist_free_all(headers);
    return rc;
}
