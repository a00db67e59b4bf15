#include "pki.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static void must(int ok, const char *what)
{
    if (ok) {
        return;
    }
    fprintf(stderr, "pki: %s failed\n", what);
    ERR_print_errors_fp(stderr);
    abort();
}

/* Keys. */

/* Random numbers in the shape of a key: making a real one takes minutes. */
static EVP_PKEY *rsa_unreal(int bits)
{
    static const char *const names[] = {
        OSSL_PKEY_PARAM_RSA_N,         OSSL_PKEY_PARAM_RSA_E,
        OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,
        OSSL_PKEY_PARAM_RSA_FACTOR2,   OSSL_PKEY_PARAM_RSA_EXPONENT1,
        OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1};
    enum {
        COUNT = sizeof(names) / sizeof(names[0])
    };
    OSSL_PARAM params[COUNT + 1];
    static unsigned char bytes[COUNT][16384 / 8];

    for (int i = 0; i < COUNT; i++) {
        BIGNUM *number = BN_new();
        int size = i == 0 ? bits : i == 2 ? bits - 1 : bits / 2;
        must(number
                 && BN_rand(number, size, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD),
             "BN_rand");
        if (i == 1) {
            must(BN_set_word(number, 65537), "BN_set_word");
        }
        int len = BN_num_bytes(number);
        must(BN_bn2nativepad(number, bytes[i], len) == len, "BN_bn2nativepad");
        params[i] = OSSL_PARAM_construct_BN(names[i], bytes[i], (size_t)len);
        BN_free(number);
    }
    params[COUNT] = OSSL_PARAM_construct_end();

    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    must(ctx && EVP_PKEY_fromdata_init(ctx) > 0
             && EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) > 0,
         "EVP_PKEY_fromdata");
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* An exponent of 161 bits: verifying takes as long as signing. */
static EVP_PKEY *rsa_slow(void)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    BIGNUM *e = BN_new();
    must(ctx && e && BN_set_bit(e, 160) && BN_set_bit(e, 0)
             && EVP_PKEY_keygen_init(ctx) > 0
             && EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e) > 0
             && EVP_PKEY_generate(ctx, &key) > 0,
         "slow RSA key");
    BN_free(e);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static EVP_PKEY *ec_explicit(void)
{
    EVP_PKEY *key = NULL;
    char group[] = "P-256";
    char encoding[] = OSSL_PKEY_EC_ENCODING_EXPLICIT;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, encoding,
                                         0),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    must(ctx && EVP_PKEY_keygen_init(ctx) > 0
             && EVP_PKEY_CTX_set_params(ctx, params) > 0
             && EVP_PKEY_generate(ctx, &key) > 0,
         "explicit EC key");
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static EVP_PKEY *dsa(unsigned int bits, unsigned int q)
{
    EVP_PKEY *params = NULL, *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "DSA", NULL);
    OSSL_PARAM sizes[] = {
        OSSL_PARAM_construct_uint(OSSL_PKEY_PARAM_FFC_PBITS, &bits),
        OSSL_PARAM_construct_uint(OSSL_PKEY_PARAM_FFC_QBITS, &q),
        OSSL_PARAM_construct_end(),
    };
    must(ctx && EVP_PKEY_paramgen_init(ctx) > 0
             && EVP_PKEY_CTX_set_params(ctx, sizes) > 0
             && EVP_PKEY_generate(ctx, &params) > 0,
         "DSA parameters");
    EVP_PKEY_CTX_free(ctx);
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, params, NULL);
    must(ctx && EVP_PKEY_keygen_init(ctx) > 0
             && EVP_PKEY_generate(ctx, &key) > 0,
         "DSA key");
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(params);
    return key;
}

EVP_PKEY *pki_key(const char *kind)
{
    EVP_PKEY *key = NULL;
    if (strcmp(kind, "RSA-16384") == 0) {
        key = rsa_unreal(16384);
    } else if (strcmp(kind, "RSA-SLOW") == 0) {
        key = rsa_slow();
    } else if (strncmp(kind, "RSA-", 4) == 0) {
        key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA",
                                (size_t)strtoul(kind + 4, NULL, 10));
    } else if (strncmp(kind, "P-", 2) == 0) {
        key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", kind);
    } else if (strcmp(kind, "ED25519") == 0) {
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    } else if (strcmp(kind, "DSA") == 0) {
        key = dsa(1024, 160);
    } else if (strcmp(kind, "DSA-2048") == 0) {
        key = dsa(2048, 256);
    } else if (strcmp(kind, "EC-EXPLICIT") == 0) {
        key = ec_explicit();
    }
    must(key != NULL, kind);
    return key;
}

