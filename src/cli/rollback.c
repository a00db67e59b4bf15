#include <stdlib.h>

#include "cli.h"
#include "ecert_chain.h"
#include "ecert_generation.h"
#include "ecert_journal.h"
#include "ecert_json.h"
#include "ecert_load.h"
#include "ecert_store_staple.h"
#include "ecert_store.h"
#include "ecert_swap.h"
#include "generations.h"
#include "progress.h"
#include "site.h"

typedef struct {
    const char *store;
    const char *name;
    const char *catalogue; /* NULL: the site's */
    uint64_t number;       /* 0: the one before the current one */
} options_t;

static const ecert_generation_t *choose(const ecert_generation_t *list,
                                        size_t n, uint64_t number)
{
    const ecert_generation_t *current = ecert_generation_current(list, n);
    const ecert_generation_t *chosen = NULL;

    for (size_t i = 0; i < n; i++) {
        if (list[i].number == 0) {
            continue;
        }
        if (number != 0 ? list[i].number == number
                        : !list[i].current
                              && (current == NULL || current->number == 0
                                  || list[i].number < current->number)) {
            chosen = &list[i];
        }
    }
    return chosen;
}

static int none(const ecert_generation_t *list, size_t n, uint64_t number,
                ecert_err_t *err)
{
    return number != 0 ? ecert_cli_no_generation(list, n, NULL, err, "%llu",
                                                 (unsigned long long)number)
                       : ecert_cli_no_generation(list, n, NULL, err,
                                                 "none before the current one");
}

/* Whether a server would take it, today. */
static int try_it(const ecert_cli_site_t *site, const char *catalogue,
                  const ecert_generation_t *generation, ecert_err_t *err)
{
    char certificate[PATH_MAX + 32], key[PATH_MAX + 32], when[32];
    ecert_site_t files = {
        .certificate = certificate, .key = key, .catalogue = catalogue};
    ecert_loader_t *loader = ecert_loader_new(site->store, err);
    ecert_loaded_t loaded;
    ecert_err_t demand;
    int rc;

    if (loader == NULL) {
        return -1;
    }
    snprintf(certificate, sizeof(certificate), "%s/certificate.pem",
             generation->dir);
    snprintf(key, sizeof(key), "%s/key.pem", generation->dir);
    rc = ecert_load(loader, &files, site->now, &loaded, err);
    if (rc == 0 && loaded.state == ECERT_STATE_EXPIRED) {
        rc = ecert_err(
            err, ECERT_ERR_EXPIRED, certificate, "on %s",
            ecert_date_format(ecert_x509_not_after(generation->leaf), when));
    }
    if (rc == 0 && loaded.chain != NULL
        && ecert_store_staple_demand(site->store, &loaded, site->now, NULL,
                                     &demand)
               != 0) {
        ecert_cli_warn(site->ascii, &demand);
    }
    ecert_loaded_free(&loaded);
    ecert_loader_free(loader);
    return rc;
}

/* The names that were asked for with it; else those of the site it covers. */
static int names_of(const ecert_cli_site_t *site,
                    const ecert_generation_t *generation, char ***names,
                    size_t *n, ecert_err_t *err)
{
    ecert_site_json_t json;

    if (json_array_size(json_object_get(generation->json, "names")) > 0) {
        return ecert_json_names(generation->json, "names", generation->dir,
                                names, n, err);
    }
    if (ecert_store_json(site->dir, site->ascii, NULL, &json, err) != 0) {
        return -1;
    }
    *names = json.names; /* taken over */
    *n = 0;
    for (size_t i = 0; i < json.n_names; i++) {
        if (i == 0 || ecert_name_covered(generation->leaf, json.names[i])) {
            json.names[(*n)++] = json.names[i];
        } else {
            free(json.names[i]);
        }
    }
    json.names = NULL;
    json.n_names = 0;
    ecert_site_json_free(&json);
    return 0;
}

static int would_be_taken(const ecert_cli_site_t *site, const char *catalogue,
                          const ecert_generation_t *generation,
                          ecert_err_t *err)
{
    ecert_site_json_t json;
    int rc;

    if (ecert_store_json(site->dir, site->ascii, NULL, &json, err) != 0) {
        return -1;
    }
    rc = try_it(site, catalogue ? catalogue : json.catalogue, generation, err);
    ecert_site_json_free(&json);
    return rc;
}

static int use(const ecert_cli_site_t *site, const char *catalogue,
               const ecert_generation_t *generation, ecert_err_t *err)
{
    char **names, hex[65];
    json_t *more;
    size_t n;
    int rc;

    if (would_be_taken(site, catalogue, generation, err) != 0
        || names_of(site, generation, &names, &n, err) != 0) {
        return -1;
    }
    rc = ecert_swap(site->dir, generation->number, generation->leaf, names, n,
                    NULL, err);
    ecert_names_free(names, n);
    if (rc != 0) {
        return -1;
    }
    more = json_object();
    json_object_set_new(more, "generation",
                        json_integer((json_int_t)generation->number));
    ecert_json_set_text(more, "certificate_sha256",
                        ecert_x509_fingerprint(generation->leaf, hex));
    if (ecert_journal_add(site->store, "rollback", site->ascii, more, site->now,
                          err)
        != 0) {
        ecert_cli_warn(site->ascii, err);
    }
    return 0;
}

static int rollback(const options_t *options)
{
    const ecert_generation_t *chosen;
    ecert_generation_t *list = NULL;
    ecert_cli_site_t site;
    ecert_err_t err;
    size_t n = 0;
    int rc;

    if (ecert_cli_site_open(&site, options->store, options->name, &err) != 0) {
        return ecert_cli_fail(NULL, &err);
    }
    rc = ecert_generations(site.dir, &list, &n, &err);
    if (rc == 0) {
        chosen = choose(list, n, options->number);
        rc = chosen ? use(&site, options->catalogue, chosen, &err)
                    : none(list, n, options->number, &err);
    }
    ecert_generations_free(list, n);
    ecert_cli_site_close(&site);
    if (rc != 0) {
        return ecert_cli_fail(site.ascii, &err);
    }
    ecert_cli_progress_show(site.store, site.ascii, site.now, stdout);
    return ECERT_EXIT_DONE;
}

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    options_t options = {0};
    int code, first = ecert_cli_parse(command, argc, argv, &options, &code);
    ecert_err_t err;

    if (first < 0) {
        return code;
    }
    if (argc - first < 1 || argc - first > 2) {
        return ecert_cli_usage("rollback", "NAME is wanted, and N at most");
    }
    options.name = argv[first];
    if (argc - first == 2
        && ecert_cli_number(argv[first + 1], "the generation", &options.number,
                            &err)
               != 0) {
        ecert_cli_fail(NULL, &err);
        return ECERT_EXIT_USAGE;
    }
    options.store = ecert_cli_store();
    return rollback(&options);
}

static const ecert_cli_option_t options[] = {
    ECERT_CLI_CATALOGUE(options_t),
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_rollback = {
    .name = "rollback",
    .what = "back to an earlier certificate",
    .arguments = "NAME [N]",
    .about = "Makes generation N, or the one before the current one, the "
             "current one again.  Refuses one that has expired or that a "
             "server would not take.  Nothing is removed: to go forward again, "
             "give the higher number.",
    .options = options,
    .example = "ecert rollback www.example.hk 3",
    .run = run,
};
