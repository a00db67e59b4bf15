#include "ecert_sniff.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "ecert_pem_block.h"
#include "ecert_text.h"

/* A validation code is shorter than the smallest key in Base64. */
#define BASE64_LEAST 160

/* Of a local file header (APPNOTE.TXT, 4.3.7): where the file's name is. */
#define ZIP_NAME 30

#define UTF8(from) "save it as UTF-8: iconv -f " from " -t UTF-8 FILE > NEW"
#define UNPACK     "unpack it, and hand over the files in it"
#define ATTACHMENT                                                             \
    "save the attachment in it as a file of its own, and hand that over"
#define KEYSTORE                                                               \
    "make a PFX of it: keytool -importkeystore -srckeystore FILE "             \
    "-destkeystore NEW.p12 -deststoretype PKCS12"

#define URL_DECODE "perl -pe 'tr/+/ /; s/%(..)/chr hex $1/ge' FILE > NEW"
#define UNHEX      "xxd -r -p FILE > NEW"
#define AS_IS                                                                  \
    "the lines must read -----BEGIN CERTIFICATE----- and the like, with five " \
    "hyphens and in capitals: take the file as the CA offers it"
#define BASE64 "decode it once: base64 -d FILE > NEW"

typedef struct {
    const unsigned char *bytes;
    size_t len;
} view_t;

typedef struct {
    const char *start;
    size_t len;
    ecert_sniff_t is;
} known_t;

static ecert_sniff_t is(ecert_sniff_kind_t kind, const char *name,
                        const char *hint)
{
    return (ecert_sniff_t){kind, name, hint};
}

#define FOREIGN(start, name, hint)                                             \
    {                                                                          \
        start, sizeof(start) - 1,                                              \
        {                                                                      \
            ECERT_SNIFF_FOREIGN, name, hint                                    \
        }                                                                      \
    }
#define ARCHIVE(start, name)                                                   \
    {                                                                          \
        start, sizeof(start) - 1,                                              \
        {                                                                      \
            ECERT_SNIFF_ARCHIVE, name, UNPACK                                  \
        }                                                                      \
    }
#define ZIP(start, name)                                                       \
    {                                                                          \
        start, sizeof(start) - 1,                                              \
        {                                                                      \
            ECERT_SNIFF_ZIP, name, UNPACK                                      \
        }                                                                      \
    }

