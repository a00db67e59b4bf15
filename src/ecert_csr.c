#include "ecert_csr.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "ecert_name.h"
#include "ecert_pem.h"

#define FIELDS 6

/* One part of the subject; most: signs, by RFC 5280, appendix A. */
typedef struct {
    const char *option;
    const char *value;
    size_t most;
    int nid;
} field_t;

/* In the order in which they stand in a request. */
static void fields_of(const ecert_subject_t *subject, field_t *out)
{
    const field_t fields[FIELDS] = {
        {"--country", subject->country, 2, NID_countryName},
        {"--state", subject->state, 128, NID_stateOrProvinceName},
        {"--locality", subject->locality, 128, NID_localityName},
        {"--org", subject->organization, 64, NID_organizationName},
        {"--unit", subject->unit, 64, NID_organizationalUnitName},
        {"the name", subject->common_name, 64, NID_commonName},
    };

    memcpy(out, fields, sizeof(fields));
}

static int is_set(const field_t *field)
{
    return field->value != NULL && field->value[0] != '\0';
}

/* Why a sign may not stand in a subject; NULL: it may. */
static const char *sign_fault(unsigned long sign)
{
    static const struct {
        unsigned long first, last;
        const char *what;
    } faults[] = {
        {0, 0x1f, "a control character"},
        {0x7f, 0x9f, "a control character"},
        {0x61c, 0x61c, "a bidirectional control"},
        {0x200b, 0x200b, "an invisible sign"},
        {0x200e, 0x200f, "a bidirectional control"},
        {0x2028, 0x2029, "a line separator"},
        {0x202a, 0x202e, "a bidirectional control"},
        {0x2060, 0x2065, "an invisible sign"},
        {0x2066, 0x2069, "a bidirectional control"},
        {0x206a, 0x206f, "an invisible sign"},
        {0xd800, 0xdfff, "not UTF-8"},
        {0xfeff, 0xfeff, "a byte order mark"},
        {0xfffd, 0xfffd, "the mark of a sign that was lost"},
        {0xfffe, 0xffff, "not a character"},
        {0xe0000, 0xe007f, "an invisible sign"},
        {0x110000, ULONG_MAX, "not UTF-8"},
    };

    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        if (sign >= faults[i].first && sign <= faults[i].last) {
            return faults[i].what;
        }
    }
    return NULL;
}

static int is_space(unsigned long sign)
{
    return sign == ' ' || sign == 0xa0 || sign == 0x1680
           || (sign >= 0x2000 && sign <= 0x200a) || sign == 0x202f
           || sign == 0x205f || sign == 0x3000;
}

/* Counts the signs of the value, and those of them that are not spaces. */
static int count_signs(const field_t *field, size_t *signs, size_t *visible,
                       ecert_err_t *err)
{
    const unsigned char *p = (const unsigned char *)field->value;
    size_t len = strlen(field->value);
    unsigned long sign = 0;

    *signs = *visible = 0;
    while (len > 0) {
        int step = UTF8_getc(p, len > 4 ? 4 : (int)len, &sign);
        const char *fault = step > 0 ? sign_fault(sign) : "not UTF-8";

        ++*signs;
        if (fault != NULL && step <= 0) {
            ecert_err(err, ECERT_ERR_SUBJECT, field->option, "sign %zu is %s",
                      *signs, fault);
            return ecert_err_hint(err,
                                  "write %s in UTF-8, at a terminal that uses "
                                  "UTF-8 (see locale charmap)",
                                  field->option);
        }
        if (fault != NULL) {
            return ecert_err(err, ECERT_ERR_SUBJECT, field->option,
                             "sign %zu is %s (U+%04lX)", *signs, fault, sign);
        }
        *visible += !is_space(sign);
        p += step;
        len -= (size_t)step;
    }
    return 0;
}

static int too_long(const field_t *field, size_t signs, ecert_err_t *err)
{
    if (field->nid != NID_commonName) {
        return ecert_err(err, ECERT_ERR_SUBJECT, field->option,
                         "it has %zu signs, %zu are allowed", signs,
                         field->most);
    }
    ecert_err(err, ECERT_ERR_SUBJECT, field->option,
              "%s has %zu signs; a common name has %zu at most, so that it "
              "cannot be requested from this CA",
              field->value, signs, field->most);
    return ecert_err_hint(err, "request the certificate under a shorter name");
}

static int is_country(const char *value)
{
    return strlen(value) == 2 && isalpha((unsigned char)value[0])
           && isalpha((unsigned char)value[1]);
}

static int check_field(const field_t *field, ecert_err_t *err)
{
    size_t signs, visible;

    if (!is_set(field)) {
        return 0;
    }
    if (count_signs(field, &signs, &visible, err) != 0) {
        return -1;
    }
    if (visible == 0) {
        return ecert_err(err, ECERT_ERR_SUBJECT, field->option,
                         "it is white space alone");
    }
    if (field->nid == NID_countryName && !is_country(field->value)) {
        return ecert_err(err, ECERT_ERR_SUBJECT, field->option,
                         "%s is not a country's code of two letters, as HK is",
                         field->value);
    }
    return signs > field->most ? too_long(field, signs, err) : 0;
}

int ecert_subject_check(const ecert_subject_t *subject, ecert_err_t *err)
{
    field_t fields[FIELDS];

    fields_of(subject, fields);
    for (size_t i = 0; i < FIELDS; i++) {
        if (check_field(&fields[i], err) != 0) {
            if (err->hint[0] == '\0') {
                ecert_err_hint(err, "correct %s", fields[i].option);
            }
            return -1;
        }
    }
    return 0;
}