/* Certificates. */

static void add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    must(ext != NULL, value);
    must(X509_add_ext(cert, ext, -1), "X509_add_ext");
    X509_EXTENSION_free(ext);
}

static void add_named(X509 *cert, X509 *issuer, const char *name,
                      const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf(NULL, &ctx, name, value);
    must(ext != NULL, value);
    must(X509_add_ext(cert, ext, -1), "X509_add_ext");
    X509_EXTENSION_free(ext);
}

static void set_subject(X509 *cert, const char *cn)
{
    X509_NAME *name = X509_get_subject_name(cert);
    const struct {
        const char *type, *value;
    } parts[] = {{"C", "HK"}, {"O", "Look-alike Post"}, {"CN", cn}};
    for (size_t i = 0; i < 3; i++) {
        must(X509_NAME_add_entry_by_txt(name, parts[i].type, MBSTRING_UTF8,
                                        (const unsigned char *)parts[i].value,
                                        -1, -1, 0),
             "X509_NAME_add_entry_by_txt");
    }
}

static void set_times(X509 *cert, int64_t not_before, int64_t not_after)
{
    time_t from = (time_t)not_before, to = (time_t)not_after;
    must(X509_time_adj_ex(X509_getm_notBefore(cert), 0, 0, &from) != NULL
             && X509_time_adj_ex(X509_getm_notAfter(cert), 0, 0, &to) != NULL,
         "times");
}

static void add_extensions(X509 *cert, X509 *issuer, const pki_spec_t *spec)
{
    add_ext(cert, issuer, NID_basic_constraints,
            spec->basic ? spec->basic
            : spec->ca  ? "critical,CA:TRUE"
                        : "critical,CA:FALSE");
    if (spec->key_usage == NULL) {
        add_ext(cert, issuer, NID_key_usage,
                spec->ca ? "critical,keyCertSign,cRLSign"
                         : "critical,digitalSignature");
    } else if (spec->key_usage[0] != '\0') {
        add_ext(cert, issuer, NID_key_usage, spec->key_usage);
    }
    if (!spec->no_key_id) {
        add_ext(cert, issuer, NID_subject_key_identifier, "hash");
    }
    if (spec->issuer != NULL && !spec->no_key_id) {
        add_ext(cert, issuer, NID_authority_key_identifier, "keyid:always");
    }
    if (spec->server_auth || spec->eku != NULL) {
        add_ext(cert, issuer, NID_ext_key_usage,
                spec->eku != NULL ? spec->eku : "serverAuth");
    }
    if (spec->names != NULL) {
        add_ext(cert, issuer, NID_subject_alt_name, spec->names);
    }
    if (spec->ext[0] != NULL) {
        add_named(cert, issuer, spec->ext[0], spec->ext[1]);
    }
}

X509 *pki_issue(const pki_spec_t *spec)
{
    static long serial = 4096;
    X509 *cert = X509_new();
    must(cert != NULL && X509_set_version(cert, X509_VERSION_3), "X509_new");
    must(ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial), "serial");
    set_subject(cert, spec->cn);
    must(X509_set_issuer_name(
             cert, X509_get_subject_name(spec->issuer ? spec->issuer : cert)),
         "issuer");
    set_times(cert, spec->not_before, spec->not_after);
    must(X509_set_pubkey(cert, spec->key), "X509_set_pubkey");
    add_extensions(cert, spec->issuer ? spec->issuer : cert, spec);

    EVP_PKEY *signer = spec->issuer_key ? spec->issuer_key : spec->key;
    const EVP_MD *md = spec->md ? spec->md : EVP_sha256();
    if (EVP_PKEY_is_a(signer, "ED25519")) {
        md = NULL;
    }
    must(X509_sign(cert, signer, md) > 0, "X509_sign");
    return cert;
}

X509 *pki_damaged(X509 *cert)
{
    unsigned char *der = NULL;
    int len = i2d_X509(cert, &der);
    must(len > 0, "i2d_X509");
    der[len - 1] ^= 1;
    const unsigned char *at = der;
    X509 *damaged = d2i_X509(NULL, &at, len);
    must(damaged != NULL, "d2i_X509");
    OPENSSL_free(der);
    return damaged;
}

X509 *pki_ca(const char *cn, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
             int64_t from, int64_t to, int server_auth)
{
    pki_spec_t spec = {.cn = cn,
                       .key = key,
                       .issuer = issuer,
                       .issuer_key = issuer_key,
                       .not_before = from,
                       .not_after = to,
                       .ca = 1,
                       .server_auth = server_auth};
    return pki_issue(&spec);
}

