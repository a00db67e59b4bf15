/*
 * Targets of fuzzing: one file fuzz_NAME.c each, that registers itself.  They
 * make one program.  Without libFuzzer it runs each seed, and some that are cut
 * or changed, once (t/fuzz_seeds.t); with it (auto/fuzz) it goes on from them.
 */

#ifndef T_FUZZ_FUZZ_H
#define T_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ecert_err.h"
#include "pki.h"

/* A moment in the life of the look-alike CA. */
#define FUZZ_NOW INT64_C(1795392000)

typedef struct fuzz_target_s {
    const char *name;
    /* Judges bytes, which end where they end: FUZZ_CHECK.  It leaves nothing
     * behind, and OpenSSL's error queue empty. */
    void (*run)(const uint8_t *bytes, size_t len);
    void (*seeds)(void); /* fuzz_seed for each; NULL: those in files alone */
    size_t max;          /* bytes beyond which nothing new is to be expected */
    const char *const *words; /* a dictionary, up to a NULL; may be NULL */
    struct fuzz_target_s *next;
} fuzz_target_t;

void fuzz_register(fuzz_target_t *target);

/* FUZZ_TARGET(pem, .run = run, .seeds = seeds, .max = 4096); */
#define FUZZ_TARGET(id, ...)                                                   \
    static fuzz_target_t fuzz_target_##id = {.name = #id, __VA_ARGS__};        \
    __attribute__((constructor)) static void fuzz_register_##id(void)          \
    {                                                                          \
        fuzz_register(&fuzz_target_##id);                                      \
    }                                                                          \
    _Static_assert(1, "a semicolon follows")

/* What must hold; else the program ends as it does in a crash. */
#define FUZZ_CHECK(holds)                                                      \
    do {                                                                       \
        if (!(holds)) {                                                        \
            fuzz_broken(__FILE__, __LINE__, #holds);                           \
        }                                                                      \
    } while (0)

void fuzz_broken(const char *file, int line, const char *what)
    __attribute__((noreturn));

void fuzz_seed(const void *bytes, size_t len);
void fuzz_seed_text(const char *text);

/* The input as text, which ends at its first zero byte: free(). */
char *fuzz_text(const uint8_t *bytes, size_t len);

/* Parts of an input from its beginning; zeros when there is no more. */
typedef struct {
    const uint8_t *p;
    size_t len;
} fuzz_in_t;

uint8_t fuzz_byte(fuzz_in_t *in);
uint16_t fuzz_two(fuzz_in_t *in);
int64_t fuzz_eight(fuzz_in_t *in);
/* n bytes, or as many as there are: *n. */
const uint8_t *fuzz_take(fuzz_in_t *in, size_t *n);
/* Up to a line feed, or all the rest, without zero bytes: free(). */
char *fuzz_line(fuzz_in_t *in);

/* Nothing in it can disturb a terminal or a log: what ecert_escape promises. */
void fuzz_check_text(const char *text);

/* An error that was just made: its code, its texts, the line made of it. */
void fuzz_check_err(const ecert_err_t *err);

/* The look-alike CA, the same bytes in every process. */
const pki_t *fuzz_pki(void);

/* A folder that is removed in the end; a file of it, whose path is returned
 * (good until the next call). */
const char *fuzz_folder(void);
const char *fuzz_file(const char *name, const void *bytes, size_t len);

/* All that is in the file of this descriptor, terminated: free(). */
char *fuzz_read_all(int fd, size_t *len);

#endif
