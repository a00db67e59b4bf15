#include <string.h>

#include <openssl/err.h>

#include "ecert_parcel_work.h"
#include "ecert_pem.h"
#include "ecert_pem_block.h"
#include "ecert_pfx.h"
#include "ecert_sniff.h"

/* RSA-8192 in PKCS#8 takes less than five thousand bytes. */
#define KEY_BYTES 16384

int ecert_parcel_locked(const ecert_file_t *file)
{
    return ecert_sniff_pfx(file->bytes, file->len);
}

/* In the jail. */

typedef struct {
    const ecert_file_t *file;
    const char *name;
    const char *password; /* NULL: it is no PFX */
} job_t;

static int send_certificates(const job_t *job, STACK_OF(X509) *list,
                             ecert_frames_t *out, ecert_err_t *err)
{
    for (int i = 0; i < sk_X509_num(list); i++) {
        unsigned char *der = NULL;
        int rc, len = i2d_X509(sk_X509_value(list, i), &der);

        if (len <= 0) {
            return ecert_err_openssl(err, ECERT_ERR_OPENSSL, job->name,
                                     "certificate %d", i + 1);
        }
        rc = ecert_frames_add(out, ECERT_PARCEL_CERTIFICATE, der, (size_t)len,
                              err);
        OPENSSL_free(der);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int send_key(const job_t *job, EVP_PKEY *key, ecert_frames_t *out,
                    ecert_err_t *err)
{
    PKCS8_PRIV_KEY_INFO *info;
    unsigned char *der = NULL;
    int rc, len;

    if (ecert_pem_key_check(key, job->name, err) != 0) {
        return -1;
    }
    info = EVP_PKEY2PKCS8(key);
    len = info != NULL ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : -1;
    PKCS8_PRIV_KEY_INFO_free(info);
    if (len <= 0) {
        return ecert_err_openssl(err, ECERT_ERR_OPENSSL, job->name,
                                 "the private key");
    }
    rc = ecert_frames_add(out, ECERT_PARCEL_KEY, der, (size_t)len, err);
    OPENSSL_clear_free(der, (size_t)len);
    return rc;
}

/* The PFX itself, of a file that has it in PEM or in Base64, too. */
static int unwrap_pfx(const job_t *job, unsigned char **der, size_t *len,
                      ecert_err_t *err)
{
    const ecert_file_t *file = job->file;
    ecert_pem_block_t block;

    if (ecert_sniff(file->bytes, file->len).kind == ECERT_SNIFF_DER) {
        *len = file->len;
        *der = OPENSSL_memdup(file->bytes, file->len);
        return *der ? 0 : ecert_err(err, ECERT_ERR_MEMORY, job->name, NULL);
    }
    ecert_pem_block_init(&block, file->bytes, file->len);
    while (ecert_pem_block_next(&block, job->name, err) == 1) {
        if (ecert_pem_block_der(&block, der, len) != 0) {
            return ecert_pem_block_damaged(&block, job->name, err);
        }
        if (ecert_sniff_pfx(*der, *len)) {
            return 0;
        }
        OPENSSL_clear_free(*der, *len);
    }
    return ecert_err(err, ECERT_ERR_DAMAGED, job->name, "no PFX in it");
}

static int send_pfx(const job_t *job, const ecert_pfx_t *pfx,
                    ecert_frames_t *out, ecert_err_t *err)
{
    int rc = send_certificates(job, pfx->certificates, out, err);

    if (rc == 0 && pfx->key != NULL) {
        rc = send_key(job, pfx->key, out, err);
    }
    return rc == 0
               ? ecert_frames_add(out, ECERT_PARCEL_NAME, pfx->friendly_name,
                                  strlen(pfx->friendly_name), err)
               : rc;
}

static int open_pfx(const job_t *job, ecert_frames_t *out, ecert_err_t *err)
{
    unsigned char *der = NULL;
    ecert_pfx_t pfx;
    size_t len = 0;
    int rc;

    if (unwrap_pfx(job, &der, &len, err) != 0) {
        return -1;
    }
    rc = ecert_pfx_read(der, len, job->name, job->password, &pfx, err);
    if (rc == 0) {
        rc = send_pfx(job, &pfx, out, err);
        ecert_pfx_free(&pfx);
    }
    OPENSSL_clear_free(der, len);
    return rc;
}

/* A key that is there, but cannot be taken, is more to the point. */
static int is_about_key(const ecert_err_t *err)
{
    if (err->code == ECERT_ERR_FORMAT) { /* of its block, not of the file */
        return strstr(err->detail, "found ") == NULL;
    }
    return err->code != ECERT_ERR_NO_KEY && err->code != ECERT_ERR_EMPTY;
}

/* The key of a file that seems to have no certificate: why is that error. */
static EVP_PKEY *key_alone(const unsigned char *bytes, size_t len,
                           const char *name, ecert_err_t *why)
{
    ecert_err_t err;
    EVP_PKEY *key;

    if (why->code != ECERT_ERR_FORMAT) {
        return NULL;
    }
    key = ecert_pem_key(bytes, len, name, &err);
    if (key == NULL && is_about_key(&err)) {
        *why = err;
    }
    return key;
}

/* The key beside certificates, which only PEM can hold; NULL is none. */
static int key_beside(const unsigned char *bytes, size_t len, const char *name,
                      EVP_PKEY **key, ecert_err_t *err)
{
    if (ecert_sniff(bytes, len).kind != ECERT_SNIFF_PEM) {
        return 0;
    }
    *key = ecert_pem_key(bytes, len, name, err);
    return *key != NULL || err->code == ECERT_ERR_NO_KEY ? 0 : -1;
}

int ecert_parcel_plain(const unsigned char *bytes, size_t len, const char *name,
                       ecert_found_t *found, ecert_err_t *err)
{
    if (ecert_pem_certificates(bytes, len, name, found->list, err) == 0) {
        return key_beside(bytes, len, name, &found->key, err);
    }
    found->key = key_alone(bytes, len, name, err);
    return found->key != NULL ? 0 : -1;
}

static int open_plain(const job_t *job, ecert_frames_t *out, ecert_err_t *err)
{
    const ecert_file_t *file = job->file;
    ecert_found_t found = {sk_X509_new_null(), NULL};
    int rc;

    if (found.list == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, job->name, NULL);
    }
    rc = ecert_sniff(file->bytes, file->len).kind == ECERT_SNIFF_ZIP
             ? ecert_parcel_zip(file->bytes, file->len, job->name, &found, err)
             : ecert_parcel_plain(file->bytes, file->len, job->name, &found,
                                  err);
    if (rc == 0) {
        rc = send_certificates(job, found.list, out, err);
    }
    if (rc == 0 && found.key != NULL) {
        rc = send_key(job, found.key, out, err);
    }
    EVP_PKEY_free(found.key);
    sk_X509_pop_free(found.list, X509_free);
    return rc;
}

static int work(void *ctx, ecert_frames_t *out, ecert_err_t *err)
{
    const job_t *job = ctx;

    return job->password != NULL ? open_pfx(job, out, err)
                                 : open_plain(job, out, err);
}

/* Outside: what came back is not trusted. */

static int take_certificate(ecert_parcel_t *parcel, const ecert_frame_t *frame)
{
    int max = parcel->pfx ? ECERT_PFX_CERTIFICATES : ECERT_PEM_CERTIFICATES;
    const unsigned char *p = frame->bytes;
    X509 *cert;

    if (sk_X509_num(parcel->certificates) >= max) {
        return -1;
    }
    cert = d2i_X509(NULL, &p, (long)frame->len);
    if (cert == NULL || p != frame->bytes + frame->len
        || !sk_X509_push(parcel->certificates, cert)) {
        X509_free(cert);
        return -1;
    }
    return 0;
}

static int take_key(ecert_parcel_t *parcel, const ecert_frame_t *frame)
{
    const unsigned char *p = frame->bytes;
    PKCS8_PRIV_KEY_INFO *info;
    ecert_err_t err;

    if (parcel->key != NULL || frame->len > KEY_BYTES) {
        return -1;
    }
    info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &p, (long)frame->len);
    if (info != NULL && p == frame->bytes + frame->len) {
        parcel->key = EVP_PKCS82PKEY(info);
    }
    PKCS8_PRIV_KEY_INFO_free(info);
    return parcel->key != NULL
                   && ecert_pem_key_check(parcel->key, NULL, &err) == 0
               ? 0
               : -1;
}

