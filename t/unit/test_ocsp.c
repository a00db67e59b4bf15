/* OCSP: what is asked, where, and answers that are to be taken. */

#include "scratch.h"

#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "ecert_ocsp.h"
#include "ocsp_make.h"
#include "pki.h"

#define NOW ((int64_t)1795392000)

static pki_t *pki;
static EVP_PKEY *key, *rsa_key;
static X509 *delegate, *rsa_delegate;
static ecert_ocsp_t got;
static ecert_err_t err;

static int group_setup(void **state)
{
    (void)state;
    pki = pki_new(NOW);
    key = pki_key("P-256");
    rsa_key = pki_key("RSA-2048");
    delegate = ocsp_delegate(pki, key, NOW + 60 * PKI_DAY);
    rsa_delegate = ocsp_delegate(pki, rsa_key, NOW + 60 * PKI_DAY);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    X509_free(delegate);
    X509_free(rsa_delegate);
    EVP_PKEY_free(key);
    EVP_PKEY_free(rsa_key);
    pki_free(pki);
    return 0;
}

static ocsp_make_t delegated(void)
{
    ocsp_make_t make = ocsp_usual(pki);

    make.by = make.certs[0] = delegate;
    make.key = key;
    return make;
}

static void assert_taken_at(ocsp_make_t make, int64_t now, int64_t held)
{
    ocsp_bytes_t bytes = ocsp_make(&make);
    int rc = ocsp_check(bytes, pki->leaf, pki->new_sub, now, held, &got, &err);

    OPENSSL_free(bytes.bytes);
    assert_string_equal(rc == 0 ? "" : err.detail, "");
    assert_int_equal(got.status, make.status);
    assert_int_equal(got.this_update, make.from);
    assert_int_equal(got.next_update, make.to);
    if (make.status != V_OCSP_CERTSTATUS_REVOKED) {
        assert_int_equal(got.revoked_at, 0);
        assert_null(got.reason);
    }
}

static void assert_taken(ocsp_make_t make)
{
    assert_taken_at(make, NOW, 0);
}

