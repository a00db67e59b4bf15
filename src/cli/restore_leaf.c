#include "restore_leaf.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/x509v3.h>

#include "ecert_json.h"
#include "ecert_name.h"

int ecert_restore_names(X509 *leaf, const char *first, char ***names, size_t *n)
{
    GENERAL_NAMES *sans =
        X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    char text[ECERT_NAME_MAX * 4], ascii[ECERT_NAME_MAX];
    ecert_err_t ignored;
    int type, lost = 0, size = sk_GENERAL_NAME_num(sans);

    *n = 0;
    *names = calloc((size > 0 ? (size_t)size : 0) + 1, sizeof(**names));
    if (*names != NULL && first[0] != '\0') {
        (*names)[0] = strdup(first);
        lost = (*names)[0] == NULL;
        *n = !lost;
    }
    for (int i = 0; *names != NULL && !lost && i < size; i++) {
        const ASN1_STRING *value =
            GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(sans, i), &type);

        if (type != GEN_DNS) {
            continue;
        }
        ecert_escape(text, sizeof(text),
                     (const char *)ASN1_STRING_get0_data(value),
                     (size_t)ASN1_STRING_length(value));
        if (ecert_name_ascii(text, ascii, &ignored) != 0) {
            lost |= ecert_err_refused(&ignored);
        } else if (strcmp(ascii, first) != 0) {
            (*names)[*n] = strdup(ascii);
            lost |= (*names)[*n] == NULL;
            *n += !lost;
        }
    }
    GENERAL_NAMES_free(sans);
    if (lost) {
        ecert_names_free(*names, *n);
        *names = NULL;
    }
    return *names ? 0 : -1;
}

json_t *ecert_restore_subject(X509 *leaf)
{
    static const struct {
        int nid;
        const char *member;
    } parts[] = {
        {NID_countryName, "country"},
        {NID_stateOrProvinceName, "state"},
        {NID_localityName, "locality"},
        {NID_organizationName, "organization"},
        {NID_organizationalUnitName, "unit"},
    };
    const X509_NAME *name = X509_get_subject_name(leaf);
    json_t *site = json_object(), *subject = json_object();

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        int at = X509_NAME_get_index_by_NID(name, parts[i].nid, -1);
        unsigned char *text = NULL;

        if (at >= 0
            && ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(
                                              X509_NAME_get_entry(name, at)))
                   > 0) {
            ecert_json_set_text(subject, parts[i].member, (char *)text);
        }
        OPENSSL_free(text);
    }
    json_object_set_new(site, "subject", subject);
    return site;
}
