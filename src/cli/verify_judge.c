/* One name at one address: what is wrong with what is sent there. */

#include "verify.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "ecert_chain.h"
#include "ecert_json.h"
#include "ecert_name.h"
#include "ecert_ocsp.h"
#include "ecert_store.h"
#include "ecert_x509.h"
#include "servers.h"

#define ELEMENTS_MAX 16

void ecert_verify_wrong(ecert_verify_target_t *target, const char *fmt, ...)
{
    va_list args;

    if (target->n_reasons < ECERT_VERIFY_REASONS) {
        va_start(args, fmt);
        vsnprintf(target->reasons[target->n_reasons],
                  sizeof(target->reasons[0]), fmt, args);
        va_end(args);
        target->n_reasons++;
    }
}

/* ---- what should be there ---------------------------------------------- */

/* The store's site that a server answers this name with; 0 when it has one. */
static int site_of(const ecert_verify_t *verify, const char *host, char *ascii)
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
static int has_staple(const ecert_verify_t *verify, const char *ascii)
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

/* A running server's site that answers this name: the one that has published
 * this leaf, else the first; NULL: none.  Its directives may say of the chain
 * what the store alone does not know. */
static const json_t *published_site(const ecert_verify_t *verify,
                                    const char *host, const X509 *leaf)
{
    const json_t *report, *site, *found = NULL;
    char hex[65];
    size_t i, k;

    ecert_x509_fingerprint(leaf, hex);
    json_array_foreach(verify->servers, i, report)
    {
        json_array_foreach(json_object_get(report, "sites"), k, site)
        {
            const char *state = ecert_json_text(site, "state");
            const char *own =
                ecert_json_text(json_object_get(site, "leaf"), "sha256");

            if (own == NULL || !ecert_cli_concerns(site, host) || state == NULL
                || strcmp(state, "placeholder") == 0) {
                continue;
            }
            if (strcmp(own, hex) == 0) {
                return site;
            }
            found = found ? found : site;
        }
    }
    return found;
}

/* ---- comparing --------------------------------------------------------- */

/* What is to be sent behind the leaf: fingerprints, and how they are called. */
typedef struct {
    size_t n;
    char sha256[ELEMENTS_MAX][65];
    char label[ELEMENTS_MAX][200];
} elements_t;

static void add_element(elements_t *elements, const char *sha256,
                        const char *label)
{
    if (elements->n < ELEMENTS_MAX && sha256 != NULL && label != NULL) {
        snprintf(elements->sha256[elements->n], 65, "%s", sha256);
        snprintf(elements->label[elements->n++], 200, "%s", label);
    }
}

static elements_t stored_elements(const ecert_chain_t *chain)
{
    elements_t elements = {0};
    char hex[65], name[200];

    for (int i = 0; i < sk_X509_num(chain->served); i++) {
        const X509 *cert = sk_X509_value(chain->served, i);

        add_element(&elements, ecert_x509_fingerprint(cert, hex),
                    ecert_x509_label(cert, name, sizeof(name)));
    }
    return elements;
}

static elements_t published_elements(const json_t *site)
{
    elements_t elements = {0};
    const json_t *one;
    size_t i;

    json_array_foreach(json_object_get(site, "chain"), i, one)
    {
        add_element(&elements, ecert_json_text(one, "sha256"),
                    ecert_json_text(one, "subject"));
    }
    return elements;
}

static int are_sent(const elements_t *elements, const STACK_OF(X509) *sent)
{
    char hex[65];

    if ((size_t)sk_X509_num(sent) != elements->n + 1) {
        return 0;
    }
    for (size_t i = 0; i < elements->n; i++) {
        if (strcmp(ecert_x509_fingerprint(sk_X509_value(sent, (int)i + 1), hex),
                   elements->sha256[i])
            != 0) {
            return 0;
        }
    }
    return 1;
}

/* What the store's chain is to be now, unless the server has published what it
 * sends: its directives decide then. */
static elements_t expected_elements(const ecert_verify_t *verify,
                                    const ecert_chain_t *chain,
                                    const json_t *site,
                                    const STACK_OF(X509) *sent)
{
    elements_t published = published_elements(site);

    return site != NULL && !verify->options->dated && are_sent(&published, sent)
               ? published
               : stored_elements(chain);
}

static void compare_chain(ecert_verify_target_t *target,
                          const STACK_OF(X509) *sent,
                          const elements_t *elements)
{
    size_t have = (size_t)sk_X509_num(sent) - 1;
    char name[200], hex[65];

    for (size_t i = 0; i < elements->n && i < have; i++) {
        const X509 *cert = sk_X509_value(sent, (int)i + 1);

        if (strcmp(ecert_x509_fingerprint(cert, hex), elements->sha256[i])
            != 0) {
            ecert_verify_wrong(
                target, "element %zu is %s, not the one that is to be sent",
                i + 1, ecert_x509_label(cert, name, sizeof(name)));
            return;
        }
    }
    if (have < elements->n) {
        ecert_verify_wrong(target, "%s is not sent", elements->label[have]);
    } else if (have > elements->n) {
        ecert_verify_wrong(
            target, "%s is sent needlessly",
            ecert_x509_label(sk_X509_value(sent, (int)elements->n + 1), name,
                             sizeof(name)));
    }
}

static void compare_leaf(ecert_verify_target_t *target, X509 *sent,
                         X509 *stored)
{
    char mine[65], other[65];

    if (X509_cmp(sent, stored) == 0) {
        return;
    }
    if (ecert_x509_self_signed(sent)) {
        ecert_verify_wrong(
            target, "a placeholder or a self-signed certificate is sent");
        return;
    }
    ecert_verify_wrong(
        target, "another certificate is sent: SHA-256 %.16s, stored is %.16s",
        ecert_x509_fingerprint(sent, other),
        ecert_x509_fingerprint(stored, mine));
}

