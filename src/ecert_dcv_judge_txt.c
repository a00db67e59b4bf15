#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "ecert_dcv_judge.h"
#include "ecert_err.h"

static void say(ecert_dcv_verdict_t *verdict, ecert_dcv_state_t state,
                const char *hint, const char *what)
{
    verdict->state = state;
    snprintf(verdict->what, sizeof(verdict->what), "%s", what);
    snprintf(verdict->hint, sizeof(verdict->hint), "%s", hint);
}

static int equals(const ecert_dns_record_t *record, const char *code)
{
    return record->len == strlen(code) && record->len <= sizeof(record->value)
           && memcmp(record->value, code, record->len) == 0;
}

static const char *sign_of(unsigned code)
{
    return code == ECERT_DNS_NXDOMAIN ? "there is no such name in the DNS"
           : code == ECERT_DNS_REFUSED
               ? "the server refuses to answer for this zone"
           : code == ECERT_DNS_SERVFAIL ? "the server fails (SERVFAIL): its "
                                          "copy of the zone, or DNSSEC, "
                                          "is not in order"
                                        : "the server answers with an error";
}

/* The code with something around it that does not belong there. */
static const char *slip_of(const ecert_dns_record_t *record, const char *code)
{
    char value[ECERT_DNS_VALUE + 1];
    size_t len = record->len < ECERT_DNS_VALUE ? record->len : ECERT_DNS_VALUE;
    const char *at;

    memcpy(value, record->value, len);
    value[len] = '\0';
    if (strcasecmp(value, code) == 0) {
        return "the case of its letters was changed";
    }
    at = strstr(value, code);
    if (at == NULL) {
        return NULL;
    }
    if (strchr(value, '"') != NULL || strstr(value, "\xe2\x80\x9c") != NULL
        || strchr(value, '\'') != NULL) {
        return "quotes were typed into the value";
    }
    if ((size_t)(at - value) == strspn(value, " \t")
        && at[strlen(code) + strspn(at + strlen(code), " \t")] == '\0') {
        return "blanks stand around the code";
    }
    return "something else stands in the value besides the code";
}

static void say_other(const ecert_dcv_reply_t *reply, const char *code,
                      ecert_dcv_verdict_t *verdict)
{
    char shown[200], what[400];

    for (size_t i = 0; i < reply->n; i++) {
        const ecert_dns_record_t *record = &reply->records[i];
        const char *slip = slip_of(record, code);
        size_t len = record->len < 120 ? record->len : 120;

        ecert_escape(shown, sizeof(shown), (const char *)record->value, len);
        if (slip != NULL) {
            snprintf(what, sizeof(what), "%s: %s", slip, shown);
            say(verdict, ECERT_DCV_BAD,
                "correct the record: the value is the code and nothing else",
                what);
            return;
        }
        snprintf(what, sizeof(what), "another value: %s", shown);
    }
    if (reply->n > 1) {
        snprintf(what, sizeof(what),
                 "%zu TXT records, and none is the code; the last: %s",
                 reply->n, shown);
    }
    say(verdict, ECERT_DCV_BAD, "add the record; others may stay beside it",
        what);
}

static void append(char *out, size_t size, const char *text)
{
    size_t len = strlen(out);

    snprintf(out + len, size - len, "%s", text);
}

static void say_found(const ecert_dcv_reply_t *reply,
                      const ecert_dns_record_t *record, unsigned ttl,
                      ecert_dcv_verdict_t *verdict)
{
    char what[200] = "the code", more[100];

    if (reply->n > 1) {
        snprintf(more, sizeof(more), ", beside %zu other TXT records",
                 reply->n - 1);
        append(what, sizeof(what), more);
    }
    if (record->strings > 1) {
        append(what, sizeof(what), ", in several strings that are joined");
    }
    /* a resolver counts down */
    if (ttl != 0 && reply->authoritative && record->ttl != ttl) {
        snprintf(more, sizeof(more), "; its TTL is %u, the CA asks for %u",
                 (unsigned)record->ttl, ttl);
        append(what, sizeof(what), more);
    }
    say(verdict, ECERT_DCV_GOOD, "", what);
}

void ecert_dcv_judge_txt(const ecert_dcv_reply_t *reply, const char *code,
                         unsigned ttl, ecert_dcv_verdict_t *verdict)
{
    char what[400];

    memset(verdict, 0, sizeof(*verdict));
    if (reply->code != ECERT_DNS_OK) {
        say(verdict, ECERT_DCV_BAD,
            reply->code == ECERT_DNS_NXDOMAIN
                ? "add the TXT record at exactly this name"
                : "see the DNS provider",
            sign_of(reply->code));
        return;
    }
    for (size_t i = 0; i < reply->n; i++) {
        if (equals(&reply->records[i], code)) {
            say_found(reply, &reply->records[i], ttl, verdict);
            return;
        }
    }
    if (reply->n > 0) {
        say_other(reply, code, verdict);
    } else if (reply->alias[0]) {
        snprintf(what, sizeof(what),
                 "the name is an alias (CNAME) for %s, where there is no TXT "
                 "record",
                 reply->alias);
        say(verdict, ECERT_DCV_BAD,
            "nothing can stand beside a CNAME: add the TXT record at its "
            "target, or use the file (ecert dcv add)",
            what);
    } else {
        say(verdict, ECERT_DCV_BAD, "add it (ecert dcv dns), on all servers",
            "there is no TXT record at this name");
    }
}
