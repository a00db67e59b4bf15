#include "ecert_pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "ecert_bundle.h"
#include "ecert_chain.h"
#include "ecert_conf.h"
#include "ecert_entry.h"
#include "ecert_stage.h"
#include "ecert_walk.h"
#include "ecert_x509.h"

#define ASIDE_MAX 100 /* of one name */

static const char *const folders[] = {"issuers", "issuers/.aside"};

static int folder_of(const char *store, int aside, char *path, ecert_err_t *err)
{
    return ecert_file_path(path, err, "%s/%s", store, folders[aside]);
}

/* ---- reading ----------------------------------------------------------- */

typedef struct {
    const ecert_ca_t *ca;
    ecert_pooled_t *list;
    size_t n, size;
} pool_t;

static int add(pool_t *pool, const char *file, X509 *cert, int alone, int aside)
{
    ecert_pooled_t *one;

    if (pool->n == pool->size) {
        size_t size = pool->size ? 2 * pool->size : 32;
        ecert_pooled_t *list = realloc(pool->list, size * sizeof(*list));

        if (list == NULL) {
            return -1;
        }
        pool->list = list;
        pool->size = size;
    }
    one = &pool->list[pool->n];
    memset(one, 0, sizeof(*one));
    if (!X509_up_ref(cert)) {
        return -1;
    }
    snprintf(one->file, sizeof(one->file), "%s", file);
    one->cert = cert;
    one->entry = ecert_ca_find(pool->ca, cert);
    one->alone = alone;
    one->aside = aside;
    pool->n++;
    return 0;
}

static int add_all(pool_t *pool, const char *name, const STACK_OF(X509) *list,
                   int aside, ecert_err_t *err)
{
    int alone = sk_X509_num(list) == 1;

    for (int i = 0; i < sk_X509_num(list); i++) {
        if (add(pool, name, sk_X509_value(list, i), alone, aside) != 0) {
            return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        }
    }
    return 0;
}

/* A file that holds no certificate is for `ecert check` to complain about; one
 * that the system refuses to read may be the one that is looked for. */
static int add_file(pool_t *pool, const char *folder, const char *name,
                    int aside, ecert_err_t *err)
{
    STACK_OF(X509) *list = sk_X509_new_null();
    char path[PATH_MAX];
    int rc;

    if (list == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    if (ecert_file_path(path, err, "%s/%s", folder, name) == 0
        && ecert_certificates_read(path, NULL, list, err) == 0) {
        rc = add_all(pool, name, list, aside, err);
    } else {
        rc = ecert_err_refused(err) ? -1 : 0;
    }
    sk_X509_pop_free(list, X509_free);
    return rc;
}

static int add_folder(pool_t *pool, const char *store, int aside,
                      ecert_err_t *err)
{
    char folder[PATH_MAX], **names;
    size_t n;
    int rc = 0;

    if (folder_of(store, aside, folder, err) != 0) {
        return -1;
    }
    if (ecert_file_list(folder, ECERT_ISSUER_FILES_MAX, NULL, &names, &n, err)
        != 0) {
        return err->code == ECERT_ERR_MISSING ? 0 : -1;
    }
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = add_file(pool, folder, names[i], aside, err);
    }
    ecert_names_free(names, n);
    return rc;
}

int ecert_pool_list(const char *store, const ecert_ca_t *ca,
                    ecert_pooled_t **list, size_t *n, ecert_err_t *err)
{
    pool_t pool = {.ca = ca};
    int rc = add_folder(&pool, store, 0, err);

    if (rc == 0) {
        rc = add_folder(&pool, store, 1, err);
    }
    if (rc != 0) {
        ecert_pool_free(pool.list, pool.n);
        pool = (pool_t){.ca = ca};
    }
    *list = pool.list;
    *n = pool.n;
    return rc;
}

void ecert_pool_free(ecert_pooled_t *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        X509_free(list[i].cert);
    }
    free(list);
}

/* ---- adding ------------------------------------------------------------ */

/* Where to get the one that replaced it: same name, not denied. */
static const char *successor_url(const ecert_ca_t *ca,
                                 const ecert_ca_entry_t *entry)
{
    for (size_t i = 0; i < ecert_ca_count(ca); i++) {
        const ecert_ca_entry_t *other = ecert_ca_entry(ca, i);

        if (!other->denied && other->url != NULL
            && strcmp(other->name, entry->name) == 0) {
            return other->url;
        }
    }
    return NULL;
}

static int refuse_denied(const ecert_ca_t *ca, const ecert_ca_entry_t *entry,
                         X509 *cert, ecert_err_t *err)
{
    const char *url = successor_url(ca, entry);
    char day[32];

    ecert_err(err, ECERT_ERR_DENIED, entry->name, "the one from %s: %s",
              ecert_day_format(ecert_x509_not_before(cert), day),
              entry->reason ? entry->reason : "the catalogue forbids it");
    return url ? ecert_err_hint(err, "get the new one: %s", url) : -1;
}

static int check(const ecert_ca_t *ca, X509 *cert, int64_t now,
                 ecert_err_t *err)
{
    const ecert_ca_entry_t *entry = ecert_ca_find(ca, cert);
    char name[256], when[32];

    ecert_x509_label(cert, name, sizeof(name));
    if (entry != NULL && entry->denied) {
        return refuse_denied(ca, entry, cert, err);
    }
    if (!ecert_x509_ca(cert)) {
        return ecert_err(err, ECERT_ERR_NOT_CA, name,
                         ecert_x509_server_auth(cert) ? "it is a server's"
                                                      : NULL);
    }
    if (ecert_x509_not_after(cert) < now) {
        ecert_err(err, ECERT_ERR_EXPIRED, name, "on %s",
                  ecert_date_format(ecert_x509_not_after(cert), when));
        return ecert_err_hint(err, "get the present one from the CA");
    }
    return 0;
}

