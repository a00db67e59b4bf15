/* What a file reads as, for the tests of files. */

#ifndef READS_H
#define READS_H

#include "ecert_file.h"
#include "scratch.h"

static inline void assert_reads(const char *path, const char *text)
{
    ecert_file_t file;
    ecert_err_t err;

    if (ecert_file_read(path, ECERT_FILE_MAX, NULL, &file, &err) != 0) {
        fail_msg("%s: %s", err.file, err.detail);
    }
    assert_int_equal(file.len, strlen(text));
    assert_string_equal((char *)file.bytes, text);
    ecert_file_free(&file);
    assert_null(file.bytes);
}

#endif
