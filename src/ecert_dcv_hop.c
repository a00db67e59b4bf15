#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "ecert.h"
#include "ecert_dcv_probe_work.h"
#include "ecert_name.h"

#define BODY_MAX   (64 * 1024)
#define HEADER_MAX (64 * 1024)

typedef struct {
    ecert_dcv_hop_work_t *hop;
    CURL *curl;
    EVP_MD_CTX *digest;
    size_t header;
    int refused;  /* the address is no public one */
    int too_long; /* nobody reads on: that is not a failure */
    char says[CURL_ERROR_SIZE];
} exchange_t;

/* ---- callbacks --------------------------------------------------------- */

static curl_socket_t open_socket(void *ctx, curlsocktype purpose,
                                 struct curl_sockaddr *to)
{
    exchange_t *exchange = ctx;
    const ecert_dcv_place_t *place = &exchange->hop->place;

    (void)purpose;
    if (!ecert_dcv_place_public(place)
        || to->family != place->address.ss_family) {
        exchange->refused = 1;
        return CURL_SOCKET_BAD;
    }
    /* with the port of --resolve; libcurl has room for any address there */
    memcpy((char *)to + offsetof(struct curl_sockaddr, addr), &place->address,
           place->len);
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* The value of the header of this name into out; 1: it is that one. */
static int value_of(const char *name, const char *line, size_t len, char *out,
                    size_t size)
{
    size_t skip = strlen(name);

    if (len < skip || strncasecmp(line, name, skip) != 0) {
        return 0;
    }
    while (skip < len && strchr(" \t", line[skip]) != NULL) {
        skip++;
    }
    while (len > skip && strchr(" \t\r\n", line[len - 1]) != NULL) {
        len--;
    }
    len -= skip;
    len = len < size ? len : size - 1;
    memcpy(out, line + skip, len);
    out[len] = '\0';
    return 1;
}

static void look_for_cdn(ecert_dcv_answer_t *answer, const char *line,
                         size_t len)
{
    static const char *const marks[][2] = {
        {"CF-Ray:", "Cloudflare"},
        {"X-Amz-Cf-Id:", "CloudFront"},
        {"X-Akamai-Request-Id:", "Akamai"},
        {"Server: AkamaiGHost", "Akamai"},
        {"X-Azure-Ref:", "Azure Front Door"},
        {"X-Served-By: cache-", "Fastly"},
        {"X-Iinfo:", "Imperva"},
        {"X-Sucuri-Id:", "Sucuri"},
        {"Eagleid:", "Alibaba Cloud"},
        {"X-Cache-Lookup:", "Tencent Cloud or Squid"},
    };

    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        size_t n = strlen(marks[i][0]);

        if (len >= n && strncasecmp(line, marks[i][0], n) == 0) {
            snprintf(answer->cdn, sizeof(answer->cdn), "%s", marks[i][1]);
        }
    }
}

static size_t take_header(char *line, size_t size, size_t n, void *ctx)
{
    exchange_t *exchange = ctx;
    ecert_dcv_hop_work_t *hop = exchange->hop;
    ecert_dcv_answer_t *answer = hop->answer;

    n *= size;
    exchange->header += n;
    if (exchange->header > HEADER_MAX) {
        return 0;
    }
    if (n > 5 && memcmp(line, "HTTP/", 5) == 0) {
        hop->location[0] = '\0';
    }
    if (!value_of("Location:", line, n, hop->location, sizeof(hop->location))
        && !value_of("Content-Type:", line, n, answer->type,
                     sizeof(answer->type))) {
        value_of("Content-Encoding:", line, n, answer->coding,
                 sizeof(answer->coding));
    }
    look_for_cdn(answer, line, n);
    return n;
}

static size_t take_body(char *bytes, size_t size, size_t n, void *ctx)
{
    exchange_t *exchange = ctx;
    ecert_dcv_answer_t *answer = exchange->hop->answer;
    size_t room = sizeof(answer->body) - answer->kept, keep;

    n *= size;
    if (n > BODY_MAX - answer->len) {
        exchange->too_long = 1;
        return 0;
    }
    keep = n < room ? n : room;
    memcpy(answer->body + answer->kept, bytes, keep);
    answer->kept += keep;
    answer->len += n;
    return EVP_DigestUpdate(exchange->digest, bytes, n) == 1 ? n : 0;
}

/* ---- what it came to --------------------------------------------------- */

/* Whose certificate it is, when it is not this host's. */
static void look_at_certificate(exchange_t *exchange)
{
    ecert_dcv_answer_t *answer = exchange->hop->answer;
    struct curl_certinfo *info = NULL;
    X509 *cert = NULL;
    BIO *bio;

    if (curl_easy_getinfo(exchange->curl, CURLINFO_CERTINFO, &info) != CURLE_OK
        || info == NULL || info->num_of_certs < 1) {
        return;
    }
    for (struct curl_slist *one = info->certinfo[0]; one; one = one->next) {
        if (strncmp(one->data, "Cert:", 5) == 0) {
            bio = BIO_new_mem_buf(one->data + 5, -1);
            cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
            BIO_free(bio);
        }
    }
    if (cert != NULL && !ecert_name_covered(cert, exchange->hop->host)) {
        int at = X509_NAME_get_index_by_NID(X509_get_subject_name(cert),
                                            NID_commonName, -1);

        snprintf(answer->certificate, sizeof(answer->certificate), "%s",
                 "another name");
        if (at >= 0) {
            const ASN1_STRING *cn = X509_NAME_ENTRY_get_data(
                X509_NAME_get_entry(X509_get_subject_name(cert), at));

            snprintf(answer->certificate, sizeof(answer->certificate), "%.*s",
                     ASN1_STRING_length(cn),
                     (const char *)ASN1_STRING_get0_data(cn));
        }
    }
    X509_free(cert);
    ERR_clear_error();
}