pki_t *pki_new(int64_t now)
{
    static const char sub[] = "Look-alike SSL CA 3 - 17";
    static const char ev[] = "Look-alike EV SSL CA 3 - 17";
    pki_t *pki = calloc(1, sizeof(*pki));
    must(pki != NULL, "calloc");
    pki->now = now;
    pki->root_key = pki_key("P-256");
    pki->other_root_key = pki_key("P-256");
    pki->sub_key = pki_key("P-256");
    pki->ev_key = pki_key("P-256");
    pki->leaf_key = pki_key("P-256");

    pki->root = pki_ca("Look-alike Root 3", pki->root_key, NULL, NULL,
                       now - 5 * PKI_YEAR, now + 15 * PKI_YEAR, 0);
    pki->other_root = pki_ca("Elsewhere Root R3", pki->other_root_key, NULL,
                             NULL, now - 10 * PKI_YEAR, now + 3 * PKI_YEAR, 0);
    pki->cross =
        pki_ca("Look-alike Root 3", pki->root_key, pki->other_root,
               pki->other_root_key, now - PKI_YEAR, now + 2 * PKI_YEAR, 0);
    int64_t old = now - 4 * PKI_YEAR, new = now - PKI_YEAR;
    int64_t end = now + 6 * PKI_YEAR;
    pki->old_sub =
        pki_ca(sub, pki->sub_key, pki->root, pki->root_key, old, end, 0);
    pki->new_sub =
        pki_ca(sub, pki->sub_key, pki->root, pki->root_key, new, end, 1);
    pki->old_ev =
        pki_ca(ev, pki->ev_key, pki->root, pki->root_key, old, end, 0);
    pki->new_ev =
        pki_ca(ev, pki->ev_key, pki->root, pki->root_key, new, end, 1);
    pki->leaf = pki_leaf(pki, "DNS:www.example.hk,DNS:example.hk", NULL,
                         now - PKI_DAY, now + 198 * PKI_DAY);
    return pki;
}

void pki_free(pki_t *pki)
{
    if (pki == NULL) {
        return;
    }
    EVP_PKEY *keys[] = {pki->root_key, pki->other_root_key, pki->sub_key,
                        pki->ev_key, pki->leaf_key};
    X509 *certs[] = {pki->root,    pki->other_root, pki->cross,  pki->old_sub,
                     pki->new_sub, pki->old_ev,     pki->new_ev, pki->leaf};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        EVP_PKEY_free(keys[i]);
    }
    for (size_t i = 0; i < sizeof(certs) / sizeof(certs[0]); i++) {
        X509_free(certs[i]);
    }
    free(pki);
}

X509 *pki_leaf(const pki_t *pki, const char *names, EVP_PKEY *key,
               int64_t not_before, int64_t not_after)
{
    char cn[64];
    const char *start = strncmp(names, "DNS:", 4) == 0 ? names + 4 : names;
    snprintf(cn, sizeof(cn), "%.*s", (int)strcspn(start, ","), start);
    pki_spec_t spec = {.cn = cn,
                       .key = key ? key : pki->leaf_key,
                       .issuer = pki->new_sub,
                       .issuer_key = pki->sub_key,
                       .not_before = not_before,
                       .not_after = not_after,
                       .server_auth = 1,
                       .names = names};
    return pki_issue(&spec);
}

/* Text. */

static void hex_fingerprint(X509 *cert, char out[65])
{
    unsigned char md[32];
    unsigned int len = 0;
    must(X509_digest(cert, EVP_sha256(), md, &len), "X509_digest");
    for (size_t i = 0; i < sizeof(md); i++) {
        snprintf(out + 2 * i, 3, "%02X", md[i]);
    }
}

static char *catalogue_entry(const char *id, const char *role, X509 *cert,
                             const char *more)
{
    char hex[65], cn[128] = "", entry[1024];
    hex_fingerprint(cert, hex);
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn,
                              sizeof(cn));
    snprintf(entry, sizeof(entry),
             "    {\"id\": \"%s\", \"role\": \"%s\", \"name\": \"%s\",\n"
             "     \"sha256\": \"%s\"%s}",
             id, role, cn, hex, more);
    return strdup(entry);
}

