#include "ecert_pem_block.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "ecert_text.h"

#define BEGIN  ECERT_PEM_BEGIN
#define END    "-----END "
#define DASHES "-----"

/* Signs of Base64: the smallest key has more. */
#define LEAST 160

static const struct {
    const char *label;
    ecert_pem_kind_t kind;
} labels[] = {
    {"CERTIFICATE", ECERT_PEM_CERTIFICATE},
    {"X509 CERTIFICATE", ECERT_PEM_CERTIFICATE},
    {"TRUSTED CERTIFICATE", ECERT_PEM_CERTIFICATE},
    {"PKCS7", ECERT_PEM_PKCS7},
    {"PKCS #7 SIGNED DATA", ECERT_PEM_PKCS7},
    {"CMS", ECERT_PEM_PKCS7},
    {"PKCS12", ECERT_PEM_PFX},
    {"PFX", ECERT_PEM_PFX},
    {"ENCRYPTED PRIVATE KEY", ECERT_PEM_KEY_ENCRYPTED},
    {"OPENSSH PRIVATE KEY", ECERT_PEM_KEY_FOREIGN},
    {"CERTIFICATE REQUEST", ECERT_PEM_REQUEST},
    {"NEW CERTIFICATE REQUEST", ECERT_PEM_REQUEST},
    {"PUBLIC KEY", ECERT_PEM_PUBLIC_KEY},
    {"RSA PUBLIC KEY", ECERT_PEM_PUBLIC_KEY},
    {"X509 CRL", ECERT_PEM_CRL},
    {"EC PARAMETERS", ECERT_PEM_PARAMETERS},
    {"DH PARAMETERS", ECERT_PEM_PARAMETERS},
    {"DSA PARAMETERS", ECERT_PEM_PARAMETERS},
};

const char *ecert_pem_kind_name(ecert_pem_kind_t kind)
{
    switch (kind) {
    case ECERT_PEM_CERTIFICATE:
        return "a certificate";
    case ECERT_PEM_BARE:
        return "Base64 of another kind";
    case ECERT_PEM_PKCS7:
        return "a PKCS#7";
    case ECERT_PEM_PFX:
        return "a PFX (PKCS#12) file";
    case ECERT_PEM_KEY:
        return "a private key";
    case ECERT_PEM_KEY_ENCRYPTED:
        return "an encrypted private key";
    case ECERT_PEM_KEY_FOREIGN:
        return "an OpenSSH private key";
    case ECERT_PEM_REQUEST:
        return "a certificate request";
    case ECERT_PEM_PUBLIC_KEY:
        return "a public key";
    case ECERT_PEM_CRL:
        return "a revocation list";
    case ECERT_PEM_PARAMETERS:
        return "parameters";
    default:
        return "a PEM block of another kind";
    }
}

const char *ecert_pem_kind_hint(ecert_pem_kind_t kind)
{
    return kind == ECERT_PEM_KEY_FOREIGN
               ? "make PEM of a copy: ssh-keygen -p -m PKCS8 -f COPY"
               : NULL;
}

void ecert_pem_block_init(ecert_pem_block_t *block, const unsigned char *bytes,
                          size_t len)
{
    memset(block, 0, sizeof(*block));
    block->rest = bytes;
    block->rest_len = len;
}

static size_t count_lines(const unsigned char *bytes, size_t len)
{
    size_t lines = 0;
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '\n'
            || (bytes[i] == '\r' && (i + 1 == len || bytes[i + 1] != '\n'))) {
            lines++;
        }
    }
    return lines;
}

/* Goes forward to `next`, which lies in the rest. */
static void advance(ecert_pem_block_t *block, const unsigned char *next)
{
    size_t step = (size_t)(next - block->rest);
    block->lines += count_lines(block->rest, step);
    block->rest = next;
    block->rest_len -= step;
}

