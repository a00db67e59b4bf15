#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "ecert_jail_work.h"

static size_t total(const ecert_frames_t *frames)
{
    size_t sum = 0;

    for (size_t i = 0; i < frames->n; i++) {
        sum += frames->frames[i].len;
    }
    return sum;
}

static int check_bounds(const ecert_frames_t *frames, unsigned char kind,
                        size_t len, ecert_err_t *err)
{
    if (kind == ECERT_ANSWER_END || kind == ECERT_ANSWER_ERROR) {
        return ecert_err(err, ECERT_ERR_USAGE, NULL,
                         "a frame's kind is 1 to 254");
    }
    if (frames->n >= ECERT_JAIL_FRAMES) {
        return ecert_err(err, ECERT_ERR_TOO_MANY, NULL, "more than %d parts",
                         ECERT_JAIL_FRAMES);
    }
    if (len > ECERT_JAIL_ANSWER - total(frames)) {
        return ecert_err(err, ECERT_ERR_TOO_LARGE, NULL,
                         "more than %d bytes come of it", ECERT_JAIL_ANSWER);
    }
    return 0;
}

int ecert_frames_add(ecert_frames_t *frames, unsigned char kind,
                     const void *bytes, size_t len, ecert_err_t *err)
{
    ecert_frame_t *grown;
    unsigned char *copy;

    if (check_bounds(frames, kind, len, err) != 0) {
        return -1;
    }
    grown = realloc(frames->frames, (frames->n + 1) * sizeof(*grown));
    if (grown == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    frames->frames = grown;
    copy = malloc(len + 1);
    if (copy == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    grown[frames->n++] = (ecert_frame_t){kind, copy, len};
    /* cppcheck-suppress memleak; frames has it now */
    return 0;
}

void ecert_frames_free(ecert_frames_t *frames)
{
    for (size_t i = 0; i < frames->n; i++) {
        OPENSSL_cleanse(frames->frames[i].bytes, frames->frames[i].len);
        free(frames->frames[i].bytes);
    }
    free(frames->frames);
    frames->frames = NULL;
    frames->n = 0;
}

static int is_escape(const char *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";

    return len >= 4 && bytes[0] == '\\' && bytes[1] == 'x' && bytes[2] != '\0'
           && strchr(digits, bytes[2]) != NULL && bytes[3] != '\0'
           && strchr(digits, bytes[3]) != NULL;
}

char *ecert_frame_text(char *out, size_t size, const char *bytes, size_t len)
{
    size_t used = 0, n;

    if (size == 0) {
        return out;
    }
    ecert_escape(out, size, "", 0);
    while (len > 0) {
        n = 0;
        while (n < len && !is_escape(bytes + n, len - n)) {
            n++;
        }
        if (n > 0) {
            ecert_escape(out + used, size - used, bytes, n);
            used += strlen(out + used);
        } else if (used + 4 < size) {
            n = 4;
            memcpy(out + used, bytes, n);
            used += n;
            out[used] = '\0';
        } else {
            break;
        }
        bytes += n;
        len -= n;
    }
    return out;
}

/* Writing: allocates nothing, for memory may be what has run out. */

static int put(int fd, const void *bytes, size_t len)
{
    const char *p = bytes;
    ssize_t n;

    while (len > 0) {
        n = write(fd, p, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return -1;
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int put_frame(int fd, unsigned char kind, const void *bytes, size_t len)
{
    unsigned char header[ECERT_ANSWER_HEADER] = {kind};
    uint32_t length = (uint32_t)len;

    memcpy(header + 1, &length, sizeof(length));
    return put(fd, header, sizeof(header)) != 0 ? -1 : put(fd, bytes, len);
}

static unsigned char *add_text(unsigned char *to, const char *text, size_t size)
{
    uint16_t len = (uint16_t)strnlen(text, size - 1);

    memcpy(to, &len, sizeof(len));
    memcpy(to + sizeof(len), text, len);
    return to + sizeof(len) + len;
}

static int put_error(int fd, const ecert_err_t *err)
{
    unsigned char bytes[sizeof(*err) + 64], *p = bytes;
    int32_t numbers[2] = {(int32_t)err->code, err->sys};

    memcpy(p, numbers, sizeof(numbers));
    p = add_text(p + sizeof(numbers), err->file, sizeof(err->file));
    p = add_text(p, err->detail, sizeof(err->detail));
    p = add_text(p, err->hint, sizeof(err->hint));
    return put_frame(fd, ECERT_ANSWER_ERROR, bytes, (size_t)(p - bytes));
}

int ecert_answer_write(int fd, const ecert_frames_t *frames,
                       const ecert_err_t *err)
{
    if (frames == NULL && put_error(fd, err) != 0) {
        return -1;
    }
    for (size_t i = 0; frames != NULL && i < frames->n; i++) {
        const ecert_frame_t *frame = &frames->frames[i];

        if (put_frame(fd, frame->kind, frame->bytes, frame->len) != 0) {
            return -1;
        }
    }
    return put_frame(fd, ECERT_ANSWER_END, NULL, 0);
}

/* Reading. */

typedef struct {
    const unsigned char *p;
    size_t len;
} rest_t;

/* The next n bytes; NULL when there are fewer. */
static const unsigned char *take(rest_t *rest, size_t n)
{
    const unsigned char *p = rest->p;

    if (n > rest->len) {
        return NULL;
    }
    rest->p += n;
    rest->len -= n;
    return p;
}

static int take_frame(rest_t *rest, unsigned char *kind, rest_t *body)
{
    const unsigned char *header = take(rest, ECERT_ANSWER_HEADER);
    uint32_t len;

    if (header == NULL) {
        return -1;
    }
    *kind = header[0];
    memcpy(&len, header + 1, sizeof(len));
    body->len = len;
    body->p = take(rest, len);
    return body->p != NULL ? 0 : -1;
}

static int take_text(rest_t *rest, char *out, size_t size)
{
    const unsigned char *bytes = take(rest, sizeof(uint16_t));
    uint16_t len;

    if (bytes == NULL) {
        return -1;
    }
    memcpy(&len, bytes, sizeof(len));
    bytes = take(rest, len);
    if (bytes == NULL || len >= size) {
        return -1;
    }
    ecert_frame_text(out, size, (const char *)bytes, len);
    return 0;
}

static int take_error(rest_t *body, ecert_err_t *err)
{
    const unsigned char *bytes = take(body, 2 * sizeof(int32_t));
    int32_t numbers[2];

    if (bytes == NULL) {
        return -1;
    }
    memcpy(numbers, bytes, sizeof(numbers));
    if (numbers[0] <= ECERT_OK || numbers[0] >= ECERT_ERR_LAST) {
        return -1;
    }
    err->code = (ecert_code_t)numbers[0];
    err->sys = numbers[1];
    if (take_text(body, err->file, sizeof(err->file)) != 0
        || take_text(body, err->detail, sizeof(err->detail)) != 0
        || take_text(body, err->hint, sizeof(err->hint)) != 0) {
        return -1;
    }
    return body->len == 0 ? 0 : -1;
}

ecert_answer_state_t ecert_answer_read(const unsigned char *bytes, size_t len,
                                       ecert_frames_t *out, ecert_err_t *err)
{
    rest_t rest = {bytes, len}, body;
    ecert_answer_state_t answer = ECERT_ANSWER_FRAMES;
    unsigned char kind;

    while (take_frame(&rest, &kind, &body) == 0) {
        if (kind == ECERT_ANSWER_END) {
            return body.len == 0 && rest.len == 0 ? answer : ECERT_ANSWER_BAD;
        }
        if (answer == ECERT_ANSWER_REFUSED) {
            return ECERT_ANSWER_BAD;
        }
        if (kind == ECERT_ANSWER_ERROR) {
            if (take_error(&body, err) != 0) {
                return ECERT_ANSWER_BAD;
            }
            answer = ECERT_ANSWER_REFUSED;
        } else if (ecert_frames_add(out, kind, body.p, body.len, err) != 0) {
            return err->code == ECERT_ERR_MEMORY ? ECERT_ANSWER_FAILED
                                                 : ECERT_ANSWER_BAD;
        }
    }
    return ECERT_ANSWER_BAD;
}
