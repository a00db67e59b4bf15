/* What a validator will see, before Confirm is pressed in the portal. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "dcv.h"
#include "dcv_check.h"
#include "ecert_dcv.h"
#include "ecert_dcv_mend.h"
#include "ecert_json.h"
#include "ecert_report.h"
#include "progress.h"
#include "say.h"

#define ROUTES_MAX  64
#define SERVERS_MAX 8  /* each is asked twice */
#define LEFT        30 /* columns before what is said of a probe */

typedef struct {
    const char *file, *code;
    ecert_dcv_route_t routes[ROUTES_MAX];
    ecert_dcv_place_t servers[SERVERS_MAX];
    size_t n_routes, n_servers;
    uint64_t request;
    int resolves; /* the servers were given as resolvers */
    int json;
} options_t;

/* ---- options ----------------------------------------------------------- */

static int bad_route(const char *value, ecert_err_t *err)
{
    ecert_err(err, ECERT_ERR_USAGE, NULL,
              "\"%s\" is not HOST:PORT:ADDRESS[,ADDRESS]", value);
    return ecert_err_hint(err, "write such as "
                               "www.example.hk:443:192.0.2.1,[2001:db8::1] "
                               "(port 80 or 443; 53 for a name server)");
}

static int add_route(options_t *options, const ecert_dcv_route_t *route,
                     const char *text, size_t len)
{
    char address[ECERT_DCV_PLACE];
    ecert_dcv_route_t *next = &options->routes[options->n_routes];

    if (options->n_routes == ROUTES_MAX || len >= sizeof(address)) {
        return -1;
    }
    memcpy(address, text, len);
    address[len] = '\0';
    *next = *route;
    if (!ecert_dcv_place(address, route->port, &next->place)) {
        return -1;
    }
    next->place.given = 1;
    options->n_routes++;
    return 0;
}

static int set_route(void *options, const char *value, ecert_err_t *err)
{
    ecert_dcv_route_t route = {.port = 0};
    size_t len = strcspn(value, ":");
    char host[ECERT_NAME_MAX];
    const char *p = value + len;

    if (len == 0 || len >= sizeof(host)) {
        return bad_route(value, err);
    }
    memcpy(host, value, len);
    host[len] = '\0';
    if (ecert_name_ascii(host, route.host, err) != 0) {
        return -1;
    }
    route.port = strncmp(p, ":80:", 4) == 0    ? 80
                 : strncmp(p, ":443:", 5) == 0 ? 443
                 : strncmp(p, ":53:", 4) == 0  ? 53
                                               : 0;
    if (route.port == 0) {
        return bad_route(value, err);
    }
    p = strchr(p + 1, ':');
    do {
        len = strcspn(++p, ",");
        if (add_route(options, &route, p, len) != 0) {
            return bad_route(value, err);
        }
        p += len;
    } while (*p == ',');
    return 0;
}

static int add_server(options_t *options, const char *value, ecert_err_t *err)
{
    if (options->n_servers == SERVERS_MAX) {
        return ecert_err(err, ECERT_ERR_USAGE, NULL, "%d name servers at most",
                         SERVERS_MAX);
    }
    if (!ecert_dcv_place(value, 53, &options->servers[options->n_servers])) {
        ecert_err(err, ECERT_ERR_USAGE, NULL, "\"%s\" is not ADDRESS[:PORT]",
                  value);
        return ecert_err_hint(err, "write such as 192.0.2.53 or "
                                   "[2001:db8::53]:5353");
    }
    options->servers[options->n_servers++].given = 1;
    return 0;
}

/* --dns-server, or --resolver: both would say who is asked. */
static int ask(options_t *options, int resolves, const char *value,
               ecert_err_t *err)
{
    if (options->n_servers > 0 && options->resolves != resolves) {
        return ecert_err(err, ECERT_ERR_USAGE, NULL,
                         "--dns-server and --resolver exclude each other");
    }
    options->resolves = resolves;
    return add_server(options, value, err);
}

