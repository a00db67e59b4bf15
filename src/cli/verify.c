/* ecert verify: what the running servers send, against what is stored and what
 * they have published. */

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "cli.h"
#include "ecert_conf.h"
#include "ecert_json.h"
#include "ecert_name.h"
#include "ecert_report.h"
#include "port.h"
#include "say.h"
#include "servers.h"
#include "verify.h"

#define SECONDS 10

/* ---- one target -------------------------------------------------------- */

static void report(ecert_verify_t *verify, const ecert_verify_target_t *target,
                   const ecert_probed_t *probed)
{
    json_t *one = json_object(), *reasons = json_array();
    char hex[65];

    ecert_json_set_text(one, "name", target->host);
    ecert_json_set_text(one, "address", target->where);
    json_object_set_new(one, "good", json_boolean(target->n_reasons == 0));
    if (probed != NULL && sk_X509_num(probed->sent) > 0) {
        ecert_json_set_text(one, "protocol", probed->protocol);
        ecert_json_set_text(
            one, "sha256",
            ecert_x509_fingerprint(sk_X509_value(probed->sent, 0), hex));
        json_object_set_new(one, "elements",
                            json_integer(sk_X509_num(probed->sent)));
        json_object_set_new(one, "stapled",
                            json_boolean(probed->staple != NULL));
    }
    for (size_t i = 0; i < target->n_reasons; i++) {
        json_array_append_new(reasons, json_string(target->reasons[i]));
    }
    json_object_set_new(one, "wrong", reasons);
    json_array_append_new(verify->results, one);
}

static void print(const ecert_verify_target_t *target,
                  const ecert_probed_t *probed)
{
    int good = target->n_reasons == 0;

    printf("%s%s%s %s at %s",
           ecert_say_style(stdout, good ? ECERT_SAY_GOOD : ECERT_SAY_BAD),
           good ? "good " : "wrong", ecert_say_style(stdout, ECERT_SAY_PLAIN),
           target->host, target->where);
    if (probed != NULL && probed->failed[0] == '\0') {
        printf(": %d certificate%s, %s%s", sk_X509_num(probed->sent),
               sk_X509_num(probed->sent) == 1 ? "" : "s", probed->protocol,
               probed->staple ? ", stapled" : "");
    }
    putchar('\n');
    for (size_t i = 0; i < target->n_reasons; i++) {
        printf("      ");
        ecert_say_wrapped(stdout, target->reasons[i], 6, 6);
    }
}

static void look_at(ecert_verify_t *verify, const char *host,
                    const struct sockaddr *address, socklen_t len,
                    const char *where)
{
    ecert_verify_target_t target = {.host = host, .where = where};
    ecert_probed_t probed;
    ecert_err_t err;
    int rc = ecert_probe(address, len, host, SECONDS, 0, where, &probed, &err);

    if (rc == 0) {
        ecert_verify_judge(&target, verify, &probed);
    } else {
        ecert_verify_wrong(&target, "%s", err.detail);
    }
    verify->bad |= target.n_reasons > 0;
    report(verify, &target, rc == 0 ? &probed : NULL);
    if (!verify->options->json) {
        print(&target, rc == 0 ? &probed : NULL);
    }
    if (rc == 0) {
        ecert_probed_free(&probed);
    }
}

/* ---- names and addresses ----------------------------------------------- */

static void unresolved(ecert_verify_t *verify, const char *host,
                       const char *where, const char *why)
{
    ecert_verify_target_t target = {.host = host, .where = where};

    ecert_verify_wrong(&target, "no address: %s", why);
    verify->bad = 1;
    report(verify, &target, NULL);
    if (!verify->options->json) {
        print(&target, NULL);
    }
}

