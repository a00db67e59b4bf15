#include "ecert_json.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "ecert_conf.h"

json_t *ecert_json_parse(const unsigned char *bytes, size_t len,
                         const char *file, ecert_err_t *err)
{
    const char *text = (const char *)bytes;
    json_error_t at;
    json_t *root;

    /* Some editors put a byte order mark first; JSON knows none. */
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    root = json_loadb(text, len,
                      JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL,
                      &at);
    if (root == NULL) {
        ecert_err(err, ECERT_ERR_SITE, file, "line %d, column %d: %s", at.line,
                  at.column, at.text);
    }
    return root;
}

json_t *ecert_json_read(const char *path, ecert_err_t *err)
{
    ecert_file_t file;
    json_t *root;

    if (ecert_file_read(path, ECERT_FILE_MAX, NULL, &file, err) != 0) {
        return NULL;
    }
    root = ecert_json_parse(file.bytes, file.len, path, err);
    ecert_file_free(&file);
    if (root != NULL && !json_is_object(root)) {
        json_decref(root);
        ecert_err(err, ECERT_ERR_SITE, path, "it is not a JSON object");
        return NULL;
    }
    return root;
}

json_t *ecert_json_read_or_new(const char *path, ecert_err_t *err)
{
    json_t *root = ecert_json_read(path, err);

    if (root != NULL || err->code != ECERT_ERR_MISSING) {
        return root;
    }
    root = json_object();
    if (root == NULL) {
        ecert_err(err, ECERT_ERR_MEMORY, path, NULL);
    }
    return root;
}

int ecert_json_write(const char *path, const json_t *json, mode_t mode,
                     ecert_err_t *err)
{
    char *text = json_dumps(json, JSON_INDENT(2));
    size_t len = text ? strlen(text) : 0;
    int rc;

    if (text == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, path, NULL);
    }
    text[len] = '\n'; /* in place of the terminator: the length is known */
    rc = ecert_file_write(path, text, len + 1, mode, err);
    free(text);
    return rc;
}

const char *ecert_json_string(const json_t *value)
{
    const char *text = json_string_value(value);

    return text != NULL && strlen(text) == json_string_length(value) ? text
                                                                     : NULL;
}

const char *ecert_json_text(const json_t *object, const char *member)
{
    return ecert_json_string(json_object_get(object, member));
}

int64_t ecert_json_date(const json_t *object, const char *member)
{
    const char *text = ecert_json_text(object, member);
    ecert_err_t ignored;
    int64_t when;

    return text != NULL && ecert_date_parse(text, &when, &ignored) == 0 ? when
                                                                        : 0;
}

int ecert_json_flag(const json_t *object, const char *member, int otherwise)
{
    const json_t *value = json_object_get(object, member);

    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

void ecert_json_set_text(json_t *object, const char *member, const char *text)
{
    char escaped[PATH_MAX];

    if (text != NULL
        && json_object_set_new(object, member, json_string(text)) != 0) {
        ecert_escape(escaped, sizeof(escaped), text, strlen(text));
        json_object_set_new(object, member, json_string(escaped));
    }
}

void ecert_json_set_date(json_t *object, const char *member, int64_t when)
{
    char text[32];

    if (when != 0) {
        ecert_json_set_text(object, member, ecert_date_format(when, text));
    }
}

json_t *ecert_json_texts(char *const *texts, size_t n)
{
    json_t *array = json_array();

    for (size_t i = 0; i < n; i++) {
        if (json_array_append_new(array, json_string(texts[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static ecert_code_t take_texts(const json_t *array, char **names, size_t *n)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *text = ecert_json_string(json_array_get(array, i));

        if (text == NULL) {
            return ECERT_ERR_SITE;
        }
        names[*n] = strdup(text);
        if (names[*n] == NULL) {
            return ECERT_ERR_MEMORY;
        }
        (*n)++;
    }
    return ECERT_OK;
}

int ecert_json_names(const json_t *object, const char *member, const char *file,
                     char ***names, size_t *n, ecert_err_t *err)
{
    const json_t *array = json_object_get(object, member);
    int code =
        array == NULL || json_is_array(array) ? ECERT_OK : ECERT_ERR_SITE;

    *n = 0;
    *names = calloc(json_array_size(array) + 1, sizeof(**names));
    if (*names == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, file, NULL);
    }
    if (code == ECERT_OK) {
        code = take_texts(array, *names, n);
    }
    if (code == ECERT_OK) {
        return 0;
    }
    ecert_names_free(*names, *n);
    *names = NULL;
    *n = 0;
    return code == ECERT_ERR_MEMORY
               ? ecert_err(err, ECERT_ERR_MEMORY, file, NULL)
               : ecert_err(err, ECERT_ERR_SITE, file,
                           "member \"%s\" is not an array of strings", member);
}
