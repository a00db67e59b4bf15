#include "ecert_path.h"

#include <stdio.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "ecert_x509.h"

/*
 * 112 bits: RSA and DSA from 2048, EC from 224, SHA-224 and better, as the
 * Baseline Requirements have it; SHA-1 and RSA-1024 fail.
 */
#define AUTH_LEVEL 2

static int spend(ecert_search_t *search)
{
    if (search->nodes >= ECERT_CHAIN_NODES) {
        search->exhausted = 1;
        return -1;
    }
    search->nodes++;
    return 0;
}

int ecert_path_signed(ecert_search_t *search, X509 *cert, X509 *issuer)
{
    for (size_t i = 0; i < search->n_edges; i++) {
        ecert_edge_t *edge = &search->edges[i];
        if (edge->cert == cert && edge->issuer == issuer) {
            return edge->ok;
        }
    }
    if (search->n_edges == ECERT_PATH_EDGES) {
        search->exhausted = 1;
        return 0;
    }
    ecert_edge_t *edge = &search->edges[search->n_edges++];
    edge->cert = cert;
    edge->issuer = issuer;
    edge->ok = ecert_x509_signed_by(cert, X509_get0_pubkey(issuer));
    return edge->ok;
}

/* Whether our library can compute the signature at all. */
static int can_check(X509 *cert, X509 *issuer)
{
    int ok = ecert_x509_key_fault(X509_get0_pubkey(issuer)) == NULL
             && X509_get_signature_info(cert, NULL, NULL, NULL, NULL) == 1;
    ERR_clear_error();
    return ok;
}

int ecert_path_forged(ecert_search_t *search, X509 *cert, X509 *issuer)
{
    return ecert_x509_is_named(issuer, cert) && can_check(cert, issuer)
           && !ecert_path_signed(search, cert, issuer) && !search->exhausted;
}

/* RFC 4158, 2.4.2: the same name and key twice is a loop. */
static int in_path(const ecert_path_t *path, X509 *cert)
{
    for (size_t i = 0; i < path->n; i++) {
        if (path->certs[i] == cert
            || ecert_x509_same_identity(path->certs[i], cert)) {
            return 1;
        }
    }
    return 0;
}

static int leads_up(ecert_search_t *search, const ecert_path_t *path,
                    X509 *issuer)
{
    X509 *top = path->certs[path->n - 1];
    int believed = path->n == 1 && search->unsigned_leaf;
    int named = believed ? ecert_x509_names_issuer(top, issuer)
                         : ecert_x509_may_issue(issuer, top);
    if (!named || spend(search) != 0) {
        return 0;
    }
    return believed || ecert_path_signed(search, top, issuer);
}

static int try_roots(ecert_search_t *search, ecert_path_t *path, int *found)
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < sk_X509_num(search->roots); i++) {
        X509 *root = sk_X509_value(search->roots, i);
        if (leads_up(search, path, root)) {
            *found = 1;
            path->root = root;
            rc = search->visit(search, path);
            path->root = NULL;
        }
    }
    return rc;
}

int ecert_path_search(ecert_search_t *search, ecert_path_t *path)
{
    int found = 0;
    int rc = try_roots(search, path, &found);

    for (int i = 0; rc == 0 && i < sk_X509_num(search->pool); i++) {
        X509 *cert = sk_X509_value(search->pool, i);
        if (in_path(path, cert) || !leads_up(search, path, cert)) {
            continue;
        }
        found = 1;
        if (path->n <= ECERT_CHAIN_DEPTH) {
            path->certs[path->n++] = cert;
            rc = ecert_path_search(search, path);
            path->n--;
        }
    }
    return rc == 0 && !found ? search->visit(search, path) : rc;
}

static int fill(const ecert_path_t *path, size_t bottom, X509_STORE *store,
                STACK_OF(X509) *untrusted)
{
    X509 *anchor = path->root ? path->root : path->certs[path->n - 1];
    for (size_t i = bottom + 1; i < path->n; i++) {
        if (!sk_X509_push(untrusted, path->certs[i])) {
            return -1;
        }
    }
    return X509_STORE_add_cert(store, anchor) == 1 ? 0 : -1;
}

/* Of an anchor only name and key count (RFC 5280, 6.1.1): roots older than the
 * rules for making them are trusted all the same. */
static int spare_anchor(int ok, X509_STORE_CTX *ctx)
{
    int last = sk_X509_num(X509_STORE_CTX_get0_chain(ctx)) - 1;
    return ok || X509_STORE_CTX_get_error_depth(ctx) == last;
}

static int verify_with(X509_STORE_CTX *ctx, const ecert_path_t *path, int how,
                       unsigned long flags)
{
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    flags |= X509_V_FLAG_NO_CHECK_TIME; /* see check_times */
    if (path->root == NULL || !ecert_x509_self_signed(path->root)) {
        flags |= X509_V_FLAG_PARTIAL_CHAIN;
    }
    if (flags & X509_V_FLAG_X509_STRICT) {
        X509_STORE_CTX_set_verify_cb(ctx, spare_anchor);
    }
    X509_VERIFY_PARAM_set_flags(param, flags);
    X509_VERIFY_PARAM_set_depth(param, ECERT_CHAIN_DEPTH + 2);
    X509_VERIFY_PARAM_set_auth_level(param,
                                     how & ECERT_PATH_LEVEL_1 ? 1 : AUTH_LEVEL);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (!(how & ECERT_PATH_UNSIGNED_LEAF)) {
        X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
    }
    return X509_verify_cert(ctx) == 1 ? 0 : -1;
}

