/* OCSP: answers that are not to be taken, and what is said of them. */

#include "scratch.h"

#include <openssl/err.h>
#include <openssl/sha.h>

#include "ecert_ocsp.h"
#include "ocsp_make.h"
#include "pki.h"

#define NOW ((int64_t)1795392000)

static pki_t *pki, *twin; /* twin: the same names, other keys */
static EVP_PKEY *key, *rsa_key;
static X509 *delegate, *rsa_delegate;
static ecert_ocsp_t got;
static ecert_err_t err;

static int group_setup(void **state)
{
    (void)state;
    pki = pki_new(NOW);
    twin = pki_new(NOW);
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
    pki_free(twin);
    pki_free(pki);
    return 0;
}

static ocsp_make_t delegated_to(X509 *cert)
{
    ocsp_make_t make = ocsp_usual(pki);

    make.by = make.certs[0] = cert;
    make.key = key;
    return make;
}

static void assert_bytes_refused(ocsp_bytes_t bytes, int64_t held,
                                 const char *why)
{
    int rc = ocsp_check(bytes, pki->leaf, pki->new_sub, NOW, held, &got, &err);

    assert_int_equal(rc, -1);
    if (strstr(err.detail, why) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.detail, why);
    }
}

static void assert_refused(ocsp_make_t make, const char *why)
{
    ocsp_bytes_t bytes = ocsp_make(&make);

    assert_bytes_refused(bytes, 0, why);
    OPENSSL_free(bytes.bytes);
}

/* The same once with responderID by name, once by key. */
static void assert_both_refused(ocsp_make_t make, const char *why)
{
    assert_refused(make, why);
    make.by_key = 1;
    assert_refused(make, why);
}

static void test_other_certificate(void **state)
{
    static const char why[] = "it is about another certificate";
    ocsp_make_t make = ocsp_usual(pki);
    X509 *leaf = pki_leaf(pki, "DNS:www.example.hk", NULL, NOW, NOW + PKI_DAY);

    (void)state;
    make.leaf = leaf; /* another serial number */
    assert_both_refused(make, why);
    make = ocsp_usual(pki);
    make.issuer = twin->new_sub; /* another key of the same name */
    assert_both_refused(make, why);
    make.id_md = EVP_sha256();
    assert_refused(make, why);
    make = ocsp_usual(pki);
    ocsp_extend(leaf, pki->sub_key, NID_key_usage, NULL);
    assert_true(X509_set_serialNumber(leaf, X509_get_serialNumber(pki->leaf)));
    assert_true(X509_set_issuer_name(leaf, X509_get_subject_name(pki->new_ev)));
    make.leaf = leaf; /* another name of the same key */
    assert_refused(make, why);
    make = ocsp_usual(pki);
    make.id_md = EVP_md5();
    assert_refused(make, why);
    X509_free(leaf);
}

static void add_twice(OCSP_BASICRESP *basic)
{
    ocsp_add(basic, EVP_sha1(), pki->leaf, pki->new_sub,
             V_OCSP_CERTSTATUS_REVOKED, NOW - PKI_DAY, NOW + PKI_DAY);
}

static void add_twice_by_sha256(OCSP_BASICRESP *basic)
{
    ocsp_add(basic, EVP_sha256(), pki->leaf, pki->new_sub,
             V_OCSP_CERTSTATUS_REVOKED, NOW - PKI_DAY, NOW + PKI_DAY);
}

static void test_two_answers(void **state)
{
    ocsp_make_t make = ocsp_usual(pki);

    (void)state;
    make.alter = add_twice;
    assert_refused(make, "it speaks of the certificate 2 times");
    make.alter = add_twice_by_sha256;
    assert_refused(make, "it speaks of the certificate 2 times");
}

