#include "ecert_ca.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "ecert_ca_work.h"
#include "ecert_conf.h"

#ifndef ECERT_CA_JSON
#define ECERT_CA_JSON "src/ca/hongkongpost.json"
#endif

#define DAY         86400
#define ENTRIES_MAX 1024

/* The file itself, in read-only data: the executable needs no file for it. */
__asm__(".section .rodata\n"
        ".local ecert_ca_json\n"
        ".local ecert_ca_json_end\n"
        "ecert_ca_json:\n"
        ".incbin \"" ECERT_CA_JSON "\"\n"
        "ecert_ca_json_end:\n"
        ".byte 0\n"
        ".previous\n");
extern const char ecert_ca_json[];
extern const char ecert_ca_json_end[];

/* Where in the file the parser is, for messages. */
typedef struct {
    const char *file;
    size_t i; /* of the entry */
    ecert_err_t *err;
} place_t;

static int wrong(const place_t *at, const char *member, const char *expected)
{
    return ecert_err(at->err, ECERT_ERR_CATALOGUE, at->file,
                     "entries[%zu].%s: expected %s", at->i, member, expected);
}

/* A string member; absent is NULL and fine unless it is required. */
static int get_string(const place_t *at, json_t *object, const char *member,
                      int required, char **out)
{
    json_t *value = json_object_get(object, member);
    if (value == NULL && !required) {
        return 0;
    }
    const char *text = json_string_value(value);
    if (text == NULL || *text == '\0') {
        return wrong(at, member, "a string");
    }
    *out = strdup(text);
    if (*out == NULL) {
        return ecert_err(at->err, ECERT_ERR_MEMORY, at->file, NULL);
    }
    return 0;
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *found = c ? strchr(digits, c | 0x20) : NULL;
    return found ? (int)(found - digits) : -1;
}

static int get_sha256(const place_t *at, json_t *object, unsigned char *out)
{
    const char *text = json_string_value(json_object_get(object, "sha256"));
    if (text == NULL || strlen(text) != 64) {
        return wrong(at, "sha256", "64 hexadecimal digits");
    }
    for (size_t i = 0; i < 32; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return wrong(at, "sha256", "64 hexadecimal digits");
        }
        out[i] = (unsigned char)(high << 4 | low);
    }
    return 0;
}

static int get_role(const place_t *at, json_t *object, ecert_ca_role_t *out)
{
    static const char *const words[] = {"", "root", "sub", "cross"};
    const char *text = json_string_value(json_object_get(object, "role"));
    for (int i = ECERT_CA_ROOT; text && i <= ECERT_CA_CROSS; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = (ecert_ca_role_t)i;
            return 0;
        }
    }
    return wrong(at, "role", "\"root\", \"sub\" or \"cross\"");
}

static int get_status(const place_t *at, json_t *object, int *denied)
{
    json_t *value = json_object_get(object, "status");
    const char *text = json_string_value(value);
    if (value == NULL || (text && strcmp(text, "current") == 0)) {
        return 0;
    }
    if (text == NULL || strcmp(text, "denied") != 0) {
        return wrong(at, "status", "\"current\" or \"denied\"");
    }
    *denied = 1;
    return 0;
}

static int get_useful_until(const place_t *at, json_t *object, int64_t *out)
{
    json_t *value = json_object_get(object, "useful_until");
    if (value == NULL) {
        return 0;
    }
    int64_t midnight;
    if (ecert_ca_day(value, &midnight) != 0) {
        return wrong(at, "useful_until", "a date such as \"2027-04-15\"");
    }
    *out = midnight + DAY; /* that day is still inside */
    return 0;
}