static void compare_staple(ecert_verify_target_t *target,
                           const ecert_verify_t *verify,
                           const ecert_probed_t *probed, int expected)
{
    X509 *leaf = sk_X509_value(probed->sent, 0);
    X509 *issuer = sk_X509_value(probed->sent, 1);
    ecert_ocsp_t facts;
    ecert_err_t err;

    if (probed->staple == NULL) {
        if (ecert_x509_demands_staple(leaf)) {
            ecert_verify_wrong(target, "no OCSP response is stapled, which the "
                                       "certificate demands (must-staple)");
        } else if (expected) {
            ecert_verify_wrong(target, "no OCSP response is stapled");
        }
        return;
    }
    if (issuer == NULL) {
        return; /* told already: the chain is not sent */
    }
    if (ecert_ocsp_check(probed->staple, probed->staple_len, leaf, issuer,
                         verify->options->at, 0, &facts, &err)
        != 0) {
        ecert_verify_wrong(target, "the staple is bad: %s", err.detail);
    } else if (facts.status == ECERT_OCSP_REVOKED) {
        ecert_verify_wrong(target,
                           "the staple says that the certificate is revoked");
    } else if (facts.status != ECERT_OCSP_GOOD) {
        ecert_verify_wrong(
            target,
            "the staple says that the CA does not know the certificate");
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

static void ask_client(ecert_verify_target_t *target,
                       const ecert_verify_t *verify,
                       const ecert_client_t *client, const char *who,
                       const STACK_OF(X509) *sent)
{
    STACK_OF(X509) *roots, *rest = rest_of(sent);
    ecert_err_t err;

    roots = ecert_client_roots(client, who, &err);
    if (roots == NULL || rest == NULL) {
        ecert_verify_wrong(target, "client %s: %s", who, err.detail);
    } else if (ecert_chain_verify(sk_X509_value(sent, 0), rest, roots,
                                  target->host, verify->options->at, &err)
               != 0) {
        ecert_verify_wrong(target, "client %s refuses it: %s", who, err.detail);
    }
    sk_X509_pop_free(roots, X509_free);
    sk_X509_free(rest);
}

/* The other root's client counts while the cross-certificate is to be sent:
 * while there are more elements than one. */
static void ask_clients(ecert_verify_target_t *target,
                        const ecert_verify_t *verify,
                        const ecert_chain_t *chain, size_t elements,
                        const STACK_OF(X509) *sent)
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
        if (client.cross != NULL && elements > 1) {
            ask_client(target, verify, &client, "cross", sent);
        }
    }
    sk_X509_free(pool);
}

/* Files elsewhere, or a site that the store has lost: what its server says. */
static void judge_published(ecert_verify_target_t *target,
                            const ecert_verify_t *verify,
                            const ecert_probed_t *probed, const json_t *site)
{
    const STACK_OF(X509) *sent = probed->sent;
    elements_t elements = published_elements(site);
    X509 *leaf = sk_X509_value(sent, 0);
    const char *own = ecert_json_text(json_object_get(site, "leaf"), "sha256");
    char hex[65];

    if (strcmp(ecert_x509_fingerprint(leaf, hex), own) != 0) {
        ecert_verify_wrong(
            target,
            "another certificate is sent: SHA-256 %.16s, published is %.16s",
            hex, own);
    }
    compare_chain(target, sent, &elements);
    compare_staple(target, verify, probed, 0);
    if (verify->options->client != NULL) { /* it may be another CA's */
        ask_clients(target, verify, NULL, elements.n, sent);
    }
}

static void judge_stored(ecert_verify_target_t *target,
                         const ecert_verify_t *verify,
                         const ecert_probed_t *probed, const json_t *site,
                         const char *ascii)
{
    ecert_site_t stored = {.name = ascii};
    elements_t elements;
    ecert_loaded_t loaded;
    ecert_err_t err;
    int rc =
        ecert_load(verify->loader, &stored, verify->options->at, &loaded, &err);

    if (rc >= 0 && loaded.chain != NULL) {
        elements = expected_elements(verify, loaded.chain, site, probed->sent);
        compare_leaf(target, sk_X509_value(probed->sent, 0),
                     loaded.chain->considered[0].cert);
        compare_chain(target, probed->sent, &elements);
        compare_staple(target, verify, probed, has_staple(verify, ascii));
        ask_clients(target, verify, loaded.chain, elements.n, probed->sent);
    } else {
        ecert_verify_wrong(target, "the store has nothing to compare with: %s",
                           ecert_err_sentence(err.code));
    }
    ecert_loaded_free(&loaded);
}

void ecert_verify_judge(ecert_verify_target_t *target,
                        const ecert_verify_t *verify,
                        const ecert_probed_t *probed)
{
    char ascii[ECERT_NAME_MAX];
    const json_t *site;

    if (probed->failed[0] != '\0') {
        ecert_verify_wrong(target, "%s", probed->failed);
        return;
    }
    if (sk_X509_num(probed->sent) == 0) {
        ecert_verify_wrong(target, "no certificate is sent");
        return;
    }
    site = published_site(verify, target->host, sk_X509_value(probed->sent, 0));
    if (site_of(verify, target->host, ascii) == 0) {
        judge_stored(target, verify, probed, site, ascii);
    } else if (site != NULL) {
        judge_published(target, verify, probed, site);
    } else {
        ecert_verify_wrong(target, "the store has no site for this name");
        ask_clients(target, verify, NULL, 0, probed->sent);
    }
}
