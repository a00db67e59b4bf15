/* The configuration as lines of text: "key value\n", a site ends with "end". */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ecert_conf.h"

#define FORMAT_LINE    "ecert-configuration 1"
#define LINE_MAX_BYTES (8 * 1024)

static void put(FILE *out, const char *key, const char *value)
{
    if (value != NULL) {
        fprintf(out, "%s %s\n", key, value);
    }
}

static void put_site(FILE *out, const ecert_site_t *site)
{
    size_t i;

    fputs("site\n", out);
    put(out, "name", site->name);
    put(out, "certificate", site->certificate);
    put(out, "key", site->key);
    put(out, "catalogue", site->catalogue);
    for (i = 0; i < site->n_issuers; i++) {
        put(out, "issuers", site->issuers[i]);
    }
    for (i = 0; i < site->n_names; i++) {
        put(out, "vhost", site->names[i]);
    }
    fprintf(out, "cross %d %lld\n", (int)site->cross.kind,
            (long long)site->cross.until);
    fprintf(out, "server-issuers %zu\n", site->n_server_issuers);
    put(out, "stapling", site->stapling ? "on" : NULL);
    if (site->security_level > 0) {
        fprintf(out, "security-level %d\n", site->security_level);
    }
    put(out, "where", site->where);
    ecert_listens_write(site, out);
    fputs("end\n", out);
}

/* A stream of its own on fd's file; NULL and errno. */
static FILE *open_stream(int fd, const char *mode)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    FILE *stream = copy < 0 ? NULL : fdopen(copy, mode);

    if (copy >= 0 && stream == NULL) {
        close(copy);
    }
    return stream;
}

int ecert_conf_write(const ecert_conf_t *conf, int fd, ecert_err_t *err)
{
    FILE *out = open_stream(fd, "w");
    int failed;
    size_t i;

    if (out == NULL) {
        return ecert_err(err, ECERT_ERR_SYSTEM, NULL,
                         "cannot hand over the configuration");
    }
    fputs(FORMAT_LINE "\n", out);
    put(out, "server", conf->server);
    put(out, "store", conf->store);
    put(out, "run", conf->run);
    put(out, "agent", conf->agent);
    put(out, "log-file", conf->log_file);
    put(out, "log-socket", conf->log_socket);
    put(out, "log-head", conf->log_head);
    put(out, "log-prefix", conf->log_prefix);
    put(out, "dcv", conf->dcv ? "on" : "off");
    put(out, "fetch", conf->fetch ? "on" : "off");
    for (i = 0; i < conf->n_allowed; i++) {
        fprintf(out, "fetch allow=%s\n", conf->allowed[i]);
    }
    for (i = 0; i < conf->n_loopbacks; i++) {
        put(out, "loopback", conf->loopbacks[i]);
    }
    for (i = 0; i < conf->n_sites; i++) {
        put_site(out, &conf->sites[i]);
    }
    failed = ferror(out);
    if (fclose(out) != 0 || failed) {
        return ecert_err(err, ECERT_ERR_SYSTEM, NULL,
                         "cannot hand over the configuration");
    }
    return 0;
}

static int bad_line(const char *line, ecert_err_t *err)
{
    return ecert_err(err, ECERT_ERR_CONF, NULL,
                     "unknown line \"%.100s\": server module and agent are of "
                     "different versions",
                     line);
}

static int top_line(ecert_conf_t *conf, const char *key, const char *value,
                    ecert_err_t *err)
{
    const struct {
        const char *key;
        char **field;
    } fields[] = {
        {"server", &conf->server},     {"store", &conf->store},
        {"run", &conf->run},           {"agent", &conf->agent},
        {"log-file", &conf->log_file}, {"log-prefix", &conf->log_prefix},
        {"log-socket", &conf->log_socket}, {"log-head", &conf->log_head},
    };
    size_t i;

    if (strcmp(key, "dcv") == 0) {
        conf->dcv = strcmp(value, "on") == 0;
        return 0;
    }
    if (strcmp(key, "fetch") == 0) {
        return ecert_conf_fetch(conf, value, err);
    }
    if (strcmp(key, "loopback") == 0) {
        return ecert_conf_loopback(conf, value, err);
    }
    for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (strcmp(key, fields[i].key) == 0) {
            return ecert_conf_set(fields[i].field, value, err);
        }
    }
    return bad_line(key, err);
}

/* A site while it is read; the strings are its own until it was added. */
typedef struct {
    ecert_site_t site;
    char *lists[2][4096]; /* issuers, vhost names */
    size_t n[2];
} draft_t;

static void draft_free(draft_t *draft)
{
    size_t list, i;

    for (list = 0; list < 2; list++) {
        for (i = 0; i < draft->n[list]; i++) {
            free(draft->lists[list][i]);
        }
    }
    free((char *)(uintptr_t)draft->site.name);
    free((char *)(uintptr_t)draft->site.certificate);
    free((char *)(uintptr_t)draft->site.key);
    free((char *)(uintptr_t)draft->site.catalogue);
    free((char *)(uintptr_t)draft->site.where);
    ecert_listens_free(draft->site.listens, draft->site.n_listens);
    memset(&draft->site, 0, sizeof(draft->site));
    draft->n[0] = draft->n[1] = 0;
}

