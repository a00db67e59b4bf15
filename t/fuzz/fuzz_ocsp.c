/* OCSP responses (ecert_ocsp*): whatever is changed, what is accepted has been
 * signed like this, and says good only where that was said. */

#include "fuzz.h"

#include <openssl/err.h>

#include "ecert_ocsp.h"
#include "ocsp_make.h"

#define MADE 12

typedef struct {
    ocsp_bytes_t bytes;
    unsigned char *signed_part;
    int len;
    ecert_ocsp_status_t status;
    int acceptable;
} made_t;

static made_t made[MADE];
static size_t n_made;

/* What the signature is over; NULL: it is no response. */
static int signed_part(const unsigned char *der, size_t len,
                       unsigned char **out)
{
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &der, (long)len);
    OCSP_BASICRESP *basic =
        response != NULL ? OCSP_response_get1_basic(response) : NULL;
    int n = -1;

    *out = NULL;
    if (basic != NULL) {
        n = i2d_OCSP_RESPDATA((OCSP_RESPDATA *)OCSP_resp_get0_respdata(basic),
                              out);
    }
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return n;
}

static void add(const ocsp_make_t *make, ecert_ocsp_status_t status,
                int acceptable)
{
    made_t *one = &made[n_made++];

    FUZZ_CHECK(n_made <= MADE);
    one->bytes = ocsp_make(make);
    one->len = signed_part(one->bytes.bytes, one->bytes.len, &one->signed_part);
    one->status = status;
    one->acceptable = acceptable;
    ERR_clear_error();
}

static void prepare(void)
{
    const pki_t *pki = fuzz_pki();
    ocsp_make_t usual = ocsp_usual(pki), make;
    static EVP_PKEY *key;
    static X509 *delegate;

    if (n_made > 0) {
        return;
    }
    key = pki_key("P-256");
    add(&usual, ECERT_OCSP_GOOD, 1);
    make = usual;
    make.status = V_OCSP_CERTSTATUS_REVOKED;
    make.reason = 1;
    make.revoked_at = FUZZ_NOW - 3600;
    add(&make, ECERT_OCSP_REVOKED, 1);
    make = usual;
    make.status = V_OCSP_CERTSTATUS_UNKNOWN;
    add(&make, ECERT_OCSP_UNKNOWN, 1);
    make = usual;
    make.id_md = EVP_sha256();
    make.by_key = 1;
    add(&make, ECERT_OCSP_GOOD, 1);
    make = usual;
    delegate = ocsp_delegate(pki, key, FUZZ_NOW + PKI_DAY);
    make.by = make.certs[0] = delegate;
    make.key = key;
    add(&make, ECERT_OCSP_GOOD, 1);
    make = usual;
    make.to = 0;
    add(&make, ECERT_OCSP_GOOD, 0);
    make = usual;
    make.from = FUZZ_NOW - 20 * PKI_DAY;
    make.to = FUZZ_NOW - 10 * PKI_DAY;
    add(&make, ECERT_OCSP_GOOD, 0);
    make = usual;
    make.forger = key;
    make.from -= 60; /* nobody else signed this */
    add(&make, ECERT_OCSP_GOOD, 0);
}

static const made_t *find(const unsigned char *part, int len)
{
    for (size_t i = 0; i < n_made; i++) {
        if (len == made[i].len
            && memcmp(part, made[i].signed_part, (size_t)len) == 0) {
            return &made[i];
        }
    }
    return NULL;
}

static void run(const uint8_t *bytes, size_t len)
{
    const pki_t *pki = fuzz_pki();
    ecert_ocsp_t out = {.status = ECERT_OCSP_UNKNOWN, .this_update = -1};
    unsigned char *part;
    const made_t *known;
    ecert_err_t err;
    int n;

    prepare();
    if (ecert_ocsp_check(bytes, len, pki->leaf, pki->new_sub, FUZZ_NOW, 0, &out,
                         &err)
        != 0) {
        FUZZ_CHECK(out.this_update == -1);
        fuzz_check_err(&err);
        return;
    }
    n = signed_part(bytes, len, &part);
    known = find(part, n);
    FUZZ_CHECK(known != NULL && known->acceptable);
    FUZZ_CHECK(out.status == known->status);
    FUZZ_CHECK(out.this_update <= FUZZ_NOW && out.next_update > FUZZ_NOW);
    OPENSSL_free(part);
}

static void seeds(void)
{
    prepare();
    for (size_t i = 0; i < n_made; i++) {
        ecert_ocsp_t out;
        ecert_err_t err;

        FUZZ_CHECK((ecert_ocsp_check(made[i].bytes.bytes, made[i].bytes.len,
                                     fuzz_pki()->leaf, fuzz_pki()->new_sub,
                                     FUZZ_NOW, 0, &out, &err)
                    == 0)
                   == made[i].acceptable);
        fuzz_seed(made[i].bytes.bytes, made[i].bytes.len);
    }
}

FUZZ_TARGET(ocsp, .run = run, .seeds = seeds, .max = 3000);
