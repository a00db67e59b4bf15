#include "wish.h"

#include <stdlib.h>
#include <string.h>

#include "ecert_generation.h"
#include "ecert_json.h"
#include "ecert_request.h"
#include "ecert_site_edit.h"
#include "site.h"

#define NAMES_MAX 50 /* where the catalogue does not say it */

/* ---- names ------------------------------------------------------------- */

static int add_name(ecert_wish_t *wish, const char *name, ecert_err_t *err)
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
static int take_names(ecert_wish_t *wish, ecert_err_t *err)
{
    const ecert_wish_said_t *options = wish->options;
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
static int check_names(const ecert_wish_t *wish, const ecert_ca_t *ca,
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

/* The name as it was written, unless --idn or the request before says
 * otherwise. */
static void take_common_name(ecert_wish_t *wish)
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

static int take_subject(ecert_wish_t *wish, ecert_err_t *err)
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
    wish->san = wish->options->san ? wish->options->san > 0
                                   : ecert_json_flag(how, "san", 0);
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
static int read_site(ecert_wish_t *wish, ecert_err_t *err)
{
    ecert_request_t *requests;
    ecert_generation_t *list;
    size_t n;

    wish->before = ecert_site_read(wish->dir, err);
    if (wish->before == NULL
        || ecert_generations(wish->dir, &list, &n, err) != 0) {
        return -1;
    }
    wish->served = ecert_generation_current(list, n) != NULL;
    ecert_generations_free(list, n);
    if (ecert_requests(wish->dir, wish->ascii, &requests, &n, err) != 0) {
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

/* Opening it ends what a killed command began. */
static int read_before(ecert_wish_t *wish, ecert_err_t *err)
{
    ecert_cli_site_t site;
    int rc;

    if (ecert_cli_site_open(&site, wish->options->store, wish->ascii, err)
        == 0) {
        snprintf(wish->dir, sizeof(wish->dir), "%s", site.dir);
        rc = read_site(wish, err);
        ecert_cli_site_close(&site);
        return rc;
    }
    wish->dir[0] = '\0';
    wish->before = json_object();
    return err->code == ECERT_ERR_NO_SITE || err->code == ECERT_ERR_MISSING
               ? 0
               : -1;
}

int ecert_wish(const ecert_wish_said_t *said, ecert_wish_t *wish,
               ecert_err_t *err)
{
    ecert_ca_t *ca;
    int rc;

    wish->options = said;
    if (ecert_name_ascii(said->name, wish->ascii, err) != 0
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

void ecert_wish_free(ecert_wish_t *wish)
{
    ecert_names_free(wish->names, wish->n_names);
    json_decref(wish->before);
}
