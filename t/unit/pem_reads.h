/* A look-alike's certificates and keys in PEM, and how they are read. */

#ifndef T_UNIT_PEM_READS_H
#define T_UNIT_PEM_READS_H

#include "asserts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "ecert_pem.h"
#include "pki.h"

#define NOW ((int64_t)1795392000)

static pki_t *pki;
static char *leaf, *sub, *cross, *key, *sec1;

static inline int setup(void **state)
{
    (void)state;
    pki = pki_new(NOW);
    leaf = pki_pem(pki->leaf);
    sub = pki_pem(pki->new_sub);
    cross = pki_pem(pki->cross);
    key = pki_pem_key(pki->leaf_key);
    sec1 = pki_pem_key_traditional(pki->leaf_key);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    pki_free(pki);
    free(leaf);
    free(sub);
    free(cross);
    free(key);
    free(sec1);
    return 0;
}

/* How many certificates; -1 and err. */
static inline int count(const void *bytes, size_t len, ecert_err_t *err)
{
    STACK_OF(X509) *list = pki_stack(pki->root, NULL);
    int rc = ecert_pem_certificates(bytes, len, "/f.pem", list, err);
    int n = sk_X509_num(list) - 1;
    assert_ptr_equal(sk_X509_value(list, 0), pki->root);
    if (rc != 0) {
        assert_int_equal(n, 0);
        assert_string_equal(err->file, "/f.pem");
    }
    pki_stack_free(list);
    assert_int_equal(ERR_peek_error(), 0);
    return rc == 0 ? n : -1;
}

static inline int count_text(const char *text)
{
    ecert_err_t err;
    int n = count(text, strlen(text), &err);
    if (n < 0) {
        print_message("# %s: %s\n", ecert_err_word(err.code), err.detail);
    }
    return n;
}

static inline void fails(const void *bytes, size_t len, ecert_code_t code,
                         const char *detail)
{
    ecert_err_t err;
    assert_int_equal(count(bytes, len, &err), -1);
    assert_string_equal(ecert_err_word(err.code), ecert_err_word(code));
    if (strstr(err.detail, detail) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", detail, err.detail);
    }
}

static inline void fails_text(const char *text, ecert_code_t code,
                              const char *detail)
{
    fails(text, strlen(text), code, detail);
}

static inline char *replace(const char *text, const char *from, const char *to)
{
    char *out = pki_join("", NULL);
    const char *next;
    while ((next = strstr(text, from)) != NULL) {
        char *part = strndup(text, (size_t)(next - text));
        char *more = pki_join(out, part, to, NULL);
        free(part);
        free(out);
        out = more;
        text = next + strlen(from);
    }
    char *all = pki_join(out, text, NULL);
    free(out);
    return all;
}

static inline ecert_code_t key_code(const char *text, char *detail)
{
    ecert_err_t err;
    EVP_PKEY *found = ecert_pem_key((const unsigned char *)text, strlen(text),
                                    "/k.pem", &err);
    assert_int_equal(ERR_peek_error(), 0);
    if (found != NULL) {
        ecert_pem_key_name(found, detail, 96);
        EVP_PKEY_free(found);
        return ECERT_OK;
    }
    snprintf(detail, 96, "%.95s", err.detail);
    return err.code;
}

#endif
