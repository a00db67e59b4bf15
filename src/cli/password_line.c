#include "password_line.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "ecert_text.h"

/* One that comes just before the waiting is not lost. */
static ssize_t read_byte(int fd, const sigset_t *mask, unsigned char *c)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};

    return mask != NULL && ppoll(&ready, 1, NULL, mask) < 0 ? -1
                                                            : read(fd, c, 1);
}

/* The line end of this encoding is what was read last. */
static int is_ended(const ecert_password_line_t *line)
{
    const unsigned char *end = line->bytes + line->len;

    if (line->len == 0) {
        return 0;
    }
    switch (ecert_text_order(line->bytes, line->len)) {
    case ECERT_TEXT_UTF16LE:
        return line->len % 2 == 0 && end[-2] == '\n' && end[-1] == 0;
    case ECERT_TEXT_UTF16BE:
        return line->len % 2 == 0 && end[-2] == 0 && end[-1] == '\n';
    default:
        return end[-1] == '\n';
    }
}

static int too_large(const char *what, ecert_err_t *err)
{
    return ecert_err(err, ECERT_ERR_TOO_LARGE, what,
                     "a password has at most %d bytes", ECERT_PASSWORD_MAX - 1);
}

int ecert_password_line_read(int fd, const sigset_t *mask, const char *what,
                             ecert_password_line_t *line, ecert_err_t *err)
{
    line->len = 0;
    while (!is_ended(line)) {
        ssize_t got;

        if (line->len == sizeof(line->bytes)) {
            return too_large(what, err);
        }
        got = read_byte(fd, mask, line->bytes + line->len);
        if (got < 0 && errno == EINTR && mask == NULL) {
            continue;
        }
        if (got < 0) {
            return ecert_err(err, ECERT_ERR_SYSTEM, what, "read the password");
        }
        if (got == 0) {
            break;
        }
        line->len++;
    }
    return 0;
}

static int refused(const char *what, const char *why, ecert_err_t *err)
{
    ecert_err(err, ECERT_ERR_PASSWORD_REFUSED, what, "%s", why);
    return ecert_err_hint(err, "save the password's file as UTF-8, or type it "
                               "at a terminal that uses UTF-8 (see locale "
                               "charmap)");
}

static int check_signs(const char *text, size_t len, const char *what,
                       ecert_err_t *err)
{
    unsigned long sign = 0;
    size_t step;

    for (size_t i = 0; i < len; i += step) {
        step = ecert_text_sign(text + i, len - i, &sign);
        if (step == 0) {
            return refused(what,
                           "it is not UTF-8: another encoding, such as "
                           "Big5",
                           err);
        }
        if (sign == 0) {
            return refused(what, "it has a zero byte, as UTF-16 and UTF-32 do",
                           err);
        }
    }
    return 0;
}

/* Without byte order mark and line end; room is as large as UTF-16 may need. */
static int decode(const ecert_password_line_t *line, const char *what,
                  char *room, char **text, size_t *len, ecert_err_t *err)
{
    ecert_text_order_t order = ecert_text_order(line->bytes, line->len);
    unsigned long sign = 0;
    size_t step;

    *text = room;
    *len = line->len;
    if (order == ECERT_TEXT_BYTES) {
        memcpy(room, line->bytes, line->len);
    } else if (ecert_text_from_utf16(line->bytes, line->len, order, room, len)
               != 0) {
        return refused(what, "it is cut off or damaged UTF-16", err);
    }
    step = ecert_text_sign(room, *len, &sign);
    if (step > 0 && sign == ECERT_TEXT_BOM) {
        *text += step;
        *len -= step;
    }
    if (*len > 0 && (*text)[*len - 1] == '\n') {
        --*len;
    }
    if (*len > 0 && (*text)[*len - 1] == '\r') { /* a file from Windows */
        --*len;
    }
    return check_signs(*text, *len, what, err);
}

int ecert_password_line_text(const ecert_password_line_t *line,
                             const char *what, char text[ECERT_PASSWORD_MAX],
                             ecert_err_t *err)
{
    char room[sizeof(line->bytes) / 2 * 3 + 1], *start;
    size_t len;
    int rc = decode(line, what, room, &start, &len, err);

    if (rc == 0 && len >= ECERT_PASSWORD_MAX) {
        rc = too_large(what, err);
    }
    if (rc == 0) {
        memcpy(text, start, len);
        text[len] = '\0';
    }
    OPENSSL_cleanse(room, sizeof(room));
    return rc;
}

void ecert_password_line_bytes(const ecert_password_line_t *line,
                               char bytes[ECERT_PASSWORD_MAX])
{
    const unsigned char *end = memchr(line->bytes, '\n', line->len);
    size_t len = end ? (size_t)(end - line->bytes) : line->len;

    if (len > 0 && line->bytes[len - 1] == '\r') {
        len--;
    }
    if (len >= ECERT_PASSWORD_MAX) { /* was refused */
        len = 0;
    }
    memcpy(bytes, line->bytes, len);
    bytes[len] = '\0';
}