/* "PRIVATE KEY", "RSA PRIVATE KEY" and the like. */
static int is_key(const char *label, size_t len)
{
    static const char key[] = "PRIVATE KEY";

    return len >= strlen(key) && strcmp(label + len - strlen(key), key) == 0;
}

static int set_label(ecert_pem_block_t *block, const unsigned char *label,
                     size_t len)
{
    if (len >= sizeof(block->label) || memchr(label, '\n', len)) {
        return -1;
    }
    memcpy(block->label, label, len);
    block->label[len] = '\0';
    block->trusted = strcmp(block->label, "TRUSTED CERTIFICATE") == 0;
    block->kind = is_key(block->label, len) ? ECERT_PEM_KEY : ECERT_PEM_OTHER;
    for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
        if (strcmp(labels[i].label, block->label) == 0) {
            block->kind = labels[i].kind;
        }
    }
    return 0;
}

/* Whether the last line is the beginning of a BEGIN line that was cut off. */
static int ends_in_begin(const unsigned char *bytes, size_t len)
{
    size_t start = len;
    while (start > 0 && bytes[start - 1] != '\n' && bytes[start - 1] != '\r') {
        start--;
    }
    size_t line = len - start;
    return line > 0 && line < strlen(BEGIN)
           && memcmp(bytes + start, BEGIN, line) == 0;
}

#define ESCAPED "has escapes in place of line ends, as in JSON"
#define QUOTED_PRINTABLE                                                       \
    "is quoted-printable, as mails are sent",                                  \
        "perl -MMIME::QuotedPrint -pe '$_ = decode_qp($_)' FILE > NEW"
#define HYPHENS                                                                \
    "five stand on each side of BEGIN and END, and none between them: + and "  \
    "/ "                                                                       \
    "do (RFC 4648, 4)"
#define WEB_PAGE                                                               \
    "has marks of a web page in it",                                           \
        "save the file itself, not the page that shows it"

/* What in Base64 tells what became of it on its way. */
static const struct {
    const char *mark, *what, *hint;
} marks[] = {
    {">", "is quoted, as in a mail's answer", "sed 's/^[> ]*//' FILE > NEW"},
    {"\\n", ESCAPED, "printf %b \"$(cat FILE)\" > NEW"},
    {"\\r", ESCAPED, "printf %b \"$(cat FILE)\" > NEW"},
    {"\\/", ESCAPED, "jq -r '.. | strings' FILE > NEW"},
    {"\"", "has quotes in it, as in a program's text",
     "write its lines into a file without them"},
    {"#", "has a comment in it", "take that out"},
    {"-", "has hyphens in its Base64", HYPHENS},
    {"_", "is Base64 for URLs", HYPHENS},
    {"=3D", QUOTED_PRINTABLE},
    {"=\n", QUOTED_PRINTABLE},
    {"=\r\n", QUOTED_PRINTABLE},
    {"<", WEB_PAGE},
    {"&", WEB_PAGE},
};

/* Of the first mark; -1: none.  What ends the text, or stands before a line of
 * something else, is no mark of a mail's. */
static int find_mark(const unsigned char *body, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        for (size_t k = 0; k < sizeof(marks) / sizeof(marks[0]); k++) {
            size_t n = strlen(marks[k].mark);

            if (len - i > n && memcmp(body + i, marks[k].mark, n) == 0
                && (marks[k].mark[0] != '=' || isalnum(body[i + n])
                    || body[i + n] == '=')) {
                return (int)k;
            }
        }
    }
    return -1;
}

int ecert_pem_block_damaged(const ecert_pem_block_t *block, const char *file,
                            ecert_err_t *err)
{
    int mark = find_mark(block->body, block->len);

    if (mark < 0) {
        return ecert_err(err, ECERT_ERR_TRUNCATED, file,
                         "block %zu, %s%sline %zu, is damaged; nothing of this "
                         "file is taken",
                         block->number, block->label,
                         block->label[0] ? ", " : "", block->line);
    }
    ecert_err(err, ECERT_ERR_FORMAT, file, "block %zu, %s%sline %zu, %s",
              block->number, block->label, block->label[0] ? ", " : "",
              block->line, marks[mark].what);
    return ecert_err_hint(err, "%s", marks[mark].hint);
}

