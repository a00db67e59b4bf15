#include "ecert_placeholder.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#define ORGANIZATION "ecert placeholder, not a certificate of any CA"
#define NAMES_MAX    100

/* Letters, digits, dots and hyphens: what a dNSName may hold (RFC 5280). */
static int is_dns_name(const char *name)
{
    const char *p = strncmp(name, "*.", 2) == 0 ? name + 2 : name;

    if (*p == '\0' || strlen(name) > 253) {
        return 0;
    }
    while (isalnum((unsigned char)*p) || *p == '.' || *p == '-') {
        p++;
    }
    return *p == '\0';
}

static int add_name(GENERAL_NAMES *names, const char *text)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *value = ASN1_IA5STRING_new();
    size_t len = strlen(text);

    if (len > 1 && text[len - 1] == '.') {
        len--;
    }
    if (name == NULL || value == NULL
        || ASN1_STRING_set(value, text, (int)len) != 1) {
        GENERAL_NAME_free(name);
        ASN1_IA5STRING_free(value);
        return -1;
    }
    GENERAL_NAME_set0_value(name, GEN_DNS, value);
    if (sk_GENERAL_NAME_push(names, name) <= 0) {
        GENERAL_NAME_free(name);
        return -1;
    }
    return 0;
}

static int set_names(X509 *cert, const ecert_site_t *site)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    size_t i;
    int rc = names == NULL ? -1 : 0;

    if (rc == 0 && site->name != NULL && is_dns_name(site->name)) {
        rc = add_name(names, site->name);
    }
    for (i = 0; rc == 0 && i < site->n_names && i < NAMES_MAX; i++) {
        if (is_dns_name(site->names[i])) {
            rc = add_name(names, site->names[i]);
        }
    }
    if (rc == 0 && sk_GENERAL_NAME_num(names) > 0
        && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) != 1) {
        rc = -1;
    }
    GENERAL_NAMES_free(names);
    return rc;
}

static int add_to_name(X509_NAME *name, int nid, const char *text)
{
    return X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8,
                                      (const unsigned char *)text, -1, -1, 0)
                   == 1
               ? 0
               : -1;
}

static int set_subject(X509 *cert, const ecert_site_t *site)
{
    X509_NAME *name = X509_get_subject_name(cert);

    if (add_to_name(name, NID_organizationName, ORGANIZATION) != 0) {
        return -1;
    }
    /* longer than ub-common-name (RFC 5280), empty, or a path in no UTF-8 */
    if (add_to_name(name, NID_commonName, ecert_site_label(site)) != 0) {
        ERR_clear_error();
        if (add_to_name(name, NID_commonName, "ecert") != 0) {
            return -1;
        }
    }
    return X509_set_issuer_name(cert, name) == 1 ? 0 : -1;
}

static int set_serial(X509 *cert)
{
    unsigned char bytes[8];
    uint64_t serial;

    if (RAND_bytes(bytes, sizeof(bytes)) != 1) {
        return -1;
    }
    memcpy(&serial, bytes, sizeof(serial));
    serial = (serial >> 1) | 1;
    return ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial) == 1
               ? 0
               : -1;
}

static int set_extensions(X509 *cert)
{
    BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
    int ok =
        constraints != NULL
        && X509_add1_ext_i2d(cert, NID_basic_constraints, constraints, 1, 0)
               == 1;

    BASIC_CONSTRAINTS_free(constraints);
    return ok ? 0 : -1;
}

static int fill(X509 *cert, EVP_PKEY *key, const ecert_site_t *site)
{
    if (X509_set_version(cert, X509_VERSION_3) != 1 || set_serial(cert) != 0
        || ASN1_TIME_set_string_X509(X509_getm_notBefore(cert),
                                     "20200101000000Z")
               != 1
        || ASN1_TIME_set_string_X509(X509_getm_notAfter(cert),
                                     "99991231235959Z")
               != 1
        || X509_set_pubkey(cert, key) != 1 || set_subject(cert, site) != 0
        || set_extensions(cert) != 0 || set_names(cert, site) != 0) {
        return -1;
    }
    return X509_sign(cert, key, EVP_sha256()) > 0 ? 0 : -1;
}

ecert_cred_t *ecert_placeholder_new(const ecert_site_t *site, ecert_err_t *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    ecert_cred_t *cred = NULL;

    if (key == NULL || cert == NULL || fill(cert, key, site) != 0) {
        ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL,
                          "cannot make a placeholder");
    } else {
        cred = ecert_cred_new(cert, key, NULL, err);
    }
    if (cred != NULL) {
        cred->placeholder = 1;
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    return cred;
}

/* The label, as far as it can stand in a file name, and what tells sites apart.
 */
