/* The fetches of a validation file, as JSON and for people. */

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "ecert_addr.h"
#include "ecert_json.h"
#include "ecert_report.h"

static void set_number(json_t *object, const char *member, uint64_t n)
{
    json_object_set_new(object, member, json_integer((json_int_t)n));
}

/* ---- JSON -------------------------------------------------------------- */

static void set_address(json_t *object, const ecert_visit_t *visit)
{
    static const unsigned char none[16];
    char text[INET6_ADDRSTRLEN];
    int ipv4 = ecert_addr_is_ipv4(visit->address);

    if (memcmp(visit->address, none, sizeof(none)) != 0
        && inet_ntop(ipv4 ? AF_INET : AF_INET6,
                     visit->address + (ipv4 ? 12 : 0), text, sizeof(text))
               != NULL) {
        ecert_json_set_text(object, "address", text);
    }
}

static json_t *report_visit(const ecert_visit_t *visit)
{
    static const char *const methods[] = {"other", "GET", "HEAD"};
    char agent[4 * ECERT_VISIT_AGENT + 1];
    json_t *object = json_object();

    ecert_json_set_date(object, "time", visit->when);
    set_address(object, visit);
    ecert_json_set_text(object, "scheme", visit->tls ? "https" : "http");
    ecert_json_set_text(object, "method", methods[visit->method]);
    set_number(object, "status", visit->status);
    set_number(object, "bytes", visit->bytes);
    if (visit->agent_len > 0) {
        ecert_json_set_text(
            object, "agent",
            ecert_escape(agent, sizeof(agent), visit->agent, visit->agent_len));
    }
    return object;
}

static json_t *report_last(const ecert_fetched_t *file)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < file->n_last; i++) {
        json_array_append_new(list, report_visit(&file->last[i]));
    }
    return list;
}

static int is_among_last(const ecert_fetched_t *file,
                         const ecert_visit_t *visit)
{
    for (uint32_t i = 0; i < file->n_last; i++) {
        if (memcmp(&file->last[i], visit, sizeof(*visit)) == 0) {
            return 1;
        }
    }
    return 0;
}

static int later_first(const void *a, const void *b)
{
    int64_t x = ((const ecert_visit_t *)a)->when;
    int64_t y = ((const ecert_visit_t *)b)->when;

    return x > y ? -1 : x < y;
}

/* Those before the last ones, the latest first, too. */
static json_t *report_earlier(const ecert_fetched_t *file)
{
    ecert_visit_t kept[ECERT_EVIDENCE_KEPT];
    json_t *list = json_array();

    memcpy(kept, file->kept, sizeof(kept));
    qsort(kept, file->n_kept, sizeof(kept[0]), later_first);
    for (uint32_t i = 0; i < file->n_kept; i++) {
        if (!is_among_last(file, &kept[i])) {
            json_array_append_new(list, report_visit(&kept[i]));
        }
    }
    return list;
}

json_t *ecert_report_fetched(const ecert_evidence_t *evidence, uint64_t token)
{
    static const ecert_fetched_t none;
    const ecert_fetched_t *file = ecert_evidence_find(evidence, token);
    json_t *object = json_object();

    file = file ? file : &none;
    ecert_json_set_date(object, "since", ecert_evidence_since(evidence));
    set_number(object, "times", file->times);
    set_number(object, "https", file->https);
    set_number(object, "refused", file->refused);
    set_number(object, "networks", file->n_networks);
    ecert_json_set_date(object, "first", file->first);
    json_object_set_new(object, "last", report_last(file));
    json_object_set_new(object, "earlier", report_earlier(file));
    return object;
}

/* ---- for people -------------------------------------------------------- */

static long long number(const json_t *object, const char *member)
{
    return json_integer_value(json_object_get(object, member));
}

static const char *text(const json_t *object, const char *member)
{
    const char *value = ecert_json_text(object, member);

    return value ? value : "";
}

/* It is escaped already, but for what would end the quotes. */
static void print_agent(const char *agent, FILE *out)
{
    if (agent[0] == '\0') {
        fputs("no agent", out);
        return;
    }
    fputs("agent \"", out);
    for (; *agent; agent++) {
        if (*agent == '"') {
            fputs("\\x22", out);
        } else {
            putc(*agent, out);
        }
    }
    putc('"', out);
}

static void print_visit(const json_t *visit, FILE *out)
{
    const char *when = text(visit, "time");
    const char *address = text(visit, "address");
    const char *method = text(visit, "method");

    fprintf(out, "%.10s %.5s UTC from %s (%s, ", when,
            strlen(when) > 11 ? when + 11 : "",
            address[0] ? address : "a local socket", text(visit, "scheme"));
    if (strcmp(method, "GET") != 0) {
        fprintf(out, "%s%s, ", method,
                strcmp(method, "other") == 0 ? " method" : "");
    }
    fprintf(out, "%lld, %lld bytes, ", number(visit, "status"),
            number(visit, "bytes"));
    print_agent(text(visit, "agent"), out);
    fputs(")", out);
}

static void print_counts(const json_t *fetched, FILE *out)
{
    long long times = number(fetched, "times");
    long long https = number(fetched, "https");
    long long refused = number(fetched, "refused");
    long long networks = number(fetched, "networks");
    const char *since = text(fetched, "since");

    if (times == 0) {
        fprintf(out, "not fetched yet; fetches are seen since %.10s %.5s UTC",
                since, strlen(since) > 11 ? since + 11 : "");
    } else {
        fprintf(out, "fetched %lld time%s from %lld%s network%s%s", times,
                times == 1 ? "" : "s", networks,
                networks >= ECERT_EVIDENCE_NETWORKS ? " or more" : "",
                networks == 1 ? "" : "s",
                times == 1       ? ""
                : https == 0     ? ", never over https"
                : https == times ? ", never over http"
                                 : "");
    }
    if (refused > 0) {
        fprintf(out, ", %lld refused for %s method", refused,
                refused == 1 ? "its" : "their");
    }
}

static void print_each(const json_t *visits, size_t from, const char *word,
                       FILE *out)
{
    for (size_t i = from; i < json_array_size(visits); i++) {
        fprintf(out, "      %-7s ", word);
        print_visit(json_array_get(visits, i), out);
        putc('\n', out);
    }
}

void ecert_report_print_fetched(const json_t *fetched, FILE *out,
                                const char *server, int each)
{
    const json_t *last = json_object_get(fetched, "last");

    if (!json_is_object(fetched)) {
        return;
    }
    fprintf(out, "    %s%s", server, server[0] ? ": " : "");
    print_counts(fetched, out);
    if (json_array_size(last) > 0) {
        fputs(", last ", out);
        print_visit(json_array_get(last, 0), out);
    }
    putc('\n', out);
    if (each) {
        print_each(last, 1, "before", out);
        print_each(json_object_get(fetched, "earlier"), 0, "earlier", out);
    }
}

void ecert_report_print_lost(const json_t *report, FILE *out)
{
    long long lost = number(report, "fetches_lost");

    if (lost > 0) {
        fprintf(out,
                "  %lld fetches more came faster than they could be noted: it "
                "is not known of which file\n",
                lost);
    }
}
