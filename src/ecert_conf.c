#include "ecert_conf.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#include "ecert_addr.h"
#include "ecert_text.h"

#define VALUE_MAX 4096
#define NAMES_MAX 4096

ecert_conf_t *ecert_conf_new(void)
{
    ecert_conf_t *conf = calloc(1, sizeof(*conf));

    if (conf != NULL) {
        conf->fetch = 1;
    }
    return conf;
}

static void free_list(const char *const *list, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        free((char *)(uintptr_t)list[i]);
    }
    free((void *)(uintptr_t)list);
}

static void free_site(ecert_site_t *site)
{
    free((char *)(uintptr_t)site->name);
    free((char *)(uintptr_t)site->certificate);
    free((char *)(uintptr_t)site->key);
    free((char *)(uintptr_t)site->catalogue);
    free((char *)(uintptr_t)site->where);
    free_list(site->issuers, site->n_issuers);
    free_list(site->names, site->n_names);
    ecert_listens_free(site->listens, site->n_listens);
}

void ecert_conf_free(ecert_conf_t *conf)
{
    size_t i;

    if (conf == NULL) {
        return;
    }
    for (i = 0; i < conf->n_sites; i++) {
        free_site(&conf->sites[i]);
    }
    free(conf->sites);
    free(conf->server);
    free(conf->store);
    free(conf->agent);
    free(conf->run);
    free(conf->log_file);
    free(conf->log_socket);
    free(conf->log_head);
    free(conf->log_prefix);
    for (i = 0; i < conf->n_allowed; i++) {
        free(conf->allowed[i]);
    }
    free(conf->allowed);
    for (i = 0; i < conf->n_loopbacks; i++) {
        free(conf->loopbacks[i]);
    }
    free(conf->loopbacks);
    free(conf);
}

static int copy_text(const char **copy, const char *value, ecert_err_t *err)
{
    const unsigned char *p;

    *copy = NULL;
    for (p = (const unsigned char *)value; *p != '\0'; p++) {
        if (*p < 0x20 || *p == 0x7f) {
            return ecert_err(err, ECERT_ERR_CONF, value,
                             "it has a control character in it");
        }
    }
    if ((size_t)(p - (const unsigned char *)value) > VALUE_MAX) {
        return ecert_err(err, ECERT_ERR_CONF, NULL,
                         "a value has more than %d bytes", VALUE_MAX);
    }
    *copy = strdup(value);
    return *copy != NULL ? 0 : ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
}

/* A copy of value in *copy; NULL stays NULL. */
static int copy_value(const char **copy, const char *value, ecert_err_t *err)
{
    if (value == NULL) {
        *copy = NULL;
        return 0;
    }
    return copy_text(copy, value, err);
}

char *ecert_conf_path(char *path)
{
    char *to = path;

    for (const char *from = path; *from; from++) {
        if (from[0] != '/' || (from[1] != '/' && (from[1] || to == path))) {
            *to++ = *from;
        }
    }
    *to = '\0';
    return path;
}

int ecert_conf_set(char **field, const char *value, ecert_err_t *err)
{
    const char *copy;

    if (copy_value(&copy, value, err) != 0) {
        return -1;
    }
    free(*field);
    *field = (char *)(uintptr_t)copy;
    if (value != NULL && value[0] == '/') {
        ecert_conf_path(*field);
    }
    return 0;
}

