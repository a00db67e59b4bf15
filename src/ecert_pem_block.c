#include "ecert_pem_block.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#define BEGIN  "-----BEGIN "
#define END    "-----END "
#define DASHES "-----"

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
    {"PRIVATE KEY", ECERT_PEM_KEY},
    {"RSA PRIVATE KEY", ECERT_PEM_KEY},
    {"EC PRIVATE KEY", ECERT_PEM_KEY},
    {"DSA PRIVATE KEY", ECERT_PEM_KEY},
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
    case ECERT_PEM_PKCS7:
        return "a PKCS#7";
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

static int set_label(ecert_pem_block_t *block, const unsigned char *label,
                     size_t len)
{
    if (len >= sizeof(block->label) || memchr(label, '\n', len)) {
        return -1;
    }
    memcpy(block->label, label, len);
    block->label[len] = '\0';
    block->trusted = strcmp(block->label, "TRUSTED CERTIFICATE") == 0;
    block->kind = ECERT_PEM_OTHER;
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

int ecert_pem_block_damaged(const ecert_pem_block_t *block, const char *file,
                            ecert_err_t *err)
{
    return ecert_err(err, ECERT_ERR_TRUNCATED, file,
                     "block %zu, %s%sline %zu, is damaged; nothing of this "
                     "file is taken",
                     block->number, block->label, block->label[0] ? ", " : "",
                     block->line);
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

/* Behind the label: finds the END line of the same label. */
static int find_end(ecert_pem_block_t *block, const unsigned char *body,
                    const char *file, ecert_err_t *err)
{
    const unsigned char *limit = block->rest + block->rest_len;
    char end[sizeof(END) + sizeof(block->label) + sizeof(DASHES)];
    int end_len = snprintf(end, sizeof(end), END "%s" DASHES, block->label);

    const unsigned char *found =
        memmem(body, (size_t)(limit - body), end, (size_t)end_len);
    if (found == NULL
        || memmem(body, (size_t)(found - body), BEGIN, strlen(BEGIN))) {
        return no_end(block, file, err);
    }
    block->start = block->rest;
    block->len = (size_t)(found + end_len - block->rest);
    advance(block, found + end_len);
    return 1;
}

int ecert_pem_block_next(ecert_pem_block_t *block, const char *file,
                         ecert_err_t *err)
{
    const unsigned char *begin =
        memmem(block->rest, block->rest_len, BEGIN, strlen(BEGIN));
    block->label[0] = '\0';
    block->number++;
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

char *ecert_pem_block_text(const ecert_pem_block_t *block, size_t *len)
{
    char *text = OPENSSL_malloc(block->len + 2);
    int line_start = 1;
    size_t n = 0;

    for (size_t i = 0; text != NULL && i < block->len; i++) {
        char c = (char)block->start[i];
        if (c == '\r') {
            if (i + 1 < block->len && block->start[i + 1] == '\n') {
                continue;
            }
            c = '\n';
        }
        if (line_start && (c == ' ' || c == '\t')) {
            continue;
        }
        line_start = c == '\n';
        text[n++] = c;
    }
    if (text != NULL) {
        text[n++] = '\n';
        text[n] = '\0';
    }
    *len = n;
    return text;
}

int ecert_pem_block_der(const ecert_pem_block_t *block, unsigned char **der,
                        size_t *len)
{
    size_t text_len = 0;
    char *text = ecert_pem_block_text(block, &text_len);
    BIO *bio = text ? BIO_new_mem_buf(text, (int)text_len) : NULL;
    char *name = NULL, *header = NULL;
    long der_len = 0;

    *der = NULL;
    int ok = bio && PEM_read_bio(bio, &name, &header, der, &der_len) == 1;
    *len = ok ? (size_t)der_len : 0;
    BIO_free(bio);
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_clear_free(text, text_len);
    ERR_clear_error();
    return ok ? 0 : -1;
}
