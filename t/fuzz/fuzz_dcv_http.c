/* What a web server answers to a look at a validation file: header lines and
 * body (ecert_dcv_hop), and the verdict (ecert_dcv_judge). */

#include "fuzz.h"

#include "ecert_dcv_hop.c" /* for what libcurl calls */

#include "ecert_dcv.h"
#include "ecert_jail.h"

static void clean(char *text, size_t size)
{
    char *copy = strdup(text);

    FUZZ_CHECK(copy != NULL && strlen(copy) < size);
    ecert_frame_text(text, size, copy, strlen(copy));
    free(copy);
}

static void check(const ecert_dcv_answer_t *answer, const char *code)
{
    ecert_dcv_verdict_t verdict;

    ecert_dcv_judge(answer, (const unsigned char *)code,
                    code ? strlen(code) : 0, &verdict);
    FUZZ_CHECK(verdict.state <= ECERT_DCV_BAD);
    fuzz_check_text(verdict.what);
    fuzz_check_text(verdict.hint);
    if (code != NULL && verdict.state == ECERT_DCV_GOOD) {
        FUZZ_CHECK(answer->status == 200
                   && answer->trouble == ECERT_DCV_ANSWERED);
        FUZZ_CHECK(memcmp(answer->body, code, strlen(code)) == 0);
    }
}

/* Up to an empty line; n is that of a line with its end. */
static void headers(exchange_t *exchange, fuzz_in_t *in)
{
    const uint8_t *end, *line;
    size_t n;

    while (in->len > 0) {
        end = memchr(in->p, '\n', in->len);
        n = end ? (size_t)(end - in->p) + 1 : in->len;
        line = fuzz_take(in, &n);
        take_header((char *)(uintptr_t)line, 1, n, exchange);
        if (n <= 2) {
            return;
        }
    }
}

static void body(exchange_t *exchange, fuzz_in_t *in)
{
    const uint8_t *p;
    size_t n;

    while (in->len > 0) {
        n = 1 + in->len / 2;
        p = fuzz_take(in, &n);
        take_body((char *)(uintptr_t)p, 1, n, exchange);
    }
}

static void run(const uint8_t *bytes, size_t len)
{
    static ecert_dcv_answer_t answer;
    ecert_dcv_hop_work_t hop = {.answer = &answer};
    exchange_t exchange = {.hop = &hop, .digest = EVP_MD_CTX_new()};
    fuzz_in_t in = {bytes, len};
    uint8_t flags = fuzz_byte(&in);

    memset(&answer, 0, sizeof(answer));
    FUZZ_CHECK(EVP_DigestInit_ex(exchange.digest, EVP_sha256(), NULL) == 1);
    headers(&exchange, &in);
    body(&exchange, &in);
    EVP_MD_CTX_free(exchange.digest);
    FUZZ_CHECK(answer.kept <= sizeof(answer.body));
    FUZZ_CHECK(answer.len >= answer.kept && answer.len <= BODY_MAX);
    answer.status = flags & 1 ? 404 : 200;
    answer.trouble = (ecert_dcv_trouble_t)(flags >> 4) % ECERT_DCV_TROUBLES;
    answer.n_hops = 1 + (flags >> 1 & 1);
    strcpy(answer.hops[0].url, "http://www.example.hk" ECERT_DCV_PREFIX "a");
    snprintf(answer.hops[1].url, sizeof(answer.hops[1].url), "%.511s",
             hop.location);
    snprintf(answer.hops[0].location, sizeof(answer.hops[0].location), "%.511s",
             hop.location);
    snprintf(answer.why, sizeof(answer.why), "%.255s", hop.location);
    snprintf(answer.certificate, sizeof(answer.certificate), "%.255s",
             flags & 4 ? hop.location : "");
    clean(answer.why, sizeof(answer.why));
    clean(answer.type, sizeof(answer.type));
    clean(answer.coding, sizeof(answer.coding));
    clean(answer.certificate, sizeof(answer.certificate));
    for (int i = 0; i < 2; i++) {
        clean(answer.hops[i].url, sizeof(answer.hops[i].url));
        clean(answer.hops[i].location, sizeof(answer.hops[i].location));
    }
    check(&answer, "code");
    check(&answer, NULL);
}

#define OK "HTTP/1.1 200 OK\r\n"

static void seeds(void)
{
    fuzz_seed("\0" OK "Content-Type: text/plain\r\n\r\ncode\n",
              1 + sizeof(OK "Content-Type: text/plain\r\n\r\ncode\n") - 1);
    fuzz_seed_text("\4" OK "Server: AkamaiGHost\r\nContent-Encoding: gzip\r\n"
                   "\r\n<html>code</html>");
    fuzz_seed_text("\3HTTP/1.1 302 Found\r\nLocation:  https://sso.example.hk/"
                   "login?\xe9\xa6\x99 \r\nCF-Ray: 1\r\n\r\n");
    fuzz_seed_text("\7" OK "Location: \x1b[2J\xe2\x80\xae\\x\r\n\r\n \r\ncode");
    fuzz_seed_text("\x74" OK "\r\n\xef\xbb\xbf"
                   "code and more");
    fuzz_seed_text("\x44" OK "location: http://a/\r\n\r\n\xff\xfe"
                   "c");
}

static const char *const words[] = {"Location: ",
                                    "Content-Type: ",
                                    "Content-Encoding: ",
                                    "CF-Ray:",
                                    "code",
                                    "<html>",
                                    "\r\n\r\n",
                                    "HTTP/1.1 200 OK\r\n",
                                    "://",
                                    "login",
                                    "\xef\xbb\xbf",
                                    "%PDF-",
                                    "\xe9\xa6\x99",
                                    "\\x1b",
                                    "X-Served-By: cache-",
                                    NULL};

FUZZ_TARGET(dcv_http, .run = run, .seeds = seeds, .max = 5000, .words = words);