static void look_everywhere(ecert_verify_t *verify, const char *host,
                            const char *where, const char *node,
                            const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list, *one;
    int rc = getaddrinfo(node, port, &hints, &list);

    if (rc != 0) {
        unresolved(verify, host, where, gai_strerror(rc));
        return;
    }
    for (one = list; one != NULL; one = one->ai_next) {
        char text[INET6_ADDRSTRLEN] = "", full[INET6_ADDRSTRLEN + 10];

        getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof(text), NULL, 0,
                    NI_NUMERICHOST);
        snprintf(full, sizeof(full),
                 one->ai_family == AF_INET6 ? "[%s]:%s" : "%s:%s", text, port);
        look_at(verify, host, one->ai_addr, one->ai_addrlen, full);
    }
    freeaddrinfo(list);
}

static void verify_name(ecert_verify_t *verify, const char *word)
{
    const ecert_verify_options_t *options = verify->options;
    char text[512], ascii[ECERT_NAME_MAX];
    const char *port;
    ecert_err_t err;

    snprintf(text, sizeof(text), "%.500s", word);
    port = ecert_cli_split_port(text);
    if (ecert_name_ascii(text, ascii, &err) != 0) {
        if (err.hint[0] == '\0') {
            ecert_err_hint(&err, "write the host's name; where it is to be "
                                 "asked says --connect ADDRESS:PORT");
        }
        ecert_cli_fail(NULL, &err);
        verify->bad = 1;
        return;
    }
    if (options->n_connect == 0) {
        look_everywhere(verify, ascii, ascii, ascii, port ? port : "443");
    }
    for (size_t i = 0; i < options->n_connect; i++) {
        char node[512], *to;

        snprintf(node, sizeof(node), "%.500s", options->connect[i]);
        to = ecert_cli_split_port(node);
        look_everywhere(verify, ascii, options->connect[i], node,
                        to     ? to
                        : port ? port
                               : "443");
    }
}

/* All names of all virtual hosts with a site; a wildcard cannot be asked for.
 */
static void verify_all(ecert_verify_t *verify)
{
    const json_t *server, *site, *name;
    json_t *seen = json_object();
    size_t i, k, m;

    json_array_foreach(verify->servers, i, server)
    {
        json_array_foreach(json_object_get(server, "sites"), k, site)
        {
            json_array_foreach(json_object_get(site, "vhosts"), m, name)
            {
                const char *text = json_string_value(name);

                if (text[0] != '*' && json_object_get(seen, text) == NULL) {
                    json_object_set_new(seen, text, json_true());
                    verify_name(verify, text);
                }
            }
        }
    }
    /* a monitor is to know that nothing was looked at */
    verify->bad |= verify->silent > 0 || json_object_size(seen) == 0;
    if (json_object_size(seen) == 0 && verify->silent == 0
        && !verify->options->json) {
        puts("No running server has a name to look at: start one, or say which "
             "HOST.");
    }
    json_decref(seen);
}

/* ---- the command ------------------------------------------------------- */

static int start(ecert_verify_t *verify, ecert_err_t *err)
{
    verify->servers =
        ecert_cli_servers(verify->options->store, &verify->silent);
    verify->results = json_array();
    verify->loader = ecert_loader_new(verify->options->store, err);
    verify->ca = verify->loader ? ecert_ca_builtin(err) : NULL;
    if (verify->ca == NULL) {
        return -1;
    }
    verify->anchors = access(ECERT_TRUST_FILE, R_OK) == 0
                          ? ecert_roots_read(ECERT_TRUST_FILE, err)
                          : sk_X509_new_null();
    return verify->anchors ? 0 : -1;
}

static void end(ecert_verify_t *verify)
{
    json_decref(verify->servers);
    json_decref(verify->results);
    ecert_loader_free(verify->loader);
    ecert_ca_free(verify->ca);
    sk_X509_pop_free(verify->anchors, X509_free);
}

