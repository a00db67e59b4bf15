#include "ecert_ocsp.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/ocsp.h>

#include "ecert_conf.h"
#include "ecert_ocsp_work.h"
#include "ecert_x509.h"

#define DAY     86400
#define LONGEST 366 /* days that an answer may be good for */

/* Why the responder did not answer (RFC 6960, 4.2.1); NULL: it did. */
static const char *refusal(int status)
{
    switch (status) {
    case OCSP_RESPONSE_STATUS_SUCCESSFUL:
        return NULL;
    case OCSP_RESPONSE_STATUS_MALFORMEDREQUEST:
        return "malformedRequest";
    case OCSP_RESPONSE_STATUS_INTERNALERROR:
        return "internalError";
    case OCSP_RESPONSE_STATUS_TRYLATER:
        return "tryLater";
    case OCSP_RESPONSE_STATUS_SIGREQUIRED:
        return "sigRequired";
    case OCSP_RESPONSE_STATUS_UNAUTHORIZED:
        return "unauthorized";
    default:
        return "a status that does not exist";
    }
}

/* RFC 5280, 5.3.1. */
static const char *reason_word(int reason)
{
    static const char *const words[] = {
        [0] = "unspecified",        [1] = "keyCompromise",
        [2] = "cACompromise",       [3] = "affiliationChanged",
        [4] = "superseded",         [5] = "cessationOfOperation",
        [6] = "certificateHold",    [8] = "removeFromCRL",
        [9] = "privilegeWithdrawn", [10] = "aACompromise",
    };

    return reason >= 0 && (size_t)reason < sizeof(words) / sizeof(words[0])
               ? words[reason]
               : NULL;
}

static OCSP_RESPONSE *read_response(const unsigned char *der, size_t len,
                                    ecert_err_t *err)
{
    const unsigned char *p = der;

    if (len > ECERT_OCSP_MAX) {
        ecert_err(err, ECERT_ERR_OCSP, NULL, "it has %zu bytes, %d are allowed",
                  len, ECERT_OCSP_MAX);
        return NULL;
    }
    OCSP_RESPONSE *response =
        len > 0 ? d2i_OCSP_RESPONSE(NULL, &p, (long)len) : NULL;
    if (response == NULL) {
        ecert_err(err, ECERT_ERR_OCSP, NULL,
                  "it is no OCSP response, or cut off");
        return NULL;
    }
    if (p != der + len) {
        ecert_err(err, ECERT_ERR_OCSP, NULL,
                  "%zu bytes follow where it should end",
                  len - (size_t)(p - der));
        OCSP_RESPONSE_free(response);
        return NULL;
    }
    return response;
}

/*
 * OpenSSL verifies what it read, written anew; clients verify the bytes they
 * get.  Only in DER are both the same.
 */
static int is_der(OCSP_BASICRESP *basic, const unsigned char *der, size_t len)
{
    OCSP_RESPONSE *again =
        OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    unsigned char *bytes = NULL;
    int n = again != NULL ? i2d_OCSP_RESPONSE(again, &bytes) : -1;
    int same = n > 0 && (size_t)n == len && memcmp(bytes, der, len) == 0;

    OPENSSL_free(bytes);
    OCSP_RESPONSE_free(again);
    return same;
}

static OCSP_BASICRESP *read_basic(const unsigned char *der, size_t len,
                                  ecert_err_t *err)
{
    OCSP_RESPONSE *response = read_response(der, len, err);
    if (response == NULL) {
        return NULL;
    }
    const char *why = refusal(OCSP_response_status(response));
    OCSP_BASICRESP *basic = NULL;
    if (why != NULL) {
        ecert_err(err, ECERT_ERR_OCSP, NULL, "the responder says %s", why);
    } else if ((basic = OCSP_response_get1_basic(response)) == NULL) {
        ecert_err(err, ECERT_ERR_OCSP, NULL, "it holds no basic response");
    } else if (!is_der(basic, der, len)) {
        ecert_err(err, ECERT_ERR_OCSP, NULL, "it is not encoded in DER");
        OCSP_BASICRESP_free(basic);
        basic = NULL;
    }
    OCSP_RESPONSE_free(response);
    return basic;
}

