/* ZIP archives of strangers: what comes out of them is bounded, and what a
 * parcel takes out of them as well (ecert_zip, ecert_parcel_zip). */

#include "fuzz.h"

#include "ecert_parcel_work.h"
#include "ecert_pem.h"
#include "ecert_zip.h"
#include "zip_make.h"

typedef struct {
    size_t files;
    size_t total;
} sum_t;

static int count(void *ctx, const char *name, const unsigned char *bytes,
                 size_t len, ecert_err_t *err)
{
    sum_t *sum = ctx;

    (void)err;
    FUZZ_CHECK(name != NULL && bytes != NULL && len <= ECERT_ZIP_FILE);
    sum->files++;
    sum->total += len;
    return 0;
}

static void run(const uint8_t *bytes, size_t len)
{
    ecert_found_t found = {sk_X509_new_null(), NULL};
    sum_t sum = {0, 0};
    ecert_err_t err;

    if (ecert_zip_each(bytes, len, "a.zip", count, &sum, &err) != 0) {
        fuzz_check_err(&err);
    }
    FUZZ_CHECK(sum.files <= ECERT_ZIP_ENTRIES);
    FUZZ_CHECK(sum.total <= ECERT_ZIP_TOTAL
               && sum.total <= len * ECERT_ZIP_RATIO);
    if (ecert_parcel_zip(bytes, len, "a.zip", &found, &err) != 0) {
        fuzz_check_err(&err);
    } else {
        FUZZ_CHECK(found.key != NULL || sk_X509_num(found.list) > 0);
    }
    FUZZ_CHECK(sk_X509_num(found.list) <= ECERT_PEM_CERTIFICATES);
    EVP_PKEY_free(found.key);
    pki_stack_free(found.list);
}

static void seed(const char *options, const char *text)
{
    zip_made_t zip;

    zip_make(&zip, options);
    zip_folder(&zip, "www/");
    zip_text(&zip, "www/www.crt", text);
    zip_text(&zip, "readme.txt", "see the manual");
    zip_link(&zip, "link.crt", "/etc/passwd");
    zip_done(&zip);
    fuzz_seed(zip.bytes, zip.len);
    zip_free(&zip);
}

static void seeds(void)
{
    const pki_t *pki = fuzz_pki();
    char *leaf = pki_pem(pki->leaf), *key = pki_pem_key(pki->leaf_key);
    char *both = pki_join(leaf, key, NULL);

    seed("compression=store", both);
    seed("compression=deflate", both);
    seed("compression=deflate,zip64", leaf);
    free(leaf);
    free(key);
    free(both);
}

static const char *const words[] = {"PK\1\2", "PK\3\4",  "PK\5\6", "PK\6\6",
                                    "PK\6\7", "PK\7\10", NULL};

FUZZ_TARGET(zip, .run = run, .seeds = seeds, .max = 4000, .words = words);
