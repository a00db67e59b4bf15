#include "ecert_bundle.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ecert_pem.h"

#define SHELF_BOOKS 256
#define FRESH_MS    100

typedef struct {
    char *path;
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime, ctime;
    int fresh; /* so new that the next change may bear the same times */
    STACK_OF(X509) *list;
} book_t;

struct ecert_shelf_s {
    book_t books[SHELF_BOOKS]; /* by hash of the path; the later one wins */
};

typedef struct {
    ecert_shelf_t *shelf;
    ecert_trail_t *trail;
    void (*complain)(void *ctx, const ecert_err_t *err);
    void *ctx;
    STACK_OF(X509) *pool;
} pool_t;

ecert_shelf_t *ecert_shelf_new(void)
{
    return calloc(1, sizeof(ecert_shelf_t));
}

static void free_book(book_t *book)
{
    free(book->path);
    sk_X509_pop_free(book->list, X509_free);
    memset(book, 0, sizeof(*book));
}

void ecert_shelf_free(ecert_shelf_t *shelf)
{
    size_t i;

    if (shelf == NULL) {
        return;
    }
    for (i = 0; i < SHELF_BOOKS; i++) {
        free_book(&shelf->books[i]);
    }
    free(shelf);
}

static book_t *place_of(ecert_shelf_t *shelf, const char *path)
{
    unsigned hash = 5381;

    for (; *path != '\0'; path++) {
        hash = hash * 33 + (unsigned char)*path;
    }
    return &shelf->books[hash % SHELF_BOOKS];
}

static int same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static int is_book(const book_t *book, const char *path, const struct stat *st)
{
    return book->path != NULL && !book->fresh && strcmp(book->path, path) == 0
           && book->dev == st->st_dev && book->ino == st->st_ino
           && book->size == st->st_size && same_time(&book->mtime, &st->st_mtim)
           && same_time(&book->ctime, &st->st_ctim);
}

/* Changed a moment ago, or its time is in the future. */
static int is_fresh(const struct stat *st)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (now.tv_sec - st->st_ctim.tv_sec) * 1000
               + (now.tv_nsec - st->st_ctim.tv_nsec) / 1000000
           < FRESH_MS;
}

/* Takes the list. */
static void put_book(book_t *book, const char *path, const struct stat *st,
                     STACK_OF(X509) *list)
{
    free_book(book);
    book->path = strdup(path);
    if (book->path == NULL) {
        sk_X509_pop_free(list, X509_free);
        return;
    }
    book->dev = st->st_dev;
    book->ino = st->st_ino;
    book->size = st->st_size;
    book->mtime = st->st_mtim;
    book->ctime = st->st_ctim;
    book->fresh = is_fresh(st);
    book->list = list;
}

static void add_all(STACK_OF(X509) *to, const STACK_OF(X509) *from)
{
    int i;

    for (i = 0; i < sk_X509_num(from); i++) {
        X509 *cert = sk_X509_value(from, i);

        if (sk_X509_push(to, cert) > 0) {
            X509_up_ref(cert);
        }
    }
}

int ecert_certificates_read(const char *path, ecert_trail_t *trail,
                            STACK_OF(X509) *list, ecert_err_t *err)
{
    ecert_file_t file;
    int rc;

    if (ecert_file_read(path, ECERT_FILE_MAX, trail, &file, err) != 0) {
        return -1;
    }
    rc = ecert_pem_certificates(file.bytes, file.len, path, list, err);
    ecert_file_free(&file);
    return rc;
}

