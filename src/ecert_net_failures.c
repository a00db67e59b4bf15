/*
 * Failures that the next agent has to know of, in a slot of the snapshot: what
 * failed a moment ago is neither asked for nor told anew because the server was
 * reloaded.  What came since then is still in it until something else fails: it
 * costs nothing, for its pause is over, and a response is found before.
 */

#include <stdlib.h>
#include <string.h>

#include "ecert_json.h"
#include "ecert_net_work.h"

#define SAVE_MS  1000                          /* between two publications */
#define TEXT_MAX (ECERT_SNAP_FAILURES_MAX / 4) /* before it is escaped */
#define ROOF_MS  (2 * 3600 * INT64_C(1000))    /* longer than any pause */

/* ---- writing ----------------------------------------------------------- */

typedef struct {
    json_t *list;
    size_t text; /* bytes so far */
} list_t;

static void add(list_t *out, const char *kind, const char *key,
                unsigned failures, int64_t due, int64_t at,
                const ecert_err_t *err)
{
    size_t text = 200 + strlen(key) + strlen(err->file) + strlen(err->detail)
                  + strlen(err->hint);

    if (out->text + text > TEXT_MAX) {
        return; /* it is asked for again */
    }
    out->text += text;
    json_array_append_new(out->list,
                          json_pack("{s:s,s:i,s:I,s:I,s:s,s:i,s:s,s:s,s:s}",
                                    kind, key, "failures", (int)failures, "due",
                                    (json_int_t)due, "at", (json_int_t)at,
                                    "word", ecert_err_word(err->code), "errno",
                                    err->sys, "file", err->file, "detail",
                                    err->detail, "hint", err->hint));
}

static void add_staple(list_t *out, const ecert_net_staple_t *staple)
{
    char hex[65];

    if (staple->leaf != NULL && staple->want.failures > 0) {
        add(out, "leaf", ecert_net_hex(staple->digest, hex),
            staple->want.failures, staple->want.due, staple->want.error_at,
            &staple->want.error);
    }
}

static char *write_all(const ecert_net_t *net)
{
    list_t out = {json_array(), 0};
    char *text;

    for (size_t i = 0; i < net->n_places; i++) {
        const ecert_net_place_t *place = &net->places[i];

        add(&out, "url", place->url, place->failures, place->due, 0,
            &place->error);
    }
    for (size_t i = 0; i < net->conf->n_sites; i++) {
        add_staple(&out, &net->sites[i].served);
        add_staple(&out, &net->sites[i].coming);
    }
    text = json_dumps(out.list, JSON_COMPACT);
    json_decref(out.list);
    return text;
}

void ecert_net_failures_save(ecert_net_t *net)
{
    ecert_snap_t *snap = net->keeper->snap;
    ecert_err_t ignored;
    char *text;

    if (!net->is_changed || snap == NULL || net->keeper->ms < net->save_at) {
        return;
    }
    net->is_changed = 0;
    net->save_at = net->keeper->ms + SAVE_MS;
    text = write_all(net);
    if (text != NULL
        && (net->saved == NULL ? strcmp(text, "[]") != 0
                               : strcmp(text, net->saved) != 0)) {
        ecert_snap_publish(snap, ecert_snap_failures_slot(snap),
                           (const unsigned char *)text, strlen(text), &ignored);
        free(net->saved);
        net->saved = text;
        return;
    }
    free(text);
}

/* ---- reading ----------------------------------------------------------- */

static ecert_code_t code_of(const char *word)
{
    int code = ECERT_OK + 1;

    while (code < ECERT_ERR_LAST - 1 && word != NULL
           && strcmp(ecert_err_word((ecert_code_t)code), word) != 0) {
        code++;
    }
    return (ecert_code_t)code;
}

static void copy(char *out, size_t size, const json_t *entry,
                 const char *member)
{
    const char *text = ecert_json_text(entry, member);

    snprintf(out, size, "%s", text != NULL ? text : "");
}

static ecert_want_t want_of(const ecert_net_t *net, const json_t *entry)
{
    ecert_want_t want = {0};
    ecert_err_t *err = &want.error;

    want.failures =
        (unsigned)json_integer_value(json_object_get(entry, "failures"));
    want.due = json_integer_value(json_object_get(entry, "due"));
    want.error_at = json_integer_value(json_object_get(entry, "at"));
    if (want.due <= 0 || want.due > net->keeper->ms + ROOF_MS) {
        want.due = net->keeper->ms; /* another machine's clock */
    }
    err->code = code_of(ecert_json_text(entry, "word"));
    err->sys = (int)json_integer_value(json_object_get(entry, "errno"));
    copy(err->file, sizeof(err->file), entry, "file");
    copy(err->detail, sizeof(err->detail), entry, "detail");
    copy(err->hint, sizeof(err->hint), entry, "hint");
    return want;
}

static void read_all(ecert_net_t *net, const json_t *list)
{
    size_t i;
    json_t *entry;

    json_array_foreach(list, i, entry)
    {
        const char *url = ecert_json_text(entry, "url");
        const char *leaf = ecert_json_text(entry, "leaf");
        ecert_want_t want = want_of(net, entry);

        if (want.failures == 0) {
            continue;
        }
        if (url != NULL) {
            ecert_net_place_again(net, url, &want);
        } else if (leaf != NULL) {
            json_object_set(net->past, leaf, entry);
        }
    }
}

void ecert_net_failures_read(ecert_net_t *net)
{
    ecert_snap_t *snap = net->keeper->snap;
    unsigned char *bytes;
    uint64_t generation;
    ecert_err_t ignored;
    json_t *list;
    size_t len;

    net->past = json_object();
    if (snap == NULL
        || ecert_snap_read(snap, ecert_snap_failures_slot(snap), &bytes, &len,
                           &generation, &ignored)
               != 0) {
        return;
    }
    list = ecert_json_parse(bytes, len, "snapshot", &ignored);
    read_all(net, list);
    json_decref(list);
    net->saved = strndup((const char *)bytes, len);
    ecert_snap_free(bytes, len);
}

int ecert_net_failures_take(ecert_net_t *net, ecert_net_staple_t *staple)
{
    char hex[65];
    const json_t *entry =
        json_object_get(net->past, ecert_net_hex(staple->digest, hex));

    if (entry == NULL) {
        return 0;
    }
    staple->want = want_of(net, entry);
    json_object_del(net->past, hex);
    return 1;
}

void ecert_net_failures_free(ecert_net_t *net)
{
    json_decref(net->past);
    free(net->saved);
}