/* Who is no delegate, though he says so himself. */
static void test_strangers(void **state)
{
    ocsp_make_t make = ocsp_usual(pki);
    X509 *self = pki_issue(&(pki_spec_t){.cn = "Look-alike OCSP",
                                         .key = key,
                                         .eku = "OCSPSigning",
                                         .not_before = NOW - PKI_DAY,
                                         .not_after = NOW + PKI_DAY});

    (void)state;
    make.by = make.certs[0] = pki->leaf;
    make.key = pki->leaf_key;
    assert_both_refused(make, "of www.example.hk, which may not sign OCSP");
    make.certs[0] = NULL;
    assert_refused(make, "it was signed by somebody else: www.example.hk");
    make.by_key = 1;
    assert_refused(make, "it was signed by somebody else: key ");
    assert_both_refused(delegated_to(self), "did not issue");
    make = ocsp_usual(pki);
    make.by = make.certs[0] = twin->new_sub; /* the issuer's name */
    make.key = twin->sub_key;
    assert_refused(make, "which the CA that issued the certificate did not");
    make.certs[0] = NULL;
    assert_refused(make, "not that of Look-alike SSL CA 3 - 17");
    make.by_key = 1;
    assert_refused(make, "it was signed by somebody else: key ");
    make.by = make.certs[0] = pki->root; /* the issuer's issuer */
    make.key = pki->root_key;
    assert_both_refused(make, "of Look-alike Root 3, which the CA");
    X509_free(self);
}

/* The delegates of others. */
static void test_other_issuers(void **state)
{
    static const char why[] = "did not issue";
    X509 *by_twin = ocsp_delegate(twin, key, NOW + PKI_DAY);
    X509 *by_root, *by_ev, *by_leaf;
    pki_spec_t spec = {.cn = "Look-alike OCSP",
                       .key = key,
                       .eku = "OCSPSigning",
                       .not_before = NOW - PKI_DAY,
                       .not_after = NOW + PKI_DAY};
    ocsp_make_t make;

    (void)state;
    spec.issuer = pki->root;
    spec.issuer_key = pki->root_key;
    by_root = pki_issue(&spec);
    spec.issuer = pki->leaf;
    spec.issuer_key = pki->leaf_key;
    by_leaf = pki_issue(&spec);
    spec.issuer = pki->new_ev; /* another name with the issuer's key */
    spec.issuer_key = pki->sub_key;
    by_ev = pki_issue(&spec);
    assert_both_refused(delegated_to(by_twin), why);
    assert_both_refused(delegated_to(by_root), why);
    assert_both_refused(delegated_to(by_ev), why);
    make = delegated_to(by_leaf);
    make.certs[1] = pki->leaf; /* there is a path to the issuer */
    make.certs[2] = pki->new_sub;
    assert_both_refused(make, why);
    X509_free(by_twin);
    X509_free(by_root);
    X509_free(by_ev);
    X509_free(by_leaf);
}

/* An issuer under the issuer, who makes delegates of his own. */
static void test_path(void **state)
{
    EVP_PKEY *ca_key = pki_key("P-256");
    pki_spec_t spec = {.cn = "Look-alike OCSP CA",
                       .key = ca_key,
                       .issuer = pki->new_sub,
                       .issuer_key = pki->sub_key,
                       .ca = 1,
                       .eku = "OCSPSigning",
                       .not_before = NOW - PKI_DAY,
                       .not_after = NOW + PKI_DAY};
    X509 *ca = pki_issue(&spec), *below;
    ocsp_make_t make = ocsp_usual(pki);

    (void)state;
    spec.cn = "Look-alike OCSP";
    spec.key = key;
    spec.issuer = ca;
    spec.issuer_key = ca_key;
    spec.ca = 0;
    below = pki_issue(&spec);
    make.by = make.certs[0] = below;
    make.key = key;
    make.certs[1] = ca;
    assert_both_refused(make, "did not issue");
    make.by = make.certs[0] = ca;
    make.key = ca_key;
    make.certs[1] = NULL;
    ocsp_extend(ca, pki->sub_key, NID_key_usage,
                "digitalSignature,keyCertSign");
    assert_both_refused(make, "which is another CA's");
    X509_free(below);
    X509_free(ca);
    EVP_PKEY_free(ca_key);
}

static void assert_extended(int nid, const char *value, const char *why)
{
    X509 *cert = X509_dup(delegate);

    ocsp_extend(cert, pki->sub_key, nid, value);
    assert_both_refused(delegated_to(cert), why);
    X509_free(cert);
}

