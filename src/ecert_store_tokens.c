#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ecert_name.h"
#include "ecert_snap.h"
#include "ecert_store.h"

#define TOKENS_MAX     10000
#define TOKEN_OVERHEAD 64 /* bytes in the published table, generously */
#define BYTES_MAX      (ECERT_SNAP_DCV_MAX - 64 * 1024)
#define DAY            INT64_C(86400)

typedef struct {
    ecert_tokens_t *out;
    size_t size;  /* of out->tokens */
    size_t files; /* taken so far */
    size_t bytes; /* that they will need in the table */
    int full;     /* and said so */
    int64_t now;
    const ecert_tokens_t *before;
    ecert_trail_t *trail;
    void (*complain)(void *ctx, const ecert_err_t *err);
    void *ctx;
    char ascii[ECERT_NAME_MAX];       /* of the host at hand */
    char unicode[ECERT_NAME_MAX * 4]; /* "" when it is the same */
} search_t;

/* Of a file, or of what was taken from it before. */
typedef struct {
    const unsigned char *bytes;
    size_t len;
    int64_t expires;
    const struct stat *st; /* NULL: of what was taken before */
} content_t;

static void complain(const search_t *search, const ecert_err_t *err)
{
    if (search->complain != NULL) {
        search->complain(search->ctx, err);
    }
}

static void refuse(const search_t *search, const char *path, const char *detail)
{
    ecert_err_t err;

    ecert_err(&err, ECERT_ERR_TOKEN, path, "%s", detail);
    complain(search, &err);
}

/* What editors, browsers and copying programs leave behind or write first. */
static int is_temporary(const char *name)
{
    static const char *const ends[] = {
        "~",     ".tmp",  ".temp",     ".bak",     ".swp",        ".swx",
        ".part", ".orig", ".filepart", ".partial", ".crdownload",
    };
    size_t len = strlen(name);

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        size_t n = strlen(ends[i]);

        if (len >= n && strcmp(name + len - n, ends[i]) == 0) {
            return 1;
        }
    }
    return name[0] == '.' || name[0] == '#';
}

static int is_token_name(const char *name)
{
    char path[sizeof(ECERT_DCV_PREFIX) + NAME_MAX];
    size_t len;
    int n = snprintf(path, sizeof(path), "%s%s", ECERT_DCV_PREFIX, name);

    return n > 0 && (size_t)n < sizeof(path)
           && ecert_dcv_file(path, (size_t)n, &len) != NULL;
}

/*
 * From the day it was put there.  A time of change in the future (a copy from
 * a machine whose clock is wrong) must not stretch the 30 days: the inode's
 * own time cannot be set.
 */
int64_t ecert_tokens_end(const struct stat *st)
{
    int64_t start = st->st_mtim.tv_sec < st->st_ctim.tv_sec
                        ? st->st_mtim.tv_sec
                        : st->st_ctim.tv_sec;

    return start + ECERT_DCV_DAYS * DAY;
}

static void *copy(const void *bytes, size_t len)
{
    char *out = malloc(len + 1);

    if (out != NULL) {
        memcpy(out, bytes, len);
        out[len] = '\0';
    }
    return out;
}

static void free_token(ecert_token_t *token)
{
    free((char *)token->host);
    free((char *)token->file);
    free((unsigned char *)token->body);
}

static int add(search_t *search, const char *host, const char *name,
               const content_t *content)
{
    ecert_tokens_t *out = search->out;
    ecert_token_t *token;

    if (out->n == search->size) {
        size_t size = search->size ? 2 * search->size : 16;

        token = realloc(out->tokens, size * sizeof(*token));
        if (token == NULL) {
            return -1;
        }
        out->tokens = token;
        search->size = size;
    }
    token = &out->tokens[out->n];
    token->host = copy(host, strlen(host));
    token->file = copy(name, strlen(name));
    token->body = copy(content->bytes, content->len);
    token->body_len = content->len;
    token->expires = content->expires;
    token->id =
        ecert_dcv_id(search->ascii, name, content->bytes, content->len);
    if (token->host == NULL || token->file == NULL || token->body == NULL) {
        free_token(token);
        return -1;
    }
    out->n++;
    return 0;
}

static void set_full(search_t *search, const char *path)
{
    ecert_err_t err;

    search->full = 1;
    ecert_err(&err, ECERT_ERR_TOO_MANY, path,
              "at most %d validation files and %d bytes are served; this one "
              "and those behind it are not",
              TOKENS_MAX, BYTES_MAX);
    ecert_err_hint(&err, "remove validation files that are no longer needed");
    complain(search, &err);
}

