/* Files that other tools read: line ends, labels, Base64 alone, CMS. */

#include "pem_reads.h"

#include <openssl/cms.h>

/* What mail, FTP and editors make of line ends. */
static void line_ends(void **state)
{
    static const char *const ends[] = {"\r\r\n", "\n\n", "\r\n\r\n", " \n",
                                       "\n\t ",  "\r\r", "\n\r",     " "};
    char *all = pki_join(leaf, sub, NULL), detail[96];

    (void)state;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        char *text = replace(all, "\n", ends[i]);
        char *keys[] = {replace(key, "\n", ends[i]),
                        replace(sec1, "\n", ends[i])};

        assert_int_equal(count_text(text), 2);
        for (int k = 0; k < 2; k++) {
            assert_int_equal(key_code(keys[k], detail), ECERT_OK);
            free(keys[k]);
        }
        free(text);
    }
    char *blank = replace(all, "\n-----END", "\n\n-----END");
    assert_int_equal(count_text(blank), 2);
    char *mac = replace(leaf, "\n", "\r");
    char *mixed = pki_join(mac, sub, NULL);
    assert_int_equal(count_text(mixed), 2);
    /* a blank is white space, any other character is damage */
    char *odd = replace(leaf, "\nMI", "\nM,I");
    fails_text(odd, ECERT_ERR_TRUNCATED, "is damaged");
    char *padded = replace(leaf, "\nMI", "\nM=I");
    fails_text(padded, ECERT_ERR_TRUNCATED, "is damaged");
    free(odd);
    free(padded);
    free(mixed);
    free(mac);
    free(blank);
    free(all);
}

/* What others take off, too; and where a text only speaks of a block. */
static void came_along(void **state)
{
    static const char *const around[] = {
        "All from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----:\n",
        "All from -----BEGIN CERTIFICATE----- on:\n",
        "-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n(Your certificate: your_domain.crt)\n"
        "-----END CERTIFICATE-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE...\n"
        "-----END RSA PRIVATE KEY-----\n",
    };
    static const char *const ends[] = {"\xc2\xa0\n", "\xe2\x80\x8b\n",
                                       "\xe2\x80\xa8", "\n\xc2\xa0"};
    char detail[96];

    (void)state;
    for (size_t i = 0; i < sizeof(around) / sizeof(around[0]); i++) {
        char *before = pki_join(around[i], leaf, NULL);
        char *behind = pki_join(leaf, around[i], NULL);
        char *of_key = pki_join(around[i], key, NULL);
        assert_int_equal(count_text(before), 1);
        assert_int_equal(count_text(behind), 1);
        assert_int_equal(key_code(of_key, detail), ECERT_OK);
        free(of_key);
        free(behind);
        free(before);
    }
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        char *text = replace(leaf, "\n", ends[i]);
        assert_int_equal(count_text(text), 1);
        free(text);
    }
    char *label = replace(leaf, "END CERTIFICATE", "END X509 CERTIFICATE");
    assert_int_equal(count_text(label), 1);
    free(label);
    char *bare = replace(leaf, "=", "");
    assert_int_equal(count_text(bare), 1);
    free(bare);
    assert_int_equal(key_code(around[2], detail), ECERT_ERR_NO_KEY);
}

/* Nothing is damaged: what was done to it is said, and how to undo it. */
static void changed(void **state)
{
    static const struct {
        const char *to, *what, *hint;
    } rows[] = {
        {"\n> ", "quoted", "sed "},
        {"\\n", "escapes", "printf "},
        {"\\r\\n", "escapes", "printf "},
        {"\\/\n", "escapes", "jq "},
        {"=\nM", "quoted-printable", "decode_qp"},
        {"<br>\n", "web page", "save the file itself"},
        {"\\n\"\n\"", "escapes", "printf "},
        {"\"\n\"", "quotes", "without"},
        {"\n# x\n", "comment", "take that out"},
        {"-\n", "hyphens", "five stand"},
        {"_\n", "for URLs", "RFC 4648"},
    };
    ecert_err_t err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *cert = replace(leaf, "\n", rows[i].to);
        char *secret = replace(key, "\n", rows[i].to);
        fails_text(cert, ECERT_ERR_FORMAT, rows[i].what);
        assert_null(
            ecert_pem_key((unsigned char *)secret, strlen(secret), "k", &err));
        assert_int_equal(err.code, ECERT_ERR_FORMAT);
        assert_non_null(strstr(err.detail, rows[i].what));
        assert_non_null(strstr(err.hint, rows[i].hint));
        free(secret);
        free(cert);
    }
}

/* The bytes in Base64 under a label; without one: Base64 alone, in one line. */
static char *labelled(const char *label, const unsigned char *der, int len)
{
    char *base64 = malloc((size_t)len * 2 + 8), *out;

    EVP_EncodeBlock((unsigned char *)base64, der, len);
    out = label[0] ? pki_join("-----BEGIN ", label, "-----\n", base64,
                              "\n-----END ", label, "-----\n", NULL)
                   : strdup(base64);
    free(base64);
    return out;
}

