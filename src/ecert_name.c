#include "ecert_name.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <idn2.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "ecert_addr.h"

#define NAME_BYTES  253 /* RFC 1035, 2.3.4, without the trailing dot */
#define LABEL_BYTES 63

/* Every sign that IDNA takes for the dot between labels (RFC 3490, 3.1). */
static size_t dot_length(const char *p)
{
    static const char *const dots[] = {".", "\xe3\x80\x82", "\xef\xbc\x8e",
                                       "\xef\xbd\xa1"};
    for (size_t i = 0; i < sizeof(dots) / sizeof(dots[0]); i++) {
        size_t len = strlen(dots[i]);
        if (strncmp(p, dots[i], len) == 0) {
            return len;
        }
    }
    return 0;
}

/* "*." in any spelling of the dot: its length, else 0. */
static size_t wildcard_length(const char *name)
{
    if (name[0] != '*') {
        return 0;
    }
    size_t dot = dot_length(name + 1);
    return dot ? 1 + dot : 0;
}

/* Letters, digits and inner hyphens (RFC 952, RFC 1123). */
static const char *label_fault(const char *label, size_t len)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    if (len == 0) {
        return "it has an empty label";
    }
    if (len > LABEL_BYTES) {
        return "a label has more than 63 bytes";
    }
    if (label[0] == '-' || label[len - 1] == '-') {
        return "a label begins or ends with a hyphen";
    }
    size_t good = strspn(label, allowed);
    if (good < len && label[good] == '_') {
        return "an underscore may not stand in the name of a certificate";
    }
    return good < len ? "it has a sign that host names may not have" : NULL;
}

static const char *labels_fault(const char *name)
{
    const char *label = name;
    for (;;) {
        size_t len = strcspn(label, ".");
        const char *fault = label_fault(label, len);
        if (fault != NULL) {
            return fault;
        }
        if (label[len] == '\0') {
            break;
        }
        label += len + 1;
    }
    /* Such a thing is read as an address by browsers: 1.2.3, 256.1.1.1. */
    if (strspn(label, "0123456789") == strlen(label)) {
        return "its last label is a number";
    }
    return NULL;
}

static void lower(char *s)
{
    for (; *s; s++) {
        if (*s >= 'A' && *s <= 'Z') {
            *s = (char)(*s + 'a' - 'A');
        }
    }
}

/* What may not even reach libidn2, and can be told in plainer words. */
static const char *plain_fault(const char *name, const char *rest)
{
    if (*name == '\0') {
        return "it is empty";
    }
    if (strstr(rest, "://")) {
        return "it looks like a URL";
    }
    if (strchr(rest, '/')) {
        return "it looks like a URL: it has a path";
    }
    if (ecert_addr_is(rest)) {
        return "it is an address, not a name";
    }
    if (strchr(rest, ':')) {
        return "it has a colon, as before a port";
    }
    if (strpbrk(rest, "@?#")) {
        return "it has an @, ? or #, as in a mail address or a URL";
    }
    if (strchr(rest, '*')) {
        return "a wildcard stands alone as the first label, as in *.example.hk";
    }
    if (strchr(rest, '_')) {
        return "an underscore may not stand in the name of a certificate";
    }
    if (strpbrk(rest, " \t\r\n")) {
        return "it has a space";
    }
    return *rest == '\0' ? "nothing stands behind the wildcard" : NULL;
}

static void not_looked_up(const char *name, int rc, ecert_err_t *err)
{
    switch (rc) {
    case IDN2_MALLOC:
        ecert_err(err, ECERT_ERR_MEMORY, name, NULL);
        break;
    case IDN2_ENCODING_ERROR:
        ecert_err(err, ECERT_ERR_NAME, name, "it is not UTF-8");
        ecert_err_hint(err, "write it in UTF-8, at a terminal that uses UTF-8, "
                            "or as its A-label (xn--...)");
        break;
    default:
        ecert_err(err, ECERT_ERR_NAME, name, "%s", idn2_strerror(rc));
    }
}