static int set_server(void *options, const char *value, ecert_err_t *err)
{
    return ask(options, 0, value, err);
}

static int set_resolver(void *options, const char *value, ecert_err_t *err)
{
    return ask(options, 1, value, err);
}

static int set_file(void *to, const char *value, ecert_err_t *err)
{
    char path[sizeof(ECERT_DCV_PREFIX) + ECERT_DCV_FILE_MAX + 2];
    size_t len;

    snprintf(path, sizeof(path), ECERT_DCV_PREFIX "%s", value);
    if (ecert_dcv_file(path, strlen(path), &len) == NULL) {
        ecert_err(err, ECERT_ERR_USAGE, NULL,
                  "\"%s\" is no name of a validation file", value);
        return ecert_err_hint(err, "write the name alone, such as "
                                   "fileauth.txt");
    }
    *(const char **)to = value;
    return 0;
}

static int set_code(void *to, const char *value, ecert_err_t *err)
{
    char *record = ecert_dcv_need_code(value, err) == 0
                       ? ecert_dcv_txt("example.hk", value, 1, err)
                       : NULL;

    if (record == NULL) {
        return -1;
    }
    free(record);
    *(const char **)to = value;
    return 0;
}

/* ---- for people -------------------------------------------------------- */

/* A command is copied by people: its line stays whole. */
static void print_hint(const char *hint, int column)
{
    while (*hint) {
        int len = (int)strcspn(hint, "\n");
        char line[400];

        snprintf(line, sizeof(line), "%.*s", len, hint);
        printf("%*s", column, "");
        if (strncmp(line, "ecert ", 6) == 0) {
            puts(line);
        } else {
            ecert_say_wrapped(stdout, line, column, column);
        }
        hint += len;
        hint += *hint == '\n';
    }
}

static void print_state(const json_t *one, const char *member, int column)
{
    const char *state = ecert_json_text(one, member);
    const char *hint = ecert_json_text(one, "hint");
    ecert_style_t style = strcmp(state, "good") == 0  ? ECERT_SAY_GOOD
                          : strcmp(state, "bad") == 0 ? ECERT_SAY_BAD
                                                      : ECERT_SAY_WARN;

    printf("%s", ecert_say_style(stdout, style));
    ecert_say_padded(stdout, state, 7);
    printf("%s", ecert_say_style(stdout, ECERT_SAY_PLAIN));
    ecert_say_wrapped(stdout, ecert_json_text(one, "what"), column + 7,
                      column + 7);
    if (hint != NULL) {
        print_hint(hint, column + 7);
    }
}

static void print_hops(const json_t *probe)
{
    const json_t *hops = json_object_get(probe, "hops"), *hop;
    char line[2 * ECERT_DCV_URL_MAX + 32];
    size_t i;

    if (json_array_size(hops) < 2) {
        return;
    }
    json_array_foreach(hops, i, hop)
    {
        const char *location = ecert_json_text(hop, "location");

        snprintf(line, sizeof(line), "%lld %s%s%s",
                 (long long)json_integer_value(json_object_get(hop, "status")),
                 ecert_json_text(hop, "url"), location ? " -> " : "",
                 location ? location : "");
        printf("    ");
        ecert_say_wrapped(stdout, line, 4, 8);
    }
}

static void print_left(const char *first, const char *second)
{
    printf("  ");
    ecert_say_padded(stdout, first, 6);
    ecert_say_padded(stdout, second, LEFT - 9);
    putchar(' ');
    if (strlen(second) > LEFT - 9) {
        printf("\n%*s", LEFT, "");
    }
}

