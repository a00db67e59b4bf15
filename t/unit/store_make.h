/* A store with one site of the look-alike CA, for tests of what is in it. */

#ifndef STORE_MAKE_H
#define STORE_MAKE_H

#include "clean.h"

#include "ecert_generation.h"
#include "ecert_site_edit.h"
#include "pki.h"

#define STORE_NOW   INT64_C(1795392000) /* 2026-11-23T00:00:00Z */
#define STORE_ASCII "www.example.hk"

static pki_t *pki;
static ecert_err_t err;
static char store[PATH_MAX], site_dir[PATH_MAX];

static inline int store_group_setup(void **state)
{
    (void)state;
    pki = pki_new(STORE_NOW);
    return 0;
}

static inline int store_group_teardown(void **state)
{
    (void)state;
    pki_free(pki);
    return 0;
}

static inline int store_setup(void **state)
{
    if (clean_setup(state) != 0) {
        return -1;
    }
    snprintf(store, sizeof(store), "%s", at("store"));
    return ecert_site_folder(store, STORE_ASCII, site_dir, &err);
}

#define IN_STORE(name)                                                         \
    cmocka_unit_test_setup_teardown(name, store_setup, clean_teardown)

/* A name below the site's folder, as at() wants it. */
static inline const char *of_site(const char *name)
{
    static char out[4][PATH_MAX];
    static int next;
    char *path = out[next++ % 4];

    snprintf(path, PATH_MAX, "store/sites/" STORE_ASCII "/%s", name);
    return path;
}

static inline void put_cert(const char *name, X509 *cert)
{
    char *pem = pki_pem(cert);

    put(name, pem);
    free(pem);
}

static inline void put_key(const char *name, EVP_PKEY *key)
{
    char *pem = pki_pem_key(key);

    put(name, pem);
    free(pem);
}

/* generations/NAME, as somebody else would put it there. */
static inline void put_generation(const char *name, X509 *leaf, EVP_PKEY *key)
{
    char path[300];

    snprintf(path, sizeof(path), "generations/%s", name);
    folders(of_site(path));
    snprintf(path, sizeof(path), "generations/%s/certificate.pem", name);
    put_cert(of_site(path), leaf);
    if (key != NULL) {
        snprintf(path, sizeof(path), "generations/%s/key.pem", name);
        put_key(of_site(path), key);
    }
}

/* The number that the current one has; -1: there is none. */
static inline int64_t current_number(void)
{
    ecert_generation_t *list;
    const ecert_generation_t *current;
    int64_t number;
    size_t n;

    assert_int_equal(ecert_generations(site_dir, &list, &n, &err), 0);
    current = ecert_generation_current(list, n);
    number = current != NULL ? (int64_t)current->number : -1;
    ecert_generations_free(list, n);
    return number;
}

#endif
