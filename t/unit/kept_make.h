/* One site as an agent keeps it, in a time of the test's own. */

#ifndef KEPT_MAKE_H
#define KEPT_MAKE_H

#include "scratch.h"

#include <time.h>

#include <openssl/err.h>

#include "ecert_cred.h"
#include "ecert_kept.h"
#include "ecert_log.h"
#include "pki.h"

static int64_t NOW;
static pki_t *pki;
static ecert_err_t err;

/* One site of one agent. */
typedef struct {
    ecert_site_t site;
    ecert_keeper_t keeper;
    ecert_kept_t kept;
    int fd;
    ecert_snap_t *reader;
} agent_t;

static inline int group_setup(void **state)
{
    (void)state;
    NOW = time(NULL);
    pki = pki_new(NOW);
    ecert_log_quiet(ECERT_LOG_ERROR);
    return 0;
}

static inline int group_teardown(void **state)
{
    (void)state;
    pki_free(pki);
    return 0;
}

static inline int setup(void **state)
{
    char *catalogue = pki_catalogue(pki, NULL), *pem;

    if (scratch_setup(state) != 0) {
        return -1;
    }
    folders("store/issuers");
    folders("store/sites/www.example.hk/generations");
    folders("store/dcv");
    folders("files");
    put("ca.json", catalogue);
    free(catalogue);
    pem = pki_pem(pki->new_sub);
    put("store/issuers/sub.pem", pem);
    free(pem);
    return 0;
}

static inline void start(agent_t *agent, const ecert_site_t *site)
{
    memset(agent, 0, sizeof(*agent));
    agent->site = *site;
    agent->site.catalogue = strdup(at("ca.json"));
    assert_int_equal(ecert_site_identity(&agent->site, agent->site.id, &err),
                     0);
    agent->keeper.store = strdup(at("store"));
    agent->keeper.loader = ecert_loader_new(agent->keeper.store, &err);
    assert_non_null(agent->keeper.loader);
    agent->fd = ecert_snap_create(1, &err);
    agent->keeper.snap = ecert_snap_open_writer(agent->fd, &err);
    agent->reader = ecert_snap_open(agent->fd, &err);
    assert_non_null(agent->reader);
    agent->keeper.now = NOW;
    agent->keeper.ms = 1000000;
    ecert_kept_init(&agent->kept, &agent->site, 0);
}

static inline void end(agent_t *agent)
{
    ecert_kept_free(&agent->kept);
    ecert_loader_free(agent->keeper.loader);
    ecert_snap_close(agent->keeper.snap);
    ecert_snap_close(agent->reader);
    close(agent->fd);
    free((char *)(uintptr_t)agent->site.catalogue);
    free((char *)(uintptr_t)agent->keeper.store);
    assert_int_equal(ERR_peek_error(), 0);
}

/* The next look, ms later. */
static inline void look(agent_t *agent, int64_t ms)
{
    agent->keeper.ms += ms;
    if (ecert_kept_due(&agent->keeper, &agent->kept)) {
        ecert_kept_load(&agent->keeper, &agent->kept);
    } else {
        ecert_kept_look(&agent->keeper, &agent->kept);
    }
}

static inline uint64_t generation(const agent_t *agent)
{
    return ecert_snap_generation(agent->reader, 0);
}

/* What workers would serve; its leaf (a reference). */
static inline X509 *served(const agent_t *agent, int *placeholder, int *chain)
{
    unsigned char *bytes;
    ecert_cred_t *cred;
    uint64_t number;
    X509 *leaf;
    size_t len;

    assert_int_equal(
        ecert_snap_read(agent->reader, 0, &bytes, &len, &number, &err), 0);
    cred = ecert_cred_decode(bytes, len, &err);
    ecert_snap_free(bytes, len);
    assert_non_null(cred);
    *placeholder = cred->placeholder;
    *chain = sk_X509_num(cred->chain);
    leaf = cred->leaf;
    X509_up_ref(leaf);
    ecert_cred_free(cred);
    return leaf;
}

static inline void assert_serves(const agent_t *agent, const X509 *want)
{
    int placeholder, chain;
    X509 *leaf = served(agent, &placeholder, &chain);

    assert_int_equal(placeholder, want == NULL);
    if (want != NULL) {
        assert_int_equal(X509_cmp(leaf, want), 0);
    }
    X509_free(leaf);
}

static inline void assert_error(const agent_t *agent, ecert_code_t code)
{
    assert_string_equal(ecert_err_word(agent->kept.error.code),
                        ecert_err_word(code));
}

/* A leaf for the usual names, that many days from .. to. */
static inline X509 *leaf_of(const char *names, int from, int to)
{
    return pki_leaf(pki, names ? names : "DNS:www.example.hk,DNS:example.hk",
                    NULL, NOW + from * PKI_DAY, NOW + to * PKI_DAY);
}

static inline void put_pem(const char *name, X509 *cert, EVP_PKEY *key)
{
    char *pem = cert ? pki_pem(cert) : pki_pem_key(key);

    put("new", pem);
    assert_int_equal(rename(at("new"), at(name)), 0);
    free(pem);
}

static inline void put_files(X509 *leaf, EVP_PKEY *key)
{
    put_pem("files/key.pem", NULL, key ? key : pki->leaf_key);
    put_pem("files/cert.pem", leaf, NULL);
}

/* Generation n of the store's site; current moves to it when asked to. */
static inline void put_generation(int n, X509 *leaf, EVP_PKEY *key,
                                  int make_current)
{
    char name[128], target[64];

    snprintf(name, sizeof(name), "store/sites/www.example.hk/generations/%d",
             n);
    folders(name);
    strcat(name, "/key.pem");
    put_pem(name, NULL, key ? key : pki->leaf_key);
    strcpy(strrchr(name, '/'), "/certificate.pem");
    put_pem(name, leaf, NULL);
    if (make_current) {
        snprintf(target, sizeof(target), "generations/%d", n);
        put_link(target, "link");
        assert_int_equal(
            rename(at("link"), at("store/sites/www.example.hk/current")), 0);
    }
}

static const ecert_site_t store_site = {.name = "www.example.hk"};
static char file_paths[2][PATH_MAX];

static inline ecert_site_t files_site(void)
{
    strcpy(file_paths[0], at("files/cert.pem"));
    strcpy(file_paths[1], at("files/key.pem"));
    return (ecert_site_t){.certificate = file_paths[0], .key = file_paths[1]};
}

#endif
