/* A scratch folder for each test; and what a test must not leave behind: open
 * descriptors, and errors in OpenSSL's queue. */

#ifndef CLEAN_H
#define CLEAN_H

#include "scratch.h"

#include <dirent.h>

#include <openssl/err.h>

#include "ecert_err.h"

static int clean_files;

static inline int clean_count(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    while (dir != NULL && readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n;
}

static inline int clean_setup(void **state)
{
    ERR_clear_error();
    clean_files = clean_count();
    return scratch_setup(state);
}

static inline int clean_teardown(void **state)
{
    int files = clean_count(), rc = scratch_teardown(state);

    if (files != clean_files || ERR_peek_error() != 0) {
        print_error("%d descriptors more, OpenSSL's queue: %s\n",
                    files - clean_files,
                    ERR_error_string(ERR_peek_error(), NULL));
        return -1;
    }
    return rc;
}

#define CLEAN(name)                                                            \
    cmocka_unit_test_setup_teardown(name, clean_setup, clean_teardown)

/* The code is compared by its word, which tells more when it is wrong. */
static inline void assert_err(const ecert_err_t *err, ecert_code_t code)
{
    assert_string_equal(ecert_err_word(err->code), ecert_err_word(code));
}

static inline int is_there(const char *name)
{
    struct stat st;

    return lstat(at(name), &st) == 0;
}

static inline mode_t mode_of(const char *name)
{
    struct stat st;

    assert_int_equal(lstat(at(name), &st), 0);
    return st.st_mode & 07777;
}

/* Entries of a folder, those with a dot first, too. */
static inline int entries(const char *name)
{
    DIR *dir = opendir(at(name));
    int n = -2;

    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n;
}

/* What a file holds, with a terminator; free() it. */
static inline char *slurp(const char *name)
{
    FILE *in = fopen(at(name), "r");
    char *text = calloc(1, 100000);

    assert_non_null(in);
    assert_non_null(text);
    assert_true(fread(text, 1, 99999, in) > 0);
    fclose(in);
    return text;
}

static inline void assert_holds(const char *name, const char *text)
{
    char *held = slurp(name);

    assert_string_equal(held, text);
    free(held);
}

/* A path below the scratch folder that is longer than any may be. */
static inline const char *too_long_path(void)
{
    static char path[PATH_MAX + 100];
    size_t len = (size_t)snprintf(path, sizeof(path), "%s", scratch);

    while (len < PATH_MAX + 50) {
        len += (size_t)snprintf(path + len, sizeof(path) - len, "/d");
    }
    return path;
}

#endif