static void test_url(void **state)
{
    static const struct {
        const char *aia, *url;
    } rows[] = {
        {"OCSP;URI:http://ocsp1.eCert.gov.hk", "http://ocsp1.eCert.gov.hk"},
        {"caIssuers;URI:http://a/,OCSP;URI:http://b/", "http://b/"},
        {"OCSP;URI:http://z/,OCSP;URI:http://a/", "http://z/"},
        {"OCSP;URI:https://a/,OCSP;URI:HTTP://b:8080/c?d", "HTTP://b:8080/c?d"},
        {"OCSP;URI:ldap://a/,OCSP;DNS:b,OCSP;URI:http://c", "http://c"},
        {"OCSP;URI:http://,OCSP;URI:http:/a", NULL},
        {"OCSP;URI:http://a b,OCSP;URI:http://a\x01", NULL},
        {"OCSP;URI:ldap://a/", NULL},
        {"OCSP;DNS:http://a/", NULL},
        {"caIssuers;URI:http://a/", NULL},
        {NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        X509 *leaf = X509_dup(pki->leaf);
        char *url;

        ocsp_extend(leaf, pki->sub_key, NID_info_access, rows[i].aia);
        url = ecert_ocsp_url(leaf);
        if (rows[i].url == NULL) {
            assert_null(url);
        } else {
            assert_non_null(url);
            assert_string_equal(url, rows[i].url);
        }
        assert_int_equal(ERR_peek_error(), 0);
        OPENSSL_free(url);
        X509_free(leaf);
    }
}

/* RFC 5019, 5: 255 bytes in all; what Base64 has that a URL has not. */
static void test_get(void **state)
{
    static const unsigned char der[] = {0xfb, 0xff, 0xfe, 0x01};
    unsigned char longer[180] = {0};
    char url[ECERT_OCSP_GET];

    (void)state;
    assert_int_equal(ecert_ocsp_get("http://a", der, sizeof(der), url), 1);
    assert_string_equal(url, "http://a/%2B%2F%2F%2BAQ%3D%3D");
    assert_int_equal(ecert_ocsp_get("http://a/b/", der, 3, url), 1);
    assert_string_equal(url, "http://a/b/%2B%2F%2F%2B");
    assert_int_equal(ecert_ocsp_get("http://a/b?c", der, 3, url), 0);
    assert_int_equal(ecert_ocsp_get("http://a/123456789", longer, 177, url), 1);
    assert_int_equal(strlen(url), 255);
    assert_int_equal(ecert_ocsp_get("http://a/12345678/", longer, 177, url), 1);
    assert_int_equal(ecert_ocsp_get("http://a/1234567890", longer, 177, url),
                     0);
    assert_int_equal(ecert_ocsp_get("http://a/1234567890/", longer, 177, url),
                     0);
    for (size_t n = 0; n < sizeof(longer); n++) { /* in whatever length */
        if (ecert_ocsp_get("http://a/", longer, n, url)) {
            assert_true(strlen(url) < ECERT_OCSP_GET);
        }
    }
}

/* A list that cannot be read, and a URL with a NUL in it. */
static void test_url_hostile(void **state)
{
    static const unsigned char junk[] = {0x30, 0x05, 0x01};
    static const char nul[] = "http://a\0.example.hk/";
    X509 *leaf = X509_dup(pki->leaf);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *ext;
    AUTHORITY_INFO_ACCESS *aia;
    ACCESS_DESCRIPTION *access;

    (void)state;
    assert_true(ASN1_OCTET_STRING_set(value, junk, sizeof(junk)));
    ext = X509_EXTENSION_create_by_NID(NULL, NID_info_access, 0, value);
    assert_true(X509_add_ext(leaf, ext, -1));
    assert_null(ecert_ocsp_url(leaf));
    assert_int_equal(ERR_peek_error(), 0);
    X509_EXTENSION_free(ext);
    ASN1_OCTET_STRING_free(value);

    ocsp_extend(leaf, pki->sub_key, NID_info_access, "OCSP;URI:http://a/");
    aia = X509_get_ext_d2i(leaf, NID_info_access, NULL, NULL);
    access = sk_ACCESS_DESCRIPTION_value(aia, 0);
    assert_true(ASN1_STRING_set(access->location->d.uniformResourceIdentifier,
                                nul, sizeof(nul) - 1));
    assert_int_equal(
        X509_add1_ext_i2d(leaf, NID_info_access, aia, 0, X509V3_ADD_REPLACE),
        1);
    assert_null(ecert_ocsp_url(leaf));
    assert_int_equal(ERR_peek_error(), 0);
    AUTHORITY_INFO_ACCESS_free(aia);
    X509_free(leaf);
}

static void test_request(void **state)
{
    unsigned char *der = NULL;
    const unsigned char *p;
    size_t len = 0;
    OCSP_REQUEST *request;
    OCSP_CERTID *id;

    (void)state;
    assert_int_equal(
        ecert_ocsp_request(pki->leaf, pki->new_sub, &der, &len, &err), 0);
    assert_true(len > 50 && len < 200);
    p = der;
    request = d2i_OCSP_REQUEST(NULL, &p, (long)len);
    assert_non_null(request);
    assert_ptr_equal(p, der + len);
    assert_int_equal(OCSP_request_onereq_count(request), 1);
    assert_int_equal(OCSP_REQUEST_get_ext_count(request), 0); /* no nonce */
    id = OCSP_cert_to_id(EVP_sha1(), pki->leaf, pki->new_sub);
    assert_int_equal(
        OCSP_id_cmp(OCSP_onereq_get0_id(OCSP_request_onereq_get0(request, 0)),
                    id),
        0);
    OCSP_CERTID_free(id);
    OCSP_REQUEST_free(request);
    OPENSSL_free(der);

    ecert_err_clear(&err);
    assert_int_equal(ecert_ocsp_request(pki->leaf, pki->root, &der, &len, &err),
                     -1);
    assert_int_equal(err.code, ECERT_ERR_OCSP);
    assert_non_null(strstr(err.detail, "Look-alike Root 3 is not the issuer"));
    assert_int_equal(ERR_peek_error(), 0);
}

static void test_good(void **state)
{
    ocsp_make_t make = ocsp_usual(pki);

    (void)state;
    assert_taken(make);
    make.by_key = 1;
    assert_taken(make);
    make.id_md = EVP_sha256();
    assert_taken(make);
    make.md = EVP_sha384();
    assert_taken(make);
    make.md = EVP_sha512();
    assert_taken(make);
    make.certs[0] = pki->new_sub; /* needless, but done */
    make.certs[1] = pki->root;
    assert_taken(make);
    assert_taken_at(make, NOW, make.from); /* the same as in hand */
    assert_taken_at(make, NOW, make.from - 1);
}

/* Old and new Sub CA are one issuer: same name, same key. */
static void test_good_by_twin(void **state)
{
    ocsp_make_t make = ocsp_usual(pki);

    (void)state;
    make.by = make.issuer = make.certs[0] = pki->old_sub;
    assert_taken(make);
}

static void test_good_by_delegate(void **state)
{
    ocsp_make_t make = delegated();
    X509 *other =
        ocsp_delegate(pki, key, NOW - PKI_DAY); /* the one before, same key */

    (void)state;
    assert_taken(make);
    make.by_key = 1;
    assert_taken(make);
    make.certs[0] = pki->root;
    make.certs[1] = other;
    make.certs[2] = delegate;
    assert_taken(make);
    make.by_key = 0;
    assert_taken(make);
    X509_free(other);
}

/* A critical extension that OpenSSL knows, several uses, no key usage. */
static void test_good_by_odd_delegate(void **state)
{
    ocsp_make_t make = delegated();
    X509 *odd = ocsp_delegate(pki, key, NOW + 60 * PKI_DAY);

    (void)state;
    make.by = make.certs[0] = odd;
    ocsp_extend(odd, pki->sub_key, NID_ext_key_usage,
                "critical,clientAuth,OCSPSigning");
    ocsp_extend(odd, pki->sub_key, NID_key_usage, NULL);
    ocsp_extend(odd, pki->sub_key, NID_id_pkix_OCSP_noCheck, "ignored");
    assert_taken(make);
    ocsp_extend(odd, pki->sub_key, NID_basic_constraints, NULL);
    ocsp_extend(odd, pki->sub_key, NID_authority_key_identifier, NULL);
    assert_taken(make);
    X509_free(odd);
}

static void test_good_by_rsa(void **state)
{
    ocsp_make_t make = delegated();

    (void)state;
    make.by = make.certs[0] = rsa_delegate;
    make.key = rsa_key;
    assert_taken(make);
    make.pss = EVP_sha256();
    assert_taken(make);
}

/* It cannot be good for longer than the certificate of who signed it. */
static void test_ends_with_delegate(void **state)
{
    ocsp_make_t make = delegated();
    X509 *brief = ocsp_delegate(pki, key, NOW + 2 * PKI_DAY);
    ocsp_bytes_t bytes;

    (void)state;
    make.by = make.certs[0] = brief;
    bytes = ocsp_make(&make);
    assert_int_equal(
        ocsp_check(bytes, pki->leaf, pki->new_sub, NOW, 0, &got, &err), 0);
    assert_int_equal(got.next_update, NOW + 2 * PKI_DAY);
    OPENSSL_free(bytes.bytes);
    X509_free(brief);
}

/* What its answers may have, that it may have, too. */
static void test_begins_with_delegate(void **state)
{
    ocsp_make_t make = delegated();
    X509 *fresh = ocsp_delegate(pki, key, NOW + PKI_DAY);
    ocsp_bytes_t bytes;

    (void)state;
    ocsp_set_begin(fresh, pki->sub_key, NOW + ECERT_OCSP_SKEW);
    make.by = make.certs[0] = fresh;
    bytes = ocsp_make(&make);
    assert_int_equal(
        ocsp_check(bytes, pki->leaf, pki->new_sub, NOW, 0, &got, &err), 0);
    assert_int_equal(got.status, ECERT_OCSP_GOOD);
    OPENSSL_free(bytes.bytes);
    X509_free(fresh);
}

static void test_times(void **state)
{
    ocsp_make_t make = ocsp_usual(pki);

    (void)state;
    assert_taken_at(make, make.from - ECERT_OCSP_SKEW, 0);
    assert_taken_at(make, make.to, 0);
    make.to = make.from + 1;
    assert_taken_at(make, make.from, 0);
    make.to = make.from + 366 * PKI_DAY;
    assert_taken(make);
    make.produced = NOW + ECERT_OCSP_SKEW;
    assert_taken(make);
}

static void test_revoked(void **state)
{
    static const char *const words[] = {
        "unspecified",     "keyCompromise",
        "cACompromise",    "affiliationChanged",
        "superseded",      "cessationOfOperation",
        "certificateHold", NULL,
        "removeFromCRL",   "privilegeWithdrawn",
        "aACompromise",    NULL,
    };
    ocsp_make_t make = delegated();

    (void)state;
    make.status = V_OCSP_CERTSTATUS_REVOKED;
    make.revoked_at = NOW - 2 * PKI_DAY;
    for (int i = -1; i < 12; i++) {
        make.reason = i; /* -1: none is given */
        assert_taken(make);
        assert_int_equal(got.status, ECERT_OCSP_REVOKED);
        assert_int_equal(got.revoked_at, NOW - 2 * PKI_DAY);
        if (i < 0 || words[i] == NULL) {
            assert_null(got.reason);
        } else {
            assert_string_equal(got.reason, words[i]);
        }
    }
}

static void test_unknown(void **state)
{
    ocsp_make_t make = ocsp_usual(pki);

    (void)state;
    make.status = V_OCSP_CERTSTATUS_UNKNOWN;
    assert_taken(make);
    assert_int_equal(got.status, ECERT_OCSP_UNKNOWN);
}

/* Answers about others, and extensions that may be passed over. */
static void add_others(OCSP_BASICRESP *basic)
{
    X509_EXTENSION *ext = ocsp_extension(0);

    ocsp_add(basic, EVP_sha1(), pki->new_sub, pki->root,
             V_OCSP_CERTSTATUS_REVOKED, NOW, 0);
    ocsp_add(basic, EVP_md5(), pki->leaf, pki->new_sub,
             V_OCSP_CERTSTATUS_REVOKED, NOW, 0); /* nobody asks like this */
    assert_true(OCSP_BASICRESP_add_ext(basic, ext, -1));
    assert_true(OCSP_SINGLERESP_add_ext(OCSP_resp_get0(basic, 0), ext, -1));
    X509_EXTENSION_free(ext);
}

static void test_others(void **state)
{
    ocsp_make_t make = delegated();

    (void)state;
    make.alter = add_others;
    assert_taken(make);
}

static void put_pem(const char *name, char *pem)
{
    put(name, pem);
    free(pem);
}

/* What `openssl ocsp`, a responder, answers to our request. */
static int openssl_answers(const char *options, ocsp_bytes_t *answer)
{
    static unsigned char bytes[ECERT_OCSP_MAX];
    char command[2048];
    int fd;

    snprintf(command, sizeof(command),
             "cd %s && openssl ocsp -index index -CA issuer -reqin request "
             "-ndays 3 -respout answer %s > log 2>&1",
             scratch, options);
    if (system(command) != 0) {
        return 0;
    }
    fd = open(at("answer"), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    answer->bytes = bytes;
    answer->len = (size_t)read(fd, bytes, sizeof(bytes));
    close(fd);
    return 1;
}

/* The responder's list: status, end, revocation, serial, file, subject. */
static void put_index(const char *status, const char *revocation)
{
    BIGNUM *serial =
        ASN1_INTEGER_to_BN(X509_get0_serialNumber(pki->leaf), NULL);
    char *hex = BN_bn2hex(serial), line[512];

    snprintf(line, sizeof(line),
             "%s\t490101000000Z\t%s\t%s\tunknown\t/CN=www.example.hk\n", status,
             revocation, hex);
    put("index", line);
    OPENSSL_free(hex);
    BN_free(serial);
}

static void assert_openssl(const char *options, ecert_ocsp_status_t status)
{
    ocsp_bytes_t answer;
    int64_t now = (int64_t)time(NULL);
    int rc;

    assert_true(openssl_answers(options, &answer));
    now = (int64_t)time(NULL);
    rc = ocsp_check(answer, pki->leaf, pki->new_sub, now, 0, &got, &err);
    assert_string_equal(rc == 0 ? "" : err.detail, "");
    assert_int_equal(got.status, status);
    assert_true(got.this_update <= now && got.this_update > now - 600);
    assert_int_equal(got.next_update - got.this_update, 3 * PKI_DAY);
}

static void test_openssl(void **state)
{
    static const char itself[] = "-rsigner issuer -rkey issuer.key";
    static const char other[] = "-rsigner delegate -rkey delegate.key "
                                "-resp_key_id -rmd sha384";
    X509 *signer;
    unsigned char *der = NULL;
    size_t len = 0;

    (void)state;
    if (skipped(system("openssl version > /dev/null 2>&1") != 0,
                "no openssl command")) {
        return;
    }
    signer = ocsp_delegate(pki, key, (int64_t)time(NULL) + 50 * PKI_YEAR);
    ocsp_set_begin(signer, pki->sub_key, 0);
    assert_int_equal(
        ecert_ocsp_request(pki->leaf, pki->new_sub, &der, &len, &err), 0);
    put_bytes("request", der, len);
    OPENSSL_free(der);
    put_pem("issuer", pki_pem(pki->new_sub));
    put_pem("issuer.key", pki_pem_key(pki->sub_key));
    put_pem("delegate", pki_pem(signer));
    put_pem("delegate.key", pki_pem_key(key));
    X509_free(signer);

    put_index("V", "");
    assert_openssl(itself, ECERT_OCSP_GOOD);
    assert_openssl(other, ECERT_OCSP_GOOD);
    put_index("R", "260102030405Z,keyCompromise");
    assert_openssl(itself, ECERT_OCSP_REVOKED);
    assert_openssl(other, ECERT_OCSP_REVOKED);
    assert_string_equal(got.reason, "keyCompromise");
    assert_int_equal(got.revoked_at, 1767323045);
    put("index", "");
    assert_openssl(itself, ECERT_OCSP_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url),
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_url_hostile),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_good_by_twin),
        cmocka_unit_test(test_good_by_delegate),
        cmocka_unit_test(test_good_by_odd_delegate),
        cmocka_unit_test(test_good_by_rsa),
        cmocka_unit_test(test_ends_with_delegate),
        cmocka_unit_test(test_begins_with_delegate),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_revoked),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_others),
        cmocka_unit_test_setup_teardown(test_openssl, scratch_setup,
                                        scratch_teardown),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
