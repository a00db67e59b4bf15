/* ecert verify: what the running servers send, against what is stored. */

#include <limits.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "cli.h"
#include "client.h"
#include "ecert_chain.h"
#include "ecert_conf.h"
#include "ecert_json.h"
#include "ecert_load.h"
#include "ecert_name.h"
#include "ecert_ocsp.h"
#include "probe.h"
#include "ecert_report.h"
#include "ecert_store.h"
#include "ecert_x509.h"
#include "port.h"
#include "say.h"
#include "servers.h"
#include "site.h"

#define SECONDS     10
#define CONNECT_MAX 32
#define REASONS_MAX 8

typedef struct {
    const char *store;
    const char *client; /* NULL: root-ca-3 and cross */
    const char *connect[CONNECT_MAX];
    size_t n_connect;
    int64_t at;
    int json;
} options_t;

/* Everything that all targets share. */
typedef struct {
    const options_t *options;
    json_t *servers; /* the agents' reports */
    ecert_loader_t *loader;
    ecert_ca_t *ca;
    STACK_OF(X509) *anchors;
    json_t *results;
    int bad;
} verify_t;

/* One name at one address. */
typedef struct {
    const char *host; /* A-label */
    const char *where;
    char reasons[REASONS_MAX][300]; /* what is wrong */
    size_t n_reasons;
} target_t;

