/*
 * The program:
 *
 *   fuzz --list                      names of all targets
 *   fuzz --target=NAME [FILE]...     runs these inputs
 *   fuzz --target=NAME --seeds       runs all seeds, also cut and changed
 *   fuzz --target=NAME --write=DIR   writes DIR/seeds/N and DIR/words
 *
 * With libFuzzer the second form is libFuzzer's own.
 */

#include "fuzz.h"

#include <dirent.h>
#include <limits.h>

#include <sys/stat.h>

#include <openssl/err.h>

#define SEEDS   "t/fuzz/seeds"
#define CUTS    24 /* of each seed */
#define CHANGES 48
#define LARGE   (64 * 1024) /* seeds of this size are run as they are */

static fuzz_target_t *targets, *chosen;
static const char *write_to;
static size_t n_seeds, n_runs;

void fuzz_register(fuzz_target_t *target)
{
    fuzz_target_t **at = &targets;

    while (*at != NULL && strcmp((*at)->name, target->name) < 0) {
        at = &(*at)->next;
    }
    target->next = *at;
    *at = target;
}

static void judge(const uint8_t *bytes, size_t len)
{
    chosen->run(bytes, len);
    if (ERR_peek_error() != 0) {
        ERR_print_errors_fp(stderr);
        fuzz_broken(chosen->name, 0, "OpenSSL's error queue is empty");
    }
    n_runs++;
}

/* A copy that ends where it ends: a step beyond is seen by a sanitizer. */
static void judge_copy(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);

    FUZZ_CHECK(copy != NULL);
    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    judge(copy, len);
    free(copy);
}

/* The same ones each time: a failure is to be seen again. */
static void judge_changed(const uint8_t *bytes, size_t len)
{
    uint32_t number = (uint32_t)len * 2654435761u + 1;
    uint8_t *copy = malloc(len);

    FUZZ_CHECK(copy != NULL);
    for (size_t i = 0; i < CUTS; i++) {
        judge_copy(bytes, len * i / CUTS);
    }
    for (size_t i = 0; i < CHANGES; i++) {
        memcpy(copy, bytes, len);
        for (size_t k = 0; k <= i % 3; k++) {
            number = number * 1664525u + 1013904223u;
            copy[(number >> 8) % len] ^= (uint8_t)(number >> 24) | 1;
        }
        judge_copy(copy, len);
    }
    free(copy);
}

static void write_seed(const uint8_t *bytes, size_t len)
{
    char path[PATH_MAX];
    FILE *out;

    snprintf(path, sizeof(path), "%s/seeds/%zu", write_to, n_seeds);
    out = fopen(path, "we");
    FUZZ_CHECK(out != NULL);
    FUZZ_CHECK(fwrite(bytes, 1, len, out) == len);
    FUZZ_CHECK(fclose(out) == 0);
}

void fuzz_seed(const void *bytes, size_t len)
{
    n_seeds++;
    if (write_to != NULL) {
        write_seed(bytes, len);
        return;
    }
    judge_copy(bytes, len);
    if (len > 0 && len < LARGE) {
        judge_changed(bytes, len);
    }
}

void fuzz_seed_text(const char *text)
{
    fuzz_seed(text, strlen(text));
}

static void run_file(const char *path, void (*with)(const void *, size_t))
{
    FILE *in = fopen(path, "re");
    char *bytes;
    size_t len;

    if (in == NULL) {
        perror(path);
        exit(1);
    }
    bytes = fuzz_read_all(fileno(in), &len);
    fclose(in);
    with(bytes, len);
    free(bytes);
}

static void run_folder(void)
{
    char folder[256], path[PATH_MAX];
    struct dirent **names;
    int n;

    snprintf(folder, sizeof(folder), SEEDS "/%s", chosen->name);
    n = scandir(folder, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
        if (names[i]->d_name[0] != '.') {
            run_file(path, fuzz_seed);
        }
        free(names[i]);
    }
    if (n >= 0) {
        free(names);
    }
}

/* As libFuzzer reads it; every byte that is not plain as \xNN. */
static void write_words(void)
{
    char path[PATH_MAX];
    FILE *out;

    snprintf(path, sizeof(path), "%s/words", write_to);
    out = fopen(path, "we");
    FUZZ_CHECK(out != NULL);
    for (size_t i = 0; chosen->words && chosen->words[i]; i++) {
        fputc('"', out);
        for (const char *p = chosen->words[i]; *p != '\0'; p++) {
            fprintf(out, "\\x%02x", (unsigned)(unsigned char)*p);
        }
        fputs("\"\n", out);
    }
    FUZZ_CHECK(fclose(out) == 0);
}

static void all_seeds(void)
{
    if (chosen->seeds != NULL) {
        chosen->seeds();
    }
    if (write_to == NULL) {
        run_folder();
        judge_copy(NULL, 0);
    }
}

static void choose(const char *name)
{
    for (chosen = targets; chosen != NULL; chosen = chosen->next) {
        if (strcmp(chosen->name, name) == 0) {
            return;
        }
    }
    fprintf(stderr, "fuzz: there is no target %s\n", name);
    exit(1);
}

static int is_option(const char *arg, const char *name, const char **value)
{
    size_t n = strlen(name);

    if (strncmp(arg, name, n) != 0) {
        return 0;
    }
    *value = arg + n;
    return 1;
}

/* Ends the program when that is all there is to do. */
static void take_option(const char *arg)
{
    const char *value;

    if (is_option(arg, "--list", &value)) {
        for (fuzz_target_t *t = targets; t != NULL; t = t->next) {
            printf("%s %zu\n", t->name, t->max);
        }
        exit(0);
    }
    if (is_option(arg, "--target=", &value)) {
        choose(value);
        fuzz_pki(); /* before anything takes a random number */
    } else if (chosen != NULL && is_option(arg, "--write=", &write_to)) {
        all_seeds();
        write_words();
        exit(0);
    } else if (chosen != NULL && is_option(arg, "--seeds", &value)) {
        all_seeds();
        printf("%s: %zu seeds, %zu runs\n", chosen->name, n_seeds, n_runs);
        exit(0);
    }
}

#ifdef ECERT_LIBFUZZER

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    for (int i = 1; i < *argc; i++) {
        take_option((*argv)[i]);
    }
    if (chosen == NULL) {
        fprintf(stderr, "fuzz: --target=NAME is missing\n");
        exit(1);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    judge(bytes, len);
    return 0;
}

#else

static void run_bytes(const void *bytes, size_t len)
{
    judge_copy(bytes, len);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-') {
            take_option(argv[i]);
        } else if (chosen != NULL) {
            run_file(argv[i], run_bytes);
        }
    }
    return chosen != NULL ? 0 : 1;
}

#endif