static int parse_entry(const place_t *at, json_t *object,
                       ecert_ca_entry_t *entry)
{
    if (!json_is_object(object)) {
        return ecert_err(at->err, ECERT_ERR_CATALOGUE, at->file,
                         "entries[%zu]: expected an object", at->i);
    }
    if (get_string(at, object, "id", 1, &entry->id) != 0
        || get_role(at, object, &entry->role) != 0
        || get_string(at, object, "name", 1, &entry->name) != 0
        || get_string(at, object, "issuer", 0, &entry->issuer) != 0
        || get_sha256(at, object, entry->sha256) != 0
        || get_status(at, object, &entry->denied) != 0
        || get_string(at, object, "reason", 0, &entry->reason) != 0
        || get_useful_until(at, object, &entry->useful_until) != 0
        || get_string(at, object, "url", 0, &entry->url) != 0) {
        return -1;
    }
    return 0;
}

/* Ids and fingerprints stand once each; an issuer is the id of another. */
static int check_entry(const place_t *at, const ecert_ca_t *ca)
{
    const ecert_ca_entry_t *entry = &ca->entries[at->i];
    for (size_t i = 0; i < at->i; i++) {
        if (strcmp(ca->entries[i].id, entry->id) == 0) {
            return wrong(at, "id", "one that no other entry has");
        }
        if (memcmp(ca->entries[i].sha256, entry->sha256, 32) == 0) {
            return wrong(at, "sha256", "one that no other entry has");
        }
    }
    if (entry->issuer && ecert_ca_find_id(ca, entry->issuer) == NULL) {
        return wrong(at, "issuer", "the id of an entry");
    }
    return 0;
}

/* Whatever cannot be read as a date counts as "long ago". */
static int64_t updated_of(const json_t *root)
{
    const char *text = json_string_value(json_object_get(root, "updated"));
    int64_t seconds = 0;
    ecert_err_t ignored;
    return text && ecert_date_parse(text, &seconds, &ignored) == 0 ? seconds
                                                                   : 0;
}

static int parse_entries(ecert_ca_t *ca, json_t *list, const char *file,
                         ecert_err_t *err)
{
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n == 0 || n > ENTRIES_MAX) {
        return ecert_err(err, ECERT_ERR_CATALOGUE, file,
                         "entries: expected an array of 1 to %d objects",
                         ENTRIES_MAX);
    }
    ca->entries = calloc(n, sizeof(*ca->entries));
    if (ca->entries == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, file, NULL);
    }
    ca->n = n;
    place_t at = {file, 0, err};
    for (at.i = 0; at.i < n; at.i++) {
        if (parse_entry(&at, json_array_get(list, at.i), &ca->entries[at.i])) {
            return -1;
        }
    }
    for (at.i = 0; at.i < n; at.i++) {
        if (check_entry(&at, ca) != 0) {
            return -1;
        }
    }
    return 0;
}

/* What other programs read of it is checked here, too: members and types. */
static int check_head(json_t *root, const char *file, ecert_err_t *err)
{
    static const struct {
        const char *member;
        json_type type;
        const char *expected;
    } optional[] = {
        {"updated", JSON_STRING, "a string"},
        {"name", JSON_STRING, "a string"},
        {"validation", JSON_OBJECT, "an object"},
        {"validity_ceilings", JSON_ARRAY, "an array"},
        {"keys", JSON_ARRAY, "an array"},
    };
    const char *schema = json_string_value(json_object_get(root, "schema"));
    if (schema == NULL || strcmp(schema, "ecert-ca") != 0) {
        return ecert_err(err, ECERT_ERR_CATALOGUE, file,
                         "schema: expected \"ecert-ca\"");
    }
    json_t *version = json_object_get(root, "version");
    if (!json_is_integer(version) || json_integer_value(version) != 1) {
        return ecert_err(err, ECERT_ERR_CATALOGUE, file,
                         "version: expected the number 1");
    }
    for (size_t i = 0; i < sizeof(optional) / sizeof(optional[0]); i++) {
        json_t *value = json_object_get(root, optional[i].member);
        if (value != NULL && json_typeof(value) != optional[i].type) {
            return ecert_err(err, ECERT_ERR_CATALOGUE, file, "%s: expected %s",
                             optional[i].member, optional[i].expected);
        }
    }
    return 0;
}

