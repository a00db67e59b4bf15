#include "ecert_dcv_reply.h"

#include <string.h>
#include <strings.h>

#define HEADER 12
#define FIXED  10 /* type, class, time to live, length */
#define JUMPS  32

typedef struct {
    const unsigned char *bytes;
    size_t len, at;
} message_t;

static unsigned number(const unsigned char *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

/* Letters, digits and "-_*" only: a name with other bytes is none of ours. */
static int add_label(char *out, size_t *n, const unsigned char *label,
                     size_t len)
{
    if (*n + len + 2 > ECERT_DNS_NAME) {
        return -1;
    }
    if (*n > 0) {
        out[(*n)++] = '.';
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = label[i];
        int plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
                    || (c >= '0' && c <= '9') || strchr("-_*", c) != NULL;

        out[(*n)++] = plain && c != '\0' ? (char)c : '?';
    }
    out[*n] = '\0';
    return 0;
}

/* Reads a name at message->at and goes behind it. */
static int take_name(message_t *message, char *out)
{
    size_t at = message->at, n = 0, behind = 0;

    out[0] = '\0';
    for (int jumps = 0; jumps < JUMPS && at < message->len;) {
        unsigned len = message->bytes[at++];

        if (len == 0) {
            message->at = behind ? behind : at;
            return 0;
        }
        if ((len & 0xc0) == 0xc0 && at < message->len) {
            behind = behind ? behind : at + 1;
            at = (len & 0x3fu) << 8 | message->bytes[at];
            jumps++;
        } else if (len > 63 || len > message->len - at
                   || add_label(out, &n, message->bytes + at, len) != 0) {
            return -1;
        } else {
            at += len;
        }
    }
    return -1;
}

static int take_txt(const unsigned char *p, size_t len, ecert_dns_record_t *out)
{
    for (size_t at = 0; at < len; out->strings++) {
        size_t n = p[at++];

        if (n > len - at) {
            return -1;
        }
        for (size_t i = 0; i < n; i++, out->len++) {
            if (out->len < sizeof(out->value)) {
                out->value[out->len] = p[at + i];
            }
        }
        at += n;
    }
    return 0;
}

static int take_value(const message_t *message, unsigned type, size_t len,
                      ecert_dns_record_t *out)
{
    message_t inner = *message;
    char name[ECERT_DNS_NAME];

    if (type == ECERT_DNS_TXT) {
        return take_txt(message->bytes + message->at, len, out);
    }
    if (type == ECERT_DNS_A || type == ECERT_DNS_AAAA) {
        out->len = type == ECERT_DNS_A ? 4 : 16;
        memcpy(out->value, message->bytes + message->at,
               len == out->len ? len : 0);
        return len == out->len ? 0 : -1;
    }
    if (take_name(&inner, name) != 0) {
        return -1;
    }
    out->len = strlen(name);
    memcpy(out->value, name, out->len + 1);
    return 0;
}

static int keep(const message_t *message, unsigned type, unsigned wanted,
                uint32_t ttl, size_t len, ecert_dcv_reply_t *out)
{
    ecert_dns_record_t record = {.ttl = ttl};

    if (type == ECERT_DNS_CNAME && wanted != type) {
        if (take_value(message, type, len, &record) != 0) {
            return -1;
        }
        memcpy(out->alias, record.value, record.len + 1);
        return 0;
    }
    if (type != wanted || out->n == ECERT_DNS_RECORDS) {
        return 0;
    }
    if (take_value(message, type, len, &record) != 0) {
        return -1;
    }
    out->records[out->n++] = record;
    return 0;
}

static int take_record(message_t *message, unsigned wanted, const char *owner,
                       ecert_dcv_reply_t *out)
{
    char name[ECERT_DNS_NAME];
    const unsigned char *p;
    unsigned type;
    size_t len;

    if (take_name(message, name) != 0 || message->len - message->at < FIXED) {
        return -1;
    }
    p = message->bytes + message->at;
    type = number(p);
    len = number(p + 8);
    message->at += FIXED;
    if (len > message->len - message->at) {
        return -1;
    }
    if (number(p + 2) == 1
        && (wanted != ECERT_DNS_NS || strcasecmp(name, owner) == 0)
        && keep(message, type, wanted,
                (uint32_t)number(p + 4) << 16 | number(p + 6), len, out)
               != 0) {
        return -1;
    }
    message->at += len;
    return 0;
}

int ecert_dcv_reply(const unsigned char *bytes, size_t len, unsigned type,
                    const char *owner, ecert_dcv_reply_t *out)
{
    message_t message = {bytes, len, HEADER};
    char ignored[ECERT_DNS_NAME];
    unsigned questions, answers;

    memset(out, 0, sizeof(*out));
    if (len < HEADER || (bytes[2] & 0x80) == 0) {
        return -1;
    }
    out->code = bytes[3] & 0x0f;
    out->authoritative = (bytes[2] & 0x04) != 0;
    questions = number(bytes + 4);
    answers = number(bytes + 6);
    for (unsigned i = 0; i < questions; i++) {
        if (take_name(&message, ignored) != 0 || len - message.at < 4) {
            return -1;
        }
        message.at += 4;
    }
    for (unsigned i = 0; i < answers; i++) {
        if (take_record(&message, type, owner, out) != 0) {
            return -1;
        }
    }
    return 0;
}
