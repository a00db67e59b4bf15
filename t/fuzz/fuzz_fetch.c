/* Header and body of a download (ecert_fetch_hop): bounds, and what is kept. */

#include "fuzz.h"

#include <curl/curl.h>

static long status;

/* libcurl would know it from the first line. */
static CURLcode fuzz_getinfo(CURL *curl, CURLINFO info, long *out)
{
    (void)curl;
    (void)info;
    *out = status;
    return CURLE_OK;
}

#undef curl_easy_getinfo
#define curl_easy_getinfo fuzz_getinfo
#include "ecert_fetch_hop.c" /* for what libcurl calls */
#undef curl_easy_getinfo

#define LARGEST 500

/* 1: all of it was taken. */
static int headers(exchange_t *exchange, fuzz_in_t *in)
{
    const uint8_t *end, *line;
    size_t n;

    while (in->len > 0) {
        end = memchr(in->p, '\n', in->len);
        n = end ? (size_t)(end - in->p) + 1 : in->len;
        line = fuzz_take(in, &n);
        if (n > 12 && memcmp(line, "HTTP/1.1 ", 9) == 0) {
            status = (line[9] - '0') * 100;
        }
        if (take_header((char *)(uintptr_t)line, 1, n, exchange) != n) {
            return 0;
        }
        if (n <= 2 && line[n - 1] == '\n' && status >= 200) {
            return 1;
        }
    }
    return 0;
}

static void run(const uint8_t *bytes, size_t len)
{
    ecert_fetch_t what = {.url = "http://a.hk/", .max = LARGEST};
    ecert_hop_t *hop = calloc(1, sizeof(*hop));
    exchange_t exchange = {.hop = hop};
    fuzz_in_t in = {bytes, len};
    const uint8_t *p;
    size_t n;

    FUZZ_CHECK(hop != NULL);
    hop->what = &what;
    status = 0;
    if (headers(&exchange, &in)) {
        FUZZ_CHECK(hop->status == 200);
        while (in.len > 0) {
            n = 1 + in.len / 2;
            p = fuzz_take(&in, &n);
            take_body((char *)(uintptr_t)p, 1, n, &exchange);
            FUZZ_CHECK(hop->len <= LARGEST && hop->len <= hop->size);
        }
    }
    FUZZ_CHECK(memchr(hop->location, '\0', sizeof(hop->location)) != NULL);
    FUZZ_CHECK(memchr(hop->why, '\0', sizeof(hop->why)) != NULL);
    free(hop->bytes);
    free(hop);
}

static void seeds(void)
{
    fuzz_seed_text("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    fuzz_seed_text("HTTP/1.1 100 Continue\r\nLocation: /\r\n\r\n"
                   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx");
    fuzz_seed_text("HTTP/1.1 302 Found\r\nLocation: \t http://b.hk/ \r\n\r\n");
    fuzz_seed_text("HTTP/1.1 200 OK\r\nContent-Length: "
                   "99999999999999999999999\r\nContent-Length: -1\r\n\r\n");
    fuzz_seed_text("HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n\n");
}

static const char *const words[] = {"HTTP/1.1 200 OK\r\n",
                                    "HTTP/1.1 301 X\r\n",
                                    "HTTP/1.1 100 X\r\n",
                                    "Content-Length: ",
                                    "Location: ",
                                    "Transfer-Encoding: ",
                                    "chunked",
                                    "\r\n\r\n",
                                    "18446744073709551616",
                                    NULL};

FUZZ_TARGET(fetch, .run = run, .seeds = seeds, .max = 3000, .words = words);
