#include "ecert_dcv.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

/*
 * Table: count (u32), unused (u32), entry_t[count] in order of key, then the
 * bytes that entries point to.  A key is host, a zero byte, file: so the order
 * of the keys as bytes is that of strcmp on host, then on file.
 */
typedef struct {
    uint32_t key;
    uint32_t key_len;
    uint32_t body;
    uint32_t body_len;
    int64_t expires;
    uint64_t id;
} entry_t;

#define HEAD    8
#define KEY_MAX (ECERT_DCV_HOST_MAX + 1 + ECERT_DCV_FILE_MAX)

int ecert_dcv_host(const char *host, size_t len, char *out)
{
    const char *colon = len > 0 ? memchr(host, ':', len) : NULL;
    size_t i;

    if (colon != NULL) {
        for (i = (size_t)(colon - host) + 1; i < len; i++) {
            if (host[i] < '0' || host[i] > '9') {
                return -1;
            }
        }
        len = (size_t)(colon - host);
    }
    if (len > 0 && host[len - 1] == '.') {
        len--;
    }
    if (len == 0 || len > ECERT_DCV_HOST_MAX) {
        return -1;
    }
    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)host[i];

        if (c >= 'A' && c <= 'Z') {
            c |= 0x20;
        }
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'
              || c == '_' || c == '.' || c >= 0x80)) {
            return -1;
        }
        out[i] = (char)c;
    }
    out[len] = '\0';
    return out[0] == '.' || out[len - 1] == '.' ? -1 : 0;
}

const char *ecert_dcv_file(const char *path, size_t len, size_t *file_len)
{
    size_t prefix = sizeof(ECERT_DCV_PREFIX) - 1, i;
    const char *file;

    if (len <= prefix || len > prefix + ECERT_DCV_FILE_MAX
        || memcmp(path, ECERT_DCV_PREFIX, prefix) != 0 || path[prefix] == '.') {
        return NULL;
    }
    file = path + prefix;
    *file_len = len - prefix;
    for (i = 0; i < *file_len; i++) {
        char c = file[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-')) {
            return NULL;
        }
    }
    return file;
}

uint64_t ecert_dcv_id(const char *host, const char *file,
                      const unsigned char *body, size_t len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char digest[32];
    uint64_t id = 0;

    if (ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1
        && EVP_DigestUpdate(ctx, host, strlen(host) + 1) == 1
        && EVP_DigestUpdate(ctx, file, strlen(file) + 1) == 1
        && EVP_DigestUpdate(ctx, body, len) == 1
        && EVP_DigestFinal_ex(ctx, digest, NULL) == 1) {
        memcpy(&id, digest, sizeof(id));
    }
    EVP_MD_CTX_free(ctx);
    return id;
}

static int compare_tokens(const void *a, const void *b)
{
    const ecert_token_t *x = *(const ecert_token_t *const *)a;
    const ecert_token_t *y = *(const ecert_token_t *const *)b;
    int order = strcmp(x->host, y->host);

    order = order ? order : strcmp(x->file, y->file);
    return order ? order : (x > y) - (x < y);
}

static int same_token(const ecert_token_t *a, const ecert_token_t *b)
{
    return strcmp(a->host, b->host) == 0 && strcmp(a->file, b->file) == 0;
}

static int fits(const ecert_token_t *token)
{
    return token->host[0] != '\0' && strlen(token->host) <= ECERT_DCV_HOST_MAX
           && strlen(token->file) <= ECERT_DCV_FILE_MAX
           && token->body_len <= ECERT_DCV_BODY_MAX;
}

static unsigned char *put_bytes(unsigned char *p, const void *bytes, size_t len)
{
    if (len > 0) {
        memcpy(p, bytes, len);
    }
    return p + len;
}

static void put_all(unsigned char *table, const ecert_token_t *const *order,
                    size_t n)
{
    unsigned char *p = table + HEAD + n * sizeof(entry_t);
    uint32_t count = (uint32_t)n;
    size_t i;

    memset(table, 0, HEAD);
    memcpy(table, &count, sizeof(count));
    for (i = 0; i < n; i++) {
        entry_t entry = {.expires = order[i]->expires, .id = order[i]->id};

        entry.key = (uint32_t)(p - table);
        p = put_bytes(p, order[i]->host, strlen(order[i]->host));
        p = put_bytes(p, "", 1);
        p = put_bytes(p, order[i]->file, strlen(order[i]->file));
        entry.key_len = (uint32_t)(p - table) - entry.key;
        entry.body = (uint32_t)(p - table);
        entry.body_len = (uint32_t)order[i]->body_len;
        p = put_bytes(p, order[i]->body, order[i]->body_len);
        memcpy(table + HEAD + i * sizeof(entry), &entry, sizeof(entry));
    }
}