static void test_delegates(void **state)
{
    static const char eku[] = "which may not sign OCSP answers";
    X509 *cert = X509_dup(delegate);
    X509_EXTENSION *ext = ocsp_extension(1);

    (void)state;
    assert_extended(NID_ext_key_usage, NULL, eku);
    assert_extended(NID_ext_key_usage, "serverAuth", eku);
    assert_extended(NID_ext_key_usage, "anyExtendedKeyUsage", eku);
    assert_extended(NID_key_usage, "keyEncipherment", "no digitalSignature");
    assert_extended(NID_key_usage, "keyCertSign,cRLSign", "digitalSignature");
    assert_extended(NID_basic_constraints, "CA:TRUE", "which is another CA's");
    assert_true(X509_add_ext(cert, ext, -1));
    assert_true(X509_sign(cert, pki->sub_key, EVP_sha256()) > 0);
    assert_both_refused(delegated_to(cert), "not understood");
    X509_free(cert);
    cert = X509_dup(delegate);
    assert_true(X509_sign(cert, pki->sub_key, EVP_sha1()) > 0);
    assert_both_refused(delegated_to(cert), "itself signed with a weak");
    X509_free(cert);
    cert = X509_dup(delegate); /* of before there were basic constraints */
    ocsp_extend(cert, pki->sub_key, NID_basic_constraints, NULL);
    ocsp_extend(cert, pki->sub_key, NID_key_usage,
                "digitalSignature,keyCertSign");
    assert_both_refused(delegated_to(cert), "which is another CA's");
    X509_EXTENSION_free(ext);
    X509_free(cert);
}

static void cut_id(OCSP_BASICRESP *basic)
{
    const ASN1_OCTET_STRING *hash = NULL;
    const X509_NAME *name = NULL;
    unsigned char bytes[SHA_DIGEST_LENGTH];

    OCSP_resp_get0_id(basic, &hash, &name);
    assert_non_null(hash);
    memcpy(bytes, ASN1_STRING_get0_data(hash), sizeof(bytes));
    assert_true(ASN1_STRING_set((ASN1_STRING *)(uintptr_t)hash, bytes,
                                SHA_DIGEST_LENGTH - 1));
}

/* A key's hash without its last byte, which is zero, as is what OpenSSL puts
 * behind. */
static void test_cut_id(void **state)
{
    unsigned char md[SHA_DIGEST_LENGTH] = {0};
    EVP_PKEY *own = NULL;
    X509 *cert = NULL;
    ocsp_make_t make;

    (void)state;
    do {
        X509_free(cert);
        EVP_PKEY_free(own);
        own = pki_key("P-256");
        cert = ocsp_delegate(pki, own, NOW + PKI_DAY);
        assert_true(X509_pubkey_digest(cert, EVP_sha1(), md, NULL));
    } while (md[SHA_DIGEST_LENGTH - 1] != 0);
    make = delegated_to(cert);
    make.key = own;
    make.by_key = 1;
    make.named = cut_id;
    assert_refused(make, "it was signed by somebody else: key ");
    X509_free(cert);
    EVP_PKEY_free(own);
}

static void test_delegate_times(void **state)
{
    X509 *ended = ocsp_delegate(pki, key, NOW - 1);
    X509 *early = ocsp_delegate(pki, key, NOW + PKI_YEAR);

    (void)state;
    ocsp_set_begin(early, pki->sub_key, NOW + ECERT_OCSP_SKEW + 1);
    assert_both_refused(delegated_to(ended),
                        "Look-alike OCSP, ended on 2026-11-22T23:59:59Z");
    assert_both_refused(delegated_to(early),
                        "begins only on 2026-11-23T00:05:01Z");
    X509_free(ended);
    X509_free(early);
}

static void test_algorithms(void **state)
{
    ocsp_make_t make = ocsp_usual(pki);

    (void)state;
    make.md = EVP_sha1();
    assert_both_refused(make, "it is signed with SHA1, which is weak");
    make.md = EVP_sha224();
    assert_refused(make, "it is signed with SHA224");
    make = delegated_to(rsa_delegate);
    make.key = rsa_key;
    make.md = EVP_md5();
    assert_both_refused(make, "it is signed with MD5, which is weak");
    make.md = EVP_sha1();
    assert_refused(make, "it is signed with SHA1");
    make.pss = EVP_sha1();
    assert_refused(make, "it is signed with SHA1");
}

