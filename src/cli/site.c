#include "site.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ecert_file.h"
#include "ecert_install.h"
#include "ecert_load.h"
#include "ecert_lock.h"
#include "ecert_site_edit.h"
#include "ecert_store.h"

const char *ecert_cli_word(const char *name)
{
    static char word[4 * ECERT_NAME_MAX + 2];

    snprintf(word, sizeof(word), name[0] == '*' ? "'%s'" : "%s", name);
    return word;
}

void ecert_cli_stem(const char *word, char *out, size_t size)
{
    if (strncmp(word, "'*.", 3) == 0) {
        snprintf(out, size, "wildcard.%.*s", (int)strlen(word) - 4, word + 3);
    } else {
        snprintf(out, size, "%s", word);
    }
}

static void waiting(void)
{
    fputs("ecert: another command is changing the store, waiting for it\n",
          stderr);
}

int ecert_cli_lock(const char *store, ecert_err_t *err)
{
    int fd = ecert_lock(store, waiting, err);

    return fd >= 0 ? fd : ecert_store_none(err);
}

static int begin(ecert_cli_site_t *site, const char *store, const char *name,
                 ecert_err_t *err)
{
    memset(site, 0, sizeof(*site));
    site->store = store;
    site->now = time(NULL);
    site->lock = -1;
    return ecert_name_ascii(name, site->ascii, err);
}

static int find(ecert_cli_site_t *site, ecert_err_t *err)
{
    if (ecert_store_site(site->store, site->ascii, NULL, site->dir, err) == 0) {
        return 0;
    }
    return err->code == ECERT_ERR_NO_SITE
               ? ecert_err_hint(err,
                                "make it with ecert new %s, or see which "
                                "there are: ecert status",
                                ecert_cli_word(site->ascii))
               : -1;
}

int ecert_cli_site_look(ecert_cli_site_t *site, const char *store,
                        const char *name, ecert_err_t *err)
{
    return begin(site, store, name, err) == 0 ? find(site, err) : -1;
}

static int tidy(ecert_cli_site_t *site, ecert_err_t *err)
{
    if (ecert_install_tidy(site->dir, site->ascii, err) == 0) {
        return 0;
    }
    ecert_cli_site_close(site);
    return -1;
}

int ecert_cli_site_open(ecert_cli_site_t *site, const char *store,
                        const char *name, ecert_err_t *err)
{
    if (ecert_cli_site_look(site, store, name, err) != 0) {
        return -1;
    }
    site->lock = ecert_cli_lock(store, err);
    if (site->lock < 0) {
        return -1;
    }
    return tidy(site, err);
}

int ecert_cli_site_make(ecert_cli_site_t *site, const char *store,
                        const char *name, ecert_err_t *err)
{
    if (begin(site, store, name, err) != 0
        || ecert_store_prepare(store, err) != 0) {
        return -1;
    }
    site->lock = ecert_cli_lock(store, err);
    if (site->lock < 0) {
        return -1;
    }
    if (ecert_site_folder(store, site->ascii, site->dir, err) != 0) {
        ecert_cli_site_close(site);
        return -1;
    }
    return tidy(site, err);
}

void ecert_cli_site_unmake(const ecert_cli_site_t *site)
{
    char generations[PATH_MAX];

    snprintf(generations, sizeof(generations), "%.4000s/generations",
             site->dir);
    rmdir(generations);
    rmdir(site->dir);
}

void ecert_cli_site_close(ecert_cli_site_t *site)
{
    if (site->lock >= 0) {
        close(site->lock);
        site->lock = -1;
    }
}

ecert_ca_t *ecert_cli_catalogue(const char *site_dir, const char *ascii,
                                ecert_err_t *err)
{
    ecert_site_json_t json = {0};
    ecert_ca_t *ca;

    if (site_dir != NULL
        && ecert_store_json(site_dir, ascii, NULL, &json, err) != 0) {
        return NULL;
    }
    ca = json.catalogue ? ecert_catalogue_read(json.catalogue, NULL, err)
                        : ecert_ca_builtin(err);
    ecert_site_json_free(&json);
    return ca;
}

int ecert_cli_site_names(const ecert_cli_site_t *site, char ***names, size_t *n,
                         ecert_err_t *err)
{
    ecert_site_json_t json;
    int rc;

    if (ecert_store_json(site->dir, site->ascii, NULL, &json, err) != 0) {
        return -1;
    }
    rc = ecert_names_copy(json.names, json.n_names, names, n, err);
    ecert_site_json_free(&json);
    return rc;
}
