/*
 * Errors are values: one struct on the caller's stack, handed down as the last
 * argument.  A function that fails fills it and returns -1 (or NULL).  It is
 * never NULL, and it is only read after a failure.
 */

#ifndef ECERT_ERR_H
#define ECERT_ERR_H

#include <stdarg.h>
#include <stddef.h>

/*
 * Every error there is: code, reason word, sentence, what to do now.
 * The word is stable: people search for it, docs/errors.md explains each.
 */
#define ECERT_ERRORS(X)                                                        \
    X(SYSTEM, "system", "the system refused an operation",                     \
      "look at the system's message")                                          \
    X(MEMORY, "memory", "there is not enough memory",                          \
      "give the server more memory")                                           \
    X(USAGE, "usage", "the arguments are wrong", "see --help")                 \
    X(CONF, "configuration", "the configuration cannot be used",               \
      "correct the directive")                                                 \
    X(NAME, "name", "this is not a host name",                                 \
      "write a name such as www.example.hk or *.example.hk")                   \
    X(MISSING, "missing", "the file does not exist",                           \
      "put the file there or correct the path")                                \
    X(UNREADABLE, "unreadable", "the file may not be read",                    \
      "let the user that starts the server read it")                           \
    X(UNSAFE, "unsafe-path", "others can change what this path leads to",      \
      "take away their write permission, or move the file")                    \
    X(NOT_FILE, "not-a-file", "this is not a regular file",                    \
      "put a regular file there")                                              \
    X(TOO_LARGE, "too-large", "the file is larger than allowed",               \
      "check that it is the right file")                                       \
    X(CHANGING, "changing", "the file was changed while it was read",          \
      "wait: it is read again by itself")                                      \
    X(EMPTY, "empty", "the file is empty", "save the file again")              \
    X(FORMAT, "format", "this is neither PEM, DER nor PKCS#7",                 \
      "save the file again as the CA offers it")                               \
    X(TRUNCATED, "truncated", "a PEM block is cut off or damaged",             \
      "save the whole file again")                                             \
    X(TOO_MANY, "too-many", "there are more elements than allowed",            \
      "leave out what does not belong to this site")                           \
    X(NO_CERTIFICATE, "no-certificate", "there is no certificate yet",         \
      "install the certificate when the CA has issued it")                     \
    X(NO_KEY, "no-key", "there is no private key",                             \
      "put the private key beside its certificate")                            \
    X(ENCRYPTED, "encrypted-key", "the private key is encrypted",              \
      "decrypt it: openssl pkey -in OLD -out NEW")                             \
    X(KEY_TYPE, "key-type", "this kind or size of key is not accepted",        \
      "use RSA 2048 to 8192 or EC P-256, P-384")                               \
    X(MISMATCH, "key-mismatch", "key and certificate do not belong together",  \
      "install the certificate together with the key of its own request")      \
    X(NAMES, "names", "the certificate does not cover the site's names",       \
      "install the certificate that was issued for this site")                 \
    X(EXPIRED, "expired", "the certificate has expired",                       \
      "request and install a new certificate")                                 \
    X(NOT_YET, "not-yet-valid", "the certificate is not valid yet",            \
      "wait: it goes live by itself when its time comes")                      \
    X(PURPOSE, "purpose", "the certificate is not one for a TLS server",       \
      "install the server certificate, not the CA's or a client's")            \
    X(NOT_CA, "not-a-ca", "the certificate is not a CA's",                     \
      "install a server's certificate with ecert install")                     \
    X(SIGNATURE, "signature",                                                  \
      "the certificate is signed with a weak algorithm",                       \
      "request a certificate signed with SHA-256 or better")                   \
    X(CHAIN, "chain-incomplete", "no path leads to a root",                    \
      "put the missing CA certificate into the store's issuers folder")        \
    X(INVALID, "invalid", "the certificate is accepted by no client",          \
      "install it as the CA issued it; if it is that, have it issued again")   \
    X(CATALOGUE, "catalogue", "the catalogue of the CA cannot be used",        \
      "correct the file or leave it to the built-in default")                  \
    X(SITE, "site-json", "the site's description cannot be used",              \
      "correct site.json")                                                     \
    X(NO_SITE, "no-site", "the store has no such site",                        \
      "make its key and request (ecert new NAME), or correct the name")        \
    X(TOKEN, "validation-file", "the validation file cannot be served",        \
      "save the file again as the CA's portal offers it")                      \
    X(PASSWORD, "password", "the password does not open this file",            \
      "use the password that was given when the file was exported, from the "  \
      "same --password-file if it came from one")                              \
    X(NO_PASSWORD, "no-password", "a password is needed",                      \
      "call it at a terminal, or with --password-file FILE")                   \
    X(PASSWORD_REFUSED, "password-refused", "this password is not taken",      \
      "choose another one")                                                    \
    X(ALGORITHM, "algorithm",                                                  \
      "the file is protected with an algorithm that is not available here",    \
      "export the file again with AES-256 and SHA-256")                        \
    X(DAMAGED, "damaged", "the file is damaged",                               \
      "copy it or export it once more")                                        \
    X(ITERATIONS, "iterations", "opening this file is made too expensive",     \
      "export it again with 1,000,000 iterations at most")                     \
    X(LIMITS, "limits", "reading the file took too much time or memory",       \
      "check that it is the right file")                                       \
    X(SUBJECT, "subject", "the request cannot be made like this",              \
      "correct the option")                                                    \
    X(NO_REQUEST, "no-request", "there is no such pending request",            \
      "make one: ecert new NAME")                                              \
    X(NO_GENERATION, "no-generation", "there is no such generation",           \
      "see which there are: ecert log NAME")                                   \
    X(NO_BACKUP, "no-backup", "the private key of the request has no backup",  \
      "make one: ecert backup NAME --pending -o FILE.pfx")                     \
    X(NO_EXPORT, "not-exportable",                                             \
      "the private key was marked as not to be backed up again",               \
      "keep the PFX file that it came from, or make a new request")            \
    X(UNKNOWN_KEY, "unknown-key",                                              \
      "no private key here belongs to the certificate",                        \
      "install it where its request was made, or restore the backup of the "   \
      "key first: ecert restore FILE.pfx")                                     \
    X(OLD_KEY, "older-request",                                                \
      "the certificate belongs to a request that was used already",            \
      "submit a new request to the CA")                                        \
    X(EXISTS, "exists", "something of this name is there already",             \
      "choose another name, or move the old one away")                         \
    X(METHOD, "method", "this certificate cannot be validated in this way",    \
      "choose another method of validation in the CA's portal")                \
    X(DENIED, "denied", "the CA has replaced this certificate",                \
      "get the one that took its place")                                       \
    X(IN_USE, "in-use", "a site needs it for its chain",                       \
      "give it up with --force, or leave it")                                  \
    X(NOT_SERVED, "not-served", "a running server does not serve it",          \
      "see ecert status, and the server's error log")                          \
    X(DIFFERS, "differs",                                                      \
      "the server sends something else than what is published",                \
      "see which virtual host or process answers there: ecert verify NAME")    \
    X(FETCH, "fetch", "the download failed",                                   \
      "see the reason; it is tried again by itself")                           \
    X(OCSP, "ocsp", "the OCSP answer cannot be used",                          \
      "it is asked for again by itself; if it stays, tell the CA")             \
    X(STAPLE, "must-staple",                                                   \
      "the certificate demands a staple (RFC 7633), and there is none",        \
      "until there is one it replaces nothing good: see the reason")           \
    X(REVOKED, "revoked", "the CA has revoked the certificate",                \
      "ask the CA why, and request and install a new one at once")             \
    X(WATCH, "watch", "changes cannot be watched",                             \
      "raise fs.inotify.max_user_watches; until then files are looked at "     \
      "every 30 seconds")                                                      \
    X(SNAPSHOT, "snapshot", "the shared snapshot cannot be used",              \
      "reload the server; if it stays, report it")                             \
    X(AGENT, "agent", "the agent cannot do its work",                          \
      "check ecert_agent (ECertAgent), and look at the error log")             \
    X(OPENSSL, "openssl", "OpenSSL refused an operation",                      \
      "look at OpenSSL's message")

