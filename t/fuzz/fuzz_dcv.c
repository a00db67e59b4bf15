/* Validation files as workers see them (ecert_dcv): host and path of a request;
 * a table of tokens made of the input, in which each is found again. */

#include "fuzz.h"

#include "ecert_dcv.h"
#include "ecert_snap.h"

#define TOKENS 12

static void host(const char *text, size_t len)
{
    char out[ECERT_DCV_HOST_MAX + 1], again[ECERT_DCV_HOST_MAX + 1];
    size_t n;

    if (ecert_dcv_host(text, len, out) != 0) {
        return;
    }
    n = strlen(out);
    FUZZ_CHECK(n > 0 && n <= ECERT_DCV_HOST_MAX && n <= len);
    for (size_t i = 0; i < n; i++) {
        FUZZ_CHECK(strchr("/\\:[]% \t\r\n@?#", out[i]) == NULL);
        FUZZ_CHECK(out[i] < 'A' || out[i] > 'Z');
        FUZZ_CHECK((unsigned char)out[i] > ' ');
    }
    FUZZ_CHECK(ecert_dcv_host(out, n, again) == 0 && strcmp(out, again) == 0);
}

static void path(const char *text, size_t len)
{
    const size_t prefix = strlen(ECERT_DCV_PREFIX);
    size_t n = 0;
    const char *file = ecert_dcv_file(text, len, &n);

    if (file == NULL) {
        return;
    }
    FUZZ_CHECK(file == text + prefix && n == len - prefix);
    FUZZ_CHECK(n > 0 && n <= ECERT_DCV_FILE_MAX && file[0] != '.');
    for (size_t i = 0; i < n; i++) {
        FUZZ_CHECK(file[i] > ' ' && file[i] < 0x7f);
        FUZZ_CHECK(strchr("/\\%?#;:", file[i]) == NULL);
    }
}

/* The last of those with this host and file; NULL: it does not fit. */
static const ecert_token_t *last(const ecert_token_t *tokens, size_t n,
                                 const ecert_token_t *like)
{
    const ecert_token_t *found = NULL;

    for (size_t i = 0; i < n; i++) {
        if (strcmp(tokens[i].host, like->host) == 0
            && strcmp(tokens[i].file, like->file) == 0) {
            found = &tokens[i];
        }
    }
    return strlen(like->host) > 0 && strlen(like->host) <= ECERT_DCV_HOST_MAX
                   && strlen(like->file) <= ECERT_DCV_FILE_MAX
               ? found
               : NULL;
}

static void check_table(const ecert_token_t *tokens, size_t n)
{
    unsigned char *table;
    ecert_token_t token;
    ecert_err_t err;
    size_t len;

    FUZZ_CHECK(ecert_dcv_encode(tokens, n, &table, &len, &err) == 0);
    FUZZ_CHECK(ecert_dcv_check(table, len, &err) == 0);
    for (size_t i = 0; i < n; i++) {
        const ecert_token_t *wanted = last(tokens, n, &tokens[i]);
        int found = ecert_dcv_find(table, len, tokens[i].host, tokens[i].file,
                                   strlen(tokens[i].file), &token);

        FUZZ_CHECK(found == (wanted != NULL));
        if (found) {
            FUZZ_CHECK(token.body_len == wanted->body_len
                       && token.expires == wanted->expires);
            FUZZ_CHECK(memcmp(token.body, wanted->body, token.body_len) == 0);
        }
    }
    FUZZ_CHECK(!ecert_dcv_find(table, len, "no.such.host", "f", 1, &token));
    ecert_snap_free(table, len);
}

static void table(const uint8_t *bytes, size_t len)
{
    char *hosts[TOKENS], *files[TOKENS];
    ecert_token_t tokens[TOKENS];
    fuzz_in_t in = {bytes, len};
    size_t n = 0;

    for (; n < TOKENS && in.len > 0; n++) {
        hosts[n] = fuzz_line(&in);
        files[n] = fuzz_line(&in);
        if (strcmp(hosts[n], "no.such.host") == 0) {
            hosts[n][0] = 'a';
        }
        tokens[n] = (ecert_token_t){.host = hosts[n], .file = files[n]};
        tokens[n].body_len = fuzz_byte(&in);
        tokens[n].body = fuzz_take(&in, &tokens[n].body_len);
        tokens[n].expires = (int64_t)n;
    }
    check_table(tokens, n);
    while (n > 0) {
        n--;
        free(hosts[n]);
        free(files[n]);
    }
}

static void run(const uint8_t *bytes, size_t len)
{
    host((const char *)bytes, len);
    path((const char *)bytes, len);
    table(bytes, len);
}

static void seeds(void)
{
    fuzz_seed_text("WWW.Example.hk.:8443");
    fuzz_seed_text("www.\xe6\x88\x91\xe7\x9a\x84.hk");
    fuzz_seed_text("[::1]:80");
    fuzz_seed_text(ECERT_DCV_PREFIX "fileauth.txt");
    fuzz_seed_text(ECERT_DCV_PREFIX "../fileauth.txt");
    fuzz_seed_text(ECERT_DCV_PREFIX "a%2e%00?x;y");
    fuzz_seed_text("a.hk\nf.txt\n\4codeb.hk\nf.txt\n\4more"
                   "a.hk\nf.txt\n\5other");
    fuzz_seed_text("a\n\n\1xa.a\nb\n\1ya\nb\n\1z");
}

static const char *const words[] = {ECERT_DCV_PREFIX, ":",   "..", ".hk\n",
                                    "f.txt\n",        "%2e", "//", NULL};

FUZZ_TARGET(dcv, .run = run, .seeds = seeds, .max = 1024, .words = words);