ecert_ca_t *ecert_ca_parse(const char *bytes, size_t len, const char *file,
                           ecert_err_t *err)
{
    json_error_t where;
    json_t *root = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, &where);
    if (root == NULL) {
        ecert_err(err, ECERT_ERR_CATALOGUE, file, "line %d: %s", where.line,
                  where.text);
        return NULL;
    }
    ecert_ca_t *ca = calloc(1, sizeof(*ca));
    int rc;
    if (ca == NULL) {
        rc = ecert_err(err, ECERT_ERR_MEMORY, file, NULL);
    } else if ((rc = check_head(root, file, err)) == 0) {
        ca->updated = updated_of(root);
        rc = ecert_ca_rules_parse(ca, root, file, err);
    }
    if (rc == 0) {
        rc = parse_entries(ca, json_object_get(root, "entries"), file, err);
    }
    json_decref(root);
    if (rc != 0) {
        ecert_ca_free(ca);
        return NULL;
    }
    return ca;
}

ecert_ca_t *ecert_ca_builtin(ecert_err_t *err)
{
    /* cppcheck-suppress comparePointers; both are ends of what .incbin put */
    size_t len = (size_t)(ecert_ca_json_end - ecert_ca_json);

    return ecert_ca_parse(ecert_ca_json, len, "built-in catalogue", err);
}

void ecert_ca_free(ecert_ca_t *ca)
{
    if (ca == NULL) {
        return;
    }
    for (size_t i = 0; i < ca->n; i++) {
        free(ca->entries[i].id);
        free(ca->entries[i].name);
        free(ca->entries[i].issuer);
        free(ca->entries[i].reason);
        free(ca->entries[i].url);
    }
    free(ca->entries);
    ecert_ca_rules_free(ca);
    free(ca);
}

const ecert_ca_entry_t *ecert_ca_find(const ecert_ca_t *ca, X509 *cert)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    if (ca == NULL || !X509_digest(cert, EVP_sha256(), md, &len) || len != 32) {
        return NULL;
    }
    for (size_t i = 0; i < ca->n; i++) {
        if (memcmp(ca->entries[i].sha256, md, 32) == 0) {
            return &ca->entries[i];
        }
    }
    return NULL;
}

const ecert_ca_entry_t *ecert_ca_find_id(const ecert_ca_t *ca, const char *id)
{
    for (size_t i = 0; ca != NULL && i < ca->n; i++) {
        if (strcmp(ca->entries[i].id, id) == 0) {
            return &ca->entries[i];
        }
    }
    return NULL;
}

static int is_root(const ecert_ca_t *ca, const char *name, size_t len)
{
    for (size_t i = 0; i < ca->n; i++) {
        const ecert_ca_entry_t *entry = &ca->entries[i];
        if (entry->role == ECERT_CA_ROOT && !entry->denied
            && strlen(entry->name) == len
            && memcmp(entry->name, name, len) == 0) {
            return 1;
        }
    }
    return 0;
}

int ecert_ca_root_name(const ecert_ca_t *ca, const X509_NAME *subject)
{
    int n = ca == NULL ? 0 : X509_NAME_entry_count(subject);
    int found = 0;
    for (int i = 0; i < n && !found; i++) {
        const X509_NAME_ENTRY *part = X509_NAME_get_entry(subject, i);
        int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(part));
        if (nid != NID_commonName && nid != NID_organizationalUnitName) {
            continue;
        }
        unsigned char *text = NULL;
        int len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(part));
        found = len > 0 && is_root(ca, (const char *)text, (size_t)len);
        OPENSSL_free(text);
    }
    return found;
}

size_t ecert_ca_count(const ecert_ca_t *ca)
{
    return ca == NULL ? 0 : ca->n;
}

const ecert_ca_entry_t *ecert_ca_entry(const ecert_ca_t *ca, size_t i)
{
    return ca != NULL && i < ca->n ? &ca->entries[i] : NULL;
}

int64_t ecert_ca_updated(const ecert_ca_t *ca)
{
    return ca->updated;
}