/* 0 when it fits into the table, which is published whole or not at all. */
static int reserve(search_t *search, const char *path, const char *name,
                   size_t len)
{
    size_t each = strlen(name) + len + TOKEN_OVERHEAD;
    size_t need = each + strlen(search->ascii);

    if (search->unicode[0]) {
        need += each + strlen(search->unicode);
    }
    if (search->files >= TOKENS_MAX || search->bytes + need > BYTES_MAX) {
        set_full(search, path);
        return -1;
    }
    search->files++;
    search->bytes += need;
    return 0;
}

static void complain_read(const search_t *search, const char *path,
                          ecert_err_t *err)
{
    if (err->code == ECERT_ERR_MISSING) {
        return; /* gone since the folder was listed */
    }
    if (err->code == ECERT_ERR_EMPTY) {
        ecert_err(err, ECERT_ERR_CHANGING, path,
                  "it is empty: an upload may be under way");
    }
    complain(search, err);
}

static void free_over(ecert_token_over_t *over)
{
    free(over->host);
    free(over->file);
    free(over->path);
}

/* Not to be answered, but neither to be taken for one that is not there. */
static int add_over(ecert_tokens_t *out, const search_t *search,
                    const char *path, const char *name,
                    const content_t *content)
{
    size_t n = out->n_over, size = n ? 2 * n : 1;
    ecert_token_over_t *over = out->over;

    if (n >= TOKENS_MAX || content->st == NULL) {
        return 0;
    }
    if ((n & (n - 1)) == 0) { /* full: it doubles */
        over = realloc(out->over, size * sizeof(*over));
        if (over == NULL) {
            return -1;
        }
        out->over = over;
    }
    over += n;
    *over = (ecert_token_over_t){.host = strdup(search->ascii),
                                 .file = strdup(name),
                                 .path = strdup(path),
                                 .len = content->len,
                                 .changed = content->st->st_mtim.tv_sec,
                                 .expires = content->expires,
                                 .came = content->st->st_ctim.tv_sec};
    if (over->host == NULL || over->file == NULL || over->path == NULL) {
        free_over(over);
        return -1;
    }
    out->n_over++;
    return 0;
}

static int take(search_t *search, const char *path, const char *name,
                const content_t *content, ecert_err_t *err)
{
    if (content->expires <= search->now) {
        return add_over(search->out, search, path, name, content) == 0
                   ? 0
                   : ecert_err(err, ECERT_ERR_MEMORY, path, NULL);
    }
    if (reserve(search, path, name, content->len) == 0
        && (add(search, search->ascii, name, content) != 0
            || (search->unicode[0]
                && add(search, search->unicode, name, content) != 0))) {
        return ecert_err(err, ECERT_ERR_MEMORY, path, NULL);
    }
    return 0;
}

/* While a file is on its way, what it was before is answered. */
static int take_before(search_t *search, const char *path, const char *name,
                       ecert_err_t *err)
{
    size_t n = search->before != NULL ? search->before->n : 0;

    for (size_t i = 0; i < n; i++) {
        const ecert_token_t *token = &search->before->tokens[i];

        if (strcmp(token->host, search->ascii) == 0
            && strcmp(token->file, name) == 0) {
            content_t content = {token->body, token->body_len, token->expires,
                                 NULL};

            return take(search, path, name, &content, err);
        }
    }
    return 0;
}

static int take_file(search_t *search, const char *folder, const char *name,
                     ecert_err_t *err)
{
    char path[PATH_MAX];
    ecert_file_t file;
    content_t content;
    int n = snprintf(path, sizeof(path), "%s/%s", folder, name), rc;

    if (n < 0 || (size_t)n >= sizeof(path) || is_temporary(name)) {
        return 0;
    }
    if (!is_token_name(name)) {
        refuse(search, path,
               "its name may have letters, digits, '.', '_' and "
               "'-' only");
        return 0;
    }
    if (ecert_file_read(path, ECERT_DCV_BODY_MAX, search->trail, &file, err)
        != 0) {
        if (ecert_err_starved(err)) {
            return -1; /* the table that is served stays whole */
        }
        complain_read(search, path, err);
        return err->code == ECERT_ERR_CHANGING
                   ? take_before(search, path, name, err)
                   : 0;
    }
    content = (content_t){file.bytes, file.len, ecert_tokens_end(&file.st),
                          &file.st};
    rc = take(search, path, name, &content, err);
    ecert_file_free(&file);
    return rc;
}

/* The host that a folder is named after; what cannot be one is refused. */
static int take_name(search_t *search, const char *folder, const char *name)
{
    ecert_err_t why;

    if (ecert_name_unslug(name, search->ascii, &why) != 0) {
        if (ecert_err_refused(&why)) {
            complain(search, &why);
            return -1;
        }
        refuse(search, folder, "the folder is not named after a host");
        return -1;
    }
    if (search->ascii[0] == '*') {
        refuse(search, folder,
               "the CA validates hosts, no wildcards: name the "
               "folder after the host itself");
        return -1;
    }
    ecert_name_unicode(search->ascii, search->unicode, sizeof(search->unicode));
    if (strcmp(search->ascii, search->unicode) == 0) {
        search->unicode[0] = '\0';
    }
    return 0;
}