static int compare_keys(const unsigned char *a, size_t a_len,
                        const unsigned char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

    return order ? order : (a_len > b_len) - (a_len < b_len);
}

static const ecert_token_t **sort_tokens(const ecert_token_t *tokens, size_t *n)
{
    const ecert_token_t **order = calloc(*n + 1, sizeof(*order));
    size_t i, kept = 0;

    if (order == NULL) {
        return NULL;
    }
    for (i = 0; i < *n; i++) {
        order[i] = &tokens[i];
    }
    qsort(order, *n, sizeof(*order), compare_tokens);
    for (i = 0; i < *n; i++) {
        if (!fits(order[i])
            || (i + 1 < *n && same_token(order[i], order[i + 1]))) {
            continue;
        }
        order[kept++] = order[i];
    }
    *n = kept;
    return order;
}

int ecert_dcv_encode(const ecert_token_t *tokens, size_t n, unsigned char **out,
                     size_t *len, ecert_err_t *err)
{
    const ecert_token_t **order = sort_tokens(tokens, &n);
    size_t i;

    *out = NULL;
    if (order == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    *len = HEAD + n * sizeof(entry_t);
    for (i = 0; i < n; i++) {
        *len += strlen(order[i]->host) + 1 + strlen(order[i]->file)
                + order[i]->body_len;
    }
    if (*len > UINT32_MAX) {
        free(order);
        return ecert_err(err, ECERT_ERR_TOO_LARGE, NULL,
                         "validation files take %zu bytes", *len);
    }
    *out = OPENSSL_malloc(*len);
    if (*out != NULL) {
        put_all(*out, order, n);
    }
    free(order);
    return *out ? 0 : ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
}

static size_t count_of(const unsigned char *table, size_t len)
{
    uint32_t count = 0;

    if (len >= HEAD) {
        memcpy(&count, table, sizeof(count));
    }
    return count;
}

static entry_t entry_at(const unsigned char *table, size_t i)
{
    entry_t entry;

    memcpy(&entry, table + HEAD + i * sizeof(entry), sizeof(entry));
    return entry;
}

static int inside(uint32_t offset, uint32_t n, size_t len)
{
    return offset <= len && n <= len - offset;
}

int ecert_dcv_check(const unsigned char *table, size_t len, ecert_err_t *err)
{
    size_t count = count_of(table, len), i;

    if (len < HEAD || count > (len - HEAD) / sizeof(entry_t)) {
        return ecert_err(err, ECERT_ERR_SNAPSHOT, NULL,
                         "the table of validation files is cut off");
    }
    for (i = 0; i < count; i++) {
        entry_t entry = entry_at(table, i);

        if (!inside(entry.key, entry.key_len, len)
            || !inside(entry.body, entry.body_len, len)
            || entry.body_len > ECERT_DCV_BODY_MAX) {
            return ecert_err(err, ECERT_ERR_SNAPSHOT, NULL,
                             "validation file %zu lies outside its table", i);
        }
    }
    return 0;
}

int ecert_dcv_find(const unsigned char *table, size_t len, const char *host,
                   const char *file, size_t file_len, ecert_token_t *token)
{
    size_t host_len = strlen(host), low = 0, high = count_of(table, len);
    unsigned char key[KEY_MAX];
    size_t key_len = host_len + 1 + file_len;

    if (key_len > sizeof(key)) {
        return 0;
    }
    put_bytes(put_bytes(put_bytes(key, host, host_len), "", 1), file, file_len);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        entry_t entry = entry_at(table, middle);
        int order =
            compare_keys(key, key_len, table + entry.key, entry.key_len);

        if (order == 0) {
            *token = (ecert_token_t){.body = table + entry.body,
                                     .body_len = entry.body_len,
                                     .expires = entry.expires,
                                     .id = entry.id};
            return 1;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return 0;
}