/* First bytes, as they are. */
static const known_t binary[] = {
    ZIP("PK\003\004", "a ZIP archive"),
    FOREIGN("PK\005\006", "an empty ZIP archive", NULL),
    ARCHIVE("\x1f\x8b", "an archive (gzip)"),
    ARCHIVE("BZh", "an archive (bzip2)"),
    ARCHIVE("\xfd"
            "7zXZ",
            "an archive (xz)"),
    ARCHIVE("7z\xbc\xaf", "an archive (7z)"),
    ARCHIVE("\x28\xb5\x2f\xfd", "an archive (zstd)"),
    ARCHIVE("LZIP\1", "an archive (lzip)"),
    ARCHIVE("Rar!\x1a\x07", "an archive (RAR)"),
    ARCHIVE("MSCF\0\0\0\0", "an archive (CAB)"),
    FOREIGN("%PDF-", "a PDF document", NULL),
    FOREIGN("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            "a Word document (doc) or a mail of Outlook (msg)", NULL),
    FOREIGN("\x78\x9f\x3e\x22", "an attachment of Outlook (winmail.dat)",
            "ask for it once more, sent as plain text or in a ZIP archive"),
    FOREIGN("\x89PNG", "an image (PNG)", NULL),
    FOREIGN("\xff\xd8\xff", "an image (JPEG)", NULL),
    FOREIGN("GIF87a", "an image (GIF)", NULL),
    FOREIGN("GIF89a", "an image (GIF)", NULL),
    FOREIGN("bplist00", "a shortcut to a web page, not the file", NULL),
    FOREIGN("L\0\0\0\x01\x14\x02", "a shortcut of Windows, not the file", NULL),
    FOREIGN("\xfe\xed\xfe\xed", "a Java keystore (JKS)", KEYSTORE),
    FOREIGN("\xce\xce\xce\xce", "a Java keystore (JCEKS)", KEYSTORE),
    FOREIGN("\x1e\xf1\xb5\xb0", "a private key in Microsoft's form (PVK)",
            "openssl rsa -inform PVK -in FILE -out NEW"),
    FOREIGN("\x07\x02\0\0", "a private key in Microsoft's form (BLOB)",
            "openssl rsa -inform MSBLOB -in FILE -out NEW"),
    FOREIGN("MZ\x90\0", "a program for Windows",
            "if it is an archive that unpacks itself: unzip FILE"),
    FOREIGN("\x7f"
            "ELF",
            "a program", NULL),
    FOREIGN("\0\0\0\0CERT", "a certificate store of Windows (SST)",
            "export the certificate alone, as Base64 or DER"),
    FOREIGN("\xff\xfe\0\0", "text in UTF-32", UTF8("UTF-32")),
    FOREIGN("\0\0\xfe\xff", "text in UTF-32", UTF8("UTF-32")),
    FOREIGN("{\\rtf", "an RTF document, as WordPad writes it",
            "save it as plain text"),
    FOREIGN("-----BEGIN PGP SIGNED", "a text signed with OpenPGP",
            "gpg --output NEW --decrypt FILE"),
    FOREIGN("-----BEGIN PGP", "an OpenPGP message or key", NULL),
    FOREIGN("SQLite format 3", "a database (SQLite), such as NSS's",
            "export it as a PFX: pk12util -o NEW.p12 -d FOLDER -n NAME"),
};

/* First words of a text, in any case. */
static const known_t textual[] = {
    FOREIGN("[InternetShortcut]", "a shortcut to a web page, not the file",
            NULL),
    FOREIGN("<?xml", "an XML document", NULL),
    FOREIGN("-----BEGIN%", "PEM that is URL-encoded", URL_DECODE),
    FOREIGN("-----BEGIN+", "PEM that is URL-encoded", URL_DECODE),
    FOREIGN("PuTTY-User-Key-File", "a private key in PuTTY's form",
            "export it from PuTTYgen as an OpenSSH key, and make PEM of that: "
            "ssh-keygen -p -m PKCS8 -f FILE"),
    FOREIGN("---- BEGIN SSH2", "a key in SSH's form", NULL),
    FOREIGN("ssh-", "a public key in OpenSSH's form", NULL),
    FOREIGN("ecdsa-sha2-", "a public key in OpenSSH's form", NULL),
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const ecert_sniff_t *find(const known_t *list, size_t n, view_t text,
                                 int (*differ)(const char *, const char *,
                                               size_t))
{
    for (size_t i = 0; i < n; i++) {
        if (text.len >= list[i].len
            && differ((const char *)text.bytes, list[i].start, list[i].len)
                   == 0) {
            return &list[i].is;
        }
    }
    return NULL;
}

static int compare_bytes(const char *a, const char *b, size_t len)
{
    return memcmp(a, b, len);
}

/* In any case. */
static int has_word(view_t text, const char *word)
{
    size_t n = strlen(word);

    for (size_t i = 0; i + n <= text.len; i++) {
        if (strncasecmp((const char *)text.bytes + i, word, n) == 0) {
            return 1;
        }
    }
    return 0;
}

/* DER in hexadecimal, Base64 of Base64, and PEM that something was done
 * to: by words in a text that is long enough for it. */
static const ecert_sniff_t *find_changed(view_t text)
{
    static const struct {
        const char *word;
        int first; /* the text begins with it */
        ecert_sniff_t is;
    } list[] = {
#define CHANGED(word, first, name, hint)                                       \
    {                                                                          \
        word, first,                                                           \
        {                                                                      \
            ECERT_SNIFF_FOREIGN, name, hint                                    \
        }                                                                      \
    }
#define HEX(word) CHANGED(word, 1, "DER in hexadecimal", UNHEX)
#define BROKEN(word)                                                           \
    CHANGED(word, 0,                                                           \
            "PEM with a BEGIN or END line that was "                           \
            "changed",                                                         \
            AS_IS)
        CHANGED("LS0tLS1CRUdJTi", 0, "PEM in Base64 once more", BASE64),
        CHANGED("TUlJ", 1, "Base64 in Base64 once more", BASE64),
        HEX("3082"),
        HEX("30:82"),
        HEX("30 82"),
        CHANGED("00000000: 3082", 1, "DER in hexadecimal", "xxd -r FILE > NEW"),
        BROKEN("BEGIN CERTIFICATE"),
        BROKEN("BEGINCERTIFICATE"),
        BROKEN("END CERTIFICATE"),
        BROKEN("PRIVATE KEY-"),
        BROKEN("BEGIN PRIVATE KEY"),
        BROKEN("BEGIN RSA PRIVATE KEY"),
        BROKEN("BEGIN EC PRIVATE KEY"),
        BROKEN("BEGIN PKCS"),
        CHANGED("\"kty\"", 0, "a key in JSON (JWK)",
                "export it as PEM where it was made"),
    };

    for (size_t i = 0; text.len >= BASE64_LEAST && i < COUNT(list); i++) {
        size_t n = strlen(list[i].word);

        if (list[i].first
                ? strncasecmp((const char *)text.bytes, list[i].word, n) == 0
                : has_word(text, list[i].word)) {
            return &list[i].is;
        }
    }
    return NULL;
}

/* Begins with a tag, or has one of a page's in it. */
static int is_markup(view_t text)
{
    int tag = text.len > 1 && text.bytes[0] == '<'
              && (isalpha(text.bytes[1]) || text.bytes[1] == '!'
                  || text.bytes[1] == '?' || text.bytes[1] == '/');

    return tag || has_word(text, "<html") || has_word(text, "<!doctype")
           || has_word(text, "<body");
}

/* Begins with a field of a mail's header (RFC 5322, 2.2). */
static int is_mail(view_t text)
{
    static const char *const fields[] = {
        "From:",
        "To:",
        "Cc:",
        "Date:",
        "Subject:",
        "Received:",
        "Return-Path:",
        "Delivered-To:",
        "Message-ID:",
        "MIME-Version:",
        "Content-Type:",
        "Reply-To:",
        "Sender:",
        "DKIM-Signature:",
        "Authentication-Results:",
    };
    const char *start = (const char *)text.bytes;
    size_t n = 0;

    if (text.len >= 5 && memcmp(start, "From ", 5) == 0) {
        return 1;
    }
    while (n < text.len && !isspace(text.bytes[n]) && start[n] != ':') {
        n++;
    }
    if (n == text.len || start[n] != ':') {
        return 0;
    }
    if (n > 2
        && (strncasecmp(start, "X-", 2) == 0
            || strncasecmp(start, "ARC-", 4) == 0)) {
        return 1;
    }
    for (size_t i = 0; i < COUNT(fields); i++) {
        if (strlen(fields[i]) == n + 1
            && strncasecmp(start, fields[i], n + 1) == 0) {
            return 1;
        }
    }
    return 0;
}

/* A SEQUENCE begins with "MA" to "MP", and nothing else stands in it. */
static int is_base64(view_t text)
{
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = text.bytes[i];

        if (!isspace(c) && !isalnum(c) && c != '+' && c != '/' && c != '=') {
            return 0;
        }
        n += !isspace(c);
    }
    return n >= BASE64_LEAST && text.bytes[0] == 'M' && text.bytes[1] >= 'A'
           && text.bytes[1] <= 'P';
}

/*
 * A SEQUENCE.  A text may begin with the digit 0, too, but not with a length in
 * several bytes, nor with an INTEGER in it.
 */
static int is_der(view_t text)
{
    return text.len >= 2 && text.bytes[0] == 0x30
           && (text.bytes[1] >= 0x80
               || (text.len >= 3 && text.bytes[2] == 0x02));
}

/* Behind a byte order mark and white space. */
static view_t text_in(const unsigned char *bytes, size_t len)
{
    size_t skip = len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

    while (skip < len && isspace(bytes[skip])) {
        skip++;
    }
    return (view_t){bytes + skip, len - skip};
}

/* The first block tells. */
static ecert_sniff_t sniff_pem(view_t text)
{
    ecert_pem_block_t block;
    ecert_err_t ignored;

    ecert_pem_block_init(&block, text.bytes, text.len);
    ecert_pem_block_next(&block, NULL, &ignored);
    return is(ECERT_SNIFF_PEM, ecert_pem_kind_name(block.kind), NULL);
}

/* A ZIP archive, told by the name of the first file in it. */
static int is_office(view_t text)
{
    static const char *const names[] = {"[Content_Types].xml", "_rels/",
                                        "docProps/", "word/", "xl/"};

    for (size_t i = 0; i < COUNT(names); i++) {
        size_t n = strlen(names[i]);

        if (text.len >= ZIP_NAME + n
            && memcmp(text.bytes + ZIP_NAME, names[i], n) == 0) {
            return 1;
        }
    }
    return 0;
}

static ecert_sniff_t sniff_text(view_t text)
{
    const ecert_sniff_t *known =
        find(textual, COUNT(textual), text, strncasecmp);

    if (known != NULL) {
        return *known;
    }
    if (is_markup(text)) {
        return is(ECERT_SNIFF_FOREIGN, "a web page (HTML)", NULL);
    }
    if (is_mail(text)) {
        return is(ECERT_SNIFF_FOREIGN, "a mail with its header", ATTACHMENT);
    }
    known = find_changed(text);
    if (known != NULL) {
        return *known;
    }
    if (is_base64(text)) {
        return is(ECERT_SNIFF_BASE64, "a certificate, request or key (Base64)",
                  NULL);
    }
    return is(ECERT_SNIFF_OTHER, NULL, NULL);
}

ecert_sniff_t ecert_sniff(const unsigned char *bytes, size_t len)
{
    view_t text = text_in(bytes, len);
    const ecert_sniff_t *known;

    if (text.len == 0) {
        return is(ECERT_SNIFF_EMPTY, NULL, NULL);
    }
    known = find(binary, COUNT(binary), text, compare_bytes);
    if (known != NULL && known->kind == ECERT_SNIFF_ZIP && is_office(text)) {
        return is(ECERT_SNIFF_FOREIGN, "a document of Office (docx, xlsx)",
                  NULL);
    }
    if (known != NULL) {
        return *known;
    }
    if (ecert_text_order(bytes, len) == ECERT_TEXT_UTF16BE) {
        return is(ECERT_SNIFF_UTF16, "text in UTF-16", UTF8("UTF-16BE"));
    }
    if (ecert_text_order(bytes, len) == ECERT_TEXT_UTF16LE
        || memmem(bytes, len, "\0B\0E\0G\0I\0N\0", 11) != NULL) {
        return is(ECERT_SNIFF_UTF16, "text in UTF-16", UTF8("UTF-16LE"));
    }
    if (is_der((view_t){bytes, len})) {
        return is(ECERT_SNIFF_DER, "a certificate, request or key (DER)", NULL);
    }
    if (memmem(text.bytes, text.len, ECERT_PEM_BEGIN, strlen(ECERT_PEM_BEGIN))
        != NULL) {
        return sniff_pem(text);
    }
    return sniff_text(text);
}

int ecert_sniff_mistaken(const ecert_sniff_t *found, const char *expected,
                         const char *file, ecert_err_t *err)
{
    ecert_err(err, ECERT_ERR_FORMAT, file, "expected %s, found %s", expected,
              found->name ? found->name : "something else");
    return found->hint ? ecert_err_hint(err, "%s", found->hint) : -1;
}

/* A BEGIN line, or a SEQUENCE, that was cut off and is all that there is. */
static int is_cut(view_t text)
{
    return (text.len == 1 && text.bytes[0] == 0x30)
           || (text.len < strlen(ECERT_PEM_BEGIN)
               && memcmp(text.bytes, ECERT_PEM_BEGIN, text.len) == 0);
}

int ecert_sniff_expect(const unsigned char *bytes, size_t len,
                       const char *expected, const char *file, ecert_err_t *err)
{
    ecert_sniff_t found = ecert_sniff(bytes, len);

    switch (found.kind) {
    case ECERT_SNIFF_PEM:
    case ECERT_SNIFF_BASE64:
        return 1;
    case ECERT_SNIFF_DER:
        return 0;
    case ECERT_SNIFF_EMPTY:
        return ecert_err(err, ECERT_ERR_EMPTY, file,
                         len ? "only white space" : NULL);
    default:
        break;
    }
    if (is_cut(text_in(bytes, len))) {
        return ecert_err(err, ECERT_ERR_TRUNCATED, file,
                         "it ends inside its first line");
    }
    return ecert_sniff_mistaken(&found, expected, file, err);
}