/* Named by what we know, never by what stands in the certificate. */
static int is_file_name(const char *id)
{
    return id[0] != '\0' && strlen(id) < 64
           && strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(id);
}

/* 1: this path is free; -1: that cannot be told. */
static int is_free(const char *path, ecert_err_t *err)
{
    if (ecert_file_look(path, NULL, err) == 0) {
        return 0;
    }
    return err->code == ECERT_ERR_MISSING ? 1 : ecert_err_refused(err) ? -1 : 0;
}

static int choose_path(const char *store, const ecert_ca_t *ca, X509 *cert,
                       char *path, ecert_err_t *err)
{
    const ecert_ca_entry_t *entry = ecert_ca_find(ca, cert);
    char folder[PATH_MAX], hex[65];
    int unused = 0;

    if (folder_of(store, 0, folder, err) != 0) {
        return -1;
    }
    if (entry != NULL && is_file_name(entry->id)) {
        if (ecert_file_path(path, err, "%s/%s.pem", folder, entry->id) != 0) {
            return -1;
        }
        unused = is_free(path, err);
    }
    if (unused != 0) {
        return unused > 0 ? 0 : -1;
    }
    if (ecert_file_path(path, err, "%s/%.16s.pem", folder,
                        ecert_x509_fingerprint(cert, hex))
        != 0) {
        return -1;
    }
    unused = is_free(path, err);
    return unused == 0  ? ecert_err(err, ECERT_ERR_EXISTS, path, NULL)
           : unused > 0 ? 0
                        : -1;
}

static int write_pem(const char *path, X509 *cert, ecert_err_t *err)
{
    char *pem = ecert_x509_pem(cert, err);
    int rc = pem ? ecert_file_write(path, pem, strlen(pem), 0644, err) : -1;

    OPENSSL_free(pem);
    return rc;
}

static int is_there(const ecert_pooled_t *list, size_t n, X509 *cert)
{
    for (size_t i = 0; i < n; i++) {
        if (!list[i].aside && X509_cmp(list[i].cert, cert) == 0) {
            return 1;
        }
    }
    return 0;
}

/* What a command that was killed was just writing. */
static void sweep(const char *store)
{
    char folder[PATH_MAX];
    ecert_err_t ignored;

    if (folder_of(store, 0, folder, &ignored) == 0) {
        ecert_stage_sweep(folder);
    }
}

/* One file more than is read would cost all sites the whole pool. */
static int has_room(const char *store, ecert_err_t *err)
{
    char folder[PATH_MAX], **names;
    size_t n;

    if (folder_of(store, 0, folder, err) != 0) {
        return 0;
    }
    if (ecert_file_list(folder, ECERT_ISSUER_FILES_MAX, NULL, &names, &n, err)
        != 0) {
        return err->code == ECERT_ERR_MISSING;
    }
    ecert_names_free(names, n);
    if (n < ECERT_ISSUER_FILES_MAX) {
        return 1;
    }
    ecert_err(err, ECERT_ERR_TOO_MANY, folder,
              "%zu files, and no more are read", n);
    ecert_err_hint(err, "take those away that nothing needs: ecert issuers "
                        "list, ecert issuers remove");
    return 0;
}

int ecert_pool_add(const char *store, const ecert_ca_t *ca, X509 *cert,
                   int64_t now, ecert_err_t *err)
{
    char path[PATH_MAX];
    ecert_pooled_t *list;
    size_t n;
    int there;

    if (check(ca, cert, now, err) != 0
        || ecert_pool_list(store, ca, &list, &n, err) != 0) {
        return -1;
    }
    there = is_there(list, n, cert);
    ecert_pool_free(list, n);
    if (there) {
        return 1;
    }
    sweep(store);
    return has_room(store, err) && choose_path(store, ca, cert, path, err) == 0
               ? write_pem(path, cert, err)
               : -1;
}

/* ---- setting aside ----------------------------------------------------- */

/* Nothing that was set aside before is lost. */
static int move_aside(int from, const char *file, int to)
{
    char name[NAME_MAX + 32];
    int rc = ecert_entry_move(from, file, to, file);

    for (int i = 1; rc != 0 && errno == EEXIST && i < ASIDE_MAX; i++) {
        snprintf(name, sizeof(name), "%s.%d", file, i);
        rc = ecert_entry_move(from, file, to, name);
    }
    return rc == 0 && ecert_entry_sync(to) == 0 && ecert_entry_sync(from) == 0
               ? 0
               : -1;
}

int ecert_pool_aside(const char *store, const char *file, ecert_err_t *err)
{
    char from[PATH_MAX], to[PATH_MAX], path[PATH_MAX];
    ecert_walk_t old, new;
    int rc;

    if (file[0] == '\0' || file[0] == '.' || strchr(file, '/') != NULL) {
        return ecert_err(err, ECERT_ERR_USAGE, file, "no file of the pool");
    }
    if (folder_of(store, 0, from, err) != 0 || folder_of(store, 1, to, err) != 0
        || ecert_file_path(path, err, "%s/%s", from, file) != 0
        || ecert_file_folder(to, 0755, err) != 0
        || ecert_walk(&old, from, ECERT_WALK_FOLDER, NULL, err) != 0) {
        return -1;
    }
    rc = ecert_walk(&new, to, ECERT_WALK_FOLDER, NULL, err);
    if (rc == 0) {
        rc = move_aside(old.dir, file, new.dir);
        if (rc != 0) {
            ecert_err_errno(err, path, "set it aside");
        }
        ecert_walk_end(&new);
    }
    ecert_walk_end(&old);
    return rc;
}
