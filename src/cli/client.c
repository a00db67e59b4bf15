#include "client.h"

#include <string.h>

#include "ecert_load.h"

/* The catalogue's root that the client trusts; NULL: no such word. */
static const ecert_ca_entry_t *client_entry(const ecert_ca_t *ca,
                                            const char *who)
{
    int cross = strcmp(who, "cross") == 0;
    if (!cross && strcmp(who, "root-ca-3") != 0) {
        return NULL;
    }
    for (size_t i = 0; i < ecert_ca_count(ca); i++) {
        const ecert_ca_entry_t *entry = ecert_ca_entry(ca, i);
        if (!cross && entry->role == ECERT_CA_ROOT) {
            return entry;
        }
        if (cross && entry->role == ECERT_CA_CROSS && !entry->denied
            && entry->issuer) {
            return ecert_ca_find_id(ca, entry->issuer);
        }
    }
    return NULL;
}

static void add_root(STACK_OF(X509) *roots, const STACK_OF(X509) *from,
                     const ecert_ca_t *ca, const ecert_ca_entry_t *entry)
{
    for (int i = 0; i < sk_X509_num(from); i++) {
        X509 *cert = sk_X509_value(from, i);
        if (ecert_ca_find(ca, cert) == entry && X509_up_ref(cert)) {
            sk_X509_push(roots, cert);
        }
    }
}

/* Self-signed certificates of this name, among from. */
static void add_named(STACK_OF(X509) *roots, const STACK_OF(X509) *from,
                      const X509_NAME *name)
{
    for (int i = 0; i < sk_X509_num(from); i++) {
        X509 *cert = sk_X509_value(from, i);
        if (X509_NAME_cmp(X509_get_subject_name(cert), name) == 0
            && X509_NAME_cmp(X509_get_issuer_name(cert), name) == 0
            && X509_up_ref(cert)) {
            sk_X509_push(roots, cert);
        }
    }
}

/*
 * The two sides of a cross-certificate are its subject's own root and its
 * issuer's, whatever CA it is; without one the catalogue tells which is meant.
 */
static void find_roots(const ecert_client_t *client, const char *who,
                       const ecert_ca_entry_t *entry, STACK_OF(X509) *roots)
{
    const X509 *cross = client->cross;

    if (cross == NULL) {
        add_root(roots, client->anchors, client->ca, entry);
        add_root(roots, client->pool, client->ca, entry);
        return;
    }
    const X509_NAME *name = strcmp(who, "cross") == 0
                                ? X509_get_issuer_name(cross)
                                : X509_get_subject_name(cross);
    add_named(roots, client->anchors, name);
    add_named(roots, client->pool, name);
}

STACK_OF(X509) *ecert_client_roots(const ecert_client_t *client,
                                   const char *who, ecert_err_t *err)
{
    const ecert_ca_entry_t *entry = client_entry(client->ca, who);
    if (entry == NULL) {
        return ecert_roots_read(who, err);
    }
    STACK_OF(X509) *roots = sk_X509_new_null();
    find_roots(client, who, entry, roots);
    if (sk_X509_num(roots) == 0) {
        ecert_err(err, ECERT_ERR_MISSING, NULL,
                  "the root that \"%s\" means is not on this machine", who);
        ecert_err_hint(err, "give the file of the root: --client FILE");
        sk_X509_free(roots);
        return NULL;
    }
    return roots;
}
