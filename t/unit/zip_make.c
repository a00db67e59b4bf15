#include "zip_make.h"

#include <stdlib.h>
#include <string.h>

#include <archive.h>
#include <archive_entry.h>

#define ROOM ((size_t)4 * 1024 * 1024)

static void must(int holds)
{
    if (!holds) {
        abort();
    }
}

void zip_make(zip_made_t *zip, const char *options)
{
    zip->writer = archive_write_new();
    zip->bytes = malloc(ROOM);
    zip->len = 0;
    must(zip->writer != NULL && zip->bytes != NULL);
    must(archive_write_set_format_zip(zip->writer) == ARCHIVE_OK);
    must(archive_write_set_options(zip->writer, options) == ARCHIVE_OK);
    must(archive_write_set_passphrase(zip->writer, "secret") == ARCHIVE_OK);
    must(archive_write_set_bytes_in_last_block(zip->writer, 1) == ARCHIVE_OK);
    must(archive_write_open_memory(zip->writer, zip->bytes, ROOM, &zip->len)
         == ARCHIVE_OK);
}

static void add(zip_made_t *zip, const char *path, unsigned type,
                const char *target, const void *bytes, size_t len)
{
    struct archive_entry *entry = archive_entry_new();

    must(entry != NULL);
    archive_entry_set_pathname(entry, path);
    archive_entry_set_filetype(entry, type);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_mtime(entry, 1795392000, 0);
    archive_entry_set_size(entry, (la_int64_t)len);
    if (target != NULL) {
        archive_entry_set_symlink(entry, target);
    }
    must(archive_write_header(zip->writer, entry) == ARCHIVE_OK);
    must(len == 0
         || archive_write_data(zip->writer, bytes, len) == (la_ssize_t)len);
    archive_entry_free(entry);
}

void zip_file(zip_made_t *zip, const char *path, const void *bytes, size_t len)
{
    add(zip, path, AE_IFREG, NULL, bytes, len);
}

void zip_text(zip_made_t *zip, const char *path, const char *text)
{
    zip_file(zip, path, text, strlen(text));
}

void zip_folder(zip_made_t *zip, const char *path)
{
    add(zip, path, AE_IFDIR, NULL, NULL, 0);
}

void zip_link(zip_made_t *zip, const char *path, const char *target)
{
    add(zip, path, AE_IFLNK, target, NULL, 0);
}

void zip_done(zip_made_t *zip)
{
    must(archive_write_close(zip->writer) == ARCHIVE_OK);
    archive_write_free(zip->writer);
    zip->writer = NULL;
}

void zip_free(zip_made_t *zip)
{
    free(zip->bytes);
    zip->bytes = NULL;
}
