/* What a served chain lacks, and whether something fills the gap. */

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "ecert_load_work.h"
#include "ecert_x509.h"

#define URLS_MAX 16

typedef struct {
    char **list;
    size_t n;
} urls_t;

static const ecert_ca_t *catalogue(const ecert_load_t *load)
{
    return load->own_ca ? load->own_ca : load->loader->ca;
}

/* The last element that is there; the leaf when it is alone. */
static X509 *topmost(const ecert_chain_t *chain)
{
    int n = sk_X509_num(chain->served);

    return n > 0 ? sk_X509_value(chain->served, n - 1)
                 : chain->considered[0].cert;
}

static int is_seen(const ecert_chain_t *chain, const ecert_ca_t *ca,
                   const ecert_ca_entry_t *entry)
{
    for (size_t i = 0; i < chain->n_considered; i++) {
        if (ecert_ca_find(ca, chain->considered[i].cert) == entry) {
            return 1;
        }
    }
    return 0;
}

/* Something that this site could use at this time. */
static int is_offered(const ecert_load_t *load, const ecert_chain_t *chain,
                      const ecert_ca_entry_t *entry, const char *name)
{
    if (entry->denied || entry->url == NULL || strcmp(entry->name, name) != 0
        || is_seen(chain, catalogue(load), entry)) {
        return 0;
    }
    if (entry->role != ECERT_CA_CROSS) {
        return entry->role == ECERT_CA_SUB && !chain->complete;
    }
    switch (load->out->cross.kind) {
    case ECERT_CROSS_OFF:
        return 0;
    case ECERT_CROSS_ON:
        return 1;
    case ECERT_CROSS_UNTIL:
        return load->now < load->out->cross.until;
    default:
        return entry->useful_until == 0 || load->now < entry->useful_until;
    }
}

static void add(urls_t *urls, const char *url, size_t len)
{
    if (urls->n < URLS_MAX && len > 7 && strncasecmp(url, "http", 4) == 0) {
        urls->list[urls->n] = strndup(url, len);
        urls->n += urls->list[urls->n] != NULL;
    }
}

static void add_offers(const ecert_load_t *load, const ecert_chain_t *chain,
                       urls_t *urls)
{
    const ecert_ca_t *ca = catalogue(load);
    char name[256];

    ecert_x509_name_label(X509_get_issuer_name(topmost(chain)), name,
                          sizeof(name));
    for (size_t i = 0; i < ecert_ca_count(ca); i++) {
        const ecert_ca_entry_t *entry = ecert_ca_entry(ca, i);

        if (is_offered(load, chain, entry, name)) {
            add(urls, entry->url, strlen(entry->url));
        }
    }
}

static void add_aia(X509 *cert, urls_t *urls)
{
    AUTHORITY_INFO_ACCESS *aia =
        X509_get_ext_d2i(cert, NID_info_access, NULL, NULL);

    for (int i = 0; i < sk_ACCESS_DESCRIPTION_num(aia); i++) {
        const ACCESS_DESCRIPTION *one = sk_ACCESS_DESCRIPTION_value(aia, i);

        if (OBJ_obj2nid(one->method) == NID_ad_ca_issuers
            && one->location->type == GEN_URI) {
            const ASN1_STRING *uri = one->location->d.uniformResourceIdentifier;

            add(urls, (const char *)ASN1_STRING_get0_data(uri),
                (size_t)ASN1_STRING_length(uri));
        }
    }
    AUTHORITY_INFO_ACCESS_free(aia);
    ERR_clear_error();
}

static int begin(ecert_load_t *load, const ecert_loaded_t *held,
                 ecert_err_t *err)
{
    memset(load->out, 0, sizeof(*load->out));
    ecert_trail_init(&load->out->trail);
    if (ecert_load_open(load, err) != 0) {
        return -1;
    }
    ecert_load_catalogue(load);
    load->out->cross = held->cross;
    return 0;
}

static void end(ecert_load_t *load)
{
    ecert_load_close(load);
    ecert_loaded_free(load->out);
}

static STACK_OF(X509) *pool_with(const ecert_chain_t *chain,
                                 const STACK_OF(X509) *more)
{
    STACK_OF(X509) *pool = sk_X509_new_null();

    for (size_t i = 1; pool != NULL && i < chain->n_considered; i++) {
        if (X509_up_ref(chain->considered[i].cert)) {
            sk_X509_push(pool, chain->considered[i].cert);
        }
    }
    for (int i = 0; pool != NULL && i < sk_X509_num(more); i++) {
        if (X509_up_ref(sk_X509_value(more, i))) {
            sk_X509_push(pool, sk_X509_value(more, i));
        }
    }
    return pool;
}