static void print_name(const json_t *one)
{
    const char *name = ecert_json_text(one, "name");
    char unicode[ECERT_NAME_MAX * 4];
    const json_t *part;
    size_t i;

    ecert_name_unicode(name, unicode, sizeof(unicode));
    printf("%s%s%s%s%s%s\n", ecert_say_style(stdout, ECERT_SAY_BOLD), unicode,
           ecert_say_style(stdout, ECERT_SAY_PLAIN),
           strcmp(unicode, name) ? " (" : "", strcmp(unicode, name) ? name : "",
           strcmp(unicode, name) ? ")" : "");
    json_array_foreach(json_object_get(one, "probes"), i, part)
    {
        print_left(ecert_json_text(part, "scheme"),
                   ecert_json_text(part, "address"));
        print_state(part, "state", LEFT);
        print_hops(part);
    }
    json_array_foreach(json_object_get(one, "servers"), i, part)
    {
        const char *server = ecert_json_text(part, "server");

        print_left(json_is_true(json_object_get(part, "authority")) ? "zone"
                                                                    : "asks",
                   ecert_json_text(part, "address"));
        print_state(part, "state", LEFT);
        if (server != NULL) {
            printf("%*s(%s)\n", LEFT + 7, "", server);
        }
    }
    printf("  => ");
    print_state(one, "verdict", 5);
}

/* ---- the work ---------------------------------------------------------- */

void ecert_dcv_check_set(json_t *object, const char *member,
                         const ecert_dcv_verdict_t *verdict)
{
    ecert_json_set_text(object, member, ecert_dcv_state_word(verdict->state));
    ecert_json_set_text(object, "what", verdict->what);
    if (verdict->hint[0]) {
        ecert_json_set_text(object, "hint", verdict->hint);
    }
}

/* The name at which a TXT record stands: "*.x" stands at x. */
static const char *base_of(const ecert_dcv_check_t *check, const char *name)
{
    return check->code != NULL && name[0] == '*' ? name + 2 : name;
}

static int is_first(const ecert_dcv_check_t *check,
                    const ecert_dcv_order_t *order, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (strcmp(base_of(check, order->names[k]),
                   base_of(check, order->names[i]))
            == 0) {
            return 0;
        }
    }
    return 1;
}

typedef struct {
    json_t *list;
    int quiet, wrong;
} told_t;

static void tell(void *ctx, json_t *one)
{
    told_t *told = ctx;

    told->wrong += strcmp(ecert_json_text(one, "verdict"), "good") != 0;
    if (!told->quiet) {
        print_name(one);
        fflush(stdout); /* the next name may take its time */
    }
    json_array_append_new(told->list, one);
}