typedef enum {
    ECERT_OK = 0,
#define X(code, word, sentence, hint) ECERT_ERR_##code,
    ECERT_ERRORS(X)
#undef X
    ECERT_ERR_LAST
} ecert_code_t;

typedef struct {
    ecert_code_t code;
    int sys;        /* errno at the failure, 0 when there was none */
    char file[512]; /* absolute path or name it is about, escaped; may be "" */
    char detail[512]; /* what is special about this case, escaped; may be "" */
    char hint[256];   /* what to do now; the list's own unless set */
} ecert_err_t;

/*
 * Fills err and returns -1, so that a failure is one statement.  file may be
 * NULL.  The detail is formatted, then every byte that could disturb a log or
 * a terminal is escaped; fmt may be NULL for no detail.  errno is kept in
 * err->sys when code is SYSTEM, MISSING or UNREADABLE, and its text is added.
 */
int ecert_err(ecert_err_t *err, ecert_code_t code, const char *file,
              const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* The same, with the reason on top of OpenSSL's error queue, which is emptied.
 */
int ecert_err_openssl(ecert_err_t *err, ecert_code_t code, const char *file,
                      const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* MISSING, UNREADABLE or SYSTEM, whichever errno says, about this file. */
int ecert_err_errno(ecert_err_t *err, const char *file, const char *doing);

/* Replaces the file of an error just made; returns -1. */
int ecert_err_file(ecert_err_t *err, const char *file);

/* Replaces the hint of an error just made; returns -1. */
int ecert_err_hint(ecert_err_t *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* 1 when the system refused something, or the path is one that may not be used
 * (UNSAFE), so that nothing is known of the file: it must not be taken for one
 * that is not there or is of no use. */
int ecert_err_refused(const ecert_err_t *err);

/* 1 when memory, descriptors or the like were lacking: a matter of the moment,
 * whatever the file. */
int ecert_err_starved(const ecert_err_t *err);

/* Empties err, as before any call. */
void ecert_err_clear(ecert_err_t *err);

const char *ecert_err_word(ecert_code_t code);     /* "key-mismatch" */
const char *ecert_err_sentence(ecert_code_t code); /* without a full stop */
const char *ecert_err_advice(ecert_code_t code);   /* the list's own hint */

/*
 * One line without newline, cut at size:
 *   site www.example.hk: key-mismatch: /path/key.pem: key and certificate do
 *   not belong together (detail); install ...
 * site may be NULL.  Returns out.
 */
char *ecert_err_line(const ecert_err_t *err, const char *site, char *out,
                     size_t size);

/*
 * Copies len bytes to out (size bytes, always terminated), with control
 * characters, invalid UTF-8, C1 and bidirectional controls and the backslash
 * written as \xNN, so that a foreign byte can forge neither a log line nor a
 * terminal sequence (CVE-2024-47252).  Returns out.
 */
char *ecert_escape(char *out, size_t size, const char *bytes, size_t len);

/* Takes away what a cut has left of the last sign of a text that was clean;
 * returns it. */
char *ecert_trim(char *text);

#endif