static int draft_list(draft_t *draft, int list, const char *value,
                      ecert_err_t *err)
{
    if (draft->n[list] == 4096) {
        return ecert_err(err, ECERT_ERR_TOO_MANY, value, "names or paths");
    }
    draft->lists[list][draft->n[list]] = strdup(value);
    if (draft->lists[list][draft->n[list]] == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    draft->n[list]++;
    return 0;
}

static int draft_line(draft_t *draft, const char *key, const char *value,
                      ecert_err_t *err)
{
    const struct {
        const char *key;
        const char **field;
    } fields[] = {
        {"name", &draft->site.name},
        {"certificate", &draft->site.certificate},
        {"key", &draft->site.key},
        {"catalogue", &draft->site.catalogue},
        {"where", &draft->site.where},
    };
    long long until;
    size_t i;
    int kind;

    if (strcmp(key, "issuers") == 0) {
        return draft_list(draft, 0, value, err);
    }
    if (strcmp(key, "vhost") == 0) {
        return draft_list(draft, 1, value, err);
    }
    if (strcmp(key, "listen") == 0) {
        return ecert_listen_read(&draft->site, value, err);
    }
    if (strcmp(key, "server-issuers") == 0) {
        draft->site.n_server_issuers = strtoul(value, NULL, 10);
        return 0;
    }
    if (strcmp(key, "stapling") == 0) {
        draft->site.stapling = 1;
        return 0;
    }
    if (strcmp(key, "security-level") == 0
        && sscanf(value, "%d", &draft->site.security_level) == 1) {
        return 0;
    }
    if (strcmp(key, "cross") == 0
        && sscanf(value, "%d %lld", &kind, &until) == 2 && kind >= 0
        && kind <= ECERT_CROSS_UNTIL) {
        draft->site.cross.kind = (ecert_cross_kind_t)kind;
        draft->site.cross.until = until;
        return 0;
    }
    for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (strcmp(key, fields[i].key) == 0 && *fields[i].field == NULL) {
            return ecert_conf_set((char **)(uintptr_t)fields[i].field, value,
                                  err);
        }
    }
    return bad_line(key, err);
}

static int draft_end(ecert_conf_t *conf, draft_t *draft, ecert_err_t *err)
{
    size_t n = conf->n_sites;
    int index;

    draft->site.issuers = (const char *const *)draft->lists[0];
    draft->site.n_issuers = draft->n[0];
    draft->site.names = (const char *const *)draft->lists[1];
    draft->site.n_names = draft->n[1];
    index = ecert_conf_add(conf, &draft->site, err);
    if (index >= 0 && conf->n_sites == n) {
        /* the index is the slot: server and agent must count alike */
        index = ecert_err(err, ECERT_ERR_CONF, draft->site.where,
                          "a site came twice");
    }
    if (index >= 0) {
        conf->sites[index].listens = draft->site.listens;
        conf->sites[index].n_listens = draft->site.n_listens;
        draft->site.listens = NULL;
        draft->site.n_listens = 0;
    }
    draft_free(draft);
    return index < 0 ? -1 : 0;
}

static int read_lines(FILE *in, char *line, ecert_conf_t *conf, draft_t *draft,
                      ecert_err_t *err)
{
    int in_site = 0;
    char *value;
    int rc = 0;

    while (rc == 0 && fgets(line, LINE_MAX_BYTES, in) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        value = strchr(line, ' ');
        if (value != NULL) {
            *value++ = '\0';
        }
        if (value == NULL && strcmp(line, "site") == 0 && !in_site) {
            in_site = 1;
        } else if (value == NULL && strcmp(line, "end") == 0 && in_site) {
            in_site = 0;
            rc = draft_end(conf, draft, err);
        } else if (value == NULL) {
            rc = bad_line(line, err);
        } else if (in_site) {
            rc = draft_line(draft, line, value, err);
        } else {
            rc = top_line(conf, line, value, err);
        }
    }
    if (rc == 0 && in_site) {
        rc = ecert_err(err, ECERT_ERR_CONF, NULL, "it is cut off");
    }
    return rc;
}

static int read_all(FILE *in, ecert_conf_t *conf, ecert_err_t *err)
{
    draft_t *draft = calloc(1, sizeof(*draft));
    char *line = malloc(LINE_MAX_BYTES);
    int rc;

    if (draft == NULL || line == NULL) {
        rc = ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    } else if (fgets(line, LINE_MAX_BYTES, in) == NULL
               || strcmp(line, FORMAT_LINE "\n") != 0) {
        rc = ecert_err(err, ECERT_ERR_CONF, NULL,
                       "server module and agent are of different versions");
    } else {
        rc = read_lines(in, line, conf, draft, err);
    }
    if (draft != NULL) {
        draft_free(draft);
    }
    free(draft);
    free(line);
    return rc;
}

ecert_conf_t *ecert_conf_read(int fd, ecert_err_t *err)
{
    FILE *in = lseek(fd, 0, SEEK_SET) < 0 ? NULL : open_stream(fd, "r");
    ecert_conf_t *conf;

    if (in == NULL) {
        ecert_err(err, ECERT_ERR_SYSTEM, NULL, "cannot read the configuration");
        return NULL;
    }
    conf = ecert_conf_new();
    if (conf == NULL) {
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    } else if (read_all(in, conf, err) != 0) {
        ecert_conf_free(conf);
        conf = NULL;
    }
    fclose(in);
    return conf;
}