static int add_string(const char *const **list, size_t *n, const char *value,
                      ecert_err_t *err)
{
    const char **more;

    if (*n >= NAMES_MAX) {
        return ecert_err(err, ECERT_ERR_TOO_MANY, value,
                         "more than %d names or paths at one site", NAMES_MAX);
    }
    more = realloc((void *)(uintptr_t)*list, (*n + 1) * sizeof(*more));
    if (more == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    *list = more;
    if (copy_text(&more[*n], value, err) != 0) {
        return -1;
    }
    (*n)++;
    return 0;
}

static int copy_list(const char *const **list, size_t *n,
                     const char *const *from, size_t count, ecert_err_t *err)
{
    size_t i;

    for (i = 0; i < count; i++) {
        if (add_string(list, n, from[i], err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Adds the names that are not there yet. */
static int join_names(ecert_site_t *to, const ecert_site_t *from,
                      ecert_err_t *err)
{
    size_t i, j;

    for (i = 0; i < from->n_names; i++) {
        for (j = 0; j < to->n_names; j++) {
            if (strcmp(to->names[j], from->names[i]) == 0) {
                break;
            }
        }
        if (j == to->n_names
            && add_string(&to->names, &to->n_names, from->names[i], err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* A name as people paste it into a configuration. */
static int copy_name(const char **copy, const char *name, ecert_err_t *err)
{
    if (copy_value(copy, name, err) != 0) {
        return -1;
    }
    if (*copy != NULL) {
        char *text = (char *)(uintptr_t)*copy, *bare = ecert_text_pasted(text);

        memmove(text, bare, strlen(bare) + 1);
    }
    return 0;
}

static int copy_site(ecert_site_t *to, const ecert_site_t *from,
                     ecert_err_t *err)
{
    memset(to, 0, sizeof(*to));
    to->cross = from->cross;
    to->stapling = from->stapling;
    to->n_server_issuers = from->n_server_issuers;
    to->security_level = from->security_level;
    if (copy_name(&to->name, from->name, err) != 0
        || copy_value(&to->certificate, from->certificate, err) != 0
        || copy_value(&to->key, from->key, err) != 0
        || copy_value(&to->catalogue, from->catalogue, err) != 0
        || copy_value(&to->where, from->where, err) != 0
        || copy_list(&to->issuers, &to->n_issuers, from->issuers,
                     from->n_issuers, err)
               != 0
        || join_names(to, from, err) != 0) {
        free_site(to);
        return -1;
    }
    return 0;
}

static int add_new(ecert_conf_t *conf, const ecert_site_t *site,
                   const unsigned char *id, ecert_err_t *err)
{
    ecert_site_t *more;
    size_t n = conf->n_sites;

    if (n >= ECERT_SITES_MAX) {
        return ecert_err(err, ECERT_ERR_TOO_MANY, NULL, "more than %d sites",
                         ECERT_SITES_MAX);
    }
    if ((n & (n - 1)) == 0) { /* full at each power of two */
        more = realloc(conf->sites, (n ? n * 2 : 1) * sizeof(*more));
        if (more == NULL) {
            return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        }
        conf->sites = more;
    }
    if (copy_site(&conf->sites[n], site, err) != 0) {
        return -1;
    }
    memcpy(conf->sites[n].id, id, sizeof(conf->sites[n].id));
    conf->n_sites++;
    return (int)n;
}

int ecert_conf_add(ecert_conf_t *conf, const ecert_site_t *site,
                   ecert_err_t *err)
{
    unsigned char id[32];
    size_t i;

    if ((site->name == NULL) == (site->certificate == NULL)
        || (site->certificate == NULL) != (site->key == NULL)) {
        return ecert_err(err, ECERT_ERR_CONF, site->where,
                         "a site needs its name, or certificate and key");
    }
    if (ecert_site_identity(site, id, err) != 0) {
        return -1;
    }
    for (i = 0; i < conf->n_sites; i++) {
        if (memcmp(conf->sites[i].id, id, sizeof(id)) == 0) {
            conf->sites[i].stapling |= site->stapling;
            return join_names(&conf->sites[i], site, err) == 0 ? (int)i : -1;
        }
    }
    return add_new(conf, site, id, err);
}

void ecert_conf_security(ecert_conf_t *conf, int site, int level)
{
    int *highest = &conf->sites[site].security_level;

    level = level < 1 ? 1 : level;
    if (level > *highest) {
        *highest = level;
    }
}

static int allow(ecert_conf_t *conf, const char *network, ecert_err_t *err)
{
    ecert_network_t ignored;
    char **list;

    if (ecert_network_parse(network, &ignored, err) != 0) {
        return -1;
    }
    list = realloc(conf->allowed, (conf->n_allowed + 1) * sizeof(*list));
    if (list != NULL) {
        conf->allowed = list;
        list[conf->n_allowed] = strdup(network);
    }
    if (list == NULL || list[conf->n_allowed] == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    conf->n_allowed++;
    return 0;
}

int ecert_conf_fetch(ecert_conf_t *conf, const char *value, ecert_err_t *err)
{
    if (strcmp(value, "on") == 0 || strcmp(value, "off") == 0) {
        conf->fetch = value[1] == 'n';
        return 0;
    }
    if (strncmp(value, "allow=", 6) == 0) {
        return allow(conf, value + 6, err);
    }
    ecert_err(err, ECERT_ERR_CONF, NULL,
              "\"%s\" is none of on, off, allow=CIDR", value);
    return ecert_err_hint(err, "write one of on, off, allow=CIDR");
}

const char *ecert_site_label(const ecert_site_t *site)
{
    if (site->name != NULL) {
        return site->name;
    }
    return site->n_names > 0 ? site->names[0] : site->certificate;
}

static void digest_string(EVP_MD_CTX *ctx, const char *text)
{
    /* the terminator keeps "ab","c" apart from "a","bc" */
    EVP_DigestUpdate(ctx, text ? text : "", text ? strlen(text) + 1 : 1);
}

/* Case and a trailing dot make no other site. */
static void digest_name(EVP_MD_CTX *ctx, const char *name)
{
    char text[VALUE_MAX + 1] = "";
    size_t i, len = name ? strlen(name) : 0;

    if (name != NULL) {
        ecert_text_bare(&name, &len);
    }
    if (len > VALUE_MAX) {
        len = VALUE_MAX;
    }
    if (len > 1 && name[len - 1] == '.') {
        len--;
    }
    for (i = 0; i < len; i++) {
        text[i] =
            name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] | 0x20) : name[i];
    }
    digest_string(ctx, text);
}

static int digest_site(EVP_MD_CTX *ctx, const ecert_site_t *site,
                       unsigned char id[32])
{
    size_t i;

    if (EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1) {
        return -1;
    }
    digest_name(ctx, site->name);
    digest_string(ctx, site->certificate);
    digest_string(ctx, site->key);
    digest_string(ctx, site->catalogue);
    for (i = 0; i < site->n_issuers; i++) {
        digest_string(ctx, site->issuers[i]);
    }
    EVP_DigestUpdate(ctx, &site->cross.kind, sizeof(site->cross.kind));
    EVP_DigestUpdate(ctx, &site->cross.until, sizeof(site->cross.until));
    return EVP_DigestFinal_ex(ctx, id, NULL) == 1 ? 0 : -1;
}

/* Without one all sites would be the same. */
int ecert_site_identity(const ecert_site_t *site, unsigned char id[32],
                        ecert_err_t *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int rc = ctx != NULL ? digest_site(ctx, site, id) : -1;

    EVP_MD_CTX_free(ctx);
    return rc == 0 ? 0
                   : ecert_err_openssl(err, ECERT_ERR_OPENSSL, site->where,
                                       "SHA-256, to tell sites apart");
}

int ecert_cross_parse(const char *text, ecert_cross_t *cross, ecert_err_t *err)
{
    ecert_err_t ignored;

    cross->until = 0;
    if (strcmp(text, "auto") == 0) {
        cross->kind = ECERT_CROSS_AUTO;
        return 0;
    }
    if (strcmp(text, "on") == 0) {
        cross->kind = ECERT_CROSS_ON;
        return 0;
    }
    if (strcmp(text, "off") == 0) {
        cross->kind = ECERT_CROSS_OFF;
        return 0;
    }
    if (strncmp(text, "until=", 6) == 0 && strlen(text) == 16
        && ecert_date_parse(text + 6, &cross->until, &ignored) == 0) {
        cross->kind = ECERT_CROSS_UNTIL;
        cross->until += 86400; /* that whole day still counts */
        return 0;
    }
    cross->kind = ECERT_CROSS_UNSET;
    if (strncmp(text, "until=", 6) == 0) {
        ecert_err(err, ECERT_ERR_CONF, NULL,
                  "\"%s\" is not a date as in until=YYYY-MM-DD", text + 6);
    } else {
        ecert_err(err, ECERT_ERR_CONF, NULL,
                  "\"%s\" is none of auto, on, off, until=YYYY-MM-DD", text);
    }
    return ecert_err_hint(err, "write one of auto, on, off, until=YYYY-MM-DD");
}

/* n digits at text, or -1. */
static int number(const char *text, int n)
{
    int value = 0;

    while (n-- > 0) {
        if (*text < '0' || *text > '9') {
            return -1;
        }
        value = value * 10 + (*text++ - '0');
    }
    return value;
}

static int date_fields(const char *text, struct tm *tm)
{
    size_t len = strlen(text);

    memset(tm, 0, sizeof(*tm));
    if (len != 10 && len != 20) {
        return -1;
    }
    if (text[4] != '-' || text[7] != '-') {
        return -1;
    }
    tm->tm_year = number(text, 4) - 1900;
    tm->tm_mon = number(text + 5, 2) - 1;
    tm->tm_mday = number(text + 8, 2);
    if (tm->tm_year < 0 || tm->tm_mon < 0 || tm->tm_mday < 1) {
        return -1;
    }
    if (len == 10) {
        return 0;
    }
    if (text[10] != 'T' || text[13] != ':' || text[16] != ':'
        || text[19] != 'Z') {
        return -1;
    }
    tm->tm_hour = number(text + 11, 2);
    tm->tm_min = number(text + 14, 2);
    tm->tm_sec = number(text + 17, 2);
    return tm->tm_hour < 0 || tm->tm_min < 0 || tm->tm_sec < 0 ? -1 : 0;
}

int ecert_date_parse(const char *text, int64_t *seconds, ecert_err_t *err)
{
    struct tm tm, back;
    time_t when;

    if (date_fields(text, &tm) == 0) {
        back = tm;
        when = timegm(&back);
        /* timegm turns 31 February into March: then it was no date */
        if (back.tm_mon == tm.tm_mon && back.tm_mday == tm.tm_mday
            && back.tm_hour == tm.tm_hour && back.tm_min == tm.tm_min
            && back.tm_sec == tm.tm_sec) {
            *seconds = when;
            return 0;
        }
    }
    ecert_err(err, ECERT_ERR_USAGE, NULL, "\"%s\" is not a date", text);
    return ecert_err_hint(err, "write YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ");
}

char *ecert_date_format(int64_t seconds, char *out)
{
    time_t when = (time_t)seconds;
    struct tm tm;

    if (gmtime_r(&when, &tm) == NULL
        || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
        memcpy(out, "?", 2);
    }
    return out;
}

void ecert_date_sooner(int64_t *when, int64_t other, int64_t now)
{
    if (other > now && (*when == 0 || other < *when)) {
        *when = other;
    }
}