static void wrong(target_t *target, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void wrong(target_t *target, const char *fmt, ...)
{
    va_list args;

    if (target->n_reasons < REASONS_MAX) {
        va_start(args, fmt);
        vsnprintf(target->reasons[target->n_reasons],
                  sizeof(target->reasons[0]), fmt, args);
        va_end(args);
        target->n_reasons++;
    }
}

/* ---- what should be there ---------------------------------------------- */

/* The store's site that a server answers this name with; 0 when it has one. */
static int site_of(const verify_t *verify, const char *host, char *ascii)
{
    const json_t *report, *site;
    char dir[PATH_MAX];
    ecert_err_t ignored;
    size_t i, k;

    json_array_foreach(verify->servers, i, report)
    {
        json_array_foreach(json_object_get(report, "sites"), k, site)
        {
            const char *name = ecert_json_text(site, "site");

            if (ecert_json_flag(site, "store_site", 0) && name != NULL
                && ecert_cli_concerns(site, host)
                && ecert_name_ascii(name, ascii, &ignored) == 0) {
                return 0;
            }
        }
    }
    snprintf(ascii, ECERT_NAME_MAX, "%s", host);
    return ecert_store_site(verify->options->store, host, NULL, dir, &ignored);
}

/* Whether its agent has a staple in hand. */
static int has_staple(const verify_t *verify, const char *ascii)
{
    const json_t *report, *site;
    size_t i, k;

    json_array_foreach(verify->servers, i, report)
    {
        json_array_foreach(json_object_get(report, "sites"), k, site)
        {
            const char *state =
                ecert_json_text(json_object_get(site, "staple"), "state");

            if (ecert_cli_concerns(site, ascii) && state != NULL
                && strcmp(state, "good") == 0) {
                return 1;
            }
        }
    }
    return 0;
}

/* ---- comparing --------------------------------------------------------- */

static void compare_chain(target_t *target, const STACK_OF(X509) *sent,
                          const ecert_chain_t *chain)
{
    int n = sk_X509_num(chain->served), have = sk_X509_num(sent) - 1;
    char name[200];

    for (int i = 0; i < n && i < have; i++) {
        if (X509_cmp(sk_X509_value(sent, i + 1),
                     sk_X509_value(chain->served, i))
            != 0) {
            wrong(target, "element %d is %s, not the one that is to be sent",
                  i + 1,
                  ecert_x509_label(sk_X509_value(sent, i + 1), name,
                                   sizeof(name)));
            return;
        }
    }
    if (have < n) {
        wrong(
            target, "%s is not sent",
            ecert_x509_label(sk_X509_value(chain->served, have < 0 ? 0 : have),
                             name, sizeof(name)));
    } else if (have > n) {
        wrong(target, "%s is sent needlessly",
              ecert_x509_label(sk_X509_value(sent, n + 1), name, sizeof(name)));
    }
}

static void compare_leaf(target_t *target, X509 *sent, X509 *stored)
{
    char mine[65], other[65];

    if (X509_cmp(sent, stored) == 0) {
        return;
    }
    if (ecert_x509_self_signed(sent)) {
        wrong(target, "a placeholder or a self-signed certificate is sent");
        return;
    }
    wrong(target, "another certificate is sent: SHA-256 %.16s, stored is %.16s",
          ecert_x509_fingerprint(sent, other),
          ecert_x509_fingerprint(stored, mine));
}

static void compare_staple(target_t *target, const verify_t *verify,
                           const ecert_probed_t *probed, int expected)
{
    X509 *leaf = sk_X509_value(probed->sent, 0);
    X509 *issuer = sk_X509_value(probed->sent, 1);
    ecert_ocsp_t facts;
    ecert_err_t err;

    if (probed->staple == NULL) {
        if (expected) {
            wrong(target, "no OCSP response is stapled");
        }
        return;
    }
    if (issuer == NULL) {
        return; /* told already: the chain is not sent */
    }
    if (ecert_ocsp_check(probed->staple, probed->staple_len, leaf, issuer,
                         verify->options->at, 0, &facts, &err)
        != 0) {
        wrong(target, "the staple is bad: %s", err.detail);
    } else if (facts.status != ECERT_OCSP_GOOD) {
        wrong(target, "the staple says that the certificate is revoked");
    }
}

static const X509 *cross_of(const ecert_chain_t *chain)
{
    for (size_t i = 0; chain != NULL && i < chain->n_considered; i++) {
        if (chain->considered[i].role == ECERT_CA_CROSS) {
            return chain->considered[i].cert;
        }
    }
    return NULL;
}

static STACK_OF(X509) *rest_of(const STACK_OF(X509) *sent)
{
    STACK_OF(X509) *rest = sk_X509_new_null();

    for (int i = 1; rest != NULL && i < sk_X509_num(sent); i++) {
        sk_X509_push(rest, sk_X509_value(sent, i));
    }
    return rest;
}

static void ask_client(target_t *target, const verify_t *verify,
                       const ecert_client_t *client, const char *who,
                       const STACK_OF(X509) *sent)
{
    STACK_OF(X509) *roots, *rest = rest_of(sent);
    ecert_err_t err;

    roots = ecert_client_roots(client, who, &err);
    if (roots == NULL || rest == NULL) {
        wrong(target, "client %s: %s", who, err.detail);
    } else if (ecert_chain_verify(sk_X509_value(sent, 0), rest, roots,
                                  target->host, verify->options->at, &err)
               != 0) {
        wrong(target, "client %s refuses it: %s", who, err.detail);
    }
    sk_X509_pop_free(roots, X509_free);
    sk_X509_free(rest);
}

/* The other root's client counts while the cross-certificate is to be sent. */
static void ask_clients(target_t *target, const verify_t *verify,
                        const ecert_chain_t *chain, const STACK_OF(X509) *sent)
{
    STACK_OF(X509) *pool = sk_X509_new_null();
    ecert_client_t client = {verify->ca, verify->anchors, pool,
                             cross_of(chain)};

    for (size_t i = 1; chain != NULL && i < chain->n_considered; i++) {
        sk_X509_push(pool, chain->considered[i].cert);
    }
    if (verify->options->client != NULL) {
        ask_client(target, verify, &client, verify->options->client, sent);
    } else {
        ask_client(target, verify, &client, "root-ca-3", sent);
        if (client.cross != NULL && chain != NULL
            && sk_X509_num(chain->served) > 1) {
            ask_client(target, verify, &client, "cross", sent);
        }
    }
    sk_X509_free(pool);
}

static void judge(target_t *target, const verify_t *verify,
                  const ecert_probed_t *probed)
{
    char ascii[ECERT_NAME_MAX];
    ecert_site_t site = {.name = ascii};
    ecert_loaded_t loaded;
    ecert_err_t err;
    int rc;

    if (sk_X509_num(probed->sent) == 0) {
        wrong(target, "no certificate is sent");
        return;
    }
    if (site_of(verify, target->host, ascii) != 0) {
        wrong(target, "the store has no site for this name");
        ask_clients(target, verify, NULL, probed->sent);
        return;
    }
    rc = ecert_load(verify->loader, &site, verify->options->at, &loaded, &err);
    if (rc >= 0 && loaded.chain != NULL) {
        compare_leaf(target, sk_X509_value(probed->sent, 0),
                     loaded.chain->considered[0].cert);
        compare_chain(target, probed->sent, loaded.chain);
        compare_staple(target, verify, probed, has_staple(verify, ascii));
        ask_clients(target, verify, loaded.chain, probed->sent);
    } else {
        wrong(target, "the store has nothing to compare with: %s",
              ecert_err_sentence(err.code));
    }
    ecert_loaded_free(&loaded);
}

/* ---- one target -------------------------------------------------------- */

static void report(verify_t *verify, const target_t *target,
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

static void print(const target_t *target, const ecert_probed_t *probed)
{
    int good = target->n_reasons == 0;

    printf("%s%s%s %s at %s",
           ecert_say_style(stdout, good ? ECERT_SAY_GOOD : ECERT_SAY_BAD),
           good ? "good " : "wrong", ecert_say_style(stdout, ECERT_SAY_PLAIN),
           target->host, target->where);
    if (probed != NULL) {
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

static void look_at(verify_t *verify, const char *host,
                    const struct sockaddr *address, socklen_t len,
                    const char *where)
{
    target_t target = {.host = host, .where = where};
    ecert_probed_t probed;
    ecert_err_t err;
    int rc = ecert_probe(address, len, host, SECONDS, where, &probed, &err);

    if (rc == 0) {
        judge(&target, verify, &probed);
    } else {
        wrong(&target, "%s", err.detail);
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

static void unresolved(verify_t *verify, const char *host, const char *where,
                       const char *why)
{
    target_t target = {.host = host, .where = where};

    wrong(&target, "no address: %s", why);
    verify->bad = 1;
    report(verify, &target, NULL);
    if (!verify->options->json) {
        print(&target, NULL);
    }
}

static void look_everywhere(verify_t *verify, const char *host,
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

static void verify_name(verify_t *verify, const char *word)
{
    const options_t *options = verify->options;
    char text[512], ascii[ECERT_NAME_MAX];
    const char *port;
    ecert_err_t err;

    snprintf(text, sizeof(text), "%.500s", word);
    port = ecert_cli_split_port(text);
    if (ecert_name_ascii(text, ascii, &err) != 0) {
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

/* All names of all virtual hosts that serve a site of the store; a wildcard
 * cannot be asked for. */
static void verify_all(verify_t *verify)
{
    const json_t *server, *site, *name;
    json_t *seen = json_object();
    size_t i, k, m;

    json_array_foreach(verify->servers, i, server)
    {
        json_array_foreach(json_object_get(server, "sites"), k, site)
        {
            if (!ecert_json_flag(site, "store_site", 0)) {
                continue; /* its files are elsewhere: nothing to compare */
            }
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
    if (json_object_size(seen) == 0 && !verify->options->json) {
        puts("No running server has a name to look at.");
    }
    json_decref(seen);
}

/* ---- the command ------------------------------------------------------- */

static int start(verify_t *verify, ecert_err_t *err)
{
    int silent = 0;

    verify->servers = ecert_cli_servers(verify->options->store, &silent);
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

static void end(verify_t *verify)
{
    json_decref(verify->servers);
    json_decref(verify->results);
    ecert_loader_free(verify->loader);
    ecert_ca_free(verify->ca);
    sk_X509_pop_free(verify->anchors, X509_free);
}

static int verify_names(const options_t *options, char **names, int n)
{
    verify_t verify = {.options = options};
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

static int set_option(void *ctx, int c, const char *value, ecert_err_t *err)
{
    options_t *options = ctx;

    switch (c) {
    case 'c':
        options->client = strcmp(value, "both") == 0 ? NULL : value;
        return 0;
    case 'a':
        return ecert_date_parse(value, &options->at, err);
    case 'C':
        if (options->n_connect == CONNECT_MAX) {
            return ecert_err(err, ECERT_ERR_TOO_MANY, value, "--connect");
        }
        options->connect[options->n_connect++] = value;
        return 0;
    case 'j':
        options->json = 1;
        return 0;
    default:
        options->store = value;
        return 0;
    }
}

static int run(const ecert_cli_command_t *command, int argc, char **argv)
{
    options_t options = {.at = time(NULL)};
    int code, first = ecert_cli_parse(command, argc, argv, set_option, &options,
                                      &code);

    if (first < 0) {
        return code;
    }
    options.store = ecert_cli_store(options.store);
    return verify_names(&options, argv + first, argc - first);
}

static const ecert_cli_option_t options[] = {
    {"client", 'c', "WHO",
     "as a client that trusts one root only: root-ca-3, cross, the roots in "
     "this file, or both (default)",
     0},
    {"at", 'a', "DATE", "as if it were then (YYYY-MM-DD[THH:MM:SSZ])", 0},
    {"connect", 'C', "ADDRESS[:PORT]",
     "connect there, whatever the name's addresses are; may be given again", 0},
    {"json", 'j', NULL, "as JSON", 0},
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
             "chain, the staple; and asks whether clients would take it.",
    .options = options,
    .exits = "Exit code: 0 all is as it should be, 1 something is not, 2 wrong "
             "usage.",
    .example = "ecert verify --client cross www.example.hk",
    .run = run,
};
