#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "ecert_calendar.h"
#include "ecert_chain.h"
#include "ecert_generation.h"
#include "ecert_json.h"
#include "ecert_report.h"
#include "ecert_site_edit.h"
#include "ecert_store.h"
#include "ecert_x509.h"
#include "say.h"
#include "site.h"

#define ALARM_DAYS 7

typedef struct {
    const char *store;
    char **names;
    size_t n_names;
    int64_t until; /* 0: what the site says */
    int64_t now;
    int ics;
    int json;
} options_t;

/* Where the plans of all sites go. */
typedef struct {
    const options_t *options;
    ecert_ical_t *ical;
    json_t *list;
    size_t n;
} out_t;

/* ---- one certificate of a plan ----------------------------------------- */

static json_t *report_item(const ecert_planned_t *item)
{
    json_t *one = json_object();

    ecert_json_set_date(one, "renew_from", item->renew_from);
    ecert_json_set_date(one, "renew_until", item->renew_until);
    ecert_json_set_date(one, "not_before", item->not_before);
    ecert_json_set_date(one, "not_after", item->not_after);
    json_object_set_new(one, "ceiling_days", json_integer(item->ceiling));
    json_object_set_new(one, "planned", json_boolean(item->planned));
    json_object_set_new(one, "late", json_boolean(item->late));
    return one;
}

/* "what     rest", the first of them in a style if `wrong`. */
static void print_row(const char *what, int wrong, ecert_style_t style)
{
    printf("  %s%-31s%s ", wrong ? ecert_say_style(stdout, style) : "", what,
           wrong ? ecert_say_style(stdout, ECERT_SAY_PLAIN) : "");
}

static void print_present(const ecert_planned_t *item, int64_t now)
{
    int over = item->not_after < now;
    char end[32];

    print_row(over ? "expired" : "now", over, ECERT_SAY_BAD);
    printf("%11s %s\n", over ? "on" : "lives until",
           ecert_day_format(item->not_after, end));
}

static void print_item(const ecert_planned_t *item)
{
    char when[64], from[32], until[32], end[32];

    ecert_day_format(item->renew_from, from);
    if (item->late) {
        snprintf(when, sizeof(when), "renew now, due %s", from);
    } else {
        snprintf(when, sizeof(when), "renew %s to %s", from,
                 ecert_day_format(item->renew_until, until));
    }
    print_row(when, item->late, ECERT_SAY_WARN);
    printf("lives until %s", ecert_day_format(item->not_after, end));
    if (item->ceiling) {
        printf("  (ceiling %u days)", item->ceiling);
    }
    putchar('\n');
}

/* The steps of the guide's "Renewal".  The files are named after the day: a
 * backup is never written over one of before. */
static void put_steps(const char *ascii, const char *day, FILE *out)
{
    const char *word = ecert_cli_word(ascii);
    int wildcard = ascii[0] == '*';
    char stem[ECERT_NAME_MAX * 4 + 2];

    ecert_cli_stem(word, stem, sizeof(stem));
    fprintf(out, "1. ecert new %s\n", word);
    fprintf(out, "2. ecert backup %s --pending -o %s-key-%s.pfx\n", word, stem,
            day);
    fprintf(out, "3. where the CA's portal asks for it: ecert dcv %s %s %s\n",
            wildcard ? "dns" : "add", word, wildcard ? "CODE" : "fileauth.txt");
    fprintf(out, "4. ecert csr %s, and submit it in the portal\n", word);
    fprintf(out, "5. ecert install %s cert.crt --wait\n", word);
    fprintf(out, "6. ecert backup %s -o %s-%s.pfx\n", word, stem, day);
}

