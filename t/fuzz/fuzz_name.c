/* Host names (ecert_name): one spelling for all, whatever way it is written;
 * and what a certificate covers, against OpenSSL's own answer. */

#include "fuzz.h"

#include <ctype.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "ecert_name.h"

static void check_ascii(const char *name)
{
    const char *p = name[0] == '*' ? name + 2 : name;

    FUZZ_CHECK(name[0] != '*' || name[1] == '.');
    FUZZ_CHECK(strlen(name) > 0 && strlen(name) <= 253);
    FUZZ_CHECK(strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789-.")
               == strlen(p));
    FUZZ_CHECK(p[0] != '.' && p[strlen(p) - 1] != '.');
    FUZZ_CHECK(strstr(p, "..") == NULL);
}

/* All spellings of a good name lead back to it. */
static void spell(const char *ascii)
{
    char out[ECERT_NAME_MAX], other[1024];
    ecert_err_t err;

    FUZZ_CHECK(ecert_name_ascii(ascii, out, &err) == 0);
    FUZZ_CHECK(strcmp(out, ascii) == 0);
    ecert_name_unicode(ascii, other, sizeof(other));
    FUZZ_CHECK(ecert_name_ascii(other, out, &err) == 0);
    FUZZ_CHECK(strcmp(out, ascii) == 0);
    FUZZ_CHECK(ecert_name_slug(ascii, other, &err) == 0);
    FUZZ_CHECK(strchr(other, '*') == NULL && strchr(other, '/') == NULL);
    FUZZ_CHECK(ecert_name_unslug(other, out, &err) == 0);
    FUZZ_CHECK(strcmp(out, ascii) == 0);
    for (size_t i = 0; i <= strlen(ascii); i++) {
        other[i] = (char)toupper((unsigned char)ascii[i]);
    }
    FUZZ_CHECK(ecert_name_ascii(other, out, &err) == 0);
    FUZZ_CHECK(strcmp(out, ascii) == 0);
    strcat(other, ".");
    FUZZ_CHECK(ecert_name_ascii(other, out, &err) == 0);
    FUZZ_CHECK(strcmp(out, ascii) == 0);
}

/* Not signed, for nobody looks. */
static X509 *with_san(const char *san, size_t len)
{
    X509 *cert = X509_new();
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();

    FUZZ_CHECK(ASN1_STRING_set(text, san, (int)len) == 1);
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
    FUZZ_CHECK(sk_GENERAL_NAME_push(names, name) > 0);
    FUZZ_CHECK(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0,
                                 X509V3_ADD_DEFAULT)
               == 1);
    GENERAL_NAMES_free(names);
    return cert;
}

static int covers(const char *san, size_t len, const char *ascii)
{
    X509 *cert = with_san(san, len);
    int covered = ecert_name_covered(cert, ascii);
    int theirs = X509_check_host(cert, ascii, 0,
                                 X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
                                     | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
                                 NULL);

    /* OpenSSL knows no dot in the end and no *.hk; a star is in no host. */
    if (covered && san[len - 1] != '.' && ascii[0] != '*'
        && (san[0] != '*' || memchr(san + 2, '.', len - 2) != NULL)) {
        FUZZ_CHECK(theirs == 1);
    }
    ERR_clear_error();
    X509_free(cert);
    return covered;
}

static void match(const char *san, size_t len, const char *ascii)
{
    int covered = covers(san, len, ascii);
    char *other = malloc(len + 1);

    FUZZ_CHECK(other != NULL);
    for (size_t i = 0; i < len; i++) {
        other[i] = isupper((unsigned char)san[i])
                       ? (char)tolower((unsigned char)san[i])
                       : (char)toupper((unsigned char)san[i]);
    }
    FUZZ_CHECK(covers(other, len, ascii) == covered);
    free(other);
    FUZZ_CHECK(covers(ascii, strlen(ascii), ascii) == 1);
}

static void run(const uint8_t *bytes, size_t len)
{
    fuzz_in_t in = {bytes, len};
    char *name = fuzz_line(&in), ascii[ECERT_NAME_MAX], small[8];
    ecert_err_t err;

    if (ecert_name_ascii(name, ascii, &err) != 0) {
        fuzz_check_err(&err);
        if (ecert_name_unslug(name, ascii, &err) != 0) {
            fuzz_check_err(&err);
            ecert_name_unicode(name, small, sizeof(small));
            ecert_name_unicode(name, ascii, sizeof(ascii));
            free(name);
            return;
        }
    }
    check_ascii(ascii);
    spell(ascii);
    match((const char *)in.p, in.len, ascii);
    free(name);
}

static void seeds(void)
{
    fuzz_seed_text("www.example.hk\nWWW.example.hk");
    fuzz_seed_text("*.Example.HK.\n*.example.hk");
    fuzz_seed_text("a.example.hk\n*.example.hk.");
    fuzz_seed_text("www.\xe6\x88\x91\xe7\x9a\x84\xe6\x9c\x8d\xe5\x8a\xa1\xe5"
                   "\x99\xa8.com\nwww.xn--zfru1g2vn33etpw.com");
    fuzz_seed_text("www\xe3\x80\x82xn--fiqs8s\n*.xn--fiqs8s");
    fuzz_seed_text("_.fa\xc3\x9f.de\n*.xn--fa-hia.de");
    fuzz_seed_text("1.2.3.4\n1.2.3.4");
    fuzz_seed_text("example.hk\na*.hk");
    fuzz_seed("a.hk\na.hk\0b.hk", 14);
}

static const char *const words[] = {"*.",
                                    "_.",
                                    "xn--",
                                    ".hk",
                                    "\xe3\x80\x82",
                                    "\xef\xbc\x8e",
                                    "\xef\xbd\xa1",
                                    "\xc3\x9f",
                                    "\xe2\x80\x8d",
                                    "\xe2\x89\xae",
                                    "\xcc\x80",
                                    "\xd7\x90",
                                    "\xf0\x9f\x98\x80",
                                    "\xef\xb8\x8f",
                                    "-",
                                    ".",
                                    "\n",
                                    NULL};

FUZZ_TARGET(name, .run = run, .seeds = seeds, .max = 600, .words = words);
