/* JSON files of the store: read with good words, written whole. */

#ifndef ECERT_JSON_H
#define ECERT_JSON_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include "ecert_err.h"
#include "ecert_file.h"

/* The bytes as JSON (RFC 8259) of any type, with or without a byte order mark;
 * a new reference.  SITE, naming file, line and column; a member that is there
 * twice is one, too. */
json_t *ecert_json_parse(const unsigned char *bytes, size_t len,
                         const char *file, ecert_err_t *err);

/* A file that must hold an object, a new reference; errors of ecert_file_read,
 * and SITE. */
json_t *ecert_json_read(const char *path, ecert_err_t *err);

/* The same, but {} where the file is missing. */
json_t *ecert_json_read_or_new(const char *path, ecert_err_t *err);

/* Indented, with a newline at its end, members in their order; json stays the
 * caller's.  Errors of ecert_file_write; MEMORY, also for a json of NULL. */
int ecert_json_write(const char *path, const json_t *json, mode_t mode,
                     ecert_err_t *err);

/* A value that is a string without a NUL in it, which C would cut short; else
 * NULL.  It belongs to value. */
const char *ecert_json_string(const json_t *value);

/* A member that is such a string, a moment, a boolean; NULL, 0 and otherwise
 * when it is not there or of another type, or object is none. */
const char *ecert_json_text(const json_t *object, const char *member);
int64_t ecert_json_date(const json_t *object, const char *member);
int ecert_json_flag(const json_t *object, const char *member, int otherwise);

/* Sets a member; a text that is NULL or a date of 0 sets nothing.  Of a text
 * that is not UTF-8 (the name of a file may be anything) the bytes that are not
 * are written as ecert_escape does. */
void ecert_json_set_text(json_t *object, const char *member, const char *text);
void ecert_json_set_date(json_t *object, const char *member, int64_t when);

/* A new array of strings; NULL on lack of memory, or for what is not UTF-8. */
json_t *ecert_json_texts(char *const *texts, size_t n);

/* And back: *names is the caller's (ecert_names_free), empty without the
 * member.  SITE, naming the member, when it is no array of strings. */
int ecert_json_names(const json_t *object, const char *member, const char *file,
                     char ***names, size_t *n, ecert_err_t *err);

#endif