/* The description, to be freed; NULL on lack of memory. */
static char *describe(const char *ascii, const char *day,
                      const ecert_planned_t *item)
{
    char *text = NULL, until[32], end[32];
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (out == NULL) {
        return NULL;
    }
    fprintf(out, "Renew the certificate of %s from today on, and before %s.\n",
            ascii, ecert_day_format(item->renew_until, until));
    put_steps(ascii, day, out);
    fprintf(out, "The new certificate will live until %s.",
            ecert_day_format(item->not_after, end));
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static int add_event(const out_t *out, const char *ascii,
                     const ecert_planned_t *item, ecert_err_t *err)
{
    char uid[400], summary[1200], day[32], name[ECERT_NAME_MAX * 4], *text;
    int rc;

    if (!item->planned) {
        return 0;
    }
    ecert_day_format(item->renew_from, day);
    text = describe(ascii, day, item);
    if (text == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    ecert_name_unicode(ascii, name, sizeof(name));
    snprintf(uid, sizeof(uid), "renew-%s-%s@ecert", ascii, day);
    snprintf(summary, sizeof(summary), "Renew e-Cert (Server) %s", name);
    rc = ecert_ical_add(out->ical, uid, item->renew_from, summary, text,
                        ALARM_DAYS, err);
    free(text);
    return rc;
}

/* Whoever imports the events does not see that the last ones are missing. */
static void warn_cut(const char *ascii, const ecert_plan_t *plan, int64_t until)
{
    char last[32], end[32];

    ecert_say_line(stderr,
                   "%s: the last event is on %s, and renewals go on to %s: "
                   "make the calendar anew before then.",
                   ascii,
                   ecert_day_format(plan->items[plan->n - 1].renew_from, last),
                   ecert_day_format(until, end));
}

static int add_events(const out_t *out, const char *ascii,
                      const ecert_plan_t *plan, int64_t until, ecert_err_t *err)
{
    int rc = 0;

    for (size_t i = 0; i < plan->n && rc == 0; i++) {
        rc = add_event(out, ascii, &plan->items[i], err);
    }
    if (rc == 0 && plan->cut) {
        warn_cut(ascii, plan, until);
    }
    return rc;
}

/* ---- one site ---------------------------------------------------------- */

static void print_plan(const char *ascii, const ecert_plan_t *plan,
                       int64_t until, int64_t now)
{
    char name[ECERT_NAME_MAX * 4], end[32];

    ecert_name_unicode(ascii, name, sizeof(name));
    printf("%s%s%s%s%s%s\n", ecert_say_style(stdout, ECERT_SAY_BOLD), name,
           ecert_say_style(stdout, ECERT_SAY_PLAIN),
           strcmp(name, ascii) ? " (" : "", strcmp(name, ascii) ? ascii : "",
           strcmp(name, ascii) ? ")" : "");
    for (size_t i = 0; i < plan->n; i++) {
        if (plan->items[i].planned) {
            print_item(&plan->items[i]);
        } else {
            print_present(&plan->items[i], now);
        }
    }
    if (plan->cut) {
        print_row("... and so on,", 0, ECERT_SAY_PLAIN);
        printf("%11s %s\n", "to", ecert_day_format(until, end));
    }
    if (until != 0) {
        print_row("end of the subscription", 0, ECERT_SAY_PLAIN);
        printf("%11s %s\n", "on", ecert_day_format(until, end));
    }
}

static void report_plan(json_t *list, const char *ascii,
                        const ecert_plan_t *plan, int64_t until)
{
    json_t *site = json_object(), *items = json_array();

    ecert_json_set_text(site, "site", ascii);
    ecert_json_set_date(site, "subscription_until", until);
    json_object_set_new(site, "plan", items);
    json_object_set_new(site, "cut", json_boolean(plan->cut));
    json_array_append_new(list, site);
    for (size_t i = 0; i < plan->n; i++) {
        json_array_append_new(items, report_item(&plan->items[i]));
    }
}

static int show_plan(out_t *out, const char *ascii, const ecert_plan_t *plan,
                     int64_t until, ecert_err_t *err)
{
    if (out->options->ics) {
        return add_events(out, ascii, plan, until, err);
    }
    if (out->options->json) {
        report_plan(out->list, ascii, plan, until);
    } else {
        print_plan(ascii, plan, until, out->options->now);
    }
    return 0;
}

static int64_t subscription_of(const ecert_cli_site_t *site,
                               const options_t *options)
{
    ecert_err_t ignored;
    json_t *json;
    int64_t until;

    if (options->until != 0) {
        return options->until;
    }
    json = ecert_site_read(site->dir, &ignored);
    until = ecert_json_date(json, "subscription_until");
    json_decref(json);
    return until;
}

static int plan_site(out_t *out, const ecert_cli_site_t *site,
                     const ecert_generation_t *current, ecert_err_t *err)
{
    ecert_ca_t *ca = ecert_cli_catalogue(site->dir, site->ascii, err);
    int64_t until = subscription_of(site, out->options);
    ecert_plan_t plan;
    int rc = -1;

    if (ca != NULL
        && ecert_calendar_plan(ca, ecert_x509_not_before(current->leaf),
                               ecert_x509_not_after(current->leaf), until,
                               out->options->now, &plan, err)
               == 0) {
        rc = show_plan(out, site->ascii, &plan, until, err);
        ecert_plan_free(&plan);
    }
    ecert_ca_free(ca);
    return rc;
}

/* asked: a site without a certificate is worth a word. */
static int show_site(out_t *out, const char *name, int asked, ecert_err_t *err)
{
    const ecert_generation_t *current;
    ecert_generation_t *list;
    ecert_cli_site_t site;
    size_t n;
    int rc = 0;

    if (ecert_cli_site_look(&site, out->options->store, name, err) != 0
        || ecert_generations(site.dir, &list, &n, err) != 0) {
        return -1;
    }
    current = ecert_generation_current(list, n);
    if (current != NULL) {
        rc = plan_site(out, &site, current, err);
        out->n++;
    } else if (asked) {
        rc = ecert_err(err, ECERT_ERR_NO_CERTIFICATE, site.ascii, NULL);
    }
    ecert_generations_free(list, n);
    return rc;
}

static int show_sites(out_t *out, ecert_err_t *err)
{
    const options_t *options = out->options;
    char **names;
    size_t n;
    int rc = 0;

    for (size_t i = 0; i < options->n_names && rc == 0; i++) {
        rc = show_site(out, options->names[i], 1, err);
    }
    if (options->n_names > 0) {
        return rc;
    }
    if (ecert_store_sites(options->store, &names, &n, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = show_site(out, names[i], 0, err);
    }
    ecert_names_free(names, n);
    return rc;
}

static int finish(out_t *out, ecert_err_t *err)
{
    if (out->options->ics) {
        char *text = ecert_ical_end(out->ical, err);

        out->ical = NULL;
        if (text == NULL) {
            return -1;
        }
        fputs(text, stdout);
        free(text);
    } else if (out->options->json) {
        json_t *top = ecert_report_head(out->options->store, out->options->now);

        json_object_set(top, "calendar", out->list);
        json_dumpf(top, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(top);
    } else if (out->n == 0) {
        puts("No site has a certificate yet.");
    }
    return 0;
}

static int calendar(const options_t *options)
{
    out_t out = {.options = options, .list = json_array()};
    ecert_err_t err;
    char *rest;
    int rc = 0;

    if (options->ics) {
        out.ical = ecert_ical_new(options->now, &err);
        rc = out.ical ? 0 : -1;
    }
    if (rc == 0) {
        rc = show_sites(&out, &err);
    }
    if (rc == 0) {
        rc = finish(&out, &err);
    }
    if (out.ical != NULL) {
        rest = ecert_ical_end(out.ical, &err);
        free(rest);
    }
    json_decref(out.list);
    return rc == 0 ? ECERT_EXIT_DONE : ecert_cli_fail(NULL, &err);
}

/* ---- the command ------------------------------------------------------- */

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    options_t options = {.now = time(NULL)};
    int code, first = ecert_cli_parse(command, argc, argv, &options, &code);

    if (first < 0) {
        return code;
    }
    if (options.ics && options.json) {
        return ecert_cli_usage("calendar", "either --ics or --json");
    }
    options.names = argv + first;
    options.n_names = (size_t)(argc - first);
    options.store = ecert_cli_store();
    return calendar(&options);
}

static const ecert_cli_option_t options[] = {
    {"ics", NULL, "as an iCalendar file (RFC 5545), with alarms", 0,
     ecert_cli_set_flag, offsetof(options_t, ics)},
    {"json", NULL, "as JSON", 0, ecert_cli_set_flag, offsetof(options_t, json)},
    {"subscription-until", "DATE",
     "plan to this day (default: what ecert new was told, else one renewal)", 0,
     ecert_cli_set_date, offsetof(options_t, until)},
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_calendar = {
    .name = "calendar",
    .what = "when to renew, to the end of the subscription",
    .arguments = "[NAME]...",
    .about = "Shows when each site's certificate is to be renewed, to the end "
             "of the subscription, and how long the next ones may live: 200 "
             "days, 100 from 2027-03-15, 47 from 2029-03-15 on.",
    .options = options,
    .example = "ecert calendar --ics --subscription-until 2027-11-30 > "
               "renewals.ics",
    .run = run,
};