/* Adds what is found under this digest's certID to *single and *n. */
static int look_for(OCSP_BASICRESP *basic, const EVP_MD *md, X509 *leaf,
                    X509 *issuer, OCSP_SINGLERESP **single, int *n,
                    ecert_err_t *err)
{
    OCSP_CERTID *id = ecert_ocsp_id(md, leaf, issuer, err);

    if (id == NULL) {
        return -1;
    }
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *one = OCSP_resp_get0(basic, i);
        if (OCSP_id_cmp(OCSP_SINGLERESP_get0_id(one), id) == 0) {
            *single = one;
            ++*n;
        }
    }
    OCSP_CERTID_free(id);
    return 0;
}

static OCSP_SINGLERESP *find_single(OCSP_BASICRESP *basic, X509 *leaf,
                                    X509 *issuer, ecert_err_t *err)
{
    OCSP_SINGLERESP *single = NULL;
    int n = 0;

    if (look_for(basic, EVP_sha1(), leaf, issuer, &single, &n, err) != 0
        || look_for(basic, EVP_sha256(), leaf, issuer, &single, &n, err) != 0) {
        return NULL;
    }
    if (n == 0) {
        ecert_err(err, ECERT_ERR_OCSP, NULL, "it is about another certificate");
        return NULL;
    }
    if (n > 1) {
        ecert_err(err, ECERT_ERR_OCSP, NULL,
                  "it speaks of the certificate %d times", n);
        return NULL;
    }
    return single;
}

/* OpenSSL takes fractions and other zones, too; RFC 5280, 4.1.2.5.2 does not.
 */
static int take_time(const ASN1_GENERALIZEDTIME *time, const char *what,
                     int64_t *out, ecert_err_t *err)
{
    int days = 0, seconds = 0, ok = 0;

    if (time != NULL && ASN1_STRING_length(time) == 15
        && ASN1_STRING_get0_data(time)[14] == 'Z') {
        ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
        ok = epoch != NULL && ASN1_TIME_diff(&days, &seconds, epoch, time) == 1;
        ASN1_TIME_free(epoch);
    }
    if (!ok) {
        return ecert_err(err, ECERT_ERR_OCSP, NULL,
                         "its %s is not a time (RFC 5280, 4.1.2.5.2)", what);
    }
    *out = (int64_t)days * DAY + seconds;
    return 0;
}

static int take_status(OCSP_SINGLERESP *single, ecert_ocsp_t *out,
                       ecert_err_t *err)
{
    ASN1_GENERALIZEDTIME *revoked = NULL, *from = NULL, *to = NULL;
    int reason = -1;

    switch (OCSP_single_get0_status(single, &reason, &revoked, &from, &to)) {
    case V_OCSP_CERTSTATUS_GOOD:
        out->status = ECERT_OCSP_GOOD;
        break;
    case V_OCSP_CERTSTATUS_REVOKED:
        out->status = ECERT_OCSP_REVOKED;
        out->reason = reason_word(reason);
        if (take_time(revoked, "revocationTime", &out->revoked_at, err) != 0) {
            return -1;
        }
        break;
    case V_OCSP_CERTSTATUS_UNKNOWN:
        out->status = ECERT_OCSP_UNKNOWN;
        break;
    default:
        return ecert_err(err, ECERT_ERR_OCSP, NULL,
                         "its status is none that exists");
    }
    if (to == NULL) {
        return ecert_err(err, ECERT_ERR_OCSP, NULL,
                         "it does not say when it ends (no nextUpdate)");
    }
    return take_time(from, "thisUpdate", &out->this_update, err) == 0
                   && take_time(to, "nextUpdate", &out->next_update, err) == 0
               ? 0
               : -1;
}

static int check_span(const ecert_ocsp_t *got, ecert_err_t *err)
{
    int64_t days = (got->next_update - got->this_update) / DAY;
    char from[32], to[32];

    if (got->next_update <= got->this_update) {
        return ecert_err(err, ECERT_ERR_OCSP, NULL,
                         "it ends on %s, but begins on %s",
                         ecert_date_format(got->next_update, to),
                         ecert_date_format(got->this_update, from));
    }
    if (got->next_update - got->this_update > (int64_t)LONGEST * DAY) {
        return ecert_err(err, ECERT_ERR_OCSP, NULL,
                         "it is for %lld days and more, %d are allowed",
                         (long long)days, LONGEST);
    }
    return 0;
}

