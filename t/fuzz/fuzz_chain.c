/* Chains out of a hostile pool (ecert_chain, ecert_candidate, ecert_path): what
 * is served is of the pool, each once, and never a root. */

#include "fuzz.h"

#include <openssl/err.h>

#include "ecert_chain.h"
#include "ecert_pem.h"
#include "ecert_x509.h"

static ecert_ca_t *catalogue(void)
{
    static ecert_ca_t *ca;
    ecert_err_t err;
    char *text;

    if (ca == NULL) {
        text = pki_catalogue(fuzz_pki(), "2027-11-30");
        ca = ecert_ca_parse(text, strlen(text), "ca.json", &err);
        FUZZ_CHECK(ca != NULL);
        free(text);
    }
    return ca;
}

static int position(const STACK_OF(X509) *list, X509 *cert)
{
    for (int i = 0; i < sk_X509_num(list); i++) {
        if (X509_cmp(sk_X509_value(list, i), cert) == 0) {
            return i;
        }
    }
    return -1;
}

static void check(const ecert_chain_in_t *in, const ecert_chain_t *chain)
{
    for (int i = 0; i < sk_X509_num(chain->served); i++) {
        X509 *cert = sk_X509_value(chain->served, i);

        FUZZ_CHECK(position(in->pool, cert) >= 0);
        FUZZ_CHECK(position(chain->served, cert) == i);
        FUZZ_CHECK(X509_cmp(cert, in->leaf) != 0);
        FUZZ_CHECK(!ecert_x509_self_signed(cert));
        FUZZ_CHECK(ecert_x509_ca(cert));
    }
    FUZZ_CHECK(sk_X509_num(chain->served) <= ECERT_CHAIN_DEPTH);
    fuzz_check_text(chain->missing);
    for (size_t i = 0; i < chain->n_considered; i++) {
        FUZZ_CHECK(chain->considered[i].why < ECERT_WHY_LAST);
        fuzz_check_text(chain->considered[i].note);
    }
    FUZZ_CHECK(chain->next_change == 0 || chain->next_change > in->now);
}

static void run(const uint8_t *bytes, size_t len)
{
    STACK_OF(X509) *list = sk_X509_new_null();
    STACK_OF(X509) *anchors = pki_stack(fuzz_pki()->root, NULL);
    ecert_chain_in_t in = {
        .pool = list, .anchors = anchors, .ca = catalogue(), .now = FUZZ_NOW};
    ecert_chain_t *chain;
    ecert_err_t err;

    if (ecert_pem_certificates(bytes, len, "a.pem", list, &err) == 0) {
        in.leaf = sk_X509_shift(list);
        in.cross.kind = (ecert_cross_kind_t)(len % (ECERT_CROSS_OFF + 1));
        chain = ecert_chain_build(&in, &err);
        if (chain == NULL) {
            fuzz_check_err(&err);
        } else {
            check(&in, chain);
            ecert_chain_verify(in.leaf, chain->served, anchors,
                               "www.example.hk", FUZZ_NOW, &err);
            ecert_chain_free(chain);
        }
        X509_free(in.leaf);
    }
    pki_stack_free(anchors);
    pki_stack_free(list);
}

/* DER, so that a byte that is changed does not fall to the armour. */
static void add(unsigned char **p, X509 *cert)
{
    FUZZ_CHECK(i2d_X509(cert, p) > 0);
}

static void seeds(void)
{
    const pki_t *pki = fuzz_pki();
    static unsigned char bytes[16384];
    unsigned char *p = bytes;

    add(&p, pki->leaf);
    add(&p, pki->new_sub);
    fuzz_seed(bytes, (size_t)(p - bytes));
    add(&p, pki->old_sub);
    add(&p, pki->cross);
    fuzz_seed(bytes, (size_t)(p - bytes));
    add(&p, pki->root);
    add(&p, pki->other_root);
    add(&p, pki->new_ev);
    fuzz_seed(bytes, (size_t)(p - bytes));
}

FUZZ_TARGET(chain, .run = run, .seeds = seeds, .max = 8000);