static int no_end(const ecert_pem_block_t *block, const char *file,
                  ecert_err_t *err)
{
    return ecert_err(err, ECERT_ERR_TRUNCATED, file,
                     "block %zu, %s%sline %zu, has no end; nothing of this "
                     "file is taken",
                     block->number, block->label, block->label[0] ? ", " : "",
                     block->line);
}

/* Goes behind "Proc-Type: 4,ENCRYPTED" and the like, to the Base64. */
static void skip_headers(ecert_pem_block_t *block)
{
    const unsigned char *p = block->body, *end = p + block->len;

    block->encrypted = 0;
    while (p < end) {
        const unsigned char *line = p;

        while (p < end && *p != '\n' && *p != '\r') {
            p++;
        }
        if (memchr(line, ':', (size_t)(p - line)) != NULL) {
            block->encrypted |=
                memmem(line, (size_t)(p - line), "ENCRYPTED", 9) != NULL;
            block->len -= (size_t)(p - block->body);
            block->body = p;
        } else if (p > line) {
            return;
        }
        p++;
    }
}

/* White space, of other character sets, too; its bytes, 0: something else. */
static size_t blank(const unsigned char *p, size_t len)
{
    unsigned long sign;
    size_t step = ecert_text_sign(p, len, &sign);

    return step > 0 && ecert_text_blank(sign) ? step : 0;
}

/*
 * No block, but a word about one ("all from -----BEGIN CERTIFICATE----- on"),
 * or an example of one ("..."), as READMEs and mails have it: too short, and
 * no Base64, or it begins beside the label without being a SEQUENCE ("M").
 */
static int is_mention(const unsigned char *body, size_t len)
{
    size_t n = 0, step;
    int foreign = 0;

    for (size_t i = 0; i < len && n < LEAST; i += step) {
        step = blank(body + i, len - i);
        if (step == 0) {
            foreign |= !isalnum(body[i]) && strchr("+/=", body[i]) == NULL;
            foreign |= n == 0 && body[i] != 'M' && memchr(body, '\n', i) == NULL
                       && memchr(body, '\r', i) == NULL;
            n++;
            step = 1;
        }
    }
    return foreign && n < LEAST;
}

/* Where the END line begins, whatever its label; *behind it.  NULL: it is cut
 * off. */
static const unsigned char *find_end_line(const unsigned char *body,
                                          const unsigned char *limit,
                                          const unsigned char **behind)
{
    const unsigned char *end =
        memmem(body, (size_t)(limit - body), END, strlen(END));
    const unsigned char *label = end ? end + strlen(END) : NULL;
    const unsigned char *dashes =
        end ? memmem(label, (size_t)(limit - label), DASHES, strlen(DASHES))
            : NULL;

    if (dashes == NULL || memchr(label, '\n', (size_t)(dashes - label))) {
        return NULL;
    }
    *behind = dashes + strlen(DASHES);
    return end;
}

/* Behind the label: finds the END line.  2: this is no block. */
static int find_end(ecert_pem_block_t *block, const unsigned char *body,
                    const char *file, ecert_err_t *err)
{
    const unsigned char *limit = block->rest + block->rest_len, *behind;
    const unsigned char *next =
        memmem(body, (size_t)(limit - body), BEGIN, strlen(BEGIN));
    const unsigned char *end =
        find_end_line(body, next ? next : limit, &behind);
    const unsigned char *stop = end ? end : next ? next : limit;

    if (is_mention(body, (size_t)(stop - body))) {
        advance(block, stop);
        return 2;
    }
    if (end == NULL) {
        return no_end(block, file, err);
    }
    block->body = body;
    block->len = (size_t)(end - body);
    skip_headers(block);
    advance(block, behind);
    return 1;
}

