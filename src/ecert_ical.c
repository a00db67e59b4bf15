/* iCalendar (RFC 5545), written by hand: the calendar has events, no more. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ecert_calendar.h"
#include "ecert_conf.h"

#define DAY         86400
#define FIRST_DAY   0            /* 1970-01-01 */
#define LAST_DAY    253402214399 /* the last second of 9999-12-30 */
#define LINE_OCTETS 75

struct ecert_ical_s {
    FILE *out; /* writes into text; has no file */
    char *text;
    size_t len;
    size_t column; /* octets in the line so far */
    char stamp[32];
};

/* Octets of the UTF-8 sequence that begins here; 0: none does. */
static size_t sequence(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n > 1 && (p[0] < 0xc2 || p[0] > 0xf4)) {
        return 0;
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f)
        || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) {
        return 0; /* overlong, a surrogate, beyond Unicode */
    }
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return n;
}

static int is_control(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    return p[0] < 0x20 || p[0] == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0);
}

/* Octets that a fold does not tear apart. */
static void put(ecert_ical_t *ical, const char *bytes, size_t n)
{
    if (ical->column + n > LINE_OCTETS) {
        fputs("\r\n ", ical->out);
        ical->column = 1;
    }
    fwrite(bytes, 1, n, ical->out);
    ical->column += n;
}

static void put_line(ecert_ical_t *ical, const char *line)
{
    ical->column = 0;
    for (; *line != '\0'; line++) {
        put(ical, line, 1);
    }
    fputs("\r\n", ical->out);
}

static void put_escaped(ecert_ical_t *ical, char c)
{
    const char pair[] = {'\\', c};
    put(ical, pair, sizeof(pair));
}

/* "NAME:" and a value of type TEXT. */
static void put_text(ecert_ical_t *ical, const char *name, const char *text)
{
    size_t n;
    ical->column = 0;
    put(ical, name, strlen(name));
    for (; *text != '\0'; text += n) {
        n = sequence(text);
        if (n == 0) {
            put(ical, "?", 1);
            n = 1;
        } else if (*text == '\n') {
            put_escaped(ical, 'n');
        } else if (strchr("\\;,", *text) != NULL) {
            put_escaped(ical, *text);
        } else if (!is_control(text)) {
            put(ical, text, n);
        }
    }
    fputs("\r\n", ical->out);
}

/* "2027-04-15T09:00:00Z" becomes "20270415T090000Z", cut after len signs. */
static void basic_date(int64_t seconds, size_t len, char out[32])
{
    char date[32];
    size_t n = 0;
    ecert_date_format(seconds, date);
    for (const char *p = date; *p != '\0' && n < len; p++) {
        if (*p != '-' && *p != ':') {
            out[n++] = *p;
        }
    }
    out[n] = '\0';
}

static void put_day(ecert_ical_t *ical, const char *name, int64_t day)
{
    char line[64], date[32];
    basic_date(day, 8, date);
    snprintf(line, sizeof(line), "%s;VALUE=DATE:%s", name, date);
    put_line(ical, line);
}

static void put_alarm(ecert_ical_t *ical, const char *text, unsigned days)
{
    char line[64];
    put_line(ical, "BEGIN:VALARM");
    put_line(ical, "ACTION:DISPLAY");
    if (days == 0) {
        put_line(ical, "TRIGGER:PT0S");
    } else {
        snprintf(line, sizeof(line), "TRIGGER:-P%uD", days);
        put_line(ical, line);
    }
    put_text(ical, "DESCRIPTION:", text);
    put_line(ical, "END:VALARM");
}

static int check_date(int64_t seconds, ecert_err_t *err)
{
    if (seconds >= FIRST_DAY && seconds <= LAST_DAY) {
        return 0;
    }
    return ecert_err(err, ECERT_ERR_USAGE, NULL,
                     "a calendar has no room for a day outside 1970 to 9999");
}

ecert_ical_t *ecert_ical_new(int64_t now, ecert_err_t *err)
{
    if (check_date(now, err) != 0) {
        return NULL;
    }
    ecert_ical_t *ical = calloc(1, sizeof(*ical));
    if (ical != NULL) {
        ical->out = open_memstream(&ical->text, &ical->len);
    }
    if (ical == NULL || ical->out == NULL) {
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        free(ical);
        return NULL;
    }
    basic_date(now, 16, ical->stamp);
    put_line(ical, "BEGIN:VCALENDAR");
    put_line(ical, "VERSION:2.0");
    put_line(ical, "PRODID:-//ecert//ecert//EN");
    put_line(ical, "CALSCALE:GREGORIAN");
    put_line(ical, "METHOD:PUBLISH");
    return ical;
}

int ecert_ical_add(ecert_ical_t *ical, const char *uid, int64_t day,
                   const char *summary, const char *description,
                   unsigned alarm_days, ecert_err_t *err)
{
    char line[64];
    if (check_date(day, err) != 0) {
        return -1;
    }
    put_line(ical, "BEGIN:VEVENT");
    put_text(ical, "UID:", uid);
    snprintf(line, sizeof(line), "DTSTAMP:%s", ical->stamp);
    put_line(ical, line);
    put_day(ical, "DTSTART", day);
    put_day(ical, "DTEND", day + DAY);
    put_text(ical, "SUMMARY:", summary);
    put_text(ical, "DESCRIPTION:", description);
    put_line(ical, "TRANSP:TRANSPARENT");
    put_alarm(ical, summary, alarm_days);
    put_line(ical, "END:VEVENT");
    if (ferror(ical->out)) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    return 0;
}

char *ecert_ical_end(ecert_ical_t *ical, ecert_err_t *err)
{
    put_line(ical, "END:VCALENDAR");
    int failed = ferror(ical->out);
    failed |= fclose(ical->out);
    char *text = ical->text;
    free(ical);
    if (failed) {
        free(text);
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        return NULL;
    }
    return text;
}