static int verify_names(const ecert_verify_options_t *options, char **names,
                        int n)
{
    ecert_verify_t verify = {.options = options};
    ecert_err_t err;
    int code;

    if (start(&verify, &err) != 0) {
        end(&verify);
        return ecert_cli_fail(NULL, &err);
    }
    for (int i = 0; i < n; i++) {
        verify_name(&verify, names[i]);
    }
    if (n == 0) {
        verify_all(&verify);
    }
    if (options->json) {
        json_t *top = ecert_report_head(options->store, time(NULL));

        json_object_set(top, "verified", verify.results);
        json_dumpf(top, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(top);
    }
    code = verify.bad ? ECERT_EXIT_FAILED : ECERT_EXIT_DONE;
    end(&verify);
    return code;
}

static int has_bad_port(const char *word)
{
    char text[512];
    const char *port;

    snprintf(text, sizeof(text), "%.500s", word);
    port = ecert_cli_split_port(text);
    return port != NULL && !ecert_cli_is_port(port);
}

/* What is wrong with HOST[:PORT], or NULL. */
static const char *host_fault(const char *word)
{
    if (strstr(word, "://") != NULL) {
        return "give HOST[:PORT], not an address with http://";
    }
    if (strchr(word, '/') != NULL) {
        return "give HOST[:PORT], without a path";
    }
    if (word[0] == '*') {
        return "a wildcard cannot be asked for: give a name below it";
    }
    return has_bad_port(word)
               ? "the port of HOST[:PORT] is a number from 1 to 65535"
               : NULL;
}

static int add_connect(void *ctx, const char *value, ecert_err_t *err)
{
    ecert_verify_options_t *options = ctx;
    const char *colon = strchr(value, ':');

    if (options->n_connect == ECERT_VERIFY_CONNECT) {
        return ecert_err(err, ECERT_ERR_TOO_MANY, value, "--connect");
    }
    if (has_bad_port(value)
        || (value[0] != '[' && colon && strchr(colon + 1, ':'))) {
        ecert_err(err, ECERT_ERR_USAGE, NULL, "\"%s\" is not ADDRESS[:PORT]",
                  value);
        return ecert_err_hint(err, "write such as 192.0.2.1:443 or "
                                   "[2001:db8::1]:443");
    }
    options->connect[options->n_connect++] = value;
    return 0;
}

static int set_client(void *to, const char *value, ecert_err_t *err)
{
    return ecert_cli_set_text(to, strcmp(value, "both") == 0 ? NULL : value,
                              err);
}

static int set_at(void *ctx, const char *value, ecert_err_t *err)
{
    ecert_verify_options_t *options = ctx;

    options->dated = 1;
    return ecert_date_parse(value, &options->at, err);
}

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    ecert_verify_options_t options = {.at = time(NULL)};
    int code, first = ecert_cli_parse(command, argc, argv, &options, &code);

    if (first < 0) {
        return code;
    }
    for (int i = first; i < argc; i++) {
        const char *fault = host_fault(argv[i]);

        if (fault != NULL) {
            return ecert_cli_usage("verify", "%s", fault);
        }
    }
    options.store = ecert_cli_store();
    return verify_names(&options, argv + first, argc - first);
}

static const ecert_cli_option_t options[] = {
    {"client", "WHO",
     "as a client that trusts one root only: root-ca-3, cross, the roots in "
     "this file, or both (default)",
     0, set_client, offsetof(ecert_verify_options_t, client)},
    {"at", "DATE", "as if it were then (YYYY-MM-DD[THH:MM:SSZ])", 0, set_at, 0},
    {"connect", "ADDRESS[:PORT]",
     "connect there, whatever the name's addresses are; may be given again", 0,
     add_connect, 0},
    {"json", NULL, "as JSON", 0, ecert_cli_set_flag,
     offsetof(ecert_verify_options_t, json)},
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_verify = {
    .name = "verify",
    .what = "what the servers send, against what is stored",
    .arguments = "[HOST[:PORT]]...",
    .about = "Speaks TLS to the servers at every address of these names (all "
             "names of the running servers without HOST), and compares what "
             "they send with the store: the certificate, each element of the "
             "chain (as the running server has published it), the staple; and "
             "asks whether clients would take it.",
    .options = options,
    .exits = "Exit code: 0 all is as it should be, 1 something is not, or "
             "nothing could be looked at, 2 wrong usage.",
    .example = "ecert verify --client cross www.example.hk",
    .run = run,
};
