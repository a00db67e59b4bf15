/* What all targets share; see run.c for the program. */

#define OPENSSL_SUPPRESS_DEPRECATED

#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <unistd.h>

#include <sys/stat.h>

#include <openssl/rand.h>

void fuzz_broken(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

/* ---- input ------------------------------------------------------------- */

char *fuzz_text(const uint8_t *bytes, size_t len)
{
    char *text = malloc(len + 1);

    FUZZ_CHECK(text != NULL);
    if (len > 0) {
        memcpy(text, bytes, len);
    }
    text[len] = '\0';
    return text;
}

const uint8_t *fuzz_take(fuzz_in_t *in, size_t *n)
{
    const uint8_t *p = in->p;

    *n = *n < in->len ? *n : in->len;
    in->p += *n;
    in->len -= *n;
    return p;
}

static void take(fuzz_in_t *in, void *out, size_t size)
{
    size_t n = size;
    const uint8_t *p = fuzz_take(in, &n);

    memset(out, 0, size);
    if (n > 0) {
        memcpy(out, p, n);
    }
}

uint8_t fuzz_byte(fuzz_in_t *in)
{
    uint8_t out;

    take(in, &out, sizeof(out));
    return out;
}

uint16_t fuzz_two(fuzz_in_t *in)
{
    uint16_t out;

    take(in, &out, sizeof(out));
    return out;
}

int64_t fuzz_eight(fuzz_in_t *in)
{
    int64_t out;

    take(in, &out, sizeof(out));
    return out;
}

char *fuzz_line(fuzz_in_t *in)
{
    const uint8_t *end = in->len > 0 ? memchr(in->p, '\n', in->len) : NULL;
    size_t n = end ? (size_t)(end - in->p) : in->len, skip = 1;
    const uint8_t *p = fuzz_take(in, &n);

    fuzz_take(in, &skip);
    return fuzz_text(p, n);
}

/* ---- texts ------------------------------------------------------------- */

/* Written without a look at ecert_escape: its own decoder, its own list. */
static size_t sign_at(const unsigned char *p, unsigned long *sign)
{
    static const unsigned char marks[] = {0, 0, 0xc0, 0xe0, 0xf0};
    static const unsigned long least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    *sign = p[0];
    if (n == 1) {
        return 1;
    }
    *sign = (unsigned long)(p[0] ^ marks[n]);
    for (size_t i = 1; i < n; i++) {
        FUZZ_CHECK((p[i] & 0xc0) == 0x80);
        *sign = *sign << 6 | (p[i] & 0x3fu);
    }
    FUZZ_CHECK(*sign >= least[n] && *sign <= 0x10ffff);
    return n;
}

void fuzz_check_text(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    unsigned long sign;

    while (*p != '\0') {
        p += sign_at(p, &sign);
        FUZZ_CHECK(sign >= 0x20 && (sign < 0x7f || sign > 0x9f));
        FUZZ_CHECK(sign < 0xd800 || sign > 0xdfff);
        FUZZ_CHECK(sign != 0x061c && sign != 0xfeff);
        FUZZ_CHECK(sign < 0x200b || sign > 0x200f);
        FUZZ_CHECK(sign < 0x2028 || sign > 0x202e);
        FUZZ_CHECK(sign < 0x2066 || sign > 0x2069);
    }
}

void fuzz_check_err(const ecert_err_t *err)
{
    char line[2048];

    FUZZ_CHECK(err->code > ECERT_OK && err->code < ECERT_ERR_LAST);
    FUZZ_CHECK(memchr(err->file, '\0', sizeof(err->file)) != NULL);
    FUZZ_CHECK(memchr(err->detail, '\0', sizeof(err->detail)) != NULL);
    FUZZ_CHECK(memchr(err->hint, '\0', sizeof(err->hint)) != NULL);
    fuzz_check_text(err->file);
    fuzz_check_text(err->detail);
    fuzz_check_text(err->hint);
    fuzz_check_text(ecert_err_line(err, "www.example.hk", line, sizeof(line)));
    fuzz_check_text(ecert_err_line(err, NULL, line, 90));
}

/* ---- the CA ------------------------------------------------------------ */

/*
 * Keys and certificates are the same in every process, so that an input that
 * was kept means the same in the next one.
 */
static int not_random(unsigned char *out, int n)
{
    static uint64_t state = 0x9e3779b97f4a7c15;

    for (int i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        out[i] = (unsigned char)(state >> 56);
    }
    return 1;
}

static int is_seeded(void)
{
    return 1;
}

static const RAND_METHOD same = {
    .bytes = not_random, .pseudorand = not_random, .status = is_seeded};

const pki_t *fuzz_pki(void)
{
    static pki_t *pki;

    if (pki == NULL) {
        FUZZ_CHECK(RAND_set_rand_method(&same) == 1);
        pki = pki_new(FUZZ_NOW);
    }
    return pki;
}

/* ---- files ------------------------------------------------------------- */

static char folder[64];

static int remove_entry(const char *path, const struct stat *st, int type,
                        struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void remove_folder(void)
{
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_folder(void)
{
    if (folder[0] == '\0') {
        umask(022);
        strcpy(folder, access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        strcat(folder, "/ecert-fuzz-XXXXXX");
        FUZZ_CHECK(mkdtemp(folder) != NULL);
        atexit(remove_folder);
    }
    return folder;
}

const char *fuzz_file(const char *name, const void *bytes, size_t len)
{
    static char path[PATH_MAX];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", fuzz_folder(), name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    FUZZ_CHECK(fd >= 0);
    FUZZ_CHECK(write(fd, bytes, len) == (ssize_t)len);
    close(fd);
    return path;
}

char *fuzz_read_all(int fd, size_t *len)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *out;

    FUZZ_CHECK(size >= 0);
    *len = (size_t)size;
    out = malloc(*len + 1);
    FUZZ_CHECK(out != NULL);
    FUZZ_CHECK(pread(fd, out, *len, 0) == (ssize_t)*len);
    out[*len] = '\0';
    return out;
}