/*
 * libidn2 2.3 with IDN2_USE_STD3_ASCII_RULES leaves out some of what the rules
 * forbid (U+226E, U+226F, U+2260) and so gives another name; without it, they
 * pass.  A good name is the same both ways.
 */
static uint8_t *lookup(const char *name, const char *rest, ecert_err_t *err)
{
    int flags = IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL;
    uint8_t *ascii = NULL, *lax = NULL;
    int rc = idn2_lookup_u8((const uint8_t *)rest, &ascii,
                            flags | IDN2_USE_STD3_ASCII_RULES);

    if (rc == IDN2_OK) {
        rc = idn2_lookup_u8((const uint8_t *)rest, &lax, flags);
    }
    if (rc == IDN2_OK
        && strcasecmp((const char *)ascii, (const char *)lax) != 0) {
        rc = IDN2_DISALLOWED;
    }
    idn2_free(lax);
    if (rc == IDN2_OK) {
        return ascii;
    }
    idn2_free(ascii);
    not_looked_up(name, rc, err);
    return NULL;
}

static int to_ascii(const char *name, const char *rest, char *out, size_t size,
                    ecert_err_t *err)
{
    uint8_t *ascii = lookup(name, rest, err);
    if (ascii == NULL) {
        return -1;
    }
    size_t len = strlen((const char *)ascii);
    if (len > 0 && ascii[len - 1] == '.') {
        ascii[--len] = '\0';
    }
    if (len < size) {
        memcpy(out, ascii, len + 1);
    }
    idn2_free(ascii);
    if (len >= size) {
        ecert_err(err, ECERT_ERR_NAME, name, "it has more than 253 bytes");
        return -1;
    }
    lower(out);
    return 0;
}

/* The host in what looks like a URL (RFC 3986, 3): between "//" and "@" and
 * the path, without its port. */
static void host_of(const char *url, char *out, size_t size)
{
    const char *colon = strchr(url, ':'), *at;
    size_t len;

    if (strstr(url, "://")) {
        url = strstr(url, "://") + 3;
    } else if (strncasecmp(url, "http:", 5) == 0
               || strncasecmp(url, "https:", 6) == 0) {
        url = colon + 1;
    }
    url += strspn(url, "/");
    len = strcspn(url, "/?#");
    at = memchr(url, '@', len);
    url = at ? at + 1 : url;
    snprintf(out, size, "%.*s", (int)strcspn(url, "/?#:"), url);
}

/* A URL, a path or a port around a name: what is meant can be told, unless it
 * is a word in front of something else ("DNS:www.example.hk"). */
static int no_host(const char *name, const char *fault, ecert_err_t *err)
{
    char host[ECERT_NAME_MAX * 4], ascii[ECERT_NAME_MAX];
    ecert_err_t ignored;

    ecert_err(err, ECERT_ERR_NAME, name, "%s", fault);
    if (strpbrk(name, ":/@?#") == NULL) {
        return -1;
    }
    host_of(name, host, sizeof(host));
    return strpbrk(host, ":/") == NULL && strchr(host, '.') != NULL
                   && ecert_name_ascii(host, ascii, &ignored) == 0
               ? ecert_err_hint(
                   err, "NAME is a host name, not a URL; say %.250s", host)
               : -1;
}

int ecert_name_ascii(const char *name, char *out, ecert_err_t *err)
{
    char converted[ECERT_NAME_MAX];
    size_t skip = wildcard_length(name);
    const char *fault = plain_fault(name, name + skip);

    if (fault != NULL) {
        return no_host(name, fault, err);
    }
    if (to_ascii(name, name + skip, converted, sizeof(converted), err) != 0) {
        return -1;
    }
    fault = labels_fault(converted);
    if (fault == NULL && ecert_addr_is(converted)) {
        fault = "it is an address, not a name";
    }
    if (fault == NULL && strlen(converted) + (skip ? 2 : 0) > NAME_BYTES) {
        fault = "it has more than 253 bytes";
    }
    if (fault != NULL) {
        return ecert_err(err, ECERT_ERR_NAME, name, "%s", fault);
    }
    snprintf(out, ECERT_NAME_MAX, "%s%.253s", skip ? "*." : "", converted);
    return 0;
}

