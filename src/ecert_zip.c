#include "ecert_zip.h"

#include <stdlib.h>
#include <string.h>

#include <archive.h>
#include <archive_entry.h>
#include <openssl/crypto.h>

typedef struct {
    struct archive *archive;
    const char *name;
    size_t most;  /* bytes that may come of it */
    size_t total; /* that came of it */
    unsigned char *bytes;
    ecert_zip_take_t *take;
    void *ctx;
    ecert_err_t *err;
} zip_t;

/* Who knows the archive can still bring what matters. */
static int unpack(zip_t *zip)
{
    return ecert_err_hint(zip->err, "unpack it, and hand over the certificates "
                                    "in it");
}

/* The library knows no code for what it cannot do, only words ("Unsupported ZIP
 * compression method (9: deflation-64-bit)"). */
static int damaged(zip_t *zip)
{
    const char *why = archive_error_string(zip->archive);

    if (why != NULL && strncmp(why, "Unsupported", 11) == 0) {
        ecert_err(zip->err, ECERT_ERR_FORMAT, zip->name, "%s", why);
        return unpack(zip);
    }
    return ecert_err(zip->err, ECERT_ERR_DAMAGED, zip->name, "%s",
                     why ? why : "a ZIP archive");
}

/* Without it the library does not know the format. */
static int no_directory(zip_t *zip)
{
    return ecert_err(
        zip->err, ECERT_ERR_DAMAGED, zip->name,
        "the directory at the end of the ZIP archive is cut off or "
        "damaged");
}

/* Only a name, to be shown and to tell files apart. */
static const char *path_of(struct archive_entry *entry)
{
    const char *path = archive_entry_pathname(entry);

    path = path ? path : archive_entry_pathname_utf8(entry);
    return path ? path : "?";
}

/* Hidden files, also those of macOS; and whatever is no file. */
static int is_passed_over(struct archive_entry *entry)
{
    const char *path = path_of(entry), *slash = strrchr(path, '/');

    return archive_entry_filetype(entry) != AE_IFREG
           || archive_entry_hardlink(entry) != NULL
           || strncmp(path, "__MACOSX/", 9) == 0
           || (slash ? slash + 1 : path)[0] == '.';
}

static int check_size(zip_t *zip, const char *path, size_t len)
{
    if (len > ECERT_ZIP_FILE) {
        ecert_err(zip->err, ECERT_ERR_TOO_LARGE, zip->name,
                  "%s in it has more than %d bytes", path, ECERT_ZIP_FILE);
        return unpack(zip);
    }
    if (zip->total + len > zip->most) {
        ecert_err(zip->err, ECERT_ERR_TOO_LARGE, zip->name,
                  "more than %zu bytes come of it", zip->most);
        return unpack(zip);
    }
    return 0;
}

/* Sizes that the archive tells are not asked for: bytes are counted. */
static int read_file(zip_t *zip, const char *path, size_t *len)
{
    la_ssize_t n;

    *len = 0;
    do {
        n = archive_read_data(zip->archive, zip->bytes + *len,
                              ECERT_ZIP_FILE + 1 - *len);
        if (n < 0) {
            return damaged(zip);
        }
        *len += (size_t)n;
        if (check_size(zip, path, *len) != 0) {
            return -1;
        }
    } while (n > 0);
    zip->total += *len;
    return 0;
}

static int take_entry(zip_t *zip, struct archive_entry *entry)
{
    const char *path = path_of(entry);
    size_t len;

    if (is_passed_over(entry)) {
        return 0;
    }
    if (archive_entry_is_encrypted(entry)) {
        ecert_err(zip->err, ECERT_ERR_FORMAT, zip->name,
                  "expected an open ZIP archive, found %s in it encrypted",
                  path);
        return ecert_err_hint(zip->err, "unpack it with its password, and hand "
                                        "over the files in it");
    }
    return read_file(zip, path, &len) == 0
               ? zip->take(zip->ctx, path, zip->bytes, len, zip->err)
               : -1;
}

/* A name in another character set is worth a warning to the library. */
static int read_entries(zip_t *zip)
{
    struct archive_entry *entry;
    int rc = 0;

    for (int n = 0; rc == 0; n++) {
        int got = archive_read_next_header(zip->archive, &entry);

        if (got == ARCHIVE_EOF) {
            break;
        }
        if (got != ARCHIVE_OK && got != ARCHIVE_WARN) {
            return n > 0 ? damaged(zip) : no_directory(zip);
        }
        if (n == ECERT_ZIP_ENTRIES) {
            ecert_err(zip->err, ECERT_ERR_TOO_MANY, zip->name,
                      "more than %d files and folders in it",
                      ECERT_ZIP_ENTRIES);
            return unpack(zip);
        }
        rc = take_entry(zip, entry);
    }
    return rc;
}

/* The directory at the archive's end counts: a cut archive is not read. */
static int open_archive(zip_t *zip, const unsigned char *bytes, size_t len)
{
    return archive_read_support_format_zip_seekable(zip->archive) == ARCHIVE_OK
                   && archive_read_open_memory(zip->archive, bytes, len)
                          == ARCHIVE_OK
               ? 0
               : no_directory(zip);
}

int ecert_zip_each(const unsigned char *bytes, size_t len, const char *archive,
                   ecert_zip_take_t *take, void *ctx, ecert_err_t *err)
{
    zip_t zip = {.archive = archive_read_new(),
                 .name = archive,
                 .most = len * ECERT_ZIP_RATIO,
                 .bytes = malloc(ECERT_ZIP_FILE + 1),
                 .take = take,
                 .ctx = ctx,
                 .err = err};
    int rc;

    if (zip.most > ECERT_ZIP_TOTAL) {
        zip.most = ECERT_ZIP_TOTAL;
    }
    if (zip.archive == NULL || zip.bytes == NULL) {
        rc = ecert_err(err, ECERT_ERR_MEMORY, archive, NULL);
    } else {
        rc = open_archive(&zip, bytes, len);
        rc = rc == 0 ? read_entries(&zip) : rc;
        OPENSSL_cleanse(zip.bytes, ECERT_ZIP_FILE + 1);
    }
    archive_read_free(zip.archive);
    free(zip.bytes);
    return rc;
}
