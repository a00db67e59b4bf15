#include "wait.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ecert_generation.h"
#include "ecert_json.h"
#include "ecert_store.h"
#include "ecert_x509.h"
#include "servers.h"

#define STEP_MS 50

/* What one round of asking gave. */
typedef struct {
    size_t servers, serving;
    char late[64];  /* the name of one that does not serve it */
    char says[512]; /* its error */
    char names[256];
} round_t;

static int64_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static void look_at(round_t *round, const json_t *report, const json_t *site,
                    const char *fingerprint)
{
    const char *server = ecert_json_text(report, "server");
    const char *leaf = ecert_json_text(json_object_get(site, "leaf"), "sha256");
    const char *line = ecert_json_text(json_object_get(site, "error"), "line");
    size_t used = strlen(round->names);

    server = server ? server : "a server";
    round->servers++;
    snprintf(round->names + used, sizeof(round->names) - used, "%s%s",
             used ? ", " : "", server);
    if (leaf != NULL && strcmp(leaf, fingerprint) == 0) {
        round->serving++;
        return;
    }
    snprintf(round->late, sizeof(round->late), "%s", server);
    snprintf(round->says, sizeof(round->says), "%s", line ? line : "");
}

static int ask(const char *store, const char *ascii, const char *fingerprint,
               round_t *round)
{
    int silent = 0;
    json_t *servers = ecert_cli_servers(store, &silent);
    const json_t *report, *site;
    size_t i, k;

    memset(round, 0, sizeof(*round));
    json_array_foreach(servers, i, report)
    {
        json_array_foreach(json_object_get(report, "sites"), k, site)
        {
            if (ecert_cli_is_site(site, ascii)) {
                look_at(round, report, site, fingerprint);
            }
        }
    }
    json_decref(servers);
    return silent == 0 && round->serving == round->servers;
}

/* Another one was installed, or there was a rollback: it will never be served.
 */
static int is_replaced(const char *store, const char *ascii,
                       const char *fingerprint)
{
    const ecert_generation_t *current;
    ecert_generation_t *list;
    char dir[PATH_MAX], hex[65];
    ecert_err_t ignored;
    size_t n;
    int replaced;

    if (ecert_store_site(store, ascii, NULL, dir, &ignored) != 0
        || ecert_generations(dir, &list, &n, &ignored) != 0) {
        return 0;
    }
    current = ecert_generation_current(list, n);
    replaced =
        current != NULL
        && strcmp(ecert_x509_fingerprint(current->leaf, hex), fingerprint) != 0;
    ecert_generations_free(list, n);
    return replaced;
}

int ecert_cli_wait(const char *store, const char *ascii,
                   const char *fingerprint, unsigned seconds, ecert_err_t *err)
{
    const struct timespec step = {0, STEP_MS * 1000000L};
    int64_t end = clock_ms() + seconds * INT64_C(1000);
    round_t round;

    while (!ask(store, ascii, fingerprint, &round)) {
        if (is_replaced(store, ascii, fingerprint)) {
            ecert_err(err, ECERT_ERR_NOT_SERVED, round.late,
                      "another one was installed meanwhile");
            return ecert_err_hint(err, "see who did it: ecert log %.150s",
                                  ascii);
        }
        if (clock_ms() > end) {
            return ecert_err(err, ECERT_ERR_NOT_SERVED, round.late,
                             "after %u seconds%s%s", seconds,
                             round.says[0] ? "; it says: " : "", round.says);
        }
        nanosleep(&step, NULL);
    }
    if (round.servers == 0) {
        puts("No running server has this site: nothing to wait for.");
    } else {
        printf("Served by %s.\n", round.names);
    }
    return 0;
}
