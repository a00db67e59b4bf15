#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "ecert_csr.h"
#include "ecert_journal.h"
#include "ecert_json.h"
#include "ecert_request.h"
#include "progress.h"
#include "say.h"
#include "servers.h"
#include "site.h"
#include "wish.h"

#define DAY 86400

static time_t ticked; /* 0: nothing was shown */

static void tick(void *ctx)
{
    time_t now = time(NULL);

    (void)ctx;
    if (now != ticked && isatty(STDERR_FILENO)) {
        fputs(ticked ? "." : "making the key ", stderr);
        ticked = now;
    }
}

static void tick_end(void)
{
    const char *term = getenv("TERM");
    int dumb = term == NULL || term[0] == '\0' || strcmp(term, "dumb") == 0;

    if (ticked != 0) {
        fputs(dumb ? "\n" : "\r\x1b[K", stderr);
    }
}

/* ---- the request ------------------------------------------------------- */

static json_t *subject_json(const ecert_subject_t *subject)
{
    json_t *json = json_object();

    ecert_json_set_text(json, "country", subject->country);
    ecert_json_set_text(json, "state", subject->state);
    ecert_json_set_text(json, "locality", subject->locality);
    ecert_json_set_text(json, "organization", subject->organization);
    ecert_json_set_text(json, "unit", subject->unit);
    return json;
}

/* request.json; its member "site" goes into site.json with the certificate. */
static json_t *describe(const ecert_wish_t *wish)
{
    json_t *json = json_object(), *site = json_object(), *how = json_object();
    const char *until = wish->options->until;

    ecert_json_set_text(how, "key", wish->key);
    ecert_json_set_text(how, "idn", wish->idn);
    if (wish->san) {
        json_object_set_new(how, "san", json_true());
    }
    json_object_set_new(site, "subject", subject_json(&wish->subject));
    json_object_set_new(site, "request", how);
    ecert_json_set_text(
        site, "subscription_until",
        until ? until : ecert_json_text(wish->before, "subscription_until"));
    ecert_json_set_text(json, "common_name", wish->common_name);
    json_object_set_new(json, "names",
                        ecert_json_texts(wish->names, wish->n_names));
    json_object_set_new(json, "site", site);
    return json;
}

static int journal(const ecert_cli_site_t *site, const ecert_wish_t *wish,
                   EVP_PKEY *key, uint64_t number, ecert_err_t *err)
{
    json_t *more = json_object();
    char id[65];

    json_object_set_new(more, "request", json_integer((json_int_t)number));
    if (ecert_key_id(key, id, err) == 0) {
        ecert_json_set_text(more, "key_sha256", id);
    }
    json_object_set_new(more, "names",
                        ecert_json_texts(wish->names, wish->n_names));
    return ecert_journal_add(site->store, "new", site->ascii, more, site->now,
                             err);
}

static int put(const ecert_wish_t *wish, EVP_PKEY *key, X509_REQ *csr,
               ecert_err_t *err)
{
    ecert_cli_site_t site;
    uint64_t number;
    json_t *json;
    int rc;

    if (ecert_cli_site_make(&site, wish->options->store, wish->options->name,
                            err)
        != 0) {
        return -1;
    }
    json = describe(wish);
    rc = ecert_request_add(site.dir, key, csr, json, site.now, &number, err);
    json_decref(json);
    if (rc == 0 && journal(&site, wish, key, number, err) != 0) {
        ecert_cli_warn(site.ascii, err);
    }
    ecert_cli_site_close(&site);
    return rc;
}

static int make(const ecert_wish_t *wish, ecert_err_t *err)
{
    EVP_PKEY *key = ecert_key_make(wish->key, tick, NULL, err);
    X509_REQ *csr = NULL;
    int rc = -1;

    tick_end();
    if (key != NULL) {
        csr = ecert_csr_make(key, &wish->subject,
                             (const char *const *)wish->names,
                             wish->san ? wish->n_names : 0, err);
    }
    if (csr != NULL) {
        rc = put(wish, key, csr, err);
    }
    X509_REQ_free(csr);
    EVP_PKEY_free(key);
    return rc;
}