void ecert_name_unicode(const char *ascii, char *out, size_t size)
{
    char again[ECERT_NAME_MAX];
    ecert_err_t ignored;
    size_t skip = wildcard_length(ascii);
    char *unicode = NULL;
    int rc = idn2_to_unicode_8z8z(ascii + skip, &unicode, IDN2_NONTRANSITIONAL);
    /* Only what leads back to the same name is shown in its place. */
    if (rc == IDN2_OK && strlen(unicode) + skip < size
        && ecert_name_ascii(unicode, again, &ignored) == 0
        && strcmp(again, ascii + skip) == 0) {
        snprintf(out, size, "%.*s%s", (int)skip, ascii, unicode);
    } else {
        snprintf(out, size, "%s", ascii);
    }
    idn2_free(unicode);
}

int ecert_name_slug(const char *ascii, char *out, ecert_err_t *err)
{
    if (ecert_name_ascii(ascii, out, err) != 0) {
        return -1;
    }
    if (out[0] == '*') {
        out[0] = '_';
    }
    return 0;
}

int ecert_name_unslug(const char *folder, char *out, ecert_err_t *err)
{
    char name[1024];
    if (folder[0] != '_' || dot_length(folder + 1) == 0) {
        return ecert_name_ascii(folder, out, err);
    }
    if (strlen(folder) >= sizeof(name)) {
        return ecert_err(err, ECERT_ERR_NAME, folder,
                         "it has more than 253 bytes");
    }
    snprintf(name, sizeof(name), "*%s", folder + 1);
    return ecert_name_ascii(name, out, err);
}

/* One SAN against one name, both as A-labels. */
static int san_covers(const char *san, size_t len, const char *ascii)
{
    if (len > 0 && san[len - 1] == '.') {
        len--;
    }
    /* A zero byte inside would end the name for whoever reads C strings. */
    if (len == 0 || memchr(san, '\0', len) != NULL) {
        return 0;
    }
    if (strlen(ascii) == len && strncasecmp(san, ascii, len) == 0) {
        return 1;
    }
    if (len < 3 || san[0] != '*' || san[1] != '.') {
        return 0;
    }
    const char *rest = strchr(ascii, '.');
    return rest != NULL && rest != ascii && strlen(rest) == len - 1
           && strncasecmp(san + 1, rest, len - 1) == 0;
}

int ecert_name_covered(X509 *leaf, const char *ascii)
{
    GENERAL_NAMES *names =
        X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    int covered = 0;
    for (int i = 0; !covered && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS) {
            covered =
                san_covers((const char *)ASN1_STRING_get0_data(name->d.dNSName),
                           (size_t)ASN1_STRING_length(name->d.dNSName), ascii);
        }
    }
    GENERAL_NAMES_free(names);
    ERR_clear_error(); /* of a SAN that cannot be read: it covers nothing */
    return covered;
}

/* The common name is that name, in any spelling. */
static int cn_is(const X509_NAME *subject, const char *ascii)
{
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    unsigned char *text = NULL;
    char cn[ECERT_NAME_MAX];
    ecert_err_t ignored;
    int len = -1, is;

    if (at >= 0) {
        len = ASN1_STRING_to_UTF8(
            &text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    }
    is = len > 0 && strlen((char *)text) == (size_t)len
         && ecert_name_ascii((char *)text, cn, &ignored) == 0
         && strcmp(cn, ascii) == 0;
    OPENSSL_free(text);
    ERR_clear_error();
    return is;
}

const char *ecert_name_uncovered(X509 *leaf, const char *ascii)
{
    int critical;
    GENERAL_NAMES *names =
        X509_get_ext_d2i(leaf, NID_subject_alt_name, &critical, NULL);

    GENERAL_NAMES_free(names);
    if (names == NULL && critical != -1) {
        return " (its subject alternative names, SAN, are there twice or "
               "cannot be read)";
    }
    if (cn_is(X509_get_subject_name(leaf), ascii)) {
        return " (it is the common name alone, at which no client looks; it "
               "has to be among the subject alternative names, SAN)";
    }
    return names == NULL ? " (it has no subject alternative names, SAN)" : "";
}
