/* What a file is, told by its bytes: the same words for all who ask. */

#include "scratch.h"

#include <openssl/err.h>

#include "ecert_pem.h"
#include "ecert_sniff.h"

/* 64 zeros, so that a text is long enough for a key. */
#define Z8  "00000000"
#define Z64 Z8 Z8 Z8 Z8 Z8 Z8 Z8 Z8

static ecert_err_t err;

static void test_kinds(void **state)
{
    static const struct {
        const char *bytes;
        size_t len; /* 0: a text */
        ecert_sniff_kind_t kind;
        const char *name;
    } cases[] = {
        {"hello", 0, ECERT_SNIFF_OTHER, NULL},
        {"0a1b2c", 0, ECERT_SNIFF_OTHER, NULL},
        {"0w is a text", 0, ECERT_SNIFF_OTHER, NULL},
        {" \r\n", 0, ECERT_SNIFF_EMPTY, NULL},
        {"\xef\xbb\xbf \n", 0, ECERT_SNIFF_EMPTY, NULL},
        {"\xff\xfe-\0", 4, ECERT_SNIFF_UTF16, "text in UTF-16"},
        {"\0-\0-", 4, ECERT_SNIFF_UTF16, "text in UTF-16"},
        {"a\n-----BEGIN X509 CRL-----", 0, ECERT_SNIFF_PEM,
         "a revocation list"},
        {"-----BEGIN PKCS12-----", 0, ECERT_SNIFF_PEM, "PFX"},
        {"\x30\x82\1", 3, ECERT_SNIFF_DER, "DER"},
        {"\x30\x77\2\1", 4, ECERT_SNIFF_DER, "DER"},
        {"PK\3\4", 0, ECERT_SNIFF_ZIP, "a ZIP archive"},
        /* stored as it is, a certificate can be seen in it */
        {"PK\3\4 -----BEGIN CERTIFICATE-----", 0, ECERT_SNIFF_ZIP, "ZIP"},
        {"Rar!\x1a\7\1", 7, ECERT_SNIFF_ARCHIVE, "RAR"},
        {"7z\xbc\xaf\x27\x1c", 0, ECERT_SNIFF_ARCHIVE, "7z"},
        {"\x1f\x8b\x08", 0, ECERT_SNIFF_ARCHIVE, "gzip"},
        {"BZh9", 0, ECERT_SNIFF_ARCHIVE, "bzip2"},
        {"MSCF\0\0\0\0", 8, ECERT_SNIFF_ARCHIVE, "CAB"},
        {"\xfe\xed\xfe\xed\0\0\0\2", 8, ECERT_SNIFF_FOREIGN, "JKS"},
        {"\xce\xce\xce\xce\0\0\0\2", 8, ECERT_SNIFF_FOREIGN, "JCEKS"},
        {"\x1e\xf1\xb5\xb0\0", 5, ECERT_SNIFF_FOREIGN, "PVK"},
        {"SQLite format 3", 0, ECERT_SNIFF_FOREIGN, "NSS"},
        {"PuTTY-User-Key-File-2: ssh-rsa", 0, ECERT_SNIFF_FOREIGN, "PuTTY"},
        {"ssh-rsa AAAA", 0, ECERT_SNIFF_FOREIGN, "OpenSSH"},
        {"ecdsa-sha2-nistp256 AAAA", 0, ECERT_SNIFF_FOREIGN, "OpenSSH"},
        {"%PDF-1.7", 0, ECERT_SNIFF_FOREIGN, "PDF"},
        {"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0, ECERT_SNIFF_FOREIGN, "msg"},
        {"\x78\x9f\x3e\x22", 0, ECERT_SNIFF_FOREIGN, "winmail.dat"},
        {"Return-Path: <a@b.hk>\r\n", 0, ECERT_SNIFF_FOREIGN, "a mail"},
        {"\r\n <!DOCTYPE html>", 0, ECERT_SNIFF_FOREIGN, "HTML"},
        {"<\0\1", 3, ECERT_SNIFF_OTHER, NULL},
        {"<?xml version=\"1.0\"?><a/>", 0, ECERT_SNIFF_FOREIGN, "XML"},
        {"{\\rtf1 -----BEGIN CERTIFICATE-----", 0, ECERT_SNIFF_FOREIGN, "RTF"},
        {"-----BEGIN PGP SIGNED MESSAGE-----\n-----BEGIN CERTIFICATE-----", 0,
         ECERT_SNIFF_FOREIGN, "signed with OpenPGP"},
        {"-----BEGIN%20CERTIFICATE-----", 0, ECERT_SNIFF_FOREIGN, "URL"},
        {"-----BEGIN+CERTIFICATE-----", 0, ECERT_SNIFF_FOREIGN, "URL"},
        {"\x07\x02\0\0\0\xa4", 6, ECERT_SNIFF_FOREIGN, "BLOB"},
        {"\x28\xb5\x2f\xfd", 0, ECERT_SNIFF_ARCHIVE, "zstd"},
        {"MZ\x90\0", 4, ECERT_SNIFF_FOREIGN, "program"},
        {"LZIP\1", 0, ECERT_SNIFF_ARCHIVE, "lzip"},
        /* a validation code may begin with any letters */
        {"MZ3kQ9", 0, ECERT_SNIFF_OTHER, NULL},
        {"LZIP3kQ9", 0, ECERT_SNIFF_OTHER, NULL},
        {"\0\0\0\0CERT", 8, ECERT_SNIFF_FOREIGN, "SST"},
        {"\xff\xfe\0\0-\0\0\0", 8, ECERT_SNIFF_FOREIGN, "UTF-32"},
        {"\0\0\xfe\xff\0\0\0-", 8, ECERT_SNIFF_FOREIGN, "UTF-32"},
        {"Ib\n\0-\0B\0E\0G\0I\0N\0", 16, ECERT_SNIFF_UTF16, "UTF-16"},
        {"3082" Z64 Z64 Z64, 0, ECERT_SNIFF_FOREIGN, "hexadecimal"},
        {"30:82:" Z64 Z64 Z64, 0, ECERT_SNIFF_FOREIGN, "hexadecimal"},
        {"TUlJ" Z64 Z64 Z64, 0, ECERT_SNIFF_FOREIGN, "Base64 in Base64"},
        {"tls.crt: LS0tLS1CRUdJTi" Z64 Z64 Z64, 0, ECERT_SNIFF_FOREIGN,
         "PEM in Base64"},
        {"\xe2\x80\x93\xe2\x80\x93 BEGIN CERTIFICATE\n" Z64 Z64 Z64, 0,
         ECERT_SNIFF_FOREIGN, "BEGIN or END line"},
        {"-----begin private key-----\n" Z64 Z64 Z64, 0, ECERT_SNIFF_FOREIGN,
         "BEGIN or END line"},
        {"{\"kty\":\"RSA\",\"n\":\"" Z64 Z64 Z64, 0, ECERT_SNIFF_FOREIGN,
         "JWK"},
        /* what is as short as a validation code may be one */
        {"3082" Z64, 0, ECERT_SNIFF_OTHER, NULL},
        {"TUlJ" Z64, 0, ECERT_SNIFF_OTHER, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = cases[i].len ? cases[i].len : strlen(cases[i].bytes);
        unsigned char *exact = malloc(len);

        memcpy(exact, cases[i].bytes, len);
        ecert_sniff_t found = ecert_sniff(exact, len);
        free(exact);
        assert_int_equal(found.kind, cases[i].kind);
        assert_int_equal(found.name != NULL, cases[i].name != NULL);
        if (found.name != NULL && strstr(found.name, cases[i].name) == NULL) {
            fail_msg("%zu: \"%s\"", i, found.name);
        }
    }
}

/* Whoever wants a certificate or a key is told what it is, and what to do. */
static void test_hints(void **state)
{
    static const char *const cases[][3] = {
        {"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"
         "-----END OPENSSH PRIVATE KEY-----\n",
         "OpenSSH", "ssh-keygen -p -m PKCS8"},
        {"\xfe\xed\xfe\xed", "found a Java keystore (JKS)",
         "keytool -importkeystore"},
        {"PuTTY-User-Key-File-2", "found a private key in PuTTY's form",
         "ssh-keygen -p -m PKCS8"},
        {"Rar!\x1a\7", "found an archive (RAR)", "unpack it"},
        {"PK\3\4", "found a ZIP archive", "unpack it"},
        {"Subject: your certificate\n\n", "found a mail", "attachment"},
    };
    STACK_OF(X509) *list = sk_X509_new_null();

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const unsigned char *bytes = (const unsigned char *)cases[i][0];
        size_t len = strlen(cases[i][0]);

        assert_int_equal(ecert_pem_certificates(bytes, len, "f", list, &err),
                         -1);
        assert_int_equal(err.code, ECERT_ERR_FORMAT);
        assert_non_null(strstr(err.detail, "expected a certificate"));
        assert_non_null(strstr(err.detail, cases[i][1]));
        assert_non_null(strstr(err.hint, cases[i][2]));
        assert_null(ecert_pem_key(bytes, len, "f", &err));
        assert_non_null(strstr(err.detail, "expected a private key"));
        assert_non_null(strstr(err.detail, cases[i][1]));
        assert_non_null(strstr(err.hint, cases[i][2]));
    }
    sk_X509_free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_hints),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
