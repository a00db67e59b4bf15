/* What a catalogue says besides its certificates; all of it may be absent. */

#include "ecert_ca.h"

#include <stdlib.h>
#include <string.h>

#include "ecert_ca_work.h"
#include "ecert_conf.h"

#define DAYS_MAX   10000
#define NAMES_MAX  10000
#define TTL_MAX    0x7fffffff /* RFC 2181, section 8 */
#define LIMITS_MAX 100

/* Where in the file the parser is, for messages. */
typedef struct {
    const char *file;
    const char *inside; /* "validation.", or "" for the top level */
    ecert_err_t *err;
} place_t;

static int wrong(const place_t *at, const char *member, const char *expected)
{
    return ecert_err(at->err, ECERT_ERR_CATALOGUE, at->file,
                     "%s%s: expected %s", at->inside, member, expected);
}

static int get_string(const place_t *at, const json_t *object,
                      const char *member, const char **out)
{
    json_t *value = json_object_get(object, member);
    if (value == NULL) {
        return 0;
    }
    const char *text = json_string_value(value);
    if (text == NULL || *text == '\0') {
        return wrong(at, member, "a string");
    }
    *out = strdup(text);
    if (*out == NULL) {
        return ecert_err(at->err, ECERT_ERR_MEMORY, at->file, NULL);
    }
    return 0;
}

static int is_number(const json_t *value, json_int_t least, json_int_t most)
{
    return json_is_integer(value) && json_integer_value(value) >= least
           && json_integer_value(value) <= most;
}

static int get_number(const place_t *at, const json_t *object,
                      const char *member, unsigned least, unsigned most,
                      unsigned *out)
{
    json_t *value = json_object_get(object, member);
    if (value == NULL) {
        return 0;
    }
    if (!is_number(value, least, most)) {
        return ecert_err(at->err, ECERT_ERR_CATALOGUE, at->file,
                         "%s%s: expected a whole number from %u to %u",
                         at->inside, member, least, most);
    }
    *out = (unsigned)json_integer_value(value);
    return 0;
}

int ecert_ca_day(const json_t *value, int64_t *midnight)
{
    const char *text = json_string_value(value);
    ecert_err_t ignored;
    if (text == NULL || strlen(text) != 10) {
        return -1;
    }
    return ecert_date_parse(text, midnight, &ignored);
}

static int get_day(const place_t *at, const json_t *object, const char *member,
                   int64_t *out)
{
    json_t *value = json_object_get(object, member);
    if (value == NULL || ecert_ca_day(value, out) == 0) {
        return 0;
    }
    return wrong(at, member, "a date such as \"2028-03-15\"");
}

static int parse_validation(const json_t *root, const char *file,
                            ecert_ca_rules_t *rules, ecert_err_t *err)
{
    const place_t at = {file, "validation.", err};
    json_t *object = json_object_get(root, "validation");
    if (get_string(&at, object, "file", &rules->token_file) != 0
        || get_number(&at, object, "days", 1, DAYS_MAX, &rules->token_days) != 0
        || get_number(&at, object, "txt_ttl", 1, TTL_MAX, &rules->txt_ttl) != 0
        || get_day(&at, object, "mail_ends", &rules->mail_ends) != 0) {
        return -1;
    }
    return 0;
}

static int wrong_limit(const place_t *at, size_t i, const char *expected)
{
    return ecert_err(at->err, ECERT_ERR_CATALOGUE, at->file,
                     "validity_ceilings[%zu]: expected %s", i, expected);
}

static int parse_limit(const place_t *at, const json_t *pair, size_t i,
                       ecert_ca_limit_t *limits)
{
    json_t *days = json_array_get(pair, 1);
    if (json_array_size(pair) != 2
        || ecert_ca_day(json_array_get(pair, 0), &limits[i].from) != 0
        || !is_number(days, 1, DAYS_MAX)) {
        return wrong_limit(at, i,
                           "a date and 1 to 10000 days, as in "
                           "[\"2027-03-15\", 100]");
    }
    limits[i].days = (unsigned)json_integer_value(days);
    if (i > 0 && limits[i].from <= limits[i - 1].from) {
        return wrong_limit(at, i, "a later date than the one before");
    }
    return 0;
}

static int parse_limits(const place_t *at, ecert_ca_t *ca, const json_t *list)
{
    size_t n = json_array_size(list);
    if (n == 0) {
        return 0;
    }
    if (n > LIMITS_MAX) {
        return wrong(at, "validity_ceilings", "100 pairs at most");
    }
    ca->limits = calloc(n, sizeof(*ca->limits));
    if (ca->limits == NULL) {
        return ecert_err(at->err, ECERT_ERR_MEMORY, at->file, NULL);
    }
    ca->n_limits = n;
    for (size_t i = 0; i < n; i++) {
        if (parse_limit(at, json_array_get(list, i), i, ca->limits) != 0) {
            return -1;
        }
    }
    return 0;
}

static int check_margin(const place_t *at, const ecert_ca_t *ca)
{
    for (size_t i = 0; i < ca->n_limits; i++) {
        if (ca->limits[i].days <= ca->margin) {
            return wrong(at, "validity_margin",
                         "fewer days than any of validity_ceilings has");
        }
    }
    return 0;
}

int ecert_ca_rules_parse(ecert_ca_t *ca, json_t *root, const char *file,
                         ecert_err_t *err)
{
    const place_t at = {file, "", err};
    ecert_ca_rules_t *rules = &ca->rules;
    json_t *ceilings = json_object_get(root, "validity_ceilings");
    if (get_string(&at, root, "name", &rules->name) != 0
        || parse_validation(root, file, rules, err) != 0
        || get_number(&at, root, "names_max", 1, NAMES_MAX, &rules->names_max)
               != 0
        || get_string(&at, root, "contact", &rules->contact) != 0
        || parse_limits(&at, ca, ceilings) != 0
        || get_number(&at, root, "validity_margin", 0, DAYS_MAX, &ca->margin)
               != 0) {
        return -1;
    }
    return check_margin(&at, ca);
}

void ecert_ca_rules_free(ecert_ca_t *ca)
{
    free((char *)(uintptr_t)ca->rules.name);
    free((char *)(uintptr_t)ca->rules.token_file);
    free((char *)(uintptr_t)ca->rules.contact);
    free(ca->limits);
}

const ecert_ca_rules_t *ecert_ca_rules(const ecert_ca_t *ca)
{
    return &ca->rules;
}

unsigned ecert_ca_ceiling(const ecert_ca_t *ca, int64_t issued)
{
    unsigned days = 0;
    for (size_t i = 0; i < ca->n_limits && ca->limits[i].from <= issued; i++) {
        days = ca->limits[i].days;
    }
    return days;
}

unsigned ecert_ca_life(const ecert_ca_t *ca, int64_t issued)
{
    unsigned ceiling = ecert_ca_ceiling(ca, issued);
    return ceiling > ca->margin ? ceiling - ca->margin : 0;
}