static int check_times(const ecert_ocsp_t *got, int64_t produced, int64_t now,
                       int64_t held, ecert_err_t *err)
{
    char a[32], b[32];

    if (check_span(got, err) != 0) {
        return -1;
    }
    if (got->this_update > now + ECERT_OCSP_SKEW) {
        return ecert_err(err, ECERT_ERR_OCSP, NULL, "it begins only on %s",
                         ecert_date_format(got->this_update, a));
    }
    if (produced > now + ECERT_OCSP_SKEW) {
        return ecert_err(err, ECERT_ERR_OCSP, NULL,
                         "it was made on %s, which is not yet",
                         ecert_date_format(produced, a));
    }
    if (got->next_update < now) {
        return ecert_err(err, ECERT_ERR_OCSP, NULL, "it ended on %s",
                         ecert_date_format(got->next_update, a));
    }
    if (got->this_update < held) {
        return ecert_err(err, ECERT_ERR_OCSP, NULL,
                         "it is of %s, older than the one in hand, of %s",
                         ecert_date_format(got->this_update, a),
                         ecert_date_format(held, b));
    }
    return 0;
}

/* Nobody could say anything of a certificate that was not there yet: its serial
 * number was another's, or "good" is said of whatever is not revoked. */
static int check_begin(const ecert_ocsp_t *got, int64_t produced,
                       const X509 *leaf, ecert_err_t *err)
{
    int64_t from = ecert_x509_not_before(leaf);
    int64_t made = produced < got->this_update ? produced : got->this_update;
    char a[32], b[32];

    if (made >= from) {
        return 0;
    }
    return ecert_err(err, ECERT_ERR_OCSP, NULL,
                     "it is of %s, and the certificate begins on %s",
                     ecert_date_format(made, a), ecert_date_format(from, b));
}

static int check_extensions(OCSP_BASICRESP *basic, OCSP_SINGLERESP *single,
                            ecert_err_t *err)
{
    if (OCSP_BASICRESP_get_ext_by_critical(basic, 1, -1) >= 0
        || OCSP_SINGLERESP_get_ext_by_critical(single, 1, -1) >= 0) {
        return ecert_err(err, ECERT_ERR_OCSP, NULL,
                         "it has a critical extension, of which none is known");
    }
    return 0;
}

static int check_basic(OCSP_BASICRESP *basic, X509 *leaf, X509 *issuer,
                       int64_t now, int64_t held, ecert_ocsp_t *out,
                       ecert_err_t *err)
{
    OCSP_SINGLERESP *single = find_single(basic, leaf, issuer, err);
    int64_t until = 0, produced = 0;

    if (single == NULL
        || ecert_ocsp_signer(basic, issuer, now, &until, err) != 0
        || check_extensions(basic, single, err) != 0
        || take_status(single, out, err) != 0
        || take_time(OCSP_resp_get0_produced_at(basic), "producedAt", &produced,
                     err)
               != 0
        || check_begin(out, produced, leaf, err) != 0
        || check_times(out, produced, now, held, err) != 0) {
        return -1;
    }
    if (out->next_update > until) {
        out->next_update = until;
    }
    return 0;
}

int ecert_ocsp_check(const unsigned char *der, size_t len, X509 *leaf,
                     X509 *issuer, int64_t now, int64_t held, ecert_ocsp_t *out,
                     ecert_err_t *err)
{
    ecert_ocsp_t got = {.status = ECERT_OCSP_UNKNOWN};
    OCSP_BASICRESP *basic = read_basic(der, len, err);
    int rc = basic != NULL
                 ? check_basic(basic, leaf, issuer, now, held, &got, err)
                 : -1;

    OCSP_BASICRESP_free(basic);
    ERR_clear_error();
    if (rc == 0) {
        *out = got;
    }
    return rc;
}
