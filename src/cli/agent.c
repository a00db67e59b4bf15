
#include "cli.h"
#include "ecert_agent.h"

typedef struct {
    int foreground, inherit, test;
} options_t;

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    options_t o = {0};
    ecert_err_t err;
    int code, first = ecert_cli_parse(command, argc, argv, &o, &code);

    if (first < 0) {
        return code;
    }
    if (first < argc || o.foreground == o.inherit || (o.test && !o.inherit)) {
        return ecert_cli_usage("agent", "say --foreground");
    }
    if (o.foreground) {
        return ecert_agent_foreground(ecert_cli_store(), ecert_cli_run(), &err)
                       == 0
                   ? ECERT_EXIT_DONE
                   : ecert_cli_fail(NULL, &err);
    }
    return o.test ? ecert_agent_test() : ecert_agent_inherit();
}

static const ecert_cli_option_t options[] = {
    {"foreground", NULL, "for people: no server, messages on standard error", 0,
     ecert_cli_set_flag, offsetof(options_t, foreground)},
    {"inherit", NULL, "for servers: descriptors 3 to 7 are in their places", 0,
     ecert_cli_set_flag, offsetof(options_t, inherit)},
    {"test", NULL, "for servers, with --inherit: check once and end", 0,
     ecert_cli_set_flag, offsetof(options_t, test)},
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_agent = {
    .name = "agent",
    .what = "what the servers start by themselves",
    .about = "Reads the store's sites, checks them, watches them and tells "
             "what it would publish, until it is interrupted.  Servers start "
             "their agents by themselves, with --inherit.",
    .options = options,
    .example = "ecert agent --foreground --store /srv/ecert",
    .run = run,
};
