#include "ecert_agent_work.h"

#include <unistd.h>

#include "ecert_report.h"

/* Workers write the rows: many that only pretend must not cost the memory. */
#define CELLS_MAX (256 * 1024)

typedef struct {
    int row;
    pid_t pid;
} live_t;

/* The rows of workers that live now; asked once per report. */
static int live_rows(const ecert_agent_t *agent, live_t *rows)
{
    int max = (int)(CELLS_MAX / (agent->conf->n_sites + 1));
    int row, n = 0;

    for (row = 0; agent->seen != NULL && row < ECERT_SEEN_WORKERS && n < max;
         row++) {
        pid_t pid = ecert_seen_pid(agent->seen, row);

        if (pid != 0) {
            rows[n++] = (live_t){row, pid};
        }
    }
    return n;
}

static json_t *report_workers(const ecert_agent_t *agent, const live_t *rows,
                              int n, uint32_t site)
{
    json_t *array = json_array();
    int i;

    for (i = 0; i < n; i++) {
        json_array_append_new(
            array,
            json_pack(
                "{s:I, s:I, s:I}", "pid", (json_int_t)rows[i].pid, "serves",
                (json_int_t)ecert_seen_get(agent->seen, rows[i].row, site),
                "refuses",
                (json_int_t)ecert_seen_refused(agent->seen, rows[i].row,
                                               site)));
    }
    return array;
}

static json_t *report_sites(const ecert_agent_t *agent)
{
    json_t *array = json_array();
    live_t rows[ECERT_SEEN_WORKERS];
    int n = live_rows(agent, rows);
    size_t i;

    for (i = 0; i < agent->conf->n_sites; i++) {
        const ecert_kept_t *kept = &agent->kept[i];
        json_t *site = ecert_report_site(kept->site, &kept->held, &kept->error,
                                         kept->error_at);

        json_object_set_new(site, "published",
                            json_integer((json_int_t)ecert_snap_generation(
                                agent->keeper.snap, kept->slot)));
        json_object_set_new(site, "workers",
                            report_workers(agent, rows, n, kept->slot));
        ecert_net_report(agent->net, kept->slot, site);
        json_array_append_new(array, site);
    }
    return array;
}

char *ecert_agent_describe(void *ctx)
{
    ecert_agent_t *agent = ctx;
    json_t *report;
    char *text;

    ecert_agent_clocks(agent);
    ecert_agent_look_at_visits(agent);
    report = ecert_report_head(agent->conf->store, agent->keeper.now);
    json_object_set_new(
        report, "server",
        json_string(agent->conf->server ? agent->conf->server : ""));
    json_object_set_new(report, "agent", json_integer(getpid()));
    json_object_set_new(
        report, "restarts",
        json_integer(agent->pair ? ecert_pair_restarts(agent->pair) : 0));
    json_object_set_new(report, "watching",
                        json_string(agent->watch
                                            && ecert_watch_fd(agent->watch) >= 0
                                            && !agent->watch_failed
                                        ? "events"
                                        : "polling"));
    json_object_set_new(report, "sites", report_sites(agent));
    ecert_report_files(report, &agent->dcv.held, agent->evidence);
    if (agent->evidence != NULL) {
        json_object_set_new(
            report, "fetches_lost",
            json_integer((json_int_t)ecert_evidence_lost(agent->evidence)));
    }
    text = json_dumps(report, JSON_INDENT(1));
    json_decref(report);
    return text;
}