/* Base64 alone: all of it but a byte order mark, once. */
static int take_bare(ecert_pem_block_t *block)
{
    size_t mark =
        block->rest_len >= 3 && memcmp(block->rest, "\xef\xbb\xbf", 3) == 0 ? 3
                                                                            : 0;

    block->kind = ECERT_PEM_BARE;
    block->body = block->rest + mark;
    block->len = block->rest_len - mark;
    block->line = 1;
    block->rest_len = 0;
    return 1;
}

static int next(ecert_pem_block_t *block, const char *file, ecert_err_t *err)
{
    const unsigned char *begin =
        memmem(block->rest, block->rest_len, BEGIN, strlen(BEGIN));
    block->label[0] = '\0';
    block->number++;
    if (begin == NULL && block->number == 1 && block->rest_len > 0) {
        return take_bare(block);
    }
    if (begin == NULL) {
        block->line =
            block->lines + 1 + count_lines(block->rest, block->rest_len);
        return ends_in_begin(block->rest, block->rest_len)
                   ? no_end(block, file, err)
                   : 0;
    }
    advance(block, begin);
    block->line = block->lines + 1;

    const unsigned char *label = begin + strlen(BEGIN);
    size_t room = block->rest_len - strlen(BEGIN);
    const unsigned char *dashes = memmem(label, room, DASHES, strlen(DASHES));
    if (dashes == NULL
        || set_label(block, label, (size_t)(dashes - label)) != 0) {
        return no_end(block, file, err);
    }
    return find_end(block, dashes + strlen(DASHES), file, err);
}

int ecert_pem_block_next(ecert_pem_block_t *block, const char *file,
                         ecert_err_t *err)
{
    int rc;

    do {
        rc = next(block, file, err);
    } while (rc == 2);
    return rc;
}

/*
 * Base64 to bytes, whatever white space is in it, and also without what fills
 * up its end: *out has room for three bytes of every four characters begun.
 * -1 when it is damaged.
 */
static int decode(const unsigned char *text, size_t len, unsigned char *out,
                  size_t *out_len)
{
    unsigned char *chars = OPENSSL_malloc(len + 4);
    size_t n = 0, pad = 0, step;
    int got = -1;

    for (size_t i = 0; chars != NULL && i < len; i += step) {
        step = blank(text + i, len - i);
        if (step == 0) {
            chars[n++] = text[i];
            step = 1;
        }
    }
    while (n % 4 != 0) {
        chars[n++] = '=';
    }
    while (pad < n && pad < 2 && chars[n - 1 - pad] == '=') {
        pad++;
    }
    if (n > 0 && n <= INT_MAX && n % 4 == 0
        && memchr(chars, '=', n - pad) == NULL) {
        got = EVP_DecodeBlock(out, chars, (int)n);
    }
    OPENSSL_clear_free(chars, len + 4);
    *out_len = got > 0 ? (size_t)got - pad : 0;
    return got > 0 ? 0 : -1;
}

int ecert_pem_block_der(const ecert_pem_block_t *block, unsigned char **der,
                        size_t *len)
{
    int rc;

    *len = 0;
    *der = OPENSSL_malloc(block->len / 4 * 3 + 6);
    if (*der == NULL) {
        return -1;
    }
    rc = decode(block->body, block->len, *der, len);
    if (rc != 0) {
        OPENSSL_clear_free(*der, block->len / 4 * 3 + 6);
        *der = NULL;
    }
    return rc;
}

size_t ecert_pem_block_head(const ecert_pem_block_t *block, unsigned char *head,
                            size_t size)
{
    unsigned char chars[64];
    size_t n = 0, got = 0, most = size / 3 * 4;

    for (size_t i = 0; i < block->len && n < most && n < sizeof(chars); i++) {
        if (!isspace(block->body[i])) {
            chars[n++] = block->body[i];
        }
    }
    decode(chars, n / 4 * 4, head, &got);
    OPENSSL_cleanse(chars, sizeof(chars));
    return got;
}