static int parse_book(book_t *book, const char *path, const ecert_file_t *file,
                      ecert_err_t *err)
{
    STACK_OF(X509) *list = sk_X509_new_null();

    if (list == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    if (ecert_pem_certificates(file->bytes, file->len, path, list, err) != 0) {
        sk_X509_pop_free(list, X509_free);
        return -1;
    }
    put_book(book, path, &file->st, list);
    return 0;
}

/* Reading is cheap; it is parsing that the shelf saves. */
static int pool_file(pool_t *pool, const char *path, ecert_err_t *err)
{
    book_t *book = place_of(pool->shelf, path);
    ecert_file_t file;
    int rc = 0;

    if (ecert_file_read(path, ECERT_FILE_MAX, pool->trail, &file, err) != 0) {
        return -1;
    }
    if (!is_book(book, path, &file.st)) {
        rc = parse_book(book, path, &file, err);
    }
    ecert_file_free(&file);
    if (rc == 0) {
        add_all(pool->pool, book->list);
    }
    return rc;
}

/* What ecert_file_list says about something that is no folder. */
static int may_be_file(const ecert_err_t *err)
{
    return err->code == ECERT_ERR_NOT_FILE || err->code == ECERT_ERR_MISSING;
}

/* A folder's files, or the file itself.  One error of it is no complaint. */
static void pool_path(pool_t *pool, const char *path, ecert_code_t passed_over)
{
    char inner[PATH_MAX];
    ecert_err_t err;
    char **names;
    size_t n, i;

    if (ecert_file_list(path, ECERT_ISSUER_FILES_MAX, pool->trail, &names, &n,
                        &err)
        != 0) {
        if ((!may_be_file(&err) || pool_file(pool, path, &err) != 0)
            && err.code != passed_over) {
            pool->complain(pool->ctx, &err);
        }
        return;
    }
    for (i = 0; i < n; i++) {
        if (snprintf(inner, sizeof(inner), "%s/%s", path, names[i])
                < (int)sizeof(inner)
            && pool_file(pool, inner, &err) != 0) {
            pool->complain(pool->ctx, &err);
        }
    }
    ecert_names_free(names, n);
}

static void look_path(const char *path, ecert_trail_t *trail)
{
    char inner[PATH_MAX];
    ecert_err_t err;
    char **names;
    size_t n, i;

    if (ecert_file_list(path, ECERT_ISSUER_FILES_MAX, trail, &names, &n, &err)
        != 0) {
        if (may_be_file(&err)) {
            ecert_file_look(path, trail, &err);
        }
        return;
    }
    for (i = 0; i < n; i++) {
        if (snprintf(inner, sizeof(inner), "%s/%s", path, names[i])
            < (int)sizeof(inner)) {
            ecert_file_look(inner, trail, &err);
        }
    }
    ecert_names_free(names, n);
}

EVP_PKEY *ecert_key_read(const char *path, ecert_trail_t *trail,
                         ecert_err_t *err)
{
    ecert_file_t file;
    EVP_PKEY *key;

    if (ecert_file_read(path, ECERT_FILE_MAX, trail, &file, err) != 0) {
        if (err->code == ECERT_ERR_MISSING) {
            ecert_err(err, ECERT_ERR_NO_KEY, path, "the file does not exist");
        }
        return NULL;
    }
    key = ecert_pem_key(file.bytes, file.len, path, err);
    ecert_file_free(&file);
    return key;
}

static int read_pair(const ecert_bundle_files_t *files, ecert_trail_t *trail,
                     ecert_bundle_t *bundle, ecert_err_t *err)
{
    ecert_err_t key_err;
    int rc;

    rc = ecert_certificates_read(files->certificate, trail,
                                 bundle->certificates, err);
    /* both are always looked at: the trail must not depend on the first */
    if (files->key != NULL) {
        bundle->key =
            ecert_key_read(files->key, trail, rc == 0 ? err : &key_err);
        if (bundle->key == NULL) {
            rc = -1;
        }
    }
    return rc;
}

int ecert_bundle_read(const ecert_bundle_files_t *files, ecert_shelf_t *shelf,
                      ecert_trail_t *trail,
                      void (*complain)(void *ctx, const ecert_err_t *err),
                      void *ctx, ecert_bundle_t *bundle, ecert_err_t *err)
{
    pool_t pool = {shelf, trail, complain, ctx, sk_X509_new_null()};
    size_t i;
    int rc;

    memset(bundle, 0, sizeof(*bundle));
    bundle->pool = pool.pool;
    bundle->certificates = sk_X509_new_null();
    if (bundle->pool == NULL || bundle->certificates == NULL) {
        ecert_bundle_free(bundle);
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    rc = read_pair(files, trail, bundle, err);
    if (files->chain != NULL) {
        pool_path(&pool, files->chain, ECERT_ERR_MISSING);
    }
    if (files->store_issuers != NULL) {
        pool_path(&pool, files->store_issuers, ECERT_ERR_MISSING);
    }
    for (i = 0; i < files->n_issuers; i++) {
        pool_path(&pool, files->issuers[i],
                  i + files->n_server_issuers >= files->n_issuers
                      ? ECERT_ERR_TOO_MANY
                      : ECERT_OK);
    }
    if (rc != 0) {
        ecert_bundle_free(bundle);
    }
    return rc;
}

void ecert_bundle_free(ecert_bundle_t *bundle)
{
    sk_X509_pop_free(bundle->certificates, X509_free);
    sk_X509_pop_free(bundle->pool, X509_free);
    EVP_PKEY_free(bundle->key);
    memset(bundle, 0, sizeof(*bundle));
}

void ecert_bundle_look(const ecert_bundle_files_t *files, ecert_trail_t *trail)
{
    ecert_err_t err;
    size_t i;

    ecert_file_look(files->certificate, trail, &err);
    if (files->key != NULL) {
        ecert_file_look(files->key, trail, &err);
    }
    if (files->chain != NULL) {
        look_path(files->chain, trail);
    }
    if (files->store_issuers != NULL) {
        look_path(files->store_issuers, trail);
    }
    for (i = 0; i < files->n_issuers; i++) {
        look_path(files->issuers[i], trail);
    }
}
