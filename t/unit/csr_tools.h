/* What tests of requests and of their keys have in common. */

#ifndef CSR_TOOLS_H
#define CSR_TOOLS_H

#include "scratch.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "ecert_csr.h"
#include "ecert_pem.h"
#include "pki.h"

#define GOVERNMENT                                                             \
    "\xe9\xa6\x99\xe6\xb8\xaf\xe7\x89\xb9\xe5\x88\xa5\xe8\xa1\x8c\xe6\x94\xbf" \
    "\xe5\x8d\x80\xe6\x94\xbf\xe5\xba\x9c" /* nine signs */
#define SERVER                                                                 \
    "www.\xe6\x88\x91\xe7\x9a\x84\xe6\x9c\x8d\xe5\x8a\xa1\xe5\x99\xa8.com"
#define SERVER_A "www.xn--zcr1gx60ahi7ao9d.com"

static ecert_err_t err;
static EVP_PKEY *p256, *p384, *rsa;

static const ecert_subject_t usual = {.country = "HK",
                                      .state = "Hong Kong",
                                      .locality = "Hong Kong",
                                      .organization = "My Organization",
                                      .unit = "Unit",
                                      .common_name = "www.example.hk"};

static inline int group_setup(void **state)
{
    (void)state;
    p256 = pki_key("P-256");
    p384 = pki_key("P-384");
    rsa = pki_key("RSA-2048");
    return 0;
}

static inline int group_teardown(void **state)
{
    (void)state;
    EVP_PKEY_free(p256);
    EVP_PKEY_free(p384);
    EVP_PKEY_free(rsa);
    return 0;
}

/* What a command says, the file's path in place of %s; free() it. */
static inline char *said(const char *command, const char *path)
{
    char line[PATH_MAX + 300], *text = calloc(1, 20000);
    FILE *pipe;

    snprintf(line, sizeof(line), command, path);
    pipe = popen(line, "r");
    assert_non_null(pipe);
    assert_true(fread(text, 1, 19999, pipe) > 0);
    assert_int_equal(pclose(pipe), 0);
    return text;
}

static inline void assert_says(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("no \"%s\" in:\n%s", part, text);
    }
}

static inline void assert_silent(const char *text, const char *part)
{
    if (strstr(text, part) != NULL) {
        fail_msg("\"%s\" in:\n%s", part, text);
    }
}

/* The subject. */

/* n times the same sign; eight are good at a time. */
static inline const char *times(const char *sign, size_t n)
{
    static char texts[8][1024];
    static int next;
    char *text = texts[next++ % 8];

    text[0] = '\0';
    while (n-- > 0) {
        strcat(text, sign);
    }
    return text;
}

#endif