/* The right name over the wrong signature. */
static void test_forgers(void **state)
{
    ocsp_make_t make = ocsp_usual(pki);

    (void)state;
    make.forger = key;
    assert_both_refused(make, "not that of Look-alike SSL CA 3 - 17");
    make = delegated_to(delegate);
    make.forger = pki->leaf_key;
    assert_both_refused(make, "not that of Look-alike OCSP");
    make.forger = rsa_key; /* an algorithm that its key has not */
    assert_both_refused(make, "not that of Look-alike OCSP");
}

/* Four others of the same name, in front of the one that has signed. */
static void add_namesakes(OCSP_BASICRESP *basic)
{
    X509 *other = ocsp_delegate(pki, pki->leaf_key, NOW + 50 * PKI_DAY);

    for (int i = 0; i < 4; i++) {
        assert_int_equal(OCSP_basic_add1_cert(basic, other), 1);
    }
    assert_int_equal(OCSP_basic_add1_cert(basic, delegate), 1);
    X509_free(other);
}

/* A key that takes long to verify with is not used, though the CA has delegated
 * to it; nor are many of one name tried. */
static void test_slow_signers(void **state)
{
    ocsp_make_t make = ocsp_usual(pki);
    EVP_PKEY *slow = pki_key("RSA-SLOW");
    X509 *signer = ocsp_delegate(pki, slow, NOW + 60 * PKI_DAY);

    (void)state;
    make.by = make.certs[0] = signer;
    make.key = slow;
    assert_both_refused(make, "has an RSA key with an exponent of more than 64 "
                              "bits: it is not looked at");
    make = delegated_to(delegate);
    make.alter = add_namesakes;
    make.certs[0] = NULL;
    assert_refused(make, "not that of Look-alike OCSP");
    X509_free(signer);
    EVP_PKEY_free(slow);
}

static void spoil_hash(OCSP_BASICRESP *basic)
{
    const ASN1_OCTET_STRING *hash = NULL;
    const X509_NAME *name = NULL;

    assert_true(OCSP_resp_get0_id(basic, &hash, &name));
    assert_non_null(hash);
    ((ASN1_OCTET_STRING *)hash)->data[19] ^= 1;
}

static void shorten_hash(OCSP_BASICRESP *basic)
{
    const ASN1_OCTET_STRING *hash = NULL;
    const X509_NAME *name = NULL;

    assert_true(OCSP_resp_get0_id(basic, &hash, &name));
    assert_non_null(hash);
    assert_true(ASN1_STRING_set((ASN1_OCTET_STRING *)hash, "", 0));
}

/* Rightly signed, in another's name. */
static void test_responder_id(void **state)
{
    ocsp_make_t make = ocsp_usual(pki);
    X509 *other = pki_issue(&(pki_spec_t){.cn = "Somebody",
                                          .key = pki->sub_key,
                                          .not_before = NOW,
                                          .not_after = NOW + PKI_DAY});

    (void)state;
    make.by = other;
    assert_refused(make, "it was signed by somebody else: Somebody");
    make = ocsp_usual(pki);
    make.by_key = 1;
    make.named = spoil_hash;
    assert_refused(make, "it was signed by somebody else: key ");
    make.named = shorten_hash;
    assert_refused(make, "it was signed by somebody else: key");
    make = delegated_to(delegate);
    make.by_key = 1;
    make.named = spoil_hash;
    assert_refused(make, "it was signed by somebody else: key ");
    make = delegated_to(delegate);
    make.certs[0] = rsa_delegate; /* of the same name */
    assert_refused(make, "not that of Look-alike OCSP");
    X509_free(other);
}