static int file_name(const ecert_site_t *site, char *out, size_t size,
                     ecert_err_t *err)
{
    const char *label = ecert_site_label(site);
    unsigned char id[32];
    char safe[65];
    size_t i;

    for (i = 0; i < sizeof(safe) - 1 && label[i] != '\0'; i++) {
        safe[i] = isalnum((unsigned char)label[i]) || label[i] == '-'
                          || (label[i] == '.' && i > 0)
                      ? label[i]
                      : '_';
    }
    safe[i] = '\0';
    if (ecert_site_identity(site, id, err) != 0) {
        return -1;
    }
    snprintf(out, size, "%s-%02x%02x%02x%02x%02x%02x.pem", safe, id[0], id[1],
             id[2], id[3], id[4], id[5]);
    return 0;
}

/* A folder of ours: nobody else may put a file there. */
static int open_folder(const char *dir, char *path, size_t size,
                       ecert_err_t *err)
{
    struct stat st;
    int fd;

    if (snprintf(path, size, "%s/placeholder", dir) >= (int)size) {
        return ecert_err(err, ECERT_ERR_CONF, dir, "the path is too long");
    }
    ecert_conf_path(path); /* httpd's run-time folder ends with a slash */
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return ecert_err_errno(err, path, "mkdir");
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        ecert_err_errno(err, path, "open");
    } else if (st.st_uid != geteuid() || (st.st_mode & 022) != 0) {
        ecert_err(err, ECERT_ERR_UNSAFE, path,
                  "it must be the starting user's own, writable by nobody "
                  "else");
    } else {
        return fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

static int write_pem(int fd, const ecert_cred_t *cred)
{
    FILE *out = fdopen(fd, "w");
    int ok;

    if (out == NULL) {
        close(fd);
        return -1;
    }
    /* twice: mod_ssl's stapling looks for the issuer behind the certificate,
     * and has an error for one without */
    ok = PEM_write_X509(out, cred->leaf) == 1
         && PEM_write_X509(out, cred->leaf) == 1
         && PEM_write_PKCS8PrivateKey(out, cred->key, NULL, NULL, 0, NULL, NULL)
                == 1
         && fflush(out) == 0 && fsync(fd) == 0;
    return fclose(out) == 0 && ok ? 0 : -1;
}

static int make_file(int folder, const char *name, const ecert_site_t *site,
                     ecert_err_t *err)
{
    ecert_cred_t *cred = ecert_placeholder_new(site, err);
    char temporary[160];
    int fd, rc = -1;

    if (cred == NULL) {
        return -1;
    }
    snprintf(temporary, sizeof(temporary), ".%s.%ld", name, (long)getpid());
    unlinkat(folder, temporary, 0);
    fd = openat(folder, temporary,
                O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || fchmod(fd, 0600) != 0) {
        ecert_err_errno(err, name, "cannot make the placeholder");
        if (fd >= 0) {
            close(fd);
        }
    } else if (write_pem(fd, cred) != 0
               || renameat(folder, temporary, folder, name) != 0) {
        ecert_err(err, ECERT_ERR_SYSTEM, name, "cannot write the placeholder");
        ERR_clear_error();
        unlinkat(folder, temporary, 0);
    } else {
        rc = 0;
    }
    ecert_cred_free(cred);
    return rc;
}

int ecert_placeholder_file(const char *dir, const ecert_site_t *site,
                           char *path, size_t size, ecert_err_t *err)
{
    char name[128];
    struct stat st;
    size_t used;
    int folder, rc = 0;

    if (file_name(site, name, sizeof(name), err) != 0) {
        return -1;
    }
    folder = open_folder(dir, path, size, err);
    if (folder < 0) {
        return -1;
    }
    used = strlen(path);
    if (snprintf(path + used, size - used, "/%s", name) >= (int)(size - used)) {
        rc = ecert_err(err, ECERT_ERR_CONF, dir, "the path is too long");
    } else if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0
               || !S_ISREG(st.st_mode) || st.st_size == 0) {
        rc = make_file(folder, name, site, err);
    }
    close(folder);
    return rc;
}

ecert_cred_t *ecert_placeholder_read(const char *path, const ecert_site_t *site,
                                     ecert_err_t *err)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
    char no_password[] = ""; /* so that nobody is asked for one */
    ecert_cred_t *cred = NULL;
    X509 *leaf = NULL;
    EVP_PKEY *key = NULL;

    if (fd >= 0 && in == NULL) {
        close(fd);
    }
    if (in != NULL) {
        leaf = PEM_read_X509(in, NULL, NULL, NULL);
        key = leaf ? PEM_read_PrivateKey(in, NULL, NULL, no_password) : NULL;
        fclose(in);
    }
    if (leaf != NULL && key != NULL) {
        cred = ecert_cred_new(leaf, key, NULL, err);
    }
    X509_free(leaf);
    EVP_PKEY_free(key);
    ERR_clear_error();
    if (cred == NULL) {
        return ecert_placeholder_new(site, err);
    }
    cred->placeholder = 1;
    return cred;
}
