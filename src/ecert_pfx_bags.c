#include "ecert_pfx_work.h"

#include <string.h>

#include <openssl/err.h>

static int damaged(ecert_pfx_reader_t *r, const char *what)
{
    return ecert_pfx_damaged(r->file, r->err, what);
}

int ecert_pfx_password_len(const char *password)
{
    return password != NULL ? (int)strlen(password) : 0;
}

/* Without a MAC nothing else tells a wrong password. */
/*
 * The MAC's key comes of characters (RFC 7292, B.1), that of PBES2 of bytes
 * (RFC 8018), which OpenSSL takes as they were typed: beyond ASCII, a right
 * password may open the one and not the other.
 */
static int other_bytes(ecert_pfx_reader_t *r)
{
    ERR_clear_error();
    ecert_err(r->err, ECERT_ERR_PASSWORD, r->file,
              "it is the right one, but the file was made with it in another "
              "character set, such as ISO-8859-1, or is damaged");
    return ecert_err_hint(r->err, "give it in that one: iconv -t ISO-8859-1 "
                                  "PASSWORD-FILE > NEW, and --password-file "
                                  "NEW");
}

static int is_ascii(const ecert_pfx_reader_t *r)
{
    return r->passwords[0] == NULL || r->passwords[1] == NULL;
}

static int not_opened(ecert_pfx_reader_t *r, const char *what)
{
    if (r->verified && !is_ascii(r)) {
        return other_bytes(r);
    }
    if (r->verified) {
        return damaged(r, what);
    }
    ERR_clear_error();
    return ecert_err(r->err, ECERT_ERR_PASSWORD, r->file, NULL);
}

/* The MAC says that the file is whole, and that its password is right. */
static int other_password(ecert_pfx_reader_t *r)
{
    ERR_clear_error();
    ecert_err(r->err, ECERT_ERR_PASSWORD, r->file,
              "it opens the file, but not the private key in it: Java gives a "
              "key a password of its own");
    return ecert_err_hint(r->err, "let both be the same: keytool "
                                  "-importkeystore -srckeystore FILE "
                                  "-destkeystore NEW.p12 -deststoretype "
                                  "PKCS12, which asks for both");
}

/* A friendlyName (UTF-16, as it is) to text. */
static void text_of(const unsigned char *utf16, int len, char out[256])
{
    char text[3 * 256];
    size_t used = 0;
    unsigned long c, low;

    for (int i = 0; i + 1 < len && used + 4 < sizeof(text); i += 2) {
        c = (unsigned long)utf16[i] << 8 | utf16[i + 1];
        if (c >= 0xd800 && c < 0xdc00 && i + 3 < len) {
            low = (unsigned long)utf16[i + 2] << 8 | utf16[i + 3];
            if (low >= 0xdc00 && low < 0xe000) {
                c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
                i += 2;
            }
        }
        if (c == 0) { /* some write the terminator as well */
            break;
        }
        if (c >= 0xd800 && c < 0xe000) {
            c = 0xfffd;
        }
        used += (size_t)UTF8_putc((unsigned char *)text + used, 4, c);
    }
    ecert_escape(out, 256, text, used);
}

/* PKCS12_get_friendlyname wrote beyond its buffer (CVE-2025-69419). */
static void read_name(const PKCS12_SAFEBAG *bag, char out[256])
{
    const ASN1_TYPE *name = PKCS12_SAFEBAG_get0_attr(bag, NID_friendlyName);

    if (name != NULL && name->type == V_ASN1_BMPSTRING) {
        text_of(ASN1_STRING_get0_data(name->value.bmpstring),
                ASN1_STRING_length(name->value.bmpstring), out);
    }
}

static int take_key(ecert_pfx_reader_t *r, const PKCS12_SAFEBAG *bag,
                    const PKCS8_PRIV_KEY_INFO *info)
{
    unsigned char *der = NULL;
    int len = i2d_PKCS8_PRIV_KEY_INFO(info, &der);

    if (len <= 0) {
        return damaged(r, "the private key");
    }
    if (r->key.der == NULL) {
        r->key.der = der;
        r->key.len = len;
        read_name(bag, r->key.name);
        return 0;
    }
    int same = len == r->key.len && memcmp(der, r->key.der, (size_t)len) == 0;
    OPENSSL_clear_free(der, (size_t)len);
    return same ? 0
                : ecert_err(r->err, ECERT_ERR_TOO_MANY, r->file,
                            "more than one private key");
}