/* How many names are not good; -1 and err. */
static int check_all(const ecert_dcv_check_t *check,
                     const ecert_dcv_order_t *order, int quiet, json_t *list,
                     ecert_err_t *err)
{
    const char **names = calloc(order->n + 1, sizeof(*names));
    told_t told = {list, quiet, 0};
    size_t n = 0;
    int rc;

    if (names == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    for (size_t i = 0; i < order->n; i++) {
        if (is_first(check, order, i)) {
            names[n++] = base_of(check, order->names[i]);
        }
    }
    rc = (check->code ? ecert_dcv_check_dns : ecert_dcv_check_http)(
        check, names, n, tell, &told, err);
    free(names);
    return rc == 0 ? told.wrong : -1;
}

static void print_json(const ecert_cli_site_t *site,
                       const ecert_dcv_check_t *check, json_t *list, int wrong)
{
    json_t *top = ecert_report_head(site->store, site->now);

    ecert_json_set_text(top, "site", site->ascii);
    ecert_json_set_text(top, "method", check->code ? "dns" : "file");
    json_object_set_new(top, "good", json_boolean(wrong == 0));
    json_object_set(top, "validation", list);
    json_dumpf(top, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(top);
}

static int work(const options_t *options, const ecert_cli_site_t *site,
                ecert_err_t *err)
{
    ecert_dcv_check_t check = {
        .store = site->store, .site = site->ascii, .code = options->code};
    json_t *list = json_array();
    ecert_dcv_order_t order;
    int wrong;

    if (ecert_dcv_order(site, options->request, &order, err) != 0) {
        json_decref(list);
        return -1;
    }
    check.net = (ecert_dcv_net_t){(ecert_dcv_route_t *)options->routes,
                                  options->n_routes,
                                  (ecert_dcv_place_t *)options->servers,
                                  options->n_servers, options->resolves};
    check.file =
        options->file ? options->file : ecert_ca_rules(order.ca)->token_file;
    check.file = check.file ? check.file : "fileauth.txt";
    check.ttl = ecert_ca_rules(order.ca)->txt_ttl;
    wrong = check_all(&check, &order, options->json, list, err);
    if (wrong >= 0 && options->json) {
        print_json(site, &check, list, wrong);
    } else if (wrong == 0) {
        puts("Every name is good: press Confirm in the portal.\n");
    } else if (wrong > 0) {
        puts("Do not press Confirm yet.\n");
    }
    ecert_dcv_order_free(&order);
    json_decref(list);
    return wrong;
}

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    options_t options = {0};
    ecert_cli_site_t site;
    ecert_err_t err;
    int code, wrong;
    int first = ecert_cli_parse(command, argc, argv, &options, &code);

    if (first < 0) {
        return code;
    }
    if (argc - first != 1) {
        return ecert_cli_usage(command->name, "one NAME is wanted");
    }
    if (options.file != NULL && options.code != NULL) {
        return ecert_cli_usage(command->name,
                               "--file and --dns are two methods: choose one");
    }
    if (ecert_cli_site_look(&site, ecert_cli_store(), argv[first], &err) != 0
        || (wrong = work(&options, &site, &err)) < 0) {
        return ecert_cli_fail(NULL, &err);
    }
    if (!options.json) {
        ecert_cli_progress_show(site.store, site.ascii, site.now, stdout);
    }
    return wrong == 0 ? ECERT_EXIT_DONE : ECERT_EXIT_FAILED;
}

/* ---- the command ------------------------------------------------------- */

static const ecert_cli_option_t options[] = {
    {"file", "FILE", "the file's name (default: the CA's, fileauth.txt)", 0,
     set_file, offsetof(options_t, file)},
    {"dns", "CODE", "look for TXT records with this code instead", 0, set_code,
     offsetof(options_t, code)},
    {"resolve", "HOST:PORT:ADDRESS",
     "where a name is, as curl has it: port 80 or 443 (53 for a name server), "
     "addresses with commas between them, IPv6 in brackets, each with another "
     ":PORT if need be; may be given again",
     0, set_route, 0},
    {"dns-server", "ADDRESS",
     "the name server to ask (ADDRESS:PORT), alone; may be given again", 0,
     set_server, 0},
    {"resolver", "ADDRESS",
     "a resolver to ask in place of the system's, which may see another DNS "
     "than the world does; may be given again",
     0, set_resolver, 0},
    {"request", "N", "for the names of this request (default: the newest)", 0,
     ecert_cli_set_request, offsetof(options_t, request)},
    {"json", NULL, "as JSON", 0, ecert_cli_set_flag, offsetof(options_t, json)},
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_dcv_check = {
    .name = "dcv check",
    .what = "what a validator will see, before Confirm is pressed",
    .arguments = "NAME",
    .about = "Asks for the validation file as validators do, for each name "
             "over http and https at each of its addresses: redirects, exactly "
             "200, the code at the very start, the same everywhere, in time.  "
             "With --dns: for the TXT records, from the zone's own servers and "
             "from the resolver.  A name is good when http or https is right "
             "at every address that answers, for the CA accepts either.  "
             "Whether the CA reaches the server, too, is not seen from here.",
    .options = options,
    .exits = "Exit code: 0 every name is good, 1 not, 2 wrong usage.",
    .example = "ecert dcv check www.example.hk",
    .run = run,
};