static int count_labelled(const char *label, const unsigned char *der, int len)
{
    char *text = labelled(label, der, len);
    int n = count_text(text);

    free(text);
    return n;
}

/* A CMS SignedData (version 3: the signer by its key's identifier) of content
 * that is no PKCS#7 data, as a CA of Windows answers. */
static int full_response(STACK_OF(X509) *certs, unsigned char **der)
{
    BIO *content = BIO_new_mem_buf("0\0", 2);
    CMS_ContentInfo *cms = CMS_sign(NULL, NULL, certs, NULL, CMS_PARTIAL);

    assert_non_null(cms);
    assert_non_null(CMS_add1_signer(cms, pki->root, pki->root_key, EVP_sha256(),
                                    CMS_USE_KEYID | CMS_NOCERTS));
    assert_true(
        CMS_set1_eContentType(cms, OBJ_nid2obj(NID_id_cct_PKIResponse)));
    assert_true(CMS_final(cms, content, NULL, CMS_BINARY));
    int len = i2d_CMS_ContentInfo(cms, der);
    CMS_ContentInfo_free(cms);
    BIO_free(content);
    return len;
}

static void responses(void **state)
{
    static const char *const labels[] = {"CMS", "PKCS7", "CERTIFICATE", "",
                                         "SIGNED MESSAGE"};
    STACK_OF(X509) *certs = pki_stack(pki->leaf, pki->new_sub, NULL);
    unsigned char *der = NULL, *bare = NULL;
    int len = full_response(certs, &der), bare_len;
    ecert_err_t err;

    (void)state;
    assert_int_equal(count(der, (size_t)len, &err), 2);
    for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
        assert_int_equal(count_labelled(labels[i], der, len), 2);
    }
    bare_len = full_response(NULL, &bare);
    fails(bare, (size_t)bare_len, ECERT_ERR_FORMAT, "refused or still pending");
    char *pem = labelled("CERTIFICATE", bare, bare_len);
    fails_text(pem, ECERT_ERR_FORMAT, "a CA's answer (CMC) without one");
    free(pem);
    OPENSSL_free(bare);
    OPENSSL_free(der);
    pki_stack_free(certs);
}

/* The content counts, not the label. */
static void labels(void **state)
{
    EVP_PKEY *rsa = pki_key("RSA-2048");
    struct {
        EVP_PKEY *key;
        int pkcs8;
    } keys[] = {{rsa, 0}, {rsa, 1}, {pki->leaf_key, 0}, {pki->leaf_key, 1}};
    static const char *const names[] = {
        "PRIVATE KEY",     "RSA PRIVATE KEY",       "EC PRIVATE KEY",
        "ANY PRIVATE KEY", "ENCRYPTED PRIVATE KEY", ""};
    unsigned char *der = NULL;
    char detail[96];
    int len;

    (void)state;
    for (int i = 0; i < 4; i++) {
        der = NULL;
        if (keys[i].pkcs8) {
            PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(keys[i].key);
            len = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
            PKCS8_PRIV_KEY_INFO_free(info);
        } else {
            len = i2d_PrivateKey(keys[i].key, &der);
        }
        for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
            char *text = labelled(names[k], der, len);
            assert_int_equal(key_code(text, detail), ECERT_OK);
            free(text);
        }
        OPENSSL_free(der);
    }
    der = NULL;
    len = i2d_X509(pki->leaf, &der);
    assert_int_equal(count_labelled("", der, len), 1);
    assert_int_equal(count_labelled("PKCS7", der, len), 1);
    assert_int_equal(count_labelled("SOMETHING", der, len), 1);
    char *cut = labelled("", der, len - len % 3 - 30);
    fails_text(cut, ECERT_ERR_TRUNCATED, "is damaged");
    free(cut);
    char *bare = labelled("", der, len),
         *bom = pki_join("\xef\xbb\xbf\r\n", bare, NULL);
    assert_int_equal(count_text(bom), 1);
    assert_int_equal(key_code(bare, detail), ECERT_ERR_NO_KEY);
    assert_string_equal(detail, "it holds a certificate");
    free(bom);
    free(bare);
    OPENSSL_free(der);
    der = NULL;
    len = i2d_PrivateKey(rsa, &der);
    char *hidden = labelled("CERTIFICATE", der, len);
    fails_text(hidden, ECERT_ERR_FORMAT, "found a private key");
    free(hidden);
    OPENSSL_free(der);
    EVP_PKEY_free(rsa);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(came_along), cmocka_unit_test(changed),
        cmocka_unit_test(line_ends),  cmocka_unit_test(responses),
        cmocka_unit_test(labels),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
