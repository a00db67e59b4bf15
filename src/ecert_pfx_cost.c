#include "ecert_pfx_work.h"

#include <inttypes.h>
#include <stdio.h>

#include <openssl/err.h>

#define DEPTH 4 /* of bags within bags */

int ecert_pfx_damaged(const char *file, ecert_err_t *err, const char *what)
{
    int memory = ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE;

    return ecert_err_openssl(err, memory ? ECERT_ERR_MEMORY : ECERT_ERR_DAMAGED,
                             file, "%s", what);
}

static int damaged(ecert_pfx_cost_t *cost, const char *what)
{
    return ecert_pfx_damaged(cost->file, cost->err, what);
}

/* 20000000 as 20,000,000. */
static const char *grouped(uint64_t n, char out[32])
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);
    char *p = out;

    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) {
            *p++ = ',';
        }
        *p++ = digits[i];
    }
    *p = '\0';
    return out;
}

int ecert_pfx_spend(ecert_pfx_cost_t *cost, uint64_t n, const char *unit)
{
    char text[32];

    if (n > ECERT_PFX_ITERATIONS) {
        return ecert_err(cost->err, ECERT_ERR_ITERATIONS, cost->file, "%s %s",
                         grouped(n, text), unit);
    }
    cost->spent += n;
    if (cost->spent > ECERT_PFX_ITERATIONS_SUM) {
        return ecert_err(cost->err, ECERT_ERR_ITERATIONS, cost->file,
                         "%s iterations in all", grouped(cost->spent, text));
    }
    return 0;
}

/* OpenSSL takes 0 for once, too. */
int ecert_pfx_spend_iterations(ecert_pfx_cost_t *cost, const ASN1_INTEGER *n)
{
    int64_t value = 1;

    if (n != NULL && ASN1_STRING_type(n) == V_ASN1_NEG_INTEGER) {
        return damaged(cost, "a negative number of iterations");
    }
    if (n != NULL && ASN1_INTEGER_get_int64(&value, n) != 1) {
        ERR_clear_error();
        return ecert_err(cost->err, ECERT_ERR_ITERATIONS, cost->file,
                         "a %d-bit number of iterations",
                         8 * ASN1_STRING_length(n));
    }
    return ecert_pfx_spend(cost, value > 0 ? (uint64_t)value : 1, "iterations");
}

int ecert_pfx_cost_mac(ecert_pfx_cost_t *cost, const PKCS12 *p12)
{
    const X509_ALGOR *mac = NULL;
    const ASN1_INTEGER *iterations = NULL;
    const ASN1_OBJECT *id;
    char name[ECERT_PFX_NAME];

    if (!PKCS12_mac_present(p12)) {
        return 0;
    }
    PKCS12_get0_mac(NULL, &mac, NULL, &iterations, p12);
    X509_ALGOR_get0(&id, NULL, NULL, mac);
    if (OBJ_obj2nid(id) == NID_pbmac1) {
        return ecert_pfx_cost_pbmac1(cost, mac);
    }
    if (ecert_pfx_spend_iterations(cost, iterations) != 0) {
        return -1;
    }
    return ecert_pfx_need_digest(cost, ecert_pfx_name(id, name), "MAC");
}

static int cost_bags(ecert_pfx_cost_t *cost,
                     const STACK_OF(PKCS12_SAFEBAG) *bags, int depth)
{
    const X509_ALGOR *scheme = NULL;
    int rc = 0;

    if (depth > DEPTH) {
        return damaged(cost, "bags within bags within bags");
    }
    for (int i = 0; rc == 0 && i < sk_PKCS12_SAFEBAG_num(bags); i++) {
        const PKCS12_SAFEBAG *bag = sk_PKCS12_SAFEBAG_value(bags, i);

        switch (PKCS12_SAFEBAG_get_nid(bag)) {
        case NID_pkcs8ShroudedKeyBag:
            X509_SIG_get0(PKCS12_SAFEBAG_get0_pkcs8(bag), &scheme, NULL);
            rc = ecert_pfx_cost_scheme(cost, scheme);
            break;
        case NID_safeContentsBag:
            rc = cost_bags(cost, PKCS12_SAFEBAG_get0_safes(bag), depth + 1);
            break;
        }
    }
    return rc;
}

int ecert_pfx_cost_bags(ecert_pfx_cost_t *cost,
                        const STACK_OF(PKCS12_SAFEBAG) *bags)
{
    return cost_bags(cost, bags, 0);
}

static int cost_open_safe(ecert_pfx_cost_t *cost, PKCS7 *safe)
{
    STACK_OF(PKCS12_SAFEBAG) *bags =
        safe->d.data != NULL ? PKCS12_unpack_p7data(safe) : NULL;
    int rc;

    if (bags == NULL) {
        return damaged(cost, "a part of the file");
    }
    rc = cost_bags(cost, bags, 0);
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    return rc;
}

int ecert_pfx_cost_safe(ecert_pfx_cost_t *cost, PKCS7 *safe)
{
    const PKCS7_ENCRYPT *encrypted;
    char name[ECERT_PFX_NAME];

    if (PKCS7_type_is_data(safe)) {
        return cost_open_safe(cost, safe);
    }
    if (!PKCS7_type_is_encrypted(safe)) {
        return ecert_pfx_missing(cost, ecert_pfx_name(safe->type, name),
                                 "not with a password");
    }
    encrypted = safe->d.encrypted;
    if (encrypted == NULL || encrypted->enc_data == NULL
        || encrypted->enc_data->algorithm == NULL
        || encrypted->enc_data->enc_data == NULL) {
        return damaged(cost, "an encrypted part of the file");
    }
    return ecert_pfx_cost_scheme(cost, encrypted->enc_data->algorithm);
}