static int is_as_before(const ecert_wish_said_t *options)
{
    const ecert_subject_t *said = &options->subject;

    return options->n_names == 0 && said->country == NULL && said->state == NULL
           && said->locality == NULL && said->organization == NULL
           && said->unit == NULL;
}

static int is_asked_for(const ecert_wish_t *wish, const char *ascii)
{
    const char *below = strchr(ascii, '.');

    for (size_t i = 0; i < wish->n_names; i++) {
        const char *name = wish->names[i];

        if (strcmp(name, ascii) == 0
            || (name[0] == '*'
                && (strcmp(name + 2, ascii) == 0 /* this CA puts it in */
                    || (below && strcmp(name + 1, below) == 0)))) {
            return 1;
        }
    }
    return 0;
}

static void add_forgotten(const ecert_wish_t *wish, const json_t *site,
                          json_t *names)
{
    const json_t *vhost;
    char ascii[ECERT_NAME_MAX];
    ecert_err_t ignored;
    size_t i;

    json_array_foreach(json_object_get(site, "vhosts"), i, vhost)
    {
        /* a pattern or "_" is no name that a certificate could have */
        if (ecert_name_ascii(json_string_value(vhost), ascii, &ignored) == 0
            && !is_asked_for(wish, ascii)) {
            json_object_set_new(names, ascii, json_true());
        }
    }
}

/* The keys of names; broken between two of them. */
static void print_forgotten(const json_t *names)
{
    size_t n = json_object_size(names), len;
    char *text = NULL;
    FILE *out = n > 0 ? open_memstream(&text, &len) : NULL;
    const char *name;
    json_t *is;

    if (out == NULL) {
        return;
    }
    fprintf(out,
            "Not asked for (--name), though virtual hosts of this site have "
            "%s:",
            n == 1 ? "it" : "them");
    json_object_foreach((json_t *)(uintptr_t)names, name, is)
    {
        fprintf(out, " %s", name);
    }
    if (fclose(out) == 0) {
        ecert_say_wrapped(stdout, text, 0, 2);
    }
    free(text);
}

/* Names that the running servers have for the site, each once. */
static void say_forgotten(const ecert_wish_t *wish)
{
    int silent = 0;
    json_t *servers = ecert_cli_servers(wish->options->store, &silent);
    json_t *names = json_object(), *report, *site;
    size_t i, k;

    json_array_foreach(servers, i, report)
    {
        json_array_foreach(json_object_get(report, "sites"), k, site)
        {
            if (ecert_cli_is_site(site, wish->ascii)) {
                add_forgotten(wish, site, names);
            }
        }
    }
    print_forgotten(names);
    json_decref(names);
    json_decref(servers);
}

static void say(const ecert_wish_t *wish)
{
    if (wish->renewal && is_as_before(wish->options)) {
        puts("Made with the names and subject of before.");
    }
    if (wish->served) {
        puts("The present certificate goes on being served.");
    }
    say_forgotten(wish);
    if (wish->waiting > 0) {
        printf("%zu earlier request%s of this site still wait%s, too.\n",
               wish->waiting, wish->waiting > 1 ? "s" : "",
               wish->waiting > 1 ? "" : "s");
    }
    if (wish->subject.organization == NULL) {
        ecert_say_line(stdout,
                       "The request names no organization (--org), which "
                       "the CA's guide wants.");
    }
    if (strncmp(wish->key, "ec", 2) == 0 || strncmp(wish->key, "EC", 2) == 0) {
        puts("The CA's guide asks for RSA 2048: ask the CA first whether it "
             "takes an EC key.");
    }
}

static int new_request(const ecert_wish_said_t *options)
{
    ecert_wish_t wish = {.options = options};
    ecert_err_t err;
    int rc = ecert_wish(options, &wish, &err);

    if (rc == 0) {
        rc = make(&wish, &err);
    }
    if (rc == 0) {
        say(&wish);
        ecert_cli_progress_show(options->store, wish.ascii, time(NULL), stdout);
    }
    ecert_wish_free(&wish);
    return rc == 0 ? ECERT_EXIT_DONE : ecert_cli_fail(NULL, &err);
}

/* ---- the command ------------------------------------------------------- */

