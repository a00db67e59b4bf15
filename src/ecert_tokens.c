#include "ecert_tokens.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "ecert_log.h"

#define COMPLAINTS_MAX 64
/* That there are more, that some are over, and why there is no table. */
#define COMPLAINTS_ALL (COMPLAINTS_MAX + 3)

typedef struct {
    ecert_complaint_t *list; /* COMPLAINTS_ALL of them; NULL: no memory */
    size_t n;
    const ecert_dcv_kept_t *before;
    int64_t ms;
    int64_t retry_at;
} complaints_t;

void ecert_dcv_kept_init(ecert_dcv_kept_t *kept)
{
    memset(kept, 0, sizeof(*kept));
    ecert_trail_init(&kept->trail);
}

static void free_complaints(ecert_dcv_kept_t *kept)
{
    for (size_t i = 0; i < kept->n_complaints; i++) {
        free(kept->complaints[i].line);
    }
    free(kept->complaints);
    kept->complaints = NULL;
    kept->n_complaints = 0;
}

void ecert_dcv_kept_free(ecert_dcv_kept_t *kept)
{
    free_complaints(kept);
    ecert_tokens_free(&kept->held);
    ecert_trail_free(&kept->trail);
}

static ecert_complaint_t found_before(const complaints_t *list,
                                      const char *line)
{
    ecert_complaint_t none = {.since = list->ms};
    size_t i;

    for (i = 0; i < list->before->n_complaints; i++) {
        if (strcmp(list->before->complaints[i].line, line) == 0) {
            return list->before->complaints[i];
        }
    }
    return none;
}

/* Told once; and not at all while the file may only be on its way. */
static void tell(complaints_t *list, const char *line, ecert_level_t level,
                 int may_mend)
{
    ecert_complaint_t one = found_before(list, line);

    if (!one.told && (!may_mend || list->ms - one.since >= ECERT_PATIENCE_MS)) {
        ecert_log(level, "%s", line);
        one.told = 1;
    }
    if (!one.told) {
        list->retry_at = one.since + ECERT_PATIENCE_MS;
    }
    one.line = list->list ? strdup(line) : NULL;
    if (one.line != NULL) {
        list->list[list->n++] = one;
    }
}

static void tell_err(complaints_t *list, const ecert_err_t *err,
                     ecert_level_t level)
{
    char line[1700];

    ecert_err_line(err, NULL, line, sizeof(line));
    tell(list, line, level, err->code == ECERT_ERR_CHANGING);
}

/* What is not kept would be told at each look. */
static void complain(void *ctx, const ecert_err_t *err)
{
    complaints_t *list = ctx;

    if (list->n < COMPLAINTS_MAX) {
        tell_err(list, err, ECERT_LOG_WARN);
    } else if (list->n == COMPLAINTS_MAX) {
        tell(list,
             "and more validation files are bad; they are told when those "
             "before them are gone",
             ECERT_LOG_WARN, 0);
    }
}

/* What ended in its time is no fault, but what never began may be one. */
static void tell_over(complaints_t *list, const ecert_tokens_t *tokens)
{
    ecert_err_t err;
    int never = ecert_tokens_over(tokens, &err);

    if (never >= 0) {
        tell_err(list, &err, never > 0 ? ECERT_LOG_WARN : ECERT_LOG_NOTICE);
    }
}

static void keep_complaints(ecert_dcv_kept_t *kept, const complaints_t *list)
{
    free_complaints(kept);
    kept->complaints = list->list;
    kept->n_complaints = list->n;
}

/* Nothing is published while nothing has changed. */
static int publish(ecert_keeper_t *keeper, ecert_dcv_kept_t *kept,
                   const ecert_tokens_t *tokens, ecert_err_t *err)
{
    unsigned char *table, digest[32];
    size_t len;
    int rc = 0;

    if (ecert_dcv_encode(tokens->tokens, tokens->n, &table, &len, err) != 0) {
        return -1;
    }
    if (EVP_Digest(table, len, digest, NULL, EVP_sha256(), NULL) != 1) {
        rc = ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL, "SHA-256");
    } else if (keeper->snap != NULL
               && !(kept->published && memcmp(digest, kept->digest, 32) == 0)) {
        rc = ecert_snap_publish(keeper->snap, ecert_snap_dcv_slot(keeper->snap),
                                table, len, err);
    }
    ecert_snap_free(table, len);
    if (rc == 0) {
        memcpy(kept->digest, digest, sizeof(digest));
        kept->published = 1;
    }
    return rc;
}

void ecert_dcv_kept_load(ecert_keeper_t *keeper, ecert_dcv_kept_t *kept)
{
    complaints_t list = {.before = kept, .ms = keeper->ms};
    ecert_tokens_t tokens;
    ecert_err_t err;
    int rc;

    if (keeper->store == NULL) {
        return;
    }
    list.list = calloc(COMPLAINTS_ALL, sizeof(*list.list));
    ecert_trail_free(&kept->trail);
    rc = ecert_store_tokens(keeper->store, keeper->now, &kept->held,
                            &kept->trail, complain, &list, &tokens, &err);
    if (rc == 0) {
        kept->next_change = tokens.next_change;
        rc = publish(keeper, kept, &tokens, &err);
        if (rc == 0) {
            ecert_tokens_free(&kept->held);
            kept->held = tokens;
            tell_over(&list, &tokens);
        } else {
            ecert_tokens_free(&tokens);
        }
    }
    if (rc != 0) {
        kept->next_change = 0; /* a time that has passed must not stay */
        tell_err(&list, &err, ECERT_LOG_WARN);
    }
    keep_complaints(kept, &list);
    kept->retry_at = rc != 0 && ecert_err_starved(&err)
                         ? keeper->ms + ECERT_STARVED_MS
                         : list.retry_at;
}

int ecert_dcv_kept_due(const ecert_keeper_t *keeper,
                       const ecert_dcv_kept_t *kept)
{
    return (kept->retry_at != 0 && keeper->ms >= kept->retry_at)
           || (kept->next_change != 0 && keeper->now >= kept->next_change);
}