static void explain(exchange_t *exchange, CURLcode code)
{
    ecert_dcv_answer_t *answer = exchange->hop->answer;
    curl_off_t connected = 0;
    long error = 0;

    curl_easy_getinfo(exchange->curl, CURLINFO_CONNECT_TIME_T, &connected);
    answer->trouble = ECERT_DCV_NOT_HTTP;
    snprintf(answer->why, sizeof(answer->why), "%s",
             exchange->says[0] ? exchange->says : curl_easy_strerror(code));
    if (exchange->refused) {
        answer->trouble = ECERT_DCV_NOT_PUBLIC;
        ecert_dcv_place_text(&exchange->hop->place, 0, answer->why);
    } else if (code == CURLE_OPERATION_TIMEDOUT) {
        answer->trouble =
            connected > 0 ? ECERT_DCV_SLOW_READ : ECERT_DCV_SLOW_CONNECT;
    } else if (code == CURLE_COULDNT_CONNECT) {
        answer->trouble = ECERT_DCV_NO_CONNECTION;
        curl_easy_getinfo(exchange->curl, CURLINFO_OS_ERRNO, &error);
        snprintf(answer->why, sizeof(answer->why), "%s",
                 error ? strerror((int)error) : "no connection");
    } else if (code == CURLE_SSL_CONNECT_ERROR) {
        answer->trouble = ECERT_DCV_NO_TLS;
    } else if (code == CURLE_GOT_NOTHING) {
        snprintf(answer->why, sizeof(answer->why),
                 "the connection was closed without an answer");
    }
}

static void conclude(exchange_t *exchange, CURLcode code)
{
    ecert_dcv_answer_t *answer = exchange->hop->answer;
    curl_off_t connected = 0, total = 0;
    long status = 0;

    curl_easy_getinfo(exchange->curl, CURLINFO_CONNECT_TIME_T, &connected);
    curl_easy_getinfo(exchange->curl, CURLINFO_TOTAL_TIME_T, &total);
    curl_easy_getinfo(exchange->curl, CURLINFO_RESPONSE_CODE, &status);
    answer->milliseconds += (int)(total / 1000);
    look_at_certificate(exchange);
    if (code != CURLE_OK && !exchange->too_long) {
        explain(exchange, code);
        return;
    }
    answer->status = (int)status;
    EVP_DigestFinal_ex(exchange->digest, answer->digest, NULL);
    if (total - connected > (curl_off_t)ECERT_DCV_READ * 1000000) {
        answer->trouble = ECERT_DCV_SLOW_READ;
    }
}

/* ---- the exchange ------------------------------------------------------ */

#define SET(option, value)                                                     \
    (curl_easy_setopt(exchange->curl, CURLOPT_##option, value) == CURLE_OK)

static int set_rules(exchange_t *exchange)
{
    return SET(URL, exchange->hop->url) && SET(PROTOCOLS_STR, "http,https")
           && SET(FOLLOWLOCATION, 0L) && SET(DISALLOW_USERNAME_IN_URL, 1L)
           && SET(PROXY, "") && SET(NOPROXY, "*")
           && SET(NETRC, (long)CURL_NETRC_IGNORED)
           && SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1)
           && SET(HTTP09_ALLOWED, 0L) && SET(HTTP_CONTENT_DECODING, 0L)
           && SET(PATH_AS_IS, 1L) && SET(SSL_VERIFYPEER, 0L)
           && SET(SSL_VERIFYHOST, 0L) && SET(CERTINFO, 1L)
           && SET(FRESH_CONNECT, 1L) && SET(FORBID_REUSE, 1L)
           && SET(NOSIGNAL, 1L) && SET(USERAGENT, "ecert/" ECERT_VERSION)
           && SET(CONNECTTIMEOUT_MS, ECERT_DCV_CONNECT * 1000L)
           && SET(TIMEOUT_MS, exchange->hop->milliseconds);
}

static int set_callbacks(exchange_t *exchange)
{
    return SET(OPENSOCKETFUNCTION, open_socket) && SET(OPENSOCKETDATA, exchange)
           && SET(HEADERFUNCTION, take_header) && SET(HEADERDATA, exchange)
           && SET(WRITEFUNCTION, take_body) && SET(WRITEDATA, exchange)
           && SET(ERRORBUFFER, exchange->says);
}

void ecert_dcv_hop(ecert_dcv_hop_work_t *hop)
{
    exchange_t room = {.hop = hop, .curl = curl_easy_init()}, *exchange = &room;
    char route[ECERT_DCV_URL_MAX], address[ECERT_DCV_PLACE];
    struct curl_slist *routes;

    room.digest = EVP_MD_CTX_new();
    snprintf(route, sizeof(route), "%s:%u:%s", hop->host, hop->port,
             ecert_dcv_place_text(&hop->place, 0, address));
    routes = curl_slist_append(NULL, route);
    if (room.curl == NULL || routes == NULL || room.digest == NULL
        || EVP_DigestInit_ex(room.digest, EVP_sha256(), NULL) != 1
        || !SET(RESOLVE, routes) || !set_rules(exchange)
        || !set_callbacks(exchange)) {
        hop->answer->trouble = ECERT_DCV_NOT_HTTP;
        snprintf(hop->answer->why, sizeof(hop->answer->why),
                 "there is not enough memory");
    } else {
        conclude(exchange, curl_easy_perform(room.curl));
    }
    curl_easy_cleanup(room.curl);
    curl_slist_free_all(routes);
    EVP_MD_CTX_free(room.digest);
}