static int set_idn(void *to, const char *value, ecert_err_t *err)
{
    *(const char **)to = value;
    if (strcmp(value, "ascii") == 0 || strcmp(value, "unicode") == 0) {
        return 0;
    }
    ecert_err(err, ECERT_ERR_USAGE, NULL, "--idn \"%s\"", value);
    return ecert_err_hint(err, "write --idn unicode or --idn ascii");
}

static int set_until(void *to, const char *value, ecert_err_t *err)
{
    int64_t when, now = time(NULL);

    *(const char **)to = value;
    if (ecert_date_parse(value, &when, err) != 0) {
        return -1;
    }
    if (when >= now - now % DAY) {
        return 0;
    }
    ecert_err(err, ECERT_ERR_USAGE, NULL,
              "--subscription-until %s: this day has passed", value);
    return ecert_err_hint(err,
                          "give the day on which it ends, or leave it out");
}

static int add_name(void *ctx, const char *value, ecert_err_t *err)
{
    ecert_wish_said_t *options = ctx;

    if (options->n_names
        == sizeof(options->names) / sizeof(options->names[0])) {
        return ecert_err(err, ECERT_ERR_TOO_MANY, value, "--name");
    }
    options->names[options->n_names++] = value;
    return 0;
}

static int set_no_san(void *to, const char *value, ecert_err_t *err)
{
    (void)value;
    (void)err;
    *(int *)to = -1;
    return 0;
}

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    static ecert_wish_said_t options;
    int code, first = ecert_cli_parse(command, argc, argv, &options, &code);

    if (first < 0) {
        return code;
    }
    if (argc - first != 1) {
        return ecert_cli_usage("new", "one NAME is wanted, further ones with "
                                      "--name");
    }
    options.name = argv[first];
    options.store = ecert_cli_store();
    return new_request(&options);
}

static const ecert_cli_option_t options[] = {
    {"name", "N",
     "an additional name of a multi-domain certificate; may be given again, 50 "
     "names in all; in a renewal they take the place of those of before",
     0, add_name, 0},
    {"org", "O", "organization, in English or Chinese", 0, ecert_cli_set_text,
     offsetof(ecert_wish_said_t, subject.organization)},
    {"unit", "OU", "organizational unit", 0, ecert_cli_set_text,
     offsetof(ecert_wish_said_t, subject.unit)},
    {"country", "CC", "country (default HK)", 0, ecert_cli_set_text,
     offsetof(ecert_wish_said_t, subject.country)},
    {"state", "ST", "state or province (default \"Hong Kong\")", 0,
     ecert_cli_set_text, offsetof(ecert_wish_said_t, subject.state)},
    {"locality", "L", "city or locality (default \"Hong Kong\")", 0,
     ecert_cli_set_text, offsetof(ecert_wish_said_t, subject.locality)},
    {"key", "KIND",
     "rsa:2048 (default), rsa:3072, rsa:4096, ec:P-256, ec:P-384", 0,
     ecert_cli_set_text, offsetof(ecert_wish_said_t, key)},
    {"idn", "FORM",
     "unicode or ascii (A-label): how a Chinese domain name stands in the "
     "common name (default: as in the request before, else as NAME is written)",
     0, set_idn, offsetof(ecert_wish_said_t, idn)},
    {"san", NULL,
     "put all names into the request, too; this CA does not need them", 0,
     ecert_cli_set_flag, offsetof(ecert_wish_said_t, san)},
    {"no-san", NULL, "do not, though the request before had them", 0,
     set_no_san, offsetof(ecert_wish_said_t, san)},
    {"subscription-until", "DATE",
     "when the subscription ends, for ecert calendar", 0, set_until,
     offsetof(ecert_wish_said_t, until)},
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_new = {
    .name = "new",
    .what = "a new key and certificate request (guide, B)",
    .arguments = "NAME",
    .about = "Makes a private key and a certificate signing request for the "
             "server NAME, for a first certificate and for each renewal: a "
             "renewal is a new key and request, too.  The request is pending "
             "until its certificate is installed, several may be; what is "
             "served meanwhile stays.  A renewal takes names and subject of "
             "before where no option says otherwise.",
    .options = options,
    .example = "ecert new www.example.hk --name example.hk --org \"Example "
               "Limited\"",
    .run = run,
};
