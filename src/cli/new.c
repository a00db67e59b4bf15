#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "ecert_csr.h"
#include "ecert_journal.h"
#include "ecert_json.h"
#include "ecert_request.h"
#include "ecert_site_edit.h"
#include "ecert_store.h"
#include "progress.h"
#include "say.h"
#include "servers.h"
#include "site.h"

#define NAMES_MAX 50 /* where the catalogue does not say it */

typedef struct {
    const char *store;
    const char *name; /* as written */
    const char *names[1000];
    size_t n_names;
    ecert_subject_t subject;
    const char *key;
    const char *idn;
    const char *until;
    int san;
} options_t;

/* What is asked for, with what the site had before where nothing was said. */
typedef struct {
    const options_t *options;
    char ascii[ECERT_NAME_MAX];
    char **names; /* A-labels, the site's own first */
    size_t n_names;
    char dir[PATH_MAX]; /* of the site; "": it is a new one */
    json_t *before;     /* subject and request of the site; an object */
    ecert_subject_t subject;
    char common_name[ECERT_NAME_MAX * 4];
    const char *key;
    const char *idn;
    int san;
    int renewal;
    size_t waiting; /* requests that wait already */
} wish_t;

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

/* ---- names ------------------------------------------------------------- */

static int add_name(wish_t *wish, const char *name, ecert_err_t *err)
{
    char ascii[ECERT_NAME_MAX];

    if (ecert_name_ascii(name, ascii, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < wish->n_names; i++) {
        if (strcmp(wish->names[i], ascii) == 0) {
            return 0;
        }
    }
    wish->names[wish->n_names] = strdup(ascii);
    return wish->names[wish->n_names++]
               ? 0
               : ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
}

/* Those of --name; for a renewal without it, the site's as they are. */
static int take_names(wish_t *wish, ecert_err_t *err)
{
    const options_t *options = wish->options;
    json_t *old = json_object_get(wish->before, "names");
    size_t n_old = options->n_names == 0 ? json_array_size(old) : 0;

    wish->names = calloc(1 + options->n_names + n_old, sizeof(*wish->names));
    if (wish->names == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    if (add_name(wish, wish->ascii, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < options->n_names; i++) {
        if (add_name(wish, options->names[i], err) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < n_old; i++) {
        const char *name = json_string_value(json_array_get(old, i));

        if (name != NULL && add_name(wish, name, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* What the CA issues: one name, a wildcard alone, or up to 50 names. */
static int check_names(const wish_t *wish, const ecert_ca_t *ca,
                       ecert_err_t *err)
{
    unsigned most = ecert_ca_rules(ca)->names_max;

    most = most ? most : NAMES_MAX;
    if (wish->n_names > most) {
        ecert_err(err, ECERT_ERR_TOO_MANY, wish->ascii,
                  "%zu names, a multi-domain certificate has %u at most",
                  wish->n_names, most);
        return ecert_err_hint(err, "share the names out among several sites");
    }
    for (size_t i = 0; i < wish->n_names && wish->n_names > 1; i++) {
        const char *name = wish->names[i];

        if (name[0] == '*'
            && (i > 0 || wish->n_names > 2
                || strcmp(name + 2, wish->names[1]) != 0)) {
            ecert_err(err, ECERT_ERR_SUBJECT, wish->ascii,
                      "a multi-domain certificate has no wildcard: %s", name);
            return ecert_err_hint(err, "make a site of its own for %s", name);
        }
    }
    return 0;
}

/* ---- subject ----------------------------------------------------------- */

static const char *choose(const char *said, const json_t *before,
                          const char *member, const char *otherwise)
{
    const char *old = ecert_json_text(before, member);

    return said ? said : old ? old : otherwise;
}

/* The name as it was written, unless --idn says otherwise. */
static void take_common_name(wish_t *wish)
{
    const char *idn = wish->idn;

    if (idn == NULL) {
        idn = strspn(wish->options->name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij"
                                          "klmnopqrstuvwxyz0123456789.-*_")
                      == strlen(wish->options->name)
                  ? "ascii"
                  : "unicode";
    }
    wish->idn = idn;
    if (strcmp(idn, "unicode") == 0) {
        ecert_name_unicode(wish->ascii, wish->common_name,
                           sizeof(wish->common_name));
    } else {
        snprintf(wish->common_name, sizeof(wish->common_name), "%s",
                 wish->ascii);
    }
    wish->subject.common_name = wish->common_name;
}

static int take_subject(wish_t *wish, ecert_err_t *err)
{
    const json_t *old = json_object_get(wish->before, "subject");
    const json_t *how = json_object_get(wish->before, "request");
    const ecert_subject_t *said = &wish->options->subject;

    wish->subject.country = choose(said->country, old, "country", "HK");
    wish->subject.state = choose(said->state, old, "state", "Hong Kong");
    wish->subject.locality =
        choose(said->locality, old, "locality", "Hong Kong");
    wish->subject.organization =
        choose(said->organization, old, "organization", NULL);
    wish->subject.unit = choose(said->unit, old, "unit", NULL);
    wish->key = choose(wish->options->key, how, "key", "rsa:2048");
    wish->idn = choose(wish->options->idn, how, "idn", NULL);
    wish->san = wish->options->san || ecert_json_flag(how, "san", 0);
    take_common_name(wish);
    return ecert_subject_check(&wish->subject, err);
}

/* A site whose first certificate is not there yet: what was asked for last. */
static json_t *of_request(const ecert_request_t *request)
{
    json_t *site = json_object_get(request->json, "site");
    json_t *before =
        json_is_object(site) ? json_deep_copy(site) : json_object();

    json_object_set(before, "names", json_object_get(request->json, "names"));
    return before;
}

/* What the site knows from before: site.json, else its newest request.  What
 * cannot be read must not become a request without names and subject. */
static int read_site(wish_t *wish, ecert_err_t *err)
{
    ecert_request_t *requests;
    size_t n;

    wish->before = ecert_site_read(wish->dir, err);
    if (wish->before == NULL
        || ecert_requests(wish->dir, wish->ascii, &requests, &n, err) != 0) {
        return -1;
    }
    wish->waiting = n;
    wish->renewal = json_object_get(wish->before, "subject") != NULL;
    if (!wish->renewal && n > 0) {
        json_decref(wish->before);
        wish->before = of_request(&requests[n - 1]);
    }
    ecert_requests_free(requests, n);
    return 0;
}

static int read_before(wish_t *wish, ecert_err_t *err)
{
    if (ecert_store_site(wish->options->store, wish->ascii, NULL, wish->dir,
                         err)
        == 0) {
        return read_site(wish, err);
    }
    wish->dir[0] = '\0';
    wish->before = json_object();
    return err->code == ECERT_ERR_NO_SITE || err->code == ECERT_ERR_MISSING
               ? 0
               : -1;
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
static json_t *describe(const wish_t *wish)
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

static int journal(const ecert_cli_site_t *site, const wish_t *wish,
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

static int put(const wish_t *wish, EVP_PKEY *key, X509_REQ *csr,
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

static int make(const wish_t *wish, ecert_err_t *err)
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

static int is_as_before(const options_t *options)
{
    const ecert_subject_t *said = &options->subject;

    return options->n_names == 0 && said->country == NULL && said->state == NULL
           && said->locality == NULL && said->organization == NULL
           && said->unit == NULL;
}

static int is_asked_for(const wish_t *wish, const char *ascii)
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

static void add_forgotten(const wish_t *wish, const json_t *site, json_t *names)
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

/* Names that the running servers have for the site, each once. */
static void say_forgotten(const wish_t *wish)
{
    int silent = 0;
    json_t *servers = ecert_cli_servers(wish->options->store, &silent);
    json_t *names = json_object(), *report, *site, *is;
    const char *name;
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
    if (json_object_size(names) > 0) {
        fputs("Not asked for (--name), though virtual hosts of this site have "
              "it:",
              stdout);
        json_object_foreach(names, name, is)
        {
            printf(" %s", name);
        }
        putchar('\n');
    }
    json_decref(names);
    json_decref(servers);
}

static void say(const wish_t *wish)
{
    if (wish->renewal) {
        ecert_say_line(stdout, is_as_before(wish->options)
                                   ? "Made with the names and subject of "
                                     "before; the present certificate goes on "
                                     "being served."
                                   : "The present certificate goes on being "
                                     "served.");
    }
    say_forgotten(wish);
    if (wish->waiting > 0) {
        printf("%zu earlier request%s of this site still wait%s, too.\n",
               wish->waiting, wish->waiting > 1 ? "s" : "",
               wish->waiting > 1 ? "" : "s");
    }
    if (wish->subject.organization == NULL) {
        ecert_say_line(stdout, "The request names no organization (--org): the "
                               "CA puts in what stands in the application.");
    }
    if (strncmp(wish->key, "ec", 2) == 0 || strncmp(wish->key, "EC", 2) == 0) {
        puts("The CA's guide asks for RSA 2048: ask the CA first whether it "
             "takes an EC key.");
    }
}

static int wish_for(const options_t *options, wish_t *wish, ecert_err_t *err)
{
    ecert_ca_t *ca;
    int rc;

    if (ecert_name_ascii(options->name, wish->ascii, err) != 0
        || read_before(wish, err) != 0) {
        return -1;
    }
    ca = ecert_cli_catalogue(wish->dir[0] ? wish->dir : NULL, wish->ascii, err);
    rc = ca && take_names(wish, err) == 0 && check_names(wish, ca, err) == 0
                 && take_subject(wish, err) == 0
             ? 0
             : -1;
    ecert_ca_free(ca);
    return rc;
}

static int new_request(const options_t *options)
{
    wish_t wish = {.options = options};
    ecert_err_t err;
    int rc = wish_for(options, &wish, &err);

    if (rc == 0) {
        rc = make(&wish, &err);
    }
    if (rc == 0) {
        say(&wish);
        ecert_cli_progress_show(options->store, wish.ascii, time(NULL), stdout);
    }
    ecert_names_free(wish.names, wish.n_names);
    json_decref(wish.before);
    return rc == 0 ? ECERT_EXIT_DONE : ecert_cli_fail(NULL, &err);
}

/* ---- the command ------------------------------------------------------- */

static int set_idn(options_t *options, const char *value, ecert_err_t *err)
{
    options->idn = value;
    if (strcmp(value, "ascii") == 0 || strcmp(value, "unicode") == 0) {
        return 0;
    }
    ecert_err(err, ECERT_ERR_USAGE, NULL, "--idn \"%s\"", value);
    return ecert_err_hint(err, "write --idn unicode or --idn ascii");
}

static int set_until(options_t *options, const char *value, ecert_err_t *err)
{
    int64_t when;

    options->until = value;
    return ecert_date_parse(value, &when, err);
}

static int set_option(void *ctx, int c, const char *value, ecert_err_t *err)
{
    options_t *options = ctx;

    switch (c) {
    case 'n':
        if (options->n_names
            == sizeof(options->names) / sizeof(options->names[0])) {
            return ecert_err(err, ECERT_ERR_TOO_MANY, value, "--name");
        }
        options->names[options->n_names++] = value;
        return 0;
    case 'O':
        options->subject.organization = value;
        return 0;
    case 'U':
        options->subject.unit = value;
        return 0;
    case 'C':
        options->subject.country = value;
        return 0;
    case 'S':
        options->subject.state = value;
        return 0;
    case 'L':
        options->subject.locality = value;
        return 0;
    case 'k':
        options->key = value;
        return 0;
    case 'i':
        return set_idn(options, value, err);
    case 'u':
        return set_until(options, value, err);
    case 'a':
        options->san = 1;
        return 0;
    default:
        options->store = value;
        return 0;
    }
}

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    static options_t options;
    int code, first = ecert_cli_parse(command, argc, argv, set_option, &options,
                                      &code);

    if (first < 0) {
        return code;
    }
    if (argc - first != 1) {
        return ecert_cli_usage("new", "one NAME is wanted, further ones with "
                                      "--name");
    }
    options.name = argv[first];
    options.store = ecert_cli_store(options.store);
    return new_request(&options);
}

static const ecert_cli_option_t options[] = {
    {"name", 'n', "N",
     "an additional name of a multi-domain certificate; may be given again, 50 "
     "names in all; in a renewal they take the place of those of before",
     0},
    {"org", 'O', "O", "organization, in English or Chinese", 0},
    {"unit", 'U', "OU", "organizational unit", 0},
    {"country", 'C', "CC", "country (default HK)", 0},
    {"state", 'S', "ST", "state or province (default \"Hong Kong\")", 0},
    {"locality", 'L', "L", "city or locality (default \"Hong Kong\")", 0},
    {"key", 'k', "KIND",
     "rsa:2048 (default), rsa:3072, rsa:4096, ec:P-256, ec:P-384", 0},
    {"idn", 'i', "FORM",
     "unicode or ascii (A-label): how a Chinese domain name stands in the "
     "common name (default: as NAME is written)",
     0},
    {"san", 'a', NULL,
     "put all names into the request, too; this CA does not need them", 0},
    {"subscription-until", 'u', "DATE",
     "when the subscription ends, for ecert calendar", 0},
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
