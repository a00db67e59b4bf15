/* Replies of name servers (ecert_dcv_reply), and what is made of them
 * (ecert_dcv_judge_txt): bounds of every record, clean words. */

#include "fuzz.h"

#include "ecert_dcv_judge.h"

static const unsigned types[] = {1, 2, 5, 16, 28};

static void check(const ecert_dcv_reply_t *reply, unsigned type)
{
    FUZZ_CHECK(reply->n <= ECERT_DNS_RECORDS && reply->code <= 15);
    FUZZ_CHECK(memchr(reply->alias, '\0', sizeof(reply->alias)) != NULL);
    fuzz_check_text(reply->alias);
    for (size_t i = 0; i < reply->n; i++) {
        const ecert_dns_record_t *record = &reply->records[i];

        if (type == 1 || type == 28) {
            FUZZ_CHECK(record->len == (type == 1 ? 4 : 16));
        } else if (type != 16) {
            FUZZ_CHECK(record->len < ECERT_DNS_NAME);
            FUZZ_CHECK(record->value[record->len] == '\0');
            fuzz_check_text((const char *)record->value);
        }
    }
}

static void judge(const ecert_dcv_reply_t *reply, const char *code)
{
    ecert_dcv_verdict_t verdict;

    ecert_dcv_judge_txt(reply, code, 3600, &verdict);
    FUZZ_CHECK(verdict.state <= ECERT_DCV_BAD);
    fuzz_check_text(verdict.what);
    fuzz_check_text(verdict.hint);
}

static void run(const uint8_t *bytes, size_t len)
{
    ecert_dcv_reply_t reply;

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (ecert_dcv_reply(bytes, len, types[i], "example.hk", &reply) == 0) {
            check(&reply, types[i]);
            if (types[i] == 16) {
                judge(&reply, "code");
            }
        }
    }
}

/* One question, and an answer for it of this type. */
static void seed(unsigned char type, const char *data, size_t len,
                 unsigned char n)
{
    static const unsigned char question[] = "\7example\2hk\0\0\20\0\1";
    unsigned char bytes[600] = {0, 1, 0x85, 0x80, 0, 1, 0, n};
    unsigned char *p = bytes + 12;

    memcpy(p, question, sizeof(question) - 1);
    p += sizeof(question) - 1;
    for (; n > 0; n--) {
        memcpy(p, "\xc0\x0c\0\0\0\1\0\0\x0e\x10\0\0", 12);
        p[3] = type;
        p[11] = (unsigned char)len;
        memcpy(p + 12, data, len);
        p += 12 + len;
    }
    fuzz_seed(bytes, (size_t)(p - bytes));
}

static void seeds(void)
{
    seed(16, "\4code", 5, 1);
    seed(16, "\4code\5other\0", 11, 3);
    seed(16, "\5\"co\xff\\", 6, 1);
    seed(1, "\x7f\0\0\1", 4, 2);
    seed(28, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16, 1);
    seed(2, "\3ns1\xc0\x0c", 6, 1);
    seed(5, "\3www\7example\3com\0", 17, 1);
    seed(16, "", 0, 0);
}

static const char *const words[] = {"\xc0\x0c", "\4code",   "\7example\2hk",
                                    "\3www",    "\xc0\x2a", NULL};

FUZZ_TARGET(dcv_dns, .run = run, .seeds = seeds, .max = 1024, .words = words);
