/* A report for people: short, aligned, one fact a line. */

#include <stdlib.h>
#include <string.h>

#include "ecert_jail.h"
#include "ecert_report.h"

#define DAY 86400

/* ---- foreign words ----------------------------------------------------- */

static json_t *clean_text(const json_t *text)
{
    size_t len = json_string_length(text), size = 4 * len + 1;
    char *out = malloc(size);
    json_t *clean = NULL;

    if (out != NULL) {
        ecert_frame_text(out, size, json_string_value(text), len);
        clean = json_string(out);
    }
    free(out);
    return clean;
}

/* What there is no memory for is missing. */
json_t *ecert_report_clean(const json_t *report)
{
    json_t *clean, *one, *value = (json_t *)(uintptr_t)report;
    const char *key;
    size_t i;

    if (json_is_string(value)) {
        return clean_text(value);
    }
    if (json_is_array(value)) {
        clean = json_array();
        json_array_foreach(value, i, one)
        {
            json_array_append_new(clean, ecert_report_clean(one));
        }
        return clean;
    }
    if (json_is_object(value)) {
        clean = json_object();
        json_object_foreach(value, key, one)
        {
            json_object_set_new(clean, key, ecert_report_clean(one));
        }
        return clean;
    }
    return json_incref(value);
}

/* ---- its parts --------------------------------------------------------- */

static const char *str(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));

    return value ? value : "";
}

/* A date or a fingerprint, of which a part is shown: ASCII, or nothing. */
static const char *plain(const json_t *object, const char *key)
{
    const char *value = str(object, key);

    for (const char *p = value; *p != '\0'; p++) {
        if ((unsigned char)*p > 0x7e) {
            return "?";
        }
    }
    return value;
}

/* "until 2027-06-02, 30 days" or "on 2027-05-27, 339 days ago". */
static void print_end(const json_t *leaf, FILE *out, int64_t now)
{
    ecert_err_t ignored;
    int64_t end = now;
    long long days;
    int over;

    ecert_date_parse(str(leaf, "not_after"), &end, &ignored);
    over = end < now;
    days = (long long)(over ? now - end : end - now) / DAY;
    fprintf(out, "%s %.10s, %lld day%s%s", over ? "on" : "until",
            plain(leaf, "not_after"), days, days == 1 ? "" : "s",
            over ? " ago" : "");
}

static void print_certificate(const json_t *cert, FILE *out, const char *what)
{
    fprintf(out, "    %-18s %s\n", what, str(cert, "subject"));
    fprintf(out, "    %-18s %.10s to %.10s, SHA-256 %.16s\n", "",
            plain(cert, "not_before"), plain(cert, "not_after"),
            plain(cert, "sha256"));
}

static void print_chain(const json_t *site, FILE *out)
{
    const json_t *element;
    size_t i;

    json_array_foreach(json_object_get(site, "chain"), i, element)
    {
        const char *role = str(element, "role");

        print_certificate(element, out, role[0] ? role : "ca");
    }
    if (json_is_false(json_object_get(site, "complete"))
        && strcmp(str(site, "state"), "placeholder") != 0) {
        fprintf(out, "    %-18s %s\n", "incomplete", str(site, "missing"));
    }
}

static void print_considered(const json_t *site, FILE *out)
{
    const json_t *one;
    size_t i;

    fprintf(out, "    considered\n");
    json_array_foreach(json_object_get(site, "considered"), i, one)
    {
        const char *note = str(one, "note");

        fprintf(out, "      %-16s %s, SHA-256 %.16s: %s%s%s%s\n",
                str(one, "why"), str(one, "subject"), plain(one, "sha256"),
                str(one, "sentence"), note[0] ? " (" : "", note,
                note[0] ? ")" : "");
    }
}

static void print_lines(const json_t *list, FILE *out, const char *what,
                        const char *after)
{
    const json_t *line;
    size_t i;

    json_array_foreach(list, i, line)
    {
        const char *text = json_string_value(line);

        fprintf(out, "    %-18s %s%s\n", what, text ? text : "", after);
    }
}

