/* Foreign bytes in errors, log lines and JSON (ecert_escape, ecert_frame_text,
 * ecert_err*): whatever comes in, only what may be shown comes out. */

#include "fuzz.h"

#include <jansson.h>

#include "ecert_jail.h"

#define ROOM 4096

/* Guarded by what stands behind it. */
static void escape(char *(*with)(char *, size_t, const char *, size_t),
                   const uint8_t *bytes, size_t len, size_t size)
{
    char *out = malloc(size ? size : 1), again[ROOM + 1];

    FUZZ_CHECK(out != NULL);
    FUZZ_CHECK(with(out, size, (const char *)bytes, len) == out);
    if (size > 0) {
        FUZZ_CHECK(memchr(out, '\0', size) != NULL);
        fuzz_check_text(out);
        /* what is clean already stays as it is */
        ecert_frame_text(again, sizeof(again), out, strlen(out));
        FUZZ_CHECK(strcmp(again, out) == 0);
    }
    free(out);
}

static void as_json(const uint8_t *bytes, size_t len)
{
    char out[ROOM];
    json_t *text;

    ecert_escape(out, sizeof(out), (const char *)bytes, len);
    text = json_string(out);
    FUZZ_CHECK(text != NULL);
    json_decref(text);
}

static void errors(const uint8_t *bytes, size_t len, uint8_t code)
{
    char *text = fuzz_text(bytes, len), line[700];
    ecert_err_t err;

    ecert_err(&err, (ecert_code_t)(1 + code % (ECERT_ERR_LAST - 1)), text,
              "\"%s\" %s", text, text);
    fuzz_check_err(&err);
    ecert_err_hint(&err, "see %s", text);
    fuzz_check_err(&err);
    for (size_t size = 1; size < sizeof(line); size += 97) {
        fuzz_check_text(ecert_err_line(&err, text, line, size));
        FUZZ_CHECK(strchr(line, '\n') == NULL);
    }
    free(text);
}

static void run(const uint8_t *bytes, size_t len)
{
    fuzz_in_t in = {bytes, len};
    uint8_t code = fuzz_byte(&in);
    size_t size = fuzz_byte(&in);

    escape(ecert_escape, in.p, in.len, size);
    escape(ecert_frame_text, in.p, in.len, size);
    escape(ecert_escape, in.p, in.len, ROOM);
    escape(ecert_frame_text, in.p, in.len, ROOM);
    as_json(in.p, in.len);
    errors(in.p, in.len, code);
}

static void seeds(void)
{
    fuzz_seed_text("\1\x30/var/lib/ecert/\x1b[2J\r\n\\x1b");
    fuzz_seed_text("\2\x20\xe9\xa6\x99\xe6\xb8\xaf \xe2\x80\xae \xc2\x9b \xff");
    fuzz_seed_text("\3\x0a\xf0\x9f\x98\x80\xed\xa0\x80\xf4\x90\x80\x80\xc0");
    fuzz_seed_text("\4\5\\x1b\\x\\xz1\\");
}

static const char *const words[] = {"\\x1b",
                                    "\xe2\x80\xae",
                                    "\xc2\x9b",
                                    "\xef\xbb\xbf",
                                    "\xe2\x80\xa8",
                                    "\xed\xa0\x80",
                                    "\xf4\x8f\xbf\xbf",
                                    "\xe0\x80\x80",
                                    "\xd8\x9c",
                                    NULL};

FUZZ_TARGET(escape, .run = run, .seeds = seeds, .max = 3000, .words = words);
