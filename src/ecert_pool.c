#include "ecert_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/pem.h>

#include "ecert_chain.h"
#include "ecert_conf.h"
#include "ecert_file.h"
#include "ecert_pem.h"
#include "ecert_stage.h"
#include "ecert_walk.h"
#include "ecert_x509.h"

#define FILES_MAX 256

static const char *const folders[] = {"issuers", "issuers/.aside"};

static void folder_of(const char *store, int aside, char *path)
{
    snprintf(path, PATH_MAX, "%.3800s/%s", store, folders[aside]);
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

static int read_file(const char *path, STACK_OF(X509) *list, ecert_err_t *err)
{
    ecert_file_t file;
    int rc;

    if (ecert_file_read(path, ECERT_FILE_MAX, NULL, &file, err) != 0) {
        return -1;
    }
    rc = ecert_pem_certificates(file.bytes, file.len, path, list, err);
    ecert_file_free(&file);
    return rc;
}

/* A file that holds no certificate is for `ecert check` to complain about; one
 * that the system refuses to read may be the one that is looked for. */
static int add_file(pool_t *pool, const char *folder, const char *name,
                    int aside, ecert_err_t *err)
{
    STACK_OF(X509) *list = sk_X509_new_null();
    char path[PATH_MAX + NAME_MAX];
    int rc = list ? 0 : ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (rc == 0 && read_file(path, list, err) != 0) {
        rc = ecert_err_refused(err) ? -1 : 0;
        sk_X509_pop_free(list, X509_free);
        return rc;
    }
    for (int i = 0; i < sk_X509_num(list) && rc == 0; i++) {
        rc = add(pool, name, sk_X509_value(list, i), sk_X509_num(list) == 1,
                 aside);
        if (rc != 0) {
            ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        }
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

    folder_of(store, aside, folder);
    if (ecert_file_list(folder, FILES_MAX, NULL, &names, &n, err) != 0) {
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
        ecert_err(err, ECERT_ERR_PURPOSE, name, "it is no CA's");
        return ecert_err_hint(err, "a server's certificate is installed with "
                                   "ecert install");
    }
    if (ecert_x509_not_after(cert) < now) {
        ecert_err(err, ECERT_ERR_EXPIRED, name, "on %s",
                  ecert_date_format(ecert_x509_not_after(cert), when));
        return ecert_err_hint(err, "get the present one from the CA");
    }
    return 0;
}

/* Named by what we know, never by what stands in the certificate. */
static void file_name(const ecert_ca_t *ca, X509 *cert, char *out, size_t size)
{
    const ecert_ca_entry_t *entry = ecert_ca_find(ca, cert);
    char hex[65];

    if (entry != NULL
        && strspn(entry->id, "abcdefghijklmnopqrstuvwxyz"
                             "0123456789-")
               == strlen(entry->id)
        && strlen(entry->id) < 64) {
        snprintf(out, size, "%s.pem", entry->id);
        return;
    }
    snprintf(out, size, "%.16s.pem", ecert_x509_fingerprint(cert, hex));
}

static int write_pem(const char *path, X509 *cert, ecert_err_t *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes;
    long len;
    int rc;

    if (bio == NULL || PEM_write_bio_X509(bio, cert) != 1) {
        BIO_free(bio);
        return ecert_err_openssl(err, ECERT_ERR_OPENSSL, path,
                                 "write a certificate as PEM");
    }
    len = BIO_get_mem_data(bio, &bytes);
    rc = ecert_file_write(path, bytes, (size_t)len, 0644, err);
    BIO_free(bio);
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

int ecert_pool_add(const char *store, const ecert_ca_t *ca, X509 *cert,
                   int64_t now, ecert_err_t *err)
{
    char folder[PATH_MAX], path[PATH_MAX + 128], name[128];
    ecert_pooled_t *list;
    size_t n;
    int there;

    folder_of(store, 0, folder);
    ecert_stage_sweep(folder);
    if (check(ca, cert, now, err) != 0
        || ecert_pool_list(store, ca, &list, &n, err) != 0) {
        return -1;
    }
    there = is_there(list, n, cert);
    ecert_pool_free(list, n);
    if (there) {
        return 1;
    }
    file_name(ca, cert, name, sizeof(name));
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return write_pem(path, cert, err);
}

/* ---- setting aside ----------------------------------------------------- */

int ecert_pool_aside(const char *store, const char *file, ecert_err_t *err)
{
    char from[PATH_MAX], to[PATH_MAX], path[PATH_MAX + NAME_MAX];
    ecert_walk_t old, new;
    int rc;

    folder_of(store, 0, from);
    folder_of(store, 1, to);
    snprintf(path, sizeof(path), "%s/%s", from, file);
    if (ecert_file_folder(to, 0755, err) != 0
        || ecert_walk(&old, from, ECERT_WALK_FOLDER, NULL, err) != 0) {
        return -1;
    }
    if (ecert_walk(&new, to, ECERT_WALK_FOLDER, NULL, err) != 0) {
        ecert_walk_end(&old);
        return -1;
    }
    rc = renameat(old.dir, file, new.dir, file);
    if (rc != 0) {
        ecert_err(err, ECERT_ERR_SYSTEM, path, "set it aside");
    }
    ecert_walk_end(&new);
    ecert_walk_end(&old);
    return rc;
}