static int cannot_use(const json_t *worker, json_int_t published)
{
    return published != 0
           && json_integer_value(json_object_get(worker, "refuses"))
                  == published;
}

static void print_workers(const json_t *site, FILE *out)
{
    const json_t *worker;
    json_int_t published =
        json_integer_value(json_object_get(site, "published"));
    size_t i, now = 0, older = 0, none = 0, unable = 0;

    json_array_foreach(json_object_get(site, "workers"), i, worker)
    {
        json_int_t serves =
            json_integer_value(json_object_get(worker, "serves"));

        if (cannot_use(worker, published)) {
            unable++;
            continue;
        }
        now += serves == published;
        none += serves == 0;
        older += serves != 0 && serves != published;
    }
    if (i == 0) {
        return;
    }
    fprintf(out,
            "    %-18s %zu serve it, %zu served an older one last, %zu "
            "had no handshake yet\n",
            "workers", now, older, none);
    if (unable > 0) {
        fprintf(out,
                "    %-18s %zu cannot use it; the server's error log says "
                "why\n",
                "error", unable);
    }
}

/* Each by itself: which published generation it served last. */
static void print_each_worker(const json_t *site, FILE *out)
{
    json_int_t published =
        json_integer_value(json_object_get(site, "published"));
    const json_t *worker;
    size_t i;

    json_array_foreach(json_object_get(site, "workers"), i, worker)
    {
        json_int_t serves =
            json_integer_value(json_object_get(worker, "serves"));

        fprintf(out, "      worker %-9lld serves %lld of %lld%s\n",
                json_integer_value(json_object_get(worker, "pid")), serves,
                published,
                cannot_use(worker, published) ? ", which it cannot use"
                : serves == 0                 ? " (no handshake yet)"
                                              : "");
    }
}

static void print_state(const json_t *site, FILE *out, int64_t now)
{
    const json_t *leaf = json_object_get(site, "leaf");
    const char *state = str(site, "state");

    if (leaf == NULL) {
        fprintf(out, "    %-18s nothing to serve: a placeholder stands in\n",
                "state");
        return;
    }
    if (strcmp(state, "placeholder") == 0) {
        fprintf(out, "    %-18s self-signed, until the certificate comes\n",
                "placeholder");
        return;
    }
    fprintf(out, "    %-18s ", state);
    print_end(leaf, out, now);
    fprintf(out, "; %s\n", str(leaf, "key"));
    fprintf(out, "    %-18s %s%s\n", "from", str(site, "source"),
            json_is_true(json_object_get(site, "fallback"))
                ? " (an older generation stands in)"
                : "");
    print_certificate(leaf, out, "leaf");
}

/* What is stapled, and what the agent could not get. */
static void print_downloads(const json_t *site, FILE *out)
{
    const json_t *staple = json_object_get(site, "staple");
    const json_t *download = json_object_get(site, "download");

    if (json_is_object(staple)) {
        fprintf(out, "    %-18s %s%s%.10s (%s)\n", "staple",
                str(staple, "state"),
                str(staple, "next_update")[0] ? ", until " : "",
                plain(staple, "next_update"), str(staple, "responder"));
    }
    if (str(staple, "error")[0] != '\0') {
        fprintf(out, "    %-18s %s\n", "", str(staple, "error"));
    }
    if (str(download, "error")[0] != '\0') {
        fprintf(out, "    %-18s %s\n", "download", str(download, "error"));
    }
}

static void print_place(const json_t *one, FILE *out)
{
    fprintf(out, "at %s%s%s", str(one, "address"),
            str(one, "name")[0] ? " for " : "", str(one, "name"));
}

/* One address where something else is sent, or nothing can be seen. */
static void print_odd(const json_t *one, FILE *out)
{
    int differs = strcmp(str(one, "state"), "differs") == 0;

    fprintf(out, "    %-18s %s ", "served",
            differs ? "differs" : "not compared");
    print_place(one, out);
    fprintf(out, "%s%s: %s\n", differs ? " since " : "", str(one, "since"),
            str(one, differs ? "difference" : "reason"));
}

