/*
 * What one site makes of a certificate that was downloaded.  Whoever sits on
 * the way can send any, so that it goes into the pool, with those that led to
 * it, when the whole path to a known root verifies.  Until then they are held
 * in memory for this site alone.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ecert_load.h"
#include "ecert_lock.h"
#include "ecert_log.h"
#include "ecert_net_work.h"
#include "ecert_pool.h"
#include "ecert_x509.h"

void ecert_net_above_clear(ecert_net_site_t *site)
{
    sk_X509_pop_free(site->found, X509_free);
    site->found = NULL;
    ecert_names_free(site->above.list, site->above.n);
    site->above = (ecert_net_urls_t){0};
    for (size_t i = 0; i < ECERT_NET_ABOVE; i++) {
        free(site->from[i]);
        site->from[i] = NULL;
    }
}

/* From where it came matters more than what it calls itself. */
static void refuse(const char *url, ecert_err_t *err)
{
    ecert_err_t why = *err;

    ecert_err(err, why.code, url, "%s: %s", why.file, why.detail);
}

static int put(const ecert_net_t *net, const ecert_net_site_t *site,
               const ecert_ca_t *ca, X509 *cert, const char *url,
               ecert_err_t *err)
{
    int rc =
        ecert_pool_add(net->keeper->store, ca, cert, net->keeper->now, err);
    char name[128], hex[65];

    if (rc == 0) {
        ecert_log(
            ECERT_LOG_NOTICE, "site %s: downloaded %s, SHA-256 %.16s, from %s",
            ecert_net_label(site), ecert_x509_label(cert, name, sizeof(name)),
            ecert_x509_fingerprint(cert, hex), url);
    }
    return rc < 0 ? -1 : 0;
}

/* Those that are served with it; the last one came from url. */
static int put_path(const ecert_net_t *net, const ecert_net_site_t *site,
                    const ecert_ca_t *ca, const STACK_OF(X509) *path,
                    const char *url, ecert_err_t *err)
{
    int last = sk_X509_num(path) - 1, rc = 0;

    for (int i = last; i >= 0 && rc == 0; i--) {
        X509 *cert = sk_X509_value(path, i);

        if (ecert_load_wants(net->keeper->loader, site->kept->site,
                             &site->kept->held, path, cert, net->keeper->now,
                             err)
            == 0) {
            rc = put(net, site, ca, cert, i < last ? site->from[i] : url, err);
        }
    }
    return rc;
}

/* The store's lock is not waited for: commands may hold it for a while. */
static int keep(const ecert_net_t *net, const ecert_net_site_t *site,
                const STACK_OF(X509) *path, const char *url, ecert_err_t *err)
{
    int rc, lock = ecert_lock_try(net->keeper->store, err);
    ecert_ca_t *ca;

    if (lock < 0) {
        return -1;
    }
    ca = ecert_ca_builtin(err);
    rc = ca ? put_path(net, site, ca, path, url, err) : -1;
    ecert_ca_free(ca);
    close(lock);
    return rc;
}

/* Goes on to what signed the last one of path, from url; takes path. */
static int climb(ecert_net_t *net, ecert_net_site_t *site, STACK_OF(X509) *path,
                 const char *url, ecert_err_t *err)
{
    ecert_net_urls_t urls = {0};
    ecert_err_t ignored;
    int n = sk_X509_num(path);
    char *copy = NULL;

    if (n > ECERT_NET_ABOVE
        || ecert_load_urls(net->keeper->loader, site->kept->site,
                           &site->kept->held, path, net->keeper->now,
                           &urls.list, &urls.n, &ignored)
               != 0
        || urls.n == 0 || (copy = strdup(url)) == NULL) {
        ecert_names_free(urls.list, urls.n);
        sk_X509_pop_free(path, X509_free);
        return -1; /* err says that there is no known root */
    }
    ecert_err_clear(err);
    sk_X509_pop_free(site->found, X509_free);
    ecert_names_free(site->above.list, site->above.n);
    site->found = path;
    site->from[n - 1] = copy;
    site->above = urls;
    return 1;
}

/* What was found before, and this one; NULL: it is there already. */
static STACK_OF(X509) *path_with(const ecert_net_site_t *site, X509 *cert)
{
    STACK_OF(X509) *path =
        site->found ? X509_chain_up_ref(site->found) : sk_X509_new_null();

    if (ecert_x509_is_in(path, cert)) {
        sk_X509_pop_free(path, X509_free);
        return NULL;
    }
    if (path != NULL && sk_X509_push(path, cert) > 0) {
        X509_up_ref(cert);
    }
    return path;
}

int ecert_net_above_take(ecert_net_t *net, ecert_net_site_t *site,
                         const char *url, X509 *cert, ecert_err_t *err)
{
    STACK_OF(X509) *path = path_with(site, cert);
    int rc;

    if (path == NULL) {
        return ecert_err(err, ECERT_ERR_CHAIN, url,
                         "it is the same certificate as below it");
    }
    rc = ecert_load_wants(net->keeper->loader, site->kept->site,
                          &site->kept->held, path, cert, net->keeper->now, err);
    if (rc != 0) {
        refuse(url, err);
    }
    if (rc == 1) {
        return climb(net, site, path, url, err);
    }
    if (rc == 0) {
        rc = keep(net, site, path, url, err);
    }
    sk_X509_pop_free(path, X509_free);
    if (rc == 0) {
        ecert_net_above_clear(site);
    }
    return rc;
}