static void test_times(void **state)
{
    const ocsp_make_t usual = ocsp_usual(pki);
    ocsp_make_t make = usual;
    ocsp_bytes_t bytes;

    (void)state;
    make.to = NOW - 1;
    assert_refused(make, "it ended on 2026-11-22T23:59:59Z");
    make = usual;
    make.from = NOW + ECERT_OCSP_SKEW + 1;
    make.produced = NOW;
    assert_refused(make, "it begins only on 2026-11-23T00:05:01Z");
    make = usual;
    make.produced = NOW + ECERT_OCSP_SKEW + 1;
    assert_refused(make, "it was made on 2026-11-23T00:05:01Z, which is not");
    make = usual;
    make.from -= 1; /* the leaf begins then */
    make.produced = NOW;
    assert_refused(make, "it is of 2026-11-21T23:59:59Z, and the certificate "
                         "begins on 2026-11-22T00:00:00Z");
    make = usual;
    make.produced = make.from - 1;
    assert_refused(make, "it is of 2026-11-21T23:59:59Z, and the certificate");
    make = usual;
    make.to = 0;
    assert_refused(make, "no nextUpdate");
    make.to = make.from;
    assert_refused(make, "it ends on 2026-11-22T00:00:00Z, but begins on");
    make.to = make.from - 1;
    assert_refused(make, "it ends on 2026-11-21T23:59:59Z, but begins on");
    make.to = make.from + 366 * PKI_DAY + 1;
    assert_refused(make, "it is for 366 days and more, 366 are allowed");
    make = usual;
    bytes = ocsp_make(&make);
    assert_bytes_refused(bytes, make.from + 1,
                         "it is of 2026-11-22T00:00:00Z, older than the one in "
                         "hand, of 2026-11-22T00:00:01Z");
    OPENSSL_free(bytes.bytes);
}

/* GeneralizedTime as RFC 5280 does not allow it. */
static const char *odd_time;

static void set_produced(OCSP_BASICRESP *basic)
{
    ASN1_STRING *time = (ASN1_STRING *)OCSP_resp_get0_produced_at(basic);

    assert_true(ASN1_STRING_set(time, odd_time, -1));
}

static void set_update(OCSP_BASICRESP *basic)
{
    ASN1_GENERALIZEDTIME *revoked, *from, *to;
    int reason;

    OCSP_single_get0_status(OCSP_resp_get0(basic, 0), &reason, &revoked, &from,
                            &to);
    assert_true(ASN1_STRING_set(to, odd_time, -1));
}

/* OpenSSL 3.5 does not even decode some of these times. */
static int is_decoded(ocsp_bytes_t made)
{
    const unsigned char *p = made.bytes;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &p, (long)made.len);
    OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
    int decoded = basic != NULL;

    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return decoded;
}

static void assert_odd_time(ocsp_make_t make, const char *why)
{
    ocsp_bytes_t made = ocsp_make(&make);

    assert_bytes_refused(made, 0,
                         is_decoded(made) ? why : "it holds no basic response");
    OPENSSL_free(made.bytes);
}

static void test_odd_times(void **state)
{
    static const char *const times[] = {
        "20261124000000.5Z",
        "20261124000000+0000",
        "202611240000Z",
        "20261324000000Z",
        "20261124000000",
        "2026112400000\1Z",
        "",
        "xxxxxxxxxxxxxxZ",
    };
    ocsp_make_t make = ocsp_usual(pki);

    (void)state;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        odd_time = times[i];
        make.alter = set_produced;
        assert_odd_time(make, "its producedAt is not a time");
        make.alter = set_update;
        assert_odd_time(make, "its nextUpdate is not a time");
    }
}

static void extend_response(OCSP_BASICRESP *basic)
{
    X509_EXTENSION *ext = ocsp_extension(1);

    assert_true(OCSP_BASICRESP_add_ext(basic, ext, -1));
    X509_EXTENSION_free(ext);
}

static void extend_single(OCSP_BASICRESP *basic)
{
    X509_EXTENSION *ext = ocsp_extension(1);

    assert_true(OCSP_SINGLERESP_add_ext(OCSP_resp_get0(basic, 0), ext, -1));
    X509_EXTENSION_free(ext);
}

static void test_critical(void **state)
{
    ocsp_make_t make = ocsp_usual(pki);

    (void)state;
    make.alter = extend_response;
    assert_refused(make, "it has a critical extension");
    make.alter = extend_single;
    assert_refused(make, "it has a critical extension");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_certificate),
        cmocka_unit_test(test_two_answers),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_other_issuers),
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_delegates),
        cmocka_unit_test(test_cut_id),
        cmocka_unit_test(test_delegate_times),
        cmocka_unit_test(test_algorithms),
        cmocka_unit_test(test_forgers),
        cmocka_unit_test(test_slow_signers),
        cmocka_unit_test(test_responder_id),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_odd_times),
        cmocka_unit_test(test_critical),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