static int take_frame(ecert_parcel_t *parcel, const ecert_frame_t *frame)
{
    switch (frame->kind) {
    case ECERT_PARCEL_CERTIFICATE:
        return take_certificate(parcel, frame);
    case ECERT_PARCEL_KEY:
        return take_key(parcel, frame);
    case ECERT_PARCEL_NAME:
        ecert_frame_text(parcel->friendly_name, sizeof(parcel->friendly_name),
                         (const char *)frame->bytes, frame->len);
        return 0;
    default:
        return -1;
    }
}

int ecert_parcel_take(ecert_parcel_t *parcel, const ecert_frames_t *frames,
                      const char *name, ecert_err_t *err)
{
    int rc = 0;

    parcel->certificates = sk_X509_new_null();
    if (parcel->certificates == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, name, NULL);
    }
    for (size_t i = 0; rc == 0 && i < frames->n; i++) {
        rc = take_frame(parcel, &frames->frames[i]);
    }
    ERR_clear_error();
    return rc == 0
               ? 0
               : ecert_err(err, ECERT_ERR_DAMAGED, name,
                           "the process that read it gave no sensible answer");
}

int ecert_parcel_open(const ecert_file_t *file, const char *name,
                      const char *password, ecert_parcel_t *parcel,
                      ecert_err_t *err)
{
    job_t job = {.file = file, .name = name};
    ecert_frames_t frames;
    int rc;

    memset(parcel, 0, sizeof(*parcel));
    parcel->pfx = ecert_parcel_locked(file);
    if (parcel->pfx && password == NULL) {
        return ecert_err(err, ECERT_ERR_NO_PASSWORD, name, NULL);
    }
    job.password = parcel->pfx ? password : NULL;
    if (ecert_jail_run(work, &job, name, &frames, err) != 0) {
        return -1;
    }
    rc = ecert_parcel_take(parcel, &frames, name, err);
    ecert_frames_free(&frames);
    if (rc != 0) {
        ecert_parcel_free(parcel);
    }
    return rc;
}

void ecert_parcel_free(ecert_parcel_t *parcel)
{
    sk_X509_pop_free(parcel->certificates, X509_free);
    EVP_PKEY_free(parcel->key);
    memset(parcel, 0, sizeof(*parcel));
}