/* What the server's own addresses send, against what is published. */
static void print_served(const json_t *site, FILE *out)
{
    const json_t *list =
        json_object_get(json_object_get(site, "served"), "addresses");
    const json_t *one, *same = NULL;
    size_t i, n = 0, awaited = 0;

    json_array_foreach(list, i, one)
    {
        const char *state = str(one, "state");

        if (strcmp(state, "as-published") == 0) {
            same = same ? same : one;
            n++;
        } else if (strcmp(state, "not-yet") == 0) {
            awaited++;
        } else {
            print_odd(one, out);
        }
    }
    if (n > 0) {
        fprintf(out, "    %-18s as published ", "served");
        print_place(same, out);
        if (n > 1) {
            fprintf(out, " and %zu more", n - 1);
        }
        fprintf(out, ", compared %s\n", str(same, "compared"));
    }
    if (awaited > 0) {
        fprintf(out, "    %-18s not compared yet at %zu address%s\n", "served",
                awaited, awaited == 1 ? "" : "es");
    }
}

static void print_site(const json_t *site, FILE *out, int explain, int64_t now)
{
    const json_t *error = json_object_get(site, "error");
    const char *where = str(site, "where");

    fprintf(out, "  %s%s%s%s\n", str(site, "site"), where[0] ? " (" : "", where,
            where[0] ? ")" : "");
    print_state(site, out, now);
    print_chain(site, out);
    print_downloads(site, out);
    print_workers(site, out);
    print_served(site, out);
    print_lines(json_object_get(site, "uncovered"), out, "not covered",
                ": the certificate does not have this name");
    print_lines(json_object_get(site, "warnings"), out, "warning", "");
    if (json_is_object(error)) {
        fprintf(out, "    %-18s %s\n", "error", str(error, "line"));
    }
    if (explain) {
        print_each_worker(site, out);
        print_considered(site, out);
    }
}

static void print_tokens(const json_t *tokens, FILE *out, int explain)
{
    const json_t *token;
    size_t i;

    json_array_foreach(tokens, i, token)
    {
        fprintf(out,
                "  http://%s/.well-known/pki-validation/%s  %lld bytes, "
                "until %.10s\n",
                str(token, "host"), str(token, "file"),
                json_integer_value(json_object_get(token, "bytes")),
                plain(token, "expires"));
        ecert_report_print_fetched(json_object_get(token, "fetched"), out, "",
                                   explain);
    }
}

void ecert_report_print_site(const json_t *site, FILE *out, int explain,
                             int64_t now)
{
    json_t *clean = ecert_report_clean((json_t *)(uintptr_t)site);

    print_site(clean, out, explain, now);
    json_decref(clean);
}

static void print_report(const json_t *report, FILE *out, int explain,
                         int64_t now)
{
    const json_t *site, *tokens = json_object_get(report, "validation_files");
    long long over =
        json_integer_value(json_object_get(report, "validation_files_over"));
    const char *server = str(report, "server");
    size_t i;

    if (server[0] != '\0') {
        fprintf(out, "%s, agent %lld, store %s, %s\n", server,
                json_integer_value(json_object_get(report, "agent")),
                str(report, "store"),
                strcmp(str(report, "watching"), "events") == 0
                    ? "changes are seen at once"
                    : "changes are looked for every 30 seconds");
    } else {
        fprintf(out,
                "store %s; no server answers, so this is what it holds\n"
                "  (a server that has ecert_run is asked with --run DIR)\n",
                str(report, "store"));
    }
    json_array_foreach(json_object_get(report, "sites"), i, site)
    {
        print_site(site, out, explain, now);
    }
    if (json_array_size(tokens) > 0) {
        fprintf(out, "validation files\n");
        print_tokens(tokens, out, explain);
        ecert_report_print_lost(report, out);
    }
    if (over > 0) {
        fprintf(out,
                "validation files that are not answered, as their 30 days are "
                "over: %lld (ecert dcv list)\n",
                over);
    }
}

void ecert_report_print(const json_t *report, FILE *out, int explain,
                        int64_t now)
{
    json_t *clean = ecert_report_clean(report);

    print_report(clean, out, explain, now);
    json_decref(clean);
}