static int take_host(search_t *search, const char *dcv, const char *host,
                     ecert_err_t *err)
{
    char folder[PATH_MAX], **names;
    int n = snprintf(folder, sizeof(folder), "%s/%s", dcv, host), rc = 0;
    size_t n_names;

    if (n < 0 || (size_t)n >= sizeof(folder) || is_temporary(host)
        || take_name(search, folder, host) != 0) {
        return 0;
    }
    if (ecert_file_list(folder, TOKENS_MAX, search->trail, &names, &n_names,
                        err)
        != 0) {
        if (ecert_err_starved(err)) {
            return -1;
        }
        if (err->code == ECERT_ERR_MISSING) {
            refuse(search, folder,
                   "this is no folder: validation files stand "
                   "in a folder named after the host");
        } else {
            complain(search, err);
        }
        return 0;
    }
    for (size_t i = 0; i < n_names && rc == 0 && !search->full; i++) {
        rc = take_file(search, folder, names[i], err);
    }
    ecert_names_free(names, n_names);
    return rc;
}

/* Of two with one host and name the later one shall count, so it is last. */
static int by_expiry(const void *a, const void *b)
{
    const ecert_token_t *x = a, *y = b;
    int order = strcmp(x->host, y->host);

    if (x->expires != y->expires) {
        return x->expires < y->expires ? -1 : 1;
    }
    order = order ? order : strcmp(x->file, y->file);
    return order ? order : strcmp((const char *)x->body, (const char *)y->body);
}

int ecert_store_tokens(const char *store, int64_t now,
                       const ecert_tokens_t *before, ecert_trail_t *trail,
                       void (*complain_to)(void *ctx, const ecert_err_t *err),
                       void *ctx, ecert_tokens_t *tokens, ecert_err_t *err)
{
    search_t search = {.out = tokens,
                       .now = now,
                       .before = before,
                       .trail = trail,
                       .complain = complain_to,
                       .ctx = ctx};
    char dcv[PATH_MAX], **hosts;
    size_t n_hosts;
    int rc = 0;

    memset(tokens, 0, sizeof(*tokens));
    if ((size_t)snprintf(dcv, sizeof(dcv), "%s/dcv", store) >= sizeof(dcv)) {
        return ecert_err(err, ECERT_ERR_USAGE, store, "the path is too long");
    }
    if (ecert_file_list(dcv, ECERT_SITES_MAX, trail, &hosts, &n_hosts, err)
        != 0) {
        return err->code == ECERT_ERR_MISSING ? 0 : -1;
    }
    for (size_t i = 0; i < n_hosts && rc == 0 && !search.full; i++) {
        rc = take_host(&search, dcv, hosts[i], err);
    }
    ecert_names_free(hosts, n_hosts);
    if (rc != 0) {
        ecert_tokens_free(tokens);
        return -1;
    }
    if (tokens->n > 0) {
        qsort(tokens->tokens, tokens->n, sizeof(*tokens->tokens), by_expiry);
        tokens->next_change = tokens->tokens[0].expires;
    }
    return 0;
}

void ecert_tokens_free(ecert_tokens_t *tokens)
{
    for (size_t i = 0; i < tokens->n; i++) {
        free_token(&tokens->tokens[i]);
    }
    free(tokens->tokens);
    for (size_t i = 0; i < tokens->n_over; i++) {
        free_over(&tokens->over[i]);
    }
    free(tokens->over);
    memset(tokens, 0, sizeof(*tokens));
}

static int in_vain(const ecert_token_over_t *over)
{
    return over->came >= over->expires;
}

int ecert_tokens_over(const ecert_tokens_t *tokens, ecert_err_t *err)
{
    const ecert_token_over_t *one = tokens->over;
    char changed[32], others[64] = "";
    int never = 0;

    if (tokens->n_over == 0) {
        return -1;
    }
    for (size_t i = 0; i < tokens->n_over; i++) {
        const ecert_token_over_t *over = &tokens->over[i];

        never += in_vain(over);
        if (in_vain(over) > in_vain(one)
            || (in_vain(over) == in_vain(one) && over->came > one->came)) {
            one = over;
        }
    }
    if (tokens->n_over > 1) {
        snprintf(others, sizeof(others), "; so are those of %zu more",
                 tokens->n_over - 1);
    }
    ecert_err(err, ECERT_ERR_TOKEN, one->path,
              "its 30 days are over, counted from its time of change, %s%s",
              ecert_date_format(one->changed, changed), others);
    ecert_err_hint(err, "touch it if the CA is to ask for it, or remove it: "
                        "see ecert dcv list");
    return never;
}