/* MBSTRING_UTF8 would leave the kind of string to a global setting. */
static int add_field(X509_NAME *name, const field_t *field)
{
    const unsigned char *value = (const unsigned char *)field->value;
    unsigned char country[2];

    if (field->nid != NID_countryName) {
        return X509_NAME_add_entry_by_NID(name, field->nid, V_ASN1_UTF8STRING,
                                          value, -1, -1, 0);
    }
    country[0] = (unsigned char)toupper(value[0]);
    country[1] = (unsigned char)toupper(value[1]);
    return X509_NAME_add_entry_by_NID(name, field->nid, V_ASN1_PRINTABLESTRING,
                                      country, 2, -1, 0);
}

static int set_subject(X509_REQ *csr, const ecert_subject_t *subject)
{
    X509_NAME *name = X509_NAME_new();
    field_t fields[FIELDS];
    int ok = name != NULL;

    fields_of(subject, fields);
    for (size_t i = 0; ok && i < FIELDS; i++) {
        ok = !is_set(&fields[i]) || add_field(name, &fields[i]) == 1;
    }
    ok = ok && X509_REQ_set_subject_name(csr, name) == 1;
    X509_NAME_free(name);
    return ok ? 0 : -1;
}

static int has_name(const GENERAL_NAMES *list, const char *ascii)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(list); i++) {
        const ASN1_IA5STRING *value = sk_GENERAL_NAME_value(list, i)->d.dNSName;

        if ((size_t)ASN1_STRING_length(value) == strlen(ascii)
            && memcmp(ASN1_STRING_get0_data(value), ascii, strlen(ascii))
                   == 0) {
            return 1;
        }
    }
    return 0;
}

static int add_name(GENERAL_NAMES *list, const char *ascii)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *value = ASN1_IA5STRING_new();

    if (name == NULL || value == NULL
        || ASN1_STRING_set(value, ascii, (int)strlen(ascii)) != 1) {
        GENERAL_NAME_free(name);
        ASN1_IA5STRING_free(value);
        return -1;
    }
    GENERAL_NAME_set0_value(name, GEN_DNS, value);
    if (sk_GENERAL_NAME_push(list, name) <= 0) {
        GENERAL_NAME_free(name);
        return -1;
    }
    return 0;
}

static int fill_names(GENERAL_NAMES *list, const char *const *names, size_t n,
                      ecert_err_t *err)
{
    char ascii[ECERT_NAME_MAX];

    for (size_t i = 0; i < n; i++) {
        if (ecert_name_ascii(names[i], ascii, err) != 0) {
            return -1;
        }
        if (!has_name(list, ascii) && add_name(list, ascii) != 0) {
            return ecert_err_openssl(err, ECERT_ERR_MEMORY, NULL, NULL);
        }
    }
    return 0;
}

static int add_extensions(X509_REQ *csr, GENERAL_NAMES *list)
{
    STACK_OF(X509_EXTENSION) *extensions = NULL;
    int ok = X509V3_add1_i2d(&extensions, NID_subject_alt_name, list, 0,
                             X509V3_ADD_DEFAULT)
                 == 1
             && X509_REQ_add_extensions(csr, extensions) == 1;

    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    return ok ? 0 : -1;
}

static int set_names(X509_REQ *csr, const char *const *names, size_t n,
                     ecert_err_t *err)
{
    GENERAL_NAMES *list;
    int rc;

    if (n == 0) {
        return 0;
    }
    list = GENERAL_NAMES_new();
    if (list == NULL) {
        return ecert_err_openssl(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    rc = fill_names(list, names, n, err);
    if (rc == 0 && add_extensions(csr, list) != 0) {
        rc = ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL,
                               "cannot put the names into the request");
    }
    GENERAL_NAMES_free(list);
    return rc;
}

static int begin(X509_REQ *csr, EVP_PKEY *key, const ecert_subject_t *subject)
{
    return csr != NULL && X509_REQ_set_version(csr, X509_REQ_VERSION_1) == 1
                   && X509_REQ_set_pubkey(csr, key) == 1
                   && set_subject(csr, subject) == 0
               ? 0
               : -1;
}

static int sign(X509_REQ *csr, EVP_PKEY *key)
{
    int strong = EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_bits(key) == 384;

    return X509_REQ_sign(csr, key, strong ? EVP_sha384() : EVP_sha256()) > 0
               ? 0
               : -1;
}

X509_REQ *ecert_csr_make(EVP_PKEY *key, const ecert_subject_t *subject,
                         const char *const *names, size_t n_names,
                         ecert_err_t *err)
{
    X509_REQ *csr;
    int rc;

    if (ecert_subject_check(subject, err) != 0
        || ecert_pem_key_check(key, NULL, err) != 0) {
        return NULL;
    }
    csr = X509_REQ_new();
    if (begin(csr, key, subject) != 0) {
        rc = ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL,
                               "cannot make the request");
    } else {
        rc = set_names(csr, names, n_names, err);
    }
    if (rc == 0 && sign(csr, key) != 0) {
        rc = ecert_err_openssl(err, ECERT_ERR_OPENSSL, NULL,
                               "cannot sign the request");
    }
    ERR_clear_error();
    if (rc != 0) {
        X509_REQ_free(csr);
        return NULL;
    }
    return csr;
}