char *pki_catalogue(const pki_t *pki, const char *useful_until)
{
    char cross[256] = ", \"issuer\": \"other-root\", \"status\": \"current\"";
    if (useful_until != NULL) {
        size_t len = strlen(cross);
        snprintf(cross + len, sizeof(cross) - len, ", \"useful_until\": \"%s\"",
                 useful_until);
    }
    static const char denied[] =
        ", \"issuer\": \"root\", \"status\": \"denied\",\n"
        "     \"reason\": \"replaced by the one with serverAuth\"";
    static const char current[] =
        ", \"issuer\": \"root\", \"status\": \"current\",\n"
        "     \"url\": \"http://ca.example.hk/sub.crt\"";
    char *parts[] = {
        catalogue_entry("root", "root", pki->root, ""),
        catalogue_entry("other-root", "root", pki->other_root, ""),
        catalogue_entry("cross", "cross", pki->cross, cross),
        catalogue_entry("sub-old", "sub", pki->old_sub, denied),
        catalogue_entry("sub-new", "sub", pki->new_sub, current),
        catalogue_entry("ev-old", "sub", pki->old_ev, denied),
        catalogue_entry("ev-new", "sub", pki->new_ev, current),
    };
    char *out = pki_join("{\"schema\": \"ecert-ca\", \"version\": 1,\n"
                         " \"updated\": \"2026-11-22\",\n"
                         " \"name\": \"Look-alike Post\",\n"
                         " \"entries\": [\n",
                         parts[0], ",\n", parts[1], ",\n", parts[2], ",\n",
                         parts[3], ",\n", parts[4], ",\n", parts[5], ",\n",
                         parts[6], "\n ]}\n", NULL);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        free(parts[i]);
    }
    return out;
}

static char *bio_text(BIO *bio)
{
    char *data = NULL;
    long len = BIO_get_mem_data(bio, &data);
    char *text = strndup(data, (size_t)len);
    must(text != NULL, "strndup");
    BIO_free(bio);
    return text;
}

char *pki_pem(X509 *cert)
{
    BIO *bio = BIO_new(BIO_s_mem());
    must(bio != NULL && PEM_write_bio_X509(bio, cert), "PEM_write_bio_X509");
    return bio_text(bio);
}

char *pki_pem_key(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    must(bio != NULL
             && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL,
                                              NULL),
         "PEM_write_bio_PKCS8PrivateKey");
    return bio_text(bio);
}

char *pki_pem_key_traditional(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    must(bio != NULL
             && PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0,
                                                     NULL, NULL),
         "PEM_write_bio_PrivateKey_traditional");
    return bio_text(bio);
}

char *pki_join(const char *first, ...)
{
    size_t len = 0;
    char *out = strdup("");
    va_list args;
    va_start(args, first);
    for (const char *part = first; part; part = va_arg(args, const char *)) {
        size_t more = strlen(part);
        out = realloc(out, len + more + 1);
        must(out != NULL, "realloc");
        memcpy(out + len, part, more + 1);
        len += more;
    }
    va_end(args);
    return out;
}

STACK_OF(X509) *pki_stack(X509 *first, ...)
{
    STACK_OF(X509) *stack = sk_X509_new_null();
    must(stack != NULL, "sk_X509_new_null");
    va_list args;
    va_start(args, first);
    for (X509 *cert = first; cert != NULL; cert = va_arg(args, X509 *)) {
        must(X509_up_ref(cert) && sk_X509_push(stack, cert), "sk_X509_push");
    }
    va_end(args);
    return stack;
}

void pki_stack_free(STACK_OF(X509) *stack)
{
    sk_X509_pop_free(stack, X509_free);
}

/* Files. */

void pki_write(const char *path, const char *text, mode_t mode)
{
    char temporary[PATH_MAX];
    snprintf(temporary, sizeof(temporary), "%s.tmp", path);
    FILE *f = fopen(temporary, "w");
    must(f != NULL, temporary);
    must(fputs(text, f) >= 0 && fchmod(fileno(f), mode) == 0 && fclose(f) == 0
             && rename(temporary, path) == 0,
         path);
}

const char *pki_data(void)
{
    const char *dir = getenv("ECERT_TEST_DATA");
    if (dir == NULL || *dir == '\0') {
        dir = "../shared/data";
    }
    struct stat st;
    return stat(dir, &st) == 0 && S_ISDIR(st.st_mode) ? dir : NULL;
}

char *pki_data_file(const char *name, size_t *len)
{
    char path[PATH_MAX];
    const char *dir = pki_data();
    if (dir == NULL) {
        return NULL;
    }
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        must(errno == ENOENT, path);
        return NULL;
    }
    must(fseek(f, 0, SEEK_END) == 0, path);
    long size = ftell(f);
    rewind(f);
    char *bytes = malloc((size_t)size + 1);
    must(bytes != NULL && fread(bytes, 1, (size_t)size, f) == (size_t)size,
         path);
    fclose(f);
    bytes[size] = '\0';
    if (len != NULL) {
        *len = (size_t)size;
    }
    return bytes;
}