/* The held leaf's chain as it would be with these, into load->out. */
static int build_with(ecert_load_t *load, const ecert_chain_t *chain,
                      const STACK_OF(X509) *more, ecert_err_t *err)
{
    STACK_OF(X509) *pool = pool_with(chain, more);
    int rc = pool ? ecert_load_chain(load, chain->considered[0].cert, pool, err)
                  : ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);

    sk_X509_pop_free(pool, X509_free);
    return rc;
}

int ecert_load_urls(ecert_loader_t *loader, const ecert_site_t *site,
                    const ecert_loaded_t *held, const STACK_OF(X509) *more,
                    int64_t now, char ***urls, size_t *n, ecert_err_t *err)
{
    ecert_loaded_t scratch = {0};
    ecert_load_t load = {
        .loader = loader, .site = site, .now = now, .out = &scratch};
    const ecert_chain_t *chain = held->chain;
    urls_t found = {calloc(URLS_MAX, sizeof(char *)), 0};
    int rc = begin(&load, held, err);

    if (found.list == NULL) {
        rc = ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    if (rc == 0 && sk_X509_num(more) > 0) {
        rc = build_with(&load, held->chain, more, err);
        chain = scratch.chain;
    }
    if (rc == 0) {
        add_offers(&load, chain, &found);
        if (!chain->complete) {
            add_aia(topmost(chain), &found);
        }
    }
    end(&load);
    if (rc != 0) {
        ecert_names_free(found.list, found.n);
        return -1;
    }
    *urls = found.list;
    *n = found.n;
    return 0;
}

/*
 * A Sub CA from before browsers asked for the purpose is still verified by
 * OpenSSL; whoever sits on the way could send it in place of the present one.
 */
static int check_purpose(const ecert_ca_t *ca, const ecert_considered_t *one,
                         const char *name, ecert_err_t *err)
{
    if (ecert_x509_server_auth(one->cert) || one->role == ECERT_CA_CROSS
        || ecert_ca_find(ca, one->cert) != NULL) {
        return 0;
    }
    return ecert_err(err, ECERT_ERR_PURPOSE, name,
                     "it has no extended key usage for TLS servers");
}

static int no_root(const char *name, ecert_err_t *err)
{
    ecert_err(err, ECERT_ERR_CHAIN, name,
              "the chain still leads to no known root; if you trust it: "
              "ecert issuers add FILE");
    return 1;
}

/*
 * The reason that the chain's builder gave for this certificate.  That a chain
 * is complete is not enough: its top may only bear a known root's name.
 */
static int judge(const ecert_chain_t *chain, const ecert_ca_t *ca, X509 *cert,
                 ecert_err_t *err)
{
    char name[256];

    ecert_x509_label(cert, name, sizeof(name));
    for (size_t i = 1; i < chain->n_considered; i++) {
        const ecert_considered_t *one = &chain->considered[i];

        if (X509_cmp(one->cert, cert) != 0) {
            continue;
        }
        if (one->why == ECERT_WHY_TAKEN) {
            return check_purpose(ca, one, name, err) != 0 ? -1
                   : chain->complete && one->proven       ? 0
                                                          : no_root(name, err);
        }
        return ecert_err(err,
                         one->why == ECERT_WHY_DENIED ? ECERT_ERR_DENIED
                                                      : ECERT_ERR_CHAIN,
                         name, "%s%s%s", ecert_why_sentence(one->why),
                         one->note[0] ? ": " : "", one->note);
    }
    return ecert_err(err, ECERT_ERR_CHAIN, name, "it was not considered");
}

int ecert_load_wants(ecert_loader_t *loader, const ecert_site_t *site,
                     const ecert_loaded_t *held, const STACK_OF(X509) *more,
                     X509 *cert, int64_t now, ecert_err_t *err)
{
    ecert_loaded_t scratch = {0};
    ecert_load_t load = {
        .loader = loader, .site = site, .now = now, .out = &scratch};
    int rc = begin(&load, held, err);

    if (rc == 0) {
        rc = build_with(&load, held->chain, more, err);
    }
    if (rc == 0) {
        rc = judge(scratch.chain, catalogue(&load), cert, err);
    }
    end(&load);
    return rc;
}