static int take_encrypted_key(ecert_pfx_reader_t *r, const PKCS12_SAFEBAG *bag)
{
    PKCS8_PRIV_KEY_INFO *info = NULL;
    const X509_ALGOR *scheme = NULL;
    int rc;

    X509_SIG_get0(PKCS12_SAFEBAG_get0_pkcs8(bag), &scheme, NULL);
    for (int i = 0; info == NULL && i < r->tries; i++) {
        const char *password = r->passwords[i];

        if (i > 0 && ecert_pfx_cost_scheme(&r->cost, scheme) != 0) {
            return -1;
        }
        ERR_clear_error();
        info = PKCS12_decrypt_skey(bag, password,
                                   ecert_pfx_password_len(password));
    }
    if (info == NULL) {
        return r->verified && is_ascii(r) ? other_password(r)
                                          : not_opened(r, "the private key");
    }
    rc = take_key(r, bag, info);
    PKCS8_PRIV_KEY_INFO_free(info);
    return rc;
}

/* Its index, -1 when it is new. */
static int find(const ecert_pfx_reader_t *r, const unsigned char *der, int len)
{
    for (int i = 0; i < r->n; i++) {
        if (r->certificates[i].len == len
            && memcmp(r->certificates[i].der, der, (size_t)len) == 0) {
            return i;
        }
    }
    return -1;
}

static int take_certificate(ecert_pfx_reader_t *r, const PKCS12_SAFEBAG *bag)
{
    unsigned char *der = NULL;
    X509 *cert;
    int len;

    if (PKCS12_SAFEBAG_get_bag_nid(bag) != NID_x509Certificate) {
        return 0;
    }
    cert = PKCS12_SAFEBAG_get1_cert(bag);
    len = cert ? i2d_X509(cert, &der) : -1;
    X509_free(cert);
    if (len <= 0) {
        return damaged(r, "a certificate");
    }
    if (find(r, der, len) >= 0) {
        OPENSSL_free(der);
        return 0;
    }
    if (r->n == ECERT_PFX_CERTIFICATES) {
        OPENSSL_free(der);
        return ecert_err(r->err, ECERT_ERR_TOO_MANY, r->file,
                         "more than %d certificates", ECERT_PFX_CERTIFICATES);
    }
    r->certificates[r->n].der = der;
    r->certificates[r->n].len = len;
    read_name(bag, r->certificates[r->n].name);
    r->n++;
    return 0;
}

/* How deep they may be nested was looked at with their cost. */
static int take_bags(ecert_pfx_reader_t *r,
                     const STACK_OF(PKCS12_SAFEBAG) *bags)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < sk_PKCS12_SAFEBAG_num(bags); i++) {
        const PKCS12_SAFEBAG *bag = sk_PKCS12_SAFEBAG_value(bags, i);

        switch (PKCS12_SAFEBAG_get_nid(bag)) {
        case NID_keyBag:
            rc = take_key(r, bag, PKCS12_SAFEBAG_get0_p8inf(bag));
            break;
        case NID_pkcs8ShroudedKeyBag:
            rc = take_encrypted_key(r, bag);
            break;
        case NID_certBag:
            rc = take_certificate(r, bag);
            break;
        case NID_safeContentsBag:
            rc = take_bags(r, PKCS12_SAFEBAG_get0_safes(bag));
            break;
        }
    }
    return rc;
}

static STACK_OF(PKCS12_SAFEBAG) *decrypt(ecert_pfx_reader_t *r, PKCS7 *safe)
{
    STACK_OF(PKCS12_SAFEBAG) *bags = NULL;

    for (int i = 0; bags == NULL && i < r->tries; i++) {
        const char *password = r->passwords[i];

        if (i > 0 && ecert_pfx_cost_safe(&r->cost, safe) != 0) {
            return NULL;
        }
        ERR_clear_error();
        bags = PKCS12_unpack_p7encdata(safe, password,
                                       ecert_pfx_password_len(password));
    }
    if (bags == NULL) {
        not_opened(r, "an encrypted part of the file");
    }
    return bags;
}

int ecert_pfx_take_safe(ecert_pfx_reader_t *r, PKCS7 *safe)
{
    STACK_OF(PKCS12_SAFEBAG) *bags;
    int rc = 0;

    if (PKCS7_type_is_encrypted(safe)) {
        bags = decrypt(r, safe);
        rc = bags ? ecert_pfx_cost_bags(&r->cost, bags) : -1;
    } else {
        bags = PKCS12_unpack_p7data(safe); /* their cost is known */
        rc = bags ? 0 : damaged(r, "a part of the file");
    }
    if (rc == 0) {
        rc = take_bags(r, bags);
    }
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    return rc;
}
