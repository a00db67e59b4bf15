/* Calendars (ecert_ical): lines of at most 75 octets, UTF-8 that no fold tears
 * apart, and texts that a reader gets back. */

#include "fuzz.h"

#include <jansson.h>

#include "ecert_calendar.h"

/* RFC 5545, 3.1: each line by itself is valid, too. */
static void check_lines(const char *text)
{
    const char *end;

    for (; *text != '\0'; text = end + 2) {
        json_t *line;

        end = strstr(text, "\r\n");
        FUZZ_CHECK(end != NULL && end - text <= 75);
        line = json_stringn(text, (size_t)(end - text));
        FUZZ_CHECK(line != NULL);
        json_decref(line);
        for (const char *p = text; p < end; p++) {
            FUZZ_CHECK((unsigned char)*p >= 0x20 && *p != 0x7f);
        }
    }
}

/* Unfolds it in place. */
static void unfold(char *text)
{
    char *to = text;

    while (*text != '\0') {
        if (strncmp(text, "\r\n ", 3) == 0) {
            text += 3;
        } else {
            *to++ = *text++;
        }
    }
    *to = '\0';
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;

    while ((text = strstr(text, what)) != NULL) {
        text += strlen(what);
        n++;
    }
    return n;
}

/* The value of the first line of this name, against what went in, where that
 * is plain. */
static void check_value(const char *text, const char *name, const char *given)
{
    const char *at = strstr(text, name);

    FUZZ_CHECK(at != NULL);
    at += strlen(name);
    for (; *given != '\0'; given++) {
        if (*given == '\n') {
            FUZZ_CHECK(at[0] == '\\' && at[1] == 'n');
            at += 2;
            continue;
        }
        if (strchr("\\;,", *given) != NULL) {
            FUZZ_CHECK(*at++ == '\\');
        } else if (*given < 0x20 || *given == 0x7f) {
            continue;
        }
        FUZZ_CHECK(*at++ == *given);
    }
    FUZZ_CHECK(strncmp(at, "\r\n", 2) == 0);
}

static int is_ascii(const char *text)
{
    while (*text > 0) {
        text++;
    }
    return *text == '\0';
}

static void run(const uint8_t *bytes, size_t len)
{
    fuzz_in_t in = {bytes, len};
    uint8_t days = fuzz_byte(&in);
    char *summary = fuzz_line(&in), *words = fuzz_text(in.p, in.len), *text;
    ecert_err_t err;
    ecert_ical_t *ical = ecert_ical_new(FUZZ_NOW, &err);

    FUZZ_CHECK(ical != NULL);
    FUZZ_CHECK(ecert_ical_add(ical, "1@ecert", FUZZ_NOW + days * PKI_DAY,
                              summary, words, days, &err)
               == 0);
    text = ecert_ical_end(ical, &err);
    FUZZ_CHECK(text != NULL);
    check_lines(text);
    unfold(text);
    FUZZ_CHECK(count(text, "\r\nBEGIN:") == 2);
    FUZZ_CHECK(count(text, "\r\nEND:") == 3);
    FUZZ_CHECK(count(text, "\r\n") == 20);
    if (is_ascii(summary) && is_ascii(words)) {
        check_value(text, "\r\nSUMMARY:", summary);
        check_value(text, "\r\nDESCRIPTION:", words);
    }
    free(text);
    free(summary);
    free(words);
}

static void seeds(void)
{
    fuzz_seed_text(
        "\7Renew www.example.hk\nask; then, \\install\nEND:VEVENT\r\n"
        "BEGIN:VEVENT");
    fuzz_seed_text("\1\xe7\x94\xb3\xe8\xab\x8b\xe6\x96\xb0\xe8\xad\x89\xe6\x9b"
                   "\xb8\xe7\x94\xb3\xe8\xab\x8b\xe6\x96\xb0\xe8\xad\x89\xe6"
                   "\x9b\xb8\xe7\x94\xb3\xe8\xab\x8b\n\xff\xc2\x9b\x7f");
}

static const char *const words[] = {"\r\n", "\r\n ",        "END:VEVENT",
                                    "\\n",  "\xe7\x94\xb3", "\xf0\x9f\x98\x80",
                                    ";",    "\xc2\x85",     NULL};

FUZZ_TARGET(ical, .run = run, .seeds = seeds, .max = 1024, .words = words);
