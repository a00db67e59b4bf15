#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "ecert_chain.h"
#include "ecert_path.h"

typedef struct {
    int64_t at;
    int tried; /* a whole path was there: err says why it failed */
    int verified;
    ecert_err_t *err;
} client_t;

static void set_no_issuer(const ecert_path_t *path, ecert_err_t *err)
{
    char label[128];
    ecert_x509_label(path->certs[path->n - 1], label, sizeof(label));
    ecert_err(err, ECERT_ERR_CHAIN, NULL,
              "%s: its issuer is neither served nor trusted", label);
}

static int visit(ecert_search_t *search, const ecert_path_t *path)
{
    client_t *client = search->ctx;
    ecert_err_t err;

    if (path->root == NULL) {
        if (!client->tried) {
            set_no_issuer(path, client->err);
        }
        return 0;
    }
    if (search->verifies++ >= ECERT_PATH_VERIFIES) {
        search->exhausted = 1;
        return 1;
    }
    if (ecert_path_verify(path, ECERT_PATH_STRICT, client->at, &err) == 0) {
        client->verified = 1;
        return 1;
    }
    if (!client->tried) {
        *client->err = err; /* of the first path: the one that was meant */
        client->tried = 1;
    }
    return err.code == ECERT_ERR_OPENSSL;
}

/* An address is no name: a dNSName of the same text is not it (RFC 9525, 6.5).
 */
static int check_host(X509 *leaf, const char *host, ecert_err_t *err)
{
    unsigned int flags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
                         | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(host);
    int ok = address != NULL ? X509_check_ip_asc(leaf, host, 0) == 1
                             : X509_check_host(leaf, host, 0, flags, NULL) == 1;
    ASN1_OCTET_STRING_free(address);
    ERR_clear_error();
    return ok ? 0
              : ecert_err(err, ECERT_ERR_NAMES, NULL, "it is not for %s", host);
}

int ecert_chain_verify(X509 *leaf, const STACK_OF(X509) *served,
                       const STACK_OF(X509) *roots, const char *host,
                       int64_t at, ecert_err_t *err)
{
    ecert_path_t path = {.certs = {leaf}, .n = 1};
    client_t client = {at, 0, 0, err};
    ecert_search_t *search = calloc(1, sizeof(*search));

    if (search == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    search->pool = served;
    search->roots = roots;
    search->visit = visit;
    search->ctx = &client;
    ecert_err(err, ECERT_ERR_CHAIN, NULL, "no path leads to a root");
    ecert_path_search(search, &path);
    int exhausted = search->exhausted;
    free(search);

    if (client.verified) {
        return host ? check_host(leaf, host, err) : 0;
    }
    if (exhausted && !client.tried) {
        ecert_err(err, ECERT_ERR_CHAIN, NULL,
                  "the search was ended after %d steps", ECERT_CHAIN_NODES);
    }
    return -1;
}
