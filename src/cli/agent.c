#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "ecert_agent.h"

static const char usage[] =
    "Usage: ecert agent --foreground [--store DIR]\n"
    "Reads the store's sites, checks them, watches them and tells what it\n"
    "would publish, until it is interrupted.  Servers start their agents by\n"
    "themselves, with --inherit.\n\n"
    "  --foreground  for people: no server, messages on standard error\n"
    "  --inherit     for servers: descriptors 3 to 7 are in their places\n"
    "  --test        for servers, with --inherit: check once and end\n"
    "  --store DIR   the store (default: ECERT_STORE, else /var/lib/ecert)\n"
    "  --help        this text\n\n"
    "Example: ecert agent --foreground --store /srv/ecert\n";

int ecert_cmd_agent(int argc, char **argv)
{
    static const struct option options[] = {
        {"foreground", no_argument, NULL, 'f'},
        {"inherit", no_argument, NULL, 'i'},
        {"test", no_argument, NULL, 't'},
        {"store", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int c, foreground = 0, inherit = 0, test = 0;
    const char *store = NULL;

    optind = 1;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'f':
            foreground = 1;
            break;
        case 'i':
            inherit = 1;
            break;
        case 't':
            test = 1;
            break;
        case 's':
            store = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            return ECERT_EXIT_DONE;
        default:
            return ECERT_EXIT_USAGE;
        }
    }
    if (optind < argc || foreground == inherit || (test && !inherit)) {
        return ecert_cli_usage("agent", "say --foreground");
    }
    if (foreground) {
        return ecert_agent_foreground(ecert_cli_store(store));
    }
    return test ? ecert_agent_test() : ecert_agent_inherit();
}
