/* JSON files of the store: read with good words, written whole. */

#ifndef ECERT_JSON_H
#define ECERT_JSON_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include "ecert_err.h"
#include "ecert_file.h"

/* The bytes as JSON, a new reference; SITE, naming file, line and column. */
json_t *ecert_json_parse(const unsigned char *bytes, size_t len,
                         const char *file, ecert_err_t *err);

/* A file that must hold an object; errors of ecert_file_read, and SITE. */
json_t *ecert_json_read(const char *path, ecert_err_t *err);

/* Indented, with a newline at its end; json stays the caller's. */
int ecert_json_write(const char *path, const json_t *json, mode_t mode,
                     ecert_err_t *err);

/* A member that is a string (no NUL inside), a moment, a boolean; NULL, 0 and
 * otherwise when it is not there or of another type. */
const char *ecert_json_text(const json_t *object, const char *member);
int64_t ecert_json_date(const json_t *object, const char *member);
int ecert_json_flag(const json_t *object, const char *member, int otherwise);

/* Sets a member; a text that is NULL or a date of 0 sets nothing. */
void ecert_json_set_text(json_t *object, const char *member, const char *text);
void ecert_json_set_date(json_t *object, const char *member, int64_t when);

/* An array of strings, and back (ecert_names_free); SITE, naming the member. */
json_t *ecert_json_texts(char *const *texts, size_t n);
int ecert_json_names(const json_t *object, const char *member, const char *file,
                     char ***names, size_t *n, ecert_err_t *err);

#endif