/*
 * OpenSSL ends a certificate one second too early: by RFC 5280, 4.1.2.5 the
 * second of notAfter is still inside.
 */
static int check_times(const ecert_path_t *path, size_t bottom, int how,
                       int64_t at, ecert_err_t *err)
{
    char label[128], day[32];
    for (size_t i = bottom; i <= path->n; i++) {
        const X509 *cert = i < path->n ? path->certs[i] : path->root;
        if (cert == NULL) {
            break;
        }
        int64_t from = ecert_x509_not_before(cert);
        int64_t to = ecert_x509_not_after(cert);
        if (how & ECERT_PATH_TIMELESS ? from <= to : at >= from && at <= to) {
            continue;
        }
        ecert_x509_label(cert, label, sizeof(label));
        if (from > to) {
            return ecert_err(err, ECERT_ERR_CHAIN, NULL,
                             "%s: its validity ends before it begins", label);
        }
        return ecert_err(err, ECERT_ERR_CHAIN, NULL, "%s: %s %s", label,
                         at < from ? "not valid before" : "expired on",
                         ecert_day_format(at < from ? from : to, day));
    }
    return 0;
}

static int refuse(const X509 *cert, const char *why, ecert_err_t *err)
{
    char label[128] = "";
    if (cert != NULL) {
        ecert_x509_label(cert, label, sizeof(label));
    }
    return ecert_err(err, ECERT_ERR_CHAIN, NULL, "%s%s%s", label,
                     cert ? ": " : "", why);
}

/* "1.2.3.4", or OpenSSL's name for it. */
static void name_critical(const X509 *cert, char *out, size_t size)
{
    out[0] = '\0';
    for (int i = 0; i < X509_get_ext_count(cert); i++) {
        X509_EXTENSION *ext = X509_get_ext(cert, i);
        if (X509_EXTENSION_get_critical(ext)
            && !X509_supported_extension(ext)) {
            OBJ_obj2txt(out, (int)size, X509_EXTENSION_get_object(ext), 0);
            return;
        }
    }
}

static int refused(X509_STORE_CTX *ctx, ecert_err_t *err)
{
    X509 *cert = X509_STORE_CTX_get_current_cert(ctx);
    int code = X509_STORE_CTX_get_error(ctx);
    char why[256], name[128];
    if (code != X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION || cert == NULL) {
        return refuse(cert, X509_verify_cert_error_string(code), err);
    }
    name_critical(cert, name, sizeof(name));
    snprintf(why, sizeof(why), "%s (%s)", X509_verify_cert_error_string(code),
             name);
    return refuse(cert, why, err);
}

/* One path, given to OpenSSL with nothing else to choose from. */
static int ask(const ecert_path_t *path, size_t bottom, int how,
               unsigned long flags, ecert_err_t *err)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *untrusted = sk_X509_new_null();
    int rc = 0;

    if (store == NULL || ctx == NULL || untrusted == NULL
        || fill(path, bottom, store, untrusted) != 0
        || !X509_STORE_CTX_init(ctx, store, path->certs[bottom], untrusted)) {
        rc = ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL, "verification");
    } else if (verify_with(ctx, path, how, flags) != 0) {
        rc = refused(ctx, err);
    }
    sk_X509_free(untrusted);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    return rc;
}

/* OpenSSL trusts the last element, and does not look at its digest. */
static int check_top(const ecert_path_t *path, int how, ecert_err_t *err)
{
    X509 *top = path->certs[path->n - 1];
    int bits = -1, least = how & ECERT_PATH_LEVEL_1 ? 80 : 112;
    if (path->root != NULL
        || (X509_get_extension_flags(top) & EXFLAG_SS) != 0) {
        return 0;
    }
    X509_get_signature_info(top, NULL, NULL, &bits, NULL);
    ERR_clear_error();
    return bits >= least ? 0
                         : refuse(top,
                                  X509_verify_cert_error_string(
                                      X509_V_ERR_CA_MD_TOO_WEAK),
                                  err);
}

/* OpenSSL takes Server Gated Cryptography for serverAuth; no browser does. */
static int check_purposes(const ecert_path_t *path, ecert_err_t *err)
{
    for (size_t i = 0; i < path->n; i++) {
        if (ecert_x509_no_server(path->certs[i])) {
            return refuse(path->certs[i],
                          "its extended key usage does not allow TLS servers",
                          err);
        }
    }
    return 0;
}

int ecert_path_verify(const ecert_path_t *path, int how, int64_t at,
                      ecert_err_t *err)
{
    int unsigned_leaf = how & ECERT_PATH_UNSIGNED_LEAF;
    int strict = how & ECERT_PATH_STRICT;
    size_t bottom = unsigned_leaf && path->n > 1 ? 1 : 0;

    if (check_times(path, bottom, how, at, err) != 0
        || ask(path, bottom, how, strict ? X509_V_FLAG_POLICY_CHECK : 0, err)
               != 0
        || check_top(path, how, err) != 0
        || (!unsigned_leaf && check_purposes(path, err) != 0)) {
        return -1;
    }
    if (!strict) {
        return 0;
    }
    return ask(path, bottom, how, X509_V_FLAG_X509_STRICT, err) == 0
               ? ecert_path_profile(path, err)
               : -1;
}
