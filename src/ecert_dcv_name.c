#include "ecert_dcv_mend.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "ecert_dcv.h"

#define NAME_MAX_READ 512

static int ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), n = strlen(end);

    return len > n && strcasecmp(name + len - n, end) == 0;
}

/* Where ".txt" begins; the end where there is none. */
static size_t stem_of(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot != NULL && dot != name ? (size_t)(dot - name) : strlen(name);
}

/* Safari's "fileauth.txt.download". */
static int drop_download(char *name)
{
    if (!ends_with(name, ".download")) {
        return 0;
    }
    name[stem_of(name)] = '\0';
    return 1;
}

/* "fileauth.txt.txt": Windows hides the second one. */
static int drop_twin(char *name)
{
    size_t stem = stem_of(name), n = strlen(name + stem);

    if (n < 2 || stem <= n
        || strncasecmp(name + stem - n, name + stem, n) != 0) {
        return 0;
    }
    name[stem] = '\0';
    return 1;
}

/* "(1)", "[1]" right before `end`, and the spaces before it. */
static int drop_count_at(char *name, size_t end)
{
    size_t at = end;

    if (at == 0 || (name[at - 1] != ')' && name[at - 1] != ']')) {
        return 0;
    }
    at--;
    while (at > 0 && name[at - 1] >= '0' && name[at - 1] <= '9') {
        at--;
    }
    if (at + 1 == end || at < 2
        || name[at - 1] != (name[end - 1] == ')' ? '(' : '[')) {
        return 0;
    }
    at--;
    while (at > 0 && name[at - 1] == ' ') {
        at--;
    }
    if (at == 0) {
        return 0;
    }
    memmove(name + at, name + end, strlen(name + end) + 1);
    return 1;
}

static int drop_count(char *name)
{
    return drop_count_at(name, stem_of(name))
           || drop_count_at(name, strlen(name));
}

static int all_digits(const char *text, size_t len)
{
    return len > 0 && len < 4 && strspn(text, "0123456789") >= len;
}

/* "fileauth", "FILEAUTH.TXT", "fileauth-1.txt", "fileauth.txt.1" and ".html" */
static int is_usual(const char *name, const char *usual)
{
    size_t stem = stem_of(usual), len = strlen(usual);
    const char *extension = usual + stem, *end = name + stem_of(name);

    if (strncasecmp(name, usual, stem) != 0) {
        return 0;
    }
    if (name[stem] == '\0' || strcasecmp(name, usual) == 0) {
        return 1;
    }
    if (strncasecmp(name, usual, len) == 0 && name[len] == '.') {
        const char *more = name + len + 1;

        return all_digits(more, strlen(more)) || strcasecmp(more, "html") == 0
               || strcasecmp(more, "htm") == 0;
    }
    return strchr("-_ ", name[stem]) != NULL && end > name + stem
           && strcasecmp(end, extension) == 0
           && all_digits(name + stem + 1, (size_t)(end - name) - stem - 1);
}

static int is_unfinished(const char *name)
{
    return ends_with(name, ".crdownload") || ends_with(name, ".part")
           || ends_with(name, ".partial") || ends_with(name, ".opdownload");
}

static int is_acceptable(const char *name)
{
    char path[sizeof(ECERT_DCV_PREFIX) + NAME_MAX_READ];
    int len = snprintf(path, sizeof(path), "%s%s", ECERT_DCV_PREFIX, name);
    size_t file_len;

    return len > 0 && (size_t)len < sizeof(path)
           && ecert_dcv_file(path, (size_t)len, &file_len) != NULL;
}

static int put_name(const char *name, const char *usual, char *out,
                    ecert_err_t *err)
{
    if (!is_acceptable(name)) {
        ecert_err(err, ECERT_ERR_TOKEN, name,
                  "its name is to have letters, digits, dots, underscores and "
                  "hyphens alone, %d at most, and no dot first",
                  ECERT_DCV_FILE_MAX);
        return ecert_err_hint(err,
                              "give it the name that the CA's portal "
                              "tells%s%s",
                              usual ? ": " : "", usual ? usual : "");
    }
    memcpy(out, name, strlen(name) + 1);
    return 0;
}

int ecert_dcv_name(const char *path, const char *as, const char *usual,
                   char *out, ecert_err_t *err)
{
    const char *slash, *last;
    char name[NAME_MAX_READ];

    if (as != NULL) {
        return put_name(as, usual, out, err);
    }
    slash = strrchr(path, '/');
    last = slash ? slash + 1 : path;
    if (usual != NULL && strcmp(path, "-") == 0) {
        last = usual; /* standard input */
    }
    if (is_unfinished(last)) {
        return ecert_err(err, ECERT_ERR_TOKEN, path,
                         "the browser has not finished this download");
    }
    if (last[0] == '.' || strlen(last) >= sizeof(name)) {
        return put_name(last, usual, out, err);
    }
    snprintf(name, sizeof(name), "%s", last);
    while (drop_download(name) || drop_twin(name) || drop_count(name)) {
    }
    return put_name(usual != NULL && is_usual(name, usual) ? usual : name,
                    usual, out, err);
}
