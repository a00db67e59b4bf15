#include "ecert_report.h"

#include <string.h>

#include <openssl/x509v3.h>

#include "ecert_chain.h"
#include "ecert_pem.h"

static void set(json_t *object, const char *key, json_t *value)
{
    json_object_set_new(object, key, value);
}

/* Foreign bytes are escaped already; what still is no UTF-8 becomes "?". */
static json_t *text(const char *value)
{
    json_t *string = value ? json_string(value) : json_null();

    return string ? string : json_string("?");
}

static json_t *date(int64_t seconds)
{
    char when[32];

    return seconds == 0 ? json_null() : text(ecert_date_format(seconds, when));
}

static json_t *texts(char *const *list, size_t n)
{
    json_t *array = json_array();
    size_t i;

    for (i = 0; i < n; i++) {
        json_array_append_new(array, text(list[i]));
    }
    return array;
}

static json_t *certificate(const X509 *cert)
{
    json_t *object = json_object();
    char name[256], fingerprint[65];

    set(object, "subject", text(ecert_x509_label(cert, name, sizeof(name))));
    set(object, "sha256", text(ecert_x509_fingerprint(cert, fingerprint)));
    set(object, "not_before", date(ecert_x509_not_before(cert)));
    set(object, "not_after", date(ecert_x509_not_after(cert)));
    return object;
}

static json_t *leaf_names(X509 *leaf)
{
    GENERAL_NAMES *names =
        X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    json_t *array = json_array();
    char escaped[512];
    int i, type;

    for (i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const ASN1_STRING *value =
            GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);

        if (type == GEN_DNS) {
            ecert_escape(escaped, sizeof(escaped),
                         (const char *)ASN1_STRING_get0_data(value),
                         (size_t)ASN1_STRING_length(value));
            json_array_append_new(array, text(escaped));
        }
    }
    GENERAL_NAMES_free(names);
    return array;
}

static json_t *report_leaf(X509 *leaf)
{
    json_t *object = certificate(leaf);
    char key[64];

    set(object, "names", leaf_names(leaf));
    set(object, "key",
        text(ecert_pem_key_name(X509_get0_pubkey(leaf), key, sizeof(key))));
    return object;
}

static const char *role_word(ecert_ca_role_t role)
{
    static const char *const words[] = {"", "root", "sub-ca",
                                        "cross-certificate"};

    return words[role];
}

static const ecert_considered_t *considered_of(const ecert_chain_t *chain,
                                               const X509 *cert)
{
    size_t i;

    for (i = 0; i < chain->n_considered; i++) {
        if (X509_cmp(chain->considered[i].cert, cert) == 0) {
            return &chain->considered[i];
        }
    }
    return NULL;
}

static json_t *report_served(const ecert_chain_t *chain)
{
    json_t *array = json_array();
    int i;

    for (i = 0; i < sk_X509_num(chain->served); i++) {
        const X509 *cert = sk_X509_value(chain->served, i);
        const ecert_considered_t *known = considered_of(chain, cert);
        json_t *object = certificate(cert);

        set(object, "role", text(known ? role_word(known->role) : ""));
        json_array_append_new(array, object);
    }
    return array;
}

static json_t *report_considered(const ecert_chain_t *chain)
{
    json_t *array = json_array();
    size_t i;

    for (i = 0; i < chain->n_considered; i++) {
        const ecert_considered_t *one = &chain->considered[i];
        json_t *object = certificate(one->cert);

        set(object, "role", text(role_word(one->role)));
        set(object, "why", text(ecert_why_word(one->why)));
        set(object, "sentence", text(ecert_why_sentence(one->why)));
        set(object, "note", text(one->note));
        json_array_append_new(array, object);
    }
    return array;
}

static json_t *report_error(const ecert_err_t *err, int64_t at)
{
    json_t *object;
    char line[1700];

    if (err == NULL || err->code == ECERT_OK) {
        return json_null();
    }
    object = json_object();
    set(object, "time", date(at));
    set(object, "reason", text(ecert_err_word(err->code)));
    set(object, "sentence", text(ecert_err_sentence(err->code)));
    set(object, "file", text(err->file));
    set(object, "detail", text(err->detail));
    set(object, "remedy",
        text(err->hint[0] ? err->hint : ecert_err_advice(err->code)));
    set(object, "line", text(ecert_err_line(err, NULL, line, sizeof(line))));
    return object;
}

static void report_loaded(json_t *object, const ecert_loaded_t *loaded)
{
    const ecert_chain_t *chain = loaded->chain;

    set(object, "state", text(ecert_state_word(loaded->state)));
    set(object, "source", text(loaded->source));
    set(object, "generation",
        loaded->store_generation < 0 ? json_null()
                                     : json_integer(loaded->store_generation));
    set(object, "fallback", json_boolean(loaded->fallback));
    set(object, "uncovered", texts(loaded->uncovered, loaded->n_uncovered));
    set(object, "warnings", texts(loaded->warnings, loaded->n_warnings));
    if (chain == NULL || chain->n_considered == 0) {
        return;
    }
    set(object, "leaf", report_leaf(chain->considered[0].cert));
    set(object, "chain", report_served(chain));
    set(object, "complete", json_boolean(chain->complete));
    set(object, "missing",
        chain->complete ? json_null() : text(chain->missing));
    set(object, "considered", report_considered(chain));
}

json_t *ecert_report_site(const ecert_site_t *site,
                          const ecert_loaded_t *loaded, const ecert_err_t *err,
                          int64_t error_at)
{
    json_t *object = json_object();

    set(object, "site", text(ecert_site_label(site)));
    set(object, "store_site", json_boolean(site->name != NULL));
    set(object, "where", text(site->where));
    set(object, "vhosts",
        texts((char *const *)(uintptr_t)site->names, site->n_names));
    set(object, "security_level",
        site->security_level > 0 ? json_integer(site->security_level)
                                 : json_null());
    report_loaded(object, loaded);
    set(object, "error", report_error(err, error_at));
    return object;
}

static json_t *report_tokens(const ecert_tokens_t *tokens,
                             const ecert_evidence_t *evidence)
{
    json_t *array = json_array();
    size_t i;

    for (i = 0; i < tokens->n; i++) {
        const ecert_token_t *token = &tokens->tokens[i];
        json_t *object = json_object();

        set(object, "host", text(token->host));
        set(object, "file", text(token->file));
        set(object, "bytes", json_integer((json_int_t)token->body_len));
        set(object, "expires", date(token->expires));
        if (evidence != NULL) {
            set(object, "fetched", ecert_report_fetched(evidence, token->id));
        }
        json_array_append_new(array, object);
    }
    return array;
}

void ecert_report_files(json_t *report, const ecert_tokens_t *tokens,
                        const ecert_evidence_t *evidence)
{
    set(report, "validation_files", report_tokens(tokens, evidence));
    if (tokens->n_over > 0) {
        set(report, "validation_files_over",
            json_integer((json_int_t)tokens->n_over));
    }
}

json_t *ecert_report_head(const char *store, int64_t now)
{
    json_t *object = json_object();

    set(object, "schema", text(ECERT_REPORT_SCHEMA));
    set(object, "version", json_integer(ECERT_REPORT_VERSION));
    set(object, "time", date(now));
    set(object, "store", text(store));
    return object;
}
